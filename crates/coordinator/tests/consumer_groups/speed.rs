//! A thousand members over a thousand partitions, who come one after another and beat every five seconds.

use std::time::{Duration, Instant};

use milena_coordinator::group::GroupConfig;
use milena_protocol::messages::ConsumerGroupHeartbeatRequest;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use crate::coordinator::{Coordinator, uuid};

const MEMBERS: i32 = 1000;

struct Consumer {
    id: String,
    epoch: i32,
    /// What it has to say that it has.
    news: Option<Vec<TopicPartitions>>,
}

#[test]
fn a_thousand_members_over_a_thousand_partitions_become_stable() {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    coordinator.create_topic("t", uuid(1), MEMBERS);
    let mut consumers: Vec<Consumer> = (0..MEMBERS)
        .map(|number| Consumer { id: format!("member-{number:04}"), epoch: 0, news: Some(Vec::new()) })
        .collect();
    let begin = Instant::now();
    let mut beats = 0;
    for round in 0.. {
        assert!(round < 20, "not stable after {round} rounds");
        let mut has_news = false;
        for consumer in &mut consumers {
            let is_joining = consumer.epoch == 0;
            let request = ConsumerGroupHeartbeatRequest {
                group_id: "g".into(),
                member_id: consumer.id.as_str().into(),
                member_epoch: consumer.epoch,
                rebalance_timeout_ms: if is_joining { 60_000 } else { -1 },
                subscribed_topic_names: is_joining.then(|| vec!["t".into()]),
                topic_partitions: consumer.news.take(),
                ..Default::default()
            };
            let response = coordinator.heartbeat(request);
            assert_eq!(response.error_code, 0, "{:?}", response.error_message);
            beats += 1;
            has_news |= consumer.epoch != response.member_epoch || response.assignment.is_some();
            consumer.epoch = response.member_epoch;
            consumer.news = response.assignment.map(|assignment| {
                let owned = assignment.topic_partitions.into_iter();
                owned
                    .map(|topic| TopicPartitions {
                        topic_id: topic.topic_id,
                        partitions: topic.partitions,
                        ..Default::default()
                    })
                    .collect()
            });
            coordinator.advance(5);
        }
        if !has_news {
            break;
        }
    }
    let took = begin.elapsed();
    let described = coordinator.describe("g");
    assert_eq!(described.group_state, "Stable");
    assert!(described.members.iter().all(|member| member.assignment.topic_partitions.len() == 1));
    println!("{MEMBERS} members stable in {took:?}, {beats} heartbeats, {} records", coordinator.log.len());
    // Without optimization and on a busy machine; what grows with the square of the group takes longer.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

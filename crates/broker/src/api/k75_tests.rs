//! Tests of DescribeTopicPartitions: pages, cursors, refusals, replicas that are offline.

use super::*;
use milena_metadata::Delta;
use milena_protocol::messages::describe_topic_partitions_request::TopicRequest;
use milena_protocol::messages::{
    MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord, register_broker_record,
};
use milena_types::{LeaderEpoch, Offset};

/// Topics `a` with 3 partitions and `b` with 2, on broker 1, which is there, and 2, which is not.
fn image() -> Image {
    let listener = register_broker_record::BrokerEndpoint { name: "L".into(), ..Default::default() };
    let mut records = vec![MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: 1,
        fenced: false,
        end_points: vec![listener],
        ..Default::default()
    })];
    for (number, name, count) in [(1, "a", 3), (2, "b", 2)] {
        let topic_id = Uuid([number; 16]);
        records.push(MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id, ..Default::default() }));
        records.extend((0..count).map(|partition_id| {
            MetadataRecord::Partition(PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1, 2],
                isr: vec![1],
                leader: 1,
                ..Default::default()
            })
        }));
    }
    let (mut image, mut delta) = (Image::default(), Delta::default());
    for (offset, record) in (0..).zip(&records) {
        image.replay(record, Offset(offset), LeaderEpoch(1), &mut delta).unwrap();
    }
    image
}

fn request(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
    DescribeTopicPartitionsRequest {
        topics: topics.iter().map(|name| TopicRequest { name: (*name).into(), ..Default::default() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(topic, index)| RequestCursor {
            topic_name: topic.into(),
            partition_index: index,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Topics with error and partitions, then the cursor, in a line.
fn page(request: &DescribeTopicPartitionsRequest, max: i32) -> String {
    let response = describe(&image(), request, "L", max);
    let topic = |topic: &DescribeTopicPartitionsResponseTopic| {
        let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        format!("{}:{}{partitions:?} ", topic.name.as_deref().unwrap_or("?"), topic.error_code)
    };
    let topics: String = response.topics.iter().map(topic).collect();
    let cursor = response.next_cursor.map(|cursor| format!("{}/{}", cursor.topic_name, cursor.partition_index));
    topics + &cursor.unwrap_or_default()
}

#[test]
fn a_page_ends_at_the_smaller_limit_and_its_cursor_begins_the_next() {
    assert_eq!(page(&request(&[], 2000, None), 2000), "a:0[0, 1, 2] b:0[0, 1] ");
    assert_eq!(page(&request(&[], 2, None), 2000), "a:0[0, 1] a/2");
    assert_eq!(page(&request(&[], 2000, Some(("a", 2))), 2), "a:0[2] b:0[0] b/1");
    assert_eq!(page(&request(&[], 3, None), 2000), "a:0[0, 1, 2] b/0");
    assert_eq!(page(&request(&["b"], 0, Some(("b", 0))), 2000), "b:0[0] b/1");
    assert_eq!(page(&request(&["b"], 5, Some(("b", i32::MAX))), 2000), "b:0[] ");
}

#[test]
fn topics_asked_for_come_in_order_once_and_with_their_errors() {
    assert_eq!(page(&request(&["b", "x", "a b", "b"], 9, None), 9), "a b:17[] b:0[0, 1] x:3[] ");
    // Of all topics, one that is gone is left out.
    assert_eq!(page(&request(&[], 9, Some(("aa", 1))), 9), "b:0[0, 1] ");
}

#[test]
fn a_cursor_outside_of_the_topics_or_below_zero_is_refused() {
    assert_eq!(page(&request(&["a"], 9, Some(("b", 0))), 9), "a:42[] ");
    assert_eq!(page(&request(&["a"], 9, Some(("a", -1))), 9), "a:42[] ");
}

#[test]
fn a_partition_tells_its_leader_and_what_is_offline_for_the_listener() {
    let told = |listener| describe(&image(), &request(&["a"], 1, None), listener, 9).topics.remove(0);
    let topic = told("L");
    assert_eq!(topic.topic_authorized_operations, 3576);
    assert_eq!(topic.topic_id, Uuid([1; 16]));
    assert_eq!((topic.partitions[0].leader_id, &topic.partitions[0].offline_replicas), (1, &vec![2]));
    let elsewhere = told("M");
    assert_eq!((elsewhere.partitions[0].leader_id, &elsewhere.partitions[0].offline_replicas), (-1, &vec![1, 2]));
}

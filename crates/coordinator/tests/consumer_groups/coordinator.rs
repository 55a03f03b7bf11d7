//! A coordinator of one partition on a log in memory, with a cluster whose topics change and a clock that is moved by hand.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use milena_coordinator::group::{
    Caller, GroupConfig, GroupDecision, GroupEvent, GroupMachine, GroupRecord, GroupReply, GroupRequest, Groups,
};
use milena_coordinator::runtime::{Machine, RecordPlace, Replicated, Ticket};
use milena_metadata::{ConfigResource, Delta, Image};
use milena_protocol::Text;
use milena_protocol::messages::consumer_group_describe_response::DescribedGroup;
use milena_protocol::messages::{
    ConfigRecord, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, MetadataRecord, PartitionRecord,
    RemoveTopicRecord, TopicRecord,
};
use milena_types::{LeaderEpoch, Offset, ProducerId, Timestamp, Uuid};

/// A record as it lies in the log.
pub(crate) type Entry = (Bytes, Option<Bytes>);

pub(crate) struct Coordinator {
    pub(crate) state: Groups,
    machine: GroupMachine,
    pub(crate) config: Arc<GroupConfig>,
    pub(crate) image: Arc<Image>,
    pub(crate) now: Timestamp,
    pub(crate) log: Vec<Entry>,
    /// The records of the last event.
    pub(crate) written: Vec<GroupRecord>,
    loads: u64,
}

pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid(number.to_be_bytes())
}

impl Coordinator {
    pub(crate) fn new(config: GroupConfig) -> Coordinator {
        let config = Arc::new(config);
        let image = Arc::new(Image::default());
        let mut coordinator = Coordinator {
            state: Groups::default(),
            machine: GroupMachine::new(Arc::clone(&config), Arc::clone(&image), 1),
            config,
            image,
            now: Timestamp(1_700_000_000_000),
            log: Vec::new(),
            written: Vec::new(),
            loads: 0,
        };
        coordinator.load();
        coordinator
    }

    /// Forgets everything but the log and reads it again.
    pub(crate) fn load(&mut self) {
        self.loads += 1;
        self.state = Groups::default();
        self.machine = GroupMachine::new(Arc::clone(&self.config), Arc::clone(&self.image), self.loads);
        for (offset, (key, value)) in (0..).zip(&self.log) {
            let record = GroupMachine::decode(key.clone(), value.clone()).unwrap().unwrap();
            self.state.replay(place(offset), &record);
        }
        let decision = self.machine.loaded(&self.state, self.now);
        self.perform(decision);
    }

    fn perform(&mut self, decision: GroupDecision) -> Vec<(Ticket, GroupReply)> {
        for record in &decision.records {
            let (key, value) = GroupMachine::encode(record);
            assert_eq!(GroupMachine::decode(key.clone(), value.clone()).unwrap().as_ref(), Some(record));
            self.state.replay(place(i64::try_from(self.log.len()).unwrap()), record);
            self.log.push((key, value));
        }
        self.written.extend(decision.records);
        let mut replies = decision.at_once;
        replies.extend(decision.replies);
        for after in decision.after {
            let decision = self.machine.after(&self.state, after, Ok(()), self.now);
            replies.extend(self.perform(decision));
        }
        replies
    }

    /// Runs what is due and what that brings about.
    pub(crate) fn run_due(&mut self) -> Vec<(Ticket, GroupReply)> {
        let mut replies = Vec::new();
        while let Some(decision) = self.machine.expire(&self.state, self.now) {
            replies.extend(self.perform(decision));
        }
        replies
    }

    /// Moves the clock, stopping wherever a timer is due.
    pub(crate) fn advance(&mut self, ms: i64) -> Vec<(Ticket, GroupReply)> {
        let until = self.now.0 + ms;
        let mut replies = self.run_due();
        while let Some(deadline) = self.machine.next_deadline().filter(|deadline| deadline.0 <= until) {
            self.now = deadline;
            replies.extend(self.run_due());
        }
        self.now = Timestamp(until);
        replies
    }

    /// What is answered at once, to this request and to those that waited.
    pub(crate) fn send(&mut self, ticket: u64, version: i16, request: GroupRequest) -> Vec<(u64, GroupReply)> {
        let caller = Caller { client_id: Text::from("client"), client_host: Text::from_static("/127.0.0.1"), version };
        self.written.clear();
        let event = GroupEvent::Request { ticket: Ticket(ticket), caller, request };
        let decision = self.machine.decide(&self.state, event, self.now);
        self.perform(decision).into_iter().map(|(ticket, reply)| (ticket.0, reply)).collect()
    }

    pub(crate) fn request(&mut self, version: i16, request: GroupRequest) -> GroupReply {
        let mut replies = self.send(1, version, request);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0).1
    }

    pub(crate) fn heartbeat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        match self.request(1, GroupRequest::ConsumerGroupHeartbeat(Box::new(request))) {
            GroupReply::ConsumerGroupHeartbeat(response) => *response,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn describe(&mut self, group: &str) -> DescribedGroup {
        match self.request(1, GroupRequest::ConsumerGroupDescribe(vec![group.into()])) {
            GroupReply::ConsumerGroupDescribe(mut groups) => groups.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Changes the cluster.
    pub(crate) fn change(&mut self, records: &[MetadataRecord]) {
        let image = Arc::make_mut(&mut self.image);
        let mut delta = Delta::default();
        for record in records {
            let offset = Offset(image.offset.0 + 1);
            image.replay(record, offset, LeaderEpoch(1), &mut delta).unwrap();
        }
        let deleted = delta.deleted_topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
        let changed = delta.changed_partitions.keys().copied().collect();
        let event = GroupEvent::Image { image: Arc::clone(&self.image), deleted, changed };
        self.written.clear();
        let decision = self.machine.decide(&self.state, event, self.now);
        self.perform(decision);
    }

    pub(crate) fn create_topic(&mut self, name: &str, id: Uuid, partitions: i32) {
        let topic = TopicRecord { name: name.into(), topic_id: id, ..Default::default() };
        let mut records = vec![MetadataRecord::Topic(topic)];
        records.extend((0..partitions).map(|partition| partition_record(id, partition)));
        self.change(&records);
    }

    pub(crate) fn grow_topic(&mut self, id: Uuid, from: i32, to: i32) {
        let records: Vec<MetadataRecord> = (from..to).map(|partition| partition_record(id, partition)).collect();
        self.change(&records);
    }

    pub(crate) fn delete_topic(&mut self, id: Uuid) {
        self.change(&[MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: id, ..Default::default() })]);
    }

    pub(crate) fn configure_group(&mut self, group: &str, name: &str, value: &str) {
        self.change(&[MetadataRecord::Config(ConfigRecord {
            resource_type: ConfigResource::GROUP,
            resource_name: group.into(),
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        })]);
    }
}

fn partition_record(topic_id: Uuid, partition_id: i32) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        topic_id,
        partition_id,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        ..Default::default()
    })
}

fn place(offset: i64) -> RecordPlace {
    RecordPlace { offset: Offset(offset), producer_id: ProducerId::NONE }
}

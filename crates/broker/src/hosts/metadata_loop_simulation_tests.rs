//! The metadata of a quorum of one under faults: random requests, a disk that fails, tears and forgets at any call, clocks
//! that jump, snapshots written at odd moments, starts after ends of every kind. One seed is one history: run the one that
//! failed again by pasting it into `one_seed`.
//!
//! What must hold, whatever happens: epochs grow; what was answered is there after every start; what was published before
//! an end is what is read after it; no name has two topics and no producer id two owners; a disk that fails no more
//! always opens. Checkers that cannot fail find nothing: the last test plants bugs.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use milena_protocol::messages::delete_topics_request::DeleteTopicState;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::{AllocateProducerIdsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest};
use milena_storage::disk::SimulatedDisk;
use milena_types::{ErrorCode, LeaderEpoch, TopicId};

use super::lying_disk::{Lie, LyingDisk};
use super::test_node::{Node, creation, heartbeat, node_of, parts, registration};
use super::*;
use crate::ControllerResponse;
use crate::clock::ManualTime;
use crate::controller_handle::{ControllerDone, ControllerRequest};

const SEEDS: u64 = 200;

#[test]
fn nothing_committed_is_lost_whatever_the_disk_does() {
    let mut starts = 0;
    for seed in 0..SEEDS {
        starts += History::new(seed, Bug::None).run_or_say_which();
    }
    assert!(starts > SEEDS * 3, "{starts} starts are too few to mean anything");
}

/// For a seed that failed.
#[test]
fn one_seed() {
    History::new(0, Bug::None).run_or_say_which();
}

#[test]
fn planted_bugs_are_found() {
    let bugs =
        [Bug::Disk(Lie::LogIsNotSynced), Bug::Disk(Lie::SnapshotsAreNotSynced), Bug::Disk(Lie::NamesAreNotSynced)];
    for bug in bugs.into_iter().chain([Bug::DecidesOnCommittedState, Bug::SnapshotsLeaveOut]) {
        let found = (0..SEEDS)
            .find(|seed| std::panic::catch_unwind(AssertUnwindSafe(|| History::new(*seed, bug).run())).is_err());
        assert!(found.is_some(), "no seed of {SEEDS} finds {bug:?}");
    }
}

/// What is done wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    None,
    /// The disk, or whoever calls it, does not keep its word.
    Disk(Lie),
    /// The controller does not see what is on its way.
    DecidesOnCommittedState,
    /// A snapshot is taken of an older image than its name says.
    SnapshotsLeaveOut,
}

/// What has been answered. What was asked and not answered may have happened or not.
#[derive(Default)]
struct Known {
    topics: BTreeMap<String, TopicId>,
    deleted: BTreeSet<TopicId>,
    /// Names whose deletion is not answered.
    doubtful: BTreeSet<String>,
    /// The value of a config by topic, and what else it may be.
    configs: BTreeMap<String, Vec<Option<String>>>,
    /// The end of the last block of producer ids.
    producer_ids_end: i64,
}

enum Asked {
    Create(String),
    Delete(String, TopicId),
    Configure(String, String),
    ProducerIds,
    Nothing,
}

type Answer = Arc<Mutex<Option<Result<ControllerResponse, ErrorCode>>>>;

struct History {
    seed: u64,
    random: u64,
    bug: Bug,
    disk: LyingDisk,
    /// The call of the disk that fails, 0 for none, and whether all later ones do.
    fault: (u64, bool),
    time: Arc<ManualTime>,
    known: Known,
    epoch: LeaderEpoch,
    /// The newest image that was published before the last end.
    published: Option<Arc<Image>>,
    broker_epoch: i64,
    incarnation: u8,
    starts: u64,
}

impl History {
    fn new(seed: u64, bug: Bug) -> History {
        let lie = match bug {
            Bug::Disk(lie) => lie,
            _ => Lie::None,
        };
        History {
            seed,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            bug,
            disk: LyingDisk::new(SimulatedDisk::new(seed), lie),
            fault: (0, false),
            time: ManualTime::new(Timestamp(1_700_000_000_000)),
            known: Known::default(),
            epoch: LeaderEpoch(0),
            published: None,
            broker_epoch: -1,
            incarnation: 0,
            starts: 0,
        }
    }

    fn run_or_say_which(self) -> u64 {
        let seed = self.seed;
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.run())) {
            Ok(starts) => starts,
            Err(cause) => {
                eprintln!("the seed is {seed}");
                std::panic::resume_unwind(cause)
            }
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn run(mut self) -> u64 {
        let lives = 3 + self.below(6);
        for _ in 0..lives {
            // From the first call of a start to long after it.
            let fails_at = self.below(160);
            let dies = self.below(4) > 0;
            if self.below(3) > 0 {
                self.break_disk(self.disk.truth.calls() + 1 + fails_at, dies);
            }
            self.live();
        }
        self.break_disk(0, false);
        let last = self.start().expect("a healthy disk opens");
        self.check(&last);
        self.starts
    }

    fn break_disk(&mut self, call: u64, for_good: bool) {
        self.disk.truth.fail_call(call, for_good);
        self.fault = (call, for_good);
    }

    /// One life of a node, ended by a fault, by a power cut, by a kill, or cleanly.
    fn live(&mut self) {
        if let Some(mut node) = self.start() {
            self.check(&node);
            let mut alive = true;
            for _ in 0..self.below(40) {
                alive = self.step(&mut node);
                if !alive {
                    break;
                }
            }
            self.published = node.published.0.lock().unwrap().last().cloned().or(self.published.take());
            if alive && self.below(3) == 0 && node.state.log.close().is_ok() {
                return;
            }
        }
        self.break_disk(0, false);
        if self.below(4) > 0 {
            self.disk = self.disk.cut_power();
        }
    }

    /// `None` when the disk fails.
    fn start(&mut self) -> Option<Node<LyingDisk>> {
        let before = self.disk.truth.calls();
        let random_seed = self.below(u64::MAX);
        let opened = parts(&self.disk, 1, &self.time).map_err(MetadataError::Storage);
        let opened = opened.map(|parts| MetadataParts { random_seed, ..parts });
        match opened.and_then(|parts| node_of(parts, &self.time)) {
            Ok(node) => {
                self.starts += 1;
                Some(node)
            }
            Err(error) => {
                let (call, for_good) = self.fault;
                let failed = call != 0 && call <= self.disk.truth.calls() && (for_good || call > before);
                assert!(failed, "the disk did nothing wrong: {error}");
                None
            }
        }
    }

    fn check(&mut self, node: &Node<LyingDisk>) {
        let image = node.image();
        let epoch = node.state.quorum.epoch();
        assert!(epoch > self.epoch, "epoch {epoch} after {}", self.epoch);
        self.epoch = epoch;
        self.check_image(&image);
        if let Some(published) = &self.published {
            assert!(image.offset >= published.offset, "{} was published, {} is left", published.offset, image.offset);
            // The checker's own reads do not fail.
            self.disk.truth.fail_call(0, false);
            let again = replayed_until(node, published.offset + 1);
            self.disk.truth.fail_call(self.fault.0, self.fault.1);
            if let Some(again) = again {
                let (was, is): (Vec<_>, Vec<_>) = (published.records().collect(), again.records().collect());
                assert_eq!(was, is, "what was published up to {}", published.offset);
            }
        }
        // What was in doubt is known now.
        self.known.topics = image.topics.iter_by_id().map(|topic| (topic.name.to_string(), topic.id)).collect();
        self.known.doubtful.clear();
        for (name, values) in &mut self.known.configs {
            let resource = milena_metadata::ConfigResource::topic(name.as_str().into());
            *values = vec![image.configs.value(&resource, "retention.ms").map(ToString::to_string)];
        }
        self.known.configs.retain(|name, _| image.topics.named(name).is_some());
    }

    fn check_image(&self, image: &Image) {
        for (name, id) in &self.known.topics {
            match image.topics.named(name) {
                Some(topic) => {
                    assert!(topic.id == *id || self.known.doubtful.contains(name), "{name} is another topic");
                }
                None => assert!(self.known.doubtful.contains(name), "{name} was answered and is lost"),
            }
        }
        for id in &self.known.deleted {
            assert!(image.topics.get(*id).is_none(), "{id} was deleted");
        }
        let names: BTreeSet<&str> = image.topics.iter_by_id().map(|topic| &*topic.name).collect();
        assert_eq!(names.len(), image.topics.iter_by_id().count(), "a name has two topics");
        assert!(image.next_producer_id >= self.known.producer_ids_end || self.known.producer_ids_end == 0);
        for (name, values) in &self.known.configs {
            if self.known.doubtful.contains(name) || image.topics.named(name).is_none() {
                continue;
            }
            let resource = milena_metadata::ConfigResource::topic(name.as_str().into());
            let value = image.configs.value(&resource, "retention.ms").map(ToString::to_string);
            assert!(values.contains(&value), "{name} has {value:?}, not one of {values:?}");
        }
    }

    /// One turn of the thread, with some events before it. Whether the node lives on.
    fn step(&mut self, node: &mut Node<LyingDisk>) -> bool {
        if self.below(5) == 0 {
            let passed = Duration::from_millis(self.below(4_000));
            self.time.pass(passed);
        }
        if self.below(20) == 0 {
            let jump = self.below(7_200_000) as i64 - 3_600_000;
            self.time.jump(jump);
        }
        let mut asked = Vec::new();
        for _ in 0..=self.below(3) {
            if self.bug == Bug::DecidesOnCommittedState
                && let (Some(settings), Some(_)) = (&node.state.settings, &node.state.controller)
            {
                let settings = settings.clone();
                node.state.controller = Some(Controller::new(settings, (*node.image()).clone()));
            }
            let (what, request) = self.any_request(node);
            let answer: Answer = Arc::default();
            let slot = Arc::clone(&answer);
            let done: ControllerDone = Box::new(move |result| *slot.lock().unwrap() = Some(result));
            node.state.handle(Event::Request { request, done });
            asked.push((what, answer));
        }
        let alive = node.state.turn().is_ok() && self.finish_work_beside(node);
        for (what, answer) in asked {
            let answer = answer.lock().unwrap().take();
            self.learn(what, answer);
        }
        if alive {
            self.check_image(&node.image());
        }
        alive
    }

    fn finish_work_beside(&mut self, node: &mut Node<LyingDisk>) -> bool {
        if self.below(3) > 0 {
            return true;
        }
        let jobs = std::mem::take(&mut *node.begun.0.lock().unwrap());
        for job in jobs {
            let event = match (self.bug, job()) {
                (Bug::SnapshotsLeaveOut, Event::SnapshotWritten { id, outcome: Ok(()) }) => {
                    let first = Arc::clone(node.published.0.lock().unwrap().first().unwrap());
                    let content = crate::hosts::metadata_log::SnapshotContent {
                        id,
                        kraft: node.state.quorum.kraft().clone(),
                        last_contained: Timestamp(0),
                        now: Timestamp(0),
                        image: (*first).clone(),
                    };
                    let outcome = node.state.log.snapshot_files().write(&content);
                    Event::SnapshotWritten { id, outcome }
                }
                (_, event) => event,
            };
            node.state.handle(event);
            if node.state.turn().is_err() {
                return false;
            }
        }
        true
    }

    fn any_request(&mut self, node: &Node<LyingDisk>) -> (Asked, ControllerRequest) {
        let name = format!("topic-{}", self.below(12));
        let epoch = self.broker_epoch;
        match self.below(10) {
            0..=3 => (Asked::Create(name.clone()), ControllerRequest::CreateTopics(creation(&name))),
            4 => match node.image().topics.named(&name) {
                Some(topic) => {
                    self.known.doubtful.insert(name.clone());
                    let state = DeleteTopicState { topic_id: topic.id, ..Default::default() };
                    let request = DeleteTopicsRequest { topics: vec![state], ..Default::default() };
                    (Asked::Delete(name, topic.id), ControllerRequest::DeleteTopics(request))
                }
                None => self.heartbeat(node),
            },
            5 => {
                let value = self.below(1_000_000).to_string();
                if let Some(values) = self.known.configs.get_mut(&name) {
                    values.push(Some(value.clone()));
                } else {
                    let resource = milena_metadata::ConfigResource::topic(name.as_str().into());
                    let now = node.image().configs.value(&resource, "retention.ms").map(ToString::to_string);
                    self.known.configs.insert(name.clone(), vec![now, Some(value.clone())]);
                }
                (Asked::Configure(name.clone(), value.clone()), configuration(&name, &value))
            }
            6 => {
                let request = AllocateProducerIdsRequest { broker_id: 1, broker_epoch: epoch, ..Default::default() };
                (Asked::ProducerIds, ControllerRequest::AllocateProducerIds(request))
            }
            7 => {
                self.incarnation = self.incarnation.wrapping_add(u8::from(self.below(4) == 0));
                (Asked::Nothing, ControllerRequest::BrokerRegistration(registration(1, self.incarnation)))
            }
            _ => self.heartbeat(node),
        }
    }

    fn heartbeat(&mut self, node: &Node<LyingDisk>) -> (Asked, ControllerRequest) {
        let image = node.image();
        if let Some(broker) = image.cluster.broker(BrokerId(1)) {
            self.broker_epoch = broker.epoch;
        }
        let beat = heartbeat(1, self.broker_epoch, image.offset.0);
        (Asked::Nothing, ControllerRequest::BrokerHeartbeat(beat))
    }

    fn learn(&mut self, what: Asked, answer: Option<Result<ControllerResponse, ErrorCode>>) {
        let known = &mut self.known;
        match (what, answer) {
            (Asked::Create(name), Some(Ok(ControllerResponse::CreateTopics(response)))) => {
                let topic = &response.topics[0];
                if topic.error_code == 0 {
                    known.topics.insert(name, topic.topic_id);
                }
            }
            (Asked::Delete(name, id), Some(Ok(ControllerResponse::DeleteTopics(response))))
                if response.responses[0].error_code == 0 =>
            {
                known.deleted.insert(id);
                if known.topics.get(&name) == Some(&id) {
                    known.topics.remove(&name);
                }
                known.configs.remove(&name);
                known.doubtful.remove(&name);
            }
            (Asked::Configure(name, value), Some(Ok(ControllerResponse::IncrementalAlterConfigs(response))))
                if response.responses[0].error_code == 0 && !known.doubtful.contains(&name) =>
            {
                known.configs.insert(name, vec![Some(value)]);
            }
            (Asked::ProducerIds, Some(Ok(ControllerResponse::AllocateProducerIds(response))))
                if response.error_code == 0 =>
            {
                let first = response.producer_id_start;
                assert!(first >= known.producer_ids_end, "producer id {first} was given before");
                known.producer_ids_end = first + i64::from(response.producer_id_len);
            }
            _ => {}
        }
    }
}

fn configuration(topic: &str, value: &str) -> ControllerRequest {
    let config =
        AlterableConfig { name: "retention.ms".into(), value: Some(value.into()), ..AlterableConfig::default() };
    let resource = AlterConfigsResource {
        resource_type: milena_metadata::ConfigResource::TOPIC,
        resource_name: topic.into(),
        configs: vec![config],
        ..AlterConfigsResource::default()
    };
    ControllerRequest::IncrementalAlterConfigs(IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..IncrementalAlterConfigsRequest::default()
    })
}

/// The image as the files tell it, up to `end`; `None` when a snapshot has replaced the log there.
fn replayed_until(node: &Node<LyingDisk>, end: Offset) -> Option<Image> {
    let mut replayer = Replayer::new();
    let log = node.state.quorum.log();
    if log.snapshots.last().is_some_and(|id| id.offset > end) {
        return None;
    }
    node.state.log.load_latest_snapshot(&mut replayer).expect("the snapshot was loaded before");
    node.state.log.replay_until(end, &mut replayer).expect("the log was replayed before");
    Some(replayer.image)
}

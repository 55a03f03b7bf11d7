//! Every way a follower's log is cut, and that the recovery point on disk is below before: what a process that is killed at any
//! moment leaves behind can be opened.

use super::*;
use crate::broker::BrokerParts;
use crate::clock::{Clock, ManualTime};
use crate::controller_handle::{ControllerDone, ControllerHandle, ControllerRequest};
use crate::log_dirs::{Directory, LogDirs};
use crate::partitions::follower::Fetched;
use crate::settings::BrokerSettings;
use bytes::Bytes;
use milena_metadata::{Delta, Image};
use milena_protocol::messages::{MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};
use milena_records::{BatchBuilder, BuilderConfig};
use milena_replication::OutOfRange;
use milena_storage::checkpoint::{LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use milena_storage::disk::RealDisk;
use milena_storage::{FileCache, LogDir};
use milena_types::{BrokerId, LeaderEpoch, PartitionIndex, Timestamp, Uuid};
use std::path::Path;
use std::sync::Arc;

const LEADER: BrokerId = BrokerId(2);
const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// A controller that never answers.
struct Nobody;

impl ControllerHandle for Nobody {
    fn submit(&self, _request: ControllerRequest, _done: ControllerDone) {}
}

/// A broker that follows partition 0 of topic `t`, which broker 2 leads.
struct Follower {
    broker: Arc<Broker>,
    image: Image,
    partition: Arc<Partition>,
    log_dir: Arc<Directory>,
}

fn records(topic: Uuid) -> [MetadataRecord; 2] {
    let topic_record = TopicRecord { name: "t".into(), topic_id: topic, ..TopicRecord::default() };
    let partition = PartitionRecord {
        topic_id: topic,
        partition_id: 0,
        replicas: vec![1, 2],
        isr: vec![1, 2],
        leader: LEADER.0,
        leader_epoch: EPOCH.0,
        partition_epoch: 0,
        ..PartitionRecord::default()
    };
    [MetadataRecord::Topic(topic_record), MetadataRecord::Partition(partition)]
}

impl Follower {
    fn start(root: &Path) -> Follower {
        let files = FileCache::new(RealDisk, 10);
        let usable = vec![(LogDir::open(&files, root).unwrap(), Uuid([200; 16]))];
        let broker = Broker::open(BrokerParts {
            incarnation_id: None,
            settings: BrokerSettings::default(),
            clock: Clock::Manual(ManualTime::new(Timestamp(1_700_000_000_000))),
            controller: Arc::new(Nobody),
            log_dirs: LogDirs::new(usable, Vec::new(), root.to_owned()),
        });
        let mut image = Image::default();
        follow(&broker, &mut image, &records(Uuid([1; 16])), true);
        let partition = of_topic(&broker, Uuid([1; 16])).expect("the log is opened");
        let log_dir = partition.log_dir();
        Follower { broker, image, partition, log_dir }
    }

    /// Takes what the leader sent.
    fn take(&self, from: i64, records: Bytes) -> Taken {
        let last_epoch = self.partition.lock().log.latest_epoch().unwrap_or(LeaderEpoch::NONE);
        let fetched = Fetched {
            leader: LEADER,
            leader_epoch: EPOCH,
            from: Offset(from),
            last_epoch,
            records,
            high_watermark: Offset(0),
            log_start: Offset(0),
            diverging: None,
        };
        self.partition.take_fetched(&self.broker, fetched).unwrap()
    }

    /// Makes everything durable and says so on disk.
    fn save(&self) {
        self.partition.lock().log.flush().unwrap();
        Checkpoints::default().write_recovery_points(&self.broker);
    }

    fn saved(&self, file: &str) -> Option<i64> {
        self.log_dir.files().read_checkpoint(file).unwrap().into_values().next().map(|offset| offset.0)
    }

    fn recovery_point(&self) -> Option<i64> {
        self.saved(RECOVERY_POINT_CHECKPOINT)
    }

    fn ends(&self) -> (i64, i64) {
        let inner = self.partition.lock();
        (inner.log.log_start_offset().0, inner.log.log_end_offset().0)
    }
}

fn follow(broker: &Arc<Broker>, image: &mut Image, records: &[MetadataRecord], is_first: bool) {
    let mut delta = Delta::default();
    for record in records {
        let offset = Offset(image.offset.0 + 1);
        image.replay(record, offset, LeaderEpoch(1), &mut delta).unwrap();
    }
    broker.apply(Arc::new(image.clone()), (!is_first).then_some(&delta));
}

fn of_topic(broker: &Broker, topic: Uuid) -> Option<Arc<Partition>> {
    broker.partitions.by_id(topic)?.get(PartitionIndex(0)).cloned()
}

fn batch(first: i64, count: usize, epoch: i32) -> Bytes {
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    for _ in 0..count {
        builder.append(1_700_000_000_000, None, Some(b"value"), &[]).unwrap();
    }
    builder.build(Offset(first), LeaderEpoch(epoch)).unwrap()
}

#[tokio::test]
async fn the_recovery_point_on_disk_is_below_before_anything_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let follower = Follower::start(root.path());
    follower.take(0, batch(0, 5, 1));
    follower.take(5, batch(5, 5, 1));
    follower.save();
    assert_eq!(follower.recovery_point(), Some(10));
    let cut = |inner: &mut Inner| {
        assert!(follower.recovery_point().unwrap_or(0) <= 5);
        inner.log.truncate_to(Offset(7), Timestamp(1)).map(drop).map_err(|_| FollowerProblem::Lasting)
    };
    let outcome = follower.partition.cut_log(&follower.broker, Offset(7), |_| true, cut);
    assert_eq!((outcome, follower.ends()), (Ok(Taken::Done), (0, 5)));
    follower.take(5, batch(5, 5, 2));
    follower.save();
    let never = |_: &mut Inner| panic!("nobody asked for it any more");
    let outcome = follower.partition.cut_log(&follower.broker, Offset(7), |_| false, never);
    assert_eq!((outcome, follower.recovery_point()), (Ok(Taken::Stale), Some(10)));
}

#[tokio::test]
async fn a_follower_whose_log_knows_no_epochs_can_be_killed_after_it_cut_to_the_high_watermark() {
    let root = tempfile::tempdir().unwrap();
    let follower = Follower::start(root.path());
    follower.take(0, batch(0, 5, -1));
    follower.save();
    assert_eq!(follower.recovery_point(), Some(5));
    let end = follower.partition.follower_end(&follower.broker, LEADER, EPOCH).unwrap().unwrap();
    assert_eq!((end.end, follower.ends()), (Offset(0), (0, 0)));
    assert_eq!(follower.recovery_point().unwrap_or(0), 0);
    drop(follower);
    assert_eq!(Follower::start(root.path()).ends(), (0, 0));
}

#[tokio::test]
async fn a_follower_of_a_log_that_begins_within_a_batch_can_be_killed_at_any_moment() {
    let root = tempfile::tempdir().unwrap();
    let follower = Follower::start(root.path());
    let start = OutOfRange::StartAt(Offset(8));
    follower.partition.adjust_range(&follower.broker, (LEADER, EPOCH), Offset(0), start).unwrap();
    follower.save();
    assert_eq!((follower.ends(), follower.recovery_point()), ((8, 8), Some(8)));
    assert_eq!(follower.take(8, batch(5, 5, 1)), Taken::Done);
    assert_eq!(follower.ends(), (8, 10));
    assert!(follower.recovery_point().unwrap_or(0) <= 5, "the batch is not durable yet, and begins at 5");
    drop(follower);
    // As if the batch had been lost with the power.
    let log = root.path().join("t-0").join("00000000000000000005.log");
    std::fs::File::options().write(true).open(log).unwrap().set_len(0).unwrap();
    let again = Follower::start(root.path());
    assert_eq!(again.ends(), (5, 5));
}

#[tokio::test]
async fn a_follower_that_begins_anew_can_be_killed_with_nothing_left() {
    let root = tempfile::tempdir().unwrap();
    let follower = Follower::start(root.path());
    follower.take(0, batch(0, 5, 1));
    follower.save();
    let start = OutOfRange::StartAt(Offset(100));
    let adjust =
        |end, action| follower.partition.adjust_range(&follower.broker, (LEADER, EPOCH), Offset(end), action).unwrap();
    assert_eq!(adjust(4, start), Taken::Stale);
    assert_eq!(adjust(5, start), Taken::Done);
    assert_eq!((follower.ends(), follower.recovery_point()), ((100, 100), Some(0)));
    follower.take(100, batch(100, 5, 1));
    follower.save();
    assert_eq!(adjust(105, OutOfRange::TruncateTo(Offset(100))), Taken::Done);
    assert_eq!((follower.ends(), follower.recovery_point()), ((100, 100), Some(100)));
    drop(follower);
    assert_eq!(Follower::start(root.path()).ends(), (100, 100));
}

#[tokio::test]
async fn what_was_said_of_a_deleted_log_is_not_said_of_its_successor() {
    let root = tempfile::tempdir().unwrap();
    let mut follower = Follower::start(root.path());
    follower.take(0, batch(0, 5, 1));
    follower.partition.lock().log.advance_log_start(Offset(3)).unwrap();
    follower.save();
    Checkpoints::default().write_log_starts(&follower.broker);
    assert_eq!((follower.recovery_point(), follower.saved(LOG_START_OFFSET_CHECKPOINT)), (Some(5), Some(3)));
    let second = Uuid([2; 16]);
    let removed = MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: Uuid([1; 16]), ..Default::default() });
    follow(&follower.broker, &mut follower.image, &[removed], false);
    follow(&follower.broker, &mut follower.image, &records(second), false);
    assert_eq!((follower.recovery_point(), follower.saved(LOG_START_OFFSET_CHECKPOINT)), (None, None));
    let successor = of_topic(&follower.broker, second).unwrap();
    assert_eq!(successor.lock().log.log_end_offset(), Offset(0));
    drop((successor, follower));
    // The names on disk are all that the next start has; here the topic is the first one again.
    milena_storage::checkpoint::write_topic_id(&RealDisk, &root.path().join("t-0"), Uuid([1; 16])).unwrap();
    assert_eq!(Follower::start(root.path()).ends(), (0, 0));
}

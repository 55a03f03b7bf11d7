//! The metadata thread's state, stepped by hand on a simulated disk: what survives restarts and power cuts, what a
//! snapshot holds, what an observer fetches.

use std::sync::Mutex;

use bytes::Bytes;
use milena_metadata::MetadataVersion;
use milena_protocol::Text;
use milena_protocol::messages::CreateTopicsRequest;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_raft::{BatchContent, LeaderBatch, OffsetAndEpoch, Outbound};
use milena_storage::FileCache;
use milena_storage::disk::{Disk as _, DiskFile as _, OpenMode, SimulatedDisk};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch};
use std::path::Path;

use super::test_node::{Node, creation, node, node_of, parts, parts_with, settings};
use super::*;
use crate::clock::ManualTime;
use crate::controller_handle::{ControllerDone, ControllerRequest};
use crate::hosts::raft_requests::{RaftRequest, RaftResponse};

#[test]
fn a_node_alone_leads_bootstraps_and_answers_after_commit() {
    let disk = SimulatedDisk::new(1);
    let mut node = node(&disk, 1);
    assert_eq!(node.image().features.metadata_version, MetadataVersion::LATEST);
    node.join();
    assert_eq!(node.create_topic("orders"), 0);
    assert_eq!(node.create_topic("orders"), ErrorCode::TOPIC_ALREADY_EXISTS.0);
    assert_eq!(node.topic_names(), ["orders"]);
}

#[test]
fn what_was_answered_survives_a_power_cut_and_each_start_is_a_new_epoch() {
    let mut disk = SimulatedDisk::new(2);
    for round in 1..=5 {
        let mut node = node(&disk, 1);
        assert_eq!(node.state.quorum.epoch(), LeaderEpoch(round));
        node.join();
        assert_eq!(node.create_topic(&format!("topic-{round}")), 0);
        let expected: Vec<String> = (1..=round).map(|at| format!("topic-{at}")).collect();
        assert_eq!(node.topic_names(), expected);
        let image = node.image();
        let leaders: Vec<i32> = image.topics.iter().map(|topic| topic.partitions[0].leader.0).collect();
        assert!(leaders.iter().all(|leader| *leader == 1), "a lone replica leads again after each crash: {leaders:?}");
        disk = disk.cut_power();
    }
}

#[test]
fn what_a_killed_process_had_not_synced_is_durable_once_the_log_is_open() {
    let disk = SimulatedDisk::new(3);
    let open = |disk: &SimulatedDisk| {
        let cache = FileCache::new(disk.clone(), 100);
        MetadataLog::open(&cache, Path::new("/"), &settings(), Timestamp(0)).unwrap()
    };
    let end = |log: &MetadataLog<SimulatedDisk>| log.epoch_cache().end_offset;
    let mut killed = open(&disk);
    for base_offset in 0..5 {
        let content = BatchContent::Records(vec![Bytes::from_static(b"record")]);
        let (epoch, timestamp) = (LeaderEpoch(1), Timestamp(0));
        killed.append_batch(&LeaderBatch { base_offset: Offset(base_offset), epoch, timestamp, content }).unwrap();
    }
    drop(killed);
    assert_eq!(end(&open(&disk)), Offset(5));
    assert_eq!(end(&open(&disk.cut_power())), Offset(5));
}

#[test]
fn a_failing_disk_never_lets_an_answer_out_that_a_restart_does_not_know() {
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed);
        let mut first = node(&disk, 1);
        first.join();
        disk.fail_call(disk.calls() + 1 + seed % 12, true);
        let mut answered = Vec::new();
        for at in 0..4 {
            let name = format!("t{at}");
            let request = creation(&name);
            let slot = Arc::new(Mutex::new(false));
            let ok = Arc::clone(&slot);
            let done: ControllerDone = Box::new(move |result| *ok.lock().unwrap() = result.is_ok());
            first.state.handle(Event::Request { request: ControllerRequest::CreateTopics(request), done });
            if first.state.turn().is_err() {
                break;
            }
            if *slot.lock().unwrap() {
                answered.push(name);
            }
        }
        disk.fail_call(0, false);
        let after = disk.cut_power();
        let again = node(&after, 1);
        let names = again.topic_names();
        assert!(answered.iter().all(|name| names.contains(name)), "seed {seed}: {answered:?} not in {names:?}");
    }
}

#[test]
fn a_metadata_log_without_what_was_committed_is_refused() {
    let path = Path::new("/__cluster_metadata-0/00000000000000000000.log");
    let filled = || {
        let disk = SimulatedDisk::new(5);
        let mut first = node(&disk, 1);
        first.join();
        assert_eq!(first.create_topic("first"), 0);
        drop(first);
        let len = disk.metadata(path).unwrap().unwrap().len;
        (disk, len)
    };
    let opened = |disk: &SimulatedDisk| {
        let time = ManualTime::new(Timestamp(1_700_000_000_000));
        parts(disk, 1, &time).map_err(|error| error.to_string()).and_then(|parts| {
            let node = node_of(parts, &time).map_err(|error| error.to_string())?;
            Ok(node.topic_names())
        })
    };
    let (disk, len) = filled();
    assert_eq!(opened(&disk).unwrap(), ["first"]);
    disk.open(path, OpenMode::ReadWrite).unwrap().truncate(len - 1).unwrap();
    let lost = opened(&disk).unwrap_err();
    assert!(lost.contains("00000000000000000000.log"), "{lost}");
    let (disk, _) = filled();
    disk.remove(path).unwrap();
    let lost = opened(&disk).unwrap_err();
    assert!(lost.contains("__cluster_metadata-0"), "{lost}");
    let (disk, len) = filled();
    disk.flip_byte(path, len - 1);
    let damaged = opened(&disk).unwrap_err();
    assert!(damaged.contains("__cluster_metadata-0"), "{damaged}");
}

#[test]
fn snapshots_are_written_and_loaded_and_replace_the_log() {
    let disk = SimulatedDisk::new(3);
    let mut first = node(&disk, 1);
    first.join();
    for at in 0..100 {
        assert_eq!(first.create_topic(&format!("topic-{at:03}")), 0);
    }
    let snapshots = first.state.quorum.log().snapshots.clone();
    assert!(snapshots.len() > 1, "{snapshots:?}");
    let before = first.image();
    drop(first);
    let again = node(&disk, 1);
    let latest = again.state.quorum.log().snapshots.last().copied();
    assert_eq!(latest, snapshots.last().copied());
    let ids = |image: &Image| image.topics.iter().map(|topic| topic.id).collect::<Vec<_>>();
    assert_eq!(ids(&again.image()), ids(&before));
    let epochs = |image: &Image| image.cluster.brokers.values().map(|broker| broker.epoch).collect::<Vec<_>>();
    assert_eq!(epochs(&again.image()), epochs(&before));
}

fn deliver(leader: &mut Node, observer: &mut Node) -> usize {
    let sent: Vec<Outbound> = observer.sent.0.lock().unwrap().drain(..).collect();
    let count = sent.len();
    for request in sent {
        match request {
            Outbound::Fetch(fetch) => {
                let request = crate::hosts::raft_wire::fetch_request(&fetch, "cluster", 1 << 20);
                let slot = Arc::new(Mutex::new(None));
                let answer = Arc::clone(&slot);
                let done: RaftDone = Box::new(move |response| *answer.lock().unwrap() = Some(response));
                let listener = "CONTROLLER".to_owned();
                leader.state.handle(Event::Raft { request: RaftRequest::Fetch(request), listener, done });
                leader.time.pass(Duration::from_millis(600));
                leader.state.turn().unwrap();
                let response = slot.lock().unwrap().take();
                let Some(RaftResponse::Fetch(mut response)) = response else { panic!("{response:?}") };
                for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    if let Some(milena_protocol::Records::File(slice)) = &partition.records {
                        let mut bytes = vec![0; slice.len as usize];
                        slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
                        partition.records = Some(milena_protocol::Records::Bytes(bytes.into()));
                    }
                }
                observer.state.handle(Event::FetchReply { asked: fetch, response: Some(response) });
            }
            Outbound::FetchSnapshot(out) => {
                let (file, len) = leader.state.log.open_snapshot(out.snapshot).unwrap().unwrap();
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                observer.state.handle(Event::SnapshotReply { asked: out, bytes: Some(bytes.into()) });
            }
            other => panic!("{other:?}"),
        }
    }
    observer.time.pass(Duration::from_millis(600));
    observer.state.turn().unwrap();
    count
}

#[test]
fn an_observer_fetches_log_and_snapshots_and_publishes_what_the_leader_did() {
    for topics in [3, 120] {
        let disk = SimulatedDisk::new(4);
        let mut leader = node(&disk, 1);
        leader.join();
        for at in 0..topics {
            leader.create_topic(&format!("topic-{at:03}"));
        }
        let observers_disk = SimulatedDisk::new(5);
        let mut observer = node(&observers_disk, 9);
        observer.state.turn().unwrap();
        for _ in 0..12 {
            assert!(deliver(&mut leader, &mut observer) > 0, "an observer never stops fetching");
        }
        assert_eq!(observer.image().topics, leader.image().topics);
        leader.create_topic("late");
        for _ in 0..4 {
            deliver(&mut leader, &mut observer);
        }
        assert_eq!(observer.topic_names(), leader.topic_names());
        assert_eq!(leader.state.quorum.describe(Timestamp(0)).unwrap().observers.len(), 1);
        // It goes on from its own disk.
        drop(observer);
        let again = node(&observers_disk, 9);
        assert!(again.state.quorum.log().end().offset > OffsetAndEpoch::BOOTSTRAP.offset);
    }
}

#[test]
fn a_silent_broker_is_fenced() {
    let disk = SimulatedDisk::new(6);
    let mut node = node(&disk, 1);
    node.join();
    assert!(!node.image().cluster.broker(BrokerId(1)).unwrap().is_fenced);
    node.time.pass(Duration::from_millis(9_100));
    assert!(node.state.until_next_deadline() == Duration::ZERO);
    node.state.turn().unwrap();
    assert!(node.image().cluster.broker(BrokerId(1)).unwrap().is_fenced);
}

#[test]
fn a_clock_that_is_set_fences_nobody_and_keeps_nobody_alive() {
    let disk = SimulatedDisk::new(7);
    let mut node = node(&disk, 1);
    node.join();
    for jump in [3_600_000, -7_200_000, 86_400_000] {
        node.time.jump(jump);
        node.state.turn().unwrap();
        assert!(!node.image().cluster.broker(BrokerId(1)).unwrap().is_fenced, "after {jump} ms");
    }
    node.time.jump(-1_000_000_000);
    node.time.pass(Duration::from_millis(9_100));
    node.state.turn().unwrap();
    assert!(node.image().cluster.broker(BrokerId(1)).unwrap().is_fenced, "its session has expired all the same");
}

#[test]
fn a_name_asked_for_twice_before_either_is_committed_becomes_one_topic() {
    let disk = SimulatedDisk::new(8);
    let mut node = node(&disk, 1);
    node.join();
    let codes = Arc::new(Mutex::new(Vec::new()));
    let published = node.published.0.lock().unwrap().len();
    for partitions in [1, 3, 1] {
        let topic = CreatableTopic {
            name: Text::from("wanted"),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        let codes = Arc::clone(&codes);
        let done: ControllerDone = Box::new(move |answer| {
            let Ok(crate::ControllerResponse::CreateTopics(response)) = answer else { panic!("{answer:?}") };
            codes.lock().unwrap().push(response.topics[0].error_code);
        });
        node.state.handle(Event::Request { request: ControllerRequest::CreateTopics(request), done });
    }
    assert!(codes.lock().unwrap().is_empty(), "nobody is answered before the first is committed");
    assert_eq!(node.published.0.lock().unwrap().len(), published);
    node.state.turn().unwrap();
    let exists = ErrorCode::TOPIC_ALREADY_EXISTS.0;
    assert_eq!(*codes.lock().unwrap(), [0, exists, exists]);
    assert_eq!(node.image().topics.iter().filter(|topic| &*topic.name == "wanted").count(), 1);
}

#[test]
fn where_nothing_happens_a_record_is_written_every_idle_interval() {
    let disk = SimulatedDisk::new(9);
    let mut node = node(&disk, 1);
    node.join();
    let end = |node: &Node| node.state.quorum.log().end().offset;
    let before = end(&node);
    assert_eq!(node.state.until_next_deadline(), Duration::from_millis(500));
    for passed in 1..=10 {
        node.time.pass(Duration::from_millis(250));
        node.state.turn().unwrap();
        assert_eq!(end(&node), before + passed / 2, "after {} ms", passed * 250);
    }
    assert_eq!(node.image().offset, before + 4, "the last record of the log is published");
}

#[test]
fn a_snapshot_being_written_holds_up_nobody() {
    let disk = SimulatedDisk::new(10);
    let mut node = node(&disk, 1);
    node.join();
    while node.begun.0.lock().unwrap().is_empty() {
        let topic = format!("t-{}", node.state.quorum.log().end().offset);
        create_without_snapshots(&mut node, &topic);
    }
    let known = node.state.quorum.log().snapshots.len();
    let image = node.image();
    for at in 0..50 {
        create_without_snapshots(&mut node, &format!("meanwhile-{at}"));
    }
    assert_eq!(node.begun.0.lock().unwrap().len(), 1, "one at a time");
    assert_eq!(node.state.quorum.log().snapshots.len(), known);
    node.do_what_was_begun();
    let written = node.state.quorum.log().snapshots.last().copied().unwrap();
    assert_eq!(written.offset, image.offset + 1, "it holds what was committed when it was begun");
}

fn create_without_snapshots(node: &mut Node, name: &str) {
    let request = creation(name);
    let answered = Arc::new(Mutex::new(false));
    let slot = Arc::clone(&answered);
    let done: ControllerDone = Box::new(move |answer| *slot.lock().unwrap() = answer.is_ok());
    node.state.handle(Event::Request { request: ControllerRequest::CreateTopics(request), done });
    node.state.turn().unwrap();
    assert!(*answered.lock().unwrap());
}

fn names_in_log_directory(disk: &SimulatedDisk) -> Vec<String> {
    let entries = disk.list(Path::new("/__cluster_metadata-0")).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn old_snapshots_and_the_segments_they_replace_go_when_they_are_too_large_together() {
    let (disk, time) = (SimulatedDisk::new(11), ManualTime::new(Timestamp(1_700_000_000_000)));
    let small = crate::config::MetadataLogSettings { segment_bytes: 2048, max_retention_bytes: 12_000, ..settings() };
    let mut node = node_of(parts_with(&small, &disk, 1, &time).unwrap(), &time).unwrap();
    node.join();
    for at in 0..120 {
        assert_eq!(node.create_topic(&format!("topic-{at:03}")), 0);
    }
    time.pass(Duration::from_secs(61));
    node.state.turn().unwrap();
    let log = node.state.quorum.log().clone();
    assert_eq!(log.start_offset, log.snapshots[0].offset, "the log begins with its oldest snapshot");
    assert!(log.start_offset > Offset(0));
    let names = names_in_log_directory(&disk);
    let sealed: Vec<&String> =
        names.iter().filter(|name| name.ends_with(".checkpoint") && name.contains('-')).collect();
    assert_eq!(sealed.len(), log.snapshots.len());
    let mut segments: Vec<i64> = names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    segments.sort_unstable();
    assert!(segments[0] > 0, "the first segment is gone: {segments:?}");
    assert!(segments.get(1).is_none_or(|next| *next > log.start_offset.0), "none is wholly below: {segments:?}");
    let before = node.topic_names();
    drop(node);
    let again = node_of(parts_with(&small, &disk, 1, &time).unwrap(), &time).unwrap();
    assert_eq!(again.topic_names(), before);
    assert_eq!(again.state.quorum.log().start_offset, log.start_offset);
}

#[test]
fn old_snapshots_go_when_what_they_hold_is_too_old_but_the_newest_stays() {
    let (disk, time) = (SimulatedDisk::new(12), ManualTime::new(Timestamp(1_700_000_000_000)));
    let short = crate::config::MetadataLogSettings { max_retention_bytes: -1, max_retention_ms: 90_000, ..settings() };
    let mut node = node_of(parts_with(&short, &disk, 1, &time).unwrap(), &time).unwrap();
    node.join();
    for at in 0..60 {
        assert_eq!(node.create_topic(&format!("topic-{at:03}")), 0);
    }
    let all = node.state.quorum.log().snapshots.clone();
    assert!(all.len() > 2, "{all:?}");
    time.pass(Duration::from_secs(61));
    node.state.turn().unwrap();
    assert_eq!(node.state.quorum.log().snapshots.len(), all.len(), "none is too old yet");
    time.pass(Duration::from_secs(61));
    node.state.turn().unwrap();
    assert_eq!(node.state.quorum.log().snapshots, all[all.len() - 1..]);
}

#[test]
fn a_damaged_snapshot_is_named_and_left_as_it_is() {
    let (disk, time) = (SimulatedDisk::new(13), ManualTime::new(Timestamp(1_700_000_000_000)));
    let mut first = node_of(parts(&disk, 1, &time).unwrap(), &time).unwrap();
    first.join();
    for at in 0..40 {
        assert_eq!(first.create_topic(&format!("topic-{at:03}")), 0);
    }
    drop(first);
    let before = names_in_log_directory(&disk);
    let newest = before.iter().rfind(|name| name.contains('-') && name.ends_with("1.checkpoint")).unwrap();
    let path = Path::new("/__cluster_metadata-0").join(newest);
    disk.flip_byte(&path, 200);
    let refused = node_of(parts(&disk, 1, &time).unwrap(), &time).err().map(|error| error.to_string());
    let refused = refused.unwrap_or_default();
    assert!(refused.contains(newest.as_str()) && refused.contains("corrupt"), "{refused}");
    assert_eq!(names_in_log_directory(&disk), before, "nothing is removed");
    disk.flip_byte(&path, 200);
    let again = node_of(parts(&disk, 1, &time).unwrap(), &time).unwrap();
    assert_eq!(again.topic_names().len(), 40, "nothing was lost");
}

#[test]
fn a_controller_that_has_just_given_up_leadership_decides_nothing() {
    let mut node = node(&SimulatedDisk::new(1), 1);
    node.join();
    node.time.pass(Duration::from_secs(60));
    let now = node.state.clock.steady();
    node.state.quorum.resign(now, &mut node.state.fx);
    assert!(!node.state.quorum.is_leader() && node.state.controller.is_some());
    // The broker's session has expired. Nothing takes the decision to fence it: it must not be made again and again.
    node.state.tick_controller();
    assert!(node.state.proposals.is_empty());
}

//! Full disks: a node on a tmpfs that the run mounts is filled until it refuses records, then everything is read, metadata and
//! group offsets go on, room is made by deleting records, by retention or by deleting a topic, and records must be taken again
//! within five seconds. No record that was acknowledged may be lost, none that was refused may be there.
//!
//! Half of the cycles keep the reserve; the other half have none, so that the device itself says that it is full in the midst
//! of an append, and now and then somebody else takes the room. Every fourth cycle the node is killed while it is full.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest,
    OffsetCommitRequest,
};

use crate::flags::Flags;
use crate::injector::LONG_SESSION;
use crate::ledger::{Kept, Ledger, NOT_ENOUGH_REPLICAS};
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use crate::wire::Wire;

/// The size of the file system.
const DISK_BYTES: u64 = 48 << 20;
/// The longest that records may be refused once there is room.
const RESUME: Duration = Duration::from_secs(5);
/// In this time the node has looked how much room there is.
const LOOK: Duration = Duration::from_millis(500);
/// How often a record is tried.
const RETRY: Duration = Duration::from_millis(20);
const SETTINGS: [(&str, &str); 4] = [
    ("log.segment.bytes", "1048576"),
    ("offsets.topic.num.partitions", "1"),
    LONG_SESSION,
    ("log.retention.check.interval.ms", "3600000"),
];
/// A TOPIC in `IncrementalAlterConfigs`, and the operation SET.
const TOPIC: i8 = 2;
const SET: i8 = 0;

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(Kind::Milena, flags) {
        report.skip("full disk", &reason);
        return Ok(());
    }
    let cycles = flags.rounds.unwrap_or(50);
    println!("seed {}", flags.seed);
    for has_reserve in [true, false] {
        let name = if has_reserve { "full-disk" } else { "full-disk-hard" };
        let meta = format!("{}-meta", name);
        let meta = crate::layout::scratch(&meta)?;
        let meta = meta.to_str().context("a path")?.to_owned();
        let mut settings = SETTINGS.to_vec();
        if !has_reserve {
            // Without a reserve there is none for the metadata either.
            settings.extend([("milena.disk.reserve.percent", "0"), ("metadata.log.dir", meta.as_str())]);
        }
        let node = Node::with(name, flags, &settings)?;
        let mount = match Mount::tmpfs(&node.data()) {
            Ok(mount) => mount,
            Err(error) => {
                report.skip("full disk", &format!("no tmpfs can be mounted: {error:#}"));
                return Ok(());
            }
        };
        let failed = report.failed();
        let run = Run { node: &node, has_reserve, random: Random::new(flags.seed), ledger: Ledger::default(), gone: 0 };
        let outcome = run.cycles(cycles.div_ceil(2), report);
        drop(mount);
        outcome.with_context(|| format!("seed {}", flags.seed))?;
        if report.failed() == failed {
            node.remove(flags);
        }
    }
    Ok(())
}

/// A file system of limited size; dropped, it is gone.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "tmpfs"]).arg(at);
        let output = command.output().context("mount")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

struct Run<'a> {
    node: &'a Node,
    has_reserve: bool,
    random: Random,
    ledger: Ledger,
    /// Counts the topics that were made to be deleted.
    gone: u32,
}

impl Run<'_> {
    fn cycles(mut self, cycles: u32, report: &mut Report) -> anyhow::Result<()> {
        let mut server = self.node.format_and_start(Kind::Milena)?;
        let mut wire = Wire::connect(self.node.port)?;
        for (name, kept) in [("steady", Kept::All), ("sized", Kept::Tail)] {
            wire.create_topic(name, 2, &[])?;
            self.ledger.add_topic(name, 2, kept);
        }
        self.commit_offset(&mut wire)?;
        let what = if self.has_reserve { "with a reserve" } else { "without a reserve" };
        for cycle in 1..=cycles {
            let outcome = self.cycle(cycle, &mut server);
            let is_lost = outcome.is_err();
            let told = match outcome {
                Ok(told) => {
                    report.check(&format!("full disk {what} {cycle}: {told}"), None);
                    continue;
                }
                Err(error) => format!("     {error:#}\n     {}", server.last_words()),
            };
            report.check(&format!("full disk {what} {cycle}"), Some(told));
            if is_lost {
                break;
            }
        }
        server.stop()
    }

    fn cycle(&mut self, cycle: u32, server: &mut Server) -> anyhow::Result<String> {
        let mut wire = Wire::connect(self.node.port)?;
        self.gone += 1;
        let gone = format!("gone-{}", self.gone);
        wire.create_topic(&gone, 1, &[])?;
        self.ledger.add_topic(&gone, 1, Kept::All);
        let other = if cycle.is_multiple_of(3) { Some(self.take_room()?) } else { None };
        let before = self.ledger.acknowledged;
        self.fill(&mut wire, &gone)?;
        let taken = self.ledger.acknowledged - before;
        let read = self.ledger.check_all(self.node.port).context("while it is full")?;
        self.while_full(&mut wire)?;
        if cycle.is_multiple_of(4) {
            std::mem::take(server).kill()?;
            *server = self.node.start(Kind::Milena).context("start while it is full")?;
            self.ledger.check_all(self.node.port).context("after a kill while it was full")?;
            wire = Wire::connect(self.node.port)?;
        }
        if let Some(other) = other {
            std::fs::remove_file(other)?;
        }
        let how = self.make_room(cycle, &mut wire, &gone)?;
        let resumed = self.resume(&mut wire)?;
        self.ledger.check_all(self.node.port).context("after there was room again")?;
        ensure!(server.is_alive(), "the node ended");
        Ok(format!("{taken} records until full, {read} read, {how}, resumed after {} ms", resumed.as_millis()))
    }

    /// Somebody else takes a part of the room; of the reserve, only if there is none.
    fn take_room(&mut self) -> anyhow::Result<PathBuf> {
        let path = self.node.data().join("other");
        let mut file = File::create(&path)?;
        let left = if self.has_reserve { DISK_BYTES / 8 } else { 0 };
        let bytes = self.random.below(DISK_BYTES / 4).min(free_bytes(&self.node.data())?.saturating_sub(left));
        // Without room for all of it, what fits.
        let _ = file.write_all(&vec![1; usize::try_from(bytes)?]);
        // A node looks how much is left, it is not told.
        std::thread::sleep(LOOK);
        Ok(path)
    }

    /// Writes until every partition refuses.
    fn fill(&mut self, wire: &mut Wire, gone: &str) -> anyhow::Result<()> {
        let partitions = [("steady", 0), ("sized", 0), ("steady", 1), ("sized", 1), (gone, 0)];
        let mut refused = 0;
        for _ in 0..10_000 {
            let size = (1 + self.random.below(60), 100 + usize::try_from(self.random.below(4000))?);
            let codes = self.ledger.produce(wire, &partitions, size)?;
            ensure!(codes.iter().all(|code| [0, NOT_ENOUGH_REPLICAS].contains(code)), "refused with {codes:?}");
            refused = if codes.iter().all(|code| *code != 0) { refused + 1 } else { 0 };
            if refused == 3 {
                return Ok(());
            }
        }
        bail!("it never was full")
    }

    /// Metadata and coordinators go on. Without a reserve the group's offsets may have to wait, too.
    fn while_full(&self, wire: &mut Wire) -> anyhow::Result<()> {
        wire.create_topic("while-full", 1, &[])?;
        delete_topic(wire, "while-full")?;
        if self.has_reserve { self.commit_offset(wire) } else { Ok(()) }
    }

    fn commit_offset(&self, wire: &mut Wire) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let find = FindCoordinatorRequest { key: "full".into(), ..Default::default() };
            wire.call(3, &find)?;
            let partition = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
            let topic =
                OffsetCommitRequestTopic { name: "steady".into(), partitions: vec![partition], ..Default::default() };
            let request = OffsetCommitRequest { group_id: "full".into(), topics: vec![topic], ..Default::default() };
            let answer = wire.call(8, &request)?;
            let code = answer.topics.first().and_then(|topic| topic.partitions.first()).map(|one| one.error_code);
            match code {
                Some(0) => return Ok(()),
                _ if Instant::now() > end => bail!("an offset is refused with {code:?}"),
                // The coordinator's topic is being made.
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn make_room(&mut self, cycle: u32, wire: &mut Wire, gone: &str) -> anyhow::Result<&'static str> {
        delete_topic(wire, gone)?;
        self.ledger.remove_topic(gone);
        let how = match cycle % 3 {
            // The topic alone may have been so small that a node does not call it room.
            kind @ (0 | 1) => {
                for partition in 0..2 {
                    let offset = self.ledger.end("steady", partition);
                    delete_records(wire, "steady", partition, offset)?;
                    self.ledger.deleted_to("steady", partition, offset);
                }
                if kind == 0 { "topic and records deleted" } else { "records deleted" }
            }
            _ => {
                retention_bytes(wire, "sized", "1048576")?;
                "retained"
            }
        };
        Ok(how)
    }

    /// How long records are still refused.
    fn resume(&mut self, wire: &mut Wire) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        for attempt in 0_u32.. {
            let codes = self.ledger.produce(wire, &[("steady", 0), ("sized", 1)], (1, 100))?;
            if codes == [0, 0] {
                break;
            }
            ensure!(codes.iter().all(|code| [0, NOT_ENOUGH_REPLICAS].contains(code)), "refused with {codes:?}");
            // A node that does not get to run does not answer often either.
            let is_late = begin.elapsed() > RESUME && attempt * RETRY > RESUME / 2;
            ensure!(!is_late, "records are refused {:?} after there was room", begin.elapsed());
            std::thread::sleep(RETRY);
        }
        let resumed = begin.elapsed();
        retention_bytes(wire, "sized", "-1")?;
        Ok(resumed)
    }
}

fn free_bytes(path: &Path) -> anyhow::Result<u64> {
    let output = Command::new("df").args(["-B1", "--output=avail"]).arg(path).output().context("df")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().nth(1).and_then(|line| line.trim().parse().ok()).context("free bytes")
}

pub(crate) fn delete_topic(wire: &mut Wire, name: &str) -> anyhow::Result<()> {
    let request = DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 30_000, ..Default::default() };
    let answer = wire.call(5, &request)?;
    ensure!(answer.responses.iter().all(|one| one.error_code == 0), "delete {name}: {answer:?}");
    Ok(())
}

pub(crate) fn delete_records(wire: &mut Wire, topic: &str, partition: i32, offset: i64) -> anyhow::Result<()> {
    let partition = DeleteRecordsPartition { partition_index: partition, offset, ..Default::default() };
    let topic = DeleteRecordsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let answer = wire.call(2, &request)?;
    let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    ensure!(partitions.all(|one| one.error_code == 0), "delete records: {answer:?}");
    Ok(())
}

fn retention_bytes(wire: &mut Wire, topic: &str, value: &str) -> anyhow::Result<()> {
    let config = AlterableConfig {
        name: "retention.bytes".into(),
        config_operation: SET,
        value: Some(value.into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = wire.call(1, &request)?;
    ensure!(answer.responses.iter().all(|one| one.error_code == 0), "alter {topic}: {answer:?}");
    Ok(())
}

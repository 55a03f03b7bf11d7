//! Damaged files: the log dir of a node that was stopped, cleanly or by kill -9 when everything was durable, is copied; in each
//! round one file of a kind that is drawn is damaged in a way that is drawn, the node is started on it, and everything is read.
//!
//! Never may a wrong byte reach a reader, or a record that was acknowledged be missing without a word. Files that follow from
//! the log must not matter at all; a damaged log may make its own partition unreadable, no other; where the node itself cannot
//! go on (its identity, the quorum's state, the metadata log) it must end and say which file it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::flags::Flags;
use crate::injector::LONG_SESSION;
use crate::ledger::{Kept, Ledger};
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind, Node};
use crate::wire::Wire;

const SETTINGS: [(&str, &str); 7] = [
    ("log.segment.bytes", "1048576"),
    ("log.index.interval.bytes", "1024"),
    ("log.flush.offset.checkpoint.interval.ms", "300"),
    ("metadata.log.max.record.bytes.between.snapshots", "1500"),
    LONG_SESSION,
    // The damaged partition's neighbours must not wait for a retry of the cleaner.
    ("log.cleaner.enable", "false"),
    // Who takes itself for no voter any more (its directory.id is another) ends after this; Kafka's default is a minute.
    ("initial.broker.registration.timeout.ms", "10000"),
];
/// So long after the last record everything is durable and the checkpoints say so.
const SETTLE: Duration = Duration::from_millis(2500);

/// What a file is to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// Follows from something else, or can be lost.
    Derived,
    /// A log of records.
    Log,
    /// How far the logs were durable. Where it says more than a log has, the log may as well have lost its end.
    Durable,
    /// Without it the node cannot know who it is or what the cluster holds.
    Vital,
}

/// Kinds of files: a part of the name, whether in the metadata's folder, and what they are.
const KINDS: [(&str, bool, Role); 15] = [
    (".log", false, Role::Log),
    (".log", false, Role::Log),
    (".index", false, Role::Derived),
    (".timeindex", false, Role::Derived),
    (".snapshot", false, Role::Derived),
    ("leader-epoch-checkpoint", false, Role::Derived),
    ("partition.metadata", false, Role::Derived),
    ("recovery-point-offset-checkpoint", false, Role::Durable),
    ("replication-offset-checkpoint", false, Role::Derived),
    ("log-start-offset-checkpoint", false, Role::Derived),
    ("meta.properties", false, Role::Vital),
    (".log", true, Role::Vital),
    (".index", true, Role::Derived),
    (".checkpoint", true, Role::Vital),
    ("quorum-state", true, Role::Vital),
];

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(Kind::Milena, flags) {
        report.skip("damaged files", &reason);
        return Ok(());
    }
    println!("seed {}", flags.seed);
    let node = Node::with("corrupt", flags, &SETTINGS)?;
    let failed = report.failed();
    let mut random = Random::new(flags.seed);
    let (ledger, stopped) = prepare(&node)?;
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let rounds = flags.rounds.unwrap_or(1000);
    for round in 1..=rounds {
        let from = if random.below(2) == 0 { "clean" } else { "killed" };
        restore(&node, &stopped.join(from))?;
        // Some kinds are not there after either end.
        let (kind, role, path) = loop {
            let (kind, in_metadata, role) = *pick(&KINDS, &mut random).context("a kind")?;
            if let Some(path) = choose(&node.data(), kind, in_metadata, &mut random)? {
                break (kind, role, path);
            }
        };
        let damage = damage(&path, &mut random)?;
        let file = path.strip_prefix(node.data())?.display().to_string();
        let outcome = judge(&node, role, &path, ledger.clone());
        match outcome {
            Ok(outcome) => *counts.entry((kind, outcome)).or_default() += 1,
            Err(error) => {
                let name = format!("damage {round}, {from}, {file}: {damage}");
                report.check(&name, Some(format!("     {error:#}")));
                let kept = node.folder.join(format!("round-{round}"));
                Command::new("cp").arg("-a").arg(node.data()).arg(kept).status()?;
            }
        }
    }
    for ((kind, outcome), count) in &counts {
        println!("{kind}: {outcome} {count}");
    }
    let ok: u32 = counts.values().sum();
    report.check(
        &format!("{ok} of {rounds} damaged files, no wrong byte and nothing lost in silence"),
        (ok == 0).then(String::new),
    );
    if report.failed() == failed {
        node.remove(flags);
    }
    Ok(())
}

fn pick<'a, T>(from: &'a [T], random: &mut Random) -> Option<&'a T> {
    from.get(usize::try_from(random.below(from.len() as u64)).ok()?)
}

/// Fills a node and keeps its log dir after a clean stop and after a kill.
fn prepare(node: &Node) -> anyhow::Result<(Ledger, PathBuf)> {
    let mut ledger = Ledger::default();
    let server = node.format_and_start(Kind::Milena)?;
    let mut wire = Wire::connect(node.port)?;
    for (name, partitions) in [("first", 2), ("second", 1)] {
        wire.create_topic(name, partitions, &[])?;
        ledger.add_topic(name, usize::try_from(partitions)?, Kept::All);
    }
    for at in 0..60 {
        let codes = ledger.produce(&mut wire, &[("first", 0), ("first", 1), ("second", 0)], (1 + at % 50, 1500))?;
        ensure!(codes.iter().all(|code| *code == 0), "refused with {codes:?}");
    }
    std::thread::sleep(SETTLE);
    let stopped = node.folder.join("stopped");
    std::fs::create_dir_all(&stopped)?;
    server.kill()?;
    copy(&node.data(), &stopped.join("killed"))?;
    let server = node.start(Kind::Milena)?;
    ledger.check_all(node.port)?;
    server.stop()?;
    copy(&node.data(), &stopped.join("clean"))?;
    Ok((ledger, stopped))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status()?;
    ensure!(status.success(), "cp");
    Ok(())
}

fn restore(node: &Node, from: &Path) -> anyhow::Result<()> {
    let _ = std::fs::remove_dir_all(node.data());
    copy(from, &node.data())
}

/// A file of a kind that is there.
fn choose(data: &Path, kind: &str, in_metadata: bool, random: &mut Random) -> anyhow::Result<Option<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .to_str()
                .is_some_and(|name| name.ends_with(kind) && name.contains("__cluster_metadata") == in_metadata)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(pick(&found, random).cloned())
}

/// Spoils a file; how.
fn damage(path: &Path, random: &mut Random) -> anyhow::Result<String> {
    let file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let at = random.below(length);
    let how = random.below(6);
    Ok(match how {
        _ if length == 0 => {
            file.write_all_at(&[0xaa; 100], 0)?;
            "100 bytes of nonsense in an empty file".to_owned()
        }
        0 | 1 => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            file.write_all_at(&[byte[0] ^ (1 << random.below(8))], at)?;
            format!("a bit at {at} of {length}")
        }
        2 => {
            let count = (1 + random.below(4096)).min(length - at);
            file.write_all_at(&vec![0; usize::try_from(count)?], at)?;
            format!("{count} zeros at {at} of {length}")
        }
        3 => {
            file.set_len(at)?;
            format!("cut from {length} to {at}")
        }
        4 => {
            let count = 1 + random.below(300);
            let garbage: Vec<u8> = (0..count).map(|_| u8::try_from(random.below(256)).unwrap_or(0)).collect();
            file.write_all_at(&garbage, length)?;
            format!("{count} bytes of nonsense behind {length}")
        }
        _ => {
            std::fs::remove_file(path)?;
            "removed".to_owned()
        }
    })
}

/// Starts the node and reads everything: what became of it, if that is allowed.
fn judge(node: &Node, role: Role, path: &Path, mut ledger: Ledger) -> anyhow::Result<&'static str> {
    let mut server = match node.start(Kind::Milena) {
        Ok(server) => server,
        Err(error) if role == Role::Vital => {
            let said = format!("{error:#}");
            ensure!(said.contains("ended with exit status: 1"), "no clear end: {said}");
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
            ensure!(said.contains(file) || said.contains(folder), "it does not say which file: {said}");
            return Ok("the node says so and ends");
        }
        Err(error) => return Err(error.context("start")),
    };
    let checked = ledger.check(node.port).with_context(|| server.last_words());
    ensure!(server.is_alive(), "the node ended: {}", server.last_words());
    let checked = checked?;
    let words = server.last_words();
    server.kill()?;
    if checked.unreadable.is_empty() {
        return Ok("everything is there");
    }
    if role == Role::Durable && checked.unreadable.len() == 1 && words.contains("and ended at") {
        return Ok("the partition it is wrong about says so");
    }
    let partition = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    if role != Role::Log || checked.unreadable.iter().any(|one| one.partition != partition) {
        bail!("{:?}", checked.unreadable);
    }
    Ok("its partition says so")
}

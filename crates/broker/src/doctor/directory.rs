//! One log directory: who it belongs to, whether it can be used, and what is in it.

use std::fs;
use std::path::Path;

use milena_storage::checkpoint::{META_PROPERTIES, MetaProperties};
use milena_storage::disk::RealDisk;
use milena_storage::{DirectoryKind, TopicPartition};
use rustix::fs::Access;

use super::batches::{End, each_batch, first_magic};
use super::diagnosis::Diagnosis;
use super::facts::Facts;
use super::lock;

const METADATA_LOG: &str = "__cluster_metadata-0";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Less than that is said.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Files of a log directory itself.
const OWN_FILES: [&str; 8] = [
    META_PROPERTIES,
    "bootstrap.checkpoint",
    ".lock",
    CLEAN_SHUTDOWN,
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
    "cleaner-offset-checkpoint",
];
/// Endings of the files of a partition.
const ENDINGS: [&str; 12] = [
    ".log",
    ".index",
    ".timeindex",
    ".txnindex",
    ".snapshot",
    ".deleted",
    ".cleaned",
    ".swap",
    ".checkpoint",
    ".part",
    ".tmp",
    ".metadata",
];

/// Looks at everything in it.
pub(super) fn examine(path: &Path, is_deep: bool, facts: &mut Facts, diagnosis: &mut Diagnosis) {
    match fs::metadata(path) {
        Err(error) => return diagnosis.stop(path, format!("cannot be looked at: {error}")),
        Ok(found) if !found.is_dir() => return diagnosis.stop(path, "is not a directory"),
        Ok(_) => {}
    }
    usable(path, diagnosis);
    if let Some(process) = lock::holder(path) {
        diagnosis.stop(path, format!("is in use by process {process}"));
        facts.common_obstacles.push(format!("process {process} runs on {}", path.display()));
    }
    identity(path, facts, diagnosis);
    let is_clean = path.join(CLEAN_SHUTDOWN).exists();
    let folder = path.join(METADATA_LOG);
    if folder.is_dir() {
        facts.read_metadata(&folder, is_deep, diagnosis);
    }
    content(path, is_deep, is_clean, facts, diagnosis);
}

fn usable(path: &Path, diagnosis: &mut Diagnosis) {
    if let Err(error) = rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        diagnosis.stop(path, format!("cannot be read and written by this user: {error}"));
    }
    match rustix::fs::statvfs(path) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let text =
                format!("{} MiB free of {} MiB", free >> 20, space.f_blocks.saturating_mul(space.f_frsize) >> 20);
            if free < FREE_BYTES_MIN { diagnosis.note(path, text) } else { diagnosis.fine(path, text) }
        }
        Err(error) => diagnosis.note(path, format!("free space is not known: {error}")),
    }
}

fn identity(path: &Path, facts: &mut Facts, diagnosis: &mut Diagnosis) {
    let file = path.join(META_PROPERTIES);
    let text = fs::read_to_string(&file).unwrap_or_default();
    let is_first_version = text.lines().any(|line| line.trim() == "version=1");
    match MetaProperties::read(&RealDisk, path) {
        Ok(None) => {
            diagnosis.stop(path, "is not formatted: there is no meta.properties");
            facts.common_obstacles.push(format!("{} is not formatted", path.display()));
        }
        Ok(Some(meta)) if is_first_version => {
            let id = meta.directory_id.map(|id| format!(", directory {id}")).unwrap_or_default();
            diagnosis.fine(&file, format!("version 1, cluster {}, node {}{id}", meta.cluster_id, meta.node_id));
            facts.identities.push((path.to_owned(), meta));
        }
        Ok(Some(_)) => {
            diagnosis.stop(
                &file,
                "version 0: a broker of a ZooKeeper cluster wrote it; Apache Kafka 3.9 can migrate it to KRaft",
            );
            facts.common_obstacles.push(format!("{} is of a ZooKeeper cluster", path.display()));
        }
        Err(error) => {
            diagnosis.stop(path, error.to_string());
            facts.common_obstacles.push(error.to_string());
        }
    }
}

/// What the partitions of a directory come to.
#[derive(Default)]
struct Sum {
    partitions: u64,
    segments: u64,
    bytes: u64,
    /// Not known to the metadata.
    strays: Vec<String>,
}

fn content(path: &Path, is_deep: bool, is_clean: bool, facts: &Facts, diagnosis: &mut Diagnosis) {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return diagnosis.stop(path, format!("cannot be listed: {error}")),
    };
    let mut sum = Sum::default();
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in &names {
        let at = path.join(name);
        if !at.is_dir() {
            let is_known = OWN_FILES.contains(&name.as_str())
                || OWN_FILES.iter().any(|own| name.strip_suffix(".tmp") == Some(own));
            if !is_known {
                diagnosis.note(&at, "is not a file of Apache Kafka; it is left alone");
            }
            continue;
        }
        match DirectoryKind::parse(name) {
            _ if name == METADATA_LOG => partition(&at, is_deep, false, &mut Sum::default(), diagnosis),
            Some(DirectoryKind::Log(TopicPartition { topic, .. })) => {
                if facts.knows(&topic) == Some(false) {
                    sum.strays.push(name.clone());
                }
                partition(&at, is_deep, is_clean, &mut sum, diagnosis);
            }
            Some(_) => diagnosis.note(&at, "is left over from a deletion, a move or a stray"),
            None if name.starts_with("remote-log-index-cache") => {
                diagnosis.note(&at, "is left over from tiered storage")
            }
            None => diagnosis.stop(&at, "is not the directory of a partition: neither server starts with it"),
        }
    }
    let how = if is_clean { "closed cleanly" } else { "not closed cleanly: the next start checks their ends" };
    let text = format!("{} partitions, {} segments, {} MiB, {how}", sum.partitions, sum.segments, sum.bytes >> 20);
    if is_clean {
        diagnosis.fine(path, text)
    } else {
        diagnosis.note(path, text)
    }
    if let Some(first) = sum.strays.first() {
        let text = format!(
            "{} partitions are not in the metadata, such as {first}; they are set aside at start",
            sum.strays.len()
        );
        diagnosis.note(path, text);
    }
}

/// The files of one partition; every batch if `is_deep`.
fn partition(path: &Path, is_deep: bool, is_clean: bool, sum: &mut Sum, diagnosis: &mut Diagnosis) {
    sum.partitions += 1;
    if let Err(error) = rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        return diagnosis.stop(path, format!("cannot be read and written by this user: {error}"));
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return diagnosis.stop(path, format!("cannot be listed: {error}")),
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in &names {
        let is_known = ["leader-epoch-checkpoint", "quorum-state"].contains(&name.as_str())
            || ENDINGS.iter().any(|ending| name.ends_with(ending));
        if !is_known {
            diagnosis.note(&path.join(name), "is not a file of Apache Kafka; it is left alone");
        }
    }
    let mut logs = names.iter().filter(|name| name.ends_with(".log")).peekable();
    while let Some(name) = logs.next() {
        let file = path.join(name);
        sum.segments += 1;
        sum.bytes += fs::metadata(&file).map_or(0, |found| found.len());
        if let Err(error) = segment(&file, is_deep, logs.peek().is_none() && !is_clean, diagnosis) {
            diagnosis.stop(&file, format!("cannot be read: {error}"));
        }
    }
}

fn segment(file: &Path, is_deep: bool, may_be_torn: bool, diagnosis: &mut Diagnosis) -> std::io::Result<()> {
    let end = if is_deep {
        each_batch(file, true, |_| {})?
    } else {
        match first_magic(file)? {
            Some(magic) if magic < 2 => End::Old { magic },
            _ => End::Whole,
        }
    };
    match end {
        End::Whole => {}
        End::Torn { position, left_bytes } if may_be_torn => {
            diagnosis.note(
                file,
                format!("ends with {left_bytes} bytes at {position} that are no whole batch; a start cuts them"),
            );
        }
        End::Torn { position, left_bytes } => {
            diagnosis.stop(file, format!("{left_bytes} bytes at {position} are no whole batch"));
        }
        End::Damaged { position, reason } => {
            diagnosis.stop(file, format!("the batch at {position} is damaged: {reason}"))
        }
        End::Old { magic } => {
            diagnosis.stop(
                file,
                format!("holds records of the format {magic}, of before Apache Kafka 0.11, which Milena cannot read"),
            );
        }
    }
    Ok(())
}

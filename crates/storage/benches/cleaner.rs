//! Compaction beside Apache Kafka's cleaner: the same log cleaned by both, one after the other, several times, each on a
//! fresh copy. `cargo xtask oracle cleaner` runs it; `MILENA_MEGABYTES`, `MILENA_ROUNDS` and `MILENA_CODEC` shape it. Kafka's
//! code is warm after its first round, and its best round counts as ours does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a benchmark")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use milena_records::{BatchBuilder, BuilderConfig, Compression, ValidBatch};
use milena_storage::disk::RealDisk;
use milena_storage::{Cleaner, CleanerLimits, FileCache, Log, LogConfig, LogOpen};
use milena_types::{LeaderEpoch, Offset, Timestamp};

const THEN: i64 = 1_700_000_000_000;
const MAP_BYTES: u64 = 128 << 20;
const SEGMENT_BYTES: u32 = 100 << 20;
/// Records of a key, on average.
const VERSIONS: u64 = 4;
const VALUE_BYTES: usize = 400;
const BATCH_RECORDS: u64 = 50;

/// What one cleaning took.
#[derive(Clone, Copy)]
struct Took {
    wall_s: f64,
    cpu_s: f64,
    bytes: f64,
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: SEGMENT_BYTES, cleanup_compact: true, ..LogConfig::default() }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Words that repeat, as records do, so that codecs have something to find.
fn value(random: &mut u64, out: &mut Vec<u8>) {
    out.clear();
    while out.len() < VALUE_BYTES {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = *random >> 52;
        out.extend_from_slice(format!("\"field-{word}\":{},", *random >> 40).as_bytes());
    }
    out.truncate(VALUE_BYTES);
}

fn write(directory: &Path, megabytes: u64, codec: Compression) -> i64 {
    let mut log =
        Log::create(&FileCache::new(RealDisk, 64), directory, &Arc::new(config()), None, Timestamp(THEN)).unwrap();
    let records = megabytes * 1_000_000 / (VALUE_BYTES as u64 + 30);
    let keys = (records / VERSIONS).max(1);
    let (mut random, mut bytes, mut written) = (7, Vec::new(), 0);
    while written < records {
        let mut builder = BatchBuilder::new(BuilderConfig { codec: codec.into(), ..BuilderConfig::default() });
        for _ in 0..BATCH_RECORDS {
            value(&mut random, &mut bytes);
            let key = format!("customer-{:010}", (random >> 20) % keys);
            builder.append(THEN, Some(key.as_bytes()), Some(&bytes), &[]).unwrap();
        }
        written += BATCH_RECORDS;
        let batch = ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch(0)).unwrap()).unwrap();
        log.append_as_leader(&[batch], LeaderEpoch(0), Timestamp(THEN)).unwrap();
    }
    log.roll(Timestamp(THEN)).unwrap();
    log.close().unwrap();
    log.log_end_offset().0
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    // What is still to be written to the device would be paid for by who comes next.
    let _ = Command::new("sync").status();
}

/// Seconds of this process on a processor.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // Ticks of 10 ms, in and out of the kernel.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn clean(directory: &Path) -> Took {
    let open = LogOpen {
        recovery_point: Offset(0),
        log_start_offset: Offset(0),
        clean_shutdown: true,
        cleaned_to: None,
        now: Timestamp(THEN),
    };
    let (mut log, _) = Log::open(&FileCache::new(RealDisk, 64), directory, &Arc::new(config()), open).unwrap();
    let limits = CleanerLimits { map_bytes: MAP_BYTES, load_factor: 0.9, buffer_bytes: 256 << 10 };
    let (began, cpu) = (Instant::now(), cpu_s());
    let now = Timestamp(THEN);
    let view = log.clean_view(log.log_end_offset());
    let plan = view.plan(now).unwrap();
    let mut cleaning = Cleaner::new(limits, [1, 2]).begin(view, plan, log.last_records(), now, &mut |_| true).unwrap();
    while let Some(group) = cleaning.next_group(&mut |_| true).unwrap() {
        assert!(log.replace_segments(group, now).unwrap().is_none());
    }
    cleaning.view().sync_directory().unwrap();
    let took = Took {
        wall_s: began.elapsed().as_secs_f64(),
        cpu_s: cpu_s() - cpu,
        bytes: (plan.clean_bytes + plan.cleanable_bytes) as f64,
    };
    let stats = cleaning.stats();
    println!(
        "           {} of {} records left, {} MB",
        stats.records_written,
        stats.records_read,
        stats.bytes_written / 1_000_000
    );
    took
}

fn show(who: &str, took: Took) {
    let gigabytes = took.bytes / 1e9;
    println!(
        "{who:<8} {:7.2} s {:8.0} MB/s {:7.2} CPU s {:7.2} CPU s/GB",
        took.wall_s,
        took.bytes / 1e6 / took.wall_s,
        took.cpu_s,
        took.cpu_s / gigabytes
    );
}

fn best(rounds: &[Took]) -> Took {
    let least = |of: fn(&Took) -> f64| rounds.iter().map(of).fold(f64::MAX, f64::min);
    Took { wall_s: least(|took| took.wall_s), cpu_s: least(|took| took.cpu_s), bytes: rounds[0].bytes }
}

fn kafka(jars: &str, directory: &Path, fresh: &Path, end: i64, rounds: u64) -> Vec<Took> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/oracle-compaction/CompactionOracle.java");
    let mut java = Command::new("java")
        .args(["-Xmx1g", "-cp", &format!("{jars}/*"), source, "time"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (java.stdin.take().unwrap(), BufReader::new(java.stdout.take().unwrap()).lines());
    let mut all = Vec::new();
    for _ in 0..rounds {
        copy(fresh, directory);
        writeln!(
            input,
            "{}\t{THEN}\t-\t{end}\t{MAP_BYTES}\t0.9\t100000\tcleanup.policy=compact,segment.bytes={SEGMENT_BYTES}",
            directory.display()
        )
        .unwrap();
        for line in &mut output {
            let line = line.unwrap();
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[0] {
                "time" => {
                    let seconds = |at: usize| fields[at].parse::<f64>().unwrap() / 1e9;
                    let took = Took { wall_s: seconds(1), cpu_s: seconds(2), bytes: fields[3].parse().unwrap() };
                    show("kafka", took);
                    all.push(took);
                }
                "failed" => panic!("{line}"),
                "done" => break,
                _ => {}
            }
        }
    }
    drop(input);
    let _ = java.wait();
    all
}

fn main() {
    let Ok(jars) = std::env::var("MILENA_KAFKA_JARS") else {
        println!("skipped: MILENA_KAFKA_JARS names no folder with Kafka's jars");
        return;
    };
    let (megabytes, rounds) = (number("MILENA_MEGABYTES", 1000), number("MILENA_ROUNDS", 3));
    let codec = std::env::var("MILENA_CODEC").unwrap_or_else(|_| "none".to_owned());
    let root = tempfile::tempdir_in(std::env::var("MILENA_DIR").unwrap_or_else(|_| "/tmp".to_owned())).unwrap();
    let fresh = root.path().join("fresh").join("t-0");
    fs::create_dir_all(fresh.parent().unwrap()).unwrap();
    let end = write(&fresh, megabytes, Compression::from_name(&codec).unwrap());
    println!("{megabytes} MB of records of {VALUE_BYTES} bytes, {VERSIONS} of each key, {end} in all, codec {codec}");
    let directory = root.path().join("t-0");
    let theirs = kafka(&jars, &directory, &fresh, end, rounds);
    let mut ours = Vec::new();
    for _ in 0..rounds {
        copy(&fresh, &directory);
        let took = clean(&directory);
        show("milena", took);
        ours.push(took);
    }
    println!("best of {rounds}:");
    show("kafka", best(&theirs));
    show("milena", best(&ours));
}

//! The same logs given to Apache Kafka's cleaner: the same plan, and the same segments, batches and records, after each of
//! several cleanings with time passing between them. `MILENA_LOGS` says how many logs, `MILENA_SEED` which is the first.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use milena_storage::LogConfig;

use crate::cleanings::{Round, clean, describe};
use crate::logs::{Random, THEN, Written, write};

/// Logs of a run that asks for no number.
const LOGS: u64 = 40;

struct Oracle {
    java: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    fn start(jars: &str) -> Oracle {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/oracle-compaction/CompactionOracle.java");
        let mut java = Command::new("java")
            .args(["-Xmx512m", "-cp", &format!("{jars}/*"), source])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (java.stdin.take().unwrap(), BufReader::new(java.stdout.take().unwrap()));
        Oracle { java, input, output }
    }

    /// The lines of its answer.
    fn clean(&mut self, directory: &Path, round: &Round) -> Vec<String> {
        let config = &round.config;
        writeln!(
            self.input,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\tcleanup.policy=compact,internal.segment.bytes={},index.interval.bytes={},\
             delete.retention.ms={},min.compaction.lag.ms={},max.compaction.lag.ms={}",
            directory.display(),
            round.now,
            round.cleaned_to.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            round.high_watermark,
            round.map_bytes,
            round.load_factor,
            config.producer_id_expiration_ms,
            config.segment_bytes,
            config.index_interval_bytes,
            config.delete_retention_ms,
            config.min_compaction_lag_ms,
            config.max_compaction_lag_ms,
        )
        .unwrap();
        let mut lines = Vec::new();
        for line in (&mut self.output).lines() {
            let line = line.unwrap();
            if line == "done" {
                return lines;
            }
            lines.push(line);
        }
        panic!("the oracle ended: {lines:?}");
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.java.kill();
        let _ = self.java.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn rounds(random: &mut Random, written: &Written) -> Vec<Round> {
    let min_lag = if random.one_in(3) { random.below(2000) } else { 0 };
    let config = LogConfig {
        segment_bytes: 1200 + random.below(12_000) as u32,
        index_interval_bytes: 500,
        cleanup_compact: true,
        delete_retention_ms: [0, 1000, 10_000, i64::MAX][random.below(4) as usize],
        min_compaction_lag_ms: min_lag,
        max_compaction_lag_ms: if random.one_in(3) { min_lag + 1 + random.below(5000) } else { i64::MAX },
        producer_id_expiration_ms: [1_000_000, 5000][random.below(2) as usize],
        ..LogConfig::default()
    };
    let mut now = written.until;
    let mut rounds = Vec::new();
    let mut high_watermark = random.below(written.end + 1);
    for _ in 0..1 + random.below(4) {
        // With transactions a cleaning must not begin in the midst of a segment: Kafka's then takes committed records of a
        // producer that aborted something before for aborted (`cases.rs`).
        let slots = if !written.has_transactions && random.one_in(2) { 4 + random.below(30) } else { 5000 };
        rounds.push(Round {
            now,
            cleaned_to: None,
            high_watermark,
            map_bytes: 24 * slots as u64,
            load_factor: [0.9, 0.5][random.below(2) as usize],
            config: config.clone(),
        });
        now += [1, 700, 6000, 20_000][random.below(4) as usize];
        high_watermark += random.below(written.end - high_watermark + 1);
        if random.one_in(2) {
            high_watermark = written.end;
        }
    }
    rounds
}

/// What of the oracle's lines can be the same: how segments are grouped depends on their sizes, and how large a
/// compressed batch becomes is the library's affair. The aborted transactions of all segments are then one line.
fn comparable(lines: Vec<String>, is_compressed: bool) -> Vec<String> {
    if !is_compressed {
        return lines;
    }
    let (segments, mut lines): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|line| line.starts_with("segment"));
    let aborted: Vec<&str> = segments.iter().filter_map(|segment| segment.rsplit('\t').next()).collect();
    lines.push(format!("aborted\t{}", aborted.concat()));
    lines
}

/// Cleans the log of one seed in both ways; how many cleanings there were and how many records went.
fn compare(seed: u64, oracle: &mut Oracle, root: &Path) -> (usize, usize) {
    let mut random = Random::new(seed);
    let paths: [PathBuf; 3] = ["new", "milena", "kafka"].map(|name| root.join(name).join(format!("t-{seed}")));
    let [new, ours, theirs] = &paths;
    fs::create_dir_all(root.join("new")).unwrap();
    let written = write(new, &mut random);
    copy(new, ours);
    copy(new, theirs);
    let records = |lines: &[String]| lines.iter().filter(|line| line.starts_with("record")).count();
    let before = records(&describe(new));
    let mut cleaned_to = None;
    let mut cleanings = 0;
    let mut left = before;
    for (at, round) in rounds(&mut random, &written).into_iter().enumerate() {
        let round = Round { cleaned_to, ..round };
        let what = format!("seed {seed}, round {at}, {round:?}");
        let answer = oracle.clean(theirs, &round);
        let (plan, end) = clean(ours, &round);
        let mut expected = vec![format!(
            "plan\t{}\t{}\t{}\t{}\t{}",
            plan.first_dirty_offset,
            plan.first_uncleanable_offset,
            plan.clean_bytes,
            plan.cleanable_bytes,
            plan.overdue_ms
        )];
        expected.push(format!("end\t{end}"));
        expected.extend(describe(ours));
        let (mut found, mut expected) =
            (comparable(answer, written.is_compressed), comparable(expected, written.is_compressed));
        if written.is_compressed && at > 0 {
            // Sizes of what was compressed anew.
            found.remove(0);
            expected.remove(0);
        }
        if let Some(line) = found.iter().zip(&expected).position(|(theirs, ours)| theirs != ours) {
            panic!("{what}: line {line}:\nkafka  {}\nmilena {}", found[line], expected[line]);
        }
        assert_eq!(found.len(), expected.len(), "{what}");
        cleanings += usize::from(plan.cleanable_bytes > 0);
        left = records(&expected);
        cleaned_to = Some(end);
    }
    for path in &paths {
        fs::remove_dir_all(path).unwrap();
    }
    (cleanings, before - left)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[test]
fn what_is_left_of_random_logs_is_what_kafkas_cleaner_leaves() {
    let Ok(jars) = std::env::var("MILENA_KAFKA_JARS") else {
        eprintln!("skipped: MILENA_KAFKA_JARS names no folder with Kafka's jars");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::start(&jars);
    let (first, logs) = (number("MILENA_SEED", 1), number("MILENA_LOGS", LOGS));
    let (mut cleanings, mut removed) = (0, 0);
    for seed in first..first + logs {
        let (cleaned, gone) = compare(seed, &mut oracle, root.path());
        cleanings += cleaned;
        removed += gone;
    }
    eprintln!("{logs} logs, {cleanings} cleanings, {removed} records removed: the same as Apache Kafka's cleaner");
    assert!(logs < 20 || cleanings as u64 > logs && removed as u64 > logs * 10 && THEN > 0);
}

//! Each call to the disk that a cleaning makes is failed in turn; then the process goes on, is started again, or the machine
//! loses power. Whatever happens, each key has its newest value, a key that was deleted stays deleted, also after the
//! tombstone is gone, and what can be read was written so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use milena_protocol::Records;
use milena_records::{BatchBuilder, Batches, BuilderConfig, ValidBatch};
use milena_storage::checkpoint::{CLEANER_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT};
use milena_storage::disk::SimulatedDisk;
use milena_storage::{
    CleanError, Cleaner, CleanerLimits, Error, FileCache, Log, LogConfig, LogDir, LogOpen, TopicPartition,
};
use milena_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

use crate::logs::Random;

const LOGS: &str = "/logs";
const RETENTION_MS: i64 = 1000;
const KEYS: i64 = 9;

type Values = BTreeMap<i64, (String, Option<String>)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    GoesOn,
    Restarts,
    LosesPower,
}

/// A log, its directory, and every record that was written to it, by offset.
struct Run {
    disk: SimulatedDisk,
    log_dir: LogDir<SimulatedDisk>,
    log: Log<SimulatedDisk>,
    written: Values,
    now: i64,
    /// A mistake that must be noticed: the checkpoint is written before the exchange is durable.
    is_careless: bool,
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "topic".into(), partition: PartitionIndex(0) }
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 900,
        index_interval_bytes: 150,
        cleanup_compact: true,
        delete_retention_ms: RETENTION_MS,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    })
}

impl Run {
    fn new(seed: u64) -> Run {
        let disk = SimulatedDisk::new(seed);
        let cache = FileCache::new(disk.clone(), 16);
        let log_dir = LogDir::open(&cache, Path::new(LOGS)).unwrap();
        let log = log_dir.create_log(&partition(), None, &config(), Timestamp(0)).unwrap();
        let mut run = Run { disk, log_dir, log, written: Values::new(), now: 0, is_careless: false };
        run.append(&mut Random::new(seed), 30);
        run
    }

    /// Writes batches of a few records and makes them durable.
    fn append(&mut self, random: &mut Random, batches: i64) {
        for _ in 0..batches {
            let mut builder = BatchBuilder::new(BuilderConfig::default());
            for _ in 0..1 + random.below(4) {
                let key = format!("key {}", random.below(KEYS));
                let offset = self.log.log_end_offset().0 + i64::from(builder.count());
                let value = (!random.one_in(3)).then(|| format!("the value at {offset}"));
                builder.append(self.now, Some(key.as_bytes()), value.as_ref().map(String::as_bytes), &[]).unwrap();
                self.written.insert(offset, (key, value));
            }
            let batch = ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap()).unwrap();
            self.log.append_as_leader(&[batch], LeaderEpoch(0), Timestamp(self.now)).unwrap();
        }
        self.log.roll(Timestamp(self.now)).unwrap();
        self.log.flush().unwrap();
        let points = OffsetCheckpoint::from([(partition(), self.log.recovery_point())]);
        self.log_dir.sync().unwrap();
        self.log_dir.write_checkpoint(RECOVERY_POINT_CHECKPOINT, &points).unwrap();
        self.log.recovery_point_saved(self.log.recovery_point());
    }

    fn open(disk: &SimulatedDisk, written: Values, now: i64) -> Run {
        let cache = FileCache::new(disk.clone(), 16);
        let log_dir = LogDir::open(&cache, Path::new(LOGS)).unwrap();
        let read = |name| log_dir.read_checkpoint(name).unwrap().get(&partition()).copied();
        let open = LogOpen {
            recovery_point: read(RECOVERY_POINT_CHECKPOINT).unwrap_or(Offset(0)),
            log_start_offset: Offset(0),
            clean_shutdown: false,
            cleaned_to: read(CLEANER_OFFSET_CHECKPOINT),
            now: Timestamp(now),
        };
        let (log, _) = Log::open(&cache, &Path::new(LOGS).join(partition().to_string()), &config(), open).unwrap();
        Run { disk: disk.clone(), log_dir, log, written, now, is_careless: false }
    }

    /// One cleaning as the broker does it.
    fn clean(&mut self) -> Result<(), Error> {
        let now = Timestamp(self.now);
        let view = self.log.clean_view(self.log.log_end_offset());
        let plan = view.plan(now)?;
        if plan.cleanable_bytes == 0 {
            return Ok(());
        }
        let limits = CleanerLimits { map_bytes: 24 * 1000, load_factor: 0.9, buffer_bytes: 4096 };
        let storage = |error: CleanError| match error {
            CleanError::Storage(error) => error,
            CleanError::Stopped => panic!("nobody stopped it"),
        };
        let mut cleaning = Cleaner::new(limits, [3, 4])
            .begin(view, plan, self.log.last_records(), now, &mut |_| true)
            .map_err(storage)?;
        while let Some(group) = cleaning.next_group(&mut |_| true).map_err(storage)? {
            assert!(self.log.replace_segments(group, now)?.is_none());
        }
        if !self.is_careless {
            cleaning.view().sync_directory()?;
        }
        self.log.set_cleaned_to(cleaning.end_offset());
        let offsets = OffsetCheckpoint::from([(partition(), cleaning.end_offset())]);
        self.log_dir.write_checkpoint(CLEANER_OFFSET_CHECKPOINT, &offsets)?;
        self.log.remove_deleted_files(now)?;
        Ok(())
    }

    /// What the log holds: what is wrong with it, if anything is.
    fn check(&self) -> Result<usize, String> {
        let mut next = self.log.log_start_offset();
        let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
        let (mut count, mut last) = (0, -1);
        while next < self.log.log_end_offset() {
            let read =
                self.log.read(next, u32::MAX, self.log.log_end_offset(), true).map_err(|error| error.to_string())?;
            let Records::File(slice) = &read.records else { break };
            let mut bytes = vec![0; slice.len as usize];
            slice.source.read_exact_at(&mut bytes, slice.position).map_err(|error| error.to_string())?;
            for batch in Batches::new(bytes.into()) {
                let batch = batch.map_err(|error| error.to_string())?;
                batch.verify_crc().map_err(|error| error.to_string())?;
                for record in batch.records(1 << 20).unwrap() {
                    let record = record.unwrap();
                    let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                    let (key, value) = (text(&record.key.unwrap()), record.value.as_ref().map(text));
                    if record.offset.0 <= last
                        || self.written.get(&record.offset.0) != Some(&(key.clone(), value.clone()))
                    {
                        return Err(format!("{key} at {} after {last}, which nobody wrote", record.offset));
                    }
                    last = record.offset.0;
                    count += 1;
                    found.insert(key, value);
                }
                next = batch.header.next_offset();
            }
        }
        let newest: BTreeMap<String, Option<String>> = self.written.values().cloned().collect();
        for (key, value) in &newest {
            let found = found.get(key).cloned().flatten();
            if found != *value {
                return Err(format!("{key} is {found:?} and not {value:?}"));
            }
        }
        Ok(count)
    }

    /// Time passes, more is written, and everything is cleaned until no tombstone is left.
    fn live_on(&mut self, seed: u64) -> Result<(), String> {
        self.is_careless = false;
        for round in 0..3 {
            self.now += RETENTION_MS + 1;
            if round == 0 {
                self.append(&mut Random::new(seed + 77), 6);
            } else {
                // Something to clean.
                self.append(&mut Random::new(seed + 78 + round), 1);
            }
            self.clean().map_err(|error| error.to_string())?;
            self.check()?;
        }
        Ok(())
    }
}

/// A log in its second cleaning: the first gave tombstones their horizon, which has passed.
fn prepared(seed: u64) -> Run {
    let mut run = Run::new(seed);
    run.clean().unwrap();
    run.check().unwrap();
    run.now += RETENTION_MS + 1;
    run.append(&mut Random::new(seed + 1000), 20);
    run
}

/// Fails call number `at` of a cleaning; whether it was made, and what was found wrong afterwards.
fn fail_call(mut run: Run, at: u64, for_good: bool, then: Then, seed: u64) -> (bool, Result<(), String>) {
    let call = run.disk.calls() + at;
    run.disk.fail_call(call, for_good);
    let outcome = run.clean();
    let is_reached = run.disk.calls() >= call;
    run.disk.fail_call(0, false);
    let then = if run.log.is_failed() && then == Then::GoesOn { Then::Restarts } else { then };
    let mut again = match then {
        Then::GoesOn => run,
        Then::Restarts => {
            let (disk, written, now) = (run.disk.clone(), run.written.clone(), run.now);
            drop(run);
            Run::open(&disk, written, now)
        }
        Then::LosesPower => Run::open(&run.disk.cut_power(), run.written, run.now),
    };
    let found = again.check().map(|_| ()).and_then(|()| again.live_on(seed));
    (is_reached, found.map_err(|wrong| format!("call {at}, for good {for_good}, {then:?}, {outcome:?}: {wrong}")))
}

#[test]
fn no_key_is_lost_and_none_comes_back_whichever_call_of_a_cleaning_fails() {
    let mut calls = 0;
    let ways = [(Then::GoesOn, false), (Then::Restarts, true), (Then::LosesPower, true)];
    for (then, for_good) in ways {
        for at in 1.. {
            let seed = at % 5;
            let (is_reached, found) = fail_call(prepared(seed), at, for_good, then, seed);
            found.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            if !is_reached {
                break;
            }
            calls += 1;
        }
    }
    eprintln!("{calls} calls failed");
    assert!(calls > 500, "{calls}");
}

#[test]
fn power_cuts_between_cleanings_lose_nothing_and_bring_nothing_back() {
    for seed in 0..100 {
        let mut run = prepared(seed);
        run.clean().unwrap();
        let mut again = Run::open(&run.disk.cut_power(), run.written, run.now);
        again.check().and_then(|_| again.live_on(seed)).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

#[test]
fn a_checkpoint_ahead_of_its_exchange_would_be_noticed() {
    let comes_back = |seed| {
        let mut run = prepared(seed);
        run.is_careless = true;
        // The checkpoint's own directory is synced, the log's is not.
        run.clean().unwrap();
        let mut again = Run::open(&run.disk.cut_power(), run.written, run.now);
        again.check().and_then(|_| again.live_on(seed)).is_err()
    };
    assert!((0..300).any(comes_back));
}

#[test]
fn every_record_that_is_superseded_goes() {
    let mut run = prepared(1);
    let before = run.check().unwrap();
    run.clean().unwrap();
    let after = run.check().unwrap();
    assert!(after < before / 2 && after <= KEYS as usize + 4, "{before} records, {after} left");
    run.live_on(1).unwrap();
}

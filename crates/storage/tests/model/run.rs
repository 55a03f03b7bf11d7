//! A log in a log directory and the model of its contents. The model knows every batch by its number; a batch's
//! records, times and sequence numbers follow from it.

use std::path::Path;
use std::sync::Arc;

use milena_protocol::Records;
use milena_records::{BatchBuilder, Batches, BuilderConfig, ValidBatch};
use milena_storage::checkpoint::{OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT};
use milena_storage::disk::{Disk, SimulatedDisk};
use milena_storage::{Error, FileCache, FlushHandle, Log, LogConfig, LogDir, LogOpen, TopicPartition};
use milena_types::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, Uuid};

pub(crate) const NOW: Timestamp = Timestamp(1_000_000);
const FIRST_EPOCH: LeaderEpoch = LeaderEpoch(3);
const PRODUCER: ProducerId = ProducerId(7);
const LOGS: &str = "/logs";

/// What is done to a log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// So many batches in one call, of so many records.
    Append(i64, i64),
    Roll,
    Flush,
    /// The two halves of a flush: what is prepared runs later, after what was prepared since, or never.
    Prepare,
    Finish(usize),
    /// What is appended from here on is of the next leader epoch.
    NewEpoch,
    /// Many logs' way of becoming durable: written, one sync of the file system, the recovery point saved.
    Round,
    TruncateTo(i64),
    StartAt(i64),
    AdvanceStart(i64),
    DeleteOld,
    RemoveDeleted,
    Close,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BatchModel {
    base: i64,
    count: i64,
    number: i64,
    sequence: i32,
    epoch: LeaderEpoch,
}

impl BatchModel {
    fn next(&self) -> i64 {
        self.base + self.count
    }

    /// Times go up and down between batches and up within one.
    fn timestamp(&self, record: i64) -> i64 {
        1000 + self.number * 7919 % 500 + record
    }

    fn build(&self) -> ValidBatch {
        let mut builder = BatchBuilder::new(BuilderConfig {
            producer_id: PRODUCER,
            producer_epoch: ProducerEpoch(0),
            base_sequence: self.sequence,
            ..BuilderConfig::default()
        });
        for record in 0..self.count {
            let value = format!("record {record} of batch {}", self.number);
            builder.append(self.timestamp(record), None, Some(value.as_bytes()), &[]).unwrap();
        }
        ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap()).unwrap()
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    pub(crate) batches: Vec<BatchModel>,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl State {
    fn truncate(&mut self, offset: i64) {
        self.batches.retain(|batch| batch.next() <= offset);
        // A batch that holds the offset goes whole.
        self.end = self.batches.last().map_or(self.start.min(offset), BatchModel::next);
        self.start = self.start.min(self.end);
    }
}

pub(crate) struct Run {
    pub(crate) disk: SimulatedDisk,
    log_dir: Option<LogDir<SimulatedDisk>>,
    pub(crate) log: Log<SimulatedDisk>,
    /// Flushes that were prepared and did not run yet.
    pending: Vec<FlushHandle<SimulatedDisk>>,
    pub(crate) state: State,
    /// What an operation that failed would have led to.
    pub(crate) attempted: Option<State>,
    /// What a power cut must leave.
    pub(crate) durable: i64,
    next_number: i64,
    epoch: LeaderEpoch,
}

pub(crate) fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 200,
        checkpoint_interval_bytes: 700,
        retention_bytes: 3000,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    })
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "topic".into(), partition: PartitionIndex(0) }
}

impl Run {
    /// An empty log whose directory is durable.
    pub(crate) fn new(seed: u64) -> Run {
        let disk = SimulatedDisk::new(seed);
        Run::create(&disk).unwrap()
    }

    pub(crate) fn create(disk: &SimulatedDisk) -> Result<Run, Error> {
        let cache = FileCache::new(disk.clone(), 16);
        let log_dir = LogDir::open(&cache, Path::new(LOGS))?;
        let log = log_dir.create_log(&partition(), Some(Uuid::ONE), &config(), NOW)?;
        Ok(Run::with(disk, log_dir, log))
    }

    fn with(disk: &SimulatedDisk, log_dir: LogDir<SimulatedDisk>, log: Log<SimulatedDisk>) -> Run {
        let state = State::default();
        let log_dir = Some(log_dir);
        let (disk, pending) = (disk.clone(), Vec::new());
        Run { disk, log_dir, log, pending, state, attempted: None, durable: 0, next_number: 1, epoch: FIRST_EPOCH }
    }

    /// Opens what is on `disk` as a broker does; the model is the caller's. `None` if there is no such log.
    pub(crate) fn open(disk: &SimulatedDisk) -> Result<Option<Run>, Error> {
        let cache = FileCache::new(disk.clone(), 16);
        let log_dir = LogDir::open(&cache, Path::new(LOGS))?;
        let path = Path::new(LOGS).join(partition().to_string());
        if !matches!(disk.metadata(&path), Ok(Some(_))) {
            return Ok(None);
        }
        let recovery_points = log_dir.read_checkpoint(RECOVERY_POINT_CHECKPOINT)?;
        let recovery_point = recovery_points.get(&partition()).copied().unwrap_or(Offset(0));
        let clean_shutdown = log_dir.previous_shutdown().is_some();
        milena_storage::checkpoint::CleanShutdown::remove(disk, Path::new(LOGS))?;
        let open = LogOpen { recovery_point, log_start_offset: Offset(0), clean_shutdown, cleaned_to: None, now: NOW };
        let (log, _) = Log::open(&cache, &path, &config(), open)?;
        Ok(Some(Run::with(disk, log_dir, log)))
    }

    /// The power goes and comes again: the log that is left, with the model cut to its end.
    pub(crate) fn after_power_cut(self) -> Option<Run> {
        let survived = self.disk.cut_power();
        self.opened_again(&survived)
    }

    /// The process is killed and starts again: what it wrote is there, synced or not.
    pub(crate) fn after_kill(self) -> Run {
        let disk = self.disk.clone();
        self.opened_again(&disk).expect("a kill takes no files")
    }

    fn opened_again(self, disk: &SimulatedDisk) -> Option<Run> {
        let Run { log_dir, log, state, durable, next_number, epoch, .. } = self;
        drop((log, log_dir));
        let mut again = Run::open(disk).unwrap()?;
        again.state = state;
        again.state.truncate(again.log.log_end_offset().0);
        again.state.start = again.log.log_start_offset().0;
        again.state.end = again.log.log_end_offset().0;
        again.durable = durable.min(again.state.end);
        again.next_number = next_number;
        again.epoch = epoch;
        Some(again)
    }

    /// Does `op` to log and model. The model moves on only if the log says that it did.
    pub(crate) fn apply(&mut self, op: Op) -> Result<(), Error> {
        let mut after = self.state.clone();
        let batches = match op {
            Op::Append(batches, count) => self.plan(&mut after, batches, count),
            Op::TruncateTo(offset) if offset < after.end => {
                after.truncate(offset);
                Vec::new()
            }
            Op::StartAt(offset) => {
                after = State { batches: Vec::new(), start: offset, end: offset };
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.attempted = Some(after.clone());
        if after.end < self.state.end || matches!(op, Op::StartAt(_)) {
            let bound = if matches!(op, Op::StartAt(_)) { 0 } else { after.end };
            self.durable = self.durable.min(bound);
        }
        self.work(op, &batches)?;
        after.start = self.log.log_start_offset().0;
        self.state = after;
        self.attempted = None;
        // A log with a flush under way is left out of a round.
        if matches!(op, Op::Flush | Op::Close) || matches!(op, Op::Round) && self.pending.is_empty() {
            self.durable = self.state.end;
        }
        Ok(())
    }

    fn plan(&mut self, after: &mut State, batches: i64, count: i64) -> Vec<ValidBatch> {
        let mut built = Vec::new();
        let mut sequence = self.log.producer(PRODUCER).map_or(-1, |producer| producer.last_sequence()) + 1;
        for _ in 0..batches {
            let batch = BatchModel { base: after.end, count, number: self.next_number, sequence, epoch: self.epoch };
            self.next_number += 1;
            sequence += i32::try_from(count).unwrap();
            after.end = batch.next();
            built.push(batch.build());
            after.batches.push(batch);
        }
        built
    }

    fn work(&mut self, op: Op, batches: &[ValidBatch]) -> Result<(), Error> {
        match op {
            Op::Append(..) => {
                let appended = match self.log.append_as_leader(batches, self.epoch, NOW) {
                    Ok(appended) => appended,
                    Err(milena_storage::AppendError::Storage(error)) => return Err(error),
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(appended.first_offset.0, self.state.end, "{:?} {:?}", self.state, self.log);
                Ok(())
            }
            Op::NewEpoch => {
                self.epoch = LeaderEpoch(self.epoch.0 + 1);
                Ok(())
            }
            Op::Roll => self.log.roll(NOW),
            Op::Flush => self.log.flush(),
            Op::Prepare => {
                self.pending.extend(self.log.prepare_flush()?);
                Ok(())
            }
            Op::Finish(which) => {
                if !self.pending.is_empty() {
                    let handle = self.pending.remove(which % self.pending.len());
                    self.log.flushed(handle.run()?);
                    self.durable = self.durable.max(self.log.recovery_point().0);
                }
                Ok(())
            }
            Op::Round => self.round(),
            Op::TruncateTo(offset) => {
                self.log.lower_recovery_point(Offset(offset));
                self.save()?;
                self.log.truncate_to(Offset(offset), NOW)?;
                self.save()
            }
            Op::StartAt(offset) => {
                self.log.lower_recovery_point(Offset(0));
                self.save()?;
                self.log.truncate_fully_and_start_at(Offset(offset), NOW)?;
                self.save()
            }
            Op::AdvanceStart(offset) => self.log.advance_log_start(Offset(offset)).map(|_| ()),
            Op::DeleteOld => self.log.delete_old_segments(Offset(self.state.end), NOW).map(|_| ()),
            Op::RemoveDeleted => self.log.remove_deleted_files(NOW).map(|_| ()),
            Op::Close => {
                self.log.close()?;
                match self.log_dir.take() {
                    Some(log_dir) => log_dir.close([(partition(), &self.log)].into_iter(), 1),
                    None => Ok(()),
                }
            }
        }
    }

    fn round(&mut self) -> Result<(), Error> {
        if let Some(flushed) = self.log.prepare_sync(300)? {
            let synced = self.log_dir.as_ref().unwrap().sync_file_system();
            if synced.is_err() {
                self.log.mark_failed();
            }
            synced?;
            self.log.flushed(flushed);
        }
        self.save()
    }

    fn save(&mut self) -> Result<(), Error> {
        let log_dir = self.log_dir.as_ref().unwrap();
        let point = self.log.recovery_point();
        log_dir.sync()?;
        log_dir.write_checkpoint(RECOVERY_POINT_CHECKPOINT, &OffsetCheckpoint::from([(partition(), point)]))?;
        self.log.recovery_point_saved(point);
        Ok(())
    }

    /// The log holds exactly what the model says.
    pub(crate) fn check_equal(&self, what: &str) {
        self.check(&[&self.state], self.state.end, what);
        assert_eq!(self.log.log_end_offset().0, self.state.end, "{what}");
    }

    /// The log holds, up to its end, which is not below `durable`, what one of `candidates` says; its indexes and its
    /// producers say the same.
    pub(crate) fn check(&self, candidates: &[&State], durable: i64, what: &str) {
        let (start, end) = (self.log.log_start_offset().0, self.log.log_end_offset().0);
        assert!(end >= durable, "{what}: the log ends at {end}, {durable} was durable");
        let found = read_all(&self.log, what);
        let fits = |state: &&&State| {
            let mut left = (**state).clone();
            left.truncate(end);
            left.batches.retain(|batch| batch.next() > start);
            left.batches.iter().map(|batch| (batch.base, batch.count, batch.number)).eq(found.iter().copied())
                && (left.end == end || left.batches.is_empty())
        };
        let Some(state) = candidates.iter().find(fits) else {
            panic!("{what}: {start}..{end} holds {found:?}, not one of {candidates:?}");
        };
        let left: Vec<&BatchModel> =
            state.batches.iter().filter(|batch| batch.next() > start && batch.next() <= end).collect();
        for batch in &left {
            // None is known of records whose deletion is forgotten here: the start is not saved.
            let known = self.log.epochs().iter().rev().find(|entry| entry.start_offset.0 <= batch.base.max(start));
            let epoch = known.map_or(batch.epoch, |entry| entry.epoch);
            assert_eq!(epoch, batch.epoch, "{what}: the epoch at {}", batch.base);
        }
        if let Some(last) = left.last() {
            let sequence = self.log.producer(PRODUCER).map(|producer| producer.last_sequence());
            assert_eq!(sequence, Some(last.sequence + i32::try_from(last.count).unwrap() - 1), "{what}: producers");
        }
        let records: Vec<(i64, i64)> = left
            .iter()
            .flat_map(|batch| (0..batch.count).map(|record| (batch.base + record, batch.timestamp(record))))
            .filter(|(offset, _)| *offset >= start)
            .collect();
        for time in [0, 1100, 1250, 1400, 1499, 1600] {
            let expected = records.iter().find(|(_, timestamp)| *timestamp >= time).map(|(offset, _)| *offset);
            let found = self.log.offset_for_timestamp(Timestamp(time)).unwrap().map(|found| found.offset.0);
            assert_eq!(found, expected, "{what}: the first offset at {time}");
        }
    }
}

/// Base offset, records and number of every batch.
fn read_all(log: &Log<SimulatedDisk>, what: &str) -> Vec<(i64, i64, i64)> {
    let mut found = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(next, u32::MAX, log.log_end_offset(), true).unwrap();
        let Records::File(slice) = &read.records else { panic!("{what}: nothing at {next}") };
        let mut bytes = vec![0; slice.len as usize];
        slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
        for batch in Batches::new(bytes.into()) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            let records: Vec<_> = batch.records(1 << 20).unwrap().map(Result::unwrap).collect();
            let value = String::from_utf8(records[0].value.clone().unwrap().to_vec()).unwrap();
            let number = value.rsplit(' ').next().unwrap().parse().unwrap();
            found.push((batch.header.base_offset.0, records.len() as i64, number));
            next = batch.header.next_offset();
        }
    }
    found
}

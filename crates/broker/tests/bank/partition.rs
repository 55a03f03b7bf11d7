//! One partition: a real log on a simulated disk, and a reader of what is committed in it, as Kafka's consumer reads.

use milena_coordinator::runtime::{EndOfTransaction, Producer};
use milena_protocol::Records;
use milena_records::{
    Batch, BatchBuilder, BatchHeader, Batches, BuilderConfig, ControlType, ValidBatch, control_type,
    end_transaction_marker,
};
use milena_storage::disk::{Disk, SimulatedDisk};
use milena_storage::{AppendContext, AppendError, AppendOrigin, FileCache, Log, LogConfig, LogOpen, VerificationGuard};
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const EPOCH: LeaderEpoch = LeaderEpoch(1);
const DIRECTORY: &str = "/accounts-0";

/// One side of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    pub(crate) transfer: u64,
    pub(crate) amount: i64,
}

pub(crate) struct Partition {
    disk: SimulatedDisk,
    cache: Arc<FileCache<SimulatedDisk>>,
    log: Log<SimulatedDisk>,
    /// What the reader has seen, and how far.
    pub(crate) seen: Vec<Entry>,
    pub(crate) position: Offset,
    /// The reader forgets which transactions were aborted.
    pub(crate) reads_aborted: bool,
    /// Batches are let in without a guard.
    pub(crate) lets_in_unverified: bool,
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 2000, index_interval_bytes: 200, ..LogConfig::default() })
}

/// The batch of one side of a transfer.
pub(crate) fn batch(producer: Producer, sequence: i32, entry: Entry) -> ValidBatch {
    let mut builder = BatchBuilder::new(BuilderConfig {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence: sequence,
        transactional: true,
        ..BuilderConfig::default()
    });
    builder.append(1000, Some(&entry.transfer.to_be_bytes()), Some(&entry.amount.to_be_bytes()), &[]).unwrap();
    ValidBatch::trusted(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap()).unwrap()
}

impl Partition {
    pub(crate) fn new(seed: u64) -> Partition {
        let disk = SimulatedDisk::new(seed);
        let cache = FileCache::new(disk.clone(), 16);
        let log = Log::create(&cache, Path::new(DIRECTORY), &config(), None, Timestamp(1000)).unwrap();
        Partition {
            disk,
            cache,
            log,
            seen: Vec::new(),
            position: Offset(0),
            reads_aborted: false,
            lets_in_unverified: false,
        }
    }

    /// The process dies and comes back: everything not in the files is gone.
    pub(crate) fn restart(&mut self) {
        self.cache = FileCache::new(self.disk.clone(), 16);
        let open = LogOpen {
            recovery_point: Offset(0),
            log_start_offset: Offset(0),
            clean_shutdown: false,
            cleaned_to: None,
            now: Timestamp(1000),
        };
        self.log = Log::open(&self.cache, Path::new(DIRECTORY), &config(), open).unwrap().0;
        let end = self.log.log_end_offset();
        self.log.on_high_watermark(end);
        assert!(self.disk.list(Path::new(DIRECTORY)).is_ok());
    }

    pub(crate) fn guard(&mut self, header: &BatchHeader) -> Result<Option<VerificationGuard>, ErrorCode> {
        self.log.start_verification(header, true, Timestamp(1000)).map_err(|rejected| rejected.error)
    }

    fn append_as(
        &mut self,
        batch: ValidBatch,
        guard: Option<VerificationGuard>,
        origin: AppendOrigin,
    ) -> Result<(), ErrorCode> {
        let verify = !self.lets_in_unverified;
        let context = AppendContext { leader_epoch: EPOCH, now: Timestamp(1000), origin, verify };
        let outcome = self.log.append_groups(&[&[batch]], &[guard], context).map_err(AppendError::Storage).unwrap();
        let end = self.log.log_end_offset();
        self.log.on_high_watermark(end);
        outcome.into_iter().next().unwrap().map(drop).map_err(|rejected| rejected.error)
    }

    pub(crate) fn append(&mut self, batch: ValidBatch, guard: Option<VerificationGuard>) -> Result<(), ErrorCode> {
        self.append_as(batch, guard, AppendOrigin::Client)
    }

    pub(crate) fn mark(&mut self, end: &EndOfTransaction) -> ErrorCode {
        let (producer, epoch) = (end.producer, end.coordinator_epoch);
        let bytes = end_transaction_marker(producer.id, producer.epoch, end.is_committed, epoch, 1000).unwrap();
        let origin = AppendOrigin::Coordinator { transaction_version: end.transaction_version };
        self.append_as(ValidBatch::trusted(&bytes).unwrap(), None, origin).err().unwrap_or(ErrorCode::NONE)
    }

    pub(crate) fn is_stable(&self) -> bool {
        let end = self.log.log_end_offset();
        self.log.last_stable_offset(end) == end
    }

    /// Reads on to the last stable offset.
    pub(crate) fn read(&mut self) {
        let end = self.log.log_end_offset();
        let stable = self.log.last_stable_offset(end);
        while self.position < stable {
            let read = self.log.read(self.position, 300, stable, true).unwrap();
            let mut aborted = self.log.aborted_transactions(self.position, &read).unwrap();
            aborted.sort_by_key(|one| one.first_offset);
            if self.reads_aborted {
                aborted.clear();
            }
            let bytes = match &read.records {
                Records::Bytes(bytes) => bytes.clone(),
                Records::File(slice) => {
                    let mut bytes = vec![0; slice.len as usize];
                    slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
                    bytes.into()
                }
            };
            let mut skipped = BTreeSet::new();
            let mut aborted = aborted.into_iter().peekable();
            for batch in Batches::new(bytes).map(Result::unwrap) {
                let header = batch.header;
                while let Some(one) = aborted.next_if(|one| one.first_offset <= header.last_offset()) {
                    skipped.insert(one.producer_id.0);
                }
                self.take(&batch, &mut skipped);
                self.position = header.next_offset().max(self.position);
            }
        }
    }

    fn take(&mut self, batch: &Batch, skipped: &mut BTreeSet<i64>) {
        let header = batch.header;
        for record in batch.records(1 << 20).unwrap().map(Result::unwrap) {
            let key = record.key.unwrap_or_default();
            if header.is_control() {
                if control_type(&key).unwrap() == Some(ControlType::Abort) {
                    skipped.remove(&header.producer_id.0);
                }
            } else if !skipped.contains(&header.producer_id.0) && record.offset >= self.position {
                let transfer = u64::from_be_bytes(key[..].try_into().unwrap());
                let amount = i64::from_be_bytes(record.value.unwrap()[..].try_into().unwrap());
                self.seen.push(Entry { transfer, amount });
            }
        }
    }
}

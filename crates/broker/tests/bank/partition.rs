//! One partition: replicas with real logs on simulated disks, of which one leads, and a reader of what is committed, as
//! Kafka's consumer reads. Leaders move to who is in sync; who led may go on believing it; followers copy, fall behind, and
//! cut what the new leader has not.

use crate::random::Random;
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

const DIRECTORY: &str = "/accounts-0";

/// One side of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    pub(crate) transfer: u64,
    pub(crate) amount: i64,
}

/// A replica on a broker of its own.
struct Replica {
    disk: SimulatedDisk,
    cache: Arc<FileCache<SimulatedDisk>>,
    log: Log<SimulatedDisk>,
    high_watermark: Offset,
    /// It has not compared its log with the leader's yet.
    is_doubtful: bool,
    /// Its end as the leader knows it.
    known_end: Option<Offset>,
}

impl Replica {
    fn new(seed: u64) -> Replica {
        let disk = SimulatedDisk::new(seed);
        let cache = FileCache::new(disk.clone(), 16);
        let log = Log::create(&cache, Path::new(DIRECTORY), &config(), None, Timestamp(1000)).unwrap();
        Replica { disk, cache, log, high_watermark: Offset(0), is_doubtful: false, known_end: None }
    }

    /// The process dies and comes back: everything not in the files is gone.
    fn restart(&mut self) {
        self.cache = FileCache::new(self.disk.clone(), 16);
        let open = LogOpen {
            recovery_point: Offset(0),
            log_start_offset: Offset(0),
            clean_shutdown: false,
            cleaned_to: None,
            now: Timestamp(1000),
        };
        self.log = Log::open(&self.cache, Path::new(DIRECTORY), &config(), open).unwrap().0;
        self.log.on_high_watermark(self.high_watermark);
        assert!(self.disk.list(Path::new(DIRECTORY)).is_ok());
    }

    fn end(&self) -> Offset {
        self.log.log_end_offset()
    }

    fn set_high_watermark(&mut self, high_watermark: Offset) {
        self.high_watermark = self.high_watermark.max(high_watermark);
        self.log.on_high_watermark(self.high_watermark);
    }

    fn append(
        &mut self,
        batch: ValidBatch,
        guard: Option<VerificationGuard>,
        context: AppendContext,
    ) -> Result<Offset, ErrorCode> {
        let outcome = self.log.append_groups(&[&[batch]], &[guard], context).map_err(AppendError::Storage).unwrap();
        let appended = outcome.into_iter().next().unwrap().map_err(|rejected| rejected.error)?;
        Ok(appended.last_offset + 1)
    }

    /// Cuts its log to where it parts from the leader's.
    fn reconcile(&mut self, leader: &Replica) {
        while let Some(epoch) = self.log.latest_epoch() {
            let (found, end) = leader.log.epoch_end_offset(epoch).unwrap_or((epoch, Offset(0)));
            let mine = self.log.epoch_end_offset(found).map_or(Offset(0), |(_, end)| end);
            // Also where nothing is to be cut: an epoch in which nothing was written would stand over what the leader has there.
            self.log.truncate_to(end.min(mine), Timestamp(1000)).unwrap();
            if found == epoch {
                break;
            }
        }
        self.is_doubtful = false;
    }

    /// One fetch of a follower.
    fn fetch(&mut self, leader: &Replica) {
        if self.is_doubtful {
            self.reconcile(leader);
        }
        if self.end() < leader.end() {
            let read = leader.log.read(self.end(), 300, leader.end(), true).unwrap();
            self.log.append_as_follower(bytes_of(&read.records), Timestamp(1000)).unwrap();
        }
        let known = leader.high_watermark.min(self.end());
        self.set_high_watermark(known);
    }
}

/// A partition with its replicas, all in sync unless cut off, and its reader.
pub(crate) struct Partition {
    replicas: Vec<Replica>,
    in_sync: BTreeSet<usize>,
    leader: usize,
    leader_epoch: LeaderEpoch,
    /// Who was the leader and has not heard that it is none any more.
    zombie: Option<(usize, LeaderEpoch)>,
    /// What the reader has seen, and how far.
    pub(crate) seen: Vec<Entry>,
    pub(crate) position: Offset,
    /// The offsets of what was seen.
    pub(crate) offsets: Vec<i64>,
    /// The reader forgets which transactions were aborted.
    pub(crate) reads_aborted: bool,
    /// Batches are let in without a guard.
    pub(crate) lets_in_unverified: bool,
    /// An election does not ask who is in sync.
    pub(crate) elects_anybody: bool,
    /// Who follows does not cut what the leader has not.
    pub(crate) never_cuts: bool,
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

fn bytes_of(records: &Records) -> bytes::Bytes {
    match records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::File(slice) => {
            let mut bytes = vec![0; slice.len as usize];
            slice.source.read_exact_at(&mut bytes, slice.position).unwrap();
            bytes.into()
        }
    }
}

impl Partition {
    pub(crate) fn new(seed: u64, replicas: usize) -> Partition {
        Partition {
            replicas: (0..replicas as u64).map(|at| Replica::new(seed * 10 + at)).collect(),
            in_sync: (0..replicas).collect(),
            leader: 0,
            leader_epoch: LeaderEpoch(1),
            zombie: None,
            seen: Vec::new(),
            position: Offset(0),
            offsets: Vec::new(),
            reads_aborted: false,
            lets_in_unverified: false,
            elects_anybody: false,
            never_cuts: false,
        }
    }

    fn leader(&self) -> &Replica {
        &self.replicas[self.leader]
    }

    pub(crate) fn high_watermark(&self) -> Offset {
        self.leader().high_watermark
    }

    /// A broker dies and comes back.
    pub(crate) fn restart(&mut self, random: &mut Random) {
        let at = random.below(self.replicas.len() as u64) as usize;
        self.restart_at(at);
    }

    /// Who leads begins its epoch again: what it noted of it when it was empty may not be on the disk.
    fn restart_at(&mut self, at: usize) {
        self.replicas[at].restart();
        if at == self.leader {
            let end = self.replicas[at].end();
            self.replicas[at].log.assign_epoch_start(self.leader_epoch, end);
        }
        self.advance();
    }

    /// A broker dies and comes back as a follower.
    pub(crate) fn kill(&mut self, broker: usize, random: &mut Random) {
        if self.leader == broker {
            self.move_leader(random);
        }
        self.zombie = self.zombie.filter(|(zombie, _)| *zombie != broker);
        self.restart_at(broker);
    }

    /// Another replica leads. The old leader may be cut off and not know it.
    pub(crate) fn move_leader(&mut self, random: &mut Random) {
        let able: Vec<usize> = (0..self.replicas.len())
            .filter(|at| *at != self.leader && (self.elects_anybody || self.in_sync.contains(at)))
            .collect();
        if able.is_empty() {
            return;
        }
        let old = (self.leader, self.leader_epoch);
        self.leader = able[random.below(able.len() as u64) as usize];
        self.leader_epoch = LeaderEpoch(self.leader_epoch.0 + 1);
        self.zombie = random.one_in(2).then_some(old);
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            replica.is_doubtful = at != self.leader && !self.never_cuts;
            replica.known_end = None;
        }
        self.in_sync.insert(self.leader);
        if self.zombie.is_some() {
            self.in_sync.remove(&old.0);
        }
        let (epoch, end) = (self.leader_epoch, self.leader().end());
        self.replicas[self.leader].log.assign_epoch_start(epoch, end);
    }

    /// A follower falls behind, or one that was behind or cut off is heard of again.
    pub(crate) fn cut_or_join(&mut self, random: &mut Random) {
        let at = random.below(self.replicas.len() as u64) as usize;
        if at == self.leader {
            return;
        }
        if self.in_sync.len() > 2 && self.in_sync.remove(&at) {
            return self.advance();
        }
        if self.zombie.is_some_and(|(zombie, _)| zombie == at) {
            self.zombie = None;
        }
    }

    /// A follower fetches.
    pub(crate) fn replicate(&mut self, at: usize) {
        if at == self.leader || self.zombie.is_some_and(|(zombie, _)| zombie == at) {
            return;
        }
        let (low, high) = self.replicas.split_at_mut(at.max(self.leader));
        let (follower, leader) =
            if at < self.leader { (&mut low[at], &high[0]) } else { (&mut high[0], &low[self.leader]) };
        follower.fetch(leader);
        follower.known_end = Some(follower.end());
        if follower.end() >= leader.high_watermark && follower.end() == leader.end() {
            self.in_sync.insert(at);
        }
        self.advance();
    }

    /// Everybody is heard of, and has everything.
    pub(crate) fn heal(&mut self) {
        self.zombie = None;
        for _ in 0..2 {
            for at in 0..self.replicas.len() {
                for _ in 0..1000 {
                    self.replicate(at);
                    if self.replicas[at].end() == self.leader().end() && !self.replicas[at].is_doubtful {
                        break;
                    }
                }
            }
        }
    }

    fn advance(&mut self) {
        let end = self.leader().end();
        let known = |at: &usize| if *at == self.leader { Some(end) } else { self.replicas[*at].known_end };
        // Whoever is in sync and was not heard of yet may have anything.
        let ends: Option<Vec<Offset>> = self.in_sync.iter().map(known).collect();
        if let Some(low) = ends.and_then(|ends| ends.into_iter().min()) {
            self.replicas[self.leader].set_high_watermark(low);
        }
    }

    pub(crate) fn guard(&mut self, header: &BatchHeader) -> Result<Option<VerificationGuard>, ErrorCode> {
        let log = &mut self.replicas[self.leader].log;
        log.start_verification(header, true, Timestamp(1000)).map_err(|rejected| rejected.error)
    }

    fn context(&self, leader_epoch: LeaderEpoch, origin: AppendOrigin) -> AppendContext {
        AppendContext { leader_epoch, now: Timestamp(1000), origin, verify: !self.lets_in_unverified }
    }

    /// The high watermark from which on it counts.
    pub(crate) fn append(&mut self, batch: ValidBatch, guard: Option<VerificationGuard>) -> Result<Offset, ErrorCode> {
        let context = self.context(self.leader_epoch, AppendOrigin::Client);
        let required = self.replicas[self.leader].append(batch, guard, context);
        self.advance();
        required
    }

    /// The same for who believes to be the leader; it will never count.
    pub(crate) fn append_to_zombie(&mut self, batch: &ValidBatch) -> bool {
        let Some((zombie, epoch)) = self.zombie else { return false };
        let context = AppendContext { verify: false, ..self.context(epoch, AppendOrigin::Client) };
        let _ = self.replicas[zombie].append(batch.clone(), None, context);
        true
    }

    pub(crate) fn mark(&mut self, end: &EndOfTransaction) -> Result<Offset, ErrorCode> {
        let (producer, epoch) = (end.producer, end.coordinator_epoch);
        let bytes = end_transaction_marker(producer.id, producer.epoch, end.is_committed, epoch, 1000).unwrap();
        let origin = AppendOrigin::Coordinator { transaction_version: end.transaction_version };
        let context = self.context(self.leader_epoch, origin);
        let required = self.replicas[self.leader].append(ValidBatch::trusted(&bytes).unwrap(), None, context);
        self.advance();
        required
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub(crate) fn is_stable(&self) -> bool {
        let Replica { log, high_watermark, .. } = self.leader();
        log.last_stable_offset(*high_watermark) == log.log_end_offset()
    }

    /// Reads on to the last stable offset.
    pub(crate) fn read(&mut self) {
        let stable = self.leader().log.last_stable_offset(self.high_watermark());
        while self.position < stable {
            let log = &self.leader().log;
            let read = log.read(self.position, 300, stable, true).unwrap();
            let mut aborted = log.aborted_transactions(self.position, &read).unwrap();
            aborted.sort_by_key(|one| one.first_offset);
            if self.reads_aborted {
                aborted.clear();
            }
            let bytes = bytes_of(&read.records);
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
                self.offsets.push(record.offset.0);
            }
        }
    }
}

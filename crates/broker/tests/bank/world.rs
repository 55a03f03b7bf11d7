//! Clients, the coordinators, partitions, and the messages between them, of which any may be next. Partitions have their replicas
//! on the same brokers, which die as a whole.

use crate::client::{Client, Step, comes_again};
use crate::coordinators::{Coordinators, Told, VERSION};
use crate::history::History;
use crate::partition::{Entry, Partition, batch};
use crate::random::Random;
use milena_coordinator::runtime::{EndOfTransaction, Producer};
use milena_coordinator::transaction::{Marking, PartitionKey, TransactionEvent, TransactionReply, TransactionRequest};
use milena_protocol::Text;
use milena_records::ValidBatch;
use milena_storage::VerificationGuard;
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

const CLIENTS: usize = 3;
const PARTITIONS: usize = 3;
const REPLICAS: usize = 3;
const STEPS: usize = 4000;
const TIMEOUT_MS: i32 = 20_000;

/// A mistake that the bank has to notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    /// Readers do not leave out what was aborted.
    ReadsAborted,
    /// Records are written though nobody asked the coordinator whether the transaction is open, and with its old version.
    LateEnd,
    /// A coordinator that takes over does not send the markers it finds.
    ForgetsMarkers,
    /// A marker of a commit is written as one of an abort.
    TornOutcome,
    /// A replica that is not in sync becomes the leader.
    ElectsAnybody,
    /// Who followed another leader keeps what the new one has not.
    NeverCuts,
    /// What a leader wrote is acknowledged before its followers have it.
    AcknowledgesAlone,
    /// A coordinator that another one has followed believes that what it appends is replicated.
    DeposedCommits,
}

impl Planted {
    pub(crate) const ALL: [Planted; 8] = [
        Planted::ReadsAborted,
        Planted::LateEnd,
        Planted::ForgetsMarkers,
        Planted::TornOutcome,
        Planted::ElectsAnybody,
        Planted::NeverCuts,
        Planted::AcknowledgesAlone,
        Planted::DeposedCommits,
    ];
}

/// What became of the transfers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) committed: u64,
    pub(crate) aborted: u64,
    pub(crate) unknown: u64,
}

/// Who asked the coordinator.
#[derive(Clone, Debug)]
enum Asker {
    Client(usize, u64),
    /// A write that waits in a partition.
    Write(Box<Write>),
}

/// One side of a transfer on its way.
#[derive(Clone, Debug)]
struct Write {
    client: usize,
    incarnation: u64,
    transfer: u64,
    partition: usize,
    id: Text,
    batch: ValidBatch,
    guard: Option<VerificationGuard>,
}

#[derive(Clone, Debug)]
enum Message {
    ToCoordinator(Asker, TransactionRequest),
    FromCoordinator(Asker, TransactionReply),
    Write(Box<Write>),
    Written { client: usize, incarnation: u64, transfer: u64, partition: usize, error: ErrorCode },
    Mark { marking: Marking, partition: usize, coordinator_epoch: i32 },
}

pub(crate) struct World {
    random: Random,
    planted: Option<Planted>,
    now: Timestamp,
    clients: Vec<Client>,
    partitions: Vec<Partition>,
    coordinators: Coordinators<Asker>,
    /// Where the coordinator is.
    coordinator_broker: usize,
    flying: Vec<Message>,
    last_transfer: u64,
    /// What the clients were told of each transfer.
    told: BTreeMap<u64, Option<bool>>,
    /// What is written and not replicated yet.
    unreplicated: Vec<Unreplicated>,
    pub(crate) history: History,
}

/// Something a leader wrote in its epoch, which counts from a high watermark on.
struct Unreplicated {
    partition: usize,
    leader_epoch: LeaderEpoch,
    required: Offset,
    what: Written,
}

enum Written {
    Records(Box<Write>),
    Marker { marking: Marking, coordinator_epoch: i32 },
}

fn id_of(client: usize) -> Text {
    Text::from(format!("client-{client}"))
}

fn key_of(partition: usize) -> PartitionKey {
    PartitionKey { topic: Text::from("accounts"), index: partition as i32 }
}

impl World {
    /// Runs a seed to its end; the reason why it is wrong.
    pub(crate) fn run(seed: u64, planted: Option<Planted>) -> Result<Outcome, String> {
        let mut world = World {
            random: Random::new(seed),
            planted,
            now: Timestamp(1_000),
            clients: (0..CLIENTS).map(|_| Client::new(0, PARTITIONS)).collect(),
            partitions: (0..PARTITIONS).map(|at| Partition::new(seed ^ at as u64, REPLICAS)).collect(),
            coordinators: Coordinators::new(
                (planted == Some(Planted::ForgetsMarkers), planted == Some(Planted::DeposedCommits)),
                Timestamp(1_000),
            ),
            coordinator_broker: 0,
            flying: Vec::new(),
            last_transfer: 0,
            told: BTreeMap::new(),
            unreplicated: Vec::new(),
            history: History::default(),
        };
        for partition in &mut world.partitions {
            partition.reads_aborted = planted == Some(Planted::ReadsAborted);
            partition.lets_in_unverified = planted == Some(Planted::LateEnd);
            partition.elects_anybody = planted == Some(Planted::ElectsAnybody);
            partition.never_cuts = planted == Some(Planted::NeverCuts);
        }
        world.work();
        for _ in 0..STEPS {
            world.step()?;
        }
        world.heal()
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0 => {
                self.coordinators.crash(&mut self.random, self.now);
                self.work();
            }
            1 => {
                let at = self.random.below(PARTITIONS as u64) as usize;
                self.partitions[at].restart(&mut self.random);
            }
            2 => {
                let at = self.random.below(CLIENTS as u64) as usize;
                self.replace_client(at);
            }
            3 => {
                self.now = Timestamp(self.now.0 + 3000);
                self.coordinators.tick(self.now);
                self.work();
            }
            4..=9 => self.read(),
            10..=16 => self.commit_log(),
            17 if self.random.one_in(3) => self.kill_broker(),
            17 => {
                let at = self.random.below(PARTITIONS as u64) as usize;
                match self.random.below(3) {
                    0 => self.partitions[at].move_leader(&mut self.random),
                    _ => self.partitions[at].cut_or_join(&mut self.random),
                }
                self.release();
            }
            18..=32 => {
                let replica = self.random.below(REPLICAS as u64) as usize;
                self.partitions.iter_mut().for_each(|partition| partition.replicate(replica));
                self.release();
            }
            33..=49 => {
                let at = self.random.below(CLIENTS as u64) as usize;
                self.act(at);
            }
            _ => self.deliver(true),
        }
        self.check()
    }

    fn read(&mut self) {
        for (at, partition) in self.partitions.iter_mut().enumerate() {
            let before = partition.seen.len();
            partition.read();
            for (entry, offset) in partition.seen.iter().zip(&partition.offsets).skip(before) {
                self.history.poll(at, *offset, entry.transfer);
            }
        }
    }

    /// What is replicated now is answered; what its leader has lost with its place is told to be unknown, or sent again.
    fn release(&mut self) {
        for one in std::mem::take(&mut self.unreplicated) {
            let partition = &self.partitions[one.partition];
            let is_lost = partition.leader_epoch() != one.leader_epoch;
            if !is_lost && partition.high_watermark() < one.required {
                self.unreplicated.push(one);
                continue;
            }
            match one.what {
                Written::Records(write) => {
                    let error = if is_lost { ErrorCode::REQUEST_TIMED_OUT } else { ErrorCode::NONE };
                    self.end_write(&write, error);
                }
                Written::Marker { marking, coordinator_epoch } if is_lost => {
                    self.flying.push(Message::Mark { marking, partition: one.partition, coordinator_epoch });
                }
                Written::Marker { marking, coordinator_epoch } => {
                    self.marked(marking, one.partition, coordinator_epoch, ErrorCode::NONE);
                }
            }
        }
    }

    fn await_replicas(&mut self, partition: usize, required: Offset, what: Written) {
        let leader_epoch = self.partitions[partition].leader_epoch();
        let alone = self.planted == Some(Planted::AcknowledgesAlone);
        let required = if alone { Offset(0) } else { required };
        self.unreplicated.push(Unreplicated { partition, leader_epoch, required, what });
        self.release();
    }

    /// A broker dies and comes back; who was on it leads elsewhere.
    fn kill_broker(&mut self) {
        let broker = self.random.below(REPLICAS as u64) as usize;
        for partition in &mut self.partitions {
            partition.kill(broker, &mut self.random);
        }
        if self.coordinator_broker == broker {
            self.coordinator_broker = (broker + 1) % REPLICAS;
            self.coordinators.crash(&mut self.random, self.now);
            self.coordinators.retire();
            self.work();
        }
        self.release();
    }

    fn heal_partitions(&mut self) {
        self.partitions.iter_mut().for_each(Partition::heal);
        self.release();
    }

    /// Everything arrives, nothing fails, and every transaction that is open is taken over.
    fn heal(mut self) -> Result<Outcome, String> {
        self.coordinators.retire();
        for round in 0..2 {
            for _ in 0..20_000 {
                self.heal_partitions();
                self.commit_log();
                if self.flying.is_empty() {
                    self.now = Timestamp(self.now.0 + 1000);
                    self.coordinators.tick(self.now);
                    self.work();
                    self.commit_log();
                }
                if self.flying.is_empty() {
                    break;
                }
                self.deliver(false);
            }
            if round == 0 {
                for at in 0..CLIENTS {
                    self.replace_client(at);
                    self.act(at);
                }
            }
            self.now = Timestamp(self.now.0 + 2 * i64::from(TIMEOUT_MS));
            self.coordinators.tick(self.now);
            self.work();
        }
        for _ in 0..20_000 {
            self.heal_partitions();
            self.commit_log();
            if self.flying.is_empty() {
                break;
            }
            self.deliver(false);
        }
        for (at, partition) in self.partitions.iter().enumerate() {
            if !partition.is_stable() {
                return Err(format!("a transaction hangs in partition {at}"));
            }
        }
        self.read();
        self.history.check(&self.told)?;
        self.judge()
    }

    /// What holds at any time: nobody reads what is told to be aborted, or twice.
    fn check(&self) -> Result<(), String> {
        let mut sides: BTreeMap<u64, usize> = BTreeMap::new();
        for entry in self.partitions.iter().flat_map(|partition| &partition.seen) {
            *sides.entry(entry.transfer).or_default() += 1;
            if self.told.get(&entry.transfer) == Some(&Some(false)) {
                return Err(format!("transfer {} was aborted and is read", entry.transfer));
            }
        }
        match sides.iter().find(|(_, count)| **count > 2) {
            Some((transfer, count)) => Err(format!("transfer {transfer} is read {count} times")),
            None => Ok(()),
        }
    }

    fn judge(&self) -> Result<Outcome, String> {
        self.check()?;
        let mut entries: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        for entry in self.partitions.iter().flat_map(|partition| &partition.seen) {
            entries.entry(entry.transfer).or_default().push(*entry);
        }
        let sum: i64 = entries.values().flatten().map(|entry| entry.amount).sum();
        if sum != 0 {
            return Err(format!("the sum is {sum}"));
        }
        let mut outcome = Outcome::default();
        for (transfer, told) in &self.told {
            let found = entries.get(transfer).map_or(0, Vec::len);
            match (told, found) {
                (Some(true), 2) => outcome.committed += 1,
                (Some(false), 0) => outcome.aborted += 1,
                (None, 0 | 2) => outcome.unknown += 1,
                _ => return Err(format!("of transfer {transfer}, told {told:?}, {found} sides are read")),
            }
        }
        Ok(outcome)
    }

    // The coordinators.

    fn commit_log(&mut self) {
        self.coordinators.commit(self.now);
        self.work();
    }

    /// What the coordinators say goes on its way.
    fn work(&mut self) {
        for told in self.coordinators.told() {
            match told {
                Told::Reply(asker, reply) => self.flying.push(Message::FromCoordinator(asker, reply)),
                Told::Mark(marking, coordinator_epoch) => {
                    for key in &marking.partitions {
                        let (partition, marking) = (key.index as usize, marking.clone());
                        self.flying.push(Message::Mark { marking, partition, coordinator_epoch });
                    }
                }
            }
        }
    }

    /// Somebody may not have heard of the new coordinator.
    fn ask(&mut self, asker: Asker, request: TransactionRequest) {
        let is_misled = self.coordinators.has_deposed() && self.random.one_in(4);
        self.coordinators.ask(asker, request, is_misled, self.now);
        self.work();
    }

    // Messages.

    /// One of the messages on their way arrives; if not everything is well, it may be lost or come again.
    fn deliver(&mut self, faulty: bool) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.random.below(self.flying.len() as u64) as usize;
        let message = self.flying.swap_remove(at);
        let is_marker = matches!(message, Message::Mark { .. });
        if faulty && self.random.one_in(20) {
            // Whoever sends markers sends them until it is answered.
            if is_marker {
                self.flying.push(message);
            }
            return;
        }
        if faulty && self.random.one_in(20) && !matches!(message, Message::FromCoordinator(..)) {
            self.flying.push(message.clone());
        }
        match message {
            Message::ToCoordinator(asker, request) => {
                self.ask(asker, request);
            }
            Message::FromCoordinator(Asker::Client(client, incarnation), reply) => {
                self.take_reply(client, incarnation, &reply);
            }
            Message::FromCoordinator(Asker::Write(write), reply) => self.verified(*write, &reply),
            Message::Write(write) => self.begin_write(*write),
            Message::Written { client, incarnation, transfer, partition, error } => {
                self.take_written(client, (incarnation, transfer), partition, error);
            }
            Message::Mark { marking, partition, coordinator_epoch } => self.mark(marking, partition, coordinator_epoch),
        }
    }

    fn mark(&mut self, marking: Marking, partition: usize, coordinator_epoch: i32) {
        let is_torn = self.planted == Some(Planted::TornOutcome) && partition == 0;
        let end = EndOfTransaction {
            producer: marking.producer,
            coordinator_epoch,
            is_committed: marking.is_committed && !is_torn,
            transaction_version: marking.transaction_version,
        };
        match self.partitions[partition].mark(&end) {
            Ok(required) => {
                self.await_replicas(partition, required, Written::Marker { marking, coordinator_epoch });
            }
            Err(error) => self.marked(marking, partition, coordinator_epoch, error),
        }
    }

    /// The coordinator that sent a marker hears of it.
    fn marked(&mut self, marking: Marking, partition: usize, coordinator_epoch: i32, error: ErrorCode) {
        let (id, producer) = (marking.id, marking.producer);
        let event = if error.is_none() {
            TransactionEvent::Marked { id, producer, partitions: vec![key_of(partition)] }
        } else {
            TransactionEvent::MarkerRefused { id, producer }
        };
        self.coordinators.hear(coordinator_epoch, event, self.now);
        self.work();
    }

    fn begin_write(&mut self, mut write: Write) {
        let header = write.batch.header;
        if self.random.one_in(4) && self.partitions[write.partition].append_to_zombie(&write.batch) {
            // It waits for replicas that follow another.
            return;
        }
        let guard = self.partitions[write.partition].guard(&header);
        match guard {
            Err(error) => self.end_write(&write, error),
            Ok(None) => self.append(write),
            Ok(_) if self.planted == Some(Planted::LateEnd) => self.append(write),
            Ok(guard) => {
                write.guard = guard;
                let request = TransactionRequest::AddPartitions {
                    id: write.id.clone(),
                    producer: Producer { id: header.producer_id, epoch: header.producer_epoch },
                    partitions: BTreeSet::from([key_of(write.partition)]),
                    client_version: VERSION,
                };
                self.flying.push(Message::ToCoordinator(Asker::Write(Box::new(write)), request));
            }
        }
    }

    /// As `partitions/held.rs` does it.
    fn verified(&mut self, mut write: Write, reply: &TransactionReply) {
        let TransactionReply::AddPartitions(error) = reply else { return };
        if !error.is_none() {
            return self.end_write(&write, *error);
        }
        match self.partitions[write.partition].guard(&write.batch.header) {
            Ok(guard) => {
                write.guard = guard;
                self.append(write);
            }
            Err(error) => self.end_write(&write, error),
        }
    }

    fn append(&mut self, write: Write) {
        match self.partitions[write.partition].append(write.batch.clone(), write.guard) {
            Ok(required) => self.await_replicas(write.partition, required, Written::Records(Box::new(write))),
            Err(error) => self.end_write(&write, error),
        }
    }

    fn end_write(&mut self, write: &Write, error: ErrorCode) {
        let Write { client, incarnation, transfer, partition, .. } = *write;
        self.flying.push(Message::Written { client, incarnation, transfer, partition, error });
    }

    // Clients.

    /// A client dies and another takes its place; what it sent is still on its way.
    fn replace_client(&mut self, at: usize) {
        let incarnation = self.clients[at].incarnation + 1;
        self.clients[at] = Client::new(incarnation, PARTITIONS);
    }

    /// A client does the next thing, or the same once more if it has waited long.
    fn act(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.patience += 1;
        let waited = client.patience;
        match client.step {
            Step::Init if waited % 8 == 1 => {
                let request = TransactionRequest::InitProducerId {
                    id: id_of(at),
                    timeout_ms: TIMEOUT_MS,
                    expected: None,
                    fresh: None,
                };
                self.send(at, request);
            }
            Step::Ready => self.begin(at),
            Step::Writing if waited.is_multiple_of(8) => self.write(at),
            Step::Writing if waited > 40 => self.replace_client(at),
            Step::Ending { is_committed } if waited % 8 == 1 => self.end(at, is_committed),
            Step::Ending { .. } if waited > 60 => self.replace_client(at),
            _ => {}
        }
    }

    fn send(&mut self, at: usize, request: TransactionRequest) {
        let asker = Asker::Client(at, self.clients[at].incarnation);
        self.flying.push(Message::ToCoordinator(asker, request));
    }

    fn begin(&mut self, at: usize) {
        self.last_transfer += 1;
        let from = self.random.below(PARTITIONS as u64) as usize;
        let to = (from + 1 + self.random.below(PARTITIONS as u64 - 1) as usize) % PARTITIONS;
        let amount = 1 + self.random.below(100) as i64;
        self.told.insert(self.last_transfer, None);
        self.history.send(at, self.clients[at].incarnation, self.last_transfer, [from, to]);
        let client = &mut self.clients[at];
        client.transfer = self.last_transfer;
        client.sides = vec![(from, -amount), (to, amount)];
        client.unwritten = vec![from, to];
        client.has_failed = false;
        client.patience = 0;
        client.step = Step::Writing;
        self.write(at);
    }

    fn write(&mut self, at: usize) {
        let client = &self.clients[at];
        let (incarnation, producer, transfer) = (client.incarnation, client.producer, client.transfer);
        for (partition, amount) in &client.sides {
            if client.unwritten.contains(partition) {
                let batch = batch(producer, client.sequences[*partition], Entry { transfer, amount: *amount });
                let (partition, id) = (*partition, id_of(at));
                let write = Write { client: at, incarnation, transfer, partition, id, batch, guard: None };
                self.flying.push(Message::Write(Box::new(write)));
            }
        }
    }

    fn take_written(&mut self, at: usize, asked: (u64, u64), partition: usize, error: ErrorCode) {
        let client = &mut self.clients[at];
        let is_awaited = (client.incarnation, client.transfer) == asked
            && client.step == Step::Writing
            && client.unwritten.contains(&partition);
        if !is_awaited || comes_again(error) {
            return;
        }
        client.unwritten.retain(|one| *one != partition);
        client.has_failed |= !error.is_none();
        client.sequences[partition] += 1;
        if client.unwritten.is_empty() {
            client.patience = 0;
            let is_committed = !client.has_failed && !self.random.one_in(4);
            self.clients[at].step = Step::Ending { is_committed };
            self.act(at);
        }
    }

    fn end(&mut self, at: usize, is_committed: bool) {
        let producer = self.clients[at].producer;
        let request =
            TransactionRequest::End { id: id_of(at), producer, is_committed, client_version: VERSION, fresh: None };
        self.send(at, request);
    }

    fn take_reply(&mut self, at: usize, incarnation: u64, reply: &TransactionReply) {
        let client = &mut self.clients[at];
        if client.incarnation != incarnation {
            return;
        }
        match (client.step, reply) {
            (Step::Init, TransactionReply::InitProducerId(Ok(producer))) => client.becomes(*producer),
            (Step::Ending { is_committed }, TransactionReply::End(Ok(Some(next)))) => {
                // An answer to the end of a transaction before tells another epoch.
                let is_next = next.epoch.0 == client.producer.epoch.0 + 1 && next.id == client.producer.id;
                if is_next {
                    self.told.insert(client.transfer, Some(is_committed));
                    client.becomes(*next);
                }
            }
            (Step::Ending { .. }, TransactionReply::End(Err(error))) if !comes_again(*error) => self.replace_client(at),
            _ => {}
        }
    }
}

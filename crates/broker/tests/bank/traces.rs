//! Faults of Kafka's protocol that were found one release at a time, each as the messages that showed it, in their order:
//! over the real coordinator and real logs, and read as a `read_committed` consumer reads.

use crate::partition::{Entry, Partition, batch};
use milena_coordinator::runtime::{Coordinator, Effect, EndOfTransaction, Machine, Producer, RuntimeConfig, Ticket};
use milena_coordinator::transaction::{
    Action, Marking, PartitionKey, Status, Transaction, TransactionConfig, TransactionEvent, TransactionMachine,
    TransactionRecord, TransactionReply, TransactionRequest,
};
use milena_protocol::Text;
use milena_records::{BatchBuilder, Batches, BuilderConfig, Codec, Scratch};
use milena_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeSet;

const ID: &str = "mover";
const VERSION: i16 = 2;
const LAST_EPOCH: i16 = i16::MAX - 1;

/// One transactional id's coordinator and one partition.
struct Scene {
    coordinator: Coordinator<TransactionMachine>,
    coordinator_epoch: i32,
    log: Vec<bytes::Bytes>,
    end: Offset,
    now: Timestamp,
    replies: Vec<TransactionReply>,
    /// Markers that were sent and have not come.
    markings: Vec<Marking>,
    last_producer_id: i64,
    partition: Partition,
}

impl Scene {
    fn new() -> Scene {
        let mut scene = Scene {
            coordinator: coordinator(),
            coordinator_epoch: 0,
            log: Vec::new(),
            end: Offset(0),
            now: Timestamp(1000),
            replies: Vec::new(),
            markings: Vec::new(),
            last_producer_id: 100,
            partition: Partition::new(1, 1),
        };
        scene.reload();
        scene
    }

    /// Another coordinator takes over.
    fn reload(&mut self) {
        self.coordinator_epoch += 1;
        self.coordinator = coordinator();
        self.markings.clear();
        let mut scratch = Scratch::new();
        for bytes in &self.log {
            for batch in Batches::new(bytes.clone()).map(Result::unwrap) {
                self.coordinator.load(&batch, self.end, &mut scratch).unwrap();
            }
        }
        self.coordinator.activate(self.end, self.now);
        self.work();
    }

    fn work(&mut self) {
        self.coordinator.flush();
        while let Some(effect) = self.coordinator.next_effect() {
            match effect {
                Effect::Reply(_, reply) => self.replies.push(reply),
                Effect::Append { round, batch, .. } => {
                    let first = self.end;
                    self.end = Batches::new(batch.clone()).next().unwrap().unwrap().header.next_offset();
                    self.log.push(batch);
                    self.coordinator.appended(round, Ok(first), self.now);
                    self.coordinator.committed(self.end, self.now);
                    self.coordinator.flush();
                }
            }
        }
        for action in self.coordinator.machine_mut().take_actions() {
            match action {
                Action::Mark(marking) => self.markings.push(marking),
                Action::GetProducerId { id } => {
                    self.last_producer_id += 1;
                    let producer_id = ProducerId(self.last_producer_id);
                    self.event(TransactionEvent::GotProducerId { id, producer_id });
                }
            }
        }
    }

    fn event(&mut self, event: TransactionEvent) {
        self.coordinator.handle(event, self.now);
        self.work();
    }

    fn ask(&mut self, request: TransactionRequest) -> TransactionReply {
        self.event(TransactionEvent::Request { ticket: Ticket(1), request: request.clone() });
        match self.replies.pop().unwrap() {
            TransactionReply::NeedsProducerId => {
                self.last_producer_id += 1;
                self.ask(request.with_producer_id(ProducerId(self.last_producer_id)))
            }
            reply => reply,
        }
    }

    fn init(&mut self) -> Result<Producer, ErrorCode> {
        let id = Text::from(ID);
        match self.ask(TransactionRequest::InitProducerId { id, timeout_ms: 60_000, expected: None, fresh: None }) {
            TransactionReply::InitProducerId(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, producer: Producer, is_committed: bool) -> Result<Producer, ErrorCode> {
        let (id, client_version) = (Text::from(ID), VERSION);
        match self.ask(TransactionRequest::End { id, producer, is_committed, client_version, fresh: None }) {
            TransactionReply::End(result) => result.map(Option::unwrap),
            other => panic!("{other:?}"),
        }
    }

    /// A batch of one record comes to the partition, which asks the coordinator if it must.
    fn write(&mut self, producer: Producer, sequence: i32, transfer: u64) -> Result<(), ErrorCode> {
        let batch = batch(producer, sequence, Entry { transfer, amount: 1 });
        let guard = self.partition.guard(&batch.header)?;
        if guard.is_some() {
            let request = TransactionRequest::AddPartitions {
                id: Text::from(ID),
                producer,
                partitions: BTreeSet::from([key()]),
                client_version: VERSION,
            };
            match self.ask(request) {
                TransactionReply::AddPartitions(ErrorCode::NONE) => {}
                TransactionReply::AddPartitions(error) => return Err(error),
                other => panic!("{other:?}"),
            }
        }
        self.partition.append(batch, guard).map(drop)
    }

    /// The marker comes to the partition; the answer is lost.
    fn mark_unheard(&mut self, marking: &Marking) -> ErrorCode {
        let marked = self.partition.mark(&EndOfTransaction {
            producer: marking.producer,
            coordinator_epoch: self.coordinator_epoch,
            is_committed: marking.is_committed,
            transaction_version: marking.transaction_version,
        });
        marked.err().unwrap_or(ErrorCode::NONE)
    }

    /// All markers come, and are answered.
    fn mark(&mut self) -> Vec<Marking> {
        let markings = std::mem::take(&mut self.markings);
        for marking in &markings {
            assert_eq!(self.mark_unheard(marking), ErrorCode::NONE, "{marking:?}");
            let (id, producer) = (marking.id.clone(), marking.producer);
            self.event(TransactionEvent::Marked { id, producer, partitions: vec![key()] });
        }
        markings
    }

    fn status(&self) -> Status {
        self.transaction().status
    }

    fn transaction(&self) -> &Transaction {
        self.coordinator.state().get(ID).unwrap()
    }

    /// The transfers a reader sees, to the end of what is stable.
    fn read(&mut self) -> Vec<u64> {
        self.partition.read();
        self.partition.seen.iter().map(|entry| entry.transfer).collect()
    }

    /// As if the id had ended so many transactions that its epoch is this.
    fn age(&mut self, epoch: i16) -> Producer {
        let value = Transaction { producer_epoch: ProducerEpoch(epoch), ..self.transaction().clone() };
        let record = TransactionRecord { id: Text::from(ID), value: Some(value), version: 1 };
        let (key, value) = TransactionMachine::encode(&record);
        let mut batch = BatchBuilder::new(BuilderConfig::default());
        batch.append(1, Some(&key), value.as_deref(), &[]).unwrap();
        self.log.push(batch.build(self.end, LeaderEpoch(1)).unwrap());
        self.end = self.end + 1;
        self.reload();
        Producer { id: self.transaction().producer_id, epoch: ProducerEpoch(epoch) }
    }
}

fn key() -> PartitionKey {
    PartitionKey { topic: Text::from("accounts"), index: 0 }
}

fn coordinator() -> Coordinator<TransactionMachine> {
    let config =
        RuntimeConfig { max_batch_bytes: 1 << 20, append_linger_ms: -1, write_timeout_ms: 30_000, codec: Codec::NONE };
    Coordinator::new(TransactionMachine::new(TransactionConfig::default(), VERSION), config, LeaderEpoch(1))
}

#[test]
fn kafka_17754_an_end_that_comes_late_does_not_end_the_next_transaction() {
    let mut scene = Scene::new();
    let first = scene.init().unwrap();
    scene.write(first, 0, 1).unwrap();
    // The request is on its way on one connection; the client sends it again on another, and goes on.
    let second = scene.end(first, true).unwrap();
    scene.mark();
    scene.write(second, 0, 2).unwrap();
    assert_eq!(scene.end(first, true), Err(ErrorCode::PRODUCER_FENCED), "now it comes");
    assert_eq!(scene.read(), [1]);
    scene.end(second, false).unwrap();
    scene.mark();
    assert_eq!(scene.read(), [1]);
    assert!(scene.partition.is_stable());
}

#[test]
fn kafka_19446_a_marker_that_comes_late_does_not_end_the_next_transaction() {
    let mut scene = Scene::new();
    let first = scene.init().unwrap();
    scene.write(first, 0, 1).unwrap();
    let second = scene.end(first, true).unwrap();
    let late = scene.mark().remove(0);
    assert_eq!((late.producer, late.transaction_version), (second, VERSION));
    scene.write(second, 0, 2).unwrap();
    assert_eq!(scene.mark_unheard(&late), ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(scene.read(), [1]);
    scene.end(second, false).unwrap();
    scene.mark();
    assert_eq!(scene.read(), [1]);
}

#[test]
fn kafka_19999_a_marker_whose_answer_was_lost_is_taken_again() {
    let mut scene = Scene::new();
    let first = scene.init().unwrap();
    scene.write(first, 0, 1).unwrap();
    let second = scene.end(first, true).unwrap();
    let unheard = scene.markings.remove(0);
    assert_eq!(scene.mark_unheard(&unheard), ErrorCode::NONE);
    assert_eq!(scene.mark_unheard(&unheard), ErrorCode::NONE, "over the network");
    scene.reload();
    assert_eq!(scene.status(), Status::PrepareCommit);
    scene.mark();
    assert_eq!(scene.status(), Status::CompleteCommit, "by the next coordinator");
    scene.write(second, 0, 2).unwrap();
    scene.end(second, true).unwrap();
    scene.mark();
    assert_eq!(scene.read(), [1, 2]);
}

#[test]
fn kafka_19367_taking_over_an_open_transaction_of_the_last_epoch_raises_it_once() {
    let mut scene = Scene::new();
    scene.init().unwrap();
    let old = scene.age(LAST_EPOCH);
    scene.write(old, 0, 1).unwrap();
    assert_eq!(scene.init(), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    assert_eq!(scene.mark()[0].producer, Producer { id: old.id, epoch: ProducerEpoch(i16::MAX) });
    let next = scene.init().unwrap();
    assert_ne!(next.id, old.id);
    assert_eq!(scene.write(old, 1, 2), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    scene.write(next, 0, 3).unwrap();
    scene.end(next, true).unwrap();
    scene.mark();
    assert_eq!(scene.read(), [3]);
    assert!(scene.partition.is_stable());
}

#[test]
fn kafka_20090_an_abort_by_the_clock_at_the_last_epoch_and_a_late_end_leave_nothing_behind() {
    let mut scene = Scene::new();
    scene.init().unwrap();
    let old = scene.age(LAST_EPOCH);
    scene.write(old, 0, 1).unwrap();
    scene.now = Timestamp(scene.now.0 + 100_000);
    scene.coordinator.tick(scene.now);
    scene.work();
    assert_eq!(scene.status(), Status::PrepareAbort);
    assert_eq!(scene.end(old, false), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    scene.mark();
    let next = scene.end(old, false).unwrap();
    assert_eq!((next.id == old.id, next.epoch), (false, ProducerEpoch(0)), "the answer to what ended by the clock");
    scene.write(next, 0, 2).unwrap();
    scene.end(next, true).unwrap();
    scene.mark();
    assert_eq!(scene.read(), [2]);
}

#[test]
fn kafka_20090_a_transaction_of_the_greatest_epoch_there_is_can_be_aborted() {
    let mut scene = Scene::new();
    scene.init().unwrap();
    // A coordinator with the fault left it so.
    let beyond = scene.age(i16::MAX);
    scene.write(beyond, 0, 1).unwrap();
    assert_eq!(scene.init(), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    scene.mark();
    let next = scene.init().unwrap();
    assert_ne!(next.id, beyond.id);
    scene.write(next, 0, 2).unwrap();
    scene.end(next, true).unwrap();
    scene.mark();
    assert_eq!(scene.read(), [2]);
    assert!(scene.partition.is_stable());
}

#[test]
fn kafka_14402_a_batch_that_comes_after_the_abort_leaves_no_transaction_hanging() {
    let mut scene = Scene::new();
    let first = scene.init().unwrap();
    scene.write(first, 0, 1).unwrap();
    let late = batch(first, 1, Entry { transfer: 2, amount: 1 });
    let second = scene.end(first, false).unwrap();
    scene.mark();
    assert_eq!(scene.partition.guard(&late.header), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(scene.partition.append(late, None), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert_eq!(scene.write(first, 1, 2), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
    assert!(scene.partition.is_stable());
    scene.write(second, 0, 3).unwrap();
    scene.end(second, true).unwrap();
    scene.mark();
    assert_eq!(scene.read(), [3]);
}

#[test]
fn epochs_go_through_their_end_into_the_next_producer_id_and_nothing_is_lost() {
    let mut scene = Scene::new();
    scene.init().unwrap();
    let mut producer = scene.age(LAST_EPOCH - 3);
    let (mut ids, mut committed) = (BTreeSet::new(), Vec::new());
    for transfer in 0..12 {
        ids.insert(producer.id.0);
        assert!(producer.epoch.0 <= LAST_EPOCH, "a client never has the last one");
        scene.write(producer, 0, transfer).unwrap();
        let is_committed = transfer % 3 != 0;
        if is_committed {
            committed.push(transfer);
        }
        let next = scene.end(producer, is_committed).unwrap();
        if transfer % 2 == 0 {
            scene.reload();
        }
        scene.mark();
        assert_eq!(scene.end(producer, is_committed), Ok(next), "it comes again");
        assert_eq!(scene.write(producer, 1, 1000), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        producer = next;
    }
    assert_eq!(ids.len(), 2);
    assert_eq!(scene.read(), committed);
    assert!(scene.partition.is_stable());
}

//! Transactions request by request, on a coordinator whose log commits at once or when it is told to.

use super::*;
use crate::runtime::{Coordinator, Effect, Producer, RuntimeConfig, Ticket};
use bytes::Bytes;
use milena_protocol::Text;
use milena_records::{Batch, Batches, Codec, Scratch};
use milena_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeSet;

/// A coordinator with its log.
struct World {
    coordinator: Coordinator<TransactionMachine>,
    log: Vec<Bytes>,
    end: Offset,
    now: Timestamp,
    version: i16,
    last_ticket: u64,
    replies: Vec<(Ticket, TransactionReply)>,
    actions: Vec<Action>,
    next_producer_id: i64,
    /// The log refuses appends with this.
    refuses: Option<ErrorCode>,
}

fn coordinator(version: i16) -> Coordinator<TransactionMachine> {
    let config =
        RuntimeConfig { max_batch_bytes: 1 << 20, append_linger_ms: -1, write_timeout_ms: 1000, codec: Codec::NONE };
    Coordinator::new(TransactionMachine::new(TransactionConfig::default(), version), config, LeaderEpoch(3))
}

impl World {
    fn new(version: i16) -> World {
        let mut world = World {
            coordinator: coordinator(version),
            log: Vec::new(),
            end: Offset(0),
            now: Timestamp(1_000),
            version,
            last_ticket: 0,
            replies: Vec::new(),
            actions: Vec::new(),
            next_producer_id: 100,
            refuses: None,
        };
        world.reload();
        world
    }

    /// Another coordinator takes over with what is in the log.
    fn reload(&mut self) {
        self.coordinator = coordinator(self.version);
        self.actions.clear();
        let mut scratch = Scratch::new();
        for bytes in &self.log {
            let batches: Vec<Batch> = Batches::new(bytes.clone()).collect::<Result<_, _>>().unwrap();
            for batch in &batches {
                assert_eq!(self.coordinator.load(batch, Offset(i64::MAX), &mut scratch).unwrap(), 0);
            }
        }
        self.coordinator.activate(self.end, self.now);
        self.work();
    }

    fn work(&mut self) {
        self.coordinator.flush();
        while let Some(effect) = self.coordinator.next_effect() {
            match effect {
                Effect::Reply(ticket, reply) => self.replies.push((ticket, reply)),
                Effect::Append { round, batch, .. } => match self.refuses {
                    Some(error) => self.coordinator.appended(round, Err(error), self.now),
                    None => {
                        let first = self.end;
                        let all: Vec<Batch> = Batches::new(batch.clone()).collect::<Result<_, _>>().unwrap();
                        self.end = all.last().unwrap().header.next_offset();
                        self.log.push(batch);
                        self.coordinator.appended(round, Ok(first), self.now);
                        self.coordinator.committed(self.end, self.now);
                        self.coordinator.flush();
                    }
                },
            }
        }
        self.actions.extend(self.coordinator.machine_mut().take_actions());
    }

    fn event(&mut self, event: TransactionEvent) {
        self.coordinator.handle(event, self.now);
        self.work();
    }

    fn ask(&mut self, request: TransactionRequest) -> TransactionReply {
        let reply = self.ask_once(request.clone());
        if reply != TransactionReply::NeedsProducerId {
            return reply;
        }
        self.next_producer_id += 1;
        self.ask_once(request.with_producer_id(ProducerId(self.next_producer_id)))
    }

    fn ask_once(&mut self, request: TransactionRequest) -> TransactionReply {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.event(TransactionEvent::Request { ticket, request });
        let at = self.replies.iter().position(|(answered, _)| *answered == ticket).expect("an answer");
        self.replies.remove(at).1
    }

    fn init(&mut self, id: &str, expected: Option<Producer>) -> Result<Producer, ErrorCode> {
        let request =
            TransactionRequest::InitProducerId { id: Text::from(id), timeout_ms: 60_000, expected, fresh: None };
        match self.ask(request) {
            TransactionReply::InitProducerId(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, id: &str, producer: Producer, index: i32) -> ErrorCode {
        let request = TransactionRequest::AddPartitions {
            id: Text::from(id),
            producer,
            partitions: partitions(&[index]),
            client_version: self.version,
        };
        match self.ask(request) {
            TransactionReply::AddPartitions(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, id: &str, producer: Producer, is_committed: bool) -> Result<Option<Producer>, ErrorCode> {
        let client_version = self.version;
        let request =
            TransactionRequest::End { id: Text::from(id), producer, is_committed, client_version, fresh: None };
        match self.ask(request) {
            TransactionReply::End(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// Writes the markers that are asked for.
    fn mark(&mut self) -> Vec<Marking> {
        let mut markings = Vec::new();
        for action in std::mem::take(&mut self.actions) {
            let Action::Mark(marking) = action else { panic!("{action:?}") };
            let (id, producer) = (marking.id.clone(), marking.producer);
            let partitions = marking.partitions.iter().cloned().collect();
            markings.push(marking);
            self.event(TransactionEvent::Marked { id, producer, partitions });
        }
        markings
    }

    fn get(&self, id: &str) -> &Transaction {
        self.coordinator.state().get(id).expect("it is known")
    }

    /// Puts the producer of an id to an epoch, as if it had ended many transactions.
    fn age(&mut self, id: &str, epoch: i16) -> Producer {
        let current = self.get(id).clone();
        let aged = Transaction { producer_epoch: ProducerEpoch(epoch), ..current };
        let record = TransactionRecord { id: Text::from(id), value: Some(aged), version: 1 };
        let (key, value) = record.encode();
        let mut batch = milena_records::BatchBuilder::new(milena_records::BuilderConfig::default());
        batch.append(1, Some(&key), value.as_deref(), &[]).unwrap();
        let bytes = batch.build(self.end, LeaderEpoch(3)).unwrap();
        self.log.push(bytes);
        self.end = self.end + 1;
        self.reload();
        self.get(id).producer()
    }
}

fn partitions(indexes: &[i32]) -> BTreeSet<PartitionKey> {
    indexes.iter().map(|index| PartitionKey { topic: Text::from("t"), index: *index }).collect()
}

fn epoch(producer: Producer) -> i16 {
    producer.epoch.0
}

#[test]
fn a_transaction_is_over_when_each_partition_has_its_marker() {
    let mut world = World::new(1);
    let producer = world.init("a", None).unwrap();
    assert_eq!(epoch(producer), 0);
    assert_eq!(world.add("a", producer, 0), ErrorCode::NONE);
    assert_eq!(world.add("a", producer, 1), ErrorCode::NONE);
    assert_eq!(world.end("a", producer, true), Ok(None));
    assert_eq!(world.get("a").status, Status::PrepareCommit);
    let Some(Action::Mark(marking)) = world.actions.pop() else { panic!("markers are sent") };
    assert_eq!((marking.is_committed, &marking.partitions), (true, &partitions(&[0, 1])));
    for index in [0, 1] {
        assert_eq!(world.get("a").status, Status::PrepareCommit);
        let partitions = partitions(&[index]).into_iter().collect();
        world.event(TransactionEvent::Marked { id: "a".into(), producer, partitions });
    }
    assert_eq!(world.get("a").status, Status::CompleteCommit);
    assert_eq!(world.end("a", producer, true), Ok(None), "once more");
    assert_eq!(world.end("a", producer, false), Err(ErrorCode::INVALID_TXN_STATE));
}

#[test]
fn what_was_decided_is_finished_by_the_next_coordinator() {
    let mut world = World::new(2);
    let producer = world.init("a", None).unwrap();
    world.add("a", producer, 7);
    let next = world.end("a", producer, false).unwrap().unwrap();
    assert_eq!(epoch(next), 1);
    world.actions.clear();
    world.reload();
    assert_eq!(world.get("a").status, Status::PrepareAbort);
    let markings = world.mark();
    assert_eq!(markings.len(), 1);
    assert_eq!(markings[0].partitions, partitions(&[7]));
    assert_eq!((markings[0].producer, markings[0].transaction_version), (next, 2));
    assert_eq!(world.get("a").status, Status::CompleteAbort);
}

#[test]
fn while_a_transaction_is_being_ended_its_producer_waits() {
    for version in [1, 2] {
        let mut world = World::new(version);
        let producer = world.init("a", None).unwrap();
        world.add("a", producer, 0);
        let next = world.end("a", producer, true).unwrap().unwrap_or(producer);
        assert_eq!(world.add("a", next, 1), ErrorCode::CONCURRENT_TRANSACTIONS);
        assert_eq!(world.init("a", None), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        assert_eq!(world.end("a", producer, true), Err(ErrorCode::CONCURRENT_TRANSACTIONS), "version {version}");
        assert_eq!(world.end("a", producer, false), Err(ErrorCode::INVALID_TXN_STATE), "version {version}");
        world.mark();
        assert_eq!(world.add("a", next, 1), ErrorCode::NONE);
    }
}

#[test]
fn a_late_end_does_not_end_the_next_transaction() {
    // KAFKA-17754: the request was on its way for so long that its sender has begun another transaction.
    let mut world = World::new(2);
    let producer = world.init("a", None).unwrap();
    world.add("a", producer, 0);
    let next = world.end("a", producer, true).unwrap().unwrap();
    world.mark();
    world.add("a", next, 0);
    assert_eq!(world.end("a", producer, true), Err(ErrorCode::PRODUCER_FENCED));
    assert_eq!(world.end("a", producer, false), Err(ErrorCode::PRODUCER_FENCED));
    assert_eq!(world.get("a").status, Status::Ongoing);
}

#[test]
fn taking_over_an_open_transaction_raises_the_epoch_once_for_it_and_once_for_the_new_producer() {
    // KAFKA-19367: it was raised twice for the first, past what can be fenced.
    for version in [1, 2] {
        let mut world = World::new(version);
        let producer = world.init("a", None).unwrap();
        world.add("a", producer, 0);
        assert_eq!(world.init("a", None), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        assert_eq!(world.get("a").status, Status::PrepareAbort);
        assert_eq!(epoch(world.get("a").producer()), 1);
        assert_eq!(epoch(world.mark()[0].producer), 1);
        let second = world.init("a", None).unwrap();
        assert_eq!((second.id, epoch(second)), (producer.id, 2));
        assert_eq!(world.add("a", producer, 0), ErrorCode::PRODUCER_FENCED);
        assert_eq!(world.end("a", producer, true), Err(ErrorCode::PRODUCER_FENCED));
    }
}

#[test]
fn the_last_epoch_of_a_producer_id_leads_to_another_id() {
    let mut world = World::new(2);
    let first = world.init("a", None).unwrap();
    let old = world.age("a", i16::MAX - 1);
    assert_eq!(old.id, first.id);
    assert_eq!(world.add("a", old, 0), ErrorCode::NONE);
    let next = world.end("a", old, true).unwrap().unwrap();
    assert_ne!(next.id, old.id);
    assert_eq!(epoch(next), 0);
    let marking = world.mark().remove(0);
    assert_eq!((marking.producer.id, epoch(marking.producer)), (old.id, i16::MAX), "the marker is of the old one");
    assert_eq!(world.get("a").producer(), next);
    assert_eq!(world.end("a", old, true), Ok(Some(next)), "the answer was lost");
    assert_eq!(world.end("a", old, false), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(world.add("a", next, 0), ErrorCode::NONE);
}

#[test]
fn fencing_the_last_epoch_can_be_finished() {
    // KAFKA-20090: a transaction of the greatest epoch there is could not be aborted.
    let mut world = World::new(2);
    world.init("a", None).unwrap();
    let old = world.age("a", i16::MAX - 1);
    world.add("a", old, 0);
    assert_eq!(world.init("a", None), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    assert_eq!(epoch(world.mark()[0].producer), i16::MAX);
    let next = world.init("a", None).unwrap();
    assert_eq!((next.id == old.id, epoch(next)), (false, 1));
    let mut world = World::new(2);
    world.init("a", None).unwrap();
    let beyond = world.age("a", i16::MAX);
    assert_eq!(world.add("a", beyond, 0), ErrorCode::NONE);
    assert_eq!(world.init("a", None), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    assert_eq!(epoch(world.mark()[0].producer), i16::MAX);
    assert_eq!(world.get("a").status, Status::CompleteAbort);
    assert_eq!(epoch(world.init("a", None).unwrap()), 1);
}

#[test]
fn an_initialisation_that_comes_again_gets_the_same_epoch() {
    // KIP-360.
    let mut world = World::new(1);
    let producer = world.init("a", None).unwrap();
    let bumped = world.init("a", Some(producer)).unwrap();
    assert_eq!(epoch(bumped), 1);
    assert_eq!(world.init("a", Some(producer)), Ok(bumped), "the answer was lost");
    let other = world.init("a", None).unwrap();
    assert_eq!(epoch(other), 2);
    assert_eq!(world.init("a", Some(bumped)), Err(ErrorCode::PRODUCER_FENCED));
    let stranger = Producer { id: ProducerId(9), epoch: ProducerEpoch(0) };
    assert_eq!(world.init("a", Some(stranger)), Err(ErrorCode::PRODUCER_FENCED));
    let old = world.age("a", i16::MAX - 1);
    let rotated = world.init("a", Some(old)).unwrap();
    assert_eq!((rotated.id == old.id, epoch(rotated)), (false, 0));
    assert_eq!(world.init("a", Some(old)), Ok(rotated), "the answer was lost");
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_shut_out() {
    for version in [1, 2] {
        let mut world = World::new(version);
        let producer = world.init("a", None).unwrap();
        world.add("a", producer, 0);
        world.now = Timestamp(world.now.0 + 60_000);
        world.coordinator.tick(world.now);
        world.work();
        assert_eq!(world.get("a").status, Status::Ongoing, "not yet");
        world.now = Timestamp(world.now.0 + 10_000);
        world.coordinator.tick(world.now);
        world.work();
        world.mark();
        assert_eq!(world.get("a").status, Status::CompleteAbort);
        assert_eq!(
            world.end("a", producer, true),
            Err(if version == 1 {
                ErrorCode::PRODUCER_FENCED
            } else {
                // It may be the answer to an abort that was lost, but nobody asked for a commit.
                ErrorCode::INVALID_TXN_STATE
            })
        );
        assert_eq!(world.add("a", producer, 0), ErrorCode::PRODUCER_FENCED);
    }
}

#[test]
fn a_timeout_with_the_last_epoch_gets_a_producer_id_first() {
    let mut world = World::new(2);
    world.init("a", None).unwrap();
    let old = world.age("a", i16::MAX - 1);
    world.add("a", old, 0);
    world.now = Timestamp(world.now.0 + 100_000);
    world.coordinator.tick(world.now);
    world.work();
    assert_eq!(world.actions, [Action::GetProducerId { id: "a".into() }]);
    world.actions.clear();
    world.event(TransactionEvent::GotProducerId { id: "a".into(), producer_id: ProducerId(500) });
    world.mark();
    assert_eq!(world.get("a").producer(), Producer { id: ProducerId(500), epoch: ProducerEpoch(0) });
}

#[test]
fn ids_that_nobody_uses_are_forgotten_but_not_with_an_open_transaction() {
    let mut world = World::new(2);
    world.init("idle", None).unwrap();
    let producer = world.init("open", None).unwrap();
    world.add("open", producer, 0);
    world.now = Timestamp(world.now.0 + 604_800_000);
    world.coordinator.handle(TransactionEvent::Version(2), world.now);
    world.coordinator.tick(world.now);
    world.work();
    let ids: Vec<&str> = world.coordinator.state().iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids, ["open"]);
    world.reload();
    assert!(world.coordinator.state().get("idle").is_none());
}

#[test]
fn what_cannot_be_written_has_not_happened_and_an_end_is_written_again() {
    let mut world = World::new(2);
    let producer = world.init("a", None).unwrap();
    world.refuses = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(world.add("a", producer, 0), ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(world.get("a").status, Status::Empty);
    world.refuses = None;
    world.add("a", producer, 0);
    let next = world.end("a", producer, true).unwrap().unwrap();
    world.refuses = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    world.mark();
    assert_eq!(world.get("a").status, Status::PrepareCommit);
    assert_eq!(world.add("a", next, 0), ErrorCode::CONCURRENT_TRANSACTIONS);
    world.refuses = None;
    world.now = Timestamp(world.now.0 + 100);
    world.coordinator.tick(world.now);
    world.work();
    assert_eq!(world.get("a").status, Status::CompleteCommit);
}

#[test]
fn values_are_written_in_the_version_of_the_cluster() {
    for (version, first_bytes) in [(0, [0, 0]), (1, [0, 1]), (2, [0, 1])] {
        let mut world = World::new(version);
        let producer = world.init("a", None).unwrap();
        world.add("a", producer, 3);
        let written = world.get("a").clone();
        let batch = Batches::new(world.log.last().unwrap().clone()).next().unwrap().unwrap();
        let record = batch.records(1 << 20).unwrap().next().unwrap().unwrap();
        assert_eq!(record.key.as_deref(), Some(&[0, 0, 0, 1, b'a'][..]));
        assert_eq!(record.value.unwrap()[..2], first_bytes);
        world.reload();
        let read = world.get("a").clone();
        assert_eq!((read.status, read.producer(), read.partitions), (Status::Ongoing, producer, partitions(&[3])));
        assert_eq!(read.client_version, if version >= 1 { written.client_version } else { 0 });
    }
}

/// Apache Kafka 4.3.1 cannot write the state of such a client at level 0, and its id hangs.
#[test]
fn a_client_of_version_2_goes_on_when_the_level_is_lowered_to_0() {
    for is_committed in [true, false] {
        let mut world = World::new(2);
        let producer = world.init("a", None).unwrap();
        world.add("a", producer, 0);
        world.event(TransactionEvent::Version(0));
        let next = world.end("a", producer, is_committed).unwrap().unwrap();
        assert_eq!(epoch(next), epoch(producer) + 1);
        // Another coordinator, of the lower level, ends it as it was promised.
        world.version = 0;
        world.reload();
        let markings = world.mark();
        assert_eq!(markings.iter().map(|marking| marking.producer).collect::<Vec<_>>(), [next]);
        let status = if is_committed { Status::CompleteCommit } else { Status::CompleteAbort };
        assert_eq!((world.get("a").status, world.get("a").producer()), (status, next));
        assert_eq!(world.add("a", producer, 1), ErrorCode::PRODUCER_FENCED);
        world.version = 2;
        assert_eq!(world.add("a", next, 1), ErrorCode::NONE);
        assert_eq!(world.end("a", next, is_committed).map(|next| next.map(epoch)), Ok(Some(epoch(next) + 1)));
        world.mark();
        assert_eq!(world.get("a").status, status);
        assert_eq!(world.init("a", None).map(epoch), Ok(epoch(next) + 2));
    }
}

#[test]
fn a_marker_that_is_refused_is_not_waited_for() {
    let mut world = World::new(2);
    let producer = world.init("a", None).unwrap();
    world.add("a", producer, 0);
    let next = world.end("a", producer, true).unwrap().unwrap();
    world.event(TransactionEvent::MarkerRefused { id: "a".into(), producer: next });
    world.mark();
    assert_eq!(world.get("a").status, Status::PrepareCommit, "as in Apache Kafka, until the log is loaded again");
}

#[test]
fn lists_are_filtered() {
    let mut world = World::new(2);
    let one = world.init("one", None).unwrap();
    world.init("two", None).unwrap();
    world.add("one", one, 0);
    world.now = Timestamp(world.now.0 + 5_000);
    let mut list = |filter: ListFilter| match world.ask(TransactionRequest::List(filter)) {
        TransactionReply::List(found) => found.map(|found| found.iter().map(|(id, ..)| id.to_string()).collect()),
        other => panic!("{other:?}"),
    };
    let all = ListFilter { duration_ms: -1, ..ListFilter::default() };
    let is = |ids: &[&str]| Ok::<Vec<String>, ErrorCode>(ids.iter().map(|id| (*id).to_owned()).collect());
    assert_eq!(list(all.clone()), is(&["one", "two"]));
    assert_eq!(list(ListFilter { states: vec!["Ongoing".into()], ..all.clone() }), is(&["one"]));
    assert_eq!(list(ListFilter { states: vec!["ongoing".into()], ..all.clone() }), is(&[]));
    assert_eq!(list(ListFilter { producer_ids: vec![one.id.0], ..all.clone() }), is(&["one"]));
    assert_eq!(list(ListFilter { pattern: Some("t.*".into()), ..all.clone() }), is(&["two"]));
    assert_eq!(list(ListFilter { pattern: Some("(".into()), ..all }), Err(ErrorCode::INVALID_REGULAR_EXPRESSION));
}

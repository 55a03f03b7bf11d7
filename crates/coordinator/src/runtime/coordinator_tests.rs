//! The runtime with a small machine, scene by scene. The real groups run on it under chance in `tests/simulation`.

use super::*;
use bytes::Bytes;
use milena_protocol::DecodeError;
use milena_records::{Batch, Codec, Scratch};
use milena_types::{ErrorCode, LeaderEpoch, Offset, ProducerId, Timestamp};
use std::collections::BTreeSet;

/// The operations done, by key.
#[derive(Default, Clone, Debug)]
struct Done {
    by_key: Timeline<u8, BTreeSet<u64>>,
}

impl Replicated for Done {
    type Record = (u8, u64);

    fn replay(&mut self, _: RecordPlace, (key, operation): &(u8, u64)) {
        if self.by_key.get(key).is_none() {
            self.by_key.insert(*key, BTreeSet::new());
        }
        let is_new = self.by_key.get_mut(key).unwrap().insert(*operation);
        assert!(is_new, "operation {operation} is replayed twice");
    }

    fn replay_end_of_transaction(&mut self, _: ProducerId, _: bool) {}

    fn begin(&mut self, round: u64) {
        self.by_key.begin(round);
    }

    fn commit(&mut self, round: u64) {
        self.by_key.commit(round);
    }

    fn revert(&mut self, round: u64) {
        self.by_key.revert(round);
    }
}

enum Event {
    /// Does operations, then tells of them.
    Do(Ticket, Vec<(u8, u64)>),
    /// Does an operation and a second one once the first is committed.
    Chain(Ticket, (u8, u64), (u8, u64)),
    /// Tells what is done, with what is not committed.
    Look(Ticket, u8),
    /// Does an operation later.
    Alarm(Timestamp, (u8, u64)),
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done(Vec<u64>),
    Failed(ErrorCode),
}

#[derive(Default)]
struct Worker {
    alarms: Timers<(u8, u64)>,
    waiting: Vec<Ticket>,
}

impl Machine for Worker {
    type State = Done;
    type Event = Event;
    type Reply = Answer;
    type After = (Ticket, (u8, u64), u64);

    fn encode((key, operation): &(u8, u64)) -> (Bytes, Option<Bytes>) {
        (Bytes::from(vec![*key]), Some(Bytes::copy_from_slice(&operation.to_be_bytes())))
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<(u8, u64)>, DecodeError> {
        Ok(Some((key[0], u64::from_be_bytes(value.unwrap()[..].try_into().unwrap()))))
    }

    fn loaded(&mut self, _: &Done, _: Timestamp) -> DecisionOf<Self> {
        Decision::default()
    }

    fn decide(&mut self, state: &Done, event: Event, _: Timestamp) -> DecisionOf<Self> {
        match event {
            Event::Do(ticket, operations) => {
                let ids = operations.iter().map(|(_, id)| *id).collect();
                Decision::reply(ticket, Answer::Done(ids), operations)
            }
            Event::Chain(ticket, first, second) => {
                self.waiting.push(ticket);
                Decision { records: vec![first], after: vec![(ticket, second, first.1)], ..Decision::default() }
            }
            Event::Look(ticket, key) => {
                let seen = state.by_key.get(&key).into_iter().flatten().copied().collect();
                Decision::reply(ticket, Answer::Done(seen), Vec::new())
            }
            Event::Alarm(at, operation) => {
                self.alarms.set(operation, at);
                Decision::default()
            }
        }
    }

    fn after(
        &mut self,
        _: &Done,
        (ticket, second, first): (Ticket, (u8, u64), u64),
        result: Result<(), ErrorCode>,
        _: Timestamp,
    ) -> DecisionOf<Self> {
        self.waiting.retain(|waiting| *waiting != ticket);
        match result {
            Ok(()) => Decision::reply(ticket, Answer::Done(vec![first, second.1]), vec![second]),
            Err(error) => Decision::at_once(ticket, Answer::Failed(error)),
        }
    }

    fn refused(event: Event, error: ErrorCode) -> Vec<(Ticket, Answer)> {
        match event {
            Event::Do(ticket, _) | Event::Chain(ticket, ..) | Event::Look(ticket, _) => {
                vec![(ticket, Answer::Failed(error))]
            }
            Event::Alarm(..) => Vec::new(),
        }
    }

    fn failed(_: Answer, error: ErrorCode) -> Answer {
        Answer::Failed(error)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.alarms.next_deadline()
    }

    fn expire(&mut self, _: &Done, now: Timestamp) -> Option<DecisionOf<Self>> {
        Some(Decision::records(vec![self.alarms.pop_due(now)?]))
    }

    fn unloaded(&mut self, error: ErrorCode) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.waiting).into_iter().map(|ticket| (ticket, Answer::Failed(error))).collect()
    }
}

const MAX_BATCH_BYTES: usize = 300;

fn coordinator(epoch: i32, append_linger_ms: i64) -> Coordinator<Worker> {
    let config =
        RuntimeConfig { max_batch_bytes: MAX_BATCH_BYTES, append_linger_ms, write_timeout_ms: 400, codec: Codec::NONE };
    Coordinator::new(Worker::default(), config, LeaderEpoch(epoch))
}

#[test]
fn a_decision_that_fits_in_no_batch_is_refused_and_changes_nothing() {
    let mut coordinator = coordinator(1, -1);
    coordinator.activate(Offset(0), Timestamp(0));
    let operations = (0..100).map(|id| (0, id)).collect();
    coordinator.handle(Event::Do(Ticket(1), operations), Timestamp(0));
    let refused = Effect::Reply(Ticket(1), Answer::Failed(ErrorCode::RECORD_LIST_TOO_LARGE));
    assert_eq!(coordinator.next_effect(), Some(refused));
    assert!(coordinator.state().by_key.is_empty());
    // The topic takes larger batches now.
    coordinator.set_max_batch_bytes(10_000);
    coordinator.handle(Event::Do(Ticket(2), (0..100).map(|id| (0, id)).collect()), Timestamp(0));
    coordinator.flush_unless_lingering();
    assert!(matches!(coordinator.next_effect(), Some(Effect::Append { .. })));
}

#[test]
fn an_answer_waits_for_what_it_tells_of() {
    let mut coordinator = coordinator(1, -1);
    coordinator.activate(Offset(0), Timestamp(0));
    coordinator.handle(Event::Do(Ticket(1), vec![(0, 5)]), Timestamp(0));
    coordinator.handle(Event::Look(Ticket(2), 0), Timestamp(0));
    assert_eq!(coordinator.next_effect(), None);
    coordinator.flush_unless_lingering();
    let Some(Effect::Append { round, .. }) = coordinator.next_effect() else { panic!("the batch is appended") };
    coordinator.appended(round, Ok(Offset(0)), Timestamp(0));
    assert_eq!(coordinator.next_effect(), None);
    coordinator.committed(Offset(1), Timestamp(0));
    assert_eq!(coordinator.next_effect(), Some(Effect::Reply(Ticket(1), Answer::Done(vec![5]))));
    assert_eq!(coordinator.next_effect(), Some(Effect::Reply(Ticket(2), Answer::Done(vec![5]))));
}

#[test]
fn what_is_loaded_and_not_committed_is_not_told() {
    let mut first = coordinator(1, -1);
    first.activate(Offset(0), Timestamp(0));
    let mut batches = Vec::new();
    for id in [5, 6] {
        first.handle(Event::Do(Ticket(id), vec![(0, id)]), Timestamp(0));
        first.flush();
        let Some(Effect::Append { batch, .. }) = first.next_effect() else { panic!("the batch is appended") };
        batches.push(Batch::parse(&batch).unwrap());
    }
    let mut second = coordinator(2, -1);
    for batch in &batches {
        second.load(batch, Offset(1), &mut Scratch::new()).unwrap();
    }
    second.activate(Offset(2), Timestamp(0));
    second.committed(Offset(1), Timestamp(0));
    assert_eq!(second.state().by_key.committed(&0), Some(&BTreeSet::from([5])));
    second.handle(Event::Look(Ticket(7), 0), Timestamp(0));
    assert_eq!(second.next_effect(), None);
    second.committed(Offset(2), Timestamp(0));
    assert_eq!(second.next_effect(), Some(Effect::Reply(Ticket(7), Answer::Done(vec![5, 6]))));
    assert_eq!(second.state().by_key.committed(&0), Some(&BTreeSet::from([5, 6])));
}

#[test]
fn callers_do_not_wait_for_ever_but_their_records_stay() {
    let mut coordinator = coordinator(1, 0);
    coordinator.activate(Offset(0), Timestamp(0));
    coordinator.handle(Event::Do(Ticket(1), vec![(0, 5)]), Timestamp(0));
    let Some(Effect::Append { round, .. }) = coordinator.next_effect() else { panic!("the batch is appended") };
    coordinator.appended(round, Ok(Offset(0)), Timestamp(0));
    assert_eq!(coordinator.next_deadline(), Some(Timestamp(400)));
    coordinator.tick(Timestamp(400));
    let timed_out = Effect::Reply(Ticket(1), Answer::Failed(ErrorCode::REQUEST_TIMED_OUT));
    assert_eq!(coordinator.next_effect(), Some(timed_out));
    coordinator.committed(Offset(1), Timestamp(500));
    assert_eq!(coordinator.next_effect(), None);
    assert_eq!(coordinator.state().by_key.committed(&0), Some(&BTreeSet::from([5])));
}

#[test]
fn a_foreign_write_ends_the_coordinator() {
    let mut coordinator = coordinator(1, 0);
    coordinator.activate(Offset(0), Timestamp(0));
    coordinator.handle(Event::Do(Ticket(1), vec![(0, 5)]), Timestamp(0));
    let Some(Effect::Append { round, .. }) = coordinator.next_effect() else { panic!("the batch is appended") };
    coordinator.appended(round, Ok(Offset(3)), Timestamp(0));
    assert_eq!(coordinator.phase(), Phase::Ended);
    let refused = Effect::Reply(Ticket(1), Answer::Failed(ErrorCode::NOT_COORDINATOR));
    assert_eq!(coordinator.next_effect(), Some(refused));
}

#[test]
fn what_follows_from_a_record_is_decided_once_it_is_committed_and_not_at_all_if_it_is_lost() {
    let mut coordinator = coordinator(1, -1);
    coordinator.activate(Offset(0), Timestamp(0));
    coordinator.handle(Event::Chain(Ticket(1), (0, 5), (0, 6)), Timestamp(0));
    coordinator.flush();
    let Some(Effect::Append { round, .. }) = coordinator.next_effect() else { panic!("the batch is appended") };
    coordinator.appended(round, Ok(Offset(0)), Timestamp(0));
    coordinator.committed(Offset(1), Timestamp(0));
    coordinator.flush();
    let Some(Effect::Append { round, .. }) = coordinator.next_effect() else { panic!("the second is appended") };
    coordinator.appended(round, Ok(Offset(1)), Timestamp(0));
    coordinator.committed(Offset(2), Timestamp(0));
    assert_eq!(coordinator.next_effect(), Some(Effect::Reply(Ticket(1), Answer::Done(vec![5, 6]))));
    coordinator.handle(Event::Chain(Ticket(2), (0, 7), (0, 8)), Timestamp(0));
    coordinator.flush();
    let Some(Effect::Append { round, .. }) = coordinator.next_effect() else { panic!("the third is appended") };
    coordinator.appended(round, Err(ErrorCode::KAFKA_STORAGE_ERROR), Timestamp(0));
    let failed = Effect::Reply(Ticket(2), Answer::Failed(ErrorCode::KAFKA_STORAGE_ERROR));
    assert_eq!(coordinator.next_effect(), Some(failed));
    assert_eq!(coordinator.state().by_key.get(&0), Some(&BTreeSet::from([5, 6])));
}

#[test]
fn a_timer_writes_its_records_and_nobody_waits_for_them() {
    let mut coordinator = coordinator(1, 0);
    coordinator.activate(Offset(0), Timestamp(0));
    coordinator.handle(Event::Alarm(Timestamp(10), (0, 5)), Timestamp(0));
    assert_eq!((coordinator.next_deadline(), coordinator.next_effect()), (Some(Timestamp(10)), None));
    coordinator.tick(Timestamp(10));
    assert!(matches!(coordinator.next_effect(), Some(Effect::Append { .. })));
    assert_eq!(coordinator.next_effect(), None);
}

//! An idempotent producer with acks=all: a few batches under way for each partition, sent again in order until they are
//! acknowledged.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use milena_records::{BatchBuilder, BuilderConfig};
use milena_replication::PartitionKey;
use milena_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::View;
use crate::checkers::Checkers;
use crate::history::{Operation, Outcome};
use crate::message::{Answer, Lane, Purpose, Request};
use crate::random::Random;
use crate::world::World;

/// `max.in.flight.requests.per.connection`.
const IN_FLIGHT_MAX: usize = 3;
/// Batches that wait for one partition.
const QUEUE_MAX: usize = 5;
/// `retry.backoff.ms`.
const BACKOFF_MS: i64 = 100;
/// `request.timeout.ms`.
const TIMEOUT_MS: i64 = 1500;

struct Pending {
    sequence: i32,
    values: Vec<u64>,
    bytes: Bytes,
    call: Option<u64>,
    retry_at: i64,
    is_done: bool,
}

#[derive(Default)]
struct Line {
    /// How often this partition was begun anew with another producer id.
    resets: i64,
    next_sequence: i32,
    batches: VecDeque<Pending>,
}

pub(crate) struct Producer {
    id: ProducerId,
    next_value: u64,
    lines: BTreeMap<PartitionKey, Line>,
    calls: BTreeMap<u64, PartitionKey>,
    pub(crate) is_stopped: bool,
    /// How many steps in a thousand bring a new batch.
    eagerness: i64,
}

impl Producer {
    pub(crate) fn new(at: usize, random: &mut Random) -> Producer {
        let number = u64::try_from(at).unwrap_or(0) + 1;
        Producer {
            id: ProducerId(i64::try_from(number * 1000).unwrap_or(1000)),
            next_value: number << 40,
            lines: BTreeMap::new(),
            calls: BTreeMap::new(),
            is_stopped: false,
            eagerness: random.pick(&[150, 400, 800]).unwrap_or(400),
        }
    }

    pub(crate) fn is_done(&self, checkers: &Checkers) -> Result<(), String> {
        // Where elections may be unclean, a leader may lack what a producer's next batch follows.
        let waits = |key: &PartitionKey, line: &Line| !line.batches.is_empty() && checkers.ledgers.contains_key(key);
        match self.lines.iter().find(|(key, line)| waits(key, line)) {
            Some(((topic, index), line)) => {
                Err(format!("has {} batches for {topic}-{index} that nobody acknowledges", line.batches.len()))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn step(&mut self, world: &mut World, place: usize, view: &View) {
        if !self.is_stopped && world.random.per_mille(self.eagerness) {
            let partitions = view.partitions();
            if let Some(key) = world.random.pick(&partitions) {
                self.make_batch(world, key);
            }
        }
        let keys: Vec<PartitionKey> = self.lines.keys().copied().collect();
        for key in keys {
            self.send(world, place, view, key);
        }
    }

    fn make_batch(&mut self, world: &mut World, key: PartitionKey) {
        let line = self.lines.entry(key).or_default();
        if line.batches.len() >= QUEUE_MAX {
            return;
        }
        let count = 1 + world.random.below(3);
        let values: Vec<u64> = (self.next_value..).take(count).collect();
        self.next_value += count as u64;
        let config = BuilderConfig {
            producer_id: ProducerId(self.id.0 + line.resets),
            producer_epoch: ProducerEpoch(0),
            base_sequence: line.next_sequence,
            ..BuilderConfig::default()
        };
        let mut builder = BatchBuilder::new(config);
        for value in &values {
            let appended = builder.append(1_700_000_000_000 + world.now, None, Some(&value.to_be_bytes()), &[]);
            debug_assert!(appended.is_ok());
        }
        let Ok(bytes) = builder.build(Offset(0), LeaderEpoch::NONE) else { return };
        let sequence = line.next_sequence;
        line.next_sequence += i32::try_from(count).unwrap_or(0);
        line.batches.push_back(Pending { sequence, values, bytes, call: None, retry_at: 0, is_done: false });
    }

    /// Sends what is not under way, in order: nothing overtakes what must be sent again.
    fn send(&mut self, world: &mut World, place: usize, view: &View, key: PartitionKey) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        if line.batches.is_empty() {
            return;
        }
        let leader = view.leader(key).and_then(|(id, _)| usize::try_from(id.0).ok());
        for pending in line.batches.iter_mut().take(IN_FLIGHT_MAX) {
            if pending.call.is_some() || pending.is_done {
                continue;
            }
            if pending.retry_at > world.now || leader.is_none() {
                break;
            }
            let request = Request::Produce { key, batch: pending.bytes.clone(), timeout_ms: TIMEOUT_MS };
            let call = world.call_place(place, leader, Lane::Client, request, Purpose::Client);
            pending.call = Some(call);
            self.calls.insert(call, key);
        }
    }

    /// Returns whether the metadata may be old.
    pub(crate) fn answered(&mut self, world: &mut World, place: usize, call: u64, answer: Option<Answer>) -> bool {
        let Some(key) = self.calls.remove(&call) else { return false };
        let Some(line) = self.lines.get_mut(&key) else { return false };
        let Some(at) = line.batches.iter().position(|pending| pending.call == Some(call)) else { return false };
        let outcome = match answer {
            Some(Answer::Produce(outcome)) => outcome,
            _ => Err(ErrorCode::NETWORK_EXCEPTION),
        };
        let first = match outcome {
            Ok(first) => first.0,
            // Written before, so long ago that nobody knows where.
            Err(ErrorCode::DUPLICATE_SEQUENCE_NUMBER) => -1,
            // A leader that was started again remembers one batch of a producer, not five: what was not acknowledged
            // before may be there or not, and the producer begins anew.
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER) if at == 0 => {
                world.coverage.count("producers begun anew");
                line.resets += 1;
                line.next_sequence = 0;
                for value in
                    line.batches.drain(..).filter(|pending| !pending.is_done).flat_map(|pending| pending.values)
                {
                    let (what, outcome, at_ms) = ("send", Outcome::Info, world.now);
                    world.history.push(Operation { process: place, what, outcome, key, offset: -1, value, at_ms });
                }
                return true;
            }
            Err(error) => {
                world.tell(|| format!("producer {place}: {key:?}: {error}"));
                if let Some(pending) = line.batches.get_mut(at) {
                    pending.call = None;
                    pending.retry_at = world.now + BACKOFF_MS;
                }
                return true;
            }
        };
        if let Some(pending) = line.batches.get_mut(at) {
            debug_assert!(pending.sequence >= 0);
            pending.call = None;
            pending.is_done = true;
            if crate::checkers::is_promised_key(world, key) {
                world.checkers.on_told(key, first, &pending.values);
            }
            for (value, ahead) in pending.values.iter().zip(0..) {
                let offset = if first < 0 { -1 } else { first + ahead };
                let (what, outcome, at_ms) = ("send", Outcome::Ok, world.now);
                world.history.push(Operation { process: place, what, outcome, key, offset, value: *value, at_ms });
            }
        }
        // The oldest that is not acknowledged holds the window: a leader remembers five batches of a producer.
        while line.batches.front().is_some_and(|pending| pending.is_done) {
            line.batches.pop_front();
        }
        false
    }
}

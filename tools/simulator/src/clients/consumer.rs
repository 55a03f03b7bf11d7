//! A consumer of all partitions, each from its beginning; it reads below the high watermark.

use std::collections::BTreeMap;

use milena_records::Batches;
use milena_replication::{PartitionKey, RequestedPartition, TopicKey};
use milena_types::ErrorCode;

use super::View;
use crate::broker::entries_of;
use crate::checkers::Checkers;
use crate::history::{Operation, Outcome};
use crate::message::{Answer, FetchCall, Lane, Purpose, Request};
use crate::world::World;

#[derive(Default)]
struct Place {
    next: i64,
    last_epoch: i32,
    call: Option<u64>,
    retry_at: i64,
}

#[derive(Default)]
pub(crate) struct Consumer {
    places: BTreeMap<PartitionKey, Place>,
    calls: BTreeMap<u64, PartitionKey>,
}

impl Consumer {
    pub(crate) fn is_done(&self, checkers: &Checkers) -> Result<(), String> {
        for (key, ledger) in &checkers.ledgers {
            let next = self.places.get(key).map_or(0, |place| place.next);
            if next < ledger.end() {
                return Err(format!("is at {next} of {}-{}, {} are committed", key.0, key.1, ledger.end()));
            }
        }
        Ok(())
    }

    pub(crate) fn step(&mut self, world: &mut World, place: usize, view: &View) {
        let partitions = view.partitions();
        let healing = world.is_healing;
        let chosen: Vec<PartitionKey> =
            if healing { partitions } else { world.random.pick(&partitions).into_iter().collect() };
        for key in chosen {
            let at = self.places.entry(key).or_default();
            let Some((leader, epoch)) = view.leader(key) else { continue };
            if at.call.is_some() || at.retry_at > world.now || !crate::checkers::is_promised_key(world, key) {
                continue;
            }
            let asked = RequestedPartition {
                topic: TopicKey::Id(key.0),
                partition: key.1.0,
                max_bytes: 1 << 20,
                fetch_offset: at.next,
                current_leader_epoch: epoch.0,
                last_fetched_epoch: -1,
                log_start_offset: -1,
            };
            let fetch = FetchCall {
                session_id: 0,
                session_epoch: -1,
                partitions: vec![(key, asked)],
                forgotten: Vec::new(),
                replica: None,
                max_wait_ms: 300,
            };
            let leader = usize::try_from(leader.0).ok();
            let call = world.call_place(place, leader, Lane::Client, Request::Fetch(fetch), Purpose::Client);
            at.call = Some(call);
            self.calls.insert(call, key);
        }
    }

    /// Returns whether the metadata may be old.
    pub(crate) fn answered(&mut self, world: &mut World, place: usize, call: u64, answer: Option<Answer>) -> bool {
        let Some(key) = self.calls.remove(&call) else { return false };
        let Some(at) = self.places.get_mut(&key) else { return false };
        at.call = None;
        let data = match answer {
            Some(Answer::Fetch(reply)) => reply.partitions.into_iter().next().map(|(_, data)| data),
            _ => None,
        };
        let Some(data) = data else {
            at.retry_at = world.now + 100;
            return true;
        };
        if data.error == ErrorCode::OFFSET_OUT_OF_RANGE {
            let next = at.next;
            world.judge(Err(format!("{}-{}: {next}, which follows what was read, is out of range", key.0, key.1)));
        }
        if !data.error.is_none() {
            at.retry_at = world.now + 100;
            return true;
        }
        let mut entries = Vec::new();
        for batch in Batches::new(data.records).flatten() {
            for (entry, offset) in entries_of(&batch).into_iter().zip(batch.header.base_offset.0..) {
                if offset == at.next {
                    entries.push(entry);
                    at.next += 1;
                    at.last_epoch = entry.epoch;
                }
            }
        }
        let base = at.next - i64::try_from(entries.len()).unwrap_or(0);
        let verdict = world.checkers.on_polled(place, key, base, &entries);
        world.judge(verdict);
        for (entry, offset) in entries.iter().zip(base..) {
            let (what, outcome, at_ms) = ("poll", Outcome::Ok, world.now);
            world.history.push(Operation { process: place, what, outcome, key, offset, value: entry.value, at_ms });
        }
        false
    }
}

//! The world: time, what will happen when, the nodes, the clients, and the order of a run: faults, healing, the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_broker::hosts::Job;
use milena_metadata::Image;
use milena_replication::PartitionKey;
use milena_storage::FlushHandle;
use milena_storage::disk::SimulatedDisk;
use milena_types::Offset;

use crate::carrying::Broken;
use crate::checkers::Checkers;
use crate::clients::Clients;
use crate::coverage::Coverage;
use crate::draw::Draw;
use crate::hints::Hint;
use crate::history::Operation;
use crate::message::{Lane, Packet, Purpose};
use crate::node::Node;
use crate::planted::Planted;
use crate::random::Random;

/// How long everything may take to heal.
const HEAL_MS: i64 = 60_000;
/// Between two looks at whether everything has healed.
const LOOK_MS: i64 = 500;
/// A run with more events than this goes in circles.
const EVENTS_MAX: u64 = 3_000_000;

/// Something that will happen.
pub(crate) enum Event {
    /// A node looks at its clock.
    Wake {
        node: usize,
        generation: u64,
    },
    Deliver(Box<Packet>),
    /// The caller learns that no answer will come.
    Failed {
        call: u64,
        /// Nobody listened.
        refused: bool,
    },
    /// A controller learns something of a broker's connections.
    Hint {
        node: usize,
        life: u32,
        broker: usize,
        epoch: i64,
        hint: Hint,
    },
    /// Work beside the metadata thread ends.
    Job {
        node: usize,
        life: u32,
        job: Job,
    },
    /// A sync that ran beside reaches the device.
    Flush {
        node: usize,
        life: u32,
        key: PartitionKey,
        handle: FlushHandle<SimulatedDisk>,
    },
    Client(usize),
    Fault,
    /// What a fault did is undone.
    Undo(crate::faults::Undo),
    Start {
        node: usize,
    },
    Leave {
        node: usize,
        life: u32,
    },
}

/// A request without an answer yet.
pub(crate) struct Call {
    pub(crate) from: usize,
    pub(crate) from_life: u32,
    pub(crate) lane: Lane,
    pub(crate) purpose: Purpose,
}

/// Why a run ended before its end.
pub(crate) type Failure = String;

pub(crate) struct World {
    pub(crate) draw: Draw,
    pub(crate) planted: Option<Planted>,
    pub(crate) random: Random,
    pub(crate) now: i64,
    events: BTreeMap<(i64, u64), Event>,
    next_event: u64,
    pub(crate) events_done: u64,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) next_call: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Clients,
    /// Directions in which nothing passes.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// When the last packet of a connection arrives.
    pub(crate) arrivals: BTreeMap<(usize, usize, Lane), i64>,
    pub(crate) broken: BTreeMap<(usize, usize, Lane), Broken>,
    /// When the last packet of a broken connection arrives.
    pub(crate) late_arrivals: BTreeMap<(usize, usize, Lane), i64>,
    pub(crate) is_healing: bool,
    /// The newest committed metadata anybody published.
    pub(crate) newest: Arc<Image>,
    /// Where the committed voters stand in the metadata log.
    pub(crate) voters_offset: Offset,
    pub(crate) checkers: Checkers,
    pub(crate) coverage: Coverage,
    pub(crate) history: Vec<Operation>,
    pub(crate) failure: Option<Failure>,
    /// Of everything that happened, in order.
    pub(crate) trace: u64,
    pub(crate) log_trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, planted: Option<Planted>, log_trace: bool) -> World {
        let mut random = Random::new(seed);
        let draw = Draw::of(&mut random);
        let mut nodes = Vec::new();
        for index in 0..draw.nodes() {
            let rate = if draw.faults.clocks { random.between(930, 1070) } else { 1000 };
            let node = Node::new(index, &draw, random.next(), rate);
            crate::faults::plant_on_disk(&node, planted);
            nodes.push(node);
        }
        let clients = Clients::new(&draw, nodes.len(), &mut random);
        World {
            planted,
            random,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            events_done: 0,
            calls: BTreeMap::new(),
            next_call: 1,
            nodes,
            clients,
            cut: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            broken: BTreeMap::new(),
            late_arrivals: BTreeMap::new(),
            is_healing: false,
            newest: Arc::default(),
            voters_offset: Offset(-1),
            checkers: Checkers::default(),
            coverage: Coverage::default(),
            history: Vec::new(),
            failure: None,
            trace: 0xcbf2_9ce4_8422_2325,
            log_trace,
            draw,
        }
    }

    /// Runs to the end, or to the first thing that is wrong.
    pub(crate) fn run(&mut self) -> Result<(), Failure> {
        for node in 0..self.nodes.len() {
            let at = self.random.between(0, 50);
            self.schedule(at, Event::Start { node });
        }
        for client in 0..self.clients.len() {
            let at = self.random.between(0, 300);
            self.schedule(at, Event::Client(client));
        }
        let first_fault = self.random.between(1500, 4000);
        self.schedule(first_fault, Event::Fault);
        self.run_until(self.draw.safety_ms)?;
        self.heal();
        let end = self.now + HEAL_MS;
        loop {
            let until = self.now + LOOK_MS;
            self.run_until(until)?;
            self.clients.stop_producing();
            let healed = self.is_healed();
            match healed {
                Ok(()) => break,
                Err(what) if self.now >= end => return Err(format!("not healed after {HEAL_MS} ms: {what}")),
                Err(_) => {}
            }
        }
        self.checkers.audit(&self.newest, &self.nodes)?;
        let committed: usize = self.checkers.ledgers.values().map(|ledger| ledger.entries.len()).sum();
        self.note(committed as u64);
        Ok(())
    }

    fn is_healed(&self) -> Result<(), String> {
        self.checkers.is_healed(&self.newest, &self.nodes)?;
        self.clients.is_done(&self.checkers)
    }

    fn run_until(&mut self, end: i64) -> Result<(), Failure> {
        while let Some(entry) = self.events.first_entry() {
            let (at, _) = *entry.key();
            if at > end {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(at);
            self.events_done += 1;
            if self.events_done > EVENTS_MAX {
                return Err("the run goes in circles".to_owned());
            }
            self.happen(event);
            if let Some(failure) = self.failure.take() {
                return Err(format!("at {} ms: {failure}", self.now));
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        self.note_event(&event);
        let busy = match &event {
            Event::Wake { node, .. }
            | Event::Job { node, .. }
            | Event::Flush { node, .. }
            | Event::Hint { node, .. }
            | Event::Leave { node, .. } => self.nodes.get(*node).map_or(0, |node| node.paused_until),
            _ => 0,
        };
        if busy > self.now {
            self.schedule(busy, event);
            return;
        }
        match event {
            Event::Wake { node, generation } => {
                if self.nodes.get(node).is_some_and(|node| node.wake_generation == generation) {
                    self.step(node, |_, _, _| {});
                }
            }
            Event::Deliver(packet) => self.deliver(*packet),
            Event::Failed { call, refused } => self.fail(call, refused),
            Event::Hint { node, life, broker, epoch, hint } => self.hint(node, life, broker, epoch, hint),
            Event::Job { node, life, job } => self.finish_job(node, life, job),
            Event::Flush { node, life, key, handle } => self.flush(node, life, key, &handle),
            Event::Client(client) => self.step_client(client),
            Event::Fault => self.fault(),
            Event::Undo(undo) => self.undo(undo),
            Event::Start { node } => self.start(node),
            Event::Leave { node, life } => self.leave(node, life),
        }
    }

    pub(crate) fn schedule(&mut self, at: i64, event: Event) {
        let place = (at.max(self.now), self.next_event);
        self.next_event += 1;
        self.events.insert(place, event);
    }

    /// Everything a run does enters its trace (FNV-1a).
    pub(crate) fn note(&mut self, what: u64) {
        for byte in what.to_le_bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn note_event(&mut self, event: &Event) {
        let (kind, more) = match event {
            Event::Wake { node, .. } => (1, *node as u64),
            Event::Deliver(packet) => (2, packet.call),
            Event::Failed { call, .. } => (3, *call),
            Event::Hint { node, .. } => (11, *node as u64),
            Event::Job { node, .. } => (4, *node as u64),
            Event::Flush { node, .. } => (5, *node as u64),
            Event::Client(client) => (6, *client as u64),
            Event::Fault => (7, 0),
            Event::Undo(_) => (8, 0),
            Event::Start { node } => (9, *node as u64),
            Event::Leave { node, .. } => (10, *node as u64),
        };
        self.note(u64::try_from(self.now).unwrap_or(0));
        self.note(kind << 56 | more);
    }

    /// A checker's word.
    pub(crate) fn judge(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.failure.get_or_insert(what);
        }
    }

    /// For a person who follows one seed.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.log_trace {
            crate::report::line(&format!("{:>7} {}", self.now, what()));
        }
    }
}

//! Nodes, controller and network, moved by random steps, with the checks.

use milena_replication::{Assignment, Durability, IsrChange};
use milena_types::{BrokerId, ErrorCode, Offset, Timestamp};

use crate::controller::{Controller, id};
use crate::node::{Fetch, Fetched, Node};
use crate::random::Random;

pub(crate) const NODES: usize = 3;
pub(crate) const MIN_INSYNC: usize = 2;

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    AcknowledgesAtOnce,
    FollowerClaimsMore,
    NeverTruncates,
    /// What KIP-101 put right.
    TruncatesToHighWatermark,
    LeaderIgnoresEpochs,
    TakesOldAnswers,
    /// What KIP-966 put right.
    UncleanStaysEligible,
    /// The leader does not wait for replicas that the controller may have let in already.
    ForgetsWhatItAskedFor,
}

impl Mistake {
    pub(crate) const ALL: [Mistake; 8] = [
        Mistake::AcknowledgesAtOnce,
        Mistake::FollowerClaimsMore,
        Mistake::NeverTruncates,
        Mistake::TruncatesToHighWatermark,
        Mistake::UncleanStaysEligible,
        Mistake::LeaderIgnoresEpochs,
        Mistake::TakesOldAnswers,
        Mistake::ForgetsWhatItAskedFor,
    ];
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) acknowledged: u32,
    pub(crate) elections: u32,
    pub(crate) truncations: u32,
    pub(crate) shrinks: u32,
    pub(crate) expansions: u32,
    pub(crate) kills: u32,
    pub(crate) power_cuts: u32,
}

impl Coverage {
    pub(crate) fn add(&mut self, other: &Coverage) {
        self.acknowledged += other.acknowledged;
        self.elections += other.elections;
        self.truncations += other.truncations;
        self.shrinks += other.shrinks;
        self.expansions += other.expansions;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
    }
}

#[derive(Clone, Debug)]
enum Message {
    Fetch { from: usize, to: usize, epochs: (i64, i64), fetch: Fetch },
    Fetched { from: usize, to: usize, epochs: (i64, i64), fetched: Fetched },
    Alter { from: usize, epoch: i64, change: IsrChange },
    Altered { to: usize, epoch: i64, change: IsrChange, answer: Result<Assignment, ErrorCode> },
}

pub(crate) struct World {
    random: Random,
    now: Timestamp,
    controller: Controller,
    nodes: Vec<Node>,
    network: Vec<Message>,
    /// By offset.
    acknowledged: Vec<(Offset, u64)>,
    next_value: u64,
    high_watermarks: [Offset; NODES],
    /// How many steps in a hundred may be faults.
    faults: usize,
    mistake: Option<Mistake>,
    pub(crate) coverage: Coverage,
}

impl World {
    pub(crate) fn new(seed: u64, mistake: Option<Mistake>) -> World {
        let mut random = Random::new(seed);
        let durability = if random.chance(30) { Durability::Fsync } else { Durability::Os };
        let faults = [5, 20, 100, 100][random.below(4)];
        let controller = Controller::new(mistake);
        let now = Timestamp(1_000_000);
        let mut nodes: Vec<Node> = (0..NODES).map(|node| Node::new(node, durability, mistake)).collect();
        for node in &mut nodes {
            node.apply(controller.latest(), now);
        }
        World {
            random,
            now,
            controller,
            nodes,
            network: Vec::new(),
            acknowledged: Vec::new(),
            next_value: 0,
            high_watermarks: [Offset(0); NODES],
            faults,
            mistake,
            coverage: Coverage::default(),
        }
    }

    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.now = Timestamp(self.now.0 + self.random.below(20) as i64);
        let node = self.random.below(NODES);
        // Faults come in some worlds seldom and in some always.
        let range = if self.random.chance(self.faults) { 1000 } else { 960 };
        match self.random.below(range) {
            0..=399 => self.deliver()?,
            400..=599 => self.fetch(node),
            600..=749 => self.produce(node),
            750..=869 => self.learn(node)?,
            870..=929 => self.look_at_isr(node),
            930..=959 if self.nodes[node].is_up => self.nodes[node].sync(self.now),
            960..=967 => self.crash(node),
            968..=982 => self.restart(node),
            983..=988 => self.controller_fences(node),
            989..=999 => self.controller_unfences(node),
            _ => {}
        }
        self.check()
    }

    fn send(&mut self, message: Message) {
        if !self.random.chance(5) {
            self.network.push(message);
        }
    }

    fn deliver(&mut self) -> Result<(), String> {
        if self.network.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.network.len());
        let message = self.network.swap_remove(at);
        self.receive(message)
    }

    /// A connection ends with the process at either end of it.
    fn is_connected(&self, (one, one_epoch): (usize, i64), (other, other_epoch): (usize, i64)) -> bool {
        let holds = |node: usize, epoch: i64| self.nodes[node].is_up && self.nodes[node].epoch == epoch;
        holds(one, one_epoch) && holds(other, other_epoch)
    }

    fn receive(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Fetch { from, to, epochs, fetch } => {
                if self.is_connected((from, epochs.0), (to, epochs.1)) && self.nodes[to].is_serving {
                    let answer = self.nodes[to].serve(from, &fetch, self.now);
                    if let Ok(fetched) = answer {
                        self.send(Message::Fetched { from: to, to: from, epochs: (epochs.1, epochs.0), fetched });
                    }
                    self.look_at_isr(to);
                }
            }
            Message::Fetched { from, to, epochs, fetched } => {
                if self.is_connected((from, epochs.0), (to, epochs.1)) {
                    self.nodes[to].take(from, fetched, self.now)?;
                }
            }
            Message::Alter { from, epoch, change } => {
                let leaves_somebody = self.leaves_somebody(|controller| drop(controller.alter(from, &change)));
                if self.controller.latest().epochs[from] == epoch && leaves_somebody {
                    let before = self.controller.latest().assignment.isr.len();
                    let answer = self.controller.alter(from, &change);
                    if let Ok(decided) = &answer {
                        self.coverage.shrinks += u32::from(decided.isr.len() < before);
                        self.coverage.expansions += u32::from(decided.isr.len() > before);
                    }
                    self.send(Message::Altered { to: from, epoch, change, answer });
                }
            }
            Message::Altered { to, epoch, change, answer } => {
                let node = &mut self.nodes[to];
                if node.is_up && node.epoch == epoch {
                    node.state.on_isr_reply(&change, answer.as_ref().map_err(|error| *error), self.now);
                }
            }
        }
        Ok(())
    }

    fn fetch(&mut self, node: usize) {
        if !self.nodes[node].is_up {
            return;
        }
        if let Some((to, fetch)) = self.nodes[node].fetch(self.now) {
            let epochs = (self.nodes[node].epoch, self.nodes[to].epoch);
            self.send(Message::Fetch { from: node, to, epochs, fetch });
        }
    }

    fn produce(&mut self, node: usize) {
        if self.nodes[node].is_serving {
            self.next_value += 1;
            self.nodes[node].produce(self.next_value, self.now);
        }
    }

    /// A node applies the next metadata.
    fn learn(&mut self, node: usize) -> Result<(), String> {
        let Some(metadata) = self.controller.states.get(self.nodes[node].seen + 1) else { return Ok(()) };
        if !self.nodes[node].is_up {
            return Ok(());
        }
        let metadata = metadata.clone();
        let member = &mut self.nodes[node];
        member.seen += 1;
        let began = member.apply(&metadata, self.now);
        member.is_serving |= metadata.epochs[node] == member.epoch;
        // One who learns late of a leadership that is over need not have what came after it.
        let is_current = metadata.assignment.leader_epoch == self.controller.latest().assignment.leader_epoch;
        if began && is_current && self.nodes[node].is_serving {
            self.is_complete(node)?;
        }
        Ok(())
    }

    fn look_at_isr(&mut self, node: usize) {
        if !self.nodes[node].is_serving {
            return;
        }
        if let Some(change) = self.nodes[node].propose(self.now) {
            // What gets lost is sent again by the channel to the controller; here it only comes late.
            if self.mistake == Some(Mistake::ForgetsWhatItAskedFor) {
                self.nodes[node].state.on_isr_reply(&change, Err(ErrorCode::INELIGIBLE_REPLICA), self.now);
            }
            let message = Message::Alter { from: node, epoch: self.nodes[node].epoch, change };
            self.network.push(message);
        }
    }

    /// Whether the controller knows the process that runs there now.
    fn is_there(&self, member: BrokerId) -> bool {
        let node = usize::try_from(member.0).unwrap();
        self.nodes[node].is_up && self.nodes[node].epoch == self.controller.latest().epochs[node]
    }

    /// Whether after this somebody who is there may still be elected. All electable replicas failing at once is more than
    /// `min.insync.replicas` promises to bear.
    fn leaves_somebody(&self, action: impl FnOnce(&mut Controller)) -> bool {
        let mut after = self.controller.clone();
        action(&mut after);
        after.electable().iter().any(|member| self.is_there(*member))
    }

    /// Kills or cuts power, as long as somebody stays who has everything that was committed.
    fn crash(&mut self, node: usize) {
        if !self.nodes[node].is_up {
            return;
        }
        let stays = |member: &BrokerId| *member != id(node) && self.is_there(*member);
        if !self.controller.electable().iter().any(stays) {
            return;
        }
        let log = &self.nodes[node].log;
        let (synced, end) = (log.synced, log.entries.len());
        let mut keep = end;
        if self.random.chance(50) {
            keep = synced + self.random.below(end - synced + 1);
            self.coverage.power_cuts += 1;
        } else {
            self.coverage.kills += 1;
        }
        self.nodes[node].crash(keep);
        self.high_watermarks[node] = Offset(0);
    }

    fn restart(&mut self, node: usize) {
        if !self.nodes[node].is_up {
            let epoch = self.controller.register(node);
            self.nodes[node].restart(epoch);
        }
    }

    fn controller_fences(&mut self, node: usize) {
        if !self.controller.latest().fenced[node] && self.leaves_somebody(|controller| controller.fence(node)) {
            self.controller.fence(node);
        }
    }

    /// A broker that is there and knows its registration.
    fn controller_unfences(&mut self, node: usize) {
        if self.controller.latest().fenced[node] && self.nodes[node].is_serving {
            self.controller.unfence(node);
        }
    }

    fn is_complete(&self, node: usize) -> Result<(), String> {
        let log = &self.nodes[node].log;
        for (offset, value) in &self.acknowledged {
            let found = log.entries.get(usize::try_from(offset.0).unwrap()).map(|entry| entry.value);
            if found != Some(*value) {
                return Err(format!("node {node} leads with {found:?} at {offset}, where {value} was acknowledged"));
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        for node in 0..NODES {
            if !self.nodes[node].is_up {
                continue;
            }
            let done = self.nodes[node].acknowledged();
            self.coverage.acknowledged += done.len() as u32;
            self.acknowledged.extend(done);
            let high_watermark = self.nodes[node].state.high_watermark();
            if high_watermark < self.high_watermarks[node] || high_watermark > self.nodes[node].log.end() {
                let before = self.high_watermarks[node];
                return Err(format!("the high watermark of node {node} went from {before} to {high_watermark}"));
            }
            self.high_watermarks[node] = high_watermark;
        }
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            let (one, other) = (&self.nodes[one], &self.nodes[other]);
            let both = one.state.high_watermark().min(other.state.high_watermark());
            let to = usize::try_from(both.0).unwrap().min(one.log.entries.len()).min(other.log.entries.len());
            if one.log.entries[..to] != other.log.entries[..to] {
                return Err(format!("nodes {} and {} differ below {both}", one.id, other.id));
            }
        }
        Ok(())
    }

    /// No more faults: all come back, all logs become the same, and hold everything that was acknowledged.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        for node in 0..NODES {
            self.restart(node);
        }
        for _ in 0..400 {
            self.now = Timestamp(self.now.0 + 10);
            for node in 0..NODES {
                self.learn(node)?;
                self.controller_unfences(node);
                self.fetch(node);
                self.look_at_isr(node);
                self.nodes[node].sync(self.now);
            }
            for message in std::mem::take(&mut self.network) {
                self.receive(message)?;
            }
            self.check()?;
        }
        self.coverage.elections += self.controller.elections;
        self.coverage.truncations += self.nodes.iter().map(|node| node.truncations).sum::<u32>();
        let state = self.controller.latest();
        if state.assignment.isr.len() != NODES || !state.assignment.leader.is_some() {
            return Err(format!("not healed: {state:?}"));
        }
        for node in 0..NODES {
            self.is_complete(node)?;
            if self.nodes[node].log.entries != self.nodes[0].log.entries {
                return Err(format!("the logs of nodes 0 and {node} differ at the end"));
            }
        }
        Ok(())
    }
}

//! The world of one run: members, the network between them, time, and what is drawn from the seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use milena_types::{BrokerId, Timestamp, Uuid};

use super::checker::Checker;
use super::disk::{Disk, Entry};
use super::message::{Message, endpoint};
use super::random::Random;
use crate::effect::{Destination, FetchOut, Outbound};
use crate::identity::ReplicaKey;
use crate::planted::{Plant, Planted};
use crate::quorum::{Quorum, QuorumConfig};
use crate::replies::FetchAsk;
use crate::voters::{KRaftState, Voter, VoterSet};

/// A bug to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    Core(Plant),
    /// A follower fetches on before its log is synced.
    FollowerFetchesBeforeSync,
    /// `quorum-state` is not synced.
    QuorumStateUnsynced,
    /// An answer is sent before the effects of its request are performed.
    AnswerBeforeEffects,
}

/// Which faults a seed draws, and how often.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) dynamic: bool,
    pub(super) loss_per_mille: u64,
    pub(super) double_per_mille: u64,
    pub(super) slow_per_mille: u64,
    pub(super) partitions: bool,
    pub(super) crashes: bool,
    pub(super) crash_at_effect_per_mille: u64,
    /// Crashed members are back at once.
    pub(super) quick_restarts: bool,
    /// How likely a member crashes that has just voted or been elected.
    pub(super) strike_per_mille: u64,
    /// Elections take hardly longer than messages: many stand at once.
    pub(super) election_timeout_ms: i64,
    pub(super) pauses: bool,
    /// New leaders give up at once.
    pub(super) resigns: bool,
    pub(super) slow_disks: bool,
    pub(super) snapshots: bool,
    pub(super) reconfigures: bool,
    pub(super) wipes: bool,
    pub(super) auto_join: bool,
    pub(super) bug: Option<Bug>,
}

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Deliver(Message),
    Failed { node: usize, incarnation: u32, to: Destination, request: Outbound },
    FetchTimeout { node: usize, incarnation: u32, correlation: u64 },
    Wake { node: usize, generation: u64 },
    Synced { node: usize, incarnation: u32, end: i64 },
    FollowerSynced { node: usize, incarnation: u32, base: i64, entries: Vec<Entry>, high_watermark: i64 },
    Restart { node: usize },
    Crash { node: usize, incarnation: u32 },
    Resign { node: usize, incarnation: u32 },
    Fault,
    Client,
    Admin,
}

/// A fetch that waits at the leader for news.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub(super) from: i32,
    pub(super) correlation: u64,
    pub(super) fetch: FetchOut,
    pub(super) ask: FetchAsk,
    pub(super) until: i64,
}

/// One member with its disk and clock.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) key: ReplicaKey,
    pub(super) disk: Disk,
    /// `None` while it is down.
    pub(super) quorum: Option<Quorum>,
    pub(super) incarnation: u32,
    /// What this incarnation has taken as committed.
    pub(super) committed: i64,
    pub(super) busy_until: i64,
    pub(super) wake_generation: u64,
    pub(super) fetch_in_flight: Option<(u64, Destination, Outbound)>,
    pub(super) retry_fetch_at: i64,
    pub(super) parked: Vec<Parked>,
    /// The replica that was on this node until its disk was lost, and how much it had synced.
    pub(super) former: Option<(ReplicaKey, i64)>,
    /// Records of a fetch answer that are about to be appended, and the high watermark with them.
    pub(super) fetched: Option<(Vec<Entry>, i64)>,
    /// While it leads: since when no majority of its voters was heard.
    pub(super) heard: BTreeMap<i32, i64>,
    clock_offset: i64,
    clock_drift_per_mille: i64,
}

impl Node {
    /// What its own clock shows.
    pub(super) fn local(&self, now: i64) -> Timestamp {
        Timestamp(now * (1000 + self.clock_drift_per_mille) / 1000 + self.clock_offset)
    }

    /// When its own clock will show `at`.
    pub(super) fn global(&self, at: Timestamp) -> i64 {
        (at.0.saturating_sub(self.clock_offset)).saturating_mul(1000) / (1000 + self.clock_drift_per_mille) + 1
    }
}

struct Scheduled {
    at: i64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(super) struct World {
    pub(super) now: i64,
    pub(super) random: Random,
    pub(super) settings: Settings,
    pub(super) nodes: Vec<Node>,
    pub(super) checker: Checker,
    /// Pairs of ids of which the first does not reach the second.
    pub(super) cut: Vec<(i32, i32)>,
    pub(super) healed: bool,
    pub(super) has_wiped: bool,
    pub(super) next_value: u64,
    pub(super) next_correlation: u64,
    /// A digest of all that happened, to compare two runs of a seed.
    pub(super) trace: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    told: bool,
}

pub(super) fn directory(id: i32, generation: u8) -> Uuid {
    let mut bytes = [generation; 16];
    if let Some(last) = bytes.last_mut() {
        *last = u8::try_from(id).unwrap_or(0) + 1;
    }
    Uuid(bytes)
}

fn draw(random: &mut Random, bug: Option<Bug>) -> Settings {
    let on = |random: &mut Random| random.per_mille(500);
    let dynamic = random.per_mille(700);
    Settings {
        dynamic,
        loss_per_mille: if on(random) { random.below(150) } else { 0 },
        double_per_mille: if on(random) { random.below(150) } else { 0 },
        slow_per_mille: if on(random) { random.below(50) } else { 0 },
        partitions: random.per_mille(700),
        crashes: random.per_mille(700),
        crash_at_effect_per_mille: if on(random) { random.pick(&[3, 10, 30]).unwrap_or(0) } else { 0 },
        quick_restarts: on(random),
        strike_per_mille: 60,
        election_timeout_ms: random.pick(&[1000, 1000, 200, 50]).unwrap_or(1000),
        pauses: on(random),
        resigns: random.per_mille(300),
        slow_disks: on(random),
        snapshots: on(random),
        reconfigures: dynamic && random.per_mille(700),
        wipes: dynamic && random.per_mille(200),
        auto_join: dynamic && on(random),
        bug,
    }
}

/// The faults that bring to light bugs of what must be remembered in an epoch: duels, and crashes right after a vote.
fn hunt(settings: &mut Settings) {
    let memory = [
        Bug::Core(Plant::ForgetVoteOnRestart),
        Bug::Core(Plant::LeaderForgetsItLed),
        Bug::QuorumStateUnsynced,
        Bug::AnswerBeforeEffects,
    ];
    if settings.bug.is_some_and(|bug| memory.contains(&bug)) {
        settings.quick_restarts = true;
        settings.election_timeout_ms = if settings.dynamic { 300 } else { 50 };
        settings.strike_per_mille = 400;
        settings.crashes = true;
        settings.slow_per_mille = 200;
        if settings.bug == Some(Bug::AnswerBeforeEffects) {
            settings.crash_at_effect_per_mille = 60;
        }
        settings.reconfigures = false;
    }
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> World {
        let mut random = Random::new(seed);
        let mut settings = draw(&mut random, bug);
        hunt(&mut settings);
        if settings.wipes {
            settings.auto_join = true;
        }
        let voters_count = random.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5]).unwrap_or(3);
        let spare = if settings.dynamic { random.between(0, 2) } else { random.between(0, 1) };
        let kraft = initial_voters(voters_count, settings.dynamic);
        let mut world = World {
            now: 0,
            random,
            settings,
            nodes: Vec::new(),
            checker: Checker::default(),
            cut: Vec::new(),
            healed: false,
            has_wiped: false,
            next_value: 0,
            next_correlation: 0,
            trace: seed,
            queue: BinaryHeap::new(),
            order: 0,
            told: std::env::var("MILENA_RAFT_TELL").is_ok(),
        };
        for id in 0..voters_count + i32::try_from(spare).unwrap_or(0) {
            // Static voters are in everybody's configuration; dynamic ones only in what the first ones were formatted with.
            let formatted =
                if id < voters_count || !world.settings.dynamic { kraft.clone() } else { KRaftState::default() };
            let node = world.new_node(id, formatted);
            world.nodes.push(node);
        }
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        for (event, within) in [(Event::Fault, 500), (Event::Client, 3000), (Event::Admin, 4000)] {
            let at = world.random.between(1, within);
            world.schedule(at, event);
        }
        world
    }

    fn new_node(&mut self, id: i32, formatted: KRaftState) -> Node {
        Node {
            id,
            key: ReplicaKey { id: BrokerId(id), directory_id: directory(id, 1) },
            disk: Disk::formatted(formatted),
            quorum: None,
            incarnation: 0,
            committed: 0,
            busy_until: 0,
            wake_generation: 0,
            fetch_in_flight: None,
            retry_fetch_at: 0,
            parked: Vec::new(),
            former: None,
            fetched: None,
            heard: BTreeMap::new(),
            clock_offset: self.random.between(0, 100_000),
            clock_drift_per_mille: self.random.between(-20, 20),
        }
    }

    /// The settings of a member. Whoever may vote has an endpoint to tell.
    pub(super) fn config(&mut self, node: usize) -> Option<QuorumConfig> {
        let (key, id) = self.nodes.get(node).map(|node| (node.key, node.id))?;
        let mut config = QuorumConfig::new(key, true, self.random.next());
        config.endpoints = vec![endpoint(id)];
        config.auto_join = self.settings.auto_join;
        config.election_timeout_ms = self.settings.election_timeout_ms;
        Some(config)
    }

    pub(super) fn planted(&self) -> Planted {
        let plant = match self.settings.bug {
            Some(Bug::Core(plant)) => Some(plant),
            _ => None,
        };
        Planted { plant }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.settings.bug == Some(bug)
    }

    pub(super) fn schedule(&mut self, at: i64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), order: self.order, event }));
    }

    /// Runs until `until`.
    pub(super) fn run(&mut self, until: i64) {
        while let Some(next) = self.queue.peek().map(|next| next.0.at)
            && next <= until
            && let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop()
        {
            self.now = at;
            self.note(at.unsigned_abs());
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fault => self.fault(),
            Event::Client => self.client(),
            Event::Admin => self.admin(),
            Event::Restart { node } => self.start(node),
            Event::Crash { node, incarnation } if self.is_same(node, incarnation) => self.crash(node),
            Event::Crash { .. } => {}
            other => self.member_event(other),
        }
    }

    /// Prints what happens, if `MILENA_RAFT_TELL` is set.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            eprintln!("{:>6} {}", self.now, what());
        }
    }

    pub(super) fn note(&mut self, word: u64) {
        self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(17);
    }

    fn is_same(&self, at: usize, incarnation: u32) -> bool {
        !self.healed && self.nodes.get(at).is_some_and(|node| node.incarnation == incarnation)
    }

    pub(super) fn index_of(&self, id: i32) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }
}

fn initial_voters(count: i32, dynamic: bool) -> KRaftState {
    let voter = |id| Voter {
        key: ReplicaKey { id: BrokerId(id), directory_id: if dynamic { directory(id, 1) } else { Uuid::ZERO } },
        endpoints: vec![endpoint(id)],
        kraft_version_min: 0,
        kraft_version_max: i16::from(dynamic),
    };
    let voters = VoterSet::new((0..count).map(voter).collect());
    KRaftState { kraft_version: i16::from(dynamic), voters, voters_offset: None }
}

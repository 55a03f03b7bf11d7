//! Members that follow the protocol, a coordinator that dies, topics that change: from one seed each. Two invariants are
//! checked after every step: no two members believe to have one partition in one epoch, and no two that are alive do at
//! all. At the end the chaos stops, and the group must become stable with every partition owned.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use milena_coordinator::group::{GroupConfig, Random};
use milena_protocol::Text;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::{ErrorCode, Uuid};

use crate::coordinator::{Coordinator, uuid};

const SESSION_MS: i64 = 45_000;
/// Longer than a session, as it is by default: a member that does not know it must revoke loses its session first.
const REBALANCE_MS: i32 = 60_000;
const GROUP: &str = "g";

struct Seed(Random);

impl Seed {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

type Partition = (Uuid, i32);

/// What a member wants.
#[derive(Clone, Debug)]
enum Wish {
    Names(Vec<Text>),
    Regex(Text),
}

/// A consumer as it sees itself.
#[derive(Clone, Debug)]
struct Consumer {
    id: Text,
    instance: Option<Text>,
    assignor: Option<Text>,
    wish: Wish,
    epoch: i32,
    owned: BTreeSet<Partition>,
    /// What it has been told to have; it revokes first and takes what is new once it has said so.
    told: BTreeSet<Partition>,
    /// Its last request has not been answered, or it has news: the next one says everything.
    must_tell: bool,
    heard_at: i64,
    /// Since when it has been told to have something else than it has said to have.
    unreconciled_since: Option<i64>,
    /// It sends nothing any more.
    is_silent: bool,
}

impl Consumer {
    fn request(&self, says_wish: bool) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            ..Default::default()
        };
        if self.epoch == 0 || self.must_tell {
            request.rebalance_timeout_ms = REBALANCE_MS;
            request.server_assignor = self.assignor.clone();
            request.topic_partitions = Some(topic_partitions(&self.owned));
        }
        if self.epoch == 0 || says_wish || self.must_tell {
            match &self.wish {
                Wish::Names(names) => {
                    request.subscribed_topic_names = Some(names.clone());
                    request.subscribed_topic_regex = Some(Text::default());
                }
                Wish::Regex(regex) => {
                    request.subscribed_topic_names = Some(Vec::new());
                    request.subscribed_topic_regex = Some(regex.clone());
                }
            }
        }
        request
    }

    fn answered(&mut self, response: &ConsumerGroupHeartbeatResponse, now: i64) {
        self.heard_at = now;
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => {
                if self.must_tell && self.owned == self.told {
                    self.unreconciled_since = None;
                }
                self.must_tell = false;
                self.epoch = response.member_epoch;
                if let Some(assignment) = &response.assignment {
                    let topics = assignment.topic_partitions.iter();
                    let told = topics.flat_map(|topic| topic.partitions.iter().map(|number| (topic.topic_id, *number)));
                    self.told = told.collect();
                    self.unreconciled_since.get_or_insert(now);
                }
            }
            ErrorCode::UNRELEASED_INSTANCE_ID => {}
            // Fenced or forgotten: it has nothing and begins anew.
            _ => self.begin_anew(),
        }
    }

    fn begin_anew(&mut self) {
        self.epoch = 0;
        self.owned.clear();
        self.told.clear();
        self.unreconciled_since = None;
    }

    /// Gives back what it shall not have; takes what is new. Each step is news for the coordinator.
    fn rebalance(&mut self, is_whole: bool) {
        let before = self.owned.clone();
        self.must_tell |= self.unreconciled_since.is_some();
        self.owned.retain(|partition| self.told.contains(partition));
        if is_whole || before == self.owned {
            self.owned.clone_from(&self.told);
        }
    }
}

fn topic_partitions(owned: &BTreeSet<Partition>) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, number) in owned {
        topics.entry(*topic).or_default().push(*number);
    }
    let topics = topics.into_iter();
    topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions, ..Default::default() }).collect()
}

struct World {
    seed: Seed,
    coordinator: Coordinator,
    consumers: Vec<Consumer>,
    topics: BTreeMap<Text, (Uuid, i32)>,
    next_id: u128,
}

impl World {
    fn new(seed: u64) -> World {
        let mut seed = Seed(Random::new(seed));
        let mut config = GroupConfig::default();
        config.consumer_assignment_interval_ms.value = if seed.one_in(2) { 0 } else { 1000 };
        let coordinator = Coordinator::new(config);
        let mut world = World { seed, coordinator, consumers: Vec::new(), topics: BTreeMap::new(), next_id: 1 };
        for _ in 0..3 {
            world.create_topic();
        }
        for _ in 0..=world.seed.below(5) {
            world.join();
        }
        world
    }

    fn next_id(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    fn create_topic(&mut self) {
        let name = Text::from(format!("t{}", self.seed.below(5)));
        if self.topics.contains_key(&name) {
            return;
        }
        let (id, count) = (uuid(self.next_id()), 1 + self.seed.below(6) as i32);
        self.coordinator.create_topic(&name, id, count);
        self.topics.insert(name, (id, count));
    }

    fn change_topics(&mut self) {
        match self.seed.below(3) {
            0 => self.create_topic(),
            1 => {
                let at = self.seed.below(self.topics.len());
                let Some((id, count)) = self.topics.values_mut().nth(at) else { return };
                let more = *count + 1 + self.seed.below(3) as i32;
                self.coordinator.grow_topic(*id, *count, more);
                *count = more;
            }
            _ => {
                let at = self.seed.below(self.topics.len());
                let Some(name) = self.topics.keys().nth(at).cloned() else { return };
                let (id, _) = self.topics.remove(&name).unwrap();
                self.coordinator.delete_topic(id);
            }
        }
    }

    fn wish(&mut self) -> Wish {
        match self.seed.below(4) {
            0 => Wish::Regex("t[0-2]".into()),
            1 if self.seed.one_in(2) => Wish::Regex("t.*".into()),
            1 => Wish::Names((0..5).map(|number| Text::from(format!("t{number}"))).collect()),
            _ => {
                let names = (0..5).filter(|_| self.seed.one_in(2)).map(|number| Text::from(format!("t{number}")));
                Wish::Names(names.collect())
            }
        }
    }

    fn join(&mut self) {
        let id = self.next_id();
        let instance = self.seed.one_in(3).then(|| Text::from(format!("i{}", self.seed.below(4))));
        let is_taken = self.consumers.iter().any(|other| instance.is_some() && other.instance == instance);
        let assignor = vec![None, Some("range".into()), Some("uniform".into())].swap_remove(self.seed.below(3));
        let consumer = Consumer {
            id: Text::from(format!("m{id:03}")),
            instance: if is_taken { None } else { instance },
            assignor,
            wish: self.wish(),
            epoch: 0,
            owned: BTreeSet::new(),
            told: BTreeSet::new(),
            must_tell: true,
            heard_at: self.coordinator.now.0,
            unreconciled_since: None,
            is_silent: false,
        };
        self.consumers.push(consumer);
    }

    /// One request of one member, which may be lost, or its answer, or the coordinator with it.
    fn beat(&mut self, at: usize, is_calm: bool, says_wish: bool) {
        let Some(consumer) = self.consumers.get(at) else { return };
        if consumer.is_silent {
            return;
        }
        let request = consumer.request(says_wish);
        let length = self.coordinator.log.len();
        let response = self.coordinator.heartbeat(request);
        let consumer = self.consumers.get_mut(at).unwrap();
        if !is_calm && self.seed.one_in(12) {
            consumer.must_tell = true;
            if self.seed.one_in(2) {
                self.coordinator.lose_from(length);
            }
            return;
        }
        consumer.answered(&response, self.coordinator.now.0);
    }

    fn leave(&mut self, at: usize) {
        let Some(consumer) = self.consumers.get(at).cloned() else { return };
        if consumer.is_silent {
            self.consumers.remove(at);
            return;
        }
        let is_for_now = consumer.instance.is_some() && self.seed.one_in(2);
        let member_epoch = if is_for_now { -2 } else { -1 };
        let request = ConsumerGroupHeartbeatRequest { member_epoch, ..consumer.request(false) };
        self.coordinator.heartbeat(request);
        if is_for_now && self.seed.one_in(2) {
            // Back under another id.
            let id = Text::from(format!("m{:03}", self.next_id()));
            let told = BTreeSet::new();
            let owned = BTreeSet::new();
            let back = Consumer { id, epoch: 0, owned, told, must_tell: true, unreconciled_since: None, ..consumer };
            self.consumers.push(back);
        }
        self.consumers.remove(at);
    }

    fn advance(&mut self, ms: i64) {
        self.coordinator.advance(ms);
        let now = self.coordinator.now.0;
        for consumer in &mut self.consumers {
            // A member that has not heard from the coordinator for a session, or has not reconciled in time, knows that it
            // has lost its partitions. A coordinator that has died since waits longer, but not shorter.
            let is_late = consumer.unreconciled_since.is_some_and(|since| now - since >= i64::from(REBALANCE_MS));
            if !consumer.is_silent && (is_late || now - consumer.heard_at >= SESSION_MS) {
                consumer.begin_anew();
            }
        }
    }

    fn step(&mut self) {
        let at = self.seed.below(self.consumers.len());
        match self.seed.below(24) {
            0 | 1 if self.consumers.len() < 8 => self.join(),
            2 => self.leave(at),
            3 if self.seed.one_in(2) => {
                if let Some(consumer) = self.consumers.get_mut(at) {
                    consumer.is_silent = true;
                }
            }
            4 => self.change_topics(),
            5 => {
                let wish = self.wish();
                if let Some(consumer) = self.consumers.get_mut(at) {
                    consumer.wish = wish;
                    self.beat(at, false, true);
                }
            }
            6 if self.seed.one_in(2) => {
                if self.seed.one_in(3) {
                    self.coordinator.compact();
                }
                self.coordinator.load();
            }
            7 | 8 => {
                let ms = [200, 3000, 21_000, 46_000][self.seed.below(4)];
                self.advance(ms);
            }
            9..=12 => {
                let is_whole = self.seed.one_in(2);
                if let Some(consumer) = self.consumers.get_mut(at).filter(|consumer| !consumer.is_silent) {
                    consumer.rebalance(is_whole);
                }
            }
            _ => self.beat(at, false, false),
        }
        self.coordinator.run_due();
    }

    fn check(&self) {
        let mut in_epoch: BTreeMap<(Partition, i32), &Text> = BTreeMap::new();
        let mut alive: BTreeMap<Partition, &Text> = BTreeMap::new();
        for consumer in &self.consumers {
            for partition in &consumer.owned {
                let other = in_epoch.insert((*partition, consumer.epoch), &consumer.id);
                assert_eq!(other, None, "{partition:?} is {}'s as well in epoch {}", consumer.id, consumer.epoch);
                if !consumer.is_silent {
                    let other = alive.insert(*partition, &consumer.id);
                    assert_eq!(other, None, "{partition:?} is {}'s as well", consumer.id);
                }
            }
        }
    }

    /// The chaos is over: members speak until nothing changes.
    fn settle(&mut self) {
        self.consumers.retain(|consumer| !consumer.is_silent);
        for _ in 0..40 {
            for at in 0..self.consumers.len() {
                self.beat(at, true, false);
                self.coordinator.run_due();
                self.consumers.get_mut(at).unwrap().rebalance(true);
                self.check();
            }
            self.advance(3000);
        }
        let described = self.coordinator.describe(GROUP);
        if self.consumers.is_empty() {
            assert!(described.members.is_empty());
            return;
        }
        assert_eq!(described.group_state, "Stable");
        let owned: BTreeSet<Partition> = self.consumers.iter().flat_map(|consumer| consumer.owned.clone()).collect();
        assert_eq!(owned, self.wanted());
        for member in &described.members {
            let consumer = self.consumers.iter().find(|consumer| consumer.id == member.member_id).unwrap();
            assert_eq!(consumer.epoch, member.member_epoch);
            let topics = member.assignment.topic_partitions.iter();
            let assigned = topics.flat_map(|topic| topic.partitions.iter().map(|number| (topic.topic_id, *number)));
            assert_eq!(assigned.collect::<BTreeSet<Partition>>(), consumer.owned);
            assert_eq!(member.assignment, member.target_assignment);
        }
    }

    fn wanted(&self) -> BTreeSet<Partition> {
        let wants = |consumer: &Consumer, name: &Text| match &consumer.wish {
            Wish::Names(names) => names.contains(name),
            Wish::Regex(regex) if *regex == "t.*" => true,
            Wish::Regex(_) => matches!(&**name, "t0" | "t1" | "t2"),
        };
        let topics = self.topics.iter();
        let wanted = topics.filter(|(name, _)| self.consumers.iter().any(|consumer| wants(consumer, name)));
        wanted.flat_map(|(_, (id, count))| (0..*count).map(|number| (*id, number))).collect()
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..200 {
        world.step();
        world.check();
    }
    world.settle();
    // What the log says is what was decided.
    let before = world.coordinator.describe(GROUP);
    world.coordinator.compact();
    world.coordinator.load();
    assert_eq!(world.coordinator.describe(GROUP), before);
}

#[test]
fn no_partition_has_two_owners_and_groups_become_stable() {
    let seeds = std::env::var("MILENA_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(150);
    for seed in 0..seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

/// For a seed that failed.
#[test]
fn one_seed() {
    run(0);
}

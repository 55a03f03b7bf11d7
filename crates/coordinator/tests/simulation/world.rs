//! The world of one seed: a clock that jumps from event to event, members, a network, coordinators that come and go, and the
//! checks. Everything that happens follows from the seed.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use milena_coordinator::group::{GroupEvent, GroupRequest};
use milena_coordinator::runtime::Ticket;
use milena_protocol::Text;
use milena_types::Offset;

use crate::checks::answers::Answers;
use crate::checks::delivery::Delivery;
use crate::checks::offsets::Offsets;
use crate::checks::owners::{LogOwners, Owners};
use crate::checks::stable;
use crate::cluster::Cluster;
use crate::host::{Answer, Host};
use crate::log::Log;
use crate::member::{Desk, Member};
use crate::random::Seed;
use crate::shape::Shape;

/// What happens at a time.
#[derive(Debug)]
pub(crate) enum Event {
    Wake {
        slot: usize,
        process: u64,
    },
    Arrive(Box<Request>),
    Answer(Box<Answer>),
    Tick(u64),
    Disk(u64),
    /// The replicas have the log up to here.
    Replicate {
        host: u64,
        upto: Offset,
    },
    Loaded(u64),
    /// A leader that lost the partition hears of it.
    Deposed(u64),
    Elect,
    Image {
        host: u64,
        event: Box<GroupEvent>,
    },
    MemberTrouble,
    CoordinatorTrouble,
    Topics,
    Produce,
    Poll,
    Heal,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) slot: usize,
    pub(crate) process: u64,
    pub(crate) connection: u64,
    pub(crate) host: u64,
    pub(crate) ticket: Ticket,
    pub(crate) request: GroupRequest,
}

/// Where a member can be.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) group: usize,
    pub(crate) instance: Option<Text>,
    pub(crate) member: Option<Member>,
}

/// What was seen to happen.
pub(crate) type Coverage = BTreeMap<&'static str, u64>;

pub(crate) struct World {
    pub(crate) seed: Seed,
    pub(crate) shape: Shape,
    pub(crate) now: i64,
    queue: BTreeMap<(i64, u64), Event>,
    last_event: u64,
    pub(crate) cluster: Cluster,
    pub(crate) log: Log,
    pub(crate) log_owners: LogOwners,
    pub(crate) hosts: BTreeMap<u64, Host>,
    pub(crate) leader: Option<u64>,
    pub(crate) last_host: u64,
    pub(crate) slots: Vec<Slot>,
    pub(crate) owners: Owners,
    pub(crate) offsets: Offsets,
    pub(crate) delivery: Delivery,
    pub(crate) answers: Answers,
    pub(crate) states: BTreeMap<Text, Text>,
    pub(crate) is_calm: bool,
    pub(crate) healed_at: i64,
    /// How often trouble has waited for a better moment.
    pub(crate) hesitations: usize,
    pub(crate) coverage: Coverage,
    pub(crate) fault: Option<String>,
    pub(crate) last_ticket: u64,
    pub(crate) last_process: u64,
    /// A hash of everything that happened, and the words of it if they are wanted.
    pub(crate) trace: u64,
    pub(crate) story: Option<Vec<String>>,
}

/// How long groups may take to become stable when nothing goes wrong any more.
const STABLE_LIMIT_MS: i64 = 240_000;

impl World {
    pub(crate) fn new(number: u64, tells: bool) -> World {
        let mut seed = Seed::new(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let shape = Shape::draw(&mut seed);
        let mut world = World {
            seed,
            shape,
            now: 1_700_000_000_000,
            queue: BTreeMap::new(),
            last_event: 0,
            cluster: Cluster::default(),
            log: Log::new(),
            log_owners: LogOwners::default(),
            hosts: BTreeMap::new(),
            leader: None,
            last_host: 0,
            slots: Vec::new(),
            owners: Owners::default(),
            offsets: Offsets::default(),
            delivery: Delivery::default(),
            answers: Answers::default(),
            states: BTreeMap::new(),
            is_calm: false,
            healed_at: 0,
            hesitations: 0,
            coverage: Coverage::new(),
            fault: None,
            last_ticket: 0,
            last_process: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            story: tells.then(Vec::new),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for number in 0..self.shape.topics {
            let name = Text::from(format!("t{number}"));
            let count = 1 + self.seed.below(self.shape.partitions as usize * 2 - 1) as i32;
            self.cluster.create(&name, count.min(60));
        }
        for group in 0..self.shape.groups.len() {
            for number in 0..self.shape.groups.get(group).unwrap().slots {
                let instance = self.seed.one_in(3).then(|| Text::from(format!("i{group}-{number}")));
                self.slots.push(Slot { group, instance, member: None });
            }
        }
        self.elect();
        for slot in 0..self.slots.len() {
            if !self.seed.one_in(4) {
                self.start(slot);
            }
        }
        let chaos_ms = self.shape.chaos_ms;
        for (ms, event) in [
            (500, Event::MemberTrouble),
            (3_000, Event::CoordinatorTrouble),
            (2_000, Event::Topics),
            (10, Event::Produce),
            (700, Event::Poll),
            (chaos_ms, Event::Heal),
        ] {
            self.at(ms, event);
        }
    }

    /// An event that many milliseconds from now.
    pub(crate) fn at(&mut self, ms: i64, event: Event) {
        self.last_event += 1;
        self.queue.insert((self.now + ms.max(0), self.last_event), event);
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        for byte in what.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let now = self.now - 1_700_000_000_000;
        if let Some(story) = &mut self.story {
            story.push(format!("{now:>8} {what}"));
        }
    }

    /// Notes what is wrong; the first counts.
    pub(crate) fn check(&mut self, result: Result<(), String>) {
        if let Err(what) = result {
            self.fault.get_or_insert(what);
        }
    }

    pub(crate) fn group_name(group: usize) -> Text {
        Text::from(format!("g{group}"))
    }

    /// Runs until all is well or something is wrong.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        loop {
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            let Some(((at, _), event)) = self.queue.pop_first() else {
                return Err("nothing happens any more".to_owned());
            };
            self.now = at;
            let is_poll = matches!(event, Event::Poll);
            self.happen(event);
            if is_poll && self.is_calm && self.fault.is_none() {
                let result = self.stability();
                if result.is_ok() {
                    self.count("healed");
                    return self.finish();
                }
                if self.now - self.healed_at > STABLE_LIMIT_MS {
                    return result;
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { slot, process } => self.wake(slot, process),
            Event::Arrive(request) => self.arrive(*request),
            Event::Answer(answer) => self.answer(*answer),
            Event::Tick(host) => self.tick(host),
            Event::Disk(host) => self.disk(host),
            Event::Replicate { host, upto } => self.replicate(host, upto),
            Event::Loaded(host) => self.loaded(host),
            Event::Deposed(host) => self.deposed(host),
            Event::Elect => self.elect(),
            Event::Image { host, event } => self.image(host, *event),
            Event::MemberTrouble => self.member_trouble(),
            Event::CoordinatorTrouble => self.coordinator_trouble(),
            Event::Topics => self.topics(),
            Event::Produce => self.produce(),
            Event::Poll => self.poll(),
            Event::Heal => self.heal(),
        }
    }

    fn stability(&self) -> Result<(), String> {
        if self.leader.is_none() {
            return Err("nobody leads".to_owned());
        }
        for group in 0..self.shape.groups.len() {
            let name = Self::group_name(group);
            let members: Vec<&Member> = self.members_of(group).collect();
            let host = self.leader.and_then(|leader| self.hosts.get(&leader));
            let known = host.and_then(|host| host.coordinator.state().0.group(&name));
            stable::check(&name, &members, &self.cluster).map_err(|what| format!("{what}; {known:?}"))?;
            if self.states.get(&name).map(|state| &**state) != Some("Stable") {
                return Err(format!("{name}: the coordinator says {:?} of {known:?}", self.states.get(&name)));
            }
            let mut seed = Seed::new(0);
            let desk = Desk {
                now: self.now,
                cluster: &self.cluster,
                seed: &mut seed,
                is_calm: true,
                rebalance_ms: 0,
                travel_ms: 0,
                acts: Vec::new(),
            };
            if let Some(member) = members.iter().find(|member| !member.reader.is_done(&desk)) {
                return Err(format!("{name}: {member:?} has not read everything"));
            }
        }
        Ok(())
    }

    pub(crate) fn members_of(&self, group: usize) -> impl Iterator<Item = &Member> {
        self.slots.iter().filter(move |slot| slot.group == group).filter_map(|slot| slot.member.as_ref())
    }

    /// Everything that is wanted has been read, and the log is what the coordinator has.
    fn finish(&mut self) -> Result<(), String> {
        for group in 0..self.shape.groups.len() {
            let wanted: BTreeSet<_> =
                self.members_of(group).flat_map(|member| self.cluster.wanted(&member.profile.wish)).collect();
            for spot in wanted {
                let end = self.cluster.end_of(spot).unwrap_or(0);
                self.delivery.is_read_upto(group, spot, end)?;
            }
        }
        self.replay()
    }
}

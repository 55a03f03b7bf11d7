//! `Context`: everything a request or a timer may look at.

use super::classic::ClassicGroup;
use super::config::GroupConfig;
use super::consumer::ConsumerLive;
use super::counts::GroupCounts;
use super::memory::MemberMemory;
use super::random::Random;
use super::state::Groups;
use super::timer::Timer;
use crate::runtime::Timers;
use milena_metadata::Image;
use milena_protocol::Text;
use milena_types::Timestamp;
use std::collections::BTreeMap;

/// What is not in the log and forgotten when the coordinator moves.
#[derive(Debug)]
pub struct Live {
    pub timers: Timers<Timer>,
    pub random: Random,
    /// Classic groups between two assignments: who has joined and waits for what.
    pub(crate) classic: BTreeMap<Text, ClassicGroup>,
    /// What members of classic groups have said.
    pub(crate) memory: MemberMemory,
    /// What happened, for metrics.
    pub(crate) counts: GroupCounts,
    /// What consumer groups remember beside the log.
    pub consumer: ConsumerLive,
}

impl Live {
    /// Nothing yet; `seed` is for the ids of members, `memory` is shared by the groups of a broker.
    #[must_use]
    pub fn new(seed: u64, memory: MemberMemory) -> Live {
        Live {
            timers: Timers::default(),
            random: Random::new(seed),
            classic: BTreeMap::new(),
            memory,
            counts: GroupCounts::default(),
            consumer: ConsumerLive::default(),
        }
    }

    /// Sets a timer `ms` from `now`.
    pub fn set_timer(&mut self, timer: Timer, now: Timestamp, ms: i64) {
        self.timers.set(timer, Timestamp(now.0.saturating_add(ms)));
    }
}

/// The surroundings of one decision.
#[derive(Debug)]
pub struct Context<'a> {
    /// What the log amounts to, with what was decided but is not committed.
    pub state: &'a Groups,
    pub live: &'a mut Live,
    pub image: &'a Image,
    pub config: &'a GroupConfig,
    pub now: Timestamp,
}

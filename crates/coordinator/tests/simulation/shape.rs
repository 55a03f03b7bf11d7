//! What a seed is about: how many members of which protocols, how much is wrong with network, disk and leaders.

use crate::random::Seed;
use milena_coordinator::group::{Bounded, GroupConfig, MigrationPolicy};

/// Sessions of members of both protocols.
pub(crate) const SESSION_MS: i32 = 6_000;
pub(crate) const HEARTBEAT_MS: i64 = 1_000;

/// Who may be in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Classic,
    Consumer,
    Mixed,
}

/// One group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupShape {
    pub(crate) mode: Mode,
    /// Its classic members rebalance in the cooperative way.
    pub(crate) is_cooperative: bool,
    /// Slots for members; a slot may be empty.
    pub(crate) slots: usize,
}

/// Everything a seed decides before the clock runs.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) groups: Vec<GroupShape>,
    pub(crate) topics: usize,
    pub(crate) partitions: i32,
    /// Topics come and go and grow.
    pub(crate) topics_change: bool,
    pub(crate) linger_ms: i64,
    pub(crate) max_batch_bytes: usize,
    pub(crate) disk_ms: (i64, i64),
    pub(crate) replication_ms: (i64, i64),
    pub(crate) network_ms: (i64, i64),
    /// One append of so many fails; 0 for none.
    pub(crate) append_fails: usize,
    /// One message of so many is lost with its connection; 0 for none.
    pub(crate) loss: usize,
    /// Milliseconds between two things that go wrong with a member, and with the coordinator.
    pub(crate) member_trouble_ms: i64,
    pub(crate) coordinator_trouble_ms: i64,
    pub(crate) chaos_ms: i64,
    pub(crate) rebalance_ms: i32,
    pub(crate) config: GroupConfig,
}

impl Shape {
    pub(crate) fn draw(seed: &mut Seed) -> Shape {
        // One of eight has the full size: 20 members over 60 partitions.
        let is_full = seed.one_in(8);
        let members = if is_full { 20 } else { 1 + seed.below(7) };
        let count = if seed.one_in(3) { 2 } else { 1 };
        let groups = (0..count).map(|_| draw_group(seed, (members / count).max(1))).collect();
        let topics = 1 + seed.below(4);
        let partitions = if is_full { 60 / topics as i32 } else { 1 + seed.below(6) as i32 };
        let pace = |seed: &mut Seed, fast: (i64, i64), slow: (i64, i64)| if seed.one_in(3) { slow } else { fast };
        let mut config = GroupConfig::default();
        let fixed = |value| Bounded { value, min: 0, max: i32::MAX };
        config.append_linger_ms = [-1, -1, 0, 5].get(seed.below(4)).copied().unwrap_or(-1);
        config.group_initial_rebalance_delay_ms = [0, 500, 3_000].get(seed.below(3)).copied().unwrap_or(0);
        config.consumer_session_timeout_ms = fixed(SESSION_MS);
        config.consumer_heartbeat_interval_ms = fixed(HEARTBEAT_MS as i32);
        config.consumer_assignment_interval_ms = fixed(if seed.one_in(2) { 0 } else { 1_000 });
        config.consumer_regex_refresh_interval_ms = 10_000;
        config.consumer_migration_policy = MigrationPolicy::Bidirectional;
        Shape {
            groups,
            topics,
            partitions,
            topics_change: seed.one_in(2),
            linger_ms: config.append_linger_ms,
            max_batch_bytes: if !is_full && seed.one_in(5) { 16 << 10 } else { 1 << 20 },
            disk_ms: pace(seed, (0, 0), (20, 1_500)),
            replication_ms: pace(seed, (2, 200), (100, 4_000)),
            network_ms: pace(seed, (3, 100), (40, 2_500)),
            append_fails: [0, 300, 40].get(seed.below(3)).copied().unwrap_or(0),
            loss: [0, 400, 60].get(seed.below(3)).copied().unwrap_or(0),
            member_trouble_ms: seed.between(800, 8_000),
            coordinator_trouble_ms: seed.between(3_000, 40_000),
            chaos_ms: seed.between(20_000, 60_000),
            rebalance_ms: [4_000, 9_000].get(seed.below(2)).copied().unwrap_or(4_000),
            config,
        }
    }
}

fn draw_group(seed: &mut Seed, slots: usize) -> GroupShape {
    let mode = match seed.below(3) {
        0 => Mode::Classic,
        1 => Mode::Consumer,
        _ => Mode::Mixed,
    };
    GroupShape { mode, is_cooperative: seed.one_in(2), slots }
}

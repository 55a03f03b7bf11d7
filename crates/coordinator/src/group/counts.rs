//! `GroupCounts`: what happened to the groups of a broker since it started. Kafka: the sensors of
//! `GroupCoordinatorMetrics`. `GroupSurvey`: what there is now (`GroupCoordinatorMetricsShard`).

use super::classic::state_of;
use super::context::Live;
use super::state::{Group, Groups, OffsetKey};
use milena_protocol::Text;
use milena_types::Offset;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that all coordinators of a broker share: clones are the same counts.
#[derive(Clone, Debug, Default)]
pub struct GroupCounts(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    offset_commits: AtomicU64,
    offset_expirations: AtomicU64,
    offset_deletions: AtomicU64,
    completed_rebalances: AtomicU64,
    consumer_group_rebalances: AtomicU64,
}

impl GroupCounts {
    /// Offsets that were committed, in transactions or not.
    #[must_use]
    pub fn offset_commits(&self) -> u64 {
        self.0.offset_commits.load(Ordering::Relaxed)
    }

    /// Offsets that were too old.
    #[must_use]
    pub fn offset_expirations(&self) -> u64 {
        self.0.offset_expirations.load(Ordering::Relaxed)
    }

    /// Offsets that OffsetDelete removed.
    #[must_use]
    pub fn offset_deletions(&self) -> u64 {
        self.0.offset_deletions.load(Ordering::Relaxed)
    }

    /// Assignments of classic groups.
    #[must_use]
    pub fn completed_rebalances(&self) -> u64 {
        self.0.completed_rebalances.load(Ordering::Relaxed)
    }

    /// New epochs of consumer groups, but for those that only a member's end brought.
    #[must_use]
    pub fn consumer_group_rebalances(&self) -> u64 {
        self.0.consumer_group_rebalances.load(Ordering::Relaxed)
    }

    pub(crate) fn committed(&self, offsets: usize) {
        add(&self.0.offset_commits, offsets);
    }

    pub(crate) fn expired(&self, offsets: usize) {
        add(&self.0.offset_expirations, offsets);
    }

    pub(crate) fn deleted(&self, offsets: usize) {
        add(&self.0.offset_deletions, offsets);
    }

    pub(crate) fn completed_rebalance(&self) {
        add(&self.0.completed_rebalances, 1);
    }

    pub(crate) fn rebalanced_consumer_group(&self) {
        add(&self.0.consumer_group_rebalances, 1);
    }
}

fn add(count: &AtomicU64, many: usize) {
    count.fetch_add(many as u64, Ordering::Relaxed);
}

/// What there is, of any number of coordinators.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupSurvey {
    /// Classic groups by the name of their state.
    pub classic: BTreeMap<&'static str, u64>,
    /// Consumer groups by the name of their state.
    pub consumer: BTreeMap<&'static str, u64>,
    /// How many offsets there are.
    pub offsets: u64,
    /// How many members each group has.
    pub members: Vec<(Text, usize)>,
    /// Offsets one by one, as many as there is room for.
    pub committed: Vec<(OffsetKey, Offset)>,
    /// What `members` and `committed` may hold together.
    pub room: usize,
    /// What was left out for want of room.
    pub left_out: u64,
}

impl GroupSurvey {
    /// Adds what one coordinator has, with everything decided so far.
    pub(crate) fn add(&mut self, live: &Live, state: &Groups) {
        for (id, group) in state.iter() {
            let members = match group {
                Group::Classic(record) => {
                    let (state, members) = state_of(live, id, record);
                    *self.classic.entry(state.name()).or_default() += 1;
                    members
                }
                Group::Consumer(group) => {
                    *self.consumer.entry(group.state_name()).or_default() += 1;
                    group.members.len()
                }
            };
            if self.has_room() {
                self.members.push((id.clone(), members));
            }
        }
        self.offsets += state.offsets.len() as u64;
        for (key, committed) in state.iter_offsets() {
            if self.has_room() {
                self.committed.push((key.clone(), committed.offset));
            }
        }
    }

    fn has_room(&mut self) -> bool {
        let has_room = self.members.len() + self.committed.len() < self.room;
        self.left_out += u64::from(!has_room);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::classic::ClassicRecord;
    use crate::group::consumer::ConsumerGroup;
    use crate::group::{CommittedOffset, MemberMemory};
    use milena_types::{LeaderEpoch, Timestamp, TopicId};

    fn groups() -> Groups {
        let mut groups = Groups::default();
        groups.groups.insert("simple".into(), Group::Classic(ClassicRecord::simple()));
        groups.groups.insert("modern".into(), Group::Consumer(ConsumerGroup::default()));
        for partition in 0..3 {
            let key = OffsetKey { group: "simple".into(), topic: "t".into(), partition };
            let committed = CommittedOffset {
                offset: Offset(7),
                leader_epoch: LeaderEpoch(0),
                metadata: Text::default(),
                commit_timestamp: Timestamp(0),
                expire_timestamp: None,
                topic_id: TopicId::default(),
                record_offset: Offset(0),
            };
            groups.offsets.insert(key, committed);
        }
        groups
    }

    #[test]
    fn a_survey_counts_everything_and_lists_what_there_is_room_for() {
        let live = Live::new(1, MemberMemory::default());
        let mut survey = GroupSurvey { room: 4, ..GroupSurvey::default() };
        survey.add(&live, &groups());
        assert_eq!(survey.classic, BTreeMap::from([("Empty", 1)]));
        assert_eq!(survey.consumer, BTreeMap::from([("Empty", 1)]));
        assert_eq!((survey.offsets, survey.members.len(), survey.committed.len()), (3, 2, 2));
        assert_eq!(survey.left_out, 1);
        survey.add(&live, &groups());
        assert_eq!((survey.offsets, survey.left_out), (6, 6));
    }
}

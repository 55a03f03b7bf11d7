//! Never two owners of a partition in one generation or epoch. Owners of all times are kept: whoever is late with what it
//! had can be told by its epoch. And at no time does the log give a partition to two members at once.

use std::collections::{BTreeMap, BTreeSet};

use milena_coordinator::group::GroupRecord;
use milena_protocol::Text;

use crate::cluster::Spot;

#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// By group, its life, epoch and partition.
    by_epoch: BTreeMap<(Text, u32, i32, Spot), Text>,
}

impl Owners {
    /// A member believes to have these partitions.
    pub(crate) fn owns(
        &mut self,
        (group, life): (&Text, u32),
        epoch: i32,
        spots: &BTreeSet<Spot>,
        owner: &Text,
    ) -> Result<(), String> {
        for spot in spots {
            let known = self.by_epoch.entry((group.clone(), life, epoch, *spot)).or_insert_with(|| owner.clone());
            if known != owner {
                return Err(format!("{group}: {spot:?} is {known}'s and {owner}'s in epoch {epoch}"));
            }
        }
        Ok(())
    }
}

/// Who has what by the records of consumer groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogOwners {
    by_member: BTreeMap<(Text, Text), BTreeSet<Spot>>,
    by_spot: BTreeMap<(Text, Spot), Text>,
}

impl LogOwners {
    /// Replays the records of one batch, then looks.
    pub(crate) fn replay(&mut self, records: &[GroupRecord]) -> Result<(), String> {
        let mut changed = BTreeSet::new();
        for record in records {
            let GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value) = record else { continue };
            let member = (key.group_id.clone(), key.member_id.clone());
            for spot in self.by_member.remove(&member).unwrap_or_default() {
                let place = (key.group_id.clone(), spot);
                if self.by_spot.get(&place) == Some(&key.member_id) {
                    self.by_spot.remove(&place);
                }
            }
            if let Some(value) = value {
                let topics = value.assigned_partitions.iter().chain(&value.partitions_pending_revocation);
                let spots = topics.flat_map(|topic| topic.partitions.iter().map(|number| (topic.topic_id, *number)));
                self.by_member.insert(member.clone(), spots.collect());
            }
            changed.insert(member);
        }
        for member in changed {
            let Some(spots) = self.by_member.get(&member) else { continue };
            for spot in spots {
                let before = self.by_spot.insert((member.0.clone(), *spot), member.1.clone());
                if let Some(other) = before.filter(|other| *other != member.1) {
                    return Err(format!("{}: the log gives {spot:?} to {other} and {}", member.0, member.1));
                }
            }
        }
        Ok(())
    }
}

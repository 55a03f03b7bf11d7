//! `PartitionChange`: from what a partition should become to the record that makes it so, with a leader elected on the way
//! and its eligible replicas kept (`PartitionChangeBuilder`, KIP-966).

use milena_metadata::{MetadataVersion, NO_LEADER_CHANGE, Partition, VersionedRecord};
use milena_protocol::messages::{MetadataRecord, PartitionChangeRecord};
use milena_types::{BrokerId, PartitionIndex, TopicId, Uuid};

/// How far an election may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Election {
    /// The first replica, when it can lead; the present leader otherwise.
    Preferred,
    /// The present leader stays if it can; otherwise the first replica that is in sync or eligible.
    Online,
    /// As online, and when nobody qualifies any replica that is alive.
    Unclean,
}

/// What stays the same for all partitions of one change.
#[derive(Clone, Copy)]
pub(crate) struct ChangeContext<'a> {
    pub(crate) version: MetadataVersion,
    pub(crate) elr_enabled: bool,
    /// Whether a broker may lead a partition.
    pub(crate) can_lead: &'a dyn Fn(&Partition, BrokerId) -> bool,
    /// The directory recorded for a new replica of a broker.
    pub(crate) default_directory: &'a dyn Fn(BrokerId) -> Uuid,
}

/// A change of one partition in the making.
pub(crate) struct PartitionChange<'a> {
    context: ChangeContext<'a>,
    partition: &'a Partition,
    min_insync_replicas: usize,
    pub(crate) election: Election,
    pub(crate) isr: Vec<BrokerId>,
    pub(crate) is_recovering: bool,
    /// A broker that restarted without a clean shutdown: it is not eligible any more.
    pub(crate) uncleanly_restarted: Option<BrokerId>,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) removing: Vec<BrokerId>,
    pub(crate) adding: Vec<BrokerId>,
    /// A replica that is in this directory now, as its broker says.
    pub(crate) moved: Option<(BrokerId, Uuid)>,
    elr: Vec<BrokerId>,
}

/// The outcome of an election: the leader or none, and whether it may lack records.
struct Elected {
    leader: BrokerId,
    unclean: bool,
}

fn raw(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

impl<'a> PartitionChange<'a> {
    pub(crate) fn new(context: ChangeContext<'a>, partition: &'a Partition, min_insync_replicas: usize) -> Self {
        PartitionChange {
            context,
            partition,
            min_insync_replicas,
            election: Election::Online,
            isr: partition.isr.to_vec(),
            is_recovering: partition.is_recovering,
            uncleanly_restarted: None,
            replicas: partition.replicas.to_vec(),
            removing: partition.removing_replicas.to_vec(),
            adding: partition.adding_replicas.to_vec(),
            moved: None,
            elr: partition.eligible_leader_replicas.to_vec(),
        }
    }

    /// The record that makes the change; `None` when nothing changes.
    pub(crate) fn record(mut self, topic: TopicId, index: PartitionIndex) -> Option<VersionedRecord> {
        let mut record =
            PartitionChangeRecord { topic_id: topic, partition_id: index.0, ..PartitionChangeRecord::default() };
        let empty = record.clone();
        self.complete_reassignment();
        self.fill_elr();
        self.elect(&mut record);
        self.raise_epoch_for_reassignment(&mut record);
        self.write_elr(&mut record);
        let may_be_empty = self.context.elr_enabled;
        let isr_differs = self.isr.as_slice() != self.partition.isr.as_ref();
        if record.isr.is_none() && (!self.isr.is_empty() || may_be_empty) && isr_differs {
            record.isr = Some(raw(&self.isr));
        }
        self.raise_epoch_for_smaller_isr(&mut record);
        self.write_last_known_leader(&mut record);
        self.write_assignment(&mut record);
        if self.is_recovering != self.partition.is_recovering {
            record.leader_recovery_state = i8::from(self.is_recovering);
        }
        let version = self.context.version.partition_change_record_version();
        (record != empty).then_some((MetadataRecord::PartitionChange(record), version))
    }

    /// A reassignment is done once all added replicas are in sync; then the removed ones go.
    fn complete_reassignment(&mut self) {
        if self.removing.is_empty() && self.adding.is_empty() {
            return;
        }
        let stays = |broker: &BrokerId| !self.removing.contains(broker);
        let isr: Vec<BrokerId> = self.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<BrokerId> = self.replicas.iter().copied().filter(stays).collect();
        let has_all = |wanted: &[BrokerId]| wanted.iter().all(|broker| isr.contains(broker));
        if isr.is_empty() || replicas.is_empty() || !has_all(&self.adding) {
            return;
        }
        // Where the partition gets fewer replicas, those that stay must all be in sync: nothing else would see to it.
        if self.adding.len() < self.removing.len() && !has_all(&replicas) {
            return;
        }
        self.isr = isr;
        self.replicas = replicas;
        self.removing.clear();
        self.adding.clear();
    }

    /// Replicas that leave an ISR smaller than the smallest allowed one stay eligible.
    fn fill_elr(&mut self) {
        if !self.context.elr_enabled {
            return;
        }
        if self.isr.len() >= self.min_insync_replicas {
            self.elr.clear();
            return;
        }
        let mut candidates: Vec<BrokerId> = self.elr.iter().chain(&self.partition.isr).copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        // Who is no replica any more loses its log: back among them it begins with nothing (Kafka keeps it eligible).
        candidates.retain(|broker| {
            !self.isr.contains(broker) && self.uncleanly_restarted != Some(*broker) && self.replicas.contains(broker)
        });
        self.elr = candidates;
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let elected = match self.election {
            Election::Preferred => self.elect_preferred(),
            Election::Online | Election::Unclean => self.elect_any(),
        };
        if elected.leader == self.partition.leader {
            return;
        }
        if self.elr.contains(&elected.leader) {
            self.isr = vec![elected.leader];
            self.elr.retain(|broker| *broker != elected.leader);
            if self.isr.len() >= self.min_insync_replicas {
                // It may commit alone: the others have everything no longer.
                self.elr.clear();
            }
        }
        record.leader = elected.leader.0;
        if elected.unclean {
            record.isr = Some(vec![elected.leader.0]);
            if !self.partition.is_recovering {
                record.leader_recovery_state = 1;
            }
        }
    }

    fn elect_preferred(&self) -> Elected {
        let clean = |leader| Elected { leader, unclean: false };
        if let Some(first) = self.replicas.first().filter(|broker| self.is_valid_leader(**broker)) {
            return clean(*first);
        }
        if self.is_valid_leader(self.partition.leader) {
            return clean(self.partition.leader);
        }
        match self.replicas.iter().skip(1).find(|broker| self.is_valid_leader(**broker)) {
            Some(broker) => clean(*broker),
            None => self.last_known_leader().unwrap_or(clean(BrokerId::NONE)),
        }
    }

    fn elect_any(&self) -> Elected {
        let clean = |leader| Elected { leader, unclean: false };
        if self.is_valid_leader(self.partition.leader) {
            return clean(self.partition.leader);
        }
        if let Some(broker) = self.replicas.iter().find(|broker| self.is_valid_leader(**broker)) {
            return clean(*broker);
        }
        if let Some(elected) = self.last_known_leader() {
            return elected;
        }
        let alive = |broker: &&BrokerId| (self.context.can_lead)(self.partition, **broker);
        match self.replicas.iter().find(alive) {
            Some(broker) if self.election == Election::Unclean => Elected { leader: *broker, unclean: true },
            _ => clean(BrokerId::NONE),
        }
    }

    /// When every eligible replica was lost, the last leader has the most records.
    fn last_known_leader(&self) -> Option<Elected> {
        let [last] = self.partition.last_known_elr.as_ref() else { return None };
        let eligible = self.context.elr_enabled && self.elr.is_empty() && self.isr.is_empty();
        (eligible && (self.context.can_lead)(self.partition, *last)).then_some(Elected { leader: *last, unclean: true })
    }

    fn is_valid_leader(&self, broker: BrokerId) -> bool {
        let qualified = self.isr.contains(&broker) || (self.isr.is_empty() && self.elr.contains(&broker));
        qualified && (self.context.can_lead)(self.partition, broker)
    }

    /// A replica that is taken away must not be fetched from under the old epoch.
    fn raise_epoch_for_reassignment(&self, record: &mut PartitionChangeRecord) {
        let kept = self.partition.replicas.iter().all(|broker| self.replicas.contains(broker));
        if record.leader == NO_LEADER_CHANGE && !kept {
            record.leader = self.partition.leader.0;
        }
    }

    fn raise_epoch_for_smaller_isr(&self, record: &mut PartitionChangeRecord) {
        let needed = self.context.version.is_leader_epoch_bump_required_on_isr_shrink();
        if !needed || record.leader != NO_LEADER_CHANGE {
            return;
        }
        if let Some(isr) = &record.isr
            && !self.partition.isr.iter().all(|broker| isr.contains(&broker.0))
        {
            record.leader = self.partition.leader.0;
        }
    }

    fn write_elr(&mut self, record: &mut PartitionChangeRecord) {
        // An unclean leader makes what the eligible replicas have worthless.
        if record.isr.is_some() || !self.context.elr_enabled {
            self.elr.clear();
        }
        if self.elr.as_slice() != self.partition.eligible_leader_replicas.as_ref() {
            record.eligible_leader_replicas = Some(raw(&self.elr));
        }
    }

    fn write_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.context.elr_enabled {
            return;
        }
        let before = self.partition.last_known_elr.as_ref();
        let leader = self.partition.leader;
        // A leader that gave up its place to stop may be the last in-sync replica all the same; Kafka notes -1 then, and nobody
        // may lead ever again.
        let last = if leader.is_some() { Some(leader) } else { self.partition.isr.first().copied() };
        if let Some(last) = last.filter(|last| before != [*last] && record.isr.as_ref().is_some_and(Vec::is_empty)) {
            record.last_known_elr = Some(vec![last.0]);
        } else if (record.leader >= 0 || (leader != BrokerId::NONE && record.leader != BrokerId::NONE.0))
            && !before.is_empty()
        {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn write_assignment(&self, record: &mut PartitionChangeRecord) {
        if !self.replicas.is_empty() {
            if self.context.version.is_directory_assignment_supported() {
                let directory = |broker: &BrokerId| match self.moved {
                    Some((moved, directory)) if moved == *broker => directory,
                    _ => self.partition.directory(*broker).unwrap_or_else(|| (self.context.default_directory)(*broker)),
                };
                let directories: Vec<Uuid> = self.replicas.iter().map(directory).collect();
                if directories.as_slice() != self.partition.directories.as_ref() {
                    record.directories = Some(directories);
                }
            }
            if self.replicas.as_slice() != self.partition.replicas.as_ref() {
                record.replicas = Some(raw(&self.replicas));
            }
        }
        if self.removing.as_slice() != self.partition.removing_replicas.as_ref() {
            record.removing_replicas = Some(raw(&self.removing));
        }
        if self.adding.as_slice() != self.partition.adding_replicas.as_ref() {
            record.adding_replicas = Some(raw(&self.adding));
        }
    }
}

#[cfg(test)]
#[path = "partition_change_tests.rs"]
mod tests;

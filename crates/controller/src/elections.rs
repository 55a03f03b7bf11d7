//! Leaders and in-sync replicas after brokers come and go (`ReplicationControlManager.generateLeaderAndIsrUpdates` and its
//! callers). Which partitions are concerned is found by looking at all: that happens when a broker comes or goes, and not
//! with every request, so no index has to be kept with every change.

use std::sync::Arc;

use milena_metadata::{Partition, Topic, VersionedRecord};
use milena_protocol::messages::{BrokerRegistrationChangeRecord, MetadataRecord, UnregisterBrokerRecord};
use milena_types::{BrokerId, PartitionIndex, Uuid};

use crate::partition_change::{ChangeContext, Election, PartitionChange};
use crate::{Controller, Decision};

/// Most partitions one round of balancing or unclean election changes.
const ELECTIONS_MAX: usize = 1000;

/// Which brokers come and go.
#[derive(Clone, Copy, Default)]
pub(crate) struct Movement {
    /// Leaves all ISRs and leads nothing.
    pub(crate) removed: Option<BrokerId>,
    /// May lead although its registration still says fenced.
    pub(crate) added: Option<BrokerId>,
    /// Came back without a clean shutdown: it leaves ISR and ELR.
    pub(crate) uncleanly_restarted: Option<BrokerId>,
}

impl Controller {
    /// Whether a broker leads any partition.
    pub(crate) fn has_leaderships(&self, broker: BrokerId) -> bool {
        self.image.topics.iter_by_id().any(|topic| topic.partitions.iter().any(|partition| partition.leader == broker))
    }

    /// What a broker's fencing means: it leaves every ISR, then it is fenced.
    pub(crate) fn fence_records(&self, broker: BrokerId, epoch: i64) -> Vec<VersionedRecord> {
        let movement = Movement { removed: Some(broker), ..Movement::default() };
        let mut records = self.movement_records(movement, &|partition| partition.isr.contains(&broker));
        let record = BrokerRegistrationChangeRecord {
            broker_id: broker.0,
            broker_epoch: epoch,
            fenced: 1,
            ..BrokerRegistrationChangeRecord::default()
        };
        records.push((MetadataRecord::BrokerRegistrationChange(record), 0));
        records
    }

    /// What a broker's unfencing means: it may lead the partitions that have no leader.
    pub(crate) fn unfence_records(&self, broker: BrokerId, epoch: i64) -> Vec<VersionedRecord> {
        let record = BrokerRegistrationChangeRecord {
            broker_id: broker.0,
            broker_epoch: epoch,
            fenced: -1,
            ..BrokerRegistrationChangeRecord::default()
        };
        let movement = Movement { added: Some(broker), ..Movement::default() };
        let mut records = vec![(MetadataRecord::BrokerRegistrationChange(record), 0)];
        records.extend(self.movement_records(movement, &|partition| partition.leader == BrokerId::NONE));
        records
    }

    /// What a controlled shutdown means: others take over what the broker leads.
    pub(crate) fn shutdown_records(&self, broker: BrokerId, epoch: i64) -> Vec<VersionedRecord> {
        let mut records = Vec::new();
        let already = self.image.cluster.broker(broker).is_some_and(|broker| broker.is_in_controlled_shutdown);
        if !already {
            let record = BrokerRegistrationChangeRecord {
                broker_id: broker.0,
                broker_epoch: epoch,
                in_controlled_shutdown: 1,
                ..BrokerRegistrationChangeRecord::default()
            };
            records.push((MetadataRecord::BrokerRegistrationChange(record), 1));
        }
        let movement = Movement { removed: Some(broker), ..Movement::default() };
        records.extend(self.movement_records(movement, &|partition| partition.isr.contains(&broker)));
        records
    }

    /// What the removal of a registration means.
    pub(crate) fn unregister_records(&self, broker: BrokerId, epoch: i64) -> Vec<VersionedRecord> {
        let movement = Movement { removed: Some(broker), ..Movement::default() };
        let concerned = |partition: &Partition| {
            partition.isr.contains(&broker) || partition.eligible_leader_replicas.contains(&broker)
        };
        let mut records = self.movement_records(movement, &concerned);
        let record =
            UnregisterBrokerRecord { broker_id: broker.0, broker_epoch: epoch, ..UnregisterBrokerRecord::default() };
        records.push((MetadataRecord::UnregisterBroker(record), 0));
        records
    }

    /// What a new incarnation of a broker means for the partitions it was in sync with.
    pub(crate) fn restart_records(&self, broker: BrokerId, was_clean: bool) -> Vec<VersionedRecord> {
        if was_clean || !self.image.features.is_elr_enabled() {
            let movement = Movement { removed: Some(broker), ..Movement::default() };
            return self.movement_records(movement, &|partition| partition.isr.contains(&broker));
        }
        let movement = Movement { uncleanly_restarted: Some(broker), ..Movement::default() };
        let concerned = |partition: &Partition| {
            partition.isr.contains(&broker) || partition.eligible_leader_replicas.contains(&broker)
        };
        self.movement_records(movement, &concerned)
    }

    /// What the loss of log directories means: their replicas leave the ISRs.
    pub(crate) fn offline_directory_records(
        &self,
        broker: BrokerId,
        epoch: i64,
        reported_offline: &[Uuid],
    ) -> Vec<VersionedRecord> {
        let Some(registration) = self.image.cluster.broker(broker) else { return Vec::new() };
        let (lost, left): (Vec<Uuid>, Vec<Uuid>) =
            registration.directories.iter().partition(|directory| reported_offline.contains(directory));
        if lost.is_empty() {
            return Vec::new();
        }
        let movement = Movement { removed: Some(broker), ..Movement::default() };
        let concerned =
            |partition: &Partition| partition.directory(broker).is_some_and(|directory| lost.contains(&directory));
        let mut records = self.movement_records(movement, &concerned);
        let record = BrokerRegistrationChangeRecord {
            broker_id: broker.0,
            broker_epoch: epoch,
            log_dirs: left,
            ..BrokerRegistrationChangeRecord::default()
        };
        records.push((MetadataRecord::BrokerRegistrationChange(record), 2));
        records
    }

    /// Makes the first replica the leader again wherever it can be (`auto.leader.rebalance.enable`). The response says
    /// whether there may be more to do at once.
    #[must_use]
    pub fn decide_preferred_leaders(&self) -> Decision<bool> {
        let records = self.election_records(Election::Preferred, &|_, partition| !partition.has_preferred_leader());
        let more = records.len() >= ELECTIONS_MAX;
        Decision::of(records, more)
    }

    /// Elects leaders that may lack records where the topic allows it and there is no other way. The response says whether
    /// there may be more to do at once.
    #[must_use]
    pub fn decide_unclean_leaders(&self) -> Decision<bool> {
        let wanted = |topic: &Topic, partition: &Partition| {
            partition.leader == BrokerId::NONE && self.is_unclean_election_enabled(&topic.name)
        };
        let records = self.election_records(Election::Unclean, &wanted);
        let more = records.len() >= ELECTIONS_MAX;
        Decision::of(records, more)
    }

    /// Fences a broker that is known to be gone, whatever its session says; no records if it is fenced or unknown.
    #[must_use]
    pub fn decide_fence_broker(&self, broker: BrokerId) -> Decision<()> {
        match self.image.cluster.broker(broker) {
            Some(registration) if !registration.is_fenced => {
                Decision::of(self.fence_records(broker, registration.epoch), ())
            }
            _ => Decision::of(Vec::new(), ()),
        }
    }

    /// Fences the broker that has been silent for longest, when its session has expired; one at a time, so that each
    /// sees what the one before did.
    #[must_use]
    pub fn decide_fence_stale_broker(&self, now: std::time::Duration) -> Decision<Option<BrokerId>> {
        let stale = self.sessions.first_stale(now);
        let registration = stale.and_then(|broker| self.image.cluster.broker(broker));
        match (stale, registration) {
            (Some(broker), Some(registration)) => {
                Decision::of(self.fence_records(broker, registration.epoch), Some(broker))
            }
            _ => Decision::of(Vec::new(), None),
        }
    }

    /// When `decide_fence_stale_broker`, `decide_due_elections` or `due_probes` may next have something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<std::time::Duration> {
        [self.sessions.next_deadline(), self.election_rounds.next(), self.suspicions.next()].into_iter().flatten().min()
    }

    fn election_records(
        &self,
        election: Election,
        wanted: &dyn Fn(&Topic, &Partition) -> bool,
    ) -> Vec<VersionedRecord> {
        let can_lead = |partition: &Partition, broker: BrokerId| self.can_lead(partition, broker);
        let default_directory = |broker: BrokerId| self.default_directory(broker);
        let context = self.change_context(&can_lead, &default_directory);
        let mut records = Vec::new();
        for topic in self.image.topics.iter_by_id() {
            for (index, partition) in topic.iter().filter(|(_, partition)| wanted(topic, partition)) {
                let mut change = PartitionChange::new(context, partition, self.min_insync_of(topic));
                change.election = election;
                records.extend(change.record(topic.id, index));
                if records.len() >= ELECTIONS_MAX {
                    return records;
                }
            }
        }
        records
    }

    fn movement_records(&self, movement: Movement, concerned: &dyn Fn(&Partition) -> bool) -> Vec<VersionedRecord> {
        let gone = |broker: BrokerId| movement.removed == Some(broker) || movement.uncleanly_restarted == Some(broker);
        let can_lead = |partition: &Partition, broker: BrokerId| {
            let active = movement.added == Some(broker) || self.image.cluster.is_active(broker);
            !gone(broker) && active && self.has_online_replica(partition, broker)
        };
        let default_directory = |broker: BrokerId| self.default_directory(broker);
        let context = self.change_context(&can_lead, &default_directory);
        let mut records = Vec::new();
        for topic in self.image.topics.iter_by_id() {
            let found: Vec<(PartitionIndex, &Arc<Partition>)> =
                topic.iter().filter(|(_, partition)| concerned(partition)).collect();
            if found.is_empty() {
                continue;
            }
            let min_insync = self.min_insync_of(topic);
            let unclean = self.is_unclean_election_enabled(&topic.name);
            for (index, partition) in found {
                let mut change = PartitionChange::new(context, partition, min_insync);
                change.uncleanly_restarted = movement.uncleanly_restarted;
                if unclean {
                    change.election = Election::Unclean;
                }
                change.isr.retain(|broker| !gone(*broker));
                records.extend(change.record(topic.id, index));
            }
        }
        records
    }

    pub(crate) fn change_context<'a>(
        &self,
        can_lead: &'a dyn Fn(&Partition, BrokerId) -> bool,
        default_directory: &'a dyn Fn(BrokerId) -> Uuid,
    ) -> ChangeContext<'a> {
        ChangeContext {
            version: self.image.features.metadata_version,
            elr_enabled: self.image.features.is_elr_enabled(),
            can_lead,
            default_directory,
        }
    }

    /// Whether a broker is active and has its replica's directory online.
    pub(crate) fn can_lead(&self, partition: &Partition, broker: BrokerId) -> bool {
        self.image.cluster.is_active(broker) && self.has_online_replica(partition, broker)
    }

    /// The smallest ISR of a topic's partitions.
    pub(crate) fn min_insync_of(&self, topic: &Topic) -> usize {
        let replicas = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
        self.min_insync_replicas(&topic.name, replicas)
    }

    fn has_online_replica(&self, partition: &Partition, broker: BrokerId) -> bool {
        match (self.image.cluster.broker(broker), partition.directory(broker)) {
            (Some(registration), Some(directory)) => registration.has_online_directory(directory),
            _ => false,
        }
    }
}

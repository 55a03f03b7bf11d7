//! Follows the image: logs are made, opened and removed, replicas told what the controller decided (`Assigner` and
//! `Following` of `milena-broker`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use milena_metadata::{ConfigResource, Delta, Image, Topic};
use milena_replication::{Assignment, PartitionConfig, PartitionKey, PartitionState, Role};
use milena_storage::disk::{Disk, SimulatedDisk};
use milena_storage::{Log, LogConfig, LogOpen, TopicPartition};
use milena_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp, Uuid};

use super::broker_host::{BrokerHost, LOG_DIR};
use super::outbox::{Note, Outbox};
use super::replica::Replica;
use crate::planted::Planted;

/// `replica.lag.time.max.ms`.
const LAG_MAX_MS: i64 = 1500;

/// `file.delete.delay.ms`.
const DELETE_DELAY_MS: i64 = 2000;

type Result<T> = std::result::Result<T, milena_storage::Error>;

impl BrokerHost {
    /// Brings the replicas to where `image` is. `delta` says what changed.
    pub(crate) fn apply(&mut self, image: &Arc<Image>, delta: &Delta, now: Timestamp, out: &mut Outbox) -> Result<()> {
        let everything = std::mem::take(&mut self.is_first_image);
        let registered = image.cluster.broker(self.id()).map(|broker| broker.incarnation_id);
        let is_new_here = !self.is_registered && registered == Some(self.incarnation);
        self.is_registered |= is_new_here || self.settings.has(Planted::ServesFenced);
        if !everything && self.settings.has(Planted::SkipsImages) && self.random.per_mille(150) {
            return Ok(());
        }
        for topic in delta.deleted_topics.values() {
            for (index, _) in topic.iter() {
                self.remove((topic.id, index), now)?;
            }
        }
        let changed: Vec<Arc<Topic>> = if everything || is_new_here {
            image.topics.iter_by_id().cloned().collect()
        } else {
            delta.changed_partitions.keys().filter_map(|id| image.topics.get(*id)).cloned().collect()
        };
        for topic in &changed {
            self.place(image, topic, now, out)?;
        }
        if everything {
            self.set_strays_aside()?;
        }
        self.reconfigure(image, delta, now);
        if everything || delta.has_topics() || !delta.brokers.is_empty() {
            self.follow(image);
        }
        self.image = Arc::clone(image);
        self.dirty = true;
        Ok(())
    }

    fn place(&mut self, image: &Image, topic: &Topic, now: Timestamp, out: &mut Outbox) -> Result<()> {
        let may_not = (!self.is_registered).then_some(self.id());
        for (index, assigned) in topic.iter() {
            let key = (topic.id, index);
            if !assigned.has_replica(self.id()) {
                self.remove(key, now)?;
                continue;
            }
            if !self.replicas.contains_key(&key) {
                let replica = self.open_replica(image, topic, index, now, out)?;
                self.replicas.insert(key, replica);
            }
            let assignment = milena_broker::assignment_of(assigned, may_not);
            let config = self.partition_config(image, topic);
            if let Some(replica) = self.replicas.get_mut(&key) {
                replica.state.configure(config);
            }
            self.assign(key, &assignment, now, out);
        }
        Ok(())
    }

    fn assign(&mut self, key: PartitionKey, assignment: &Assignment, now: Timestamp, out: &mut Outbox) {
        let cuts = self.settings.has(Planted::TruncatesToHighWatermark);
        let Some(replica) = self.replicas.get_mut(&key) else { return };
        let led = replica.state.is_leader();
        let began = replica.state.assign(assignment, now);
        if began && let Some(start) = replica.state.leader_epoch_start_offset() {
            replica.log.assign_epoch_start(assignment.leader_epoch, start);
            out.notes.push(Note::BeganToLead { key, epoch: assignment.leader_epoch });
        }
        let high_watermark = replica.state.high_watermark();
        replica.log.on_high_watermark(high_watermark);
        if cuts && led && !replica.state.is_leader() {
            let from = replica.log.log_end_offset();
            if replica.log.truncate_to(high_watermark, now).is_ok() {
                replica.state.on_truncate(replica.log.log_end_offset());
                replica.note_truncated();
                let to = replica.log.log_end_offset().0;
                out.notes.push(Note::Truncated { key, from: from.0, to, high_watermark: high_watermark.0 });
            }
        }
    }

    fn open_replica(
        &mut self,
        image: &Image,
        topic: &Topic,
        index: PartitionIndex,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<Replica> {
        let name = TopicPartition { topic: (*topic.name).into(), partition: index };
        let directory = Path::new(LOG_DIR).join(name.to_string());
        let config = Arc::new(self.log_config());
        let mut found = self.found.remove(&name);
        let disk = self.cache.disk().clone();
        if found.is_some() && !is_of_topic(&disk, &directory, topic.id) {
            let stray = Path::new(LOG_DIR).join(name.stray_name(self.unique()));
            disk.rename(&directory, &stray).map_err(|source| super::broker_host::io("rename", &directory, source))?;
            found = None;
        }
        let (log, high_watermark) = match found {
            None => {
                self.disown(&name)?;
                (Log::create(&self.cache, &directory, &config, Some(topic.id), now)?, Offset(0))
            }
            Some(found) => {
                let open = LogOpen {
                    recovery_point: found.recovery_point,
                    log_start_offset: Offset(0),
                    clean_shutdown: self.clean_start,
                    cleaned_to: None,
                    now,
                };
                let (log, report) = Log::open(&self.cache, &directory, &config, open)?;
                if !self.clean_start {
                    out.notes.push(Note::Recovered { bytes_cut: report.bytes_truncated });
                }
                (log, found.high_watermark)
            }
        };
        let config = self.partition_config(image, topic);
        let state = PartitionState::new(config, log.log_end_offset(), high_watermark);
        Replica::new((topic.id, index), name, state, log)
    }

    fn log_config(&self) -> LogConfig {
        LogConfig {
            segment_bytes: self.settings.segment_bytes,
            index_interval_bytes: 300,
            retention_ms: -1,
            checkpoint_interval_bytes: 3000,
            ..LogConfig::default()
        }
    }

    fn partition_config(&self, image: &Image, topic: &Topic) -> PartitionConfig {
        let resource = ConfigResource::topic(topic.name.clone());
        let text = image.configs.value(&resource, "min.insync.replicas");
        let mut min_insync_replicas = text.and_then(|text| text.parse().ok()).unwrap_or(1);
        let mut durability = self.settings.durability;
        if self.settings.has(Planted::IgnoresMinInsync) {
            min_insync_replicas = 1;
        }
        if self.settings.has(Planted::LeaderCountsUnsynced) {
            durability = milena_replication::Durability::Os;
        }
        PartitionConfig { local: self.id(), durability, min_insync_replicas, replica_lag_time_max_ms: LAG_MAX_MS }
    }

    fn reconfigure(&mut self, image: &Image, delta: &Delta, now: Timestamp) {
        for topic in image.topics.iter() {
            if !delta.configs.contains(&ConfigResource::topic(topic.name.clone())) {
                continue;
            }
            let config = self.partition_config(image, topic);
            for (index, _) in topic.iter() {
                if let Some(replica) = self.replicas.get_mut(&(topic.id, index)) {
                    replica.state.reconfigure(config, now);
                }
            }
        }
    }

    /// The log is renamed at once and removed later.
    fn remove(&mut self, key: PartitionKey, now: Timestamp) -> Result<()> {
        self.pending_isr.remove(&key);
        let Some(replica) = self.replicas.remove(&key) else { return Ok(()) };
        let unique = self.unique();
        let path = self.log_dir.delete_log(&replica.name, replica.log, unique)?;
        self.doomed.push((Timestamp(now.0 + DELETE_DELAY_MS), path));
        Ok(())
    }

    fn set_strays_aside(&mut self) -> Result<()> {
        for name in std::mem::take(&mut self.found).into_keys() {
            let (from, to) = (name.to_string(), name.stray_name(self.unique()));
            let root = Path::new(LOG_DIR);
            let renamed = self.cache.disk().rename(&root.join(&from), &root.join(&to));
            renamed.map_err(|source| super::broker_host::io("rename", root, source))?;
        }
        Ok(())
    }

    fn unique(&mut self) -> Uuid {
        Uuid(std::array::from_fn(|_| u8::try_from(self.random.below(256)).unwrap_or(7)))
    }

    /// Tells leaders of their followers' registrations, and fetchers whom they follow.
    fn follow(&mut self, image: &Image) {
        let mut wanted: BTreeMap<BrokerId, BTreeMap<PartitionKey, LeaderEpoch>> = BTreeMap::new();
        for (key, replica) in &mut self.replicas {
            match replica.state.role() {
                Role::Leader => {
                    for id in replica.state.replicas().to_vec() {
                        let registration = image.cluster.broker(id).filter(|broker| broker.is_active());
                        replica.state.set_registered_epoch(id, registration.map(|broker| broker.epoch));
                    }
                }
                Role::Follower { leader } if leader.is_some() => {
                    wanted.entry(leader).or_default().insert(*key, replica.state.leader_epoch());
                }
                Role::Follower { .. } | Role::Offline => {}
            }
        }
        for leader in wanted.keys() {
            self.fetchers.entry(*leader).or_default();
        }
        self.targets = wanted;
    }
}

/// Whether the log on disk is of this topic; a log without `partition.metadata` is taken to be.
fn is_of_topic(disk: &SimulatedDisk, directory: &Path, id: Uuid) -> bool {
    match milena_storage::checkpoint::read_topic_id(disk, directory) {
        Ok(Some(found)) => found == id,
        Ok(None) | Err(_) => true,
    }
}

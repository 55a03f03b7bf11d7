//! Follows the cluster image: makes, reconfigures and deletes partitions. One thread at a time applies images. Kafka's
//! counterparts are `BrokerMetadataPublisher`, `ReplicaManager.applyDelta` and `LogManager`.

use super::directories::{self, Found, FoundLog};
use super::opening::{Opening, Owner, Summary, assign, open_one, owner_of};
use super::partition::Partition;
use super::quarantine::Quarantine;
use super::registration::Registration;
use super::settings::{TopicSettings, broker_texts, own_configs};
use super::{LocalTopic, Partitions};
use crate::clock::Clock;
use crate::log_dirs::{Directory, LogDirs};
use crate::settings::BrokerSettings;
use milena_metadata::{ConfigResource, DIRECTORY_UNASSIGNED, Delta, Image, Topic};
use milena_storage::disk::{Disk, RealDisk};
use milena_storage::{Error, FileCache, Log, LogOpen, TopicPartition};
use milena_types::{Offset, PartitionIndex, Timestamp, Uuid};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// From this many partitions on, opening them is spread over threads.
const PARALLEL_FROM: usize = 8;

/// Applies images to the partitions; owns what only that needs.
#[derive(Debug)]
pub(crate) struct Assigner {
    files: Arc<FileCache<RealDisk>>,
    pub(super) log_dirs: Arc<LogDirs>,
    clock: Clock,
    pub(crate) registration: Registration,
    found: Found,
    pub(super) quarantine: Arc<Quarantine>,
    /// Whether an image was applied: what was found and is in no image is then a stray.
    is_settled: bool,
    /// Copies that were found, of partitions that are being moved.
    resumed: Vec<ResumedMove>,
    /// Directories of deleted partitions and when they may go.
    pub(super) doomed: Vec<(Timestamp, PathBuf)>,
    /// A log that was compacted was deleted: the cleaner's checkpoint must not speak of its successor.
    cleaned_deleted: bool,
    /// `num.recovery.threads.per.data.dir`, of the file or as it was changed since.
    recovery_threads: usize,
}

/// A partition, the copy of its log that was found, and where that is.
pub(crate) type ResumedMove = (Arc<Partition>, Log<RealDisk>, Arc<Directory>);

impl Assigner {
    /// Looks at the log directories.
    pub(crate) fn open(
        log_dirs: &Arc<LogDirs>,
        quarantine: &Arc<Quarantine>,
        clock: Clock,
        registration: Registration,
    ) -> Self {
        let now = clock.now();
        let found = directories::look_around(log_dirs);
        let doomed = found.deleted.iter().map(|path| (now, path.clone())).collect();
        let files = log_dirs.files().map_or_else(|| FileCache::new(RealDisk, 0), Arc::clone);
        let log_dirs = Arc::clone(log_dirs);
        Self {
            files,
            log_dirs,
            clock,
            registration,
            found,
            quarantine: Arc::clone(quarantine),
            is_settled: false,
            resumed: Vec::new(),
            doomed,
            cleaned_deleted: false,
            recovery_threads: 1,
        }
    }

    /// Brings the partitions to where `image` is; `delta` says what changed. Without a delta everything is looked at.
    pub(crate) fn apply(
        &mut self,
        partitions: &Partitions,
        settings: &BrokerSettings,
        image: &Image,
        delta: Option<&Delta>,
        now: Timestamp,
    ) {
        if !self.is_settled {
            directories::keep_what_is_there(&self.log_dirs, settings.durability);
        }
        let texts = broker_texts(settings, image);
        let threads = texts.get("num.recovery.threads.per.data.dir").and_then(|text| text.trim().parse().ok());
        self.recovery_threads = threads.unwrap_or(settings.num_recovery_threads_per_data_dir);
        if let Some(delta) = delta {
            for id in delta.deleted_topics.keys() {
                self.quarantine.forget_topic(*id);
                if let Some(topic) = partitions.remove(*id) {
                    topic.partitions.iter().flatten().for_each(|partition| self.delete(partition, now));
                }
            }
        }
        let changed: Vec<&Arc<Topic>> = match delta {
            None => image.topics.iter_by_id().collect(),
            Some(delta) => delta.changed_partitions.keys().filter_map(|id| image.topics.get(*id)).collect(),
        };
        self.place(partitions, settings, image, &texts, &changed, now);
        self.reconfigure(partitions, settings, image, &texts, delta);
        if !self.is_settled {
            self.is_settled = true;
            self.set_strays_aside();
        }
    }

    /// Makes and updates the partitions of `topics`.
    fn place(
        &mut self,
        partitions: &Partitions,
        settings: &BrokerSettings,
        image: &Image,
        texts: &BTreeMap<String, String>,
        topics: &[&Arc<Topic>],
        now: Timestamp,
    ) {
        let may_not = self.registration.may_not_lead();
        let mut locals: Vec<(LocalTopic, TopicSettings)> = Vec::with_capacity(topics.len());
        let mut openings = Vec::new();
        let mut counts = directories::counts(partitions);
        for topic in topics {
            let known = partitions.by_id(topic.id);
            let mut local = LocalTopic {
                name: known.as_ref().map_or_else(|| topic.name.detached(), |known| known.name.clone()),
                id: topic.id,
                partitions: known.map_or_else(Vec::new, |known| known.partitions.clone()),
            };
            local.partitions.resize(topic.partitions.len(), None);
            let topic_settings = TopicSettings::resolve(settings, texts, own_configs(image, &topic.name));
            for (index, assigned) in topic.iter() {
                let is_here = assigned.has_replica(settings.node_id);
                let slot = usize::try_from(index.0).ok().and_then(|at| local.partitions.get_mut(at));
                match slot {
                    Some(Some(partition)) if is_here => {
                        // First: by the smallest ISR of these metadata it is decided what their ISR has committed.
                        partition.configure(topic_settings.replication(settings));
                        assign(partition, assigned, may_not, self.clock.steady());
                    }
                    Some(slot) if slot.is_some() => {
                        if let Some(partition) = slot.take() {
                            self.delete(&partition, now);
                        }
                    }
                    Some(_) if is_here => {
                        let assigned = assigned.directory(settings.node_id).unwrap_or(DIRECTORY_UNASSIGNED);
                        let name = directories::directory_name(&local.name, index);
                        let place = match self.quarantine.unopened((topic.id, index)) {
                            Some((found, again)) => again.then(|| (Some(found.clone()), found.log_dir)),
                            None => self.find_place(&name, assigned, &mut counts),
                        };
                        let Some((found, log_dir)) = place else { continue };
                        openings.push(Opening { topic: locals.len(), index, name, assigned, found, log_dir });
                    }
                    _ => {}
                }
            }
            locals.push((local, topic_settings));
        }
        let summary = Summary::of(&openings);
        let mut opened = Vec::new();
        while !openings.is_empty() {
            opened.extend(self.open_all(settings, &locals, &openings, now));
            openings = self.place_again(openings, &mut counts);
        }
        summary.log(opened.len());
        for (at, index, partition) in opened {
            let assigned = locals.get(at).and_then(|(local, _)| image.topics.partition(local.id, index));
            let Some(assigned) = assigned else { continue };
            assign(&partition, assigned, may_not, self.clock.steady());
            let slot =
                locals.get_mut(at).and_then(|(local, _)| local.partitions.get_mut(usize::try_from(index.0).ok()?));
            if let Some(slot) = slot {
                let partition = Arc::new(partition);
                self.quarantine.look_at(&partition);
                self.resume_move(&partition, now);
                *slot = Some(partition);
            }
        }
        for (local, _) in locals {
            if local.partitions.iter().any(Option::is_some) {
                partitions.put(local);
            } else {
                partitions.remove(local.id);
            }
        }
    }

    /// Where a partition's log is or goes; `None` if it may be in a directory that is offline.
    fn find_place(
        &mut self,
        name: &TopicPartition,
        assigned: Uuid,
        counts: &mut BTreeMap<Uuid, usize>,
    ) -> Option<(Option<FoundLog>, Arc<Directory>)> {
        let found = self.found.take(name, Some(assigned)).filter(|found| found.log_dir.is_online());
        let found_in = found.as_ref().map(|found| Arc::clone(&found.log_dir));
        // Where somebody asked for it before it was here (`LogManager.preferredLogDirs`).
        let asked_for = self.log_dirs.take_preferred(name);
        let log_dir = found_in
            .or_else(|| self.log_dirs.by_id(asked_for?).map(Arc::clone))
            .or_else(|| directories::choose(&self.log_dirs, assigned, counts).map(Arc::clone));
        if log_dir.is_none() {
            tracing::warn!(log = %name, "the log is not made: it may be in a log directory that is offline");
        }
        let log_dir = log_dir?;
        *counts.entry(log_dir.id()).or_default() += 1;
        Some((found, log_dir))
    }

    /// Makes what could not be made before, such as partitions that came while there was no room.
    pub(crate) fn place_missing(
        &mut self,
        partitions: &Partitions,
        settings: &BrokerSettings,
        image: &Image,
        now: Timestamp,
    ) {
        let is_missing = |topic: &&Arc<Topic>| {
            let local = partitions.by_id(topic.id);
            topic.iter().any(|(index, assigned)| {
                assigned.has_replica(settings.node_id) && local.as_ref().is_none_or(|local| local.get(index).is_none())
            })
        };
        let topics: Vec<&Arc<Topic>> = image.topics.iter_by_id().filter(is_missing).collect();
        // Before the first image everything is missing.
        if self.is_settled && !topics.is_empty() {
            self.place(partitions, settings, image, &broker_texts(settings, image), &topics, now);
        }
    }

    /// New partitions of log directories that failed while they were made go elsewhere, if the controller left the choice
    /// to this broker.
    fn place_again(&mut self, openings: Vec<Opening>, counts: &mut BTreeMap<Uuid, usize>) -> Vec<Opening> {
        let is_lost = |opening: &Opening| opening.found.is_none() && !opening.log_dir.is_online();
        let again = openings.into_iter().filter(is_lost).filter_map(|opening| {
            let (found, log_dir) = self.find_place(&opening.name, opening.assigned, counts)?;
            Some(Opening { found, log_dir, ..opening })
        });
        again.collect()
    }

    /// Opens the copy of a partition's log, if one was found; what is of no use goes.
    fn resume_move(&mut self, partition: &Arc<Partition>, now: Timestamp) {
        let name = directories::directory_name(&partition.topic, partition.index);
        for (log_dir, path) in self.found.futures.remove(&name).unwrap_or_default() {
            let is_wanted = log_dir.is_online()
                && log_dir.id() != partition.log_dir().id()
                && owner_of(&path, partition.topic_id) != Owner::Another
                && !self.resumed.iter().any(|(other, ..)| Arc::ptr_eq(other, partition));
            let config = Arc::clone(&partition.settings().log);
            let open = LogOpen {
                recovery_point: Offset(0),
                log_start_offset: Offset(0),
                clean_shutdown: false,
                cleaned_to: None,
                now,
            };
            match is_wanted.then(|| Log::open(&self.files, &path, &config, open)) {
                Some(Ok((log, _))) => self.resumed.push((Arc::clone(partition), log, log_dir)),
                Some(Err(error)) => {
                    tracing::warn!(%partition, %error, "the copy of a log cannot be opened; it is given up");
                    log_dir.fail(&error);
                    self.doomed.push((now, path));
                }
                None => self.doomed.push((now, path)),
            }
        }
    }

    /// The moves that go on.
    pub(crate) fn take_resumed(&mut self) -> Vec<ResumedMove> {
        std::mem::take(&mut self.resumed)
    }

    fn open_all(
        &self,
        settings: &BrokerSettings,
        locals: &[(LocalTopic, TopicSettings)],
        openings: &[Opening],
        now: Timestamp,
    ) -> Vec<(usize, PartitionIndex, Partition)> {
        let open = |opening: &Opening| {
            let (local, topic_settings) = locals.get(opening.topic)?;
            let key = (local.id, opening.index);
            match open_one(&self.log_dirs, &self.files, settings, local, topic_settings, opening, now) {
                Ok(partition) => {
                    if opening.found.is_some() {
                        self.quarantine.remove_opened(key);
                    }
                    Some((opening.topic, opening.index, partition))
                }
                Err(error) => {
                    tracing::error!(partition = %opening.name, %error, "the log cannot be opened; the partition is offline");
                    opening.log_dir.fail(&error);
                    if let Some(found) = opening.found.clone() {
                        self.quarantine.add_unopened(key, opening.name.clone(), found, &error);
                    }
                    None
                }
            }
        };
        let threads = self.recovery_threads.max(1) * self.log_dirs.online().count().max(1);
        if openings.len() < PARALLEL_FROM || threads == 1 {
            return openings.iter().filter_map(open).collect();
        }
        // One after another from a common counter: logs take unequal time to recover.
        let next = AtomicUsize::new(0);
        let work = || {
            let mut opened = Vec::new();
            while let Some(opening) = openings.get(next.fetch_add(1, Ordering::Relaxed)) {
                opened.extend(open(opening));
            }
            opened
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(openings.len())).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
        })
    }

    /// Puts changed topic and broker configs into force.
    fn reconfigure(
        &self,
        partitions: &Partitions,
        settings: &BrokerSettings,
        image: &Image,
        texts: &BTreeMap<String, String>,
        delta: Option<&Delta>,
    ) {
        let Some(delta) = delta else { return };
        let all = delta.configs.iter().any(|resource| resource.kind == ConfigResource::BROKER);
        for topic in image.topics.iter() {
            let resource = ConfigResource::topic(topic.name.clone());
            if !all && !delta.configs.contains(&resource) {
                continue;
            }
            let Some(local) = partitions.by_id(topic.id) else { continue };
            let resolved = TopicSettings::resolve(settings, texts, own_configs(image, &topic.name));
            for partition in local.partitions.iter().flatten() {
                partition.reconfigure(resolved.clone(), settings, self.clock.steady());
            }
        }
    }

    /// Takes a partition out of service and renames its directory; the files go after `file.delete.delay.ms`.
    fn delete(&mut self, partition: &Partition, now: Timestamp) {
        partition.leave().run();
        let (from, log_dir) = {
            let inner = partition.lock();
            self.cleaned_deleted |= inner.log.cleaned_to().is_some();
            (inner.log.directory().to_owned(), Arc::clone(&inner.log_dir))
        };
        let name = directories::directory_name(&partition.topic, partition.index);
        let delay = partition.settings().log.file_delete_delay_ms;
        for (from, log_dir) in std::iter::once((from, log_dir)).chain(partition.drop_future()) {
            if !log_dir.is_online() {
                continue;
            }
            let to = log_dir.path().join(name.delete_name(crate::random::uuid()));
            match RealDisk.rename(&from, &to) {
                Ok(()) => self.doomed.push((Timestamp(now.0.saturating_add(delay)), to)),
                Err(source) => log_dir.fail(&Error::Io { operation: "rename", path: from, source }),
            }
        }
    }

    /// Logs that no image knows are kept, under a name that says so (`LogManager.STRAY_DIR_SUFFIX`).
    fn set_strays_aside(&mut self) {
        let copies = std::mem::take(&mut self.found.futures).into_values().flatten();
        self.doomed.extend(copies.map(|(_, path)| (Timestamp(0), path)));
        for (name, found) in std::mem::take(&mut self.found.logs) {
            for found in found {
                directories::set_aside(&name, &found.log_dir, "no topic of the cluster has it");
            }
        }
    }

    /// Whether the cleaner's checkpoint speaks of logs that were deleted since this was last asked.
    pub(crate) fn take_cleaned_deleted(&mut self) -> bool {
        std::mem::take(&mut self.cleaned_deleted)
    }

    /// The directories whose time has come.
    pub(crate) fn take_doomed(&mut self, now: Timestamp) -> Vec<PathBuf> {
        let (due, left) = std::mem::take(&mut self.doomed).into_iter().partition(|(at, _)| *at <= now);
        self.doomed = left;
        due.into_iter().map(|(_, path)| path).collect()
    }
}

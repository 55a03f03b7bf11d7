//! Faults: drawn one after the other, each undone after a while; and what they may not do, so that "nothing is lost" stays
//! a promise: where a record counts as soon as it is written to the operating system, one node at a time may lose what
//! was not synced.

use milena_metadata::{Image, Partition, Topic};
use milena_replication::Durability;

use crate::node::Node;
use crate::planted::Planted;
use crate::world::{Event, World};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Kill,
    PowerCut,
    /// A call of the disk failed; what it had not synced may or may not be there.
    DiskFailed,
}

/// What ends a fault.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    Cut(Vec<(usize, usize)>),
    Disk(usize),
}

/// Disks that lie, where that is planted.
pub(crate) fn plant_on_disk(node: &Node, planted: Option<Planted>) {
    match planted {
        Some(Planted::MetadataDiskLies) => node.disk.ignore_syncs(Some("__cluster_metadata"), false),
        Some(Planted::DataDiskLies) => node.disk.ignore_syncs(Some("topic-"), false),
        Some(Planted::NamesAreNotSynced) => node.disk.ignore_syncs(None, true),
        _ => {}
    }
}

impl World {
    pub(crate) fn fault(&mut self) {
        if self.is_healing {
            return;
        }
        let next = self.random.between(self.draw.fault_every_ms / 3, self.draw.fault_every_ms * 2);
        self.schedule(self.now + next, Event::Fault);
        let node = self.random.below(self.nodes.len());
        let faults = self.draw.faults.clone();
        match self.random.below(9) {
            0 | 1 if faults.partitions => self.cut_network(),
            2 if faults.kills => self.end_if_bearable(node, End::Kill),
            3 if faults.power_cuts => self.end_if_bearable(node, End::PowerCut),
            4 if faults.power_cuts && self.random.per_mille(200) => self.cut_all_power(),
            4 if faults.disk_failures => self.break_disk(node),
            5 if faults.clean_restarts => {
                let life = self.life_at(node);
                self.schedule(self.now, Event::Leave { node, life });
            }
            6 if faults.pauses => self.pause(node),
            7 if faults.clocks => {
                let jump = self.random.between(-3_600_000, 3_600_000);
                self.nodes.iter().skip(node).take(1).for_each(|node| node.clock.jump(jump));
            }
            8 if faults.slow_disks => {
                let delay = self.random.between(50, 1500);
                self.nodes.iter_mut().skip(node).take(1).for_each(|node| node.disk_delay = delay);
                self.pause_for(node, delay);
            }
            _ => {}
        }
    }

    /// One direction, both, one node from all, or two halves.
    fn cut_network(&mut self) {
        let count = self.nodes.len() + self.clients.len();
        let one = self.random.below(self.nodes.len());
        let mut cut = Vec::new();
        match self.random.below(4) {
            0 => cut.push((one, self.random.below(count))),
            1 => {
                let other = self.random.below(count);
                cut.extend([(one, other), (other, one)]);
            }
            2 => (0..count).for_each(|other| cut.extend([(one, other), (other, one)])),
            _ => {
                let halves: Vec<bool> = (0..count).map(|_| self.random.per_mille(500)).collect();
                for (from, left) in halves.iter().enumerate() {
                    for (to, right) in halves.iter().enumerate() {
                        if left != right {
                            cut.push((from, to));
                        }
                    }
                }
            }
        }
        self.coverage.count("network cuts");
        self.tell(|| format!("cut {cut:?}"));
        self.cut.extend(cut.iter().copied());
        let until = self.now + self.random.between(200, 8000);
        self.schedule(until, Event::Undo(Undo::Cut(cut)));
    }

    fn pause(&mut self, at: usize) {
        let time = self.random.between(100, 6000);
        self.coverage.count("pauses");
        self.tell(|| format!("n{at} pauses for {time}"));
        self.pause_for(at, time);
    }

    fn pause_for(&mut self, at: usize, time: i64) {
        let until = self.now + time;
        if let Some(node) = self.nodes.get_mut(at) {
            node.paused_until = node.paused_until.max(until);
        }
    }

    /// One of the next calls of the disk fails, and perhaps all after it.
    fn break_disk(&mut self, at: usize) {
        if !self.may_end(at, End::DiskFailed) {
            return;
        }
        let (ahead, all) = (self.random.between(1, 60), self.random.per_mille(700));
        if let Some(node) = self.nodes.get_mut(at) {
            let call = node.disk.calls() + u64::try_from(ahead).unwrap_or(1);
            node.disk.fail_call(call, all);
            node.is_breaking = true;
        }
        self.schedule(self.now + 1500, Event::Undo(Undo::Disk(at)));
    }

    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Cut(cut) => cut.iter().for_each(|direction| _ = self.cut.remove(direction)),
            Undo::Disk(at) => {
                if let Some(node) = self.nodes.get_mut(at) {
                    node.disk.fail_call(0, false);
                    node.is_breaking = false;
                }
            }
        }
    }

    fn cut_all_power(&mut self) {
        if self.draw.durability == Durability::Os {
            return;
        }
        self.coverage.count("whole-cluster power cuts");
        for at in 0..self.nodes.len() {
            self.end(at, End::PowerCut);
        }
        // Those that were down before lose what they had not synced, too.
        let planted = self.planted;
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            node.disk = node.disk.cut_power();
            plant_on_disk(node, planted);
        }
    }

    fn end_if_bearable(&mut self, at: usize, how: End) {
        if self.may_end(at, how) {
            self.end(at, how);
        }
    }

    /// Whether nothing that was promised can be lost by it.
    fn may_end(&self, at: usize, how: End) -> bool {
        let Some(node) = self.nodes.get(at).filter(|node| node.process.is_some()) else { return false };
        if self.draw.durability == Durability::Fsync || !node.is_broker {
            return true;
        }
        let others = || self.nodes.iter().filter(|other| other.index != at);
        if others().any(|other| other.is_lossy || other.is_breaking) {
            return false;
        }
        if how == End::Kill {
            return true;
        }
        if others().any(|other| other.is_unclean) {
            return false;
        }
        let decided = self.nodes.iter().filter_map(|node| node.process.as_ref()?.metadata.decided());
        decided.chain([&*self.newest]).all(|image| survives(image, node))
    }

    /// A process ends.
    pub(crate) fn end(&mut self, at: usize, how: End) {
        self.tell(|| format!("n{at} ends: {how:?}"));
        // What a failed call leaves is as after a kill, or as after a power cut if that is bearable now.
        let loses_too = !self.random.per_mille(400) && self.may_end(at, End::PowerCut);
        let durable = self.draw.durability == Durability::Fsync;
        if how == End::Clean {
            // The other voters are told before the process is gone.
            let done: Box<dyn FnOnce() + Send> = Box::new(|| {});
            self.step(at, |process, _, _| process.metadata.handle(milena_broker::hosts::Event::Resign { done }));
        }
        let Some(node) = self.nodes.get_mut(at) else { return };
        let Some(process) = node.process.take() else { return };
        let epoch = process.broker.as_ref().map_or(-1, |broker| broker.epoch);
        node.life += 1;
        node.paused_until = 0;
        node.disk_delay = 0;
        let mut how = how;
        if how == End::Clean {
            let closed = process.broker.is_none_or(|broker| broker.close().is_ok());
            let closed = process.metadata.close().is_ok() && closed;
            if !closed {
                how = End::DiskFailed;
            }
        } else {
            drop(process);
        }
        let loses = match how {
            End::PowerCut => true,
            End::DiskFailed => loses_too,
            End::Clean | End::Kill => false,
        };
        let what = match how {
            End::Clean => "clean ends",
            End::Kill => "kills",
            End::PowerCut => "power cuts",
            End::DiskFailed => "disk failures",
        };
        self.coverage.count(what);
        node.disk.fail_call(0, false);
        if loses {
            node.disk = node.disk.cut_power();
            plant_on_disk(node, self.planted);
        }
        node.is_unclean |= how != End::Clean;
        node.is_lossy |= !durable && loses;
        node.is_breaking = false;
        self.lose_connections(at, epoch, how);
        let back = self.now + self.random.between(50, 6000);
        self.schedule(back, Event::Start { node: at });
    }

    pub(crate) fn start(&mut self, at: usize) {
        let (now, seed) = (self.now, self.random.next());
        let Some(node) = self.nodes.get_mut(at).filter(|node| node.process.is_none()) else { return };
        if node.is_unclean {
            self.coverage.count("unclean starts");
        }
        let started = node.start(&self.draw, self.planted, now, seed);
        self.tell(|| format!("n{at} starts"));
        match started {
            Ok(()) => {
                self.checkers.version += 1;
                self.step(at, |_, _, _| {});
            }
            Err(error) => self.judge(Err(format!("node {at} does not start on a healthy disk: {error}"))),
        }
    }

    /// A broker asks to leave, and ends when the controller lets it.
    pub(crate) fn leave(&mut self, at: usize, life: u32) {
        if self.life_at(at) != life || self.is_healing {
            return;
        }
        if self.nodes.get(at).is_some_and(|node| !node.is_broker) {
            self.end(at, End::Clean);
            return;
        }
        self.step(at, |process, now, _| {
            if let Some(broker) = &mut process.broker {
                broker.leave(now);
            }
        });
    }

    /// No more faults, and everybody comes back.
    pub(crate) fn heal(&mut self) {
        self.tell(|| "heals".to_owned());
        self.is_healing = true;
        self.cut.clear();
        self.broken.clear();
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(at) else { continue };
            node.paused_until = 0;
            node.disk.fail_call(0, false);
            if node.process.is_none() {
                self.schedule(self.now, Event::Start { node: at });
            } else {
                self.step(at, |_, _, _| {});
            }
        }
    }

    /// What is new in the committed metadata.
    pub(crate) fn count_changes(&mut self, image: &Image) {
        let (mut elections, mut shrinks, mut expansions, mut moves) = (0, 0, 0, 0);
        for topic in image.topics.iter_by_id() {
            for (index, after) in topic.iter() {
                let Some(before) = self.newest.topics.partition(topic.id, index) else { continue };
                if std::ptr::eq(&**before, &**after) {
                    continue;
                }
                let has = |partition: &Partition, id| partition.isr.contains(id);
                self.tell(|| {
                    format!(
                        "{}-{index}: leader {} in {} ISR {:?} ELR {:?} last known {:?} replicas {:?} epoch {}",
                        topic.name,
                        after.leader,
                        after.leader_epoch,
                        after.isr,
                        after.eligible_leader_replicas,
                        after.last_known_elr,
                        after.replicas,
                        after.partition_epoch
                    )
                });
                elections += u64::from(after.leader.is_some() && after.leader != before.leader);
                shrinks += u64::from(before.isr.iter().any(|id| !has(after, id)));
                expansions += u64::from(after.isr.iter().any(|id| !has(before, id)));
                moves += u64::from(before.is_reassigning() && !after.is_reassigning());
            }
        }
        self.coverage.add("leader elections", elections);
        self.coverage.add("ISR shrinks", shrinks);
        self.coverage.add("ISR expansions", expansions);
        self.coverage.add("reassignments", moves);
        for node in &mut self.nodes {
            let Some(host) = node.process.as_ref().and_then(|process| process.broker.as_ref()) else { continue };
            if node.is_unclean && host.is_registered_in(image) && is_in_sync_everywhere(image, host.id()) {
                node.is_unclean = false;
                node.is_lossy = false;
            }
        }
    }
}

fn is_in_sync_everywhere(image: &Image, id: milena_types::BrokerId) -> bool {
    let partitions = image.topics.iter_by_id().flat_map(|topic| &topic.partitions);
    partitions.filter(|partition| partition.has_replica(id)).all(|partition| partition.isr.contains(&id))
}

/// Whether every partition keeps somebody who may be elected when this node loses what it has not synced.
fn survives(image: &Image, node: &Node) -> bool {
    let id = node.id();
    let topics = image.topics.iter_by_id().filter(|topic| crate::checkers::is_promised(&topic.name));
    let partitions = topics.flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)));
    partitions.filter(|(_, partition)| partition.has_replica(id)).all(|(topic, partition)| {
        if !needs_two(image, topic) {
            return false;
        }
        let candidates = partition.isr.iter().chain(&partition.eligible_leader_replicas);
        candidates.filter(|other| **other != id).count() >= 1
    })
}

/// With `min.insync.replicas` of 1 a leader alone may acknowledge what nobody else has.
fn needs_two(image: &Image, topic: &Topic) -> bool {
    let resource = milena_metadata::ConfigResource::topic(topic.name.clone());
    image.configs.value(&resource, "min.insync.replicas").is_some_and(|text| &**text != "1")
}

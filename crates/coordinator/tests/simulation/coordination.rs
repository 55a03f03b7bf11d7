//! The coordinator's side of the world: requests arrive, disks are slow or refuse, replicas follow, leaders come and go.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use milena_coordinator::group::{Caller as GroupCaller, GroupEvent, GroupReply, GroupRequest};
use milena_coordinator::runtime::{Coordinator, Effect, Phase, RuntimeConfig, Ticket};
use milena_protocol::messages::OffsetCommitResponse;
use milena_records::{Batch, Codec, Scratch};
use milena_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp};

use crate::checks::answers::Answers;
use crate::cluster::Spot;
use crate::host::{Answer, Caller, Host};
use crate::mistakes::{Mistake, Planted, is_planted};
use crate::wire;
use crate::world::{Event, Request, World};

impl World {
    fn timestamp(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// A replica that has at least what is committed becomes the leader and begins to load.
    pub(crate) fn elect(&mut self) {
        if self.leader.is_some() {
            return;
        }
        let uncommitted = self.log.uncommitted();
        let lost = self.seed.below(uncommitted + 1);
        self.log.lose(lost);
        if lost > 0 {
            self.count("elections that lost records");
        }
        self.last_host += 1;
        let number = self.last_host;
        let config = Arc::new(self.shape.config.clone());
        let machine = Planted::new(config, Arc::clone(&self.cluster.image), self.seed.next());
        let runtime = RuntimeConfig {
            max_batch_bytes: self.shape.max_batch_bytes,
            append_linger_ms: self.shape.linger_ms,
            write_timeout_ms: self.shape.config.offsets_commit_timeout_ms,
            codec: Codec::NONE,
        };
        let host = Host {
            coordinator: Coordinator::new(machine, runtime, LeaderEpoch(i32::try_from(number).unwrap())),
            disk: VecDeque::new(),
            is_disk_busy: false,
            is_deposed: false,
            own_end: Offset(0),
            callers: BTreeMap::new(),
            ticks_at: None,
            lives: self.log.lives.clone(),
        };
        self.hosts.insert(number, host);
        self.leader = Some(number);
        self.tell(|| format!("host {number} leads, {lost} batches are lost"));
        let ms = if self.is_calm { 5 } else { self.seed.delay(20, 2_000) };
        self.at(ms, Event::Loaded(number));
        // Followers may be long in coming to a new leader.
        let ms =
            if self.is_calm || self.seed.one_in(2) { 2 } else { self.seed.between(0, self.shape.replication_ms.1) };
        let upto = self.log.end();
        self.at(ms, Event::Replicate { host: number, upto });
        // Troubles seldom come alone.
        if !self.is_calm && self.seed.one_in(4) {
            let ms = self.seed.between(20, 3_000);
            self.hesitations = usize::MAX / 2;
            self.at(ms, Event::CoordinatorTrouble);
        }
    }

    fn replicate_later(&mut self, host: u64) {
        let (usual, rare) = self.shape.replication_ms;
        let ms = if self.is_calm { 2 } else { self.seed.delay(usual, rare) };
        let upto = self.log.end();
        self.at(ms, Event::Replicate { host, upto });
    }

    pub(crate) fn loaded(&mut self, number: u64) {
        let now = self.timestamp();
        let Some(host) = self.hosts.get_mut(&number).filter(|host| host.coordinator.phase() == Phase::Loading) else {
            return;
        };
        let mut scratch = Scratch::new();
        let high_watermark = self.log.high_watermark;
        for batch in &self.log.batches {
            host.coordinator.load(batch, high_watermark, &mut scratch).unwrap();
        }
        host.coordinator.activate(self.log.end(), now);
        host.coordinator.committed(self.log.high_watermark, now);
        // The image may have changed since the coordinator was made.
        let image = Arc::clone(&self.cluster.image);
        host.coordinator.handle(GroupEvent::Image { image, deleted: Vec::new(), changed: Vec::new() }, now);
        self.count("loads");
        if self.log.high_watermark < self.log.end() {
            self.count("loads with records that are not committed");
        }
        self.settle(number);
    }

    pub(crate) fn arrive(&mut self, request: Request) {
        let Request { slot, process, connection, host, ticket, request } = request;
        // What was on its way when the connection broke is lost.
        let is_open = self
            .slots
            .get(slot)
            .and_then(|slot| slot.member.as_ref())
            .is_none_or(|member| member.process != process || member.connection == connection);
        if !is_open {
            return;
        }
        let caller = Caller::Member { slot, process, connection, commits: wire::commits(&request) };
        if !self.hosts.contains_key(&host) {
            // The node is gone: the connection is refused.
            let error = ErrorCode::NOT_COORDINATOR;
            return self.reply(host, ticket, caller, refusal(&request, error));
        }
        let Some(request) = self.resolve(request) else {
            let nothing = GroupReply::OffsetCommit(Box::default());
            return self.reply(host, ticket, caller, nothing);
        };
        self.ask(host, ticket, caller, request);
    }

    pub(crate) fn ask(&mut self, number: u64, ticket: Ticket, caller: Caller, request: GroupRequest) {
        let now = self.timestamp();
        let Some(host) = self.hosts.get_mut(&number) else { return };
        host.callers.insert(ticket, caller);
        let version = match &request {
            GroupRequest::ConsumerGroupHeartbeat(_) => 1,
            GroupRequest::SyncGroup(_) | GroupRequest::LeaveGroup(_) => 5,
            GroupRequest::Heartbeat(_) => 4,
            GroupRequest::JoinGroup(_) => 9,
            _ => 10,
        };
        let caller = GroupCaller { client_id: "client".into(), client_host: "/127.0.0.1".into(), version };
        host.coordinator.handle(GroupEvent::Request { ticket, caller, request }, now);
        self.settle(number);
    }

    /// Takes topics and partitions out of a commit that are gone, as the host does; `None` if nothing is left.
    fn resolve(&self, request: GroupRequest) -> Option<GroupRequest> {
        let GroupRequest::OffsetCommit(mut commit) = request else { return Some(request) };
        commit.topics.retain_mut(|topic| {
            let Some(known) = self.cluster.image.topics.get(topic.topic_id) else { return false };
            let exists = |index: i32| known.partition(PartitionIndex(index)).is_some();
            topic.partitions.retain(|partition| exists(partition.partition_index));
            !topic.partitions.is_empty()
        });
        (!commit.topics.is_empty()).then_some(GroupRequest::OffsetCommit(commit))
    }

    /// Carries out what a coordinator wants.
    pub(crate) fn settle(&mut self, number: u64) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        host.coordinator.flush_unless_lingering();
        let mut replies = Vec::new();
        while let Some(effect) = host.coordinator.next_effect() {
            match effect {
                Effect::Append { round, batch, .. } => host.disk.push_back((round, batch)),
                Effect::Reply(ticket, reply) => {
                    let caller = host.callers.remove(&ticket);
                    replies.push((ticket, caller, reply));
                }
            }
        }
        let must_write = !host.disk.is_empty() && !host.is_disk_busy;
        host.is_disk_busy |= must_write;
        for (ticket, caller, reply) in replies {
            let result = self.answers.answered(ticket, caller.is_some());
            self.check(result);
            if let Some(caller) = caller {
                self.reply(number, ticket, caller, reply);
            }
        }
        if must_write {
            let (usual, rare) = self.shape.disk_ms;
            let ms = if self.is_calm { 0 } else { self.seed.delay(usual, rare) };
            if ms == 0 { self.disk(number) } else { self.at(ms, Event::Disk(number)) }
        }
        self.schedule_tick(number);
    }

    fn schedule_tick(&mut self, number: u64) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        let Some(deadline) = host.coordinator.next_deadline() else { return };
        if host.ticks_at.is_none_or(|at| at > deadline.0) {
            host.ticks_at = Some(deadline.0);
            let ms = deadline.0 - self.now;
            self.at(ms, Event::Tick(number));
        }
    }

    pub(crate) fn tick(&mut self, number: u64) {
        let now = self.timestamp();
        let Some(host) = self.hosts.get_mut(&number) else { return };
        if host.ticks_at.is_some_and(|at| at <= now.0) {
            host.ticks_at = None;
        }
        host.coordinator.tick(now);
        self.settle(number);
    }

    fn reply(&mut self, number: u64, ticket: Ticket, caller: Caller, reply: GroupReply) {
        let lives = self.hosts.get(&number).map(|host| host.lives.clone());
        let Caller::Member { slot, commits, .. } = &caller else {
            return self.outside(Answer { ticket, caller, reply, lives });
        };
        let slot = *slot;
        if let GroupReply::OffsetCommit(response) = &reply {
            self.acknowledged(slot, commits, response);
        }
        if self.loses() {
            self.count("answers lost");
            if let Some(member) = self.slots.get_mut(slot).and_then(|slot| slot.member.as_mut()) {
                member.connection += 1;
            }
            return;
        }
        let at = self.travel();
        let Some(member) = self.slots.get_mut(slot).and_then(|slot| slot.member.as_mut()) else { return };
        let at = at.max(member.in_at);
        member.in_at = at;
        let ms = at - self.now;
        self.at(ms, Event::Answer(Box::new(Answer { ticket, caller, reply, lives })));
    }

    /// Commits count as acknowledged when the coordinator says so, whenever the member hears it.
    fn acknowledged(&mut self, slot: usize, commits: &[(Spot, i64)], response: &OffsetCommitResponse) {
        let group = self.slots.get(slot).unwrap().group;
        for topic in &response.topics {
            for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
                let spot = (topic.topic_id, partition.partition_index);
                let Some((_, offset)) = commits.iter().find(|(known, _)| *known == spot) else { continue };
                self.count("offsets acknowledged");
                self.tell(|| format!("slot {slot} has committed {offset} of {}-{}", spot.0.0[15], spot.1));
                if self.cluster.end_of(spot).is_some() {
                    let result = self.offsets.acknowledged(group, spot, *offset);
                    self.check(result);
                    let result = self.delivery.is_read_upto(group, spot, *offset);
                    self.check(result);
                }
            }
        }
    }

    /// The disk takes the next batch, or does not.
    pub(crate) fn disk(&mut self, number: u64) {
        let now = self.timestamp();
        let fails = !self.is_calm && self.shape.append_fails > 0 && self.seed.one_in(self.shape.append_fails);
        let Some(host) = self.hosts.get_mut(&number) else { return };
        host.is_disk_busy = false;
        let Some((round, bytes)) = host.disk.pop_front() else { return };
        if host.coordinator.phase() == Phase::Ended {
            return;
        }
        if fails {
            // What follows a failed append is not tried.
            host.disk.clear();
            let errors = [ErrorCode::KAFKA_STORAGE_ERROR, ErrorCode::NOT_ENOUGH_REPLICAS];
            let error = errors.get(self.seed.below(2)).copied().unwrap();
            host.coordinator.appended(round, Err(error), now);
            self.count("appends that failed");
            self.tell(|| format!("host {number} cannot append round {round}: {error:?}"));
            return self.settle(number);
        }
        let batch = Batch::parse(&bytes).unwrap();
        let (first, end) = (batch.header.base_offset, batch.header.next_offset());
        assert!(batch.bytes.len() <= self.shape.max_batch_bytes, "a batch is too large");
        let expected = if host.is_deposed { host.own_end } else { self.log.end() };
        if first != expected {
            self.check(Err(format!("a batch for {first:?} comes where the log ends at {expected:?}")));
            return;
        }
        self.tell(|| format!("host {number} appends {first:?} to {end:?}"));
        let Some(host) = self.hosts.get_mut(&number) else { return };
        host.coordinator.appended(round, Ok(first), now);
        if host.is_deposed {
            host.own_end = end;
            if is_planted(Mistake::DeposedCommits) {
                host.coordinator.committed(end, now);
            }
        } else {
            self.log.batches.push(batch);
            if is_planted(Mistake::CommitsOnAppend) {
                host.coordinator.committed(end, now);
            }
            self.replicate_later(number);
        }
        self.settle(number);
    }

    /// Replicas have the log: the high watermark moves, batch by batch.
    pub(crate) fn replicate(&mut self, number: u64, upto: Offset) {
        if self.leader != Some(number) {
            return;
        }
        while let Some((high_watermark, records)) = self.log.commit_one(upto) {
            let result = self.log_owners.replay(&records);
            self.check(result);
            let now = self.timestamp();
            let Some(host) = self.hosts.get_mut(&number) else { return };
            host.lives = self.log.lives.clone();
            host.coordinator.committed(high_watermark, now);
            self.settle(number);
        }
    }

    pub(crate) fn deposed(&mut self, number: u64) {
        let Some(mut host) = self.hosts.remove(&number) else { return };
        host.coordinator.end(ErrorCode::NOT_COORDINATOR);
        host.disk.clear();
        self.hosts.insert(number, host);
        self.settle(number);
        let Some(host) = self.hosts.remove(&number) else { return };
        self.check(Answers::ended(host.callers.len()));
        self.tell(|| format!("host {number} has heard that it does not lead"));
    }

    pub(crate) fn image(&mut self, number: u64, event: GroupEvent) {
        let now = self.timestamp();
        let Some(host) = self.hosts.get_mut(&number) else { return };
        if host.coordinator.phase() == Phase::Active {
            host.coordinator.handle(event, now);
            self.settle(number);
        }
    }
}

fn refusal(request: &GroupRequest, error: ErrorCode) -> GroupReply {
    use milena_coordinator::group::GroupMachine;
    use milena_coordinator::runtime::Machine;
    let caller = GroupCaller::default();
    let event = GroupEvent::Request { ticket: Ticket(0), caller, request: request.clone() };
    GroupMachine::refused(event, error).remove(0).1
}

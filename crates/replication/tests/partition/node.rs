//! A broker with its replica: the real core, a log of numbers, and the glue that a real broker has in `partitions`.

use milena_replication::{
    AckState, Durability, EpochEnd, Isolation, IsrChange, PartitionConfig, PartitionState, ReadRequest, ReplicaFetch,
    Role, truncation_offset,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp};

use crate::controller::{State, id};
use crate::log::{Entry, Log};
use crate::world::{MIN_INSYNC, Mistake};

/// `replica.lag.time.max.ms`.
const LAG_MAX_MS: i64 = 300;

#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) offset: Offset,
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) broker_epoch: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) asked: Fetch,
    pub(crate) entries: Vec<Entry>,
    pub(crate) high_watermark: Offset,
    pub(crate) diverging: Option<EpochEnd>,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) is_up: bool,
    /// Serves: it has applied the metadata of its own registration.
    pub(crate) is_serving: bool,
    pub(crate) epoch: i64,
    /// How much of the metadata it has applied.
    pub(crate) seen: usize,
    pub(crate) state: PartitionState,
    pub(crate) log: Log,
    /// Offsets and values that wait for an acknowledgement.
    pub(crate) waiting: Vec<(Offset, u64)>,
    pub(crate) truncations: u32,
    durability: Durability,
    mistake: Option<Mistake>,
}

impl Node {
    pub(crate) fn new(node: usize, durability: Durability, mistake: Option<Mistake>) -> Node {
        Node {
            id: node,
            is_up: true,
            is_serving: true,
            epoch: 1,
            seen: 0,
            state: PartitionState::new(config(node, durability), Offset(0), Offset(0)),
            log: Log::default(),
            waiting: Vec::new(),
            truncations: 0,
            durability,
            mistake,
        }
    }

    /// The process ends; a power cut takes some of what was not synced.
    pub(crate) fn crash(&mut self, keep: usize) {
        self.is_up = false;
        self.is_serving = false;
        self.waiting.clear();
        self.log.truncate(keep);
    }

    pub(crate) fn restart(&mut self, epoch: i64) {
        self.is_up = true;
        self.epoch = epoch;
        let high_watermark = self.state.high_watermark();
        self.state = PartitionState::new(config(self.id, self.durability), self.log.end(), high_watermark);
        self.log.synced = self.log.entries.len();
    }

    /// Follows the metadata. Whether it began to lead.
    pub(crate) fn apply(&mut self, metadata: &State, now: Timestamp) -> bool {
        let was_leader = self.state.is_leader();
        let began = self.state.assign(&metadata.assignment, now);
        if began && let Some(start) = self.state.leader_epoch_start_offset() {
            self.log.begin_epoch(metadata.assignment.leader_epoch.0, usize::try_from(start.0).unwrap());
        }
        for (node, epoch) in metadata.epochs.iter().enumerate() {
            self.state.set_registered_epoch(id(node), (!metadata.fenced[node]).then_some(*epoch));
        }
        if self.mistake == Some(Mistake::TruncatesToHighWatermark) && was_leader && !self.state.is_leader() {
            let to = self.state.high_watermark();
            self.cut(to);
        }
        began
    }

    pub(crate) fn produce(&mut self, value: u64, now: Timestamp) -> bool {
        if self.state.check_append(-1).is_err() {
            return false;
        }
        self.log.append(Entry { epoch: self.state.leader_epoch().0, value });
        self.state.on_local_append(self.log.end(), now);
        self.waiting.push((self.log.end(), value));
        true
    }

    /// What is acknowledged by now.
    pub(crate) fn acknowledged(&mut self) -> Vec<(Offset, u64)> {
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for (end, value) in std::mem::take(&mut self.waiting) {
            let state = match self.mistake {
                Some(Mistake::AcknowledgesAtOnce) => AckState::Done(Ok(())),
                _ => self.state.ack_state(end),
            };
            match state {
                AckState::Pending => left.push((end, value)),
                AckState::Done(Ok(())) => done.push((Offset(end.0 - 1), value)),
                AckState::Done(Err(_)) => {}
            }
        }
        self.waiting = left;
        done
    }

    pub(crate) fn sync(&mut self, now: Timestamp) {
        self.log.synced = self.log.entries.len();
        self.state.on_durable(self.log.end(), now);
    }

    /// The next fetch of a follower, and from whom.
    pub(crate) fn fetch(&mut self, now: Timestamp) -> Option<(usize, Fetch)> {
        let Role::Follower { leader } = self.state.role() else { return None };
        let leader = usize::try_from(leader.0).ok()?;
        if self.durability == Durability::Fsync {
            self.sync(now);
        }
        let mut offset = self.log.end();
        if self.mistake == Some(Mistake::FollowerClaimsMore) {
            offset = Offset(offset.0 + 2);
        }
        let (last_epoch, leader_epoch) = (self.log.latest_epoch(), self.state.leader_epoch());
        Some((leader, Fetch { offset, last_epoch, leader_epoch, broker_epoch: self.epoch }))
    }

    /// A follower asks this node.
    pub(crate) fn serve(&mut self, from: usize, asked: &Fetch, now: Timestamp) -> Result<Fetched, ErrorCode> {
        let epoch =
            if self.mistake == Some(Mistake::LeaderIgnoresEpochs) { LeaderEpoch::NONE } else { asked.leader_epoch };
        let request = ReadRequest {
            current_leader_epoch: epoch,
            replica: Some(id(from)),
            leader_only: true,
            isolation: Isolation::LogEnd,
            first_unstable_offset: None,
        };
        self.state.read_bound(&request)?;
        let answer = |node: &Node, entries: Vec<Entry>, diverging| Fetched {
            asked: asked.clone(),
            entries,
            high_watermark: node.state.high_watermark(),
            diverging,
        };
        let ours = if asked.last_epoch.is_some() {
            Some(self.log.end_of(asked.last_epoch).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?)
        } else {
            None
        };
        if let Some(ours) = ours.filter(|ours| ours.epoch < asked.last_epoch || ours.end < asked.offset) {
            return Ok(answer(self, Vec::new(), Some(ours)));
        }
        if asked.offset > self.log.end() && self.mistake != Some(Mistake::FollowerClaimsMore) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let broker_epoch = asked.broker_epoch;
        let fetch =
            ReplicaFetch { replica: id(from), fetch_offset: asked.offset, log_start_offset: Offset(0), broker_epoch };
        self.state.on_replica_fetch(&fetch, now)?;
        let at = usize::try_from(asked.offset.0).unwrap();
        let entries = self.log.entries.iter().skip(at).take(4).copied().collect();
        Ok(answer(self, entries, None))
    }

    /// Takes an answer. An error is something that must never happen.
    pub(crate) fn take(&mut self, from: usize, fetched: Fetched, now: Timestamp) -> Result<(), String> {
        let asked = &fetched.asked;
        let follows =
            self.state.role() == Role::Follower { leader: id(from) } && self.state.leader_epoch() == asked.leader_epoch;
        // The same end may have been reached again on another way: the epoch tells.
        let claims = i64::from(self.mistake == Some(Mistake::FollowerClaimsMore)) * 2;
        let is_next = self.log.end().0 + claims == asked.offset.0 && self.log.latest_epoch() == asked.last_epoch;
        if !follows || !(is_next || self.mistake == Some(Mistake::TakesOldAnswers)) {
            return Ok(());
        }
        if let Some(leader) = fetched.diverging {
            if self.mistake == Some(Mistake::NeverTruncates) {
                return Ok(());
            }
            let own = self.log.end_of(leader.epoch);
            let to = truncation_offset(leader, own, self.log.end());
            if to < self.state.high_watermark() {
                let high_watermark = self.state.high_watermark();
                return Err(format!("node {} cuts to {to}, below its high watermark {high_watermark}", self.id));
            }
            self.cut(to);
            return Ok(());
        }
        for entry in fetched.entries {
            self.log.append(entry);
        }
        self.state.on_local_append(self.log.end(), now);
        self.state.on_leader_high_watermark(fetched.high_watermark);
        Ok(())
    }

    fn cut(&mut self, to: Offset) {
        self.truncations += u32::from(to < self.log.end());
        self.log.truncate(usize::try_from(to.0).unwrap());
        self.state.on_truncate(to);
    }

    pub(crate) fn propose(&mut self, now: Timestamp) -> Option<IsrChange> {
        self.state.propose_isr_change(self.epoch, now)
    }
}

fn config(node: usize, durability: Durability) -> PartitionConfig {
    PartitionConfig {
        local: BrokerId(node as i32),
        durability,
        min_insync_replicas: MIN_INSYNC,
        replica_lag_time_max_ms: LAG_MAX_MS,
    }
}

//! Decisions on their way to being committed: replayed into the controller at once, published and answered when the
//! quorum has them (classes `QuorumController.ControllerWriteEvent` and `DeferredEventQueue`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_controller::{Controller, ControllerSettings, Decision};
use milena_metadata::{Delta, Image, VersionedRecord};
use milena_raft::{AppendError, MAX_BATCH_BYTES};
use milena_storage::Result;
use milena_storage::disk::Disk;
use milena_types::{ErrorCode, Offset};

use super::MetadataLoop;

/// What waits for a commit.
type Waiter = Box<dyn FnOnce(std::result::Result<(), ErrorCode>) + Send>;

/// One decision whose records are in the log or on their way there.
pub(super) struct Proposal {
    /// The offset after its last record.
    end: Offset,
    /// The state with its records.
    image: Image,
    delta: Delta,
    bytes: u64,
    waiters: Vec<Waiter>,
}

impl<D: Disk> MetadataLoop<D> {
    /// Appends a decision's records and answers when they are committed. A decision without records is answered when
    /// all before it are committed, because it may have seen them.
    pub(crate) fn propose<R: Send + 'static>(
        &mut self,
        decision: Decision<R>,
        done: impl FnOnce(std::result::Result<R, ErrorCode>) + Send + 'static,
    ) {
        let Decision { records, response, atomic } = decision;
        let waiter: Waiter = Box::new(move |outcome| done(outcome.map(|()| response)));
        if records.is_empty() {
            match self.proposals.back_mut() {
                Some(last) => last.waiters.push(waiter),
                None => waiter(Ok(())),
            }
            return;
        }
        match self.append(&records, atomic) {
            Ok((base, bytes)) => self.replay_proposal(&records, base, bytes, waiter),
            Err(AppendError::NotLeader) => waiter(Err(ErrorCode::NOT_CONTROLLER)),
            Err(AppendError::TooLarge) => waiter(Err(ErrorCode::UNKNOWN_SERVER_ERROR)),
        }
    }

    /// Queues the records; returns the offset of the first and the size of all.
    fn append(&mut self, records: &[VersionedRecord], atomic: bool) -> std::result::Result<(Offset, u64), AppendError> {
        let now = self.clock.now();
        let base = self.quorum.next_append_offset().ok_or(AppendError::NotLeader)?;
        let values: Vec<Bytes> = records.iter().map(|(record, version)| record.encode(*version)).collect();
        // Nothing is queued of what cannot be queued whole: the controller replays all of it or nothing.
        if values.iter().any(|value| value.len() + 32 > MAX_BATCH_BYTES) {
            return Err(AppendError::TooLarge);
        }
        let mut chunk = Vec::new();
        let (mut chunk_bytes, mut bytes) = (0, 0);
        for value in values {
            let len = value.len() + 32;
            if !atomic && chunk_bytes + len > MAX_BATCH_BYTES {
                self.quorum.append(std::mem::take(&mut chunk), now)?;
                chunk_bytes = 0;
            }
            chunk_bytes += len;
            bytes += len as u64;
            chunk.push(value);
        }
        self.quorum.append(chunk, now)?;
        Ok((base, bytes))
    }

    fn replay_proposal(&mut self, records: &[VersionedRecord], base: Offset, bytes: u64, waiter: Waiter) {
        let epoch = self.quorum.epoch();
        let Some(controller) = &mut self.controller else {
            return waiter(Err(ErrorCode::NOT_CONTROLLER));
        };
        let mut delta = Delta::default();
        let mut end = base;
        for (record, _) in records {
            // INV: what the controller decides from its state can be replayed into that state.
            if let Err(error) = controller.replay(record, end, epoch, &mut delta) {
                panic!("the controller decided what it cannot replay: {error}");
            }
            end = end + 1;
        }
        let image = controller.image().clone();
        self.proposals.push_back(Proposal { end, image, delta, bytes, waiters: vec![waiter] });
    }

    /// Everything below `end` is committed.
    pub(super) fn on_commit(&mut self, end: Offset) -> Result<()> {
        if self.controller.is_some() {
            while self.proposals.front().is_some_and(|proposal| proposal.end <= end)
                && let Some(proposal) = self.proposals.pop_front()
            {
                self.finish(proposal);
            }
            return Ok(());
        }
        self.log.replay_until(end, &mut self.replayer)?;
        self.publish();
        if self.activating.is_some_and(|start| start < end) {
            self.activating = None;
            self.activate();
        }
        Ok(())
    }

    fn finish(&mut self, proposal: Proposal) {
        self.replayer.image = proposal.image;
        self.replayer.delta = proposal.delta;
        self.replayer.next_offset = proposal.end;
        self.replayer.last_epoch = self.quorum.epoch();
        self.replayer.has_records = true;
        self.replayer.bytes_since_snapshot += proposal.bytes;
        self.replayer.last_timestamp = self.clock.now();
        self.publish();
        for waiter in proposal.waiters {
            waiter(Ok(()));
        }
    }

    fn publish(&mut self) {
        if self.replayer.image.is_in_transaction() {
            return;
        }
        let delta = std::mem::take(&mut self.replayer.delta);
        self.published = Arc::new(self.replayer.image.clone());
        self.listener.publish(&self.published, &delta);
    }

    /// Becomes the active controller: all of the log is replayed.
    fn activate(&mut self) {
        let Some(settings) = self.settings.clone() else {
            return;
        };
        let voters = self.quorum.kraft().voters.voters().iter().map(|voter| voter.key.id).collect();
        let settings = ControllerSettings { voters, ..settings };
        let mut controller = Controller::new(settings, self.replayer.image.clone());
        controller.activate(self.uptime());
        let decision = controller.decide_activation(!self.replayer.has_records, &self.bootstrap);
        self.controller = Some(controller);
        self.propose(decision, |_| ());
        tracing::info!(epoch = self.quorum.epoch().0, "this node is the active controller");
        self.sender.leader_changed(Some((self.quorum.config().local.id, Vec::new())));
        // Only once: a broker that registered since is this very process. The directory lock keeps others out.
        if let (Some(broker), Some(controller)) = (self.own_broker.take(), &self.controller) {
            let decision = controller.decide_fence_broker(broker);
            self.propose(decision, |_| ());
        }
    }

    /// Another leads, or nobody: what is not committed may never be.
    pub(super) fn deactivate(&mut self) {
        self.controller = None;
        self.activating = None;
        for proposal in std::mem::take(&mut self.proposals) {
            for waiter in proposal.waiters {
                waiter(Err(ErrorCode::NOT_CONTROLLER));
            }
        }
    }

    /// Time as the controller counts it.
    pub(crate) fn uptime(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.steady().0).unwrap_or(0))
    }
}

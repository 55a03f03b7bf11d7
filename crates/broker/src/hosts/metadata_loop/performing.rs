//! What the quorum wants done, done in its order.

use milena_raft::{Effect, LeaderBatch, Outbound};
use milena_storage::Result;
use milena_storage::disk::Disk;

use super::MetadataLoop;

impl<D: Disk> MetadataLoop<D> {
    /// Performs effects until none is left; one sync covers all appends of a round.
    pub(crate) fn settle(&mut self) -> Result<()> {
        loop {
            self.quorum.drain(&mut self.fx);
            if self.fx.is_empty() {
                self.tell_kraft_version();
                self.send_answers();
                return Ok(());
            }
            let mut appended = false;
            for effect in std::mem::take(&mut self.fx) {
                appended |= self.perform(effect)?;
            }
            if appended {
                let durable = self.log.sync()?;
                self.quorum.on_durable(durable, self.clock.steady(), &mut self.fx);
            }
        }
    }

    /// Returns whether something was appended that must be synced and reported.
    fn perform(&mut self, effect: Effect) -> Result<bool> {
        match effect {
            Effect::WriteQuorumState(state) => self.log.write_election(&state, self.quorum.kraft())?,
            Effect::Append(batches) => {
                self.last_append = self.clock.steady();
                for batch in batches {
                    // The quorum's own time is steady; what is written down is the time of day.
                    self.log.append_batch(&LeaderBatch { timestamp: self.clock.now(), ..batch })?;
                }
                return Ok(true);
            }
            Effect::Truncate(end) => self.log.truncate(end, self.clock.now())?,
            Effect::AppendFetched => self.append_fetched()?,
            Effect::Commit(end) => {
                self.log.on_commit(end);
                self.on_commit(end)?;
            }
            Effect::LeaderChanged { leader, start_offset } => self.on_leader_changed(leader, start_offset),
            Effect::WakeFetches => self.wake_fetches(),
            Effect::Send { to, request } => {
                if matches!(request, Outbound::EndQuorumEpoch { .. }) {
                    self.farewells += 1;
                }
                self.sender.send(to, request);
            }
            Effect::AnswerVoterChange { ticket, error, message } => self.answer_voter_change(ticket, error, message),
        }
        Ok(false)
    }

    /// `kraft.version` is in the quorum's records, not in the image.
    fn tell_kraft_version(&mut self) {
        let level = self.quorum.kraft().kraft_version;
        if self.told_kraft_version != level {
            self.told_kraft_version = level;
            self.listener.kraft_version(level);
        }
    }
}

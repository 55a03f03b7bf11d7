//! Which voters and which kraft.version hold at which place of the log (classes `KRaftControlRecordStateMachine` and
//! `VoterSetHistory`). A control record is in force as soon as it is in the log, committed or not, and no longer when it
//! is cut off.

use milena_types::Offset;

use crate::accumulator::ControlRecord;
use crate::voters::KRaftState;

/// The state at the start of the log and every change in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KRaftHistory {
    /// From the configuration or a snapshot.
    base: KRaftState,
    /// By the offset of the record, ascending.
    changes: Vec<(Offset, KRaftState)>,
}

impl From<KRaftState> for KRaftHistory {
    fn from(base: KRaftState) -> KRaftHistory {
        KRaftHistory { base, changes: Vec::new() }
    }
}

impl KRaftHistory {
    /// What is in force at the end of the log.
    #[must_use]
    pub fn current(&self) -> &KRaftState {
        self.changes.last().map_or(&self.base, |(_, state)| state)
    }

    /// What was in force when the log ended at `end`: what a snapshot that ends there holds.
    #[must_use]
    pub fn at(&self, end: Offset) -> &KRaftState {
        self.changes.iter().rev().find(|(offset, _)| *offset < end).map_or(&self.base, |(_, state)| state)
    }

    /// Notes a control record of the log. Others than the two that matter are passed over.
    pub fn on_control(&mut self, offset: Offset, record: &ControlRecord) {
        let mut state = self.current().clone();
        match record {
            ControlRecord::KRaftVersion(version) => state.kraft_version = *version,
            ControlRecord::KRaftVoters(voters) => {
                state.voters = voters.clone();
                state.voters_offset = Some(offset);
            }
            ControlRecord::LeaderChange { .. } => return,
        }
        self.changes.push((offset, state));
    }

    /// The log was cut to this end.
    pub fn truncate(&mut self, end: Offset) {
        self.changes.retain(|(offset, _)| *offset < end);
    }

    /// The log begins anew behind a snapshot that holds `state`.
    pub fn load(&mut self, state: KRaftState) {
        self.base = state;
        self.changes.clear();
    }

    /// Nothing below `start` will ever be cut.
    pub fn forget_below(&mut self, start: Offset) {
        self.base = self.at(start).clone();
        self.changes.retain(|(offset, _)| *offset >= start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voters::VoterSet;

    fn voters(text: &str) -> VoterSet {
        VoterSet::parse_static(text, "C").unwrap()
    }

    #[test]
    fn what_is_cut_off_is_no_longer_in_force() {
        let base = KRaftState { kraft_version: 1, voters: voters("1@h:1"), voters_offset: None };
        let mut history = KRaftHistory::from(base.clone());
        history.on_control(Offset(5), &ControlRecord::KRaftVoters(voters("1@h:1,2@h:2")));
        history.on_control(Offset(9), &ControlRecord::KRaftVoters(voters("2@h:2")));
        assert_eq!((history.current().voters.voters().len(), history.current().voters_offset), (1, Some(Offset(9))));
        assert_eq!(history.at(Offset(9)).voters.voters().len(), 2);
        assert_eq!(history.at(Offset(5)), &base);
        history.truncate(Offset(9));
        assert_eq!(history.current().voters_offset, Some(Offset(5)));
        history.forget_below(Offset(6));
        history.truncate(Offset(0));
        assert_eq!(history.current().voters_offset, Some(Offset(5)), "what is below the start stays");
    }
}

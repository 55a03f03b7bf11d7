//! The controller as far as one partition needs it: in-sync and eligible replicas (KIP-966), elections in order, the checks of
//! AlterPartition. Each state it reaches is metadata that nodes apply in order, each at its own pace.

use milena_replication::{Assignment, IsrChange};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch};

use crate::world::{MIN_INSYNC, Mistake, NODES};

/// One state of the metadata.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) assignment: Assignment,
    pub(crate) elr: Vec<BrokerId>,
    pub(crate) fenced: [bool; NODES],
    pub(crate) epochs: [i64; NODES],
}

#[derive(Clone, Debug)]
pub(crate) struct Controller {
    pub(crate) states: Vec<State>,
    pub(crate) elections: u32,
    mistake: Option<Mistake>,
}

pub(crate) fn id(node: usize) -> BrokerId {
    BrokerId(node as i32)
}

impl Controller {
    pub(crate) fn new(mistake: Option<Mistake>) -> Controller {
        let replicas: Vec<BrokerId> = (0..NODES).map(id).collect();
        let assignment = Assignment {
            leader: id(0),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            isr: replicas.clone(),
            replicas,
        };
        let state = State { assignment, elr: Vec::new(), fenced: [false; NODES], epochs: [1; NODES] };
        Controller { states: vec![state], elections: 0, mistake }
    }

    pub(crate) fn latest(&self) -> &State {
        self.states.last().unwrap()
    }

    /// The replicas that may be elected without losing anything.
    pub(crate) fn electable(&self) -> Vec<BrokerId> {
        let state = self.latest();
        state.assignment.isr.iter().chain(&state.elr).copied().collect()
    }

    /// A silent broker.
    pub(crate) fn fence(&mut self, node: usize) {
        let mut state = self.latest().clone();
        state.fenced[node] = true;
        self.leave(state, node, false);
    }

    /// A new incarnation, which did not end cleanly.
    pub(crate) fn register(&mut self, node: usize) -> i64 {
        let mut state = self.latest().clone();
        state.epochs[node] = state.epochs.iter().max().unwrap() + 1;
        state.fenced[node] = true;
        let epoch = state.epochs[node];
        self.leave(state, node, self.mistake != Some(Mistake::UncleanStaysEligible));
        epoch
    }

    pub(crate) fn unfence(&mut self, node: usize) {
        let mut state = self.latest().clone();
        state.fenced[node] = false;
        let isr = state.assignment.isr.clone();
        self.commit(state, isr);
    }

    fn leave(&mut self, mut state: State, node: usize, is_unclean: bool) {
        let isr: Vec<BrokerId> = state.assignment.isr.iter().copied().filter(|member| *member != id(node)).collect();
        let mut elr: Vec<BrokerId> = state.elr.iter().chain(&state.assignment.isr).copied().collect();
        let goes = |member: &BrokerId| is_unclean && *member == id(node);
        elr.retain(|member| !isr.contains(member) && !goes(member));
        elr.sort_unstable();
        elr.dedup();
        state.elr = elr;
        self.commit(state, isr);
    }

    fn commit(&mut self, mut state: State, mut isr: Vec<BrokerId>) {
        if isr.len() >= MIN_INSYNC {
            state.elr.clear();
        }
        let alive = |member: &BrokerId| !state.fenced[usize::try_from(member.0).unwrap()];
        let before = state.assignment.leader;
        let qualifies = |member: &BrokerId| {
            (isr.contains(member) || (isr.is_empty() && state.elr.contains(member))) && alive(member)
        };
        let leader = if before.is_some() && qualifies(&before) {
            before
        } else {
            state.assignment.replicas.iter().copied().find(qualifies).unwrap_or(BrokerId::NONE)
        };
        if leader.is_some() && !isr.contains(&leader) {
            isr = vec![leader];
            state.elr.retain(|member| *member != leader);
        }
        if leader != before {
            state.assignment.leader_epoch = LeaderEpoch(state.assignment.leader_epoch.0 + 1);
            self.elections += u32::from(leader.is_some());
        }
        state.assignment.leader = leader;
        state.assignment.isr = isr;
        state.assignment.partition_epoch += 1;
        self.states.push(state);
    }

    /// AlterPartition.
    pub(crate) fn alter(&mut self, from: usize, change: &IsrChange) -> Result<Assignment, ErrorCode> {
        let state = self.latest().clone();
        let known = &state.assignment;
        if change.leader_epoch < known.leader_epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if id(from) != known.leader {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if change.partition_epoch < known.partition_epoch {
            return Err(ErrorCode::INVALID_UPDATE_VERSION);
        }
        let eligible = |(member, epoch): &(BrokerId, i64)| {
            let node = usize::try_from(member.0).unwrap();
            !state.fenced[node] && *epoch == state.epochs[node]
        };
        if !change.new_isr.iter().all(eligible) {
            return Err(ErrorCode::INELIGIBLE_REPLICA);
        }
        let isr = change.new_isr.iter().map(|(member, _)| *member).collect::<Vec<_>>();
        let mut next = state.clone();
        let mut elr: Vec<BrokerId> = state.elr.iter().chain(&known.isr).copied().collect();
        elr.retain(|member| !isr.contains(member));
        elr.sort_unstable();
        elr.dedup();
        next.elr = elr;
        self.commit(next, isr);
        Ok(self.latest().assignment.clone())
    }
}

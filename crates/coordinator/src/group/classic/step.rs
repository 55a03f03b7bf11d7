//! `Step`: one thing that happens to a classic group, with what it may set in motion. The phases of a rebalance are here;
//! the requests that begin and end them in the files beside. Kafka: the classic parts of `GroupMetadataManager`.

use super::group::{ClassicGroup, ClassicState};
use super::member::Member;
use super::record::ClassicRecord;
use crate::group::config::GroupConfig;
use crate::group::context::{Context, Live};
use crate::group::event::GroupReply;
use crate::group::machine::GroupDecision;
use crate::group::state::Group;
use crate::group::timer::Timer;
use crate::runtime::{Ticket, Timers};
use bytes::Bytes;
use milena_protocol::Text;
use milena_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use milena_types::{ErrorCode, Timestamp};
use std::collections::BTreeMap;

/// A group and what its changes touch.
pub(crate) struct Step<'a> {
    pub(crate) group: &'a mut ClassicGroup,
    pub(crate) timers: &'a mut Timers<Timer>,
    pub(crate) config: &'a GroupConfig,
    pub(crate) now: Timestamp,
    pub(crate) out: GroupDecision,
}

/// Makes sure that a classic group of the log is live; says whether there is one.
pub(crate) fn revive(context: &mut Context<'_>, id: &Text) -> bool {
    match context.state.group(id) {
        Some(Group::Classic(record)) => {
            if !context.live.classic.contains_key(id) {
                let group = ClassicGroup::from_record(id.clone(), record);
                context.live.classic.insert(id.clone(), group);
            }
            true
        }
        _ => {
            context.live.classic.remove(id);
            false
        }
    }
}

/// State and protocol type of a classic group, without making it live.
pub(crate) fn glance(context: &Context<'_>, id: &Text, record: &ClassicRecord) -> (ClassicState, Text) {
    match context.live.classic.get(id) {
        Some(group) => (group.state(), group.protocol_type.clone().unwrap_or_default()),
        None => {
            let value = record.value();
            let state = if value.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
            (state, value.protocol_type.clone())
        }
    }
}

/// State and number of members of a classic group, without making it live.
pub(crate) fn state_of(live: &Live, id: &Text, record: &ClassicRecord) -> (ClassicState, usize) {
    match live.classic.get(id) {
        Some(group) => (group.state(), group.member_count()),
        None => match record.value().members.len() {
            0 => (ClassicState::Empty, 0),
            members => (ClassicState::Stable, members),
        },
    }
}

/// A step of a group that is live.
pub(crate) fn step<'a>(context: &'a mut Context<'_>, id: &Text) -> Option<Step<'a>> {
    if !revive(context, id) {
        return None;
    }
    step_of_live(context, id)
}

/// A step of a group that need not be in the log yet.
pub(crate) fn step_of_live<'a>(context: &'a mut Context<'_>, id: &Text) -> Option<Step<'a>> {
    let Live { classic, timers, .. } = &mut *context.live;
    let group = classic.get_mut(id)?;
    Some(Step { group, timers, config: context.config, now: context.now, out: GroupDecision::default() })
}

/// Members of groups that are in the log and that nobody waits for are given a whole session to be heard of.
pub(crate) fn expect_members(context: &mut Context<'_>) {
    let has_members = |group: &Group| matches!(group, Group::Classic(record) if !record.value().members.is_empty());
    let state = context.state;
    for (id, _) in state.iter().filter(|(_, group)| has_members(group)) {
        let Some(mut step) = step(context, id) else { continue };
        for member in step.group.member_ids() {
            if step.timers.get(&step.heartbeat_timer(&member)).is_none() {
                step.reschedule_heartbeat(&member);
            }
        }
    }
}

impl Step<'_> {
    pub(crate) fn heartbeat_timer(&self, member: &Text) -> Timer {
        Timer::ClassicHeartbeat { group: self.group.id.clone(), member: member.clone() }
    }

    fn join_timer(&self) -> Timer {
        Timer::ClassicJoin { group: self.group.id.clone() }
    }

    fn sync_timer(&self) -> Timer {
        Timer::ClassicSync { group: self.group.id.clone() }
    }

    fn after_ms(&self, ms: i32) -> Timestamp {
        Timestamp(self.now.0.saturating_add(i64::from(ms)))
    }

    /// The member was heard of.
    pub(crate) fn reschedule_heartbeat(&mut self, member: &Text) {
        let Some(timeout_ms) = self.group.member(member).map(|member| member.session_timeout_ms) else { return };
        self.reschedule_heartbeat_in(member, timeout_ms);
    }

    pub(crate) fn reschedule_heartbeat_in(&mut self, member: &Text, ms: i32) {
        self.timers.set(self.heartbeat_timer(member), self.after_ms(ms));
    }

    pub(crate) fn reply_join(&mut self, ticket: Ticket, response: JoinGroupResponse) {
        self.out.at_once.push((ticket, GroupReply::JoinGroup(Box::new(response))));
    }

    pub(crate) fn refuse_join(&mut self, ticket: Ticket, member: &Text, error: ErrorCode) {
        let member_id = member.clone();
        self.reply_join(ticket, JoinGroupResponse { error_code: error.0, member_id, ..Default::default() });
    }

    pub(crate) fn reply_sync(&mut self, ticket: Ticket, response: SyncGroupResponse) {
        self.out.at_once.push((ticket, GroupReply::SyncGroup(Box::new(response))));
    }

    /// Answers a member that waits for the generation.
    pub(crate) fn complete_join_of(&mut self, member: &str, response: JoinGroupResponse) -> bool {
        let ticket = self.group.member_mut(member).and_then(|member| member.awaiting_join.take());
        let Some(ticket) = ticket else { return false };
        self.reply_join(ticket, response);
        true
    }

    /// What a member of the generation is told.
    pub(crate) fn generation_answer(&self, member: &Text, with_members: bool) -> JoinGroupResponse {
        let group = &self.group;
        JoinGroupResponse {
            members: if with_members { group.members_for_leader() } else { Vec::new() },
            member_id: member.clone(),
            generation_id: group.generation,
            protocol_name: group.protocol.clone(),
            protocol_type: group.protocol_type.clone(),
            leader: group.leader_or_empty(),
            ..Default::default()
        }
    }

    /// Begins a rebalance if there is none, else ends its join phase if nobody is missing
    /// (`maybePrepareRebalanceOrCompleteJoin`).
    pub(crate) fn rebalance_or_complete_join(&mut self) {
        if self.group.is_in(ClassicState::PreparingRebalance) {
            self.maybe_complete_join();
        } else {
            self.prepare_rebalance();
        }
    }

    /// Ends the join phase if nobody is missing and it is not the first one (`maybeCompleteJoinPhase`).
    pub(crate) fn maybe_complete_join(&mut self) {
        let is_joining = self.group.is_in(ClassicState::PreparingRebalance) && !self.group.is_initial_rebalance();
        if is_joining && self.group.has_all_members_joined() {
            self.complete_join();
        }
    }

    /// Begins the join phase (`prepareRebalance`).
    pub(crate) fn prepare_rebalance(&mut self) {
        if self.group.is_in(ClassicState::CompletingRebalance) {
            self.reset_assignment(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.group.clear_pending_sync();
        self.timers.cancel(&self.sync_timer());
        let is_first = self.group.is_in(ClassicState::Empty);
        if is_first {
            let delay = self.config.group_initial_rebalance_delay_ms;
            let left = (self.group.rebalance_timeout_ms().saturating_sub(delay)).max(0);
            self.group.initial_delay = Some((delay, left));
            self.timers.set(self.join_timer(), self.after_ms(delay));
        }
        self.group.transition_to(ClassicState::PreparingRebalance, self.now);
        if !is_first {
            self.complete_join_or_wait();
        }
    }

    /// `maybeCompleteJoinElseSchedule`.
    fn complete_join_or_wait(&mut self) {
        if self.group.has_all_members_joined() {
            self.complete_join();
        } else {
            self.group.initial_delay = None;
            self.timers.set(self.join_timer(), self.after_ms(self.group.rebalance_timeout_ms()));
        }
    }

    /// The time to join is over. The first rebalance waits on while members keep coming
    /// (`tryCompleteInitialRebalanceElseSchedule`).
    pub(crate) fn join_expired(&mut self) {
        let Some((delay, left)) = self.group.initial_delay.take() else { return self.complete_join() };
        if !self.group.new_member_added || left == 0 {
            return self.complete_join();
        }
        self.group.new_member_added = false;
        let next_delay = self.config.group_initial_rebalance_delay_ms.min(left);
        self.group.initial_delay = Some((next_delay, (left - delay).max(0)));
        self.timers.set(self.join_timer(), self.after_ms(next_delay));
    }

    /// Ends the join phase: who has not come is out, the others are told the generation (`completeClassicGroupJoin`).
    pub(crate) fn complete_join(&mut self) {
        self.timers.cancel(&self.join_timer());
        self.group.initial_delay = None;
        let is_missing = |member: &&Member| member.awaiting_join.is_none() && member.instance_id.is_none();
        let missing: Vec<Text> = self.group.members().filter(is_missing).map(|member| member.id.clone()).collect();
        for member in missing {
            self.group.remove(&member);
            self.timers.cancel(&self.heartbeat_timer(&member));
        }
        if !self.group.elect_joined_leader() && self.group.member_count() > 0 {
            // Only static members are left and none of them came: they get as much time again.
            self.timers.set(self.join_timer(), self.after_ms(self.group.rebalance_timeout_ms()));
            return;
        }
        self.group.init_next_generation(self.now);
        if self.group.is_in(ClassicState::Empty) {
            self.out.records.push(self.group.to_record(&BTreeMap::new()));
            return;
        }
        for member in self.group.member_ids() {
            let response = self.generation_answer(&member, self.group.is_leader(&member));
            self.complete_join_of(&member, response);
            self.reschedule_heartbeat(&member);
            if let Some(member) = self.group.member_mut(&member) {
                member.is_new = false;
            }
            self.group.add_pending_sync(member);
        }
        self.timers.set(self.sync_timer(), self.after_ms(self.group.rebalance_timeout_ms()));
    }

    /// Members that did not synchronize in time are out (`expirePendingSync`).
    pub(crate) fn sync_expired(&mut self) {
        let is_waiting = matches!(self.group.state(), ClassicState::CompletingRebalance | ClassicState::Stable);
        if !is_waiting || self.group.pending_sync().is_empty() {
            return;
        }
        let late: Vec<Text> = self.group.pending_sync().iter().cloned().collect();
        for member in late {
            self.group.remove(&member);
            self.timers.cancel(&self.heartbeat_timer(&member));
        }
        self.prepare_rebalance();
    }

    /// A member has synchronized; once all have nobody waits for more (`removePendingSyncMember`).
    pub(crate) fn has_synchronized(&mut self, member: &Text) {
        self.group.remove_pending_sync(member);
        if self.group.pending_sync().is_empty() {
            self.timers.cancel(&self.sync_timer());
        }
    }

    /// Everyone who waits for an assignment is told why there is none.
    pub(crate) fn reset_assignment(&mut self, error: ErrorCode) {
        for member in self.group.members_mut() {
            member.assignment = Bytes::new();
        }
        self.propagate_assignment(error);
    }

    /// Everyone who waits for an assignment gets it.
    pub(crate) fn set_assignment(&mut self, assignment: &BTreeMap<Text, Bytes>) {
        for member in self.group.members_mut() {
            member.assignment = assignment.get(&member.id).cloned().unwrap_or_default();
        }
        self.propagate_assignment(ErrorCode::NONE);
    }

    fn propagate_assignment(&mut self, error: ErrorCode) {
        let is_fine = error.is_none();
        for id in self.group.member_ids() {
            let Some(member) = self.group.member_mut(&id) else { continue };
            let Some(ticket) = member.awaiting_sync.take() else { continue };
            let assignment = member.assignment.clone();
            let response = SyncGroupResponse {
                error_code: error.0,
                protocol_name: self.group.protocol.clone().filter(|_| is_fine),
                protocol_type: self.group.protocol_type.clone().filter(|_| is_fine),
                assignment,
                ..Default::default()
            };
            self.reply_sync(ticket, response);
            self.reschedule_heartbeat(&id);
        }
    }

    /// A member is gone (`removeMemberAndUpdateClassicGroup`).
    pub(crate) fn remove_and_update(&mut self, member: &Text) {
        self.tell_removed(member);
        self.group.remove(member);
        match self.group.state() {
            ClassicState::Stable | ClassicState::CompletingRebalance => self.rebalance_or_complete_join(),
            ClassicState::PreparingRebalance if self.group.has_all_members_joined() => self.complete_join(),
            ClassicState::PreparingRebalance | ClassicState::Empty => {}
        }
    }

    /// If the member waits for something, it is told that it is nobody any more. (Kafka leaves one that waits for its
    /// assignment without an answer.)
    pub(crate) fn tell_removed(&mut self, member: &Text) {
        let response = JoinGroupResponse { error_code: ErrorCode::UNKNOWN_MEMBER_ID.0, ..JoinGroupResponse::default() };
        self.complete_join_of(member, response);
        if let Some(ticket) = self.group.member_mut(member).and_then(|member| member.awaiting_sync.take()) {
            self.refuse_sync(ticket, ErrorCode::UNKNOWN_MEMBER_ID);
        }
    }

    /// The member waits with this request now. One it waited with before is told to come again; Kafka forgets it.
    pub(crate) fn await_join(&mut self, member: &Text, ticket: Ticket) {
        let before = self.group.member_mut(member).and_then(|member| member.awaiting_join.replace(ticket));
        if let Some(before) = before {
            self.refuse_join(before, member, ErrorCode::REBALANCE_IN_PROGRESS);
        }
    }

    /// As `await_join`, for the assignment.
    pub(crate) fn await_sync(&mut self, member: &Text, ticket: Ticket) {
        let before = self.group.member_mut(member).and_then(|member| member.awaiting_sync.replace(ticket));
        if let Some(before) = before {
            self.refuse_sync(before, ErrorCode::REBALANCE_IN_PROGRESS);
        }
    }

    pub(crate) fn refuse_sync(&mut self, ticket: Ticket, error: ErrorCode) {
        self.reply_sync(ticket, SyncGroupResponse { error_code: error.0, ..SyncGroupResponse::default() });
    }

    /// A member was not heard of in time (`expireClassicGroupMemberHeartbeat`).
    pub(crate) fn heartbeat_expired(&mut self, member: &Text) {
        if self.group.is_pending(member) {
            self.group.remove(member);
            if self.group.is_in(ClassicState::PreparingRebalance) && self.group.has_all_members_joined() {
                self.complete_join();
            }
            return;
        }
        if self.group.member(member).is_some_and(|member| !member.has_satisfied_heartbeat()) {
            self.remove_and_update(member);
        }
    }
}

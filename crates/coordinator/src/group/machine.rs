//! `GroupMachine`: what happens to groups, passed on to the kind of group it is about. Kafka: `GroupCoordinatorShard`.

use super::config::GroupConfig;
use super::context::{Context, Live};
use super::counts::{GroupCounts, GroupSurvey};
use super::error::{Refusal, operation_error};
use super::event::{Caller, GroupEvent, GroupReply, GroupRequest};
use super::memory::MemberMemory;
use super::records::GroupRecord;
use super::state::{Group, Groups};
use super::timer::{After, Timer};
use super::{admin, check, classic, consumer, offsets};
use crate::runtime::{Decision, Machine, Producer, Scope, Ticket};
use bytes::Bytes;
use milena_metadata::Image;
use milena_protocol::messages::{OffsetDeleteResponse, TxnOffsetCommitRequest};
use milena_protocol::{DecodeError, Text};
use milena_types::{ErrorCode, ProducerEpoch, ProducerId, Timestamp};
use std::sync::Arc;

/// A decision about groups.
pub type GroupDecision = Decision<GroupRecord, GroupReply, After>;

/// The groups of one partition, beside what is in the log.
#[derive(Debug)]
pub struct GroupMachine {
    live: Live,
    image: Arc<Image>,
    config: Arc<GroupConfig>,
}

impl GroupMachine {
    /// A machine for a log that is being loaded; `seed` is for the ids of members.
    #[must_use]
    pub fn new(config: Arc<GroupConfig>, image: Arc<Image>, seed: u64) -> GroupMachine {
        GroupMachine { live: Live::new(seed, MemberMemory::default()), image, config }
    }

    /// The same, with a bound on what members may say that holds for all who share it.
    #[must_use]
    pub fn sharing(mut self, memory: MemberMemory) -> GroupMachine {
        self.live.memory = memory;
        self
    }

    /// The same, that counts what happens together with all who share `counts`.
    #[must_use]
    pub fn counting(mut self, counts: GroupCounts) -> GroupMachine {
        self.live.counts = counts;
        self
    }

    /// Adds what there is now to a survey; `state` is this machine's.
    pub fn survey(&self, state: &Groups, survey: &mut GroupSurvey) {
        survey.add(&self.live, state);
    }

    fn with<T>(&mut self, state: &Groups, now: Timestamp, act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut context = Context { state, live: &mut self.live, image: &self.image, config: &self.config, now };
        act(&mut context)
    }
}

impl Machine for GroupMachine {
    type State = Groups;
    type Event = GroupEvent;
    type Reply = GroupReply;
    type After = After;

    fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
        GroupRecord::decode(key, value)
    }

    fn loaded(&mut self, state: &Groups, now: Timestamp) -> GroupDecision {
        self.with(state, now, loaded)
    }

    fn decide(&mut self, state: &Groups, event: GroupEvent, now: Timestamp) -> GroupDecision {
        match event {
            GroupEvent::Request { ticket, caller, request } => {
                self.with(state, now, |context| handle(context, ticket, &caller, request))
            }
            GroupEvent::Image { image, deleted, changed } => {
                self.image = image;
                self.with(state, now, |context| {
                    consumer::image_changed(context, &deleted, &changed);
                    Decision::separable(offsets::topics_deleted(context.state, &deleted))
                })
            }
        }
    }

    fn after(&mut self, state: &Groups, after: After, result: Result<(), ErrorCode>, now: Timestamp) -> GroupDecision {
        let result = result.map_err(operation_error);
        self.with(state, now, |context| run_after(context, after, result))
    }

    fn reverted(&mut self, state: &Groups, now: Timestamp) {
        self.with(state, now, expect_members);
    }

    fn refused(event: GroupEvent, error: ErrorCode) -> Vec<(Ticket, GroupReply)> {
        match event {
            GroupEvent::Request { ticket, request, .. } => vec![(ticket, request.refused(operation_error(error)))],
            GroupEvent::Image { .. } => Vec::new(),
        }
    }

    fn failed(reply: GroupReply, error: ErrorCode) -> GroupReply {
        reply.failed(operation_error(error))
    }

    fn set_steady_ahead(&mut self, ms: i64) {
        self.live.timers.set_steady_ahead(ms);
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.live.timers.next_deadline()
    }

    fn expire(&mut self, state: &Groups, now: Timestamp) -> Option<GroupDecision> {
        let timer = self.live.timers.pop_due(now)?;
        Some(self.with(state, now, |context| expire(context, &timer)))
    }

    fn unloaded(&mut self, error: ErrorCode) -> Vec<(Ticket, GroupReply)> {
        let error = operation_error(error);
        let mut replies = Vec::new();
        for (_, mut group) in std::mem::take(&mut self.live.classic) {
            for member in group.members_mut() {
                replies.extend(member.take_waiting(error));
            }
        }
        replies
    }
}

/// Members are expected from now on.
fn loaded(context: &mut Context<'_>) -> GroupDecision {
    let mut decision = consumer::loaded(context);
    let has_members = |group: &Group| matches!(group, Group::Classic(record) if !record.value().members.is_empty());
    let (state, image) = (context.state, context.image);
    for (id, _) in state.iter().filter(|(_, group)| has_members(group)) {
        let Some(mut step) = classic::step(context, id) else { continue };
        for member in step.group.member_ids() {
            step.reschedule_heartbeat(&member);
        }
        if step.group.member_count() > step.config.group_max_size || consumer::leaves_out(step.group, image) {
            // Members get the chance to commit before some of them are refused, or others get more.
            step.prepare_rebalance();
        }
        decision.extend(step.out);
    }
    schedule_expiry(context);
    decision
}

/// Timers of members that were taken away with records that could not be written are set anew. (Kafka runs the timer of a
/// session whose end could not be written again; the others it forgets.)
fn expect_members(context: &mut Context<'_>) {
    consumer::expect_members(context);
    classic::expect_members(context);
}

fn schedule_expiry(context: &mut Context<'_>) {
    let interval_ms = context.config.offsets_retention_check_interval_ms;
    context.live.set_timer(Timer::Expiry, context.now, interval_ms);
}

fn handle(context: &mut Context<'_>, ticket: Ticket, caller: &Caller, request: GroupRequest) -> GroupDecision {
    match request {
        GroupRequest::JoinGroup(request) => classic::join(context, ticket, caller, &request),
        GroupRequest::SyncGroup(request) => classic::sync(context, ticket, &request),
        GroupRequest::Heartbeat(request) => {
            let response = classic::heartbeat(context, &request);
            let refused = |refusal: Refusal| milena_protocol::messages::HeartbeatResponse {
                error_code: refusal.error.0,
                ..Default::default()
            };
            Decision::reply(ticket, GroupReply::Heartbeat(response.unwrap_or_else(refused)), Vec::new())
        }
        GroupRequest::LeaveGroup(request) => classic::leave(context, ticket, &request),
        GroupRequest::ConsumerGroupHeartbeat(request) => consumer::heartbeat(context, ticket, caller, &request),
        GroupRequest::TxnOffsetCommit(request, guard) => commit_transactional(context, ticket, &request, guard),
        GroupRequest::EndTransaction(end) => {
            let scope = Scope::End(end);
            Decision { scope, ..Decision::reply(ticket, GroupReply::EndTransaction(ErrorCode::NONE), Vec::new()) }
        }
        GroupRequest::OffsetCommit(_) | GroupRequest::OffsetFetch { .. } | GroupRequest::OffsetDelete(_) => {
            handle_offsets(context, ticket, caller, request)
        }
        GroupRequest::ListGroups { .. }
        | GroupRequest::DescribeGroups(_)
        | GroupRequest::DeleteGroups(_)
        | GroupRequest::ConsumerGroupDescribe(_) => handle_admin(context, ticket, caller, request),
    }
}

/// The offsets go into a batch of their own, which is part of the transaction.
fn commit_transactional(
    context: &mut Context<'_>,
    ticket: Ticket,
    request: &TxnOffsetCommitRequest,
    guard: Option<u64>,
) -> GroupDecision {
    let (records, response) = offsets::commit_transactional(context, request)
        .unwrap_or_else(|refusal| (Vec::new(), offsets::refused_transactional(request, refusal.error)));
    context.live.counts.committed(records.len());
    let producer = Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
    let scope = Scope::Transaction { producer, guard };
    Decision { scope, ..Decision::reply(ticket, GroupReply::TxnOffsetCommit(Box::new(response)), records) }
}

fn handle_offsets(context: &mut Context<'_>, ticket: Ticket, caller: &Caller, request: GroupRequest) -> GroupDecision {
    match request {
        GroupRequest::OffsetCommit(request) => {
            let (records, response) = offsets::commit(context, caller, &request)
                .unwrap_or_else(|refusal| (Vec::new(), check::refused_commit(&request, refusal.error)));
            context.live.counts.committed(records.len());
            Decision::reply(ticket, GroupReply::OffsetCommit(Box::new(response)), records)
        }
        GroupRequest::OffsetDelete(request) => {
            let refused = |refusal: Refusal| {
                let error_code = refusal.error.0;
                (Vec::new(), OffsetDeleteResponse { error_code, ..Default::default() })
            };
            let (records, response) = offsets::delete(context, &request).unwrap_or_else(refused);
            context.live.counts.deleted(records.len());
            Decision::reply(ticket, GroupReply::OffsetDelete(response), records)
        }
        GroupRequest::OffsetFetch { group, require_stable } => {
            let reply = match offsets::fetch(context, &group, require_stable) {
                Ok(group) => GroupReply::OffsetFetch(group),
                Err(refusal) => GroupRequest::OffsetFetch { group, require_stable }.refused(refusal.error),
            };
            if require_stable { Decision::reply(ticket, reply, Vec::new()) } else { Decision::at_once(ticket, reply) }
        }
        other => Decision::at_once(ticket, other.refused(ErrorCode::UNKNOWN_SERVER_ERROR)),
    }
}

fn handle_admin(context: &mut Context<'_>, ticket: Ticket, caller: &Caller, request: GroupRequest) -> GroupDecision {
    match request {
        GroupRequest::ListGroups { states, types } => {
            let groups = admin::list(context, &states, &types);
            Decision::at_once(ticket, GroupReply::ListGroups(Ok(groups)))
        }
        GroupRequest::DescribeGroups(groups) => {
            let groups = groups.iter().map(|group| admin::describe(context, group, caller.version)).collect();
            Decision::at_once(ticket, GroupReply::DescribeGroups(groups))
        }
        GroupRequest::DeleteGroups(groups) => {
            let mut records = Vec::new();
            let mut results = Vec::with_capacity(groups.len());
            for group in &groups {
                let (tombstones, result) = admin::delete(context, group);
                records.extend(tombstones);
                results.push(result);
            }
            Decision::reply(ticket, GroupReply::DeleteGroups(results), records)
        }
        GroupRequest::ConsumerGroupDescribe(groups) => {
            let describe = |group: &Text| consumer::describe(context, group);
            let described = groups.iter().map(describe).collect();
            Decision::at_once(ticket, GroupReply::ConsumerGroupDescribe(described))
        }
        other => Decision::at_once(ticket, other.refused(ErrorCode::UNKNOWN_SERVER_ERROR)),
    }
}

fn run_after(context: &mut Context<'_>, after: After, result: Result<(), ErrorCode>) -> GroupDecision {
    match after {
        After::ClassicCreated { group } => {
            let mut decision = GroupDecision::default();
            if let Err(error) = result
                && let Some(mut group) = context.live.classic.remove(&group)
            {
                decision.at_once.extend(group.members_mut().flat_map(|member| member.take_waiting(error)));
            }
            decision
        }
        After::ClassicSync { group, generation, assignment } => {
            let Some(mut step) = classic::step(context, &group) else { return GroupDecision::default() };
            let is_complete = classic::after_sync(&mut step, generation, &assignment, result);
            let out = step.out;
            if is_complete {
                context.live.counts.completed_rebalance();
            }
            out
        }
        After::ClassicReplaced(replaced) => {
            let Some(mut step) = classic::step(context, &replaced.group) else { return GroupDecision::default() };
            classic::after_replaced(&mut step, *replaced, result);
            step.out
        }
    }
}

fn expire(context: &mut Context<'_>, timer: &Timer) -> GroupDecision {
    match timer {
        Timer::ConsumerSession { .. }
        | Timer::ConsumerRebalance { .. }
        | Timer::ConsumerJoin { .. }
        | Timer::ConsumerSync { .. }
        | Timer::ConsumerRefresh { .. } => consumer::expire(context, timer),
        Timer::ClassicHeartbeat { group, .. } | Timer::ClassicJoin { group } | Timer::ClassicSync { group } => {
            let Some(mut step) = classic::step(context, group) else { return GroupDecision::default() };
            match timer {
                Timer::ClassicHeartbeat { member, .. } => step.heartbeat_expired(member),
                Timer::ClassicJoin { .. } => step.join_expired(),
                _ => step.sync_expired(),
            }
            step.out
        }
        Timer::Expiry => {
            schedule_expiry(context);
            Decision::separable(offsets::expire(context))
        }
    }
}

//! What consumer groups do without a request: members that were not heard of or did not revoke in time are thrown out, and
//! expressions are looked up.

use std::sync::Arc;

use milena_protocol::Text;
use milena_types::Timestamp;

use super::member::MemberState;
use super::{fence, subscription};
use crate::group::context::Context;
use crate::group::machine::GroupDecision;
use crate::group::state::Group;
use crate::group::timer::Timer;
use crate::runtime::Decision;

/// A timer of a consumer group is due.
pub(crate) fn expire(context: &mut Context<'_>, timer: &Timer) -> GroupDecision {
    match timer {
        Timer::ConsumerSession { group, member }
        | Timer::ConsumerJoin { group, member }
        | Timer::ConsumerSync { group, member } => fence_member(context, group, member),
        Timer::ConsumerRebalance { group, member } => fence_if_unrevoked(context, group, member),
        Timer::ConsumerRefresh { group } => Decision::records(subscription::refresh_regexes(context, group)),
        Timer::ClassicHeartbeat { .. } | Timer::ClassicJoin { .. } | Timer::ClassicSync { .. } | Timer::Expiry => {
            GroupDecision::default()
        }
    }
}

fn fence_member(context: &mut Context<'_>, group_id: &Text, member_id: &Text) -> GroupDecision {
    let Some(group) = context.state.consumer(group_id) else { return GroupDecision::default() };
    let Some(member) = group.member(member_id) else { return GroupDecision::default() };
    fence::fence(context, group_id, group, &[Arc::clone(member)]).unwrap_or_default()
}

/// A member that revokes keeps its epoch until it has; the timer is taken back when it has, so it is still at it. A static
/// member that has left for now is not hurried.
fn fence_if_unrevoked(context: &mut Context<'_>, group_id: &Text, member_id: &Text) -> GroupDecision {
    let member = context.state.consumer(group_id).and_then(|group| group.member(member_id));
    match member {
        Some(member) if member.state == MemberState::UnrevokedPartitions => fence_member(context, group_id, member_id),
        _ => GroupDecision::default(),
    }
}

/// The log is loaded: every member is given a whole session to be heard of.
pub(crate) fn loaded(context: &mut Context<'_>) -> GroupDecision {
    context.live.consumer.begin(context.image);
    expect_members(context);
    GroupDecision::default()
}

/// Every member that nobody waits for is given a whole session to be heard of, and time to revoke what it must.
pub(crate) fn expect_members(context: &mut Context<'_>) {
    for (group_id, group) in context.state.iter() {
        let Group::Consumer(group) = group else { continue };
        let session_ms = context.config.consumer_timeouts(context.image, group_id).session_timeout_ms;
        for (member_id, member) in group.members.iter() {
            let timer = Timer::ConsumerSession { group: group_id.clone(), member: member_id.clone() };
            expect(context, timer, session_ms);
            if member.state == MemberState::UnrevokedPartitions {
                let timer = Timer::ConsumerRebalance { group: group_id.clone(), member: member_id.clone() };
                expect(context, timer, member.rebalance_timeout_ms);
            }
        }
    }
}

fn expect(context: &mut Context<'_>, timer: Timer, ms: i32) {
    let at = Timestamp(context.now.0.saturating_add(i64::from(ms)));
    context.live.timers.set_if_absent(timer, at);
}

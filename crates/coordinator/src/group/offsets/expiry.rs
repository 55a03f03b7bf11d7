//! Offsets that nobody needs any more, and groups that are left with nothing. Kafka:
//! `GroupCoordinatorShard.cleanupGroupMetadata`, `OffsetMetadataManager.cleanupExpiredOffsets`,
//! `ClassicGroup.offsetExpirationCondition`.

use super::delete::tombstone;
use crate::group::admin::group_tombstones;
use crate::group::classic::{ClassicState, step};
use crate::group::context::Context;
use crate::group::records::GroupRecord;
use crate::group::state::{CommittedOffset, Group, OffsetKey};
use milena_protocol::Text;
use milena_types::Timestamp;
use std::collections::BTreeSet;

/// From when on an offset grows old.
#[derive(Clone, Copy)]
enum Since {
    /// It was committed.
    Commit,
    /// The group lost its last member.
    Empty(Option<Timestamp>),
}

/// The records that remove what expired.
pub(crate) fn expire(context: &mut Context<'_>) -> Vec<GroupRecord> {
    let ids: Vec<Text> = context.state.iter().map(|(id, _)| id.clone()).collect();
    let mut records = Vec::new();
    for id in ids {
        let before = records.len();
        let nothing_left = expire_group(context, &id, &mut records);
        context.live.counts.expired(records.len().saturating_sub(before));
        if nothing_left {
            records.extend(group_tombstones(context, &id));
        }
    }
    records
}

/// Whether nothing is left of the group's offsets.
fn expire_group(context: &mut Context<'_>, id: &Text, records: &mut Vec<GroupRecord>) -> bool {
    let (state, now, retention_ms) = (context.state, context.now, context.config.offsets_retention_ms);
    let has_transaction = state.has_open_transaction(id);
    let topics: BTreeSet<&Text> = state.offsets_of(id).map(|(key, _)| &key.topic).collect();
    if topics.is_empty() {
        return !has_transaction;
    }
    let Some((since, subscribed)) = condition(context, id, &topics) else { return false };
    let mut all_expired = true;
    for (key, offset) in state.offsets_of(id) {
        let keep = subscribed.contains(&key.topic)
            || !is_expired(offset, since, now, retention_ms)
            || has_pending(state, has_transaction, key);
        if keep {
            all_expired = false;
        } else {
            records.push(tombstone(key));
        }
    }
    all_expired && !has_transaction
}

fn has_pending(state: &crate::group::Groups, has_transaction: bool, key: &OffsetKey) -> bool {
    has_transaction && state.has_pending(key)
}

/// From when on offsets of the group grow old, and the topics whose offsets do not; `None` if none do now.
fn condition<'a>(
    context: &mut Context<'_>,
    id: &Text,
    topics: &BTreeSet<&'a Text>,
) -> Option<(Since, BTreeSet<&'a Text>)> {
    let state = context.state;
    if let Some(Group::Consumer(group)) = state.group(id) {
        let subscribed = topics.iter().copied().filter(|topic| group.is_subscribed_to(topic)).collect();
        return Some((Since::Commit, subscribed));
    }
    let was_live = context.live.classic.contains_key(id);
    let answer = classic_condition(context, id, topics);
    if !was_live {
        // Nothing but this look woke it.
        context.live.classic.remove(id);
    }
    answer
}

fn classic_condition<'a>(
    context: &mut Context<'_>,
    id: &Text,
    topics: &BTreeSet<&'a Text>,
) -> Option<(Since, BTreeSet<&'a Text>)> {
    let step = step(context, id)?;
    let group = &step.group;
    let subscribed = topics.iter().copied().filter(|topic| group.is_subscribed_to(topic)).collect();
    let since = if group.protocol_type.is_none() {
        Since::Commit
    } else if group.is_in(ClassicState::Empty) {
        Since::Empty(group.state_timestamp)
    } else if group.subscribed_topics.is_some() && group.is_in(ClassicState::Stable) {
        Since::Commit
    } else {
        return None;
    };
    Some((since, subscribed))
}

fn is_expired(offset: &CommittedOffset, since: Since, now: Timestamp, retention_ms: i64) -> bool {
    if let Some(expires) = offset.expire_timestamp {
        return now >= expires;
    }
    let since = match since {
        Since::Commit => offset.commit_timestamp,
        Since::Empty(since) => since.unwrap_or(offset.commit_timestamp),
    };
    now.0.saturating_sub(since.0) >= retention_ms
}

//! Requests, timers and records of consumer groups.

use crate::group::context::Context;
use crate::group::error::Refusal;
use crate::group::event::Caller;
use crate::group::machine::GroupDecision;
use crate::group::records::GroupRecord;
use crate::group::state::Groups;
use crate::group::timer::Timer;
use milena_protocol::Text;
use milena_protocol::messages::consumer_group_describe_response::DescribedGroup;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::{ErrorCode, TopicId};

/// What consumer groups remember beside the log.
#[derive(Debug, Default)]
pub struct ConsumerLive {}

/// Records to be written and the answer once they are.
pub(crate) type Heartbeat = (Vec<GroupRecord>, ConsumerGroupHeartbeatResponse);

/// ConsumerGroupHeartbeat.
///
/// # Errors
/// Becomes an answer with this error.
pub(crate) fn heartbeat(
    _context: &mut Context<'_>,
    _caller: &Caller,
    _request: &ConsumerGroupHeartbeatRequest,
) -> Result<Heartbeat, Refusal> {
    Err(ErrorCode::UNSUPPORTED_VERSION.into())
}

/// One group of ConsumerGroupDescribe, as committed.
pub(crate) fn describe(_context: &Context<'_>, group_id: &Text) -> DescribedGroup {
    DescribedGroup {
        group_id: group_id.clone(),
        error_code: ErrorCode::UNSUPPORTED_VERSION.0,
        ..DescribedGroup::default()
    }
}

/// A timer of a consumer group is due.
pub(crate) fn expire(_context: &mut Context<'_>, _timer: &Timer) -> GroupDecision {
    GroupDecision::default()
}

/// The log is loaded: timers are set.
pub(crate) fn loaded(_context: &mut Context<'_>) -> GroupDecision {
    GroupDecision::default()
}

/// The cluster changed; the image of the context is the new one.
pub(crate) fn image_changed(_context: &mut Context<'_>, _deleted: &[(Text, TopicId)], _changed: &[TopicId]) {}

/// Makes the change of a record of a consumer group.
pub(crate) fn replay(groups: &mut Groups, record: &GroupRecord) {
    match record {
        GroupRecord::ConsumerGroupMetadata(key, Some(value)) => {
            if let Some(group) = groups.consumer_mut(&key.group_id, true) {
                group.epoch = value.epoch;
                group.metadata_hash = value.metadata_hash;
            }
        }
        GroupRecord::ConsumerGroupMetadata(key, None) => groups.remove_consumer(&key.group_id),
        _ => {}
    }
}

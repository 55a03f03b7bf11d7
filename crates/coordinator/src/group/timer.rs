//! What groups wait for: times that come, and records that become committed.

use super::classic::Member;
use bytes::Bytes;
use milena_protocol::Text;
use std::collections::BTreeMap;

/// The name of a timer. Setting it again moves it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// A classic member, pending or not, must be heard of until then.
    ClassicHeartbeat { group: Text, member: Text },
    /// The join phase of a classic group ends.
    ClassicJoin { group: Text },
    /// Members of a classic group must have synchronized.
    ClassicSync { group: Text },
    /// A consumer member must be heard of until then.
    ConsumerSession { group: Text, member: Text },
    /// A consumer member must have revoked partitions.
    ConsumerRebalance { group: Text, member: Text },
    /// A classic member of a consumer group must join again.
    ConsumerJoin { group: Text, member: Text },
    /// A classic member of a consumer group must synchronize.
    ConsumerSync { group: Text, member: Text },
    /// Something a consumer group left for later: its subscribed expressions are resolved again.
    ConsumerRefresh { group: Text },
    /// Expired offsets and empty groups are removed.
    Expiry,
}

/// What is to be done when records are committed, or will never be.
#[derive(Clone, PartialEq, Debug)]
pub enum After {
    /// A new classic group is in the log; if not, it is forgotten and who waits in it is told.
    ClassicCreated { group: Text },
    /// The assignment of a classic group's generation is in the log.
    ClassicSync { group: Text, generation: i32, assignment: BTreeMap<Text, Bytes> },
    /// A static member of a classic group was replaced while the group was stable.
    ClassicReplaced(Box<Replaced>),
}

/// A static member that came back under another id.
#[derive(Clone, PartialEq, Debug)]
pub struct Replaced {
    pub group: Text,
    pub instance: Text,
    pub new_id: Text,
    /// The member as it was.
    pub(crate) before: Member,
    pub leader_before: Text,
    /// The request is of a version that can be told to keep the assignment.
    pub can_skip_assignment: bool,
}

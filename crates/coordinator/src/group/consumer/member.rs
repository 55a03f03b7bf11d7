//! A member of a consumer group. Kafka: `ConsumerGroupMember`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::Text;
use milena_protocol::messages::consumer_group_current_member_assignment_value::{
    ConsumerGroupCurrentMemberAssignmentValue, TopicPartitions as RecordTopicPartitions,
};
use milena_protocol::messages::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupMemberMetadataValue,
};
use milena_types::Uuid;

/// Partitions with the group epoch at which the member got each.
pub(crate) type PartitionEpochs = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// The epoch of a member that left.
pub(crate) const LEAVE_EPOCH: i32 = -1;
/// The epoch of a static member that left and will come back.
pub(crate) const LEAVE_STATIC_EPOCH: i32 = -2;

/// Where a member stands on the way to its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MemberState {
    /// It has what it shall have at its epoch.
    Stable,
    /// It must give partitions back before it may have the next epoch.
    UnrevokedPartitions,
    /// It has the epoch of its target, but some of its partitions are still with others.
    UnreleasedPartitions,
    /// Written by a later version.
    Unknown,
}

impl MemberState {
    fn from_value(value: i8) -> MemberState {
        match value {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }

    pub(crate) fn value(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => 127,
        }
    }
}

/// One member, as its records have it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) member_id: Text,
    pub(crate) member_epoch: i32,
    pub(crate) previous_member_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) instance_id: Option<Text>,
    pub(crate) rack_id: Option<Text>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) client_id: Text,
    pub(crate) client_host: Text,
    pub(crate) subscribed_topic_names: Arc<BTreeSet<Text>>,
    /// Empty when there is none; records can also have null.
    pub(crate) subscribed_topic_regex: Option<Text>,
    pub(crate) server_assignor: Option<Text>,
    pub(crate) assigned: Arc<PartitionEpochs>,
    pub(crate) pending_revocation: Arc<PartitionEpochs>,
    /// Of a member that speaks the classic protocol.
    pub(crate) classic: Option<Arc<ClassicMemberMetadata>>,
}

impl Member {
    /// A member of which nothing is known (`ConsumerGroupMember.Builder`).
    pub(crate) fn new(member_id: Text) -> Member {
        Member {
            member_id,
            member_epoch: 0,
            previous_member_epoch: -1,
            state: MemberState::Stable,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: -1,
            client_id: Text::default(),
            client_host: Text::default(),
            subscribed_topic_names: Arc::default(),
            subscribed_topic_regex: Some(Text::default()),
            server_assignor: None,
            assigned: Arc::default(),
            pending_revocation: Arc::default(),
            classic: None,
        }
    }

    /// The expression, if the member has one.
    pub(crate) fn regex(&self) -> Option<&Text> {
        self.subscribed_topic_regex.as_ref().filter(|regex| !regex.is_empty())
    }

    /// Whether it has everything it shall have at that epoch.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.member_epoch == target_epoch
    }

    pub(crate) fn uses_classic(&self) -> bool {
        self.classic.is_some()
    }

    /// The protocols of a classic member, in its order.
    pub(crate) fn classic_protocols(&self) -> &[ClassicProtocol] {
        self.classic.as_ref().map_or(&[], |classic| &classic.supported_protocols)
    }

    /// The epoch at which it got a partition, also when it is to give it back.
    pub(crate) fn partition_epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let of = |epochs: &PartitionEpochs| epochs.get(&topic).and_then(|topic| topic.get(&partition)).copied();
        of(&self.assigned).or_else(|| of(&self.pending_revocation))
    }

    /// The next epoch; the present one is remembered.
    pub(crate) fn advance(&mut self, epoch: i32) {
        self.previous_member_epoch = self.member_epoch;
        self.member_epoch = epoch;
    }

    /// With what a metadata record says.
    pub(crate) fn with_metadata(&self, value: &ConsumerGroupMemberMetadataValue) -> Member {
        Member {
            instance_id: value.instance_id.clone(),
            rack_id: value.rack_id.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            subscribed_topic_names: Arc::new(value.subscribed_topic_names.iter().cloned().collect()),
            subscribed_topic_regex: value.subscribed_topic_regex.clone(),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            server_assignor: value.server_assignor.clone(),
            classic: value.classic_member_metadata.clone().map(Arc::new),
            ..self.clone()
        }
    }

    /// With what a current assignment record says.
    pub(crate) fn with_current_assignment(&self, value: &ConsumerGroupCurrentMemberAssignmentValue) -> Member {
        Member {
            member_epoch: value.member_epoch,
            previous_member_epoch: value.previous_member_epoch,
            state: MemberState::from_value(value.state),
            assigned: Arc::new(epochs_of(&value.assigned_partitions, value.member_epoch)),
            pending_revocation: Arc::new(epochs_of(&value.partitions_pending_revocation, value.member_epoch)),
            ..self.clone()
        }
    }

    /// What is left of a member whose current assignment got a tombstone; its metadata's follows.
    pub(crate) fn without_assignment(&self) -> Member {
        Member {
            member_epoch: LEAVE_EPOCH,
            previous_member_epoch: LEAVE_EPOCH,
            assigned: Arc::default(),
            pending_revocation: Arc::default(),
            ..self.clone()
        }
    }
}

/// Records of before 4.2 have no epochs of partitions; the member's stands for them.
fn epochs_of(topics: &[RecordTopicPartitions], member_epoch: i32) -> PartitionEpochs {
    let default = member_epoch.max(0);
    let epochs = topics.iter().map(|topic| {
        let known = topic.assignment_epochs.as_deref().filter(|epochs| epochs.len() == topic.partitions.len());
        let partitions = topic.partitions.iter().copied();
        let epochs = match known {
            Some(known) => partitions.zip(known.iter().copied()).collect(),
            None => partitions.map(|partition| (partition, default)).collect(),
        };
        (topic.topic_id, epochs)
    });
    epochs.collect()
}

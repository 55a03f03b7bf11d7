//! Server-side assignors of the consumer group protocol (KIP-848): who shall own which partition.
//!
//! Pure functions from a group's members, their subscriptions and their present target to the next target. Members come in
//! the order of their ids and topics in the order of theirs, so that equal groups get equal targets. Apache Kafka walks its
//! hash maps in their own order; given the same order, the results are the same (`tests/assignor_oracle.rs`).
//!
//! Kafka's counterparts: `UniformAssignor`, `RangeAssignor`, `GroupSpec`, `SubscribedTopicDescriber`. Neither of Kafka's
//! assignors looks at racks in 4.3.1, though members send theirs; so do these.

mod balancer;
mod heterogeneous;
mod homogeneous;
mod range;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use milena_protocol::Text;
use milena_types::Uuid;

/// Partitions by the id of their topic. No topic is there without a partition.
pub type TopicPartitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// Which members own what, by the place of the member in `GroupSpec::members`.
pub type GroupAssignment = Vec<Arc<TopicPartitions>>;

/// What an assignor knows of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberSpec {
    pub member_id: Text,
    pub instance_id: Option<Text>,
    /// The topics that exist and that the member is subscribed to, by name or by regular expression.
    pub subscribed_topic_ids: Arc<BTreeSet<Uuid>>,
    /// Its present target.
    pub assignment: Arc<TopicPartitions>,
}

/// What an assignor is asked.
pub struct GroupSpec<'a> {
    /// In the order of the member ids.
    pub members: Vec<MemberSpec>,
    /// Whether all members are subscribed to the same topics.
    pub is_homogeneous: bool,
    /// The number of partitions of a topic; `None` when the topic is not there.
    pub partition_count: &'a dyn Fn(Uuid) -> Option<i32>,
}

/// The assignment cannot be made (`PartitionAssignorException`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssignorError(pub String);

impl fmt::Display for AssignorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The assignors a group can ask for by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Spreads all partitions evenly over the members and moves as few as it can.
    Uniform,
    /// Gives each member the same range of every topic, so that equally partitioned topics stay together.
    Range,
}

impl Assignor {
    /// All of them; the first of `group.consumer.assignors` is the default of a cluster.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// The name members ask for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// The next target of every member, in the order of `group.members`.
    ///
    /// # Errors
    ///
    /// When a member is subscribed to a topic that has no partition count.
    pub fn assign(self, group: &GroupSpec<'_>) -> Result<GroupAssignment, AssignorError> {
        if group.members.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Assignor::Uniform if group.is_homogeneous => homogeneous::assign(group),
            Assignor::Uniform => heterogeneous::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}

impl GroupSpec<'_> {
    /// Every member with nothing, the answer when there is nothing to assign.
    fn nothing(&self) -> GroupAssignment {
        let nothing = Arc::new(TopicPartitions::new());
        vec![nothing; self.members.len()]
    }
}

//! The classic protocol: members join, a leader among them assigns, everyone synchronizes. Kafka: `ClassicGroup`, the
//! classic parts of `GroupMetadataManager`.

mod group;
mod join;
mod member;
mod record;
mod step;
mod sync;

pub(crate) use group::{CONSUMER_PROTOCOL_TYPE, ClassicGroup, ClassicState};
pub(crate) use join::{after_replaced, join};
pub(crate) use member::{Member, Protocol};
pub use record::ClassicRecord;
pub(crate) use step::{Step, expect_members, glance, state_of, step, step_of_live};
pub(crate) use sync::{after_sync, heartbeat, leave, sync};

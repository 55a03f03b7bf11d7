//! The consumer group protocol (KIP-848), where the coordinator assigns. Kafka: `ConsumerGroup`, the consumer parts of
//! `GroupMetadataManager`.
//!
//! The records of consumer groups are kept as they come; requests are refused as Kafka refuses them while
//! `group.version` is 0.

mod group;
mod protocol;

pub use group::ConsumerGroup;
pub use protocol::ConsumerLive;
pub(crate) use protocol::{describe, expire, heartbeat, image_changed, loaded, replay};

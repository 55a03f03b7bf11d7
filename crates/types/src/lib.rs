//! Ids and quantities of Kafka as newtypes. Nothing here decides anything and nothing here does IO.

mod error_code;
mod quantity;
mod uuid;

pub use error_code::ErrorCode;
pub use quantity::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp};
pub use uuid::{ParseUuidError, Uuid};

/// The id of a topic (KIP-516).
pub type TopicId = Uuid;

//! The classic protocol: members join, a leader among them assigns, everyone synchronizes. Kafka: `ClassicGroup`, the
//! classic parts of `GroupMetadataManager`.

mod record;

pub use record::ClassicRecord;

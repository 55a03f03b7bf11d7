//! The small text files of a log directory and of a partition, Kafka's to the byte. Each submodule is a format: pure
//! text in, values out, plus the IO that replaces the file at once.

mod clean_shutdown;
mod committed;
mod lines;
mod meta_properties;
mod offsets;
mod partition_metadata;
mod quorum_state;
mod snapshot_file;

pub use clean_shutdown::CleanShutdown;
pub use committed::{COMMITTED, Committed};
pub(crate) use lines::write_epochs_unsynced;
pub use lines::{read_epochs, write_epochs};
pub use meta_properties::{META_PROPERTIES, MetaProperties};
pub use offsets::{
    CLEANER_OFFSET_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT,
};
pub(crate) use offsets::{read_offsets, write_offsets};
pub use partition_metadata::{PARTITION_METADATA, is_damaged_id, read_topic_id, write_topic_id};
pub use quorum_state::{QUORUM_STATE, QuorumState};
pub use snapshot_file::{SnapshotId, SnapshotWriter, list_snapshots, open_snapshot, remove_snapshot};

//! Committed offsets. Kafka: `OffsetMetadataManager`.

mod commit;
mod delete;
mod expiry;
mod fetch;
mod transactional;

pub(crate) use commit::commit;
pub(crate) use delete::{delete, delete_all, topics_deleted};
pub(crate) use expiry::expire;
pub(crate) use fetch::fetch;
pub(crate) use transactional::{commit_transactional, refused_transactional};

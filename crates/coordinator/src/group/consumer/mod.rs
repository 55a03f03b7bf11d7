//! The consumer group protocol (KIP-848), where the coordinator assigns. Kafka: `ConsumerGroup`, the consumer parts of
//! `GroupMetadataManager`.
//!
//! - `state.rs`, `member.rs`: what the records amount to; `replay.rs` is the only writer; `record.rs` writes records.
//! - `heartbeat.rs`: a heartbeat from its checks to its answer. On its way: `subscription.rs` (what members want and
//!   whether that changed, `metadata_hash.rs`, `regex.rs`), `target.rs` (who shall have what), `reconcile.rs` (how one
//!   member gets there).
//! - `fence.rs`: members that leave or are thrown out.
//! - `timers.rs`: what happens without a request. `live.rs`: what is not in the log.
//! - `classic_member.rs`: members that speak the classic protocol, `embedded.rs` what they say; `migration.rs`: groups that
//!   change their kind. `bridge.rs`: what offsets and the rest ask.
//! - `describe.rs`: ConsumerGroupDescribe.

mod bridge;
mod classic_member;
mod describe;
mod embedded;
mod fence;
mod heartbeat;
mod live;
mod member;
mod metadata_hash;
mod migration;
mod re2;
mod reconcile;
mod record;
mod regex;
mod replay;
mod state;
mod subscription;
mod target;
mod timers;

pub(crate) use bridge::{leaves_out, tombstones, validate_commit, validate_fetch};
pub(crate) use classic_member::{classic_heartbeat, classic_join, classic_leave, classic_sync};
pub(crate) use describe::describe;
pub use heartbeat::check_heartbeat;
pub(crate) use heartbeat::heartbeat;
pub use live::ConsumerLive;
pub(crate) use live::image_changed;
pub(crate) use replay::replay;
pub use state::{ConsumerGroup, ConsumerGroupState};
pub(crate) use timers::{expect_members, expire, loaded};

//! Consumer groups and their committed offsets (`__consumer_offsets`).
//!
//! How a kind of group plugs in:
//! - its records are variants of `GroupRecord` (`records.rs`);
//! - its replicated state is a variant of `Group` (`state.rs`), changed only in its `replay`;
//! - its requests are functions of `Context` (`context.rs`): state by `&`, what is forgotten on a move by `&mut`, the
//!   cluster's image, the settings, the time. They answer with records and a response, or a `Refusal`;
//! - its timers are variants of `Timer` (`timer.rs`); `machine.rs` passes what is due to its `expire`.
//!
//! Records and requests handed to these functions own their bytes: nothing here keeps a whole frame or log batch alive.

mod admin;
mod check;
mod classic;
mod config;
mod consumer;
mod context;
mod counts;
mod error;
mod event;
pub mod java;
mod machine;
mod memory;
mod offsets;
mod random;
mod records;
mod state;
mod timer;

pub use classic::ClassicRecord;
pub use config::{Bounded, ConsumerTimeouts, GroupConfig, MigrationPolicy};
pub use consumer::{ConsumerGroup, ConsumerGroupState, ConsumerLive, check_heartbeat};
pub use context::{Context, Live};
pub use counts::{GroupCounts, GroupSurvey};
pub use error::{Refusal, operation_error};
pub use event::{Caller, GroupEvent, GroupReply, GroupRequest};
pub use machine::{GroupDecision, GroupMachine};
pub use memory::MemberMemory;
pub use random::Random;
pub use records::GroupRecord;
pub use state::{CommittedOffset, Group, Groups, OffsetKey};
pub use timer::{After, Timer};

//! One partition's replication, pure: roles, leader epochs, in-sync replicas, the high watermark, what may be read and
//! when an `acks=all` produce is done; and the fetch session cache (KIP-227).

mod fetch_plan;
mod fetch_session;
mod follower;
mod isr;
mod isr_changes;
mod lease;
mod partition;
mod read_bound;
mod read_replica;
mod replica;
mod throttle;

pub use fetch_plan::{FetchPlan, FetchSessionClient, PartitionKey, SessionChanges};
pub use fetch_session::{
    CacheLimits, FetchContext, FetchSessionCache, FetchedPartition, PartitionOutcome, RequestedPartition,
    SessionRequest, SessionResult, TopicKey,
};
pub use follower::{EpochEnd, OutOfRange, after_out_of_range, truncation_offset};
pub use isr::{IsrChange, IsrReply, IsrState};
pub use lease::{Blessing, Lease};
pub use partition::{AckState, Assignment, Durability, PartitionConfig, PartitionState, Role};
pub use read_bound::{Isolation, ReadBound, ReadRequest};
pub use replica::{Replica, ReplicaFetch};
pub use throttle::Throttle;

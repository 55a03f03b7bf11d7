//! What runs the pure cores of the control plane: the metadata log, the quorum, the controller, and the broker's life
//! in the cluster. One thread owns all of them; callers hand it events and are called back.

mod broker_lifecycle;
mod controller_service;
mod coordinators;
pub(crate) mod description;
mod groups;
mod metadata_log;
mod metadata_loop;
mod network_sender;
mod peers;
mod raft_requests;
mod raft_wire;
mod remote_controller;
mod replayer;
mod transactions;

pub(crate) use broker_lifecycle::ask;
pub use broker_lifecycle::{BrokerIdentity, BrokerLifecycle, JoinError, LifecycleTimes, MetadataOffset};
pub use controller_service::ControllerService;
pub(crate) use coordinators::RuntimeCells;
pub(crate) use groups::{
    GroupCoordinators, OFFSETS_TOPIC, Survey as GroupsSurvey, listed as listed_groups, partition_of as group_partition,
};
pub use metadata_log::MetadataLog;
pub(crate) use metadata_loop::BesideThread;
pub use metadata_loop::{
    Beside, Event, Job, MetadataError, MetadataHandle, MetadataInbox, MetadataListener, MetadataParts, PeerAnswer,
    PeerRequest, PeerResponse, RaftSender, SteppedMetadata, answer_event, metadata_channel, snapshot_piece,
    start_metadata,
};
pub use network_sender::{ActiveController, LeaderWatch, NetworkSender, SenderSettings};
#[cfg(test)]
pub(crate) use peers::Connection;
pub(crate) use peers::{Address, Link};
pub use raft_requests::{RaftDone, RaftRequest, RaftResponse};
pub use remote_controller::RemoteController;
pub(crate) use transactions::{
    Query, TRANSACTION_TOPIC, TransactionCoordinators, Verified, ask_coordinator,
    partition_of as transaction_partition, run_errands,
};

//! The KRaft quorum (KIP-595, 630, 853, 996) as a pure core: told the time and what happened, it answers with effects.

mod accumulator;
mod effect;
mod election_state;
mod encode;
mod epochs;
mod fetched;
mod identity;
mod kraft_history;
mod leader;
mod planted;
mod quorum;
mod replies;
mod role;
#[cfg(test)]
mod simulation;
mod snapshot;
mod voters;

pub use accumulator::{BatchContent, ControlRecord, LeaderBatch, MAX_BATCH_BYTES};
pub use effect::{Destination, Effect, FetchOut, Outbound, SnapshotFetchOut, VoteOut};
pub use election_state::ElectionState;
pub use encode::{CodecError, LogRecord, decode_batch};
pub use epochs::{EpochCache, Validity};
pub use fetched::Fetched;
pub use identity::{Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey};
pub use kraft_history::KRaftHistory;
pub use leader::ReplicaProgress;
pub use quorum::{AppendError, Boot, Quorum, QuorumConfig};
pub use replies::{
    AddVoterAsk, BeginEpochAsk, EndEpochAsk, FetchAnswer, FetchAsk, FetchVerdict, LeaderNews, PlainAnswer,
    PlainRequest, QuorumDescription, SnapshotAsk, Ticket, UpdateVoterAsk, VoteAnswer, VoteAsk, VoteReply,
};
pub use role::RoleName;
pub use snapshot::{SnapshotBuilder, SnapshotPolicy};
pub use voters::{KRaftState, ParseVoterError, Voter, VoterSet};

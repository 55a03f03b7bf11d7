//! What the simulated members say to each other. A message carries what it answers, so that a doubled or late answer is
//! told from the right one by the core alone.

use milena_types::{BrokerId, ErrorCode};

use super::disk::{Entry, Snapshot};
use crate::effect::{Destination, FetchOut, Outbound, SnapshotFetchOut};
use crate::identity::Endpoint;
use crate::replies::{FetchAnswer, LeaderNews, PlainRequest, VoteReply};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) from: i32,
    pub(super) to: i32,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Request { correlation: u64, request: Outbound },
    Vote { pre_vote: bool, reply: VoteReply, endpoints: Vec<Endpoint> },
    Plain { kind: PlainRequest, error: ErrorCode, news: LeaderNews },
    Fetch { correlation: u64, asked: FetchOut, answer: FetchAnswer, endpoints: Vec<Endpoint>, entries: Vec<Entry> },
    Snapshot { asked: SnapshotFetchOut, error: ErrorCode, news: LeaderNews, snapshot: Option<Snapshot> },
    ApiVersions,
}

/// Where member `id` listens.
pub(super) fn endpoint(id: i32) -> Endpoint {
    Endpoint { listener: "C".to_owned(), host: format!("n{id}"), port: 1 }
}

/// The member a request is for; `None` if any will do.
pub(super) fn target(to: &Destination) -> Option<BrokerId> {
    match to {
        Destination::Node { id, .. } => Some(*id),
        Destination::AnyBootstrapServer => None,
    }
}

//! The quorum's questions and answers as the wire's messages, and back. All are about one partition,
//! `__cluster_metadata-0`, whose topic id is fixed (`Uuid.METADATA_TOPIC_ID`).

mod elections;
mod fetch;
mod snapshot;
mod voters;

pub(crate) use elections::{
    begin_epoch_answer, begin_epoch_ask, begin_epoch_request, begin_epoch_response, end_epoch_answer, end_epoch_ask,
    end_epoch_request, end_epoch_response, vote_answer, vote_ask, vote_request, vote_response,
};
pub(crate) use fetch::{fetch_answer, fetch_ask, fetch_request, fetch_response};
pub(crate) use snapshot::{snapshot_answer, snapshot_ask, snapshot_request, snapshot_response};
pub(crate) use voters::{
    add_voter_ask, add_voter_request, kraft_version_range, remove_voter_key, remove_voter_request, update_voter_answer,
    update_voter_ask, update_voter_request, update_voter_response,
};

use milena_protocol::Text;
use milena_raft::{Endpoint, LeaderAndEpoch, LeaderNews, VoterSet};
use milena_types::{BrokerId, LeaderEpoch, Offset};

/// The topic of the metadata log.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) fn leader_id(leader: LeaderAndEpoch) -> i32 {
    leader.leader.unwrap_or(BrokerId::NONE).0
}

/// Who leads, as an answer says.
fn told_leader(id: i32, epoch: i32) -> LeaderAndEpoch {
    LeaderAndEpoch { leader: Some(BrokerId(id)).filter(|id| id.is_some()), epoch: LeaderEpoch(epoch) }
}

/// The same with where the leader listens: of the nodes of an answer, by id, host and port, the one that leads. Answers
/// name the listener that was asked on, which is the one of `listener`'s name here.
fn news(leader: LeaderAndEpoch, nodes: impl Iterator<Item = (i32, Text, i32)>, listener: &str) -> LeaderNews {
    let endpoints = nodes.filter(|(id, ..)| Some(BrokerId(*id)) == leader.leader).filter_map(|(_, host, port)| {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| Endpoint { listener: listener.to_owned(), host: host.to_string(), port })
    });
    LeaderNews { leader, endpoints: endpoints.collect() }
}

fn is_metadata(name: &Text, partitions: usize) -> bool {
    &**name == METADATA_TOPIC && partitions == 1
}

/// Whether a request names another cluster than ours. Requests may leave the name out.
pub(crate) fn is_other_cluster(named: Option<&Text>, ours: &str) -> bool {
    named.is_some_and(|named| &**named != ours)
}

/// What the leader knows when it answers.
pub(crate) struct LeaderView<'a> {
    pub(crate) leader: LeaderAndEpoch,
    /// Where the leader listens; none if only the voters may say.
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) voters: &'a VoterSet,
    pub(crate) listener: &'a str,
    pub(crate) log_start_offset: Offset,
    pub(crate) high_watermark: Offset,
}

impl LeaderView<'_> {
    /// Where the leader listens, by the name of the listener the request came in on.
    fn endpoint(&self) -> Option<(i32, &Endpoint)> {
        let leader = self.leader.leader?;
        let known = Some(self.endpoints).filter(|known| !known.is_empty());
        let endpoints = known.or_else(|| self.voters.get(leader).map(|voter| voter.endpoints.as_slice()))?;
        let named = endpoints.iter().find(|endpoint| endpoint.listener == self.listener);
        Some((leader.0, named.or(endpoints.first())?))
    }
}

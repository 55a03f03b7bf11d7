//! A follower whose offset is not in its leader's log asks where that log begins and ends
//! (`AbstractFetcherThread.fetchOffsetAndTruncate`).

use crate::broker::Broker;
use crate::hosts::{Address, Link};
use milena_protocol::messages::ListOffsetsRequest;
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use milena_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};
use std::io;
use std::time::Duration;

/// `ListOffsetsRequest.LATEST_TIMESTAMP`.
const LATEST: i64 = -1;

/// `ListOffsetsRequest.EARLIEST_TIMESTAMP`.
const EARLIEST: i64 = -2;

/// Of which partition the ends are asked.
pub(super) struct Asked<'a> {
    pub(super) topic: &'a str,
    pub(super) index: PartitionIndex,
    pub(super) leader_epoch: LeaderEpoch,
}

/// Where the leader's log begins and ends.
pub(super) async fn leader_range(
    broker: &Broker,
    link: &mut Link,
    address: &Address,
    asked: &Asked<'_>,
) -> io::Result<(Offset, Offset)> {
    let end = one_end(broker, link, address, asked, LATEST).await?;
    let start = one_end(broker, link, address, asked, EARLIEST).await?;
    Ok((start, end))
}

async fn one_end(
    broker: &Broker,
    link: &mut Link,
    address: &Address,
    asked: &Asked<'_>,
    timestamp: i64,
) -> io::Result<Offset> {
    let partition = ListOffsetsPartition {
        partition_index: asked.index.0,
        current_leader_epoch: asked.leader_epoch.0,
        timestamp,
        ..ListOffsetsPartition::default()
    };
    let topic =
        ListOffsetsTopic { name: asked.topic.into(), partitions: vec![partition], ..ListOffsetsTopic::default() };
    let request = ListOffsetsRequest {
        replica_id: broker.settings.node_id.0,
        topics: vec![topic],
        ..ListOffsetsRequest::default()
    };
    let patience = Duration::from_millis(u64::try_from(broker.settings.replication.socket_timeout_ms).unwrap_or(0));
    let client_id = super::fetcher::client_id(broker);
    let answer = link.ask(address, &client_id, patience, &request, Duration::ZERO).await?;
    let found = answer.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let found = found.ok_or_else(|| io::Error::other("the leader said nothing of the partition"))?;
    match ErrorCode(found.error_code) {
        ErrorCode::NONE => Ok(Offset(found.offset)),
        error => Err(io::Error::other(error.to_string())),
    }
}

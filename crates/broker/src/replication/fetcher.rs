//! One fetcher: copies everything that is followed from one leader, over one connection, one request at a time
//! (`ReplicaFetcherThread`). A response is appended before the next request says so, which is the acknowledgement; with
//! `milena.durability=fsync` it is on disk before.

use super::following::Targets;
use super::out_of_range::{Asked, leader_range};
use super::requests::{fetch_request, requested};
use crate::broker::Broker;
use crate::hosts::{Address, Link};
use crate::partitions::{Fetched, FollowerProblem, Taken};
use milena_protocol::messages::FetchResponse;
use milena_protocol::messages::fetch_response::PartitionData;
use milena_replication::{
    Durability, FetchPlan, FetchSessionClient, PartitionKey, RequestedPartition, after_out_of_range,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long metadata may take from one broker to another, about.
const METADATA_LAG_MS: i64 = 50;

/// Between two looks whether a throttled replica may go on.
const THROTTLED_MS: i64 = 100;

/// What other brokers see as the client of this one's fetchers.
pub(super) fn client_id(broker: &Broker) -> String {
    format!("broker-{}-fetcher-0", broker.settings.node_id)
}

/// Follows `leader` until the broker stops.
pub(super) async fn run(broker: Arc<Broker>, leader: BrokerId, mut stopped: watch::Receiver<bool>) {
    let mut changed = broker.following().watch();
    let mut fetcher = Fetcher {
        broker,
        leader,
        link: Link::default(),
        plan: FetchPlan::default(),
        session: FetchSessionClient::default(),
        in_sync: BTreeSet::new(),
        stopped: stopped.clone(),
    };
    loop {
        changed.mark_unchanged();
        let targets = fetcher.broker.following().of(leader);
        fetcher.plan.follow(&targets.iter().map(|(key, target)| (*key, target.leader_epoch)).collect());
        let next = fetcher.step(&targets).await;
        if *stopped.borrow() {
            return;
        }
        match next {
            Next::Now => {}
            Next::When(time) => {
                tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    _ = changed.changed() => {}
                    _ = stopped.changed() => return,
                }
            }
        }
    }
}

/// When to look again.
enum Next {
    Now,
    /// After this time, or when something else is to be followed.
    When(Duration),
}

struct Fetcher {
    broker: Arc<Broker>,
    leader: BrokerId,
    link: Link,
    plan: FetchPlan,
    session: FetchSessionClient,
    /// The partitions that had all of their leader's records at the last answer: these are never throttled.
    in_sync: BTreeSet<PartitionKey>,
    /// Ends waiting for the leader, but nothing that writes.
    stopped: watch::Receiver<bool>,
}

/// What an exchange asked for, with the epochs it asked in.
type Wanted = BTreeMap<PartitionKey, RequestedPartition>;

impl Fetcher {
    fn backoff(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.broker.settings.replication.fetch_backoff_ms).unwrap_or(0))
    }

    fn until(&self) -> Timestamp {
        let backoff = i64::from(self.broker.settings.replication.fetch_backoff_ms);
        Timestamp(self.broker.steady().0.saturating_add(backoff))
    }

    /// When a leader will have caught up with the metadata that this broker has.
    fn soon(&self) -> Timestamp {
        Timestamp(self.broker.steady().0.saturating_add(METADATA_LAG_MS)).min(self.until())
    }

    fn address(&self) -> Option<Address> {
        let listener = &self.broker.settings.replication.inter_broker_listener_name;
        let (endpoint, _) = self.broker.endpoint_of(self.leader, listener)?;
        Some((endpoint.host.to_string(), endpoint.port))
    }

    /// One exchange with the leader.
    async fn step(&mut self, targets: &Targets) -> Next {
        let due = self.plan.due(self.broker.steady());
        if due.is_empty() {
            let now = self.broker.steady();
            let millis = self.plan.next_due().map(|at| u64::try_from(at.0 - now.0).unwrap_or(0));
            return Next::When(Duration::from_millis(millis.unwrap_or(3_600_000)));
        }
        let Some(address) = self.address() else { return Next::When(self.backoff()) };
        let wanted = self.wanted(targets, &due);
        if wanted.is_empty() {
            return Next::When(self.backoff());
        }
        let request = fetch_request(&self.broker, self.session.prepare(wanted.clone()));
        let settings = &self.broker.settings.replication;
        let millis = |value: i32| Duration::from_millis(u64::try_from(value).unwrap_or(0));
        let (patience, wait) = (millis(settings.socket_timeout_ms), millis(settings.fetch_wait_max_ms));
        let client_id = client_id(&self.broker);
        let answer = tokio::select! {
            answer = self.link.ask(&address, &client_id, patience, &request, wait) => answer,
            _ = self.stopped.changed() => return Next::Now,
        };
        match answer {
            Ok(response) => {
                let error = ErrorCode(response.error_code);
                self.session.on_response(error, response.session_id);
                if error != ErrorCode::NONE {
                    tracing::info!(leader = %self.leader, %error, "the leader refused a fetch");
                    return Next::When(self.backoff());
                }
                self.take(targets, &wanted, response, &address).await;
                Next::Now
            }
            Err(error) => {
                tracing::debug!(leader = %self.leader, ?address, %error, "a fetch failed");
                self.session.on_failure();
                Next::When(self.backoff())
            }
        }
    }

    /// Where each due partition goes on.
    fn wanted(&mut self, targets: &Targets, due: &[(PartitionKey, LeaderEpoch)]) -> Wanted {
        let max_bytes = self.broker.settings.replication.fetch_max_bytes;
        let is_throttled = self.broker.throttles().follower.is_exceeded(self.broker.steady());
        let mut wanted = Wanted::new();
        for (key, leader_epoch) in due {
            let Some(target) = targets.get(key) else { continue };
            if is_throttled && is_throttled_here(&target.partition) && !self.in_sync.contains(key) {
                let until = Timestamp(self.broker.steady().0 + THROTTLED_MS);
                self.plan.delay(*key, until);
                continue;
            }
            match target.partition.follower_end(&self.broker, self.leader, *leader_epoch) {
                Ok(Some(at)) => drop(wanted.insert(*key, requested(key.0, key.1.0, &at, max_bytes))),
                // The metadata went on; the next look at what is followed tells.
                Ok(None) => {}
                Err(problem) => self.on_problem(*key, &problem),
            }
        }
        wanted
    }

    async fn take(&mut self, targets: &Targets, wanted: &Wanted, response: FetchResponse, address: &Address) {
        let mut arrived = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let key = (topic.topic_id, PartitionIndex(data.partition_index));
                if let (Some(target), Some(asked)) = (targets.get(&key), wanted.get(&key)) {
                    arrived.push((key, target.clone(), asked.clone(), data));
                }
            }
        }
        let mut good = Vec::with_capacity(arrived.len());
        for (key, target, asked, data) in arrived {
            match ErrorCode(data.error_code) {
                ErrorCode::NONE => {
                    let fetched = fetched(self.leader, &asked, data);
                    self.note(key, &target.partition, &fetched);
                    good.push((key, target, fetched));
                }
                ErrorCode::OFFSET_OUT_OF_RANGE => self.on_out_of_range(key, &target.partition, &asked, address).await,
                // Fenced: the controller has said another epoch, and its metadata is on the way.
                ErrorCode::FENCED_LEADER_EPOCH => self.plan.fail(key),
                error => {
                    tracing::debug!(partition = %target.partition, %error, "the leader did not serve a partition");
                    let until = if is_ahead_of_leader(error) { self.soon() } else { self.until() };
                    self.plan.delay(key, until);
                }
            }
        }
        let broker = Arc::clone(&self.broker);
        let blocks = broker.settings.durability == Durability::Fsync
            || good.iter().any(|(_, _, fetched)| fetched.diverging.is_some());
        let append = move || {
            let each = |(key, target, fetched): (_, super::following::Target, Fetched)| {
                (key, target.partition.take_fetched(&broker, fetched))
            };
            good.into_iter().map(each).collect::<Vec<_>>()
        };
        // Truncation and syncs wait for the device.
        let outcomes = if blocks { tokio::task::spawn_blocking(append).await.unwrap_or_default() } else { append() };
        for (key, outcome) in outcomes {
            match outcome {
                Ok(Taken::Done) => self.plan.ready(key),
                Ok(Taken::Stale) => {}
                Err(problem) => self.on_problem(key, &problem),
            }
        }
    }

    /// What came counts where the replica is throttled.
    fn note(&mut self, key: PartitionKey, partition: &Arc<crate::partitions::Partition>, fetched: &Fetched) {
        if !is_throttled_here(partition) {
            return;
        }
        self.broker.throttles().follower.record(fetched.records.len(), self.broker.steady());
        let last = milena_records::Batches::new(fetched.records.clone()).filter_map(Result::ok).last();
        let end = last.map_or(fetched.from, |batch| batch.header.next_offset());
        if end >= fetched.high_watermark {
            self.in_sync.insert(key);
        } else {
            self.in_sync.remove(&key);
        }
    }

    fn on_problem(&mut self, key: PartitionKey, problem: &FollowerProblem) {
        match problem {
            FollowerProblem::Damaged | FollowerProblem::NoRoom => self.plan.delay(key, self.until()),
            FollowerProblem::Lasting => self.plan.fail(key),
        }
    }

    async fn on_out_of_range(
        &mut self,
        key: PartitionKey,
        partition: &Arc<crate::partitions::Partition>,
        asked: &RequestedPartition,
        address: &Address,
    ) {
        let leader_epoch = LeaderEpoch(asked.current_leader_epoch);
        let question = Asked { topic: &partition.topic, index: partition.index, leader_epoch };
        let range = tokio::select! {
            range = leader_range(&self.broker, &mut self.link, address, &question) => range,
            _ = self.stopped.changed() => return,
        };
        let (start, end) = match range {
            Ok(range) => range,
            Err(error) => {
                tracing::info!(%partition, %error, "the leader did not say where its log begins and ends");
                self.plan.delay(key, self.until());
                return;
            }
        };
        let (follower, broker, leader) = (Arc::clone(partition), Arc::clone(&self.broker), self.leader);
        let log_end = milena_types::Offset(asked.fetch_offset);
        let action = after_out_of_range(log_end, start, end);
        let adjusted = tokio::task::spawn_blocking(move || {
            follower.adjust_range(&broker, (leader, leader_epoch), log_end, action)
        });
        match adjusted.await {
            Ok(Ok(_)) => self.plan.ready(key),
            Ok(Err(problem)) => self.on_problem(key, &problem),
            Err(_) => self.plan.fail(key),
        }
    }
}

fn is_throttled_here(partition: &crate::partitions::Partition) -> bool {
    partition.settings().throttled_followers.has(partition.index)
}

/// Whether the leader answers so because it has not heard of its leadership yet. To wait for the whole backoff then would
/// hold up every `acks=all` after each election.
fn is_ahead_of_leader(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    )
}

fn fetched(leader: BrokerId, asked: &RequestedPartition, data: PartitionData) -> Fetched {
    let records = match data.records {
        Some(milena_protocol::Records::Bytes(bytes)) => bytes,
        Some(milena_protocol::Records::File(_)) | None => bytes::Bytes::new(),
    };
    let (epoch, end) = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
    Fetched {
        leader,
        leader_epoch: LeaderEpoch(asked.current_leader_epoch),
        from: milena_types::Offset(asked.fetch_offset),
        last_epoch: LeaderEpoch(asked.last_fetched_epoch),
        records,
        high_watermark: milena_types::Offset(data.high_watermark),
        log_start: milena_types::Offset(data.log_start_offset),
        diverging: (end >= 0)
            .then_some(milena_replication::EpochEnd { epoch: LeaderEpoch(epoch), end: milena_types::Offset(end) }),
    }
}

//! `Traffic`: what went through a partition since it is here. A few additions for each append and each answered fetch, not
//! for each record; they are made whether somebody asks for metrics or not. Kafka: `BrokerTopicMetrics`.

use milena_metrics::Counter;
use milena_storage::Appended;
use milena_types::ErrorCode;

/// The counts of one partition, or of partitions that are gone.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages_in: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    /// Of batches that were too large.
    pub(crate) bytes_rejected: Counter,
    pub(crate) produce_requests: Counter,
    pub(crate) fetch_requests: Counter,
    pub(crate) failed_produce_requests: Counter,
    pub(crate) failed_fetch_requests: Counter,
    pub(crate) replication_bytes_in: Counter,
    pub(crate) replication_bytes_out: Counter,
}

/// What one append of several requests adds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    messages_in: u64,
    bytes_in: u64,
    bytes_rejected: u64,
    requests: u64,
    failed: u64,
}

impl Tally {
    /// A request with this many bytes of records that went into the log.
    pub(crate) fn appended(&mut self, appended: &Appended, bytes: usize) {
        let messages = (appended.last_offset - appended.first_offset).saturating_add(1);
        self.messages_in += u64::try_from(messages).unwrap_or(0);
        self.bytes_in += bytes as u64;
        self.requests += 1;
    }

    /// A request that did not. What a producer can expect is no failure (`ReplicaManager.appendToLocalLog`).
    pub(crate) fn refused(&mut self, error: ErrorCode, bytes: usize) {
        self.requests += 1;
        if matches!(error, ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE) {
            self.bytes_rejected += bytes as u64;
        }
        self.failed += u64::from(!is_expected(error));
    }
}

/// Failures that say nothing of the request, for which Kafka answers no log start offset either
/// (`ReplicaManager.appendToLocalLog`).
pub(super) fn is_expected(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::MESSAGE_TOO_LARGE
            | ErrorCode::RECORD_LIST_TOO_LARGE
            | ErrorCode::CORRUPT_MESSAGE
            | ErrorCode::KAFKA_STORAGE_ERROR
    )
}

impl Traffic {
    /// An append of requests.
    pub(crate) fn produced(&self, tally: &Tally) {
        self.produce_requests.add(tally.requests);
        if tally.messages_in > 0 {
            self.messages_in.add(tally.messages_in);
            self.bytes_in.add(tally.bytes_in);
        }
        if tally.bytes_rejected > 0 {
            self.bytes_rejected.add(tally.bytes_rejected);
        }
        if tally.failed > 0 {
            self.failed_produce_requests.add(tally.failed);
        }
    }

    /// A fetch was answered with this many bytes.
    pub(crate) fn fetched(&self, bytes: usize, error: ErrorCode, is_follower: bool) {
        self.fetch_requests.add(1);
        if bytes > 0 {
            let out = if is_follower { &self.replication_bytes_out } else { &self.bytes_out };
            out.add(bytes as u64);
        }
        // Where to go instead is no failure (`ReplicaManager.readFromLog`).
        if matches!(error, ErrorCode::UNKNOWN_SERVER_ERROR | ErrorCode::CORRUPT_MESSAGE) {
            self.failed_fetch_requests.add(1);
        }
    }

    /// Adds what another one counted.
    pub(crate) fn add(&self, other: &Traffic) {
        for (sum, count) in self.all().into_iter().zip(other.all()) {
            sum.add(count.get());
        }
    }

    /// Every count, in one order.
    fn all(&self) -> [&Counter; 10] {
        [
            &self.messages_in,
            &self.bytes_in,
            &self.bytes_out,
            &self.bytes_rejected,
            &self.produce_requests,
            &self.fetch_requests,
            &self.failed_produce_requests,
            &self.failed_fetch_requests,
            &self.replication_bytes_in,
            &self.replication_bytes_out,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_producer_can_expect_is_no_failure() {
        let traffic = Traffic::default();
        let mut tally = Tally::default();
        tally.refused(ErrorCode::MESSAGE_TOO_LARGE, 100);
        tally.refused(ErrorCode::NOT_LEADER_OR_FOLLOWER, 10);
        tally.refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, 1);
        traffic.produced(&tally);
        assert_eq!((traffic.produce_requests.get(), traffic.failed_produce_requests.get()), (3, 1));
        assert_eq!((traffic.bytes_rejected.get(), traffic.bytes_in.get()), (100, 0));
    }

    #[test]
    fn what_is_gone_is_added_up() {
        let (gone, traffic) = (Traffic::default(), Traffic::default());
        traffic.fetched(7, ErrorCode::NONE, false);
        traffic.fetched(8, ErrorCode::NONE, true);
        gone.add(&traffic);
        gone.add(&traffic);
        assert_eq!((gone.fetch_requests.get(), gone.bytes_out.get(), gone.replication_bytes_out.get()), (4, 14, 16));
    }
}

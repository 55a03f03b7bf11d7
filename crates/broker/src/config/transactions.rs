//! What transactions are given of the config (`TransactionLogConfig`, `TransactionStateManagerConfig`).

use milena_coordinator::transaction::TransactionConfig;

use super::ServerConfig;
use crate::settings::TransactionSettings;

impl ServerConfig {
    /// For the transaction coordinators and those who ask them.
    #[must_use]
    pub fn transaction_settings(&self) -> TransactionSettings {
        let millis = |key: &str| u64::try_from(self.number(key)).unwrap_or(0);
        let cleanup = |what: &str| self.number(&format!("transaction.{what}.transaction.cleanup.interval.ms"));
        TransactionSettings {
            config: TransactionConfig {
                transaction_max_timeout_ms: self.groups.transaction_max_timeout_ms,
                transactional_id_expiration_ms: self.number("transactional.id.expiration.ms"),
                abort_timed_out_interval_ms: cleanup("abort.timed.out"),
                remove_expired_interval_ms: cleanup("remove.expired"),
            },
            state_log_num_partitions: self.topics.transaction_state_log_num_partitions,
            state_log_replication_factor: self.topics.transaction_state_log_replication_factor,
            state_log_min_isr: self.topics.transaction_state_log_min_isr,
            state_log_segment_bytes: self.int("transaction.state.log.segment.bytes"),
            state_log_load_buffer_size: u32::try_from(self.int("transaction.state.log.load.buffer.size"))
                .unwrap_or(u32::MAX),
            add_partitions_retry_backoff_ms: millis("add.partitions.to.txn.retry.backoff.ms"),
            add_partitions_retry_backoff_max_ms: millis("add.partitions.to.txn.retry.backoff.max.ms"),
            request_timeout_ms: self.number("request.timeout.ms"),
        }
    }
}

//! What of a topic's configuration the log obeys. Names are Kafka's keys with dots as underscores.

/// A log's settings; the broker keeps one per topic and shares it.
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is not grown beyond it.
    pub segment_bytes: u32,
    /// `segment.ms`: age, by record time, at which a segment is closed.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this much is taken off `segment_ms`, per segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: limit of each index file.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: log bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`; negative is without limit.
    pub retention_ms: i64,
    /// `retention.bytes`; negative is without limit.
    pub retention_bytes: i64,
    /// Whether `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// Whether `cleanup.policy` contains `compact`: gaps between offsets are then no sign of loss.
    pub cleanup_compact: bool,
    /// `delete.retention.ms`: how long compaction keeps a tombstone or marker after it first met it.
    pub delete_retention_ms: i64,
    /// `min.cleanable.dirty.ratio`: share of a log that must be dirty before it is compacted.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records are not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: older dirty records are compacted whatever the ratio.
    pub max_compaction_lag_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted segment's file stays, renamed.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`: when a silent producer id is forgotten.
    pub producer_id_expiration_ms: i64,
    /// Log bytes after which a flush also saves producer state and indexes, which bounds what recovery reads.
    pub checkpoint_interval_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3600 * 1000,
            retention_bytes: -1,
            cleanup_delete: true,
            cleanup_compact: false,
            delete_retention_ms: 24 * 3600 * 1000,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: 86_400_000,
            checkpoint_interval_bytes: 16 << 20,
        }
    }
}

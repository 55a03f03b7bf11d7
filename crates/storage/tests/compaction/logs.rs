//! Random logs as partitions have them: keys that repeat, tombstones, records without keys, several producers with and
//! without transactions that are committed, aborted or left open, every codec, several segments.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use milena_records::{
    BatchBuilder, BuilderConfig, Compression, Header, TimestampType, ValidBatch, end_transaction_marker,
};
use milena_storage::disk::RealDisk;
use milena_storage::{AppendContext, AppendOrigin, FileCache, Log, LogConfig};
use milena_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// About when the records are of.
pub(crate) const THEN: i64 = 1_700_000_000_000;

/// Numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as i64 % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, bound: i64) -> bool {
        self.below(bound) == 0
    }
}

struct Producer {
    id: ProducerId,
    epoch: i16,
    sequence: i32,
    is_transactional: bool,
    in_transaction: bool,
}

/// What was written.
pub(crate) struct Written {
    /// Offset after the last record.
    pub(crate) end: i64,
    /// Some batches are compressed, whose size is the codec's affair.
    pub(crate) is_compressed: bool,
    /// Some producers are transactional.
    pub(crate) has_transactions: bool,
    /// Time of the last record, about.
    pub(crate) until: i64,
}

struct Writer<'random> {
    random: &'random mut Random,
    log: Log<RealDisk>,
    producers: Vec<Producer>,
    keys: i64,
    codecs: bool,
    append_time: bool,
    epoch: i32,
    now: i64,
}

/// Writes the log of `directory` and closes it.
pub(crate) fn write(directory: &Path, random: &mut Random) -> Written {
    let config = Arc::new(LogConfig {
        segment_bytes: 1200 + random.below(5000) as u32,
        index_interval_bytes: 100 + random.below(1000) as u32,
        cleanup_compact: true,
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    });
    let cache = FileCache::new(RealDisk, 64);
    let log = Log::create(&cache, directory, &config, None, Timestamp(THEN)).unwrap();
    let no_transactions = random.one_in(3);
    let producers = (0..random.below(6)).map(|at| Producer {
        id: ProducerId(1000 + at),
        epoch: 0,
        sequence: 0,
        is_transactional: !no_transactions && at % 3 != 1,
        in_transaction: false,
    });
    let mut writer = Writer {
        producers: producers.collect(),
        keys: 2 + random.below(60),
        codecs: random.one_in(2),
        append_time: random.one_in(5),
        epoch: 0,
        now: THEN,
        random,
        log,
    };
    for _ in 0..20 + writer.random.below(150) {
        writer.step();
    }
    let end = writer.log.log_end_offset().0;
    writer.log.close().unwrap();
    let has_transactions = writer.producers.iter().any(|producer| producer.is_transactional);
    Written { end, is_compressed: writer.codecs, has_transactions, until: writer.now }
}

impl Writer<'_> {
    fn step(&mut self) {
        self.now += self.random.below(20);
        if self.random.one_in(40) {
            self.epoch += 1;
        }
        if self.random.one_in(25) {
            self.log.roll(Timestamp(self.now)).unwrap();
            return;
        }
        let who = self.random.below(self.producers.len() as i64 + 1) as usize;
        match self.producers.get(who) {
            Some(producer) if producer.in_transaction && self.random.one_in(3) => self.end_transaction(who),
            _ => self.records(who),
        }
    }

    fn records(&mut self, who: usize) {
        let count = 1 + self.random.below(8);
        let codec = if self.codecs { Compression::ALL[self.random.below(5) as usize] } else { Compression::None };
        let mut config = BuilderConfig {
            codec: codec.into(),
            timestamp_type: if self.append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
            log_append_time_ms: self.now,
            ..BuilderConfig::default()
        };
        if let Some(producer) = self.producers.get_mut(who) {
            config.producer_id = producer.id;
            config.producer_epoch = ProducerEpoch(producer.epoch);
            config.base_sequence = producer.sequence;
            config.transactional = producer.is_transactional;
            producer.sequence += count as i32;
            producer.in_transaction = producer.is_transactional;
        }
        let mut builder = BatchBuilder::new(config);
        let tombstones = self.random.below(5);
        for _ in 0..count {
            let key = (!self.random.one_in(30)).then(|| format!("key-{}", self.random.below(self.keys)));
            let value = (self.random.below(8) >= tombstones).then(|| {
                let number = self.random.below(1 << 30);
                format!("value {number}").repeat(1 + self.random.below(5) as usize)
            });
            let headers: Vec<Header> = (0..self.random.below(6) - 3)
                .map(|at| Header {
                    key: Bytes::from(format!("header-{at}")),
                    value: (at > 0).then(|| Bytes::from(vec![at as u8; 3])),
                })
                .collect();
            let timestamp = self.now - self.random.below(50);
            let (key, value) = (key.as_ref().map(String::as_bytes), value.as_ref().map(String::as_bytes));
            builder.append(timestamp, key, value, &headers).unwrap();
        }
        self.append(&builder.build(Offset(0), LeaderEpoch::NONE).unwrap(), AppendOrigin::Client);
    }

    fn end_transaction(&mut self, who: usize) {
        let committed = !self.random.one_in(2);
        let producer = &mut self.producers[who];
        producer.in_transaction = false;
        // From transaction version 2 on each ends with an epoch of its own.
        if self.random.one_in(3) {
            producer.epoch += 1;
            producer.sequence = 0;
        }
        let epoch = ProducerEpoch(producer.epoch);
        let marker = end_transaction_marker(producer.id, epoch, committed, 3, self.now).unwrap();
        self.append(&marker, AppendOrigin::Coordinator { transaction_version: 0 });
    }

    fn append(&mut self, batch: &Bytes, origin: AppendOrigin) {
        let context =
            AppendContext { leader_epoch: LeaderEpoch(self.epoch), now: Timestamp(self.now), origin, verify: false };
        self.log.append_with_origin(&[ValidBatch::trusted(batch).unwrap()], context).unwrap();
    }
}

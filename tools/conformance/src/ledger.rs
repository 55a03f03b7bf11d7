//! What a server acknowledged, refused or left open, and whether its logs say the same. Records are numbered; the number gives
//! every byte of a record, so that any other byte is noticed. What was acknowledged must be there once, at the offset that was
//! told; what was refused for certain must not be; what was on its way may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use milena_protocol::Records;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use milena_protocol::messages::{FetchRequest, ListOffsetsRequest, ProduceRequest};
use milena_records::{BatchBuilder, Batches, BuilderConfig, Record};
use milena_types::{LeaderEpoch, Offset};

use crate::wire::{PRODUCE_VERSION, Wire, produce_request};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The most a batch inflates to; nothing is compressed here.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Keys of a topic that is compacted.
const KEYS: u64 = 40;
/// Codes that say for certain that nothing was written: UNKNOWN_TOPIC_OR_PARTITION, NOT_ENOUGH_REPLICAS.
const DEFINITE: [i16; 2] = [3, NOT_ENOUGH_REPLICAS];
/// How long everything may take to be readable.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a partition is read again from a log start that moved.
const RETENTION_RETRIES: u32 = 10;
/// What a full disk is answered with.
pub(crate) const NOT_ENOUGH_REPLICAS: i16 = 19;

/// What of a topic must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Everything from the offset on to which it was deleted.
    All,
    /// Everything behind its log start, wherever that is.
    Tail,
    /// The newest record of each key.
    Keys,
}

#[derive(Clone, Debug)]
struct Topic {
    kept: Kept,
    partitions: Vec<Written>,
}

#[derive(Clone, Debug, Default)]
struct Written {
    /// Offset and number.
    acknowledged: BTreeMap<i64, u64>,
    /// Numbers of records that may be there.
    open: BTreeSet<u64>,
    /// What lies below may be deleted.
    start: i64,
}

/// A partition that cannot be read, and why; no wrong byte came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) partition: String,
    pub(crate) reason: String,
}

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) records: u64,
    pub(crate) unreadable: Vec<Unreadable>,
}

/// The book.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    topics: BTreeMap<String, Topic>,
    next: u64,
    pub(crate) acknowledged: u64,
}

impl Ledger {
    /// A topic that was created.
    pub(crate) fn add_topic(&mut self, name: &str, partitions: usize, kept: Kept) {
        let partitions = (0..partitions).map(|_| Written::default()).collect();
        self.topics.insert(name.to_owned(), Topic { kept, partitions });
    }

    /// A topic that is, or is about to be, deleted.
    pub(crate) fn remove_topic(&mut self, name: &str) {
        self.topics.remove(name);
    }

    /// Records below `offset` may be gone.
    pub(crate) fn deleted_to(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Ok(written) = self.written(topic, partition) {
            written.start = written.start.max(offset);
        }
    }

    /// The offset after the last record that was acknowledged.
    pub(crate) fn end(&mut self, topic: &str, partition: i32) -> i64 {
        let written = self.written(topic, partition);
        written.ok().and_then(|written| written.acknowledged.last_key_value()).map_or(0, |(offset, _)| offset + 1)
    }

    fn written(&mut self, topic: &str, partition: i32) -> anyhow::Result<&mut Written> {
        let topic = self.topics.get_mut(topic).context("a known topic")?;
        topic.partitions.get_mut(usize::try_from(partition)?).context("a known partition")
    }

    /// Sends a batch of records, each of `bytes`, to each of the partitions, then takes the answers: a code for each.
    /// After an error what was not answered is open.
    pub(crate) fn produce(
        &mut self,
        wire: &mut Wire,
        partitions: &[(&str, i32)],
        (records, bytes): (u64, usize),
    ) -> anyhow::Result<Vec<i16>> {
        let mut sent = Vec::new();
        for (topic, partition) in partitions {
            let first = self.next;
            let after = first + records;
            self.next = after;
            let batch = batch(first, records, bytes)?;
            self.written(topic, *partition)?.open.extend(first..after);
            wire.send(PRODUCE_VERSION, &produce_request(topic, vec![(*partition, batch)]))?;
            sent.push((*topic, *partition, first));
        }
        let mut codes = Vec::new();
        for (topic, partition, first) in sent {
            let answer = wire.receive::<ProduceRequest>(PRODUCE_VERSION)?;
            let answer = answer.responses.first().and_then(|topic| topic.partition_responses.first());
            let (code, base) =
                answer.map(|answer| (answer.error_code, answer.base_offset)).context("an answer for the partition")?;
            let numbers = first..first + records;
            let written = self.written(topic, partition)?;
            if code == 0 || DEFINITE.contains(&code) {
                written.open.retain(|number| !numbers.contains(number));
            }
            if code == 0 {
                written.acknowledged.extend((base..).zip(numbers));
                self.acknowledged += records;
            }
            codes.push(code);
        }
        Ok(codes)
    }

    /// Reads everything and compares. What was open is settled by it: no request is on its way any more. A partition that
    /// cannot be read is told of, not an error; wrong or lost records are.
    pub(crate) fn check(&mut self, port: u16) -> anyhow::Result<Checked> {
        let mut wire = Wire::connect(port)?;
        let mut checked = Checked::default();
        for (name, topic) in &mut self.topics {
            for (index, written) in topic.partitions.iter_mut().enumerate() {
                let partition = format!("{name}-{index}");
                let mut reader = Reader { wire: &mut wire, topic: name, index: i32::try_from(index)? };
                let mut outcome =
                    check_partition(&mut reader, topic.kept, written).with_context(|| partition.clone())?;
                for _ in 0..RETENTION_RETRIES {
                    // Retention was at work meanwhile.
                    if topic.kept == Kept::Tail && outcome.as_ref().is_err_and(|reason| reason.starts_with("error 1 "))
                    {
                        outcome = check_partition(&mut reader, topic.kept, written)?;
                    }
                }
                match outcome {
                    Ok(records) => checked.records += records,
                    Err(reason) => checked.unreadable.push(Unreadable { partition, reason }),
                }
            }
        }
        Ok(checked)
    }

    /// As `check`, where everything can be read, if not at once: a broker that was held up for long has its session renewed
    /// first.
    pub(crate) fn check_all(&mut self, port: u16) -> anyhow::Result<u64> {
        let end = Instant::now() + PATIENCE;
        loop {
            let checked = self.check(port)?;
            if checked.unreadable.is_empty() {
                return Ok(checked.records);
            }
            ensure!(Instant::now() < end, "{:?}", checked.unreadable);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Either the count of records, or why the partition cannot be read.
fn check_partition(reader: &mut Reader<'_>, kept: Kept, written: &mut Written) -> anyhow::Result<Result<u64, String>> {
    let bounds = |reader: &mut Reader<'_>| anyhow::Ok((reader.list(EARLIEST)?, reader.list(LATEST)?));
    let (Ok(start), Ok(end)) = bounds(reader)? else { return Ok(Err("no offsets are listed".to_owned())) };
    ensure!(kept == Kept::Tail || start <= written.start, "begins at {start}, after {}", written.start);
    let mut found = BTreeMap::new();
    let mut next = start;
    while next < end {
        let batches = match reader.fetch(next)? {
            Ok(batches) => batches,
            Err(reason) => return Ok(Err(reason)),
        };
        let before = next;
        for record in batches.iter().filter(|record| record.offset.0 >= before) {
            let offset = record.offset.0;
            ensure!(offset >= next, "offset {offset} comes after {next}");
            ensure!(kept == Kept::Keys || offset == next, "offset {next} is missing, {offset} comes next");
            found.insert(offset, number_of(record)?);
            next = offset + 1;
        }
        if next == before {
            // Compaction may have taken the end of what was asked for.
            ensure!(kept == Kept::Keys, "nothing comes at {next} of {end}");
            next = end;
        }
    }
    compare(kept, start, &found, written)?;
    written.acknowledged.extend(found.iter().map(|(offset, number)| (*offset, *number)));
    written.open.clear();
    Ok(Ok(found.len() as u64))
}

fn compare(kept: Kept, start: i64, found: &BTreeMap<i64, u64>, written: &Written) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for (offset, number) in found {
        ensure!(seen.insert(number), "record {number} is there twice, again at {offset}");
        match written.acknowledged.get(offset) {
            Some(told) => ensure!(told == number, "record {number} is at {offset}, where {told} was acknowledged"),
            None => ensure!(written.open.contains(number), "record {number} at {offset} was refused or never sent"),
        }
    }
    if kept != Kept::Keys {
        let mut due = written.acknowledged.range(start.max(0)..);
        let lost = due.find(|(offset, _)| !found.contains_key(offset));
        ensure!(lost.is_none(), "{lost:?} (offset, record) was acknowledged and is not there");
        return Ok(());
    }
    let newest = |records: &BTreeMap<i64, u64>| -> BTreeMap<u64, i64> {
        records.iter().map(|(offset, number)| (number % KEYS, *offset)).collect()
    };
    let there = newest(found);
    for (key, offset) in newest(&written.acknowledged) {
        ensure!(there.get(&key).is_some_and(|there| *there >= offset), "the newest of key {key}, at {offset}, is lost");
    }
    Ok(())
}

/// Reads one partition.
struct Reader<'a> {
    wire: &'a mut Wire,
    topic: &'a str,
    index: i32,
}

impl Reader<'_> {
    /// An offset, or the error code.
    fn list(&mut self, timestamp: i64) -> anyhow::Result<Result<i64, i16>> {
        let partition = ListOffsetsPartition { partition_index: self.index, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: self.topic.into(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = self.wire.call(7, &request)?;
        let answer = answer.topics.first().and_then(|topic| topic.partitions.first()).context("an offset")?;
        Ok(if answer.error_code == 0 { Ok(answer.offset) } else { Err(answer.error_code) })
    }

    /// Records from `offset` on, or why there are none to be had.
    fn fetch(&mut self, offset: i64) -> anyhow::Result<Result<Vec<Record>, String>> {
        let partition = FetchPartition {
            partition: self.index,
            fetch_offset: offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic = FetchTopic { topic: self.topic.into(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.wire.call(12, &request)?;
        let answer = answer.responses.first().and_then(|topic| topic.partitions.first()).context("a partition")?;
        if answer.error_code != 0 {
            return Ok(Err(format!("error {} at {offset}", answer.error_code)));
        }
        let bytes = match &answer.records {
            Some(Records::Bytes(bytes)) => bytes.clone(),
            _ => Bytes::new(),
        };
        let mut records = Vec::new();
        for batch in Batches::new(bytes) {
            let Some(batch) = batch.ok().filter(|batch| batch.verify_crc().is_ok()) else {
                // What came before it is whole.
                let is_first = records.is_empty();
                return Ok(if is_first { Err(format!("a damaged batch at {offset}")) } else { Ok(records) });
            };
            for record in batch.records(BATCH_BYTES_MAX)? {
                records.push(record?);
            }
        }
        Ok(Ok(records))
    }
}

/// The number of a record, all of whose bytes must follow from it.
fn number_of(record: &Record) -> anyhow::Result<u64> {
    let value = record.value.as_ref().context("a record with a value")?;
    let number = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).context("a numbered record")?;
    let is_right = value.len() >= 8 && **value == *value_of(number, value.len());
    if !is_right || record.key.as_deref() != Some(key_of(number).as_slice()) {
        bail!("wrong bytes at offset {}", record.offset);
    }
    Ok(number)
}

fn key_of(number: u64) -> Vec<u8> {
    format!("key-{}", number % KEYS).into_bytes()
}

fn value_of(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while value.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_be_bytes());
    }
    value.truncate(bytes.max(8));
    value
}

fn batch(first: u64, records: u64, bytes: usize) -> anyhow::Result<Bytes> {
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    for number in first..first + records {
        let (key, value) = (key_of(number), value_of(number, bytes));
        builder.append(i64::try_from(now.as_millis())?, Some(&key), Some(&value), &[])?;
    }
    Ok(builder.build(Offset(0), LeaderEpoch(-1))?)
}

#[cfg(test)]
mod tests {
    use super::{Kept, Written, compare};
    use std::collections::BTreeMap;

    fn written() -> Written {
        let acknowledged = (0..4).map(|at| (i64::from(at), 100 + u64::from(at as u8))).collect();
        Written { acknowledged, open: [104].into(), start: 0 }
    }

    fn found(records: &[(i64, u64)]) -> BTreeMap<i64, u64> {
        records.iter().copied().collect()
    }

    #[test]
    fn what_is_lost_doubled_moved_or_unasked_for_is_noticed() {
        let all = [(0, 100), (1, 101), (2, 102), (3, 103)];
        let judge = |records: &[(i64, u64)]| compare(Kept::All, 0, &found(records), &written()).is_ok();
        assert!(judge(&all));
        assert!(judge(&[&all[..], &[(4, 104)]].concat()), "what was on its way may be there");
        assert!(!judge(&all[..3]), "lost");
        assert!(!judge(&[&all[..], &[(4, 103)]].concat()), "twice");
        assert!(!judge(&[&all[..], &[(4, 105)]].concat()), "never sent");
        assert!(!judge(&[(0, 100), (1, 102), (2, 101), (3, 103)]), "moved");
        assert!(compare(Kept::Tail, 2, &found(&all[2..]), &written()).is_ok());
    }
}

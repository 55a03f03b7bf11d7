//! The coordinator's partition as its replicas share it: batches up to the high watermark stay whoever leads, those above may
//! be lost with a leader. It is compacted now and then, and tells how often a group began anew.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_coordinator::group::GroupRecord;
use milena_records::{Batch, BatchBuilder, BuilderConfig};
use milena_types::{LeaderEpoch, Offset};

/// How often each group's epoch has begun anew, which happens when a group that is empty changes its kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives {
    by_group: BTreeMap<String, (u32, i32)>,
}

impl Lives {
    pub(crate) fn of(&self, group: &str) -> u32 {
        self.by_group.get(group).map_or(0, |(life, _)| *life)
    }

    fn see(&mut self, group: &str, epoch: i32) {
        let (life, last) = self.by_group.entry(group.to_owned()).or_default();
        *life += u32::from(epoch < *last);
        *last = epoch;
    }
}

/// A record and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: Offset,
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) batches: Vec<Batch>,
    pub(crate) high_watermark: Offset,
    /// As the high watermark has it.
    pub(crate) lives: Lives,
}

impl Log {
    pub(crate) fn new() -> Log {
        Log { batches: Vec::new(), high_watermark: Offset(0), lives: Lives::default() }
    }

    pub(crate) fn end(&self) -> Offset {
        self.batches.last().map_or(Offset(0), |batch| batch.header.next_offset())
    }

    /// The high watermark moves up to the end of the next batch, if that is not above `upto`; its records are given back.
    pub(crate) fn commit_one(&mut self, upto: Offset) -> Option<(Offset, Vec<GroupRecord>)> {
        let next = self.batches.iter().find(|batch| batch.header.next_offset() > self.high_watermark)?;
        let end = next.header.next_offset();
        if end > upto {
            return None;
        }
        let decode = |entry: Entry| GroupRecord::decode(entry.key, entry.value).unwrap();
        let records: Vec<GroupRecord> = entries(next).into_iter().filter_map(decode).collect();
        for record in &records {
            match record {
                GroupRecord::GroupMetadata(key, Some(value)) => self.lives.see(&key.group, value.generation),
                GroupRecord::ConsumerGroupMetadata(key, Some(value)) => self.lives.see(&key.group_id, value.epoch),
                _ => {}
            }
        }
        self.high_watermark = end;
        Some((end, records))
    }

    /// How many batches are above the high watermark.
    pub(crate) fn uncommitted(&self) -> usize {
        self.batches.iter().filter(|batch| batch.header.next_offset() > self.high_watermark).count()
    }

    /// The last batches are lost.
    pub(crate) fn lose(&mut self, batches: usize) {
        let kept = self.batches.len().saturating_sub(batches);
        self.batches.truncate(kept);
    }

    /// Below the high watermark the last record of each key stays; tombstones may go, too, but not the last record of all:
    /// offsets go on behind it.
    pub(crate) fn compacted(&self, keeps_tombstones: bool) -> Vec<Batch> {
        let is_clean = |batch: &&Batch| batch.header.next_offset() <= self.high_watermark;
        let clean: Vec<Entry> = self.batches.iter().filter(is_clean).flat_map(entries).collect();
        let last: BTreeMap<Bytes, Offset> = clean.iter().map(|entry| (entry.key.clone(), entry.offset)).collect();
        let kept = clean.into_iter().filter(|entry| {
            let is_last = entry.offset + 1 == self.high_watermark;
            last.get(&entry.key) == Some(&entry.offset) && (keeps_tombstones || is_last || entry.value.is_some())
        });
        let mut batches: Vec<Batch> = kept.map(|entry| batch_of(&entry)).collect();
        let rest = self.batches.iter().filter(|batch| !is_clean(batch)).cloned();
        batches.extend(rest);
        batches
    }
}

fn batch_of(entry: &Entry) -> Batch {
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    builder.append(0, Some(&entry.key), entry.value.as_deref(), &[]).unwrap();
    Batch::parse(&builder.build(entry.offset, LeaderEpoch(0)).unwrap()).unwrap()
}

/// The records of a batch.
pub(crate) fn entries(batch: &Batch) -> Vec<Entry> {
    let records = batch.records(1 << 24).unwrap();
    let entry =
        |record: milena_records::Record| Entry { offset: record.offset, key: record.key.unwrap(), value: record.value };
    records.map(|record| entry(record.unwrap())).collect()
}

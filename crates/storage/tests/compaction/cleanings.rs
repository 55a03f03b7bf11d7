//! Cleaning a log as the broker does, and a text of all that is left.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use milena_records::Batches;
use milena_storage::disk::RealDisk;
use milena_storage::{CleanPlan, Cleaner, CleanerLimits, FileCache, Log, LogConfig, LogOpen};
use milena_types::{Offset, Timestamp};

/// What a cleaning is told.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) now: i64,
    pub(crate) cleaned_to: Option<i64>,
    pub(crate) high_watermark: i64,
    pub(crate) map_bytes: u64,
    pub(crate) load_factor: f64,
    pub(crate) config: LogConfig,
}

/// Opens the log of `directory`, cleans it once, closes it: the plan, and up to where it is clean.
pub(crate) fn clean(directory: &Path, round: &Round) -> (CleanPlan, i64) {
    let open = LogOpen {
        recovery_point: Offset(0),
        log_start_offset: Offset(0),
        clean_shutdown: true,
        cleaned_to: round.cleaned_to.map(Offset),
        now: Timestamp(round.now),
    };
    let cache = FileCache::new(RealDisk, 64);
    let (mut log, _) = Log::open(&cache, directory, &Arc::new(round.config.clone()), open).unwrap();
    let high_watermark = Offset(round.high_watermark);
    log.on_high_watermark(high_watermark);
    let view = log.clean_view(log.last_stable_offset(high_watermark));
    let now = Timestamp(round.now);
    let plan = view.plan(now).unwrap();
    let mut end = plan.first_dirty_offset;
    if plan.cleanable_bytes > 0 {
        let limits = CleanerLimits { map_bytes: round.map_bytes, load_factor: round.load_factor, buffer_bytes: 4096 };
        let mut cleaning =
            Cleaner::new(limits, [1, 2]).begin(view, plan, log.last_records(), now, &mut |_| true).unwrap();
        while let Some(group) = cleaning.next_group(&mut |_| true).unwrap() {
            assert!(log.replace_segments(group, now).unwrap().is_none());
        }
        cleaning.view().sync_directory().unwrap();
        end = cleaning.end_offset();
        log.set_cleaned_to(end);
    }
    log.close().unwrap();
    (plan, end.0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn optional_hex(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| hex(bytes))
}

/// All segments, batches and records in the words of the oracle.
pub(crate) fn describe(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut lines = Vec::new();
    for base in names.iter().filter_map(|name| name.strip_suffix(".log")) {
        let aborted = fs::read(directory.join(format!("{base}.txnindex"))).unwrap_or_default();
        lines.push(format!("segment\t{}\t{}", base.parse::<i64>().unwrap(), hex(&aborted)));
        let bytes = Bytes::from(fs::read(directory.join(format!("{base}.log"))).unwrap());
        let mut batches = Batches::new(bytes);
        for batch in &mut batches {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            let header = |from: usize, to: usize| hex(&batch.bytes[from..to]);
            lines.push(format!("batch\t{}{}{}", header(0, 8), header(12, 17), header(21, 61)));
            for record in batch.records(1 << 24).unwrap() {
                let record = record.unwrap();
                let (key, value) = (optional_hex(record.key.as_ref()), optional_hex(record.value.as_ref()));
                let mut line = format!("record\t{}\t{}\t{key}\t{value}", record.offset, record.timestamp);
                for header in &record.headers {
                    let key = std::str::from_utf8(&header.key).unwrap();
                    write!(line, "\t{key}={}", optional_hex(header.value.as_ref())).unwrap();
                }
                lines.push(line);
            }
        }
        assert_eq!(batches.tail_len(), 0);
    }
    lines
}

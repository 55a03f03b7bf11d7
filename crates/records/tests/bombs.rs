//! Memory that small batches take which expand to much. One test in a process of its own, because it looks at the peak.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use milena_records::{
    BatchBuilder, BuilderConfig, Compression, ProduceRules, Scratch, TargetCompression, validate_produce,
};
use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use peak_alloc::PeakAlloc;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

const NOW: i64 = 1_700_000_000_000;
const EXPANDS_TO: usize = 6 << 20;
const RECORDS: usize = 4;

/// What a batch costs at most while it is checked, in bytes more than before.
fn peak(compression: Compression, rules: &ProduceRules) -> (usize, ErrorCode) {
    let mut builder = BatchBuilder::new(BuilderConfig { codec: compression.into(), ..BuilderConfig::default() });
    let value = vec![0; EXPANDS_TO / RECORDS];
    for _ in 0..RECORDS {
        builder.append(NOW, None, Some(&value), &[]).unwrap();
    }
    let bomb = builder.build(Offset(0), LeaderEpoch::NONE).unwrap();
    let mut scratch = Scratch::new();
    drop(value);
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let verdict = validate_produce(bomb, rules, Timestamp(NOW), &mut scratch);
    (PEAK.peak_usage() - before, verdict.map_or_else(|reason| reason.error, |_| ErrorCode::NONE))
}

#[test]
fn bombs_take_a_window_when_kept_and_no_more_than_the_limit_when_written_anew() {
    let rules = ProduceRules { max_message_bytes: 8 << 20, ..ProduceRules::default() };
    let codecs = Compression::ALL.into_iter().filter(|compression| *compression != Compression::None);
    for compression in codecs {
        let (peak_bytes, error) = peak(compression, &rules);
        assert_eq!(error, ErrorCode::NONE, "{compression}");
        assert!(peak_bytes < 1 << 20, "{compression} kept: {peak_bytes}");
        let target = if compression == Compression::Gzip { Compression::Zstd } else { Compression::Gzip };
        let anew =
            ProduceRules { compression: TargetCompression::Codec(target.into()), max_rebuilt_bytes: 1 << 20, ..rules };
        let (peak_bytes, error) = peak(compression, &anew);
        assert_eq!(error, ErrorCode::MESSAGE_TOO_LARGE, "{compression}");
        assert!(peak_bytes < 4 << 20, "{compression} anew: {peak_bytes}");
    }
}

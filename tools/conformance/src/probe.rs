//! Another client while something bad goes on: it produces small and larger requests, one after the other, and notes how long each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use milena_records::{BatchBuilder, BuilderConfig};
use milena_types::{LeaderEpoch, Offset};

use crate::wire::Wire;

/// What the client writes to.
const TOPIC: &str = "probe";
/// Values of the two kinds of request: the larger one is more than a connection may keep without being granted memory.
const SMALL_BYTES: usize = 1 << 10;
const LARGE_BYTES: usize = 200 << 10;
const PAUSE: Duration = Duration::from_millis(2);

/// The running client.
#[derive(Debug)]
pub(crate) struct Probe {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<Duration>>>,
}

/// What it found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undisturbed {
    pub(crate) requests: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Probe {
    /// Creates the topic; once a node.
    pub(crate) fn prepare(port: u16) -> anyhow::Result<()> {
        Wire::connect(port)?.create_topic(TOPIC, 1, &[])
    }

    pub(crate) fn start(port: u16) -> anyhow::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let mut wire = Wire::connect(port)?;
        let kinds = [batch(SMALL_BYTES)?, batch(LARGE_BYTES)?];
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            for records in kinds.iter().cycle() {
                let begin = Instant::now();
                let (error, _) = wire.produce(TOPIC, 0, records.clone())?;
                ensure!(error == 0, "the other client's produce is answered with error {error}");
                took.push(begin.elapsed());
                if over.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
            Ok(took)
        });
        Ok(Self { is_over, thread })
    }

    pub(crate) fn stop(self) -> anyhow::Result<Undisturbed> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().map_err(|_| anyhow!("the other client broke"))??;
        took.sort();
        let at = |percent: usize| took.get((took.len() - 1) * percent / 100).copied().context("no request");
        Ok(Undisturbed { requests: took.len(), p50: at(50)?, p99: at(99)?, max: at(100)? })
    }
}

impl std::fmt::Display for Undisturbed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(
            f,
            "{} requests, p50 {:.1} p99 {:.1} max {:.1} ms",
            self.requests,
            ms(self.p50),
            ms(self.p99),
            ms(self.max)
        )
    }
}

/// One batch with one value of this size.
pub(crate) fn batch(bytes: usize) -> anyhow::Result<Bytes> {
    batch_of(1, bytes)
}

/// One batch of values of this size, each of one letter.
pub(crate) fn batch_of(records: u32, bytes: usize) -> anyhow::Result<Bytes> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    for n in 0..records {
        let value = vec![b'a' + u8::try_from(n % 26)?; bytes];
        builder.append(i64::try_from(now.as_millis())?, None, Some(&value), &[])?;
    }
    Ok(builder.build(Offset(0), LeaderEpoch(-1))?)
}

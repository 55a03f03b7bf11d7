//! Free ports below the ephemeral range: a port of that range can be taken by any outgoing connection at any moment.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;

const FIRST: u16 = 12_000;
const LAST: u16 = 31_000;

/// Ports handed out by this process are not handed out again.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free together with the one after it, for a listener and its controller.
pub(crate) fn free_pair() -> anyhow::Result<u16> {
    let span = (LAST - FIRST) / 2;
    let start = u16::try_from(std::process::id() % u32::from(span)).unwrap_or(0);
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + 2 * (start.wrapping_add(step.wrapping_mul(7)) % span);
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 1) {
            return Ok(port);
        }
    }
    bail!("no two free ports between {FIRST} and {LAST}")
}

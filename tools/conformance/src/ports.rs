//! Free ports below the ephemeral range: a port of that range can be taken by any outgoing connection at any moment.
//! Several runs may look for ports at once: what one of them has handed out it holds by the UDP port of the same number,
//! since the server that is to listen on it takes its time to start.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::bail;

/// First and last port; `MILENA_PORTS=FIRST-LAST` sets others, for runs beside each other.
const RANGE: (u16, u16) = (12_000, 31_000);

/// Ports handed out by this process are not handed out again.
static NEXT: AtomicU16 = AtomicU16::new(0);
/// Held until this process ends.
static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A port that is free together with the one after it, for a listener and its controller.
pub(crate) fn free_pair() -> anyhow::Result<u16> {
    let (first, last) = range();
    let span = (last - first) / 2;
    let start = u16::try_from(std::process::id() % u32::from(span)).unwrap_or(0);
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = first + 2 * (start.wrapping_add(step.wrapping_mul(7)) % span);
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        let Ok(hold) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
        if is_free(port) && is_free(port + 1) {
            HELD.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(hold);
            return Ok(port);
        }
    }
    bail!("no two free ports between {first} and {last}")
}

/// Ten ports of which the second, third and fourth are free: what they have in common, the number without its last digit.
pub(crate) fn free_ten() -> anyhow::Result<u16> {
    let (first, last) = range();
    let (first, count) = (first.div_ceil(10), (last + 1) / 10 - first.div_ceil(10));
    for _ in 0..count {
        let ten = first + NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let bind = |port: u16| (UdpSocket::bind(("127.0.0.1", port)).ok(), TcpListener::bind(("127.0.0.1", port)).ok());
        let bound: Vec<_> = (1..=3).map(|digit| bind(10 * ten + digit)).collect();
        if bound.iter().all(|(held, free)| held.is_some() && free.is_some()) {
            let held = bound.into_iter().filter_map(|(held, _)| held);
            HELD.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(held);
            return Ok(ten);
        }
    }
    bail!("no three free ports in a row between {first}0 and {last}")
}

fn range() -> (u16, u16) {
    let asked = std::env::var("MILENA_PORTS").ok();
    let asked = asked.as_deref().and_then(|text| text.split_once('-'));
    let asked = asked.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    asked.filter(|(first, last)| first + 1 < *last).unwrap_or(RANGE)
}

/// True if something answers ApiVersions version 0 on the port.
pub(crate) fn answers(host: &str, port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        // Size 10, key 18, version 0, correlation id 1, no client id.
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
        let mut answer = [0_u8; 10];
        stream.read_exact(&mut answer)?;
        Ok(answer.ends_with(&[0, 0, 0, 1, 0, 0]))
    };
    ask().unwrap_or(false)
}

//! What processes have used of the CPU.

use std::time::Duration;

use anyhow::Context as _;

/// The CPU time this process has used.
pub(crate) fn own() -> anyhow::Result<Duration> {
    of("self")
}

/// User and system time of a process, in the kernel's ticks of 10 ms.
pub(crate) fn of(process: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("the process's times")?;
    // The name, in parentheses, may hold anything; the times are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').context("the end of the name")?;
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).map_while(|field| field.parse().ok()).collect();
    Ok(Duration::from_millis(10 * ticks.iter().sum::<u64>()))
}

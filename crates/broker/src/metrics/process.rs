//! The process as the kernel sees it, and what it is.

use super::names;
use milena_metrics::Page;
use std::fmt;

/// The release whose behaviour this is.
const KAFKA_VERSION: &str = "4.3.1";

/// The unit of times in `/proc` to user space, whatever the kernel's own is (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn write(page: &mut Page<'_>) -> fmt::Result {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("kafka_version", KAFKA_VERSION)];
    page.family(&names::BUILD_INFO, |family| family.number(&labels, 1_u64))?;
    // What cannot be read is left out.
    if let Some(seconds) = cpu_seconds(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default()) {
        page.number(&names::PROCESS_CPU, seconds)?;
    }
    if let Some(bytes) = resident_bytes(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
        page.number(&names::PROCESS_RESIDENT, bytes)?;
    }
    match std::fs::read_dir("/proc/self/fd") {
        // One of them is this listing's own.
        Ok(files) => page.number(&names::PROCESS_FILES, files.count().saturating_sub(1)),
        Err(_) => Ok(()),
    }
}

/// User and system time of `/proc/self/stat`. The name of the program, which may hold anything, ends with the last `)`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_whatever_the_program_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 5 0 100 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t  15360 kB\n"), Some(15_360 << 10));
        assert_eq!((cpu_seconds(""), resident_bytes("")), (None, None));
    }
}

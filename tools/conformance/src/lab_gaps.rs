//! How long nothing is acknowledged when the leader of a partition is killed under load, and when it is stopped cleanly: default settings,
//! three nodes in their namespaces, Milena and Apache Kafka in turn. Kafka's own client writes: franz-go asks for metadata once in five
//! seconds at most, and with it nothing shorter is seen.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use milena_histories::{Operation, Outcome, What};

use crate::flags::Flags;
use crate::lab::Lab;
use crate::lab_clients::TOPIC;
use crate::lab_faults::NODES;
use crate::namespaces;
use crate::report::Report;
use crate::server::{self, Kind};

/// Records a second: finer than what is measured.
const RATE: u32 = 500;
/// What belongs to an event comes within this.
const WINDOW_NS: i128 = 40_000_000_000;

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kinds =
        if flags.servers.0 == flags.servers.1 { vec![flags.servers.1] } else { vec![Kind::Kafka, Kind::Milena] };
    for kind in kinds {
        if let Some(reason) = server::missing(kind, flags).or_else(server::missing_java).or_else(namespaces::missing) {
            report.skip("lab gaps", &reason);
            continue;
        }
        let name = format!("lab gaps: {}", kind.name());
        report.outcome(&name, measure(kind, flags));
    }
    Ok(())
}

fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(0)
}

fn measure(kind: Kind, flags: &Flags) -> anyhow::Result<()> {
    let mut lab = Lab::start("lab-gaps", [kind; NODES], 1, flags)?;
    let namespace = lab.network.namespace(NODES);
    let writer = lab.target((1, RATE)).java_writers(&namespace, &[(1, "none")])?;
    std::thread::sleep(Duration::from_secs(5));
    let (mut kills, mut stops) = (Vec::new(), Vec::new());
    for round in 0..2 * flags.rounds.unwrap_or(20) {
        let leader = leader(&lab)?;
        if round % 2 == 0 {
            kills.push(now());
            lab.cluster.take(leader)?.kill()?;
        } else {
            stops.push(now());
            lab.cluster.take(leader)?.stop()?;
        }
        std::thread::sleep(Duration::from_secs(12));
        lab.cluster.start(leader)?;
        lab.cluster.await_in_sync()?;
        std::thread::sleep(Duration::from_secs(2));
    }
    let history = writer.history(Duration::from_secs(120))?;
    for (what, events) in [("kill -9", kills), ("clean stop", stops)] {
        let gaps = gaps(&history, &events);
        ensure!(!gaps.is_empty(), "nothing was measured");
        let at = |percent: usize| {
            gaps.get((gaps.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
        };
        println!("     {} {what}: {} times, write gap p50 {} p99 {} ms", kind.name(), gaps.len(), at(50), at(99));
        println!("     all of them: {gaps:?}");
    }
    (0..NODES).try_for_each(|at| lab.cluster.take(at)?.kill())?;
    let _ = std::fs::remove_dir_all(&lab.folder);
    let _ = std::fs::remove_dir_all(&lab.cluster.folder);
    Ok(())
}

/// Which node leads the partition.
fn leader(lab: &Lab) -> anyhow::Result<usize> {
    for at in 0..NODES {
        let Ok(mut wire) = lab.wire(at) else { continue };
        return usize::try_from(wire.leader(TOPIC, 0)? - 1).context("a leader");
    }
    anyhow::bail!("no node answers")
}

/// For each event the longest time, in milliseconds, without an acknowledgement that touches what follows it.
fn gaps(history: &[Operation], events: &[i128]) -> Vec<i128> {
    let written = history.iter().filter(|one| (one.what, one.outcome) == (What::Send, Outcome::Ok));
    let mut times: Vec<i128> = written.map(|one| one.at_ns).collect();
    times.sort_unstable();
    let longest = |event: &i128| {
        let pairs = times.iter().zip(times.iter().skip(1));
        let near = pairs.filter(|(from, to)| **to >= *event && **from <= *event + WINDOW_NS / 4);
        near.map(|(from, to)| (to - from) / 1_000_000).max()
    };
    let mut gaps: Vec<i128> = events.iter().filter_map(longest).collect();
    gaps.sort_unstable();
    gaps
}

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn the_gap_of_an_event_is_the_longest_silence_around_it() {
        let line = |ms: i64| format!("send\t1\tok\tlab-0\t{ms}\t{ms}\t{}\n", ms * 1_000_000);
        let times = (0..1000).chain(1700..60_000).chain(60_040..90_000);
        let history = milena_histories::parse(&times.map(line).collect::<String>()).expect("a history");
        assert_eq!(gaps(&history, &[998_000_000, 60_000_000_000]), [41, 701]);
    }
}

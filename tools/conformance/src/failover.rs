//! Groups whose coordinator goes: three brokers, `__consumer_offsets` with three replicas, a classic group and a consumer group
//! (KIP-848) of Java's consumers, and a transactional producer that commits offsets (`java/GroupLoad.java`). The broker that leads
//! the groups' partition is killed (SIGKILL), and another time stopped; it comes back. And one node whose groups live on while
//! Milena and Apache Kafka take turns on its disk.
//!
//! What the members are told is compared with what Apache Kafka tells them: that a generation or an epoch goes on, that nobody
//! loses a partition. Committed offsets must not go back for whoever looks, and every record must be read.

use anyhow::{Context as _, ensure};

use crate::cluster::{Cluster, Controllers};
use crate::flags::Flags;
use crate::load::Load;
use crate::report::Report;
use crate::server::{self, Kind, Node};
use crate::{scripts, text};

/// The first is the controller's node, which must go on: it has the partition last.
const PLACE: &str = "2,3,1";
const SETTINGS: [(&str, &str); 5] = [
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("group.initial.rebalance.delay.ms", "500"),
    ("group.consumer.heartbeat.interval.ms", "1000"),
    ("group.consumer.min.heartbeat.interval.ms", "1000"),
];

/// How a broker goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Killed,
    Stopped,
}

/// The clusters, compared, then the disks.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(flags.servers.0, flags).or_else(|| server::missing(flags.servers.1, flags)) {
        report.skip("failover", &reason);
        return Ok(());
    }
    let name = "failover of a coordinator";
    if flags.selects(name) {
        let (reference, candidate) = scripts::both(flags.servers, |name, kind| cluster(name, kind, flags));
        match (reference, candidate) {
            (Ok(expected), Ok(found)) => report.check(name, text::difference(&expected, &found)),
            (Err(error), _) => report.check(name, Some(format!("     the reference itself: {error:#}"))),
            (_, Err(error)) => report.check(name, Some(format!("     {error:#}"))),
        }
    }
    let (one, other) = flags.servers;
    for (kinds, way) in [([one, other], Way::Killed), ([other, one], Way::Stopped)] {
        let [first, second] = kinds.map(Kind::name);
        let name = format!("failover from {first} to {second} and back on one disk, {way:?}");
        if flags.selects(&name) {
            report.outcome(&name, disk(kinds, way, flags));
        }
    }
    Ok(())
}

/// What the groups of a cluster are told.
fn cluster(name: &str, kind: Kind, flags: &Flags) -> anyhow::Result<Vec<String>> {
    let name = format!("failover-{name}");
    let mut cluster = Cluster::with(&name, [kind; 3], Controllers::First, flags, &SETTINGS)?;
    for at in 0..cluster.members.len() {
        cluster.begin(at)?;
    }
    for member in &mut cluster.members {
        member.server.as_mut().context("a running member")?.await_answers()?;
    }
    let mut load = Load::of_groups(&cluster.bootstrap(), 3, Some(PLACE), &cluster.folder.join("load.err"))?;
    let mut lines = Vec::new();
    for round in 0..flags.rounds.unwrap_or(1) {
        for way in [Way::Killed, Way::Stopped] {
            let context = || format!("{}, round {round}, {way:?}", kind.name());
            lines.push(turn(&mut cluster, &mut load, way).with_context(context)?);
        }
    }
    let all = load.ask("everything")?;
    ensure!(all.starts_with("verified"), "{}: {all}", kind.name());
    cluster.stop()?;
    if !flags.keep {
        let _ = std::fs::remove_dir_all(&cluster.folder);
    }
    Ok(lines)
}

/// The coordinator goes and comes back as another's replica.
fn turn(cluster: &mut Cluster, load: &mut Load, way: Way) -> anyhow::Result<String> {
    let answer = load.ask("leader")?;
    let leader: usize = answer.strip_prefix("leader ").and_then(|id| id.parse().ok()).context(answer)?;
    ensure!(leader > 1, "the groups are with node {leader}, the controller's");
    let at = leader - 1;
    match way {
        Way::Killed => cluster.take(at)?.kill()?,
        Way::Stopped => cluster.take(at)?.stop()?,
    }
    let told = ask(load, "goes on", "told")?;
    let after = load.ask("leader")?;
    ensure!(after != format!("leader {leader}"), "the groups are where they were");
    cluster.start(at)?;
    ask(load, "in sync", "in sync")?;
    let back = ask(load, "goes on", "told")?;
    Ok(format!("node {leader} {way:?}: {told}; back: {back}"))
}

fn ask(load: &mut Load, command: &str, good: &str) -> anyhow::Result<String> {
    let answer = load.ask(command)?;
    ensure!(answer.starts_with(good), "{command}: {answer}");
    Ok(answer)
}

/// The groups of a node live on while one server takes over its disk from the other, and gives it back.
fn disk([first, second]: [Kind; 2], way: Way, flags: &Flags) -> anyhow::Result<()> {
    let node = Node::with("failover-disk", flags, &SETTINGS)?;
    let mut server = node.format_and_start(first)?;
    let mut load = Load::of_groups(&node.bootstrap(), 1, None, &node.at("load.err"))?;
    for kind in [second, first] {
        match way {
            Way::Killed => server.kill()?,
            Way::Stopped => server.stop()?,
        }
        server = node.start(kind).with_context(|| format!("{} opens the disk", kind.name()))?;
        let told = ask(&mut load, "goes on", "told").with_context(|| format!("on {}", kind.name()))?;
        let is_same =
            |group: &str| group.contains("generations +[0, 0], the same members, revoked 0, lost 0, shares [2, 2]");
        ensure!(told.matches(';').count() == 2, "{told}");
        ensure!(told.trim_end_matches(';').split(';').all(is_same), "{} moves the groups: {told}", kind.name());
    }
    ask(&mut load, "everything", "verified")?;
    server.stop()?;
    node.remove(flags);
    Ok(())
}

//! Damaged replicas: three nodes, three replicas of each partition. First they scrub, a byte in a closed segment of a follower is
//! changed, and one in a closed segment of a leader. Then they do not, a closed segment of a leader loses its end, and its
//! readers are who finds out. The logs must be set aside and fetched anew, partitions whose leader was damaged be led by another
//! node, and all replicas be the same bytes again; what is read meanwhile, and from whom, is never a wrong byte.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::cluster::{Cluster, Controllers, content};
use crate::flags::Flags;
use crate::ledger::{Kept, Ledger};
use crate::report::Report;
use crate::segment;
use crate::server::{self, Kind};
use crate::wire::Wire;

/// Who finds the damage, and how often nodes look for it.
const FINDERS: [(&str, &str); 2] = [("a scrub", "500"), ("a reader", "0")];
const TOPIC: &str = "damaged";
/// How long the replicas may take to be whole again.
const LIMIT: Duration = Duration::from_secs(60);

/// The part.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    for (finder, interval) in FINDERS {
        let name = format!("damage: replicas that {finder} finds damaged are whole again");
        if !flags.selects(&name) {
            continue;
        }
        if let Some(reason) = server::missing(Kind::Milena, flags) {
            report.skip(&name, &reason);
            continue;
        }
        let settings = [("milena.scrub.interval.ms", interval), ("log.index.interval.bytes", "1024")];
        let cluster = Cluster::with("damage", [Kind::Milena; 3], Controllers::First, flags, &settings);
        report.outcome(&name, cluster.and_then(|cluster| heal(cluster, interval != "0", flags)));
    }
    Ok(())
}

fn heal(mut cluster: Cluster, scrubs: bool, flags: &Flags) -> anyhow::Result<()> {
    for at in 0..cluster.members.len() {
        cluster.start(at)?;
    }
    let mut wire = connect(&cluster, 1)?;
    wire.create_replicated(TOPIC, (2, 3), &[])?;
    let mut ledger = Ledger::default();
    ledger.add_topic(TOPIC, 2, Kept::All);
    for partition in 0..2 {
        let leader = wire.leader(TOPIC, partition)?;
        let mut producer = connect(&cluster, leader)?;
        producer.await_leaders(TOPIC, 2)?;
        for _ in 0..40 {
            let codes = ledger.produce(&mut producer, &[(TOPIC, partition)], (50, 1500))?;
            ensure!(codes == [0], "refused with {codes:?}");
        }
    }
    let begin = Instant::now();
    while !is_same(&cluster) {
        ensure!(begin.elapsed() < LIMIT, "the replicas do not become the same");
        std::thread::sleep(Duration::from_millis(100));
    }
    let follower = 1 + wire.leader(TOPIC, 0)? % 3;
    let leader = wire.leader(TOPIC, 1)?;
    if scrubs {
        change_a_byte(&data(&cluster, follower)?.join(format!("{TOPIC}-0")))?;
        change_a_byte(&data(&cluster, leader)?.join(format!("{TOPIC}-1")))?;
    } else {
        let cut = closed(&data(&cluster, leader)?.join(format!("{TOPIC}-1")))?;
        cut.set_len(cut.metadata()?.len() / 2)?;
    }
    ensure!(!is_same(&cluster), "nothing is damaged");
    let begin = Instant::now();
    while !(is_same(&cluster) && (!scrubs || is_aside(&cluster, follower, 0)?) && is_aside(&cluster, leader, 1)?) {
        for member in &cluster.members {
            match ledger.clone().check(member.port) {
                // What was promised in an answer's head and is not there breaks the answer off.
                Err(error) if !scrubs && error.root_cause().is::<std::io::Error>() => {}
                checked => _ = checked.with_context(|| format!("node {} meanwhile", member.id))?,
            }
        }
        ensure!(begin.elapsed() < LIMIT, "the replicas are not whole again");
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begin.elapsed();
    ensure!(wire.leader(TOPIC, 1)? != leader, "node {leader} went on leading with a damaged log");
    for partition in 0..2 {
        let leads = wire.leader(TOPIC, partition)?;
        let port =
            cluster.members.iter().find(|member| i32::try_from(member.id) == Ok(leads)).context("a leader")?.port;
        let unreadable = ledger.clone().check(port)?.unreadable;
        let name = format!("{TOPIC}-{partition}");
        ensure!(unreadable.iter().all(|one| one.partition != name), "{unreadable:?}");
    }
    println!("     whole again after {} ms", took.as_millis());
    cluster.stop()?;
    if !flags.keep {
        let _ = std::fs::remove_dir_all(&cluster.folder);
    }
    Ok(())
}

fn connect(cluster: &Cluster, id: i32) -> anyhow::Result<Wire> {
    let member = cluster.members.iter().find(|member| i32::try_from(member.id) == Ok(id));
    Wire::connect(member.with_context(|| format!("node {id}"))?.port)
}

fn data(cluster: &Cluster, id: i32) -> anyhow::Result<std::path::PathBuf> {
    let member = cluster.members.iter().find(|member| i32::try_from(member.id) == Ok(id));
    Ok(member.with_context(|| format!("node {id}"))?.data())
}

/// Whether the logs of all replicas are there and the same bytes.
fn is_same(cluster: &Cluster) -> bool {
    (0..2).all(|partition| {
        let name = format!("{TOPIC}-{partition}");
        // A log may be on its way out or in.
        let logs: Vec<Vec<u8>> =
            cluster.members.iter().map(|member| content(&member.data().join(&name)).unwrap_or_default()).collect();
        logs.windows(2).all(|pair| pair.first() == pair.last()) && logs.iter().all(|log| !log.is_empty())
    })
}

/// Whether the damaged log was kept under another name.
fn is_aside(cluster: &Cluster, id: i32, partition: i32) -> anyhow::Result<bool> {
    let begin = format!("{TOPIC}-{partition}.");
    for entry in std::fs::read_dir(data(cluster, id)?)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&begin) && name.ends_with("-stray")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first segment, which is closed.
fn closed(partition: &Path) -> anyhow::Result<File> {
    let segments = segment::logs(partition)?;
    ensure!(segments.len() > 1, "no segment is closed");
    Ok(File::options().read(true).write(true).open(segments.first().context("a segment")?)?)
}

fn change_a_byte(partition: &Path) -> anyhow::Result<()> {
    let file = closed(partition)?;
    let at = file.metadata()?.len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&byte.map(|byte| byte ^ 0x10), at)?;
    Ok(())
}

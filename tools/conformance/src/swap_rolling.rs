//! Trading places node by node: three nodes of Apache Kafka, each broker and controller, become Milena one after the other and then
//! Apache Kafka again, stopped or killed by draw, while the other two serve. One load writes without pause (`java/KillLoad.java`),
//! another does what that of the rounds does, with three replicas of everything (`java/SwapLoad.java`). At the end the logs of all
//! replicas are the same bytes.

use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::cluster::{Cluster, Controllers, verified};
use crate::flags::Flags;
use crate::layout;
use crate::load::Load;
use crate::report::Report;
use crate::server::{self, Kind};
use crate::swap::{SETTINGS, ask, dump, everything_is_there};

/// Of the load, while all are there; while one is gone, it reads, commits and writes on.
const ACTIONS: u32 = 12;
/// Records a second of each producer that writes without pause: all of them are read several times.
const PACE: u32 = 150;

/// Once around, there and back.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let name = format!("swap node by node, seed {}", flags.seed);
    let mut cluster = Cluster::with("swap-rolling", [Kind::Kafka; 3], Controllers::All, flags, &SETTINGS)?;
    let outcome = there_and_back(&mut cluster, flags.seed).with_context(|| last_words(&cluster));
    let is_kept = flags.keep || outcome.is_err();
    report.outcome(&name, outcome.with_context(|| format!("in {}", cluster.folder.display())));
    if !is_kept {
        let _ = std::fs::remove_dir_all(&cluster.folder);
    }
    Ok(())
}

/// What the three end with; none of them may be there any more.
fn last_words(cluster: &Cluster) -> String {
    cluster.running().map(server::Server::last_words).collect::<Vec<_>>().join("\n     --\n     ")
}

fn there_and_back(cluster: &mut Cluster, seed: u64) -> anyhow::Result<()> {
    let nodes = cluster.members.len();
    (0..nodes).try_for_each(|at| cluster.begin(at))?;
    (0..nodes).try_for_each(|at| cluster.await_answers(at))?;
    let mut stream = Load::start(&cluster.bootstrap(), 3, PACE, &cluster.folder.join("stream.err"))?;
    let mut load = Load::swap(&cluster.bootstrap(), seed, 3, &cluster.folder.join("load.err"))?;
    for kind in [Kind::Milena, Kind::Kafka] {
        for at in 0..nodes {
            let node = at + 1;
            exchange(cluster, (at, kind), &mut stream, &mut load)
                .with_context(|| format!("node {node} becomes {}", kind.name()))?;
        }
    }
    ask(&mut load, "finish")?;
    ask(&mut load, "remember")?;
    ask(&mut load, "compare")?;
    verified(&stream.ask("everything")?)?;
    ensure!(stream.ask("pause")? == "paused", "the stream does not come to an end");
    verified(&stream.ask("verify")?)?;
    cluster.await_in_sync()?;
    // One alone waits minutes for a controller: it is killed.
    for at in 0..nodes {
        let server = cluster.take(at)?;
        if at == 0 { server.stop()? } else { server.kill()? }
    }
    cluster.same_logs()?;
    let dirs: Vec<_> = cluster.members.iter().map(crate::cluster::Member::data).collect();
    println!("     at the end{}", dump(layout::RELEASE, true, &cluster.folder.join("dump"), &dirs)?);
    Ok(())
}

/// One node goes, the others serve, and it comes back as another.
fn exchange(
    cluster: &mut Cluster,
    (at, kind): (usize, Kind),
    stream: &mut Load,
    load: &mut Load,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    ask(load, &format!("step {ACTIONS}"))?;
    ask(load, "remember").context("what the cluster was asked for")?;
    ask(load, "flight")?;
    let is_killed = cluster.random.below(2) == 0;
    let server = cluster.take(at)?;
    let ended = if is_killed { server.kill() } else { server.stop() };
    ended.context("its end")?;
    // Leaders change: what another replica knows of producers it has read out of its log, as if the leader had been killed.
    ensure!(stream.ask("flowing")? == "flowing", "nothing is acknowledged without one of three");
    everything_is_there(load, true).context("without it")?;
    cluster.members.get_mut(at).context("a member")?.kind = kind;
    cluster.start(at)?;
    cluster.await_in_sync()?;
    let told = everything_is_there(load, true).context("with it")?;
    let streamed = verified(&stream.ask("verify")?)?;
    let (node, how) = (at + 1, if is_killed { "killed" } else { "stopped" });
    println!(
        "     node {node} {how}, now {}: {told}, stream {streamed}, {:.1} s",
        kind.name(),
        begin.elapsed().as_secs_f32()
    );
    Ok(())
}

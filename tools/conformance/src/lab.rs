//! The lab: clusters of three real servers, each in a network namespace of its own, under faults drawn from a seed, with real clients
//! that write and read. Each notes its operations in the format of all histories, and `milena-histories` judges them: nothing
//! acknowledged is lost, nothing is there twice or differs, everything can be read within a minute of healing. At the end the logs of all
//! replicas are the same bytes.
//!
//! Apache Kafka can be run the same way, as control, alone or mixed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use milena_histories::{Figures, Operation, Rules, check, unread};

use crate::cluster::{Cluster, Controllers};
use crate::flags::Flags;
use crate::lab_clients::{Client, TOPIC, Target};
use crate::lab_faults::{Fault, NODES, PLACES};
use crate::layout;
use crate::namespaces::{self, Network};
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind};
use crate::wire::Wire;

const PARTITIONS: u32 = 4;
/// Records a second of each writer.
const RATE: u32 = 50;
/// Within this everything must be readable once all is healed.
const HEALED: Duration = Duration::from_secs(60);
/// How long clients may take to finish beyond that.
const FINISH_LIMIT: Duration = Duration::from_secs(120);
/// The reader that follows, the one that begins when all is healed, and the one that reads when all writers have ended.
const FOLLOWER: u32 = 7;
const AFTER_HEAL: u32 = 8;
pub(crate) const LAST: u32 = 9;
/// Findings that are told.
const TOLD_MAX: usize = 12;
/// The last reader read to the end.
const WHOLE: Rules = Rules { is_read_to_the_end: true };
/// Kafka's defaults where a cluster of the other tests has shorter ones.
const SETTINGS: [(&str, &str); 5] = [
    ("broker.session.timeout.ms", "9000"),
    ("broker.heartbeat.interval.ms", "2000"),
    ("offsets.topic.num.partitions", "3"),
    ("transaction.state.log.num.partitions", "3"),
    ("unclean.leader.election.enable", "false"),
];

/// The task: each run is one check.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kinds = kinds(flags)?;
    let missing = kinds.iter().find_map(|kind| server::missing(*kind, flags)).or_else(server::missing_java);
    if let Some(reason) = missing.or_else(namespaces::missing) {
        report.skip("lab", &reason);
        return Ok(());
    }
    for number in 0..flags.rounds.unwrap_or(12) {
        let seed = flags.seed.wrapping_add(u64::from(number));
        println!("run {}: seed {seed}, {} s", number + 1, flags.seconds);
        let outcome = Lab::start("lab", kinds, PARTITIONS, flags).and_then(|lab| lab.one(seed, flags));
        report.outcome(&format!("lab: seed {seed}"), outcome);
    }
    Ok(())
}

/// `--server milena|kafka|mixed`.
pub(crate) fn kinds(flags: &Flags) -> anyhow::Result<[Kind; NODES]> {
    use Kind::{Kafka, Milena};
    if flags.is_mixed {
        return Ok([Milena, Kafka, Milena]);
    }
    Ok([flags.servers.1; NODES])
}

/// A cluster in its network.
pub(crate) struct Lab {
    // The nodes end before their network.
    pub(crate) cluster: Cluster,
    pub(crate) network: Network,
    pub(crate) folder: PathBuf,
    pub(crate) bootstrap: String,
}

impl Lab {
    pub(crate) fn start(name: &str, kinds: [Kind; NODES], partitions: u32, flags: &Flags) -> anyhow::Result<Self> {
        let network = Network::new(PLACES)?;
        let place = |at| (network.address(at), Some(network.namespace(at)), 9092);
        let places = (0..NODES).map(place).collect();
        let mut cluster = Cluster::at(places, (name, kinds), Controllers::All, flags, &SETTINGS)?;
        (0..NODES).try_for_each(|at| cluster.begin(at))?;
        (0..NODES).try_for_each(|at| cluster.await_answers(at))?;
        let bootstrap = cluster.bootstrap();
        let folder = layout::scratch(&format!("{name}-clients"))?;
        let lab = Self { cluster, network, folder, bootstrap };
        let partitions = i32::try_from(partitions)?;
        lab.wire(0)?.create_replicated(TOPIC, (partitions, 3), &[("min.insync.replicas", "2")])?;
        Ok(lab)
    }

    pub(crate) fn wire(&self, at: usize) -> anyhow::Result<Wire> {
        let member = self.cluster.members.get(at).context("a node")?;
        Wire::connect_to(&member.host, member.port)
    }

    pub(crate) fn target(&self, (partitions, rate): (u32, u32)) -> Target<'_> {
        Target { bootstrap: &self.bootstrap, partitions, rate, folder: &self.folder }
    }

    fn one(mut self, seed: u64, flags: &Flags) -> anyhow::Result<()> {
        let mut random = Random::new(seed);
        let places: Vec<String> = (0..PLACES).map(|at| self.network.namespace(at)).collect();
        let place = |at: usize| places.get(NODES + at % (PLACES - NODES)).map_or("", String::as_str);
        let target = self.target((PARTITIONS, RATE));
        let mut writers = vec![
            target.go_writer(place(0), 1, "none")?,
            target.go_writer(place(1), 2, "lz4")?,
            target.c_writer(place(0), 3, "snappy")?,
            target.java_writers(place(1), &[(4, "zstd"), (5, "gzip")])?,
        ];
        let follower = target.reader(place(0), FOLLOWER)?;
        let told = self.disturb(&mut random, &mut writers, flags)?;
        println!("     {told}");
        let healed = Instant::now();
        let target = self.target((PARTITIONS, RATE));
        let mut history = target.reader(place(1), AFTER_HEAL)?.history(HEALED).context("not readable after healing")?;
        println!("     everything was read again {:.1} s after healing", healed.elapsed().as_secs_f64());
        writers.iter_mut().for_each(Client::finish);
        for writer in writers {
            history.extend(as_sent(writer.history(FINISH_LIMIT)?));
        }
        history.extend(follower.history(FINISH_LIMIT)?);
        history.extend(target.reader(place(0), LAST)?.history(FINISH_LIMIT)?);
        let Figures { acknowledged, unknown, .. } = judge(&history, &self.folder)?;
        let is_void = acknowledged < 3 * (acknowledged + unknown) / 10;
        ensure!(!is_void, "void: too little was acknowledged");
        self.cluster.await_in_sync()?;
        // What was written is in the files; the last of Apache Kafka's nodes would wait in vain for controllers to let it go.
        std::thread::sleep(Duration::from_secs(1));
        (0..NODES).try_for_each(|at| self.cluster.take(at)?.kill())?;
        self.cluster.same_logs_of(TOPIC, PARTITIONS, |_| true)?;
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&self.folder);
            let _ = std::fs::remove_dir_all(&self.cluster.folder);
        }
        Ok(())
    }

    /// One fault after the other, and quiet between them; all is healed at the end.
    fn disturb(&mut self, random: &mut Random, writers: &mut [Client], flags: &Flags) -> anyhow::Result<String> {
        let end = Instant::now() + Duration::from_secs_f64(flags.seconds);
        let mut told = String::from("faults:");
        std::thread::sleep(Duration::from_secs(3));
        while Instant::now() < end {
            let fault = Fault::draw(random);
            let lasts = fault.lasts(random);
            let _ = write!(told, " {fault:?} {:.1} s;", lasts.as_secs_f64());
            fault.begin(&self.network, &mut self.cluster).with_context(|| format!("{fault:?}"))?;
            std::thread::sleep(lasts);
            fault.end(&self.network, &mut self.cluster).with_context(|| format!("the end of {fault:?}"))?;
            std::thread::sleep(Duration::from_millis(random.below(6_000)));
            writers.iter_mut().try_for_each(Client::must_be_alive)?;
        }
        self.network.heal()?;
        Ok(told)
    }
}

/// A history in which nothing may be wrong, and in which mistakes that are put into it are found.
pub(crate) fn judge(history: &[Operation], folder: &Path) -> anyhow::Result<Figures> {
    let figures = Figures::of(history);
    let Figures { acknowledged, unknown, failed, read } = figures;
    println!("     {acknowledged} acknowledged, {unknown} unknown, {failed} failed, {read} read");
    let anomalies = check(history, WHOLE);
    let mut missing = unread(history, &LAST.to_string());
    let count = missing.len();
    missing.truncate(TOLD_MAX);
    ensure!(
        count == 0 && anomalies.is_legal(),
        "histories in {}: {count} records not read at the end:\n     {}\n{anomalies}",
        folder.display(),
        missing.join("\n     ")
    );
    ensure!(acknowledged > 0, "nothing was acknowledged");
    planted(history)?;
    Ok(figures)
}

/// A writer's operations in the order in which it began them, by its numbers: where one timed out the next one's answer may
/// have been there before.
pub(crate) fn as_sent(mut operations: Vec<Operation>) -> Vec<Operation> {
    operations.sort_by_key(|one| one.value.parse::<u64>().unwrap_or(0));
    operations
}

/// The run's own history with a record lost, one doubled, and one changed: each must be found.
fn planted(history: &[Operation]) -> anyhow::Result<()> {
    let last = |one: &&Operation| one.process == LAST.to_string();
    let victim = history.iter().rev().find(last).context("a record that was read")?;
    let mut lost = history.to_vec();
    lost.retain(|one| one.process != victim.process || one.value != victim.value || one.key != victim.key);
    ensure!(!unread(&lost, &victim.process).is_empty(), "a lost record was not found");
    for changed in [
        Operation { offset: victim.offset.map(|offset| offset + 1), ..victim.clone() },
        Operation { value: format!("{}000", victim.value), ..victim.clone() },
    ] {
        let mut spoiled = history.to_vec();
        spoiled.push(changed);
        ensure!(!check(&spoiled, WHOLE).is_legal(), "a record that is there twice or differs was not found");
    }
    Ok(())
}

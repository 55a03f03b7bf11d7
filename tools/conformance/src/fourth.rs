//! A cluster of three nodes, broker and controller each, gets a fourth and loses its first while clients write and read: partitions are
//! moved, voters change, the first node is stopped and forgotten, each step with Kafka's own tool. Writers (franz-go, librdkafka,
//! Java), readers and groups of both protocols must not be told anything that their libraries do not get over by themselves; nothing
//! acknowledged is lost, nothing is twice, and the replicas that stay are the same bytes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_histories::{Figures, Operation, What};
use milena_protocol::messages::{MetadataRequest, MetadataResponse};

use crate::cluster::{Cluster, Controllers, content};
use crate::flags::Flags;
use crate::lab::{LAST, as_sent, judge};
use crate::lab_clients::{Client, TOPIC, Target};
use crate::report::Report;
use crate::server::{self, Kind};
use crate::wire::Wire;

const NAME: &str = "fourth: a node comes under load, and the first one goes";
const PARTITIONS: u32 = 4;
/// Records a second of each of four writers.
const RATE: u32 = 250;
/// Nobody dies here: who is silent on a busy machine is waited for.
const SETTINGS: [(&str, &str); 5] = [
    ("offsets.topic.num.partitions", "4"),
    ("broker.session.timeout.ms", "30000"),
    ("broker.heartbeat.interval.ms", "1000"),
    ("controller.quorum.fetch.timeout.ms", "20000"),
    ("controller.quorum.election.timeout.ms", "5000"),
];
/// Readers: franz-go, and groups of Java's consumers.
const FOLLOWER: u32 = 7;
const GROUPS: [(u32, &str); 2] = [(11, "classic"), (12, "consumer")];
/// How long any step may take until it shows.
const LIMIT: Duration = Duration::from_secs(120);

const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const ELECTION: &str = "org.apache.kafka.tools.LeaderElectionCommand";
const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";

/// The part.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    let go = crate::clients::Client::Go.missing().or_else(|| crate::clients::Client::C.missing());
    match server::missing(kind, flags).or_else(server::missing_java).or(go) {
        _ if !flags.selects(NAME) => {}
        Some(reason) => report.skip(NAME, &reason),
        None => report.outcome(NAME, Change::start(kind, flags).and_then(|change| change.test(flags))),
    }
    Ok(())
}

struct Change {
    cluster: Cluster,
    kind: Kind,
    /// Of the three nodes that are there at first.
    bootstrap: String,
    begin: Instant,
}

impl Change {
    fn start(kind: Kind, flags: &Flags) -> anyhow::Result<Self> {
        let mut cluster = Cluster::with("fourth", [kind; 3], Controllers::All, flags, &SETTINGS)?;
        (0..3).try_for_each(|at| cluster.begin(at))?;
        (0..3).try_for_each(|at| cluster.await_answers(at))?;
        let bootstrap = cluster.bootstrap();
        let change = Self { cluster, kind, bootstrap, begin: Instant::now() };
        let partitions = i32::try_from(PARTITIONS)?;
        change.wire(1)?.create_replicated(TOPIC, (partitions, 3), &[("min.insync.replicas", "2")])?;
        Ok(change)
    }

    fn test(mut self, flags: &Flags) -> anyhow::Result<()> {
        let (bootstrap, folder) = (self.bootstrap.clone(), self.cluster.folder.clone());
        let target = Target { bootstrap: &bootstrap, partitions: PARTITIONS, rate: RATE, folder: &folder };
        let mut writers = vec![
            target.go_writer("", 1, "lz4")?,
            target.c_writer("", 3, "snappy")?,
            target.java_writers("", &[(4, "zstd"), (5, "none")])?,
        ];
        let readers = vec![target.reader("", FOLLOWER)?, target.java_readers("", &GROUPS)?];
        let outcome = self.change(&mut writers, flags);
        outcome.with_context(|| {
            let words = self.cluster.running().map(server::Server::last_words).collect::<Vec<_>>();
            format!("after {:.1} s; {}", self.begin.elapsed().as_secs_f64(), words.join("\n     --\n     "))
        })?;
        writers.iter_mut().for_each(Client::finish);
        let mut history = Vec::new();
        for writer in writers {
            history.extend(as_sent(writer.history(LIMIT)?));
        }
        for reader in readers {
            history.extend(reader.history(LIMIT)?);
        }
        history.extend(target.reader("", LAST)?.history(LIMIT)?);
        let Figures { unknown, failed, .. } = judge(&history, &folder)?;
        ensure!(unknown + failed == 0, "clients were told of {unknown} unknown and {failed} failed writes");
        undisturbed(&history)?;
        self.cluster.await_in_sync()?;
        (1..4).try_for_each(|at| self.cluster.take(at)?.kill())?;
        self.cluster.same_logs_of(TOPIC, PARTITIONS, |member| member.id != 1)?;
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&folder);
        }
        Ok(())
    }

    /// The fourth node comes, the first one goes.
    fn change(&mut self, writers: &mut [Client], flags: &Flags) -> anyhow::Result<()> {
        self.flows(writers).context("at first")?;
        let fourth = self.cluster.add(self.kind, flags, &SETTINGS)?;
        self.cluster.start(fourth)?;
        self.await_metadata("four brokers", |metadata| brokers(metadata) == [1, 2, 3, 4])?;
        let controllers = format!("--bootstrap-controller {}", self.cluster.controllers());
        let config = self.cluster.members.get(fourth).context("the fourth")?.config();
        let added = format!("--command-config {} {controllers} add-controller", config.display());
        let said = self.cluster.tool(QUORUM, &added)?;
        ensure!(said.contains("Added controller 4 with directory id"), "{said}");
        self.told("a fourth node votes");

        self.reassign("1,2,3,4").context("move to four")?;
        self.await_metadata("it leads", |metadata| leaders(metadata).contains(&4))?;
        self.flows(writers).context("with four")?;
        self.told("it leads partitions");

        self.reassign("2,3,4").context("move away from the first")?;
        self.await_metadata("nothing on the first", |metadata| {
            replicas(metadata) == [2, 3, 4] && !leaders(metadata).contains(&1)
        })?;
        self.await_files_gone()?;
        let first = self.cluster.members.first().context("the first")?.directory();
        let removed = format!("{controllers} remove-controller --controller-id 1 --controller-directory-id {first}");
        let said = self.cluster.tool(QUORUM, &removed)?;
        ensure!(said.contains("controller 1 with directory id"), "{said}");
        self.told("the first has no partition and no vote");

        self.cluster.take(0)?.stop()?;
        let said = self.cluster.tool(CLUSTER, &format!("unregister --bootstrap-server {} --id 1", self.bootstrap))?;
        ensure!(said.contains("Broker 1 is no longer registered"), "{said}");
        self.await_metadata("three brokers", |metadata| brokers(metadata) == [2, 3, 4])?;
        let status = self.cluster.tool(QUORUM, &format!("--bootstrap-server {} describe --status", self.bootstrap))?;
        let voters = status.lines().find(|line| line.starts_with("CurrentVoters:")).context("voters")?;
        ensure!([2, 3, 4].iter().all(|id| voters.contains(&format!("\"id\": {id},"))), "{voters}");
        ensure!(!voters.contains("\"id\": 1,"), "{voters}");
        self.flows(writers).context("without the first")?;
        self.told("the first is gone");
        Ok(())
    }

    fn told(&self, what: &str) {
        println!("     after {:.1} s {what}", self.begin.elapsed().as_secs_f64());
    }

    fn wire(&self, at: usize) -> anyhow::Result<Wire> {
        Wire::connect(self.cluster.members.get(at).context("a node")?.port)
    }

    /// All partitions of all topics go to these brokers, the preferred ones lead.
    fn reassign(&self, brokers: &str) -> anyhow::Result<()> {
        let server = format!("--bootstrap-server {}", self.bootstrap);
        let (topics, plan) = (self.cluster.folder.join("topics.json"), self.cluster.folder.join("plan.json"));
        let names = format!("{{\"topic\": \"{TOPIC}\"}}, {{\"topic\": \"__consumer_offsets\"}}");
        std::fs::write(&topics, format!("{{\"topics\": [{names}], \"version\": 1}}"))?;
        let asked =
            format!("{server} --generate --topics-to-move-json-file {} --broker-list {brokers}", topics.display());
        let said = self.cluster.tool(REASSIGN, &asked)?;
        let proposed = said.lines().skip_while(|line| !line.starts_with("Proposed")).nth(1).context("a plan")?;
        std::fs::write(&plan, proposed)?;
        let plan = format!("{server} --reassignment-json-file {}", plan.display());
        let said = self.cluster.tool(REASSIGN, &format!("{plan} --execute --throttle 50000000"))?;
        ensure!(said.contains("Successfully started partition reassignments"), "{said}");
        let begin = Instant::now();
        loop {
            let said = self.cluster.tool(REASSIGN, &format!("{plan} --verify"))?;
            let count = |end: &str| said.lines().filter(|line| line.ends_with(end)).count();
            match (count("is completed."), count("is still in progress.")) {
                (8, 0) => break,
                (done, going) if done + going == 8 && begin.elapsed() < LIMIT => {}
                _ => bail!("{said}"),
            }
        }
        let elected = format!("{server} --election-type preferred --all-topic-partitions");
        self.cluster.tool(ELECTION, &elected).map(|_| ())
    }

    /// Waits until what the second node knows is so.
    fn await_metadata(&self, what: &str, is_so: impl Fn(&MetadataResponse) -> bool) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let metadata = self.wire(1)?.call(12, &MetadataRequest { topics: None, ..Default::default() })?;
            if is_so(&metadata) {
                return Ok(());
            }
            ensure!(begin.elapsed() < LIMIT, "{what}: not so in {metadata:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first node keeps no file of what it does not have any more.
    fn await_files_gone(&self) -> anyhow::Result<()> {
        let data = self.cluster.members.first().context("the first")?.data();
        let begin = Instant::now();
        while let Some(name) =
            (0..PARTITIONS).map(|index| format!("{TOPIC}-{index}")).find(|one| data.join(one).exists())
        {
            ensure!(begin.elapsed() < LIMIT, "the first node still has {name}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Every partition grows somewhere, and no writer has ended.
    fn flows(&self, writers: &mut [Client]) -> anyhow::Result<()> {
        let end = |name: &str| {
            let logs = self.cluster.members.iter().map(|member| content(&member.data().join(name)));
            logs.filter_map(|log| log.ok().map(|log| log.len())).max()
        };
        for name in (0..PARTITIONS).map(|index| format!("{TOPIC}-{index}")) {
            let (before, begin) = (end(&name), Instant::now());
            while end(&name) <= before {
                ensure!(begin.elapsed() < LIMIT, "{name} does not grow");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        writers.iter_mut().try_for_each(Client::must_be_alive)
    }
}

/// No group was assigned anything twice: moving the coordinator is not an event for members.
fn undisturbed(history: &[Operation]) -> anyhow::Result<()> {
    for (process, protocol) in GROUPS {
        let mine = |one: &&Operation| one.what == What::Seek && one.process == process.to_string();
        let assigned = history.iter().filter(mine).count();
        ensure!(assigned == PARTITIONS as usize, "the {protocol} group was assigned {assigned} partitions");
    }
    Ok(())
}

fn brokers(metadata: &MetadataResponse) -> Vec<i32> {
    let ids: BTreeSet<i32> = metadata.brokers.iter().map(|broker| broker.node_id).collect();
    ids.into_iter().collect()
}

fn leaders(metadata: &MetadataResponse) -> Vec<i32> {
    metadata.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.leader_id).collect()
}

fn replicas(metadata: &MetadataResponse) -> Vec<i32> {
    let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let ids: BTreeSet<i32> = partitions.flat_map(|partition| partition.replica_nodes.iter().copied()).collect();
    ids.into_iter().collect()
}

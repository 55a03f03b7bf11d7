//! Three nodes that are broker and controller each, under a load that goes on without pause: the active controller is killed
//! (SIGKILL), again and again, another one serves, the killed one comes back as a follower. What was acknowledged must be
//! there, and the logs of the replicas and of the metadata be the same bytes. Apache Kafka's tools read and change the
//! quorum. The same with a node of Milena between two of Apache Kafka, until either kind has led.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_protocol::Text;
use milena_protocol::messages::DescribeQuorumRequest;
use milena_protocol::messages::describe_quorum_request::{PartitionData, TopicData};

use crate::cluster::{Cluster, Controllers, Member, content, verified};
use crate::controllers::{Compared, Place};
use crate::flags::Flags;
use crate::load::Load;
use crate::report::Report;
use crate::server::{self, Kind};
use crate::wire::Wire;

const METADATA: &str = "__cluster_metadata";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
const SHELL: &str = "org.apache.kafka.shell.MetadataShell";
/// Kills of the active controller in one run, at least; with two kinds until either has led.
const ROUNDS: u32 = 3;
const ROUNDS_MAX: u32 = 12;
/// Records a second of each of the load's producers: the run takes minutes, and everything is read at the end.
const PACE: u32 = 700;
const SLICE_PACE: u32 = 200;
/// How long there may be no active controller.
const ELECTION_LIMIT: Duration = Duration::from_secs(90);
/// Who is kept waiting by a busy machine for seconds must get through an election all the same, and a broker must be taken in.
const SETTINGS: [(&str, &str); 3] = [
    ("controller.quorum.fetch.timeout.ms", "5000"),
    ("controller.quorum.election.timeout.ms", "3000"),
    ("initial.broker.registration.timeout.ms", "300000"),
];
/// A version of DescribeQuorum that all know.
const VERSION: i16 = 1;

/// A failover each way between Milena and Apache Kafka.
const SLICE: &str = "elections: Milena between two of Apache Kafka hands over and takes over";

/// A short run of a mixed quorum.
pub(crate) fn slice(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [Kind::Kafka, Kind::Milena, Kind::Kafka];
    let missing = kinds.iter().find_map(|kind| server::missing(*kind, flags)).or_else(server::missing_java);
    match missing {
        _ if !flags.selects(SLICE) => {}
        Some(reason) => report.skip(SLICE, &reason),
        None => report.outcome(SLICE, Quorum::new("elections", kinds, flags).and_then(|quorum| quorum.each_way(flags))),
    }
    Ok(())
}

/// The quorums: of Milena alone, and with one of Milena between two of Apache Kafka.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    use Kind::{Kafka, Milena};
    for (folder, name, kinds) in [
        ("quorum", "quorum: three of Milena", [Milena, Milena, Milena]),
        ("mixed-quorum", "quorum: Milena between two of Apache Kafka", [Kafka, Milena, Kafka]),
    ] {
        if !flags.selects(name) {
            continue;
        }
        let missing = kinds.iter().find_map(|kind| server::missing(*kind, flags)).or_else(server::missing_java);
        match missing {
            Some(reason) => report.skip(name, &reason),
            None => {
                println!("{name}: seed {}", flags.seed);
                report.outcome(name, Quorum::new(folder, kinds, flags).and_then(|quorum| quorum.test(flags)));
            }
        }
    }
    Ok(())
}

struct Quorum {
    cluster: Cluster,
    /// The kinds that were the active controller.
    led: Vec<Kind>,
}

impl Quorum {
    fn new(folder: &str, kinds: [Kind; 3], flags: &Flags) -> anyhow::Result<Self> {
        Ok(Self { cluster: Cluster::with(folder, kinds, Controllers::All, flags, &SETTINGS)?, led: Vec::new() })
    }

    fn start(&mut self, pace: u32) -> anyhow::Result<Load> {
        let nodes = self.cluster.members.len();
        (0..nodes).try_for_each(|at| self.cluster.begin(at))?;
        (0..nodes).try_for_each(|at| self.cluster.await_answers(at))?;
        Load::start(&self.cluster.bootstrap(), 3, pace, &self.cluster.folder.join("load.err"))
    }

    fn test(mut self, flags: &Flags) -> anyhow::Result<()> {
        let mut load = self.start(PACE)?;
        let mut round = 0;
        let rounds = flags.rounds.unwrap_or(ROUNDS);
        while round < rounds || (!self.all_have_led() && round < ROUNDS_MAX) {
            round += 1;
            let outcome = self.round(round, &mut load);
            outcome.with_context(|| format!("round {round}; {}", self.last_words()))?;
        }
        ensure!(self.all_have_led(), "only {:?} was the active controller in {round} rounds", self.led);
        self.described().context("describe")?;
        self.voters_changed(&mut load).context("change the voters")?;
        self.end(&mut load)?;
        self.files_read().context("read the files")?;
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&self.cluster.folder);
        }
        Ok(())
    }

    /// Milena takes over from Apache Kafka, and Apache Kafka from Milena.
    fn each_way(mut self, flags: &Flags) -> anyhow::Result<()> {
        let mut load = self.start(SLICE_PACE)?;
        let begin = Instant::now();
        let mut ways = Vec::new();
        let mut compared = Compared::default();
        while !(ways.contains(&Kind::Kafka) && ways.contains(&Kind::Milena)) {
            ensure!(load.ask("flowing")? == "flowing", "nothing is acknowledged");
            let (at, epoch) = self.leader()?;
            let places = self.places(at, epoch);
            if !compared.ask(&places, || Ok(self.leader()? == (at, epoch))).context("ask the controllers")? {
                continue;
            }
            let kind = self.cluster.members.get(at).context("the leader")?.kind;
            let outcome = match kind {
                Kind::Milena => self.taken_over(at, epoch),
                Kind::Kafka => self.takes_over(at, epoch, ways.len()),
            };
            outcome.with_context(|| format!("from {}; {}", kind.name(), self.last_words()))?;
            ways.push(kind);
            println!(
                "     after {:.1} s: {} had led, {}",
                begin.elapsed().as_secs_f64(),
                kind.name(),
                verified(&load.ask("verify")?)?
            );
        }
        println!("     {}", compared.told()?);
        self.cluster.await_in_sync()?;
        self.end(&mut load)?;
        self.files_read().context("read the files")?;
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&self.cluster.folder);
        }
        Ok(())
    }

    /// The controllers, of which the one `at` leads.
    fn places(&self, at: usize, epoch: i32) -> Vec<Place> {
        let place = |(place, member): (usize, &Member)| Place {
            kind: member.kind,
            id: member.id,
            port: member.port + 1,
            leads: place == at,
            epoch,
        };
        self.cluster.members.iter().enumerate().map(place).collect()
    }

    /// Milena leads and dies: one of the others is elected, both of Apache Kafka.
    fn taken_over(&mut self, at: usize, epoch: i32) -> anyhow::Result<()> {
        self.cluster.take(at)?.kill()?;
        let (next, next_epoch) = self.leader()?;
        ensure!(next != at && next_epoch > epoch, "node {} leads in epoch {next_epoch}, {epoch} before", next + 1);
        self.cluster.start(at)
    }

    /// Apache Kafka leads and dies, and only Milena may be elected: the other follower was away while records were committed.
    fn takes_over(&mut self, at: usize, epoch: i32, number: usize) -> anyhow::Result<()> {
        let mut members = self.cluster.members.iter().enumerate();
        let other = members.find(|(other, member)| *other != at && member.kind == Kind::Kafka).context("a follower")?.0;
        self.cluster.take(other)?.kill()?;
        self.cluster.topics(&format!("--create --topic without-{number} --partitions 2 --replication-factor 2"))?;
        self.cluster.take(at)?.kill()?;
        self.cluster.begin(other)?;
        let (next, next_epoch) = self.leader()?;
        let kind = self.cluster.members.get(next).context("the leader")?.kind;
        ensure!(kind == Kind::Milena && next_epoch > epoch, "node {} leads in epoch {next_epoch}", next + 1);
        self.cluster.begin(at)?;
        self.cluster.await_answers(other)?;
        self.cluster.await_answers(at)
    }

    /// Everything acknowledged is there, and all replicas are the same.
    fn end(&mut self, load: &mut Load) -> anyhow::Result<()> {
        verified(&load.ask("everything")?)?;
        ensure!(load.ask("pause")? == "paused", "the load does not come to an end");
        verified(&load.ask("verify")?)?;
        self.stop()?;
        self.cluster.same_logs()?;
        self.same_metadata()
    }

    /// Stops all. A node of Apache Kafka waits minutes for a controller once the majority is gone: it is killed then.
    fn stop(&mut self) -> anyhow::Result<()> {
        let nodes = self.cluster.members.len();
        for (stopped, at) in (0..nodes).rev().enumerate() {
            let is_kafka = self.cluster.members.get(at).is_some_and(|member| member.kind == Kind::Kafka);
            let server = self.cluster.take(at)?;
            if is_kafka && stopped > 0 { server.kill()? } else { server.stop()? }
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let servers = self.cluster.members.iter().filter_map(|member| member.server.as_ref());
        servers.map(server::Server::last_words).collect::<Vec<_>>().join("\n     --\n     ")
    }

    fn all_have_led(&self) -> bool {
        self.cluster.members.iter().all(|member| self.led.contains(&member.kind))
    }

    /// Kills the active controller, sees that another one serves, and takes the first back.
    fn round(&mut self, round: u32, load: &mut Load) -> anyhow::Result<()> {
        ensure!(load.ask("flowing")? == "flowing", "nothing is acknowledged");
        std::thread::sleep(Duration::from_millis(300 + self.cluster.random.below(700)));
        let (at, epoch) = self.leader()?;
        let flight = load.flight()?;
        self.cluster.take(at)?.kill()?;
        let killed = Instant::now();
        let (next, next_epoch) = self.leader()?;
        let elected = killed.elapsed().as_millis();
        ensure!(next != at && next_epoch > epoch, "node {} leads in epoch {next_epoch}, {epoch} before", next + 1);
        ensure!(load.ask("flowing")? == "flowing", "nothing is acknowledged without one of three");
        let gap = killed.elapsed().as_millis();
        self.cluster
            .topics(&format!("--create --topic round-{round} --partitions 2 --replication-factor 2"))
            .context("the next controller serves")?;
        let told = verified(&load.ask("verify")?)?;
        self.cluster.start(at)?;
        let in_sync = self.cluster.await_in_sync()?.as_millis();
        println!(
            "     round {round}: controller {} killed with {flight} requests on their way, controller {} in epoch {next_epoch} after \
             {elected} ms, acknowledgements after {gap} ms, {told}; back and in sync after {in_sync} ms",
            at + 1,
            next + 1,
        );
        Ok(())
    }

    /// The place of the active controller and its epoch, once there is one.
    fn leader(&mut self) -> anyhow::Result<(usize, i32)> {
        let begin = Instant::now();
        loop {
            let members = self.cluster.members.iter().enumerate().filter(|(_, member)| member.server.is_some());
            let found = members.filter_map(|(at, member)| Some((at, member.kind, asked(member.port + 1).ok()??)));
            if let Some((at, kind, epoch)) = found.max_by_key(|(.., epoch)| *epoch) {
                if !self.led.contains(&kind) {
                    self.led.push(kind);
                }
                return Ok((at, epoch));
            }
            if begin.elapsed() > ELECTION_LIMIT {
                bail!("nobody leads after {ELECTION_LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kafka-metadata-quorum describe`, asked of brokers and of controllers.
    fn described(&mut self) -> anyhow::Result<()> {
        let (leader, _) = self.leader()?;
        for asked in [
            format!("--bootstrap-server {}", self.cluster.bootstrap()),
            format!("--bootstrap-controller {}", self.cluster.controllers()),
        ] {
            let status = self.cluster.tool(QUORUM, &format!("{asked} describe --status"))?;
            let named = format!("LeaderId:               {}\n", leader + 1);
            ensure!(status.contains(&named), "no leader {}: {status}", leader + 1);
            for member in &self.cluster.members {
                let voter = format!(
                    "{{\"id\": {}, \"directoryId\": \"{}\", \"endpoints\": [\"CONTROLLER://127.0.0.1:{}\"]}}",
                    member.id,
                    member.directory(),
                    member.port + 1
                );
                ensure!(status.contains(&voter), "no voter {voter}: {status}");
            }
            ensure!(
                self.roles(&asked)? == [1, 2, 0],
                "{asked}: leaders, followers, observers: {:?}",
                self.roles(&asked)?
            );
        }
        Ok(())
    }

    /// How many leaders, followers and observers the quorum's table has, all of them close to the leader.
    fn roles(&self, asked: &str) -> anyhow::Result<[usize; 3]> {
        let table = self.cluster.tool(QUORUM, &format!("{asked} describe --replication"))?;
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        for row in &rows {
            let lag: i64 = row.get(3).and_then(|lag| lag.parse().ok()).with_context(|| table.clone())?;
            ensure!((0..100).contains(&lag), "a replica lags: {table}");
        }
        let count = |role: &str| rows.iter().filter(|row| row.last() == Some(&role)).count();
        Ok([count("Leader"), count("Follower"), count("Observer")])
    }

    /// Who was a voter is an observer from its first fetch on, and a new leader knows of nobody at first.
    fn await_roles(&self, asked: &str, wanted: [usize; 3]) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let roles = self.roles(asked);
            match roles {
                Ok(roles) if roles == wanted => return Ok(()),
                roles if begin.elapsed() > ELECTION_LIMIT => {
                    bail!("leaders, followers, observers: {roles:?} and not {wanted:?}");
                }
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// `kafka-metadata-quorum remove-controller` and `add-controller` (KIP-853), first of a follower, then of the leader.
    fn voters_changed(&mut self, load: &mut Load) -> anyhow::Result<()> {
        let controllers = format!("--bootstrap-controller {}", self.cluster.controllers());
        for removes_leader in [false, true] {
            let (leader, _) = self.leader()?;
            let at = if removes_leader { leader } else { (leader + 1) % self.cluster.members.len() };
            let member = self.cluster.members.get(at).context("a member")?;
            let remove = format!(
                "{controllers} remove-controller --controller-id {} --controller-directory-id {}",
                member.id,
                member.directory()
            );
            let config = member.config().display().to_string();
            let id = member.id;
            let said = self.cluster.tool(QUORUM, &remove)?;
            ensure!(said.contains(&format!("controller {id} with directory id")), "{said}");
            self.await_roles(&controllers, [1, 1, 1]).with_context(|| format!("without {id}"))?;
            ensure!(!removes_leader || self.leader()?.0 != at, "who was removed still leads");
            ensure!(load.ask("flowing")? == "flowing", "nothing is acknowledged with two voters");
            let said = self.cluster.tool(QUORUM, &format!("--command-config {config} {controllers} add-controller"))?;
            ensure!(said.contains(&format!("Added controller {id} with directory id")), "{said}");
            self.await_roles(&controllers, [1, 2, 0]).with_context(|| format!("with {id} again"))?;
        }
        Ok(())
    }

    /// `kafka-dump-log` and `kafka-metadata-shell` on the files of a node of Milena; the shell wants that no node runs.
    fn files_read(&self) -> anyhow::Result<()> {
        let member = self.cluster.members.iter().find(|member| member.kind == Kind::Milena).context("one of Milena")?;
        let folder = member.data().join(format!("{METADATA}-0"));
        let mut files: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            files.push(entry?.path().display().to_string());
        }
        files.sort();
        let snapshot = files.iter().rfind(|file| file.ends_with(".checkpoint")).context("a snapshot")?;
        let log = files.iter().find(|file| file.ends_with(".log")).context("a segment")?;
        let dumped = |file: &str| self.cluster.tool(DUMP, &format!("--cluster-metadata-decoder --files {file}"));
        let text = dumped(log)?;
        for kind in ["LeaderChange", "KRaftVoters", "REGISTER_CONTROLLER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD"] {
            ensure!(text.contains(kind), "no {kind} in the log");
        }
        let text = dumped(snapshot)?;
        for kind in ["SnapshotHeader", "KRaftVersion", "KRaftVoters", "TOPIC_RECORD", "SnapshotFooter"] {
            ensure!(text.contains(kind), "no {kind} in the snapshot");
        }
        let listed = self.cluster.tool(SHELL, &format!("--snapshot {snapshot} ls image/topics/byName"))?;
        ensure!(listed.contains("kill-none") && listed.contains("kill-zstd"), "the shell lists {listed}");
        Ok(())
    }

    /// The nodes stopped one after the other, so that some have more; what all have is the same.
    fn same_metadata(&self) -> anyhow::Result<()> {
        let folder = format!("{METADATA}-0");
        let logs = self.cluster.members.iter().map(|member| content(&member.data().join(&folder)));
        let logs: Vec<Vec<u8>> = logs.collect::<Result<_, _>>()?;
        let len = logs.iter().map(Vec::len).min().unwrap_or(0);
        ensure!(len > 0, "there are no metadata");
        let fronts: Vec<Option<&[u8]>> = logs.iter().map(|log| log.get(..len)).collect();
        ensure!(fronts.windows(2).all(|pair| pair.first() == pair.last()), "the logs of the metadata differ");
        println!("     the logs of the metadata begin with the same {len} bytes");
        Ok(())
    }
}

/// The epoch a controller leads in; `None` if it does not lead.
fn asked(port: u16) -> anyhow::Result<Option<i32>> {
    let partition = PartitionData { partition_index: 0, ..PartitionData::default() };
    let topic = TopicData { topic_name: Text::from(METADATA), partitions: vec![partition], ..TopicData::default() };
    let request = DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() };
    let answer = Wire::connect(port)?.call(VERSION, &request)?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    Ok(partition.filter(|partition| partition.error_code == 0).map(|partition| partition.leader_epoch))
}

//! Every client writes in every codec, and every client reads what each of the others wrote, byte for byte and in order.
//!
//! With `--gigabytes N` the data are N GB of the machine's own files, and each client writes lines and whole files, keyed and unkeyed, in
//! each codec; without it the data are this repository's text, and a codec has one of the four kinds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_protocol::ApiKey;
use milena_protocol::messages::ApiVersionsRequest;

use crate::clients::{CODECS, Client, Place};
use crate::data::{self, Job, Mode, Shard};
use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Node};
use crate::wire::Wire;
use crate::{process, segment};

const PARTITIONS: usize = 2;

/// What one writer wrote, by topic.
type Written = BTreeMap<String, (Client, Shard)>;

/// Sums for people.
#[derive(Debug, Default)]
struct Sum {
    topics: usize,
    records: usize,
    bytes: usize,
    failures: Vec<String>,
}

impl Sum {
    fn text(&self) -> String {
        format!("{} topics, {} records, {:.1} MB", self.topics, self.records, self.bytes as f64 / 1e6)
    }

    fn add(&mut self, topic: &str, outcome: anyhow::Result<(usize, usize)>) {
        self.topics += 1;
        match outcome {
            Ok((records, bytes)) => {
                self.records += records;
                self.bytes += bytes;
            }
            Err(error) => self.failures.push(format!("     {topic}: {error:#}")),
        }
    }

    fn report(self, name: &str, report: &mut Report) {
        let text = self.text();
        report.check(&format!("{name}: {text}"), (!self.failures.is_empty()).then(|| self.failures.join("\n")));
    }
}

/// Runs the matrix on the candidate.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    if let Some(reason) = server::missing(kind, flags).or_else(server::missing_java) {
        report.skip("clients", &reason);
        return Ok(());
    }
    let mut clients = Vec::new();
    for client in Client::ALL {
        match client.missing() {
            Some(reason) => report.skip(&format!("clients {}", client.name()), &reason),
            None => clients.push(client),
        }
    }
    let node = Node::new("clients", flags)?;
    let server = match node.format_and_start(kind) {
        Ok(server) => server,
        Err(error) => {
            report.outcome("clients server", Err(error));
            return Ok(());
        }
    };
    let written = write_all(flags, &clients, &node, report)?;
    for client in clients.iter().filter(|client| client.reads()) {
        read_all(*client, &written, &node, report)?;
    }
    println!(
        "the server holds {} MB resident, at most {} MB",
        server.resident_bytes()? >> 20,
        server.peak_bytes()? >> 20
    );
    report.outcome("clients server stops cleanly", server.stop());
    node.remove(flags);
    Ok(())
}

/// Who writes what: a topic each.
fn jobs(clients: &[Client], is_whole: bool) -> Vec<(Client, &'static str, Job)> {
    let mut jobs = Vec::new();
    for client in clients {
        for codec in CODECS {
            let n = jobs.len();
            let kinds = [(Mode::Lines, true), (Mode::Files, false), (Mode::Lines, false), (Mode::Files, true)];
            let chosen =
                kinds.into_iter().cycle().skip(if is_whole { 0 } else { n }).take(if is_whole { 4 } else { 1 });
            for (mode, keyed) in chosen.filter(|(mode, keyed)| *mode == Mode::Lines || client.writes_files(*keyed)) {
                jobs.push((*client, codec, Job { mode, keyed, is_text: client == &Client::Console }));
            }
        }
    }
    jobs
}

/// Each client writes its topics; what was written, by topic.
fn write_all(flags: &Flags, clients: &[Client], node: &Node, report: &mut Report) -> anyhow::Result<Written> {
    let folder = node.at("shards");
    std::fs::create_dir_all(&folder)?;
    let megabytes = format!("{:.0}", flags.gigabytes * 1000.0).parse::<u64>()?;
    let jobs = jobs(clients, megabytes > 0);
    let wanted: Vec<Job> = jobs.iter().map(|(_, _, job)| *job).collect();
    let mut shards = data::shards(&wanted, megabytes * 1_000_000, &folder)?.into_iter();
    create(&jobs, node)?;
    let finds_coordinators = finds_coordinators(node)?;
    if !finds_coordinators {
        println!(
            "     librdkafka does not compress with lz4 for a server without FindCoordinator: its batches are of any codec"
        );
    }
    let mut written = Written::new();
    for client in clients {
        let mut sum = Sum::default();
        let mut bytes = 0;
        let mut busy = Duration::ZERO;
        for (client, codec, job) in jobs.iter().filter(|(writer, _, _)| writer == client) {
            let Some(shard) = shards.next() else { break };
            let topic = topic_of(*client, codec, *job);
            let place =
                Place { bootstrap: node.bootstrap(), partitions: client.partitions(PARTITIONS), folder: &folder };
            let begin = Instant::now();
            let outcome = client.produce(&place, &topic, codec, &shard);
            busy += begin.elapsed();
            let is_free = *codec == "lz4" && client.is_librdkafka() && !finds_coordinators;
            let outcome = outcome.and_then(|()| codecs_are(node, &topic, place.partitions, codec, is_free));
            let outcome = outcome.and_then(|()| shard.size());
            if let Ok((_, size)) = &outcome {
                bytes += size;
                written.insert(topic.clone(), (*client, shard));
            }
            sum.add(&topic, outcome);
        }
        let rate = bytes as f64 / 1e6 / busy.as_secs_f64().max(0.001);
        let name = format!("clients {} writes in {:.1} s ({rate:.0} MB/s)", client.name(), busy.as_secs_f64());
        sum.report(&name, report);
    }
    Ok(written)
}

fn create(jobs: &[(Client, &str, Job)], node: &Node) -> anyhow::Result<()> {
    for partitions in [1, PARTITIONS] {
        let mine = jobs.iter().filter(|(client, _, _)| client.partitions(PARTITIONS) == partitions);
        let topics: Vec<String> = mine.map(|(client, codec, job)| topic_of(*client, codec, *job)).collect();
        if !topics.is_empty() {
            let mut create = process::java("Client");
            create.args(["create", &node.bootstrap(), &partitions.to_string()]).args(&topics);
            process::succeed(&mut create, &node.at("create"), Duration::from_secs(60)).context("create the topics")?;
        }
    }
    Ok(())
}

fn topic_of(client: Client, codec: &str, job: Job) -> String {
    format!("matrix.{}.{codec}.{}.{}", client.name(), job.mode.name(), if job.keyed { "keyed" } else { "unkeyed" })
}

/// True if FindCoordinator is advertised.
fn finds_coordinators(node: &Node) -> anyhow::Result<bool> {
    let answer = Wire::connect(node.port)?.call(0, &ApiVersionsRequest::default())?;
    Ok(answer.api_keys.iter().any(|row| row.api_key == ApiKey::FIND_COORDINATOR.0))
}

/// The batches on the disk are of the codec that was asked for, or, where that made them no smaller, of none.
fn codecs_are(node: &Node, topic: &str, partitions: usize, codec: &str, is_free: bool) -> anyhow::Result<()> {
    let wanted = CODECS.iter().position(|name| *name == codec).context("a codec")?;
    let (mut right, mut all) = (0, 0);
    for partition in 0..partitions {
        for log in segment::logs(&node.data().join(format!("{topic}-{partition}")))? {
            let content = std::fs::read(&log)?;
            for (_, batch) in segment::batches(&content) {
                let found = segment::codec_of(batch).context("attributes")?;
                ensure!(found == wanted || found == 0, "a batch of codec {found} where {wanted} was asked for");
                right += usize::from(found == wanted);
                all += 1;
            }
        }
    }
    ensure!(right > 0 || is_free, "none of {all} batches is in {codec}");
    Ok(())
}

fn read_all(client: Client, written: &Written, node: &Node, report: &mut Report) -> anyhow::Result<()> {
    let folder = node.at(&format!("read-{}", client.name()));
    std::fs::create_dir_all(&folder)?;
    let begin = Instant::now();
    for partitions in [1, PARTITIONS] {
        let mine = written.iter().filter(|(_, (writer, _))| writer.partitions(PARTITIONS) == partitions);
        let topics: Vec<String> = mine.map(|(topic, _)| topic.clone()).collect();
        let place = Place { bootstrap: node.bootstrap(), partitions, folder: &folder };
        if !topics.is_empty()
            && let Err(error) = client.consume(&place, &topics)
        {
            report.outcome(&format!("clients {} reads", client.name()), Err(error));
            return Ok(());
        }
    }
    let took = begin.elapsed();
    let mut all = Sum::default();
    for writer in Client::ALL {
        let mut sum = Sum::default();
        for (topic, (_, shard)) in written.iter().filter(|(_, (wrote, _))| *wrote == writer) {
            sum.add(topic, compare(topic, writer.partitions(PARTITIONS), shard, &folder));
        }
        if sum.topics > 0 {
            all.topics += sum.topics;
            all.records += sum.records;
            all.bytes += sum.bytes;
            sum.report(&format!("clients {} reads what {} wrote", client.name(), writer.name()), report);
        }
    }
    let rate = all.bytes as f64 / 1e6 / took.as_secs_f64().max(0.001);
    println!("     {} read {} in {:.1} s ({rate:.0} MB/s)", client.name(), all.text(), took.as_secs_f64());
    std::fs::remove_dir_all(&folder).context("clear what was read")
}

/// Holds what was read against the input; how many records and bytes of keys and values that were.
fn compare(topic: &str, partitions: usize, shard: &Shard, folder: &Path) -> anyhow::Result<(usize, usize)> {
    for (partition, expected) in shard.expected(partitions)?.into_iter().enumerate() {
        let found = std::fs::read(folder.join(format!("{topic}-{partition}")))?;
        if found != expected {
            let same = found.iter().zip(&expected).take_while(|(left, right)| left == right).count();
            bail!("{partition}: {} bytes of {} expected, the same up to byte {same}", found.len(), expected.len());
        }
    }
    shard.size()
}

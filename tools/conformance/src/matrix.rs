//! Every client writes in every codec, and every client reads what each of the others wrote, byte for byte and in order.
//!
//! With `--gigabytes N` the data are N GB of the machine's own files, cut into one shard for each writer and codec.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::clients::{CODECS, Client, Place};
use crate::data::{self, Shard};
use crate::flags::Flags;
use crate::process;
use crate::report::Report;
use crate::server::{self, Node};

const PARTITIONS: usize = 2;

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
    for client in &clients {
        read_all(*client, &written, &node, report)?;
    }
    report.outcome("clients server stops cleanly", server.stop());
    node.remove(flags);
    Ok(())
}

/// Each client writes one topic a codec; what was written, by topic.
fn write_all(
    flags: &Flags,
    clients: &[Client],
    node: &Node,
    report: &mut Report,
) -> anyhow::Result<BTreeMap<String, Shard>> {
    let folder = node.at("shards");
    std::fs::create_dir_all(&folder)?;
    let megabytes = (flags.gigabytes * 1000.0).round();
    let bytes = if megabytes > 0.0 { format!("{megabytes:.0}").parse::<u64>()? * 1_000_000 } else { 0 };
    let mut shards = data::shards(clients.len() * CODECS.len(), bytes, &folder)?.into_iter();
    let place = Place { bootstrap: node.bootstrap(), partitions: PARTITIONS, folder: &folder };
    let pairs = clients.iter().flat_map(|client| CODECS.map(|codec| (*client, codec)));
    let topics: Vec<String> = pairs.clone().map(|(client, codec)| topic_of(client, codec)).collect();
    let mut create = process::java("Client");
    create.args(["create", &place.bootstrap, &PARTITIONS.to_string()]).args(&topics);
    process::succeed(&mut create, &node.at("create"), Duration::from_secs(60)).context("create the topics")?;
    let mut written = BTreeMap::new();
    for (client, codec) in pairs {
        let Some(shard) = shards.next() else { break };
        let topic = topic_of(client, codec);
        let outcome = client.produce(&place, &topic, codec, &shard);
        let is_written = outcome.is_ok();
        report.outcome(&format!("clients {} writes {} in {codec}", client.name(), shard.mode.name()), outcome);
        if is_written {
            written.insert(topic, shard);
        }
    }
    Ok(written)
}

fn topic_of(client: Client, codec: &str) -> String {
    format!("matrix.{}.{codec}", client.name())
}

fn read_all(client: Client, written: &BTreeMap<String, Shard>, node: &Node, report: &mut Report) -> anyhow::Result<()> {
    let folder = node.at(&format!("read-{}", client.name()));
    std::fs::create_dir_all(&folder)?;
    let place = Place { bootstrap: node.bootstrap(), partitions: PARTITIONS, folder: &folder };
    let topics: Vec<String> = written.keys().cloned().collect();
    let read = client.consume(&place, &topics);
    if let Err(error) = read {
        report.outcome(&format!("clients {} reads", client.name()), Err(error));
        return Ok(());
    }
    for (topic, shard) in written {
        let name = format!("clients {} reads {}", client.name(), topic.trim_start_matches("matrix."));
        report.outcome(&name, compare(topic, shard, &folder));
    }
    std::fs::remove_dir_all(&folder).context("clear what was read")
}

fn compare(topic: &str, shard: &Shard, folder: &Path) -> anyhow::Result<()> {
    for (partition, expected) in shard.expected(PARTITIONS)?.into_iter().enumerate() {
        let found = std::fs::read(folder.join(format!("{topic}-{partition}")))?;
        if found != expected {
            let same = found.iter().zip(&expected).take_while(|(left, right)| left == right).count();
            bail!(
                "{topic}-{partition}: {} bytes of {} expected, the same up to byte {same}",
                found.len(),
                expected.len()
            );
        }
    }
    Ok(())
}

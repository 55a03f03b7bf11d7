//! Transactions of clients of other languages: what they commit is there once and in order, what they abort is not, and what
//! they copy in transactions with their group's offsets is the same. Java's are among the scripts.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::abuse_producers;
use crate::clients::Client;
use crate::flags::Flags;
use crate::process;
use crate::report::Report;
use crate::scripts;
use crate::server::{self, Kind, Node};

const LIMIT: Duration = Duration::from_secs(120);
const PARTITIONS: usize = 3;
const ROUNDS: usize = 20;
/// Records of each transaction.
const RECORDS: usize = 10;

/// Each client on a node of its own.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(flags.servers.1, flags) {
        report.skip("transactions", &reason);
        return Ok(());
    }
    scripts::run_transaction_versions(flags, report)?;
    if flags.servers.1 == Kind::Milena {
        abuse_producers::slice(flags, report)?;
    }
    for client in [Client::Go, Client::Python] {
        let name = format!("transactions of {}", client.name());
        match client.missing() {
            Some(reason) => report.skip(&name, &reason),
            None => report.outcome(&name, transact(client, flags)),
        }
    }
    Ok(())
}

fn transact(client: Client, flags: &Flags) -> anyhow::Result<()> {
    let node = Node::new("transactions", flags)?;
    let server = node.format_and_start(flags.servers.1)?;
    let (topic, copy) = ("written", "copied");
    let bootstrap = node.bootstrap();
    let partitions = PARTITIONS.to_string();
    let mut create = process::java("Client");
    create.args(["create", &bootstrap, &partitions, topic, copy]);
    process::succeed(&mut create, &node.at("create"), LIMIT)?;
    let mut work = client.command();
    work.args(["transactions", &bootstrap, topic, copy, &partitions, &ROUNDS.to_string()]);
    process::succeed(&mut work, &node.at("transact"), LIMIT).context("the client")?;
    let mut read = process::java("Client");
    read.args(["committed", &bootstrap, &partitions, topic, copy]);
    let found = process::run(&mut read, None, &node.at("committed"), LIMIT)?.output;
    let expected: String = [topic, copy].iter().map(|topic| expected(topic)).collect();
    if found != expected {
        bail!("{} lines are committed, {} were to be", found.lines().count(), expected.lines().count());
    }
    server.stop()?;
    node.remove(flags);
    Ok(())
}

fn expected(topic: &str) -> String {
    let committed = |round: &usize| round % 3 != 2;
    let mut lines = String::new();
    for partition in 0..PARTITIONS {
        for round in (0..ROUNDS).filter(committed) {
            for record in (0..RECORDS).filter(|record| record % PARTITIONS == partition) {
                lines.push_str(&format!("{topic} {partition} {round}-{record}\n"));
            }
        }
    }
    lines
}

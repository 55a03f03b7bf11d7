//! Kafka's own command-line tools on both servers, one step after another; each step's output and exit code are compared.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Kind, Node};
use crate::{process, scripts, text};

const LIMIT: Duration = Duration::from_secs(90);

/// One step: a tool's class, its arguments, its standard input.
struct Step {
    name: &'static str,
    class: &'static str,
    /// `{bootstrap}` and `{data}` are replaced; arguments are separated by single blanks.
    args: &'static str,
    input: &'static str,
    show: Show,
}

/// What of a tool's output is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    /// Every line.
    All,
    /// Every line, sorted: the tool prints in the order of a hash map.
    Sorted,
    /// The exit code only: the output is figures of time.
    Nothing,
    /// Every line, with a word for each number: ids, offsets and times differ.
    Numberless,
    /// The kinds of metadata records found.
    RecordTypes,
}

const fn step(name: &'static str, class: &'static str, args: &'static str) -> Step {
    Step { name, class, args, input: "", show: Show::All }
}

const fn shown(show: Show, step: Step) -> Step {
    Step { show, ..step }
}

const fn fed(input: &'static str, step: Step) -> Step {
    Step { input, ..step }
}

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const LINES: &str = "one:first line\ntwo:second line\nthree:third: with a colon\nfour:\nfive:\u{fc}n\u{ef}code\n";

const STEPS: &[Step] = &[
    step(
        "create",
        TOPICS,
        "--bootstrap-server {bootstrap} --create --topic cli --partitions 3 --replication-factor 1 --config retention.ms=1000000",
    ),
    step("create again", TOPICS, "--bootstrap-server {bootstrap} --create --topic cli --partitions 3"),
    step("create if not there", TOPICS, "--bootstrap-server {bootstrap} --create --topic cli --if-not-exists"),
    step("create with a bad name", TOPICS, "--bootstrap-server {bootstrap} --create --topic c!i"),
    step("list", TOPICS, "--bootstrap-server {bootstrap} --list"),
    step("describe", TOPICS, "--bootstrap-server {bootstrap} --describe --topic cli"),
    step("describe unknown", TOPICS, "--bootstrap-server {bootstrap} --describe --topic nope"),
    step("more partitions", TOPICS, "--bootstrap-server {bootstrap} --alter --topic cli --partitions 4"),
    step("fewer partitions", TOPICS, "--bootstrap-server {bootstrap} --alter --topic cli --partitions 2"),
    step("under replicated", TOPICS, "--bootstrap-server {bootstrap} --describe --under-replicated-partitions"),
    step(
        "configs of a topic",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type topics --entity-name cli --describe",
    ),
    step(
        "alter configs",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type topics --entity-name cli --alter --add-config flush.ms=5000,cleanup.policy=[compact,delete]",
    ),
    step(
        "configs altered",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type topics --entity-name cli --describe",
    ),
    step(
        "drop a config",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type topics --entity-name cli --alter --delete-config flush.ms,cleanup.policy",
    ),
    step(
        "refuse a config",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type topics --entity-name cli --alter --add-config flush.ms=often",
    ),
    step(
        "all configs of a topic",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type topics --entity-name cli --describe --all",
    ),
    step(
        "all configs of a broker",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type brokers --entity-name 1 --describe --all",
    ),
    step(
        "alter a broker",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type brokers --entity-name 1 --alter --add-config log.retention.ms=9999999999999",
    ),
    step(
        "configs of a broker",
        CONFIGS,
        "--bootstrap-server {bootstrap} --entity-type brokers --entity-name 1 --describe",
    ),
    fed(
        LINES,
        step(
            "console producer",
            PRODUCER,
            "--bootstrap-server {bootstrap} --topic cli --reader-property parse.key=true --reader-property key.separator=:",
        ),
    ),
    step(
        "console consumer 0",
        CONSUMER,
        "--bootstrap-server {bootstrap} --topic cli --partition 0 --offset earliest --timeout-ms 2500 --formatter-property print.key=true --formatter-property print.offset=true --formatter-property print.partition=true",
    ),
    step(
        "console consumer 1",
        CONSUMER,
        "--bootstrap-server {bootstrap} --topic cli --partition 1 --offset earliest --timeout-ms 2500 --formatter-property print.key=true --formatter-property print.offset=true --formatter-property print.partition=true",
    ),
    step("offsets latest", OFFSETS, "--bootstrap-server {bootstrap} --topic cli --time latest"),
    step("offsets of some partitions", OFFSETS, "--bootstrap-server {bootstrap} --topic-partitions cli:0-2 --time -1"),
    step("offsets earliest", OFFSETS, "--bootstrap-server {bootstrap} --topic cli --time earliest"),
    step("offsets of unknown", OFFSETS, "--bootstrap-server {bootstrap} --topic nope"),
    fed(
        "{\"partitions\":[{\"topic\":\"cli\",\"partition\":1,\"offset\":1},{\"topic\":\"cli\",\"partition\":0,\"offset\":-1}],\"version\":1}",
        shown(
            Show::Sorted,
            step(
                "delete records",
                "org.apache.kafka.tools.DeleteRecordsCommand",
                "--bootstrap-server {bootstrap} --offset-json-file {input}",
            ),
        ),
    ),
    step("offsets after deleting", OFFSETS, "--bootstrap-server {bootstrap} --topic cli --time earliest"),
    step(
        "log dirs",
        "org.apache.kafka.tools.LogDirsCommand",
        "--bootstrap-server {bootstrap} --describe --topic-list nope",
    ),
    shown(
        Show::Nothing,
        step(
            "producer performance",
            "org.apache.kafka.tools.ProducerPerformance",
            "--topic cli --num-records 3000 --record-size 100 --throughput -1 --bootstrap-server {bootstrap} --command-property acks=all",
        ),
    ),
    step("features", "org.apache.kafka.tools.FeatureCommand", "--bootstrap-server {bootstrap} describe"),
    step("cluster id", "org.apache.kafka.tools.ClusterTool", "cluster-id --bootstrap-server {bootstrap}"),
    step(
        "quorum",
        "org.apache.kafka.tools.MetadataQuorumCommand",
        "--bootstrap-server {bootstrap} describe --replication",
    ),
    step("fill", "Client", "fill {bootstrap} filled"),
    step("offset of the largest time", OFFSETS, "--bootstrap-server {bootstrap} --topic filled --time max-timestamp"),
    step(
        "log dirs of a topic",
        "org.apache.kafka.tools.LogDirsCommand",
        "--bootstrap-server {bootstrap} --describe --topic-list filled",
    ),
    step("transact", "Client", "transact {bootstrap} transacted"),
    shown(Show::Numberless, step("transactions", TRANSACTIONS, "--bootstrap-server {bootstrap} list")),
    shown(
        Show::Numberless,
        step(
            "transactions by pattern",
            TRANSACTIONS,
            "--bootstrap-server {bootstrap} list --transactional-id-pattern nobody.*",
        ),
    ),
    shown(
        Show::Numberless,
        step(
            "describe a transaction",
            TRANSACTIONS,
            "--bootstrap-server {bootstrap} describe --transactional-id transact-transacted",
        ),
    ),
    shown(
        Show::Numberless,
        step(
            "describe producers",
            TRANSACTIONS,
            "--bootstrap-server {bootstrap} describe-producers --topic transacted --partition 0",
        ),
    ),
    shown(
        Show::Numberless,
        step(
            "find hanging transactions",
            TRANSACTIONS,
            "--bootstrap-server {bootstrap} find-hanging --topic transacted --max-transaction-timeout 1",
        ),
    ),
    step(
        "terminate a transaction",
        TRANSACTIONS,
        "--bootstrap-server {bootstrap} force-terminate --transactional-id transact-transacted",
    ),
    step("delete", TOPICS, "--bootstrap-server {bootstrap} --delete --topic cli"),
    step("delete unknown", TOPICS, "--bootstrap-server {bootstrap} --delete --topic nope"),
    step("list at the end", TOPICS, "--bootstrap-server {bootstrap} --list"),
];

/// Steps on the files, after the server has stopped.
const FILE_STEPS: &[Step] = &[
    step("dump a log", DUMP, "--files {data}/filled-0/00000000000000000000.log --print-data-log --deep-iteration"),
    step("dump an index", DUMP, "--files {data}/filled-0/00000000000000000000.index --index-sanity-check"),
    step("dump a time index", DUMP, "--files {data}/filled-0/00000000000000000000.timeindex --index-sanity-check"),
    step("dump producers", DUMP, "--files {data}/filled-0/00000000000000000200.snapshot"),
    shown(
        Show::Numberless,
        step(
            "dump a log with markers",
            DUMP,
            "--files {data}/transacted-0/00000000000000000000.log --print-data-log --deep-iteration",
        ),
    ),
    step("dump aborted transactions", DUMP, "--files {data}/transacted-0/00000000000000000000.txnindex"),
    shown(
        Show::Numberless,
        step(
            "dump the log of transactional ids",
            DUMP,
            "--files {data}/__transaction_state-22/00000000000000000000.log --transaction-log-decoder --deep-iteration",
        ),
    ),
    shown(
        Show::RecordTypes,
        step(
            "dump the first metadata snapshot",
            DUMP,
            "--files {data}/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint --cluster-metadata-decoder",
        ),
    ),
    shown(
        Show::RecordTypes,
        step(
            "dump the last metadata snapshot",
            DUMP,
            "--files {last-snapshot} --cluster-metadata-decoder --skip-record-metadata",
        ),
    ),
    shown(
        Show::RecordTypes,
        step(
            "dump the metadata log",
            DUMP,
            "--files {data}/__cluster_metadata-0/00000000000000000000.log --cluster-metadata-decoder --skip-record-metadata",
        ),
    ),
];

/// Runs every step on both servers and compares.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(flags.servers.0, flags).or_else(|| server::missing(flags.servers.1, flags)) {
        report.skip("tools", &reason);
        return Ok(());
    }
    let (reference, candidate) = scripts::both(flags.servers, |name, kind| tools(name, kind, flags));
    let reference = reference?;
    let candidate = match candidate {
        Ok(outputs) => outputs,
        Err(error) => {
            report.outcome("tools", Err(error));
            return Ok(());
        }
    };
    for ((name, expected), (_, found)) in reference.iter().zip(&candidate) {
        report.check(&format!("tool {name}"), text::difference(expected, found));
    }
    if reference.len() != candidate.len() {
        report.check("tools", Some("     not every step was reached".to_owned()));
    }
    Ok(())
}

/// The canonical output of each step.
fn tools(name: &str, kind: Kind, flags: &Flags) -> anyhow::Result<Vec<(&'static str, Vec<String>)>> {
    let node = Node::new(&format!("tools-{name}"), flags)?;
    let server = node.format_and_start(kind)?;
    let mut outputs = Vec::new();
    let selected = |step: &&Step| flags.selects(step.name) || ["fill", "transact"].contains(&step.name);
    for step in STEPS.iter().filter(selected) {
        outputs.push((step.name, perform(step, &node)?));
    }
    server.stop()?;
    for step in FILE_STEPS.iter().filter(selected) {
        outputs.push((step.name, perform(step, &node)?));
    }
    node.remove(flags);
    Ok(outputs)
}

fn perform(step: &Step, node: &Node) -> anyhow::Result<Vec<String>> {
    let file = node.at(&step.name.replace(' ', "-"));
    let input: PathBuf = file.with_extension("in");
    std::fs::write(&input, step.input)?;
    let mut command: Command = process::java(step.class);
    for word in step.args.split(' ') {
        let word = word.replace("{bootstrap}", &node.bootstrap()).replace("{input}", &input.display().to_string());
        let word = word.replace("{last-snapshot}", &last_snapshot(node));
        command.arg(word.replace("{data}", &node.data().display().to_string()));
    }
    let ended = process::run(&mut command, Some(&input), &file, LIMIT)?;
    let errors = ended.errors.lines().filter(|line| !line.trim_start().starts_with("at ") && !line.contains(" WARN "));
    let mut lines: Vec<String> = ended.output.lines().chain(errors).map(|line| canonical(line, node)).collect();
    match step.show {
        Show::All => {}
        Show::Sorted => lines.sort(),
        Show::Nothing => lines.clear(),
        Show::Numberless => lines = lines.iter().map(|line| text::numberless(line)).collect(),
        Show::RecordTypes => lines = record_types(&ended.output),
    }
    lines.push(format!("exit code {}", ended.code));
    Ok(lines)
}

fn canonical(line: &str, node: &Node) -> String {
    let mut line = line.replace(&node.data().display().to_string(), "DATA");
    line = line.replace(&node.port.to_string(), "PORT").replace(&(node.port + 1).to_string(), "CONTROLLER_PORT");
    for mark in ["TopicId: ", "Voter directory id: "] {
        line = text::hide_word_after(&line, mark);
    }
    for mark in
        ["CreateTime: ", "LogAppendTime: ", "producerId: ", " crc: ", "Finalized epoch: ", "Epoch: ", "timestamp: "]
    {
        line = text::hide_number_after(&line, mark);
    }
    // The quorum's table: node, directory, offsets and times of this moment.
    if line.starts_with("1 ") && line.contains("Leader") {
        return "1 ... Leader".to_owned();
    }
    // A stamp before a tool's own log line.
    if line.starts_with('[') && line.contains("] ERROR ") {
        line = line.split_once("] ERROR ").map_or(String::new(), |(_, rest)| format!("ERROR {rest}"));
    }
    line.trim_end().to_owned()
}

/// The newest snapshot of the metadata; if there is none, the word stays and the tool fails on it.
fn last_snapshot(node: &Node) -> String {
    let listing = std::fs::read_dir(node.data().join("__cluster_metadata-0")).into_iter().flatten().flatten();
    let names = listing.map(|entry| entry.path().display().to_string());
    names.filter(|name| name.ends_with(".checkpoint")).max().unwrap_or_default()
}

/// The types of the metadata records in a dump, once each. NO_OP records a server writes when it likes, and whether a
/// snapshot was made after the first producer came is its own affair.
fn record_types(output: &str) -> Vec<String> {
    let types =
        output.lines().filter_map(|line| line.split_once("\"type\":\"")).filter_map(|(_, rest)| rest.split('"').next());
    let mut types: Vec<String> =
        types.filter(|name| !["NO_OP_RECORD", "PRODUCER_IDS_RECORD"].contains(name)).map(str::to_owned).collect();
    types.sort();
    types.dedup();
    types
}

//! Controller and broker as two processes, each of them Milena or Apache Kafka: what clients ask of the broker is forwarded,
//! records flow while the controller is gone, and everything is found again after kills of either.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::flags::Flags;
use crate::process;
use crate::report::Report;
use crate::server::{self, Kind, Node};

const LIMIT: Duration = Duration::from_secs(120);
const FIRST: &str = "mixed-first";
const SECOND: &str = "mixed-second";

/// A controller of each kind with a broker of each kind; two of Apache Kafka are its own matter.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    for (controller, broker) in [(Kind::Milena, Kind::Kafka), (Kind::Kafka, Kind::Milena), (Kind::Milena, Kind::Milena)]
    {
        let name = format!("mixed: controller {}, broker {}", controller.name(), broker.name());
        if !flags.selects(&name) {
            continue;
        }
        let missing = server::missing(controller, flags).or_else(|| server::missing(broker, flags));
        match missing.or_else(server::missing_java) {
            Some(reason) => report.skip(&name, &reason),
            None => report.outcome(&name, cluster(flags, controller, broker)),
        }
    }
    Ok(())
}

fn cluster(flags: &Flags, controller_kind: Kind, broker_kind: Kind) -> anyhow::Result<()> {
    let (controller, broker) = Node::pair("mixed", flags)?;
    controller.format(controller_kind)?;
    broker.format(broker_kind)?;
    let mut controller_process = controller.start(controller_kind).context("start the controller")?;
    let mut broker_process = broker.start(broker_kind).context("start the broker")?;

    client(&broker, "fill", &[FIRST])?;
    // More than the age of the records, which carry fixed times of long ago.
    tool(
        &broker,
        "kafka.admin.ConfigCommand",
        "--alter --entity-type topics --entity-name mixed-first --add-config retention.ms=8640000000001",
    )?;
    let written = client(&broker, "dump", &[FIRST])?;

    controller_process.kill().context("kill the controller")?;
    same(&written, &client(&broker, "dump", &[FIRST])?).context("the controller is gone")?;
    controller_process = controller.start(controller_kind).context("start the controller again")?;
    client(&broker, "fill", &[SECOND]).context("the controller is back")?;
    described(&broker)?;

    broker_process.kill().context("kill the broker")?;
    broker_process = broker.start(broker_kind).context("start the broker again")?;
    same(&written, &client(&broker, "dump", &[FIRST])?).context("the broker is back")?;

    controller_process.kill().context("kill the controller")?;
    broker_process.kill().context("kill the broker")?;
    controller_process = controller.start(controller_kind).context("start both again")?;
    broker_process = broker.start(broker_kind).context("start both again")?;
    same(&written, &client(&broker, "dump", &[FIRST])?).context("both are back")?;
    described(&broker)?;
    tool(&broker, "org.apache.kafka.tools.TopicCommand", "--delete --topic mixed-second")?;

    broker_process.stop().context("stop the broker")?;
    controller_process.stop().context("stop the controller")?;
    broker.remove(flags);
    Ok(())
}

/// What was altered through the broker is what it tells.
fn described(broker: &Node) -> anyhow::Result<()> {
    let text = tool(broker, "org.apache.kafka.tools.TopicCommand", "--describe --topic mixed-first")?;
    if !text.contains("retention.ms=8640000000001") {
        bail!("the altered config is not told: {text}");
    }
    Ok(())
}

fn same(written: &str, found: &str) -> anyhow::Result<()> {
    if written != found {
        bail!("the records differ: {} bytes were told before, {} are now", written.len(), found.len());
    }
    Ok(())
}

fn tool(broker: &Node, class: &str, args: &str) -> anyhow::Result<String> {
    let mut command = process::java(class);
    command.args(["--bootstrap-server", &broker.bootstrap()]).args(args.split(' '));
    process::succeed(&mut command, &broker.at("tool"), LIMIT).with_context(|| format!("{class} {args}"))
}

fn client(broker: &Node, role: &str, topics: &[&str]) -> anyhow::Result<String> {
    let mut command = process::java("Client");
    command.args([role, &broker.bootstrap()]).args(topics);
    process::succeed(&mut command, &broker.at(role), LIMIT).with_context(|| format!("{role} {topics:?}"))
}

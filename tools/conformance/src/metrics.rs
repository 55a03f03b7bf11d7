//! The same life of groups on both servers, and what their metrics say of it: Apache Kafka is asked by JMX, Milena by HTTP.
//! Apache Kafka counts its groups every minute, so this takes more than one.

use std::time::Duration;

use crate::flags::Flags;
use crate::report::Report;
use crate::server::{Kind, Node};
use crate::{ports, process, scripts, text};

const LIMIT: Duration = Duration::from_secs(300);

/// Compares the metrics of groups.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    scripts::compare("metrics", flags, report, |name, kind| one(name, kind, flags))
}

fn one(name: &str, kind: Kind, flags: &Flags) -> anyhow::Result<String> {
    let port = ports::free_pair()?;
    let listener = format!("127.0.0.1:{port}");
    let mut node = Node::with(&format!("metrics-{name}"), flags, &[("milena.metrics.listener", &listener)])?;
    node.jmx_port = Some(port);
    let server = node.format_and_start(kind)?;
    let mut command = process::java("GroupMetrics");
    let way = if kind == Kind::Kafka { "jmx" } else { "http" };
    command.arg(node.bootstrap()).arg(way).arg(port.to_string());
    let ended = process::run(&mut command, None, &node.at("metrics"), LIMIT)?;
    if ended.code != 0 {
        anyhow::bail!("the program on {} ended with {}: {}", kind.name(), ended.code, text::end_of(&ended.errors, 12));
    }
    server.stop()?;
    node.remove(flags);
    Ok(ended.output)
}

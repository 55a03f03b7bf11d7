//! Exchanged disks: a log dir one server wrote is opened by the other, stopped cleanly or killed, and holds the same records.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Kind, Node};
use crate::{process, text};

const LIMIT: Duration = Duration::from_secs(120);
const FIRST: &str = "exchange-first";
const SECOND: &str = "exchange-second";

/// Both directions, after a clean stop and after a kill.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let (one, other) = flags.servers;
    if let Some(reason) = server::missing(one, flags).or_else(|| server::missing(other, flags)) {
        report.skip("disks", &reason);
        return Ok(());
    }
    for (writer, reader) in [(one, other), (other, one)] {
        for is_killed in [false, true] {
            let how = if is_killed { "killed" } else { "stopped" };
            let name = format!("disks of {}, {how}, opened by {}", writer.name(), reader.name());
            let node = Node::new("disks", flags)?;
            report.outcome(&name, exchange(&node, (writer, reader), is_killed));
            node.remove(flags);
        }
    }
    Ok(())
}

/// The writer fills a topic and goes; the reader finds the same, fills another, and goes; the writer finds both.
fn exchange(node: &Node, (writer, reader): (Kind, Kind), is_killed: bool) -> anyhow::Result<()> {
    let first = node.format_and_start(writer).context("start on an empty disk")?;
    client(node, "fill", &[FIRST])?;
    let written = client(node, "dump", &[FIRST])?;
    if is_killed {
        first.kill()?
    } else {
        first.stop()?
    }

    let second = node.start(reader).context("open the other's disk")?;
    same(&written, &client(node, "dump", &[FIRST])?)?;
    client(node, "fill", &[SECOND])?;
    let both = client(node, "dump", &[FIRST, SECOND])?;
    if both.lines().filter(|line| !line.starts_with('#')).count() != 2 * written.lines().count() - 2 {
        bail!("the second topic does not hold as many records as the first");
    }
    if is_killed {
        second.kill()?
    } else {
        second.stop()?
    }

    let third = node.start(writer).context("open the disk again")?;
    same(&both, &client(node, "dump", &[FIRST, SECOND])?)?;
    third.stop()
}

fn same(written: &str, found: &str) -> anyhow::Result<()> {
    let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    match text::difference(&lines(written), &lines(found)) {
        Some(difference) => bail!("the records differ:\n{difference}"),
        None => Ok(()),
    }
}

fn client(node: &Node, role: &str, topics: &[&str]) -> anyhow::Result<String> {
    let mut command = process::java("Client");
    command.args([role, &node.bootstrap()]).args(topics);
    process::succeed(&mut command, &node.at(role), LIMIT).with_context(|| format!("{role} {topics:?}"))
}

//! The programs that are members of groups: how each is started, what it says it has read, how it is told to leave.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};

use crate::group_clients::LIMIT;
use crate::server::{self, Node};
use crate::{layout, process, text};

/// A client as a member of groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    kind: How,
    pub(crate) is_consumer_protocol: bool,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Java,
    Go(&'static str),
    Python(&'static str),
    Node,
    C,
    /// `kafka-verifiable-consumer`.
    Verifiable,
    /// `kafka-console-consumer`.
    Console,
}

const fn classic(name: &'static str, kind: How) -> Member {
    Member { name, kind, is_consumer_protocol: false }
}

const fn consumer(name: &'static str, kind: How) -> Member {
    Member { name, kind, is_consumer_protocol: true }
}

/// All of them.
pub(crate) const MEMBERS: [Member; 13] = [
    classic("java", How::Java),
    consumer("java-consumer", How::Java),
    classic("franz-go", How::Go("group")),
    classic("sarama", How::Go("sarama")),
    classic("confluent-kafka-python", How::Python("group")),
    consumer("confluent-kafka-python-consumer", How::Python("group")),
    classic("aiokafka", How::Python("aiokafka")),
    classic("kafkajs", How::Node),
    classic("librdkafka", How::C),
    classic("verifiable-consumer", How::Verifiable),
    consumer("verifiable-consumer-consumer", How::Verifiable),
    classic("console-consumer", How::Console),
    consumer("console-consumer-consumer", How::Console),
];

impl Member {
    /// Why it cannot run here, if it cannot.
    pub(crate) fn missing(self) -> Option<String> {
        let path = match self.kind {
            How::Java | How::Verifiable | How::Console => return server::missing_java(),
            How::Go(_) => layout::installed("bin").join("go-client"),
            How::Python(_) => layout::installed("venv").join("lib"),
            How::Node => layout::installed("node").join("node_modules"),
            How::C => layout::installed("bin").join("c-client"),
        };
        (!path.exists()).then(|| format!("{} is not installed", self.name))
    }

    /// Its topic, and its group.
    pub(crate) fn topic(self) -> String {
        format!("members-{}", self.name)
    }

    fn protocol(self) -> &'static str {
        if self.is_consumer_protocol { "consumer" } else { "classic" }
    }

    fn command(self, bootstrap: &str) -> Command {
        let topic = self.topic();
        let (mut command, role) = match self.kind {
            How::Java => (process::java("Client"), "group"),
            How::Go(role) => (Command::new(layout::installed("bin").join("go-client")), role),
            How::Python(role) => {
                let mut command = Command::new(layout::installed("venv").join("bin").join("python"));
                command.arg(layout::source("python").join("client.py"));
                (command, role)
            }
            How::Node => {
                let mut command = Command::new("node");
                command.arg(layout::source("node").join("client.js")).env("NODE_MODULES", layout::installed("node"));
                (command, "group")
            }
            How::C => (Command::new(layout::installed("bin").join("c-client")), "group"),
            How::Verifiable => {
                let mut command = process::java("org.apache.kafka.tools.VerifiableConsumer");
                command.args(["--bootstrap-server", bootstrap, "--topic", &topic, "--group-id", &topic]);
                command.args(["--group-protocol", self.protocol(), "--verbose", "--reset-policy", "earliest"]);
                return command;
            }
            How::Console => {
                let mut command = process::java("org.apache.kafka.tools.consumer.ConsoleConsumer");
                command.args([
                    "--bootstrap-server",
                    bootstrap,
                    "--topic",
                    &topic,
                    "--group",
                    &topic,
                    "--from-beginning",
                ]);
                for property in ["print.partition=true", "print.offset=true", "print.value=false"] {
                    command.args(["--formatter-property", property]);
                }
                for property in [&format!("group.protocol={}", self.protocol()), "auto.commit.interval.ms=200"] {
                    command.args(["--command-property", property]);
                }
                return command;
            }
        };
        command.args([role, bootstrap, &topic, &topic]);
        if matches!(role, "group") && matches!(self.kind, How::Java | How::Python(_)) {
            command.arg(self.protocol());
        }
        command
    }

    /// Kafka's tools end when they are told to, our clients when their input ends.
    fn is_stopped_by_signal(self) -> bool {
        matches!(self.kind, How::Verifiable | How::Console)
    }
}

/// A member's program.
pub(crate) struct Running {
    member: Member,
    child: Child,
    input: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
    errors: std::path::PathBuf,
    is_stopped: bool,
}

impl Running {
    pub(crate) fn start(member: Member, node: &Node, which: &str) -> anyhow::Result<Self> {
        let errors = node.at(&format!("{}-{which}.err", member.name));
        let mut command = member.command(&node.bootstrap());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(&errors)?);
        let mut child = command.spawn().with_context(|| format!("start {}", member.name))?;
        let output = child.stdout.take().context("its output")?;
        let input = child.stdin.take();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Self { member, child, input, lines, errors, is_stopped: false })
    }

    /// Partition and offset of every record it has read.
    pub(crate) fn read(&self) -> BTreeSet<(i32, i64)> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter_map(|line| record(line)).collect()
    }

    /// A program that was not told to end must not have.
    pub(crate) fn must_be_alive(&mut self) -> anyhow::Result<()> {
        if !self.is_stopped && self.child.try_wait()?.is_some() {
            bail!("a member ended: {}", self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        text::end_of(&std::fs::read_to_string(&self.errors).unwrap_or_default(), 8)
    }

    /// Tells it to leave and waits until it has.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.is_stopped = true;
        self.input.take();
        if self.member.is_stopped_by_signal() {
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().context("kill -TERM")?;
        }
        let code = process::wait(&mut self.child, LIMIT)?;
        // A JVM ends with 143 after its shutdown hooks.
        ensure!(code == 0 || code == 143, "a member ended with {code}: {}", self.last_words());
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Partition and offset of a record as our clients, the console consumer and the verifiable consumer print them.
fn record(line: &str) -> Option<(i32, i64)> {
    if let Some(rest) = line.strip_prefix("record ") {
        let (partition, offset) = rest.split_once(' ')?;
        return Some((partition.parse().ok()?, offset.parse().ok()?));
    }
    let number_after = |mark: &str| {
        let (_, rest) = line.split_once(mark)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i64>().ok()
    };
    if line.contains("\"name\":\"record_data\"") {
        return Some((number_after("\"partition\":")?.try_into().ok()?, number_after("\"offset\":")?));
    }
    Some((number_after("Partition:")?.try_into().ok()?, number_after("Offset:")?))
}

#[cfg(test)]
mod tests {
    use super::record;

    #[test]
    fn records_are_found_in_what_each_program_prints() {
        assert_eq!(record("record 3 14"), Some((3, 14)));
        let verifiable =
            r#"{"timestamp":1,"name":"record_data","key":null,"value":"x","topic":"t","partition":2,"offset":7}"#;
        assert_eq!(record(verifiable), Some((2, 7)));
        assert_eq!(record("Partition:1\tOffset:9"), Some((1, 9)));
        assert_eq!(record(r#"{"name":"partitions_assigned","partitions":[{"topic":"t","partition":2}]}"#), None);
    }
}

//! The clients of the matrix: how each is told to produce and to consume. Their contract is in `go/main.go`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::data::{self, Shard};
use crate::{layout, process};

const LIMIT: Duration = Duration::from_secs(300);
/// How many files one kcat is given as arguments.
const KCAT_FILES_MAX: usize = 500;

/// Every codec of a record batch.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A client program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Java,
    Go,
    Python,
    Node,
    C,
    Kcat,
    /// `kafka-console-producer.sh`; it only writes lines, and says to no partition, so that its topics have one.
    Console,
}

/// Where a client works: the server, the topics' partitions, a folder for its outputs.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) bootstrap: String,
    pub(crate) partitions: usize,
    pub(crate) folder: &'a Path,
}

impl Client {
    pub(crate) const ALL: [Self; 7] =
        [Self::Java, Self::Go, Self::Python, Self::Node, Self::C, Self::Kcat, Self::Console];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Go => "franz-go",
            Self::Python => "confluent-kafka-python",
            Self::Node => "kafkajs",
            Self::C => "librdkafka",
            Self::Kcat => "kcat",
            Self::Console => "console-producer",
        }
    }

    /// True if it is a reader of the matrix.
    pub(crate) fn reads(self) -> bool {
        self != Self::Console
    }

    /// True if it can send bytes that are no lines of text; kcat takes the key of a file from a flag, one for all of them.
    pub(crate) fn writes_files(self, keyed: bool) -> bool {
        self != Self::Console && !(self == Self::Kcat && keyed)
    }

    /// True if it is made of librdkafka.
    pub(crate) fn is_librdkafka(self) -> bool {
        matches!(self, Self::Python | Self::C | Self::Kcat)
    }

    /// How many partitions its topics have.
    pub(crate) fn partitions(self, usual: usize) -> usize {
        if self == Self::Console { 1 } else { usual }
    }

    /// Why this client cannot run here, if it cannot.
    pub(crate) fn missing(self) -> Option<String> {
        let path = match self {
            Self::Java | Self::Console => return crate::server::missing_java(),
            Self::Go => layout::installed("bin").join("go-client"),
            Self::Python => layout::installed("venv").join("lib"),
            Self::Node => layout::installed("node").join("node_modules"),
            Self::C => layout::installed("bin").join("c-client"),
            Self::Kcat => PathBuf::from("/usr/bin/kcat"),
        };
        (!path.exists()).then(|| format!("{} is not installed", self.name()))
    }

    /// The program, ready for `produce` or `consume` and what follows. Not for kcat, which has flags of its own.
    pub(crate) fn command(self) -> Command {
        match self {
            Self::Java => process::java("Client"),
            Self::Go => Command::new(layout::installed("bin").join("go-client")),
            Self::Python => {
                let mut command = Command::new(layout::installed("venv").join("bin").join("python"));
                command.arg(layout::source("python").join("client.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(layout::source("node").join("client.js")).env("NODE_MODULES", layout::installed("node"));
                command
            }
            Self::C => Command::new(layout::installed("bin").join("c-client")),
            Self::Kcat => Command::new("kcat"),
            Self::Console => process::java("org.apache.kafka.tools.ConsoleProducer"),
        }
    }

    /// Sends a shard: record i to partition i modulo the partitions.
    pub(crate) fn produce(self, place: &Place<'_>, topic: &str, codec: &str, shard: &Shard) -> anyhow::Result<()> {
        if self == Self::Kcat {
            return kcat_produce(place, topic, codec, shard);
        }
        let mut command = self.command();
        if self == Self::Console {
            command.args(["--bootstrap-server", &place.bootstrap, "--topic", topic, "--compression-codec", codec]);
            command.args(["--reader-property", &format!("parse.key={}", shard.keyed)]);
            // Lines hold tabs and colons; with a key the first separator counts, and the input is `<number>\t<line>`.
            let at = place.folder.join(format!("produce-{topic}"));
            let input = shard.delimited(&at)?;
            let ended = process::run(&mut command, Some(&input), &at, LIMIT)?;
            let is_quiet = ended.code == 0 && !ended.errors.contains("ERROR");
            anyhow::ensure!(is_quiet, "{}: {}", ended.code, crate::text::end_of(&ended.errors, 12));
            return Ok(());
        }
        command.args(["produce", &place.bootstrap, topic, &place.partitions.to_string(), codec]);
        command.args([shard.mode.name(), if shard.keyed { "keyed" } else { "unkeyed" }]).arg(&shard.path);
        process::succeed(&mut command, &place.folder.join(format!("produce-{topic}")), LIMIT).map(|_| ())
    }

    /// Reads whole topics into `<folder>/<topic>-<partition>`, framed.
    pub(crate) fn consume(self, place: &Place<'_>, topics: &[String]) -> anyhow::Result<()> {
        if self == Self::Kcat {
            return topics.iter().try_for_each(|topic| kcat_consume(place, topic));
        }
        let mut command = self.command();
        command.args(["consume", &place.bootstrap]).arg(place.folder).arg(place.partitions.to_string()).args(topics);
        process::succeed(&mut command, &place.folder.join("consume"), LIMIT * 4).map(|_| ())
    }
}

/// kcat sends one partition a run: lines from a file of them, or whole files named as arguments.
fn kcat_produce(place: &Place<'_>, topic: &str, codec: &str, shard: &Shard) -> anyhow::Result<()> {
    for partition in 0..place.partitions {
        let records = data::lines(&shard.path)?.into_iter().enumerate();
        let mine: Vec<(usize, Vec<u8>)> = records.filter(|(n, _)| n % place.partitions == partition).collect();
        let at = place.folder.join(format!("kcat-{topic}-{partition}"));
        match shard.mode {
            data::Mode::Lines => {
                let mut list = File::create(&at)?;
                for (n, line) in &mine {
                    if shard.keyed {
                        write!(list, "{n}\t")?;
                    }
                    list.write_all(line)?;
                    list.write_all(b"\n")?;
                }
                drop(list);
                let mut command = kcat(place, topic, partition);
                command.args(["-P", "-z", codec, "-X", "enable.idempotence=true", "-l"]).arg(&at);
                if shard.keyed {
                    command.args(["-K", "\t"]);
                }
                process::succeed(&mut command, &at, LIMIT)?;
            }
            data::Mode::Files => {
                for some in mine.chunks(KCAT_FILES_MAX) {
                    let mut command = kcat(place, topic, partition);
                    command.args(["-P", "-z", codec, "-X", "enable.idempotence=true"]);
                    command.args(some.iter().map(|(_, path)| String::from_utf8_lossy(path).into_owned()));
                    process::succeed(&mut command, &at, LIMIT)?;
                }
            }
        }
    }
    Ok(())
}

fn kcat(place: &Place<'_>, topic: &str, partition: usize) -> Command {
    let mut command = Client::Kcat.command();
    command.args(["-b", &place.bootstrap, "-t", topic, "-p", &partition.to_string(), "-m", "20"]);
    command
}

fn kcat_consume(place: &Place<'_>, topic: &str) -> anyhow::Result<()> {
    for partition in 0..place.partitions {
        let at = place.folder.join(format!("kcat-{topic}-{partition}"));
        let mut command = kcat(place, topic, partition);
        command.args(["-C", "-X", "fetch.wait.max.ms=10", "-o", "beginning", "-e", "-q", "-f", "%K %k%R%s"]);
        let ended = process::run(&mut command, None, &at, LIMIT)?;
        anyhow::ensure!(ended.code == 0, "kcat ended with {}: {}", ended.code, ended.errors);
        let raw = std::fs::read(at.with_extension("out"))?;
        let framed = data::reframe(&raw).with_context(|| format!("what kcat wrote of {topic}-{partition}"))?;
        std::fs::write(place.folder.join(format!("{topic}-{partition}")), framed)?;
    }
    Ok(())
}

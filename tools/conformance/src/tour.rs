//! README's cluster of three as a reader makes it: the file and the commands are taken from README's own text and typed into a shell.
//! The ports alone are others. The scripts of Apache Kafka it names run the classes behind them. Then Kafka's tools work on the
//! cluster, and when it has stopped, they read its metadata log and snapshots.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::clients::Client;
use crate::flags::Flags;
use crate::report::Report;
use crate::server::{self, Kind};
use crate::{layout, ports, process, text};

const NAME: &str = "tour: README's cluster of three";
/// After these words of README come the file and the commands.
const CHAPTER: &str = "A cluster of three on one machine";
/// How README's ports begin: the brokers', the controllers'.
const BROKERS: &str = "1909";
const CONTROLLERS: &str = "1919";
/// How many numbers README writes twice.
const NUMBERS: usize = 100_000;
/// README's commands begin five JVMs one after the other, each of which takes half a minute on a machine that has other things to do.
const LIMIT: Duration = Duration::from_secs(400);
const TOPIC: &str = "replicated";

/// Scripts of Apache Kafka, and what each starts.
const SCRIPTS: [(&str, &str); 9] = [
    ("kafka-cluster.sh", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-dump-log.sh", "org.apache.kafka.tools.DumpLogSegments"),
    ("kafka-get-offsets.sh", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-leader-election.sh", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-log-dirs.sh", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-metadata-quorum.sh", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-metadata-shell.sh", "org.apache.kafka.shell.MetadataShell"),
    ("kafka-reassign-partitions.sh", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
];

/// The part.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let missing = server::missing(Kind::Milena, flags).or_else(server::missing_java);
    match missing.or_else(|| Client::Kcat.missing()) {
        _ if !flags.selects(NAME) => {}
        Some(reason) => report.skip(NAME, &reason),
        None => report.outcome(NAME, Tour::start(flags).and_then(|tour| tour.test(flags))),
    }
    Ok(())
}

/// A shell in which README's commands were typed, and the nodes they started.
struct Tour {
    shell: Child,
    folder: PathBuf,
    brokers: u16,
    controllers: u16,
}

impl Tour {
    fn start(flags: &Flags) -> anyhow::Result<Self> {
        let readme = std::fs::read_to_string(layout::document("README.md")).context("README.md")?;
        let (_, chapter) = readme.split_once(CHAPTER).with_context(|| format!("no {CHAPTER:?}"))?;
        let (brokers, controllers) = (ports::free_ten()?, ports::free_ten()?);
        let typed = |kind| -> anyhow::Result<String> {
            let text = block(chapter, kind)?.replace(BROKERS, &brokers.to_string());
            Ok(text.replace(CONTROLLERS, &controllers.to_string()))
        };
        let folder = layout::scratch("tour")?;
        std::fs::write(folder.join("n1.properties"), typed("properties")?)?;
        // What was started ends when a command fails, or when this process has closed the shell's input or is gone.
        let script = format!(
            "set -e\ntrap 'set +e; jobs -p > nodes; kill $(cat nodes); wait' EXIT\n{}\necho the tour is over > tour.done\ncat > rest\n",
            typed("sh")?
        );
        std::fs::write(folder.join("tour.sh"), script)?;
        install(&folder, &flags.milena.clone().unwrap_or_else(layout::milena))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let output = File::create(folder.join("tour.out"))?;
        let mut shell = Command::new("sh");
        shell.arg("tour.sh").current_dir(&folder).env("PATH", format!("{}:{path}", folder.join("bin").display()));
        shell.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let shell = shell.spawn().context("start a shell")?;
        Ok(Self { shell, folder, brokers, controllers })
    }

    fn test(mut self, flags: &Flags) -> anyhow::Result<()> {
        let begin = Instant::now();
        let told = |what: &str| println!("     after {:.1} s {what}", begin.elapsed().as_secs_f64());
        self.await_done()?;
        told("README's commands are through");
        self.said()?;
        self.read().context("read with kcat")?;
        self.quorum().context("kafka-metadata-quorum")?;
        self.cluster()?;
        self.moved()?;
        told("Kafka's tools have worked on it");
        drop(self.shell.stdin.take());
        process::wait(&mut self.shell, LIMIT)?;
        for node in 1..=3 {
            let log = std::fs::read_to_string(self.folder.join(format!("n{node}.log")))?;
            ensure!(log.contains("shut down"), "node {node} did not stop cleanly: {}", text::end_of(&log, 8));
        }
        self.files().context("the files")?;
        told("its metadata have been read");
        if !flags.keep {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        Ok(())
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("tour.out")).unwrap_or_default()).into_owned()
    }

    fn await_done(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !self.folder.join("tour.done").exists() {
            let ended = self.shell.try_wait()?;
            if ended.is_some() || begin.elapsed() > LIMIT {
                bail!("README's commands ended with {ended:?}: {}", text::end_of(&self.output(), 20));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What README's own tools printed.
    fn said(&self) -> anyhow::Result<()> {
        let output = self.output();
        ensure!(output.contains(&format!("Created topic {TOPIC}.")), "no topic: {output}");
        ensure!(output.contains("LeaderId:") && output.contains("CurrentVoters:"), "no status: {output}");
        let followers = output.lines().filter(|line| line.trim_end().ends_with("Follower")).count();
        ensure!(followers >= 1 && output.contains("Leader"), "no replication: {output}");
        Ok(())
    }

    /// Everything README wrote is there, twice.
    fn read(&self) -> anyhow::Result<()> {
        let mut kcat = Client::Kcat.command();
        kcat.args(["-b", &self.servers(), "-t", TOPIC, "-C", "-o", "beginning", "-e", "-q"]);
        let text = process::succeed(&mut kcat, &self.folder.join("kcat"), LIMIT)?;
        let mut times = vec![0; NUMBERS + 1];
        for line in text.lines() {
            let number: usize = line.parse().with_context(|| format!("{line} is no number"))?;
            *times.get_mut(number).with_context(|| format!("{number} was not written"))? += 1;
        }
        let wrong = times.iter().skip(1).position(|times| *times != 2);
        ensure!(wrong.is_none(), "{:?} is not there twice", wrong.map(|at| at + 1));
        Ok(())
    }

    fn quorum(&self) -> anyhow::Result<()> {
        for asked in [format!("--bootstrap-server {}", self.servers()), self.controllers()] {
            let status = self.tool("kafka-metadata-quorum.sh", &format!("{asked} describe --status"))?;
            for node in 1..=3 {
                let voter = format!("CONTROLLER://127.0.0.1:{}{node}", self.controllers);
                ensure!(status.contains(&voter), "no voter {voter}: {status}");
            }
        }
        let begin = Instant::now();
        loop {
            let table =
                self.tool("kafka-metadata-quorum.sh", &format!("{} describe --replication", self.controllers()))?;
            let count = |role| table.lines().filter(|line| line.trim_end().ends_with(role)).count();
            if (count("Leader"), count("Follower"), count("Observer")) == (1, 2, 0) {
                return Ok(());
            }
            ensure!(begin.elapsed() < LIMIT, "not one leader and two followers: {table}");
        }
    }

    fn cluster(&self) -> anyhow::Result<()> {
        let server = format!("--bootstrap-server {}", self.servers());
        let info = std::fs::read_to_string(self.folder.join("data/1/meta.properties"))?;
        let id = info.lines().find_map(|line| line.strip_prefix("cluster.id=")).context("a cluster id")?;
        let said = self.tool("kafka-cluster.sh", &format!("cluster-id {server}"))?;
        ensure!(said.contains(id), "not {id}: {said}");
        for (asked, ports) in [(&server, self.brokers), (&self.controllers(), self.controllers)] {
            let said = self.tool("kafka-cluster.sh", &format!("list-endpoints {asked}"))?;
            let has = |node: u16| {
                let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                let row = [node.to_string(), "127.0.0.1".to_owned(), format!("{ports}{node}")];
                said.lines().any(|line| words(line).starts_with(&row))
            };
            ensure!((1..=3).all(has), "not all endpoints: {said}");
        }
        let said = self.tool("kafka-log-dirs.sh", &format!("{server} --describe --topic-list {TOPIC}"))?;
        for node in 1..=3 {
            let dir = format!("{}", self.folder.join(format!("data/{node}")).display());
            ensure!(said.contains(&format!("\"broker\":{node},")), "no broker {node}: {said}");
            ensure!(said.contains(&dir) || said.contains(&format!("data/{node}")), "no {dir}: {said}");
        }
        let partitions = said.matches(&format!("\"partition\":\"{TOPIC}-")).count();
        ensure!(partitions == 9, "{partitions} replicas and not 9: {said}");
        Ok(())
    }

    /// The order of all replicas is turned around, and who is the first one then is elected.
    fn moved(&self) -> anyhow::Result<()> {
        let server = format!("--bootstrap-server {}", self.servers());
        let plan = self.folder.join("plan.json");
        let move_one = |index: usize| {
            let order = ["1,3,2", "2,1,3", "3,2,1"].get(index).copied().unwrap_or_default();
            format!("{{\"topic\": \"{TOPIC}\", \"partition\": {index}, \"replicas\": [{order}]}}")
        };
        let moves = (0..3).map(move_one).collect::<Vec<_>>().join(", ");
        std::fs::write(&plan, format!("{{\"version\": 1, \"partitions\": [{moves}]}}"))?;
        let asked = format!("{server} --reassignment-json-file {}", plan.display());
        let said = self.tool("kafka-reassign-partitions.sh", &format!("{asked} --execute"))?;
        ensure!(said.contains("Successfully started partition reassignments"), "{said}");
        let begin = Instant::now();
        loop {
            let said = self.tool("kafka-reassign-partitions.sh", &format!("{asked} --verify"))?;
            if said.lines().filter(|line| line.ends_with("is completed.")).count() == 3 {
                break;
            }
            ensure!(begin.elapsed() < LIMIT, "not completed: {said}");
        }
        self.tool("kafka-leader-election.sh", &format!("{server} --election-type preferred --all-topic-partitions"))?;
        let said = self.tool("kafka-topics.sh", &format!("{server} --describe --topic {TOPIC}"))?;
        for (index, order) in [(0, "1,3,2"), (1, "2,1,3"), (2, "3,2,1")] {
            let words = format!("Partition: {index} Leader: {} Replicas: {order} Isr: ", index + 1);
            let is_so = |line: &str| {
                let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
                let isr = line.split_once(&words).map(|(_, rest)| rest.split(' ').next().unwrap_or_default().len());
                isr == Some(order.len())
            };
            ensure!(said.lines().any(is_so), "no {words}: {said}");
        }
        Ok(())
    }

    /// The nodes have stopped: what they left can be read.
    fn files(&self) -> anyhow::Result<()> {
        let metadata = self.folder.join("data/1/__cluster_metadata-0");
        let log = metadata.join("00000000000000000000.log").display().to_string();
        let snapshot = metadata.join("00000000000000000000-0000000000.checkpoint").display().to_string();
        for (file, kinds) in [
            (&log, ["LeaderChange", "REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD"]),
            (&snapshot, ["SnapshotHeader", "KRaftVersion", "KRaftVoters", "SnapshotFooter"]),
        ] {
            let said = self.tool("kafka-dump-log.sh", &format!("--cluster-metadata-decoder --files {file}"))?;
            let missing = kinds.iter().find(|kind| !said.contains(**kind));
            ensure!(missing.is_none(), "no {missing:?} in {file}: {}", text::end_of(&said, 12));
        }
        // Of a first snapshot, which has nothing but the voters, the shell waits for the rest, also of Apache Kafka's.
        let said = self.tool("kafka-metadata-shell.sh", &format!("--snapshot {log} ls image/topics/byName"))?;
        ensure!(said.contains(TOPIC), "the shell does not list the topic: {said}");
        Ok(())
    }

    fn servers(&self) -> String {
        (1..=3).map(|node| format!("127.0.0.1:{}{node}", self.brokers)).collect::<Vec<_>>().join(",")
    }

    fn controllers(&self) -> String {
        let all = (1..=3).map(|node| format!("127.0.0.1:{}{node}", self.controllers)).collect::<Vec<_>>();
        format!("--bootstrap-controller {}", all.join(","))
    }

    /// What a script of Apache Kafka prints.
    fn tool(&self, script: &str, args: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.folder.join("bin").join(script));
        command.args(args.split(' '));
        process::succeed(&mut command, &self.folder.join("tool"), LIMIT).with_context(|| format!("{script} {args}"))
    }
}

impl Drop for Tour {
    fn drop(&mut self) {
        // The shell and all it started are a group of their own.
        let _ =
            Command::new("kill").args(["-KILL", "--", &format!("-{}", self.shell.id())]).stderr(Stdio::null()).status();
        let _ = self.shell.wait();
    }
}

/// The first block of code of this kind.
fn block<'a>(text: &'a str, kind: &str) -> anyhow::Result<&'a str> {
    let (_, rest) = text.split_once(&format!("```{kind}\n")).with_context(|| format!("no block of {kind}"))?;
    rest.split_once("```").map(|(block, _)| block).context("the end of a block")
}

/// Kafka's scripts into a folder of the path, and the binary to where README's readers have built it.
fn install(folder: &Path, milena: &Path) -> anyhow::Result<()> {
    let (bin, release) = (folder.join("bin"), folder.join("target/release"));
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(&release)?;
    symlink(std::path::absolute(milena)?, release.join("milena")).context("link milena")?;
    for (name, class) in SCRIPTS {
        let java = process::java(class);
        let words = java.get_args().map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>();
        let path = bin.join(name);
        let mut file = File::create(&path)?;
        writeln!(file, "#!/bin/sh\nexec java {} \"$@\"", words.join(" "))?;
        file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BROKERS, CHAPTER, CONTROLLERS, SCRIPTS, block};
    use crate::layout;

    #[test]
    fn the_tour_knows_every_script_that_readme_names() {
        let readme = std::fs::read_to_string(layout::document("README.md")).expect("README.md");
        let (_, chapter) = readme.split_once(CHAPTER).expect("the chapter");
        let (file, commands) = (block(chapter, "properties").expect("a file"), block(chapter, "sh").expect("commands"));
        for word in commands.split_whitespace().map(|word| word.trim_start_matches("$(")) {
            let is_script = word.starts_with("kafka-");
            assert!(!is_script || SCRIPTS.iter().any(|(name, _)| *name == word), "{word}");
        }
        assert!(file.contains(&format!("127.0.0.1:{BROKERS}1")) && file.contains(&format!("127.0.0.1:{CONTROLLERS}1")));
        assert!(!commands.contains("```") && commands.contains("kill -9"));
    }
}

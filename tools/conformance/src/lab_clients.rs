//! The clients of the lab: programs in namespaces that write or read until their input ends, and note every operation.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use milena_histories::{Operation, parse};

use crate::{layout, namespaces, process, text};

/// The topic that is written and read.
pub(crate) const TOPIC: &str = "lab";
/// A program that runs.
pub(crate) struct Client {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    errors: PathBuf,
    /// The histories it writes.
    histories: Vec<PathBuf>,
}

/// Where clients find the cluster, and how many partitions the topic has.
pub(crate) struct Target<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) partitions: u32,
    /// Records a second of each writer.
    pub(crate) rate: u32,
    pub(crate) folder: &'a Path,
}

impl Target<'_> {
    fn history(&self, process: u32) -> PathBuf {
        self.folder.join(format!("{process}.history"))
    }

    fn go(&self, role: &str) -> Command {
        let mut command = Command::new(layout::installed("bin").join("go-client"));
        command.args([role, self.bootstrap, TOPIC, &self.partitions.to_string()]);
        command
    }

    /// A writer of franz-go.
    pub(crate) fn go_writer(&self, namespace: &str, process: u32, codec: &str) -> anyhow::Result<Client> {
        let mut command = self.go("lab-writer");
        command.args([codec, &process.to_string(), &self.rate.to_string()]).arg(self.history(process));
        self.start(namespace, &format!("go-{codec}"), &command, vec![self.history(process)])
    }

    /// A writer of librdkafka.
    pub(crate) fn c_writer(&self, namespace: &str, process: u32, codec: &str) -> anyhow::Result<Client> {
        let mut command = Command::new(layout::installed("bin").join("c-client"));
        command.args(["lab-writer", self.bootstrap, TOPIC, &self.partitions.to_string()]);
        command.args([codec, &process.to_string(), &self.rate.to_string()]).arg(self.history(process));
        self.start(namespace, &format!("c-{codec}"), &command, vec![self.history(process)])
    }

    /// Writers of Kafka's own client, in one process.
    pub(crate) fn java_writers(&self, namespace: &str, writers: &[(u32, &str)]) -> anyhow::Result<Client> {
        let mut command = process::java("LabWriter");
        command.args([self.bootstrap, TOPIC, &self.partitions.to_string(), &self.rate.to_string()]).arg(self.folder);
        command.args(writers.iter().map(|(process, codec)| format!("{codec}:{process}")));
        let histories = writers.iter().map(|(process, _)| self.history(*process)).collect();
        self.start(namespace, "java", &command, histories)
    }

    /// Groups of one consumer of Kafka's own client each, by their protocols, in one process.
    pub(crate) fn java_readers(&self, namespace: &str, readers: &[(u32, &str)]) -> anyhow::Result<Client> {
        let mut command = process::java("LabReader");
        command.args([self.bootstrap, TOPIC]).arg(self.folder);
        command.args(readers.iter().map(|(process, protocol)| format!("{protocol}:{process}")));
        let histories = readers.iter().map(|(process, _)| self.history(*process)).collect();
        self.start(namespace, "java-readers", &command, histories)
    }

    /// A reader of franz-go, from the beginning.
    pub(crate) fn reader(&self, namespace: &str, process: u32) -> anyhow::Result<Client> {
        let mut command = self.go("lab-reader");
        command.arg(process.to_string()).arg(self.history(process));
        self.start(namespace, &format!("reader-{process}"), &command, vec![self.history(process)])
    }

    /// A program that writes these histories.
    pub(crate) fn start(
        &self,
        namespace: &str,
        name: &str,
        command: &Command,
        histories: Vec<PathBuf>,
    ) -> anyhow::Result<Client> {
        let errors = self.folder.join(format!("{name}.err"));
        let log = std::fs::File::create(&errors)?;
        let mut command = namespaces::within(namespace, command);
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let input = child.stdin.take();
        Ok(Client { name: name.to_owned(), child, input, errors, histories })
    }
}

impl Client {
    /// A program that was not told to end must not have.
    pub(crate) fn must_be_alive(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            bail!("{} ended: {}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Its input ends.
    pub(crate) fn finish(&mut self) {
        self.input.take();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        process::signal(name, &self.child).with_context(|| self.name.clone())
    }

    /// Waits until it has ended, which must be well.
    pub(crate) fn end(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.finish();
        let code = process::wait(&mut self.child, limit)?;
        ensure!(code == 0, "{} ended with {code} (-1: not within {limit:?}): {}", self.name, self.last_words());
        Ok(())
    }

    /// Waits until it has ended, and has what it noted.
    pub(crate) fn history(mut self, limit: Duration) -> anyhow::Result<Vec<Operation>> {
        self.end(limit)?;
        let mut all = Vec::new();
        for path in &self.histories {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            // What comes after the last end of a line was not whole when the client ended.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            all.extend(parse(whole)?);
        }
        Ok(all)
    }

    fn last_words(&self) -> String {
        text::end_of(&String::from_utf8_lossy(&std::fs::read(&self.errors).unwrap_or_default()), 8)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

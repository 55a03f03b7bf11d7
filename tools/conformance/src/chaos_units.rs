//! The members of the group chaos as processes: a JVM hosts some of each group, the others are one process each. What is done to a
//! process is done to all of its members.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::random::Random;
use crate::{layout, process, text};

/// The topic that all groups read.
pub(crate) const TOPIC: &str = "chaos";
/// Every group; the last one has members of both protocols.
pub(crate) const GROUPS: [&str; 4] = ["eager", "cooperative", "consumer", "mixed"];
/// Members of a group in one JVM.
const IN_A_JVM: u32 = 2;
/// Records a second.
const RATE: &str = "300";
/// A member that was fenced ends with this, and is started again.
const FENCED: i32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Java,
    Go,
    C,
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) group: &'static str,
    assignor: &'static str,
    pub(crate) is_static: bool,
}

impl Spec {
    fn new(group: &'static str, number: u32) -> Self {
        let assignor = match group {
            "eager" => "range",
            "cooperative" => "cooperative-sticky",
            "mixed" if number.is_multiple_of(2) => "cooperative-sticky",
            _ => "consumer",
        };
        Self { name: format!("{group}-{number}"), group, assignor, is_static: number % 4 == 3 }
    }

    fn word(&self) -> String {
        let instance = if self.is_static { &self.name } else { "-" };
        format!("{}:{}:{}:{instance}", self.name, self.group, self.assignor)
    }
}

/// What a process is doing.
enum State {
    /// It does not run, and is started at this time.
    Down(Instant),
    Running(Child, Option<ChildStdin>),
    /// SIGSTOP until then.
    Paused(Child, Option<ChildStdin>, Instant),
    /// It was told to leave.
    Leaving(Child),
}

/// One process and its members.
pub(crate) struct Unit {
    language: Language,
    pub(crate) specs: Vec<Spec>,
    state: State,
    errors: PathBuf,
}

/// Deals the members of each group out to processes.
pub(crate) fn deal(groups: &[&'static str], members: u32, folder: &Path) -> Vec<Unit> {
    let jvms = (members / 8).clamp(1, 3);
    let mut units: Vec<(Language, Vec<Spec>)> = (0..jvms).map(|_| (Language::Java, Vec::new())).collect();
    for group in groups {
        for number in 0..members {
            let spec = Spec::new(group, number);
            let hosted = (number < jvms * IN_A_JVM).then_some((number / IN_A_JVM) as usize);
            match hosted.and_then(|at| units.get_mut(at)) {
                Some((_, specs)) => specs.push(spec),
                // The C library at hand knows the classic protocol alone.
                None if number % 4 < 2 && spec.assignor != "consumer" => units.push((Language::C, vec![spec])),
                None => units.push((Language::Go, vec![spec])),
            }
        }
    }
    let errors =
        |specs: &[Spec]| folder.join(format!("{}.err", specs.first().map_or("none", |spec| spec.name.as_str())));
    let unit = |(language, specs): (Language, Vec<Spec>)| Unit {
        language,
        errors: errors(&specs),
        specs,
        state: State::Down(Instant::now()),
    };
    units.into_iter().map(unit).collect()
}

impl Unit {
    /// What it is, for the story of a run.
    pub(crate) fn title(&self) -> String {
        let first = self.specs.first().map_or("none", |spec| spec.name.as_str());
        format!("{:?} {first} ({} members)", self.language, self.specs.len())
    }

    /// Starts what is due, goes on with what was paused long enough, and looks who ended.
    pub(crate) fn tick(&mut self, bootstrap: &str, folder: &Path, rest: Duration) -> anyhow::Result<()> {
        let now = Instant::now();
        let state = std::mem::replace(&mut self.state, State::Down(now));
        self.state = match state {
            State::Down(at) if at <= now => self.start(bootstrap, folder)?,
            State::Running(mut child, input) => match child.try_wait()? {
                None => State::Running(child, input),
                Some(status) if status.code() == Some(FENCED) => State::Down(now + rest),
                Some(status) => bail!("{} ended with {status}: {}", self.title(), self.last_words()),
            },
            State::Paused(child, input, until) if until <= now => {
                process::signal("CONT", &child)?;
                State::Running(child, input)
            }
            State::Leaving(mut child) => {
                if child.try_wait()?.is_some() {
                    State::Down(now + rest)
                } else {
                    State::Leaving(child)
                }
            }
            other => other,
        };
        Ok(())
    }

    fn start(&self, bootstrap: &str, folder: &Path) -> anyhow::Result<State> {
        let mut command = match self.language {
            Language::Java => process::java("ChaosMember"),
            Language::Go => Command::new(layout::installed("bin").join("go-client")),
            Language::C => Command::new(layout::installed("bin").join("c-client")),
        };
        if self.language != Language::Java {
            command.arg("chaos-member");
        }
        command.args([bootstrap, TOPIC]).arg(folder).args(self.specs.iter().map(Spec::word));
        let errors = std::fs::File::options().create(true).append(true).open(&self.errors)?;
        command.stdin(Stdio::piped()).stdout(errors.try_clone()?).stderr(errors);
        let mut child = command.spawn().with_context(|| format!("start {}", self.title()))?;
        let input = child.stdin.take();
        Ok(State::Running(child, input))
    }

    /// Does something to a process that runs; what, is told.
    pub(crate) fn disturb(&mut self, random: &mut Random) -> anyhow::Result<Option<String>> {
        let now = Instant::now();
        let (mut child, input) = match std::mem::replace(&mut self.state, State::Down(now)) {
            State::Running(child, input) => (child, input),
            other => {
                self.state = other;
                return Ok(None);
            }
        };
        let back = now + Duration::from_millis(200 + random.below(6000));
        let (state, what) = match random.below(10) {
            0..4 => {
                child.kill()?;
                child.wait()?;
                (State::Down(back), "is killed".to_owned())
            }
            4..7 => {
                drop(input);
                (State::Leaving(child), "leaves".to_owned())
            }
            short => {
                // Shorter and longer than the session's timeout of six seconds.
                let least = if short < 9 { 300 } else { 7500 };
                let pause = least + random.below(3500);
                process::signal("STOP", &child)?;
                (State::Paused(child, input, now + Duration::from_millis(pause)), format!("stops for {pause} ms"))
            }
        };
        self.state = state;
        Ok(Some(format!("{} {what}", self.title())))
    }

    /// Whether it runs undisturbed; if not, it will.
    pub(crate) fn calm(&mut self) -> bool {
        match &mut self.state {
            State::Running(..) => return true,
            State::Down(until) | State::Paused(_, _, until) => *until = Instant::now(),
            State::Leaving(_) => {}
        }
        false
    }

    /// Tells it to leave.
    pub(crate) fn leave(&mut self) {
        match std::mem::replace(&mut self.state, State::Down(Instant::now())) {
            State::Running(child, input) => {
                drop(input);
                self.state = State::Leaving(child);
            }
            other => self.state = other,
        }
    }

    /// Waits until it has left.
    pub(crate) fn left(&mut self, limit: Duration) -> anyhow::Result<()> {
        if let State::Leaving(child) = &mut self.state {
            let code = process::wait(child, limit)?;
            anyhow::ensure!(code == 0, "{} left with {code}: {}", self.title(), self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        text::end_of(&String::from_utf8_lossy(&std::fs::read(&self.errors).unwrap_or_default()), 8)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let State::Running(child, _) | State::Paused(child, _, _) | State::Leaving(child) = &mut self.state {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The writer's process.
pub(crate) struct Writer {
    child: Child,
    input: Option<ChildStdin>,
}

impl Writer {
    pub(crate) fn start(bootstrap: &str, partitions: i32, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(layout::installed("bin").join("go-client"));
        command.args(["chaos-writer", bootstrap, TOPIC, &partitions.to_string(), RATE]).arg(folder.join("writer.log"));
        let mut child = command.stdin(Stdio::piped()).spawn().context("start the writer")?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    /// Everything it has sent is acknowledged.
    pub(crate) fn finish(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.input.take();
        let code = process::wait(&mut self.child, limit)?;
        anyhow::ensure!(code == 0, "the writer ended with {code}");
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{GROUPS, Language, deal};

    #[test]
    fn every_member_of_every_group_is_in_one_process_and_every_language_has_some() {
        let units = deal(&GROUPS, 20, Path::new("none"));
        let names: Vec<&str> = units.iter().flat_map(|unit| &unit.specs).map(|spec| spec.name.as_str()).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 80);
        assert_eq!(names.len(), 80);
        for language in [Language::Java, Language::Go, Language::C] {
            assert!(units.iter().any(|unit| unit.language == language));
        }
        let is_classic = |unit: &&super::Unit| unit.language == Language::C;
        assert!(units.iter().filter(is_classic).flat_map(|unit| &unit.specs).all(|spec| spec.assignor != "consumer"));
    }
}

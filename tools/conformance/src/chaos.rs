//! A chaos of group members: members of groups of both protocols, as processes of several client libraries, join, leave, are killed, are
//! stopped for shorter and longer than their session, and come back, while a writer numbers records. With `--brokers 3` the brokers, and
//! with them the coordinators, are killed and come back, too.
//!
//! Then it becomes quiet: every group must become stable, with all of its members, and read and commit everything. What must hold of
//! the whole story is in `chaos_check.rs`; a run ends with mistakes put into its own story, each of which must be found.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::chaos_check::{Sample, Story, findings};
use crate::chaos_log::{Diary, Event, Line};
use crate::chaos_units::{GROUPS, TOPIC, Unit, Writer, deal};
use crate::chaos_watch::{Watch, doubled, now};
use crate::cluster::{Cluster, Controllers};
use crate::flags::Flags;
use crate::layout;
use crate::random::Random;
use crate::report::Report;
use crate::server::{self, Kind, Node, Server};
use crate::wire::Wire;

/// How long everything may take to be in order once it is quiet.
const QUIET_LIMIT: Duration = Duration::from_secs(300);
/// Sessions of seconds, so that members are given up and come back many times in a run.
const SETTINGS: [(&str, &str); 7] = [
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.heartbeat.interval.ms", "200"),
    ("group.consumer.heartbeat.interval.ms", "500"),
    ("group.initial.rebalance.delay.ms", "500"),
    ("offsets.topic.num.partitions", "7"),
];

/// The task.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    let kind = flags.servers.1;
    let groups: Vec<&'static str> = GROUPS.into_iter().filter(|group| flags.selects(group)).collect();
    let absent = ["go-client", "c-client"].into_iter().find(|name| !layout::installed("bin").join(name).is_file());
    let absent = absent.map(|name| format!("{name} is not installed"));
    if let Some(reason) = server::missing(kind, flags).or_else(server::missing_java).or(absent) {
        report.skip("chaos", &reason);
        return Ok(());
    }
    let seed = flags.seed;
    println!("seed {seed}: {} members a group, {} partitions, {} s", flags.members, flags.partitions, flags.seconds);
    let folder = layout::scratch("chaos")?;
    let outcome = Servers::start(kind, flags).and_then(|servers| {
        let units = deal(&groups, flags.members, &folder);
        let chaos = Chaos {
            watch: Watch::new(servers.ports()),
            bootstrap: servers.bootstrap(),
            random: Random::new(seed),
            diaries: folder.clone(),
            partitions: i32::try_from(flags.partitions)?,
            counts: [0; 4],
            samples: Vec::new(),
            wrong: Vec::new(),
            servers,
            groups,
            units,
        };
        chaos.run(flags, report)
    });
    if outcome.is_ok() && report.failed() == 0 && !flags.keep {
        let _ = std::fs::remove_dir_all(&folder);
    } else {
        println!("     seed {seed}; what members wrote is in {}", folder.display());
    }
    outcome.with_context(|| format!("seed {seed}"))
}

/// One broker, or a cluster of three.
enum Servers {
    One(Box<Node>, Option<Server>),
    Three(Box<Cluster>, Option<(usize, Instant)>),
}

impl Servers {
    fn start(kind: Kind, flags: &Flags) -> anyhow::Result<Self> {
        if flags.brokers == 1 {
            let node = Node::with("chaos-server", flags, &SETTINGS)?;
            let server = node.format_and_start(kind)?;
            return Ok(Self::One(Box::new(node), Some(server)));
        }
        let mut cluster = Cluster::with("chaos-cluster", [kind; 3], Controllers::All, flags, &SETTINGS)?;
        (0..3).try_for_each(|at| cluster.begin(at))?;
        (0..3).try_for_each(|at| cluster.await_answers(at))?;
        Ok(Self::Three(Box::new(cluster), None))
    }

    fn ports(&self) -> Vec<u16> {
        match self {
            Self::One(node, _) => vec![node.port],
            Self::Three(cluster, _) => cluster.members.iter().map(|member| member.port).collect(),
        }
    }

    fn bootstrap(&self) -> String {
        match self {
            Self::One(node, _) => node.bootstrap(),
            Self::Three(cluster, _) => cluster.bootstrap(),
        }
    }

    fn create_topic(&self, partitions: i32) -> anyhow::Result<()> {
        let replicas = if matches!(self, Self::One(..)) { 1 } else { 3 };
        let port = self.ports().first().copied().context("a port")?;
        Wire::connect(port)?.create_replicated(TOPIC, (partitions, replicas), &[])
    }

    /// Kills a broker of three now and then, and starts it again; a single one is let be.
    fn disturb(&mut self, random: &mut Random) -> anyhow::Result<Option<String>> {
        let Self::Three(cluster, down) = self else { return Ok(None) };
        match *down {
            Some((at, until)) if until <= Instant::now() => {
                cluster.start(at)?;
                *down = None;
                Ok(Some(format!("node {} is back", at + 1)))
            }
            None if random.below(12) == 0 => {
                let at = usize::try_from(random.below(3))?;
                cluster.take(at)?.kill()?;
                *down = Some((at, Instant::now() + Duration::from_millis(500 + random.below(4000))));
                Ok(Some(format!("node {} is killed", at + 1)))
            }
            _ => Ok(None),
        }
    }

    fn calm(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Three(cluster, down) => down.take().map_or(Ok(()), |(at, _)| cluster.start(at)),
            Self::One(..) => Ok(()),
        }
    }

    fn stop(self, flags: &Flags) -> anyhow::Result<()> {
        match self {
            Self::One(node, server) => {
                server.map_or(Ok(()), Server::stop)?;
                node.remove(flags);
            }
            Self::Three(mut cluster, _) => {
                cluster.stop()?;
                if !flags.keep {
                    let _ = std::fs::remove_dir_all(&cluster.folder);
                }
            }
        }
        Ok(())
    }
}

struct Chaos {
    servers: Servers,
    groups: Vec<&'static str>,
    units: Vec<Unit>,
    watch: Watch,
    bootstrap: String,
    random: Random,
    /// Where members write.
    diaries: PathBuf,
    partitions: i32,
    samples: Vec<Sample>,
    /// Found while it went on.
    wrong: Vec<String>,
    /// Kills, leaves, pauses, and what happened to brokers.
    counts: [u32; 4],
}

impl Chaos {
    fn run(mut self, flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
        self.servers.create_topic(self.partitions)?;
        let mut writer = Writer::start(&self.bootstrap, self.partitions, &self.diaries)?;
        let end = Instant::now() + Duration::from_secs_f64(flags.seconds);
        while Instant::now() < end {
            self.step()?;
        }
        let [kills, leaves, pauses, brokers] = self.counts;
        println!(
            "     {kills} kills, {leaves} leaves, {pauses} pauses of processes, {brokers} kills and starts of brokers"
        );
        let quiet = Instant::now();
        let stable = self.become_stable();
        let took = quiet.elapsed().as_secs_f64();
        report.outcome(&format!("chaos: every group is stable with all of its members after {took:.1} s"), stable);
        writer.finish(QUIET_LIMIT)?;
        let committed = self.commit_everything();
        let took = quiet.elapsed().as_secs_f64();
        report.outcome(&format!("chaos: everything is committed after {took:.1} s"), committed);
        self.units.iter_mut().for_each(Unit::leave);
        let left = self.units.iter_mut().try_for_each(|unit| unit.left(QUIET_LIMIT));
        report.outcome("chaos: all members leave", left);
        let story = self.story()?;
        let reads = story.diaries.iter().flat_map(|diary| &diary.lines);
        let reads = reads.filter(|line| matches!(line.event, Event::Read { .. })).count();
        let written = story.writer.lines.iter().filter(|line| matches!(line.event, Event::Acknowledged { .. })).count();
        self.wrong.extend(findings(&story));
        let name =
            format!("chaos: {written} records, {reads} read, {} looks at what is committed", story.samples.len());
        let is_void = written == 0 || reads == 0 || story.samples.is_empty();
        let wrong = if is_void { vec!["nothing happened".to_owned()] } else { std::mem::take(&mut self.wrong) };
        report.check(&name, (!wrong.is_empty()).then(|| format!("     {}", wrong.join("\n     "))));
        report.outcome("chaos: mistakes put into the story are found", planted(&story));
        self.servers.stop(flags)
    }

    /// Something happens to somebody, or nothing.
    fn step(&mut self) -> anyhow::Result<()> {
        self.tick()?;
        if self.random.below(3) > 0 {
            let at = usize::try_from(self.random.below(self.units.len() as u64))?;
            let told = self.units.get_mut(at).map_or(Ok(None), |unit| unit.disturb(&mut self.random))?;
            if let Some(told) = told {
                let kind = if told.ends_with("killed") {
                    0
                } else if told.ends_with("leaves") {
                    1
                } else {
                    2
                };
                self.count(kind, &told)?;
            }
        }
        if let Some(told) = self.servers.disturb(&mut self.random)? {
            self.count(3, &told)?;
        }
        let pause = 100 + self.random.below(500);
        std::thread::sleep(Duration::from_millis(pause));
        self.look();
        Ok(())
    }

    fn count(&mut self, kind: usize, told: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        if let Some(count) = self.counts.get_mut(kind) {
            *count += 1;
        }
        let path = self.diaries.join("chaos.log");
        let mut file = std::fs::File::options().create(true).append(true).open(path)?;
        writeln!(file, "{} {told}", now())?;
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        for unit in &mut self.units {
            let rest = Duration::from_millis(200 + self.random.below(4000));
            unit.tick(&self.bootstrap, &self.diaries, rest)?;
        }
        Ok(())
    }

    /// Asks each group's coordinator; one that is not there is asked again the next time.
    fn look(&mut self) {
        for group in &self.groups {
            if let Ok(samples) = self.watch.committed(group) {
                self.samples.extend(samples);
            }
            let Ok((state, shares)) = self.watch.describe(group) else { continue };
            let twice = doubled(&shares);
            if !twice.is_empty() {
                self.wrong.push(format!("{group} ({state}): {twice:?} have two owners"));
            }
        }
    }

    fn until(&mut self, mut done: impl FnMut(&mut Self) -> anyhow::Result<Result<(), String>>) -> anyhow::Result<()> {
        let end = Instant::now() + QUIET_LIMIT;
        loop {
            self.tick()?;
            self.look();
            let found = match done(self).unwrap_or_else(|error| Err(format!("{error:#}"))) {
                Ok(()) => return Ok(()),
                Err(found) => found,
            };
            if Instant::now() >= end {
                bail!("not after {QUIET_LIMIT:?}: {found}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// All members are there, and have all partitions between them.
    fn become_stable(&mut self) -> anyhow::Result<()> {
        self.servers.calm()?;
        self.until(|chaos| {
            // Each is told.
            let calm = chaos.units.iter_mut().filter_map(|unit| unit.calm().then_some(())).count();
            if calm < chaos.units.len() {
                return Ok(Err("not all processes run".to_owned()));
            }
            for group in chaos.groups.clone() {
                let wanted = chaos.units.iter().flat_map(|unit| &unit.specs).filter(|spec| spec.group == group).count();
                let (state, shares) = chaos.watch.describe(group)?;
                let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
                if state != "Stable" || shares.len() != wanted || all.len() != usize::try_from(chaos.partitions)? {
                    return Ok(Err(format!("{group} is {state}: {} of {wanted} members, {shares:?}", shares.len())));
                }
            }
            Ok(Ok(()))
        })
    }

    /// What is committed is where the writer came to.
    fn commit_everything(&mut self) -> anyhow::Result<()> {
        let mut ends = vec![0; usize::try_from(self.partitions)?];
        for line in self.writer()?.lines {
            let Event::Acknowledged { partition, offset, .. } = line.event else { continue };
            let end = ends.get_mut(usize::try_from(partition)?).context("a partition")?;
            *end = i64::max(*end, offset + 1);
        }
        self.until(|chaos| {
            for group in chaos.groups.clone() {
                let found = chaos.watch.committed(group)?;
                for (partition, end) in (0_i32..).zip(&ends) {
                    let at = found.iter().find(|one| one.partition == partition).map_or(-1, |one| one.offset);
                    if at != *end && *end > 0 {
                        return Ok(Err(format!("{group} has committed {at} of {end} in {partition}")));
                    }
                }
            }
            Ok(Ok(()))
        })
    }

    fn writer(&self) -> anyhow::Result<Diary> {
        Diary::read(&self.diaries.join("writer.log"), "", "writer", false)
    }

    fn story(&mut self) -> anyhow::Result<Story> {
        let mut diaries = Vec::new();
        for spec in self.units.iter().flat_map(|unit| &unit.specs) {
            let path = self.diaries.join(format!("{}.log", spec.name));
            diaries.push(Diary::read(&path, spec.group, &spec.name, spec.is_static)?);
        }
        Ok(Story { diaries, samples: std::mem::take(&mut self.samples), writer: self.writer()? })
    }
}

/// The run's own story with a mistake in it, one of each kind.
fn planted(story: &Story) -> anyhow::Result<()> {
    let owned = |line: &&Line| matches!(&line.event, Event::Owns { generation, partitions } if *generation > 0 && !partitions.is_empty());
    let first = story.diaries.iter().find(|diary| diary.lines.iter().any(|line| owned(&line))).context("an owner")?;
    let mut twice = story.clone();
    let lines = first.lines.iter().filter(owned).take(1).cloned().collect();
    twice.diaries.push(Diary { member: "planted".to_owned(), lines, ..first.clone() });
    let mut back = story.clone();
    let last = story.samples.iter().rev().find(|sample| sample.offset > 0).context("a sample")?;
    let later = last.answered + 1;
    back.samples.push(Sample { offset: last.offset - 1, asked: later, answered: later, ..last.clone() });
    let mut skipped = story.clone();
    let (partition, offset) = (last.partition, last.offset - 1);
    for diary in skipped.diaries.iter_mut().filter(|diary| diary.group == last.group) {
        diary.lines.retain(
            |line| !matches!(line.event, Event::Read { partition: p, offset: o, .. } if (p, o) == (partition, offset)),
        );
    }
    for (what, story) in [("two owners", twice), ("a commit that goes back", back), ("a skipped record", skipped)] {
        ensure!(!findings(&story).is_empty(), "{what} was not found");
    }
    Ok(())
}

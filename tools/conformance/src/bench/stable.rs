//! A group with many members over many partitions becomes stable, and once more after all have joined again. Every member has
//! a connection of its own, as clients have; connecting is not counted. One thread speaks for all of them: each sends what it
//! has to say, then each takes its answer, so that the client costs the same whoever serves.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, MetadataRequest,
};
use milena_types::ErrorCode;

use super::Subject;
use super::figures::Figure;
use crate::flags::Flags;
use crate::members::{self, ClassicMember, ConsumerMember};
use crate::wire::Wire;

pub(super) const SECONDS: &str = "s until stable ↓";
pub(super) const CPU: &str = "broker CPU ms ↓";
const AGAIN_SECONDS: &str = "s of a rebalance in which all join again ↓";
const AGAIN_CPU: &str = "broker CPU ms of that ↓";
const HEARTBEATS: &str = "heartbeats until stable";

const TOPIC: &str = "bench-groups";
/// `group.consumer.heartbeat.interval.ms` of the servers.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Until then a consumer group must be stable.
const LIMIT: Duration = Duration::from_secs(120);

/// What kind of group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Classic,
    /// With the server's defaults: targets are computed once a second, members come every second or when they have news.
    Consumer,
    /// A target for every member that joins, and members that do not pause.
    ConsumerAtOnce,
}

impl Shape {
    pub(super) const ALL: [Self; 3] = [Self::Classic, Self::Consumer, Self::ConsumerAtOnce];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Classic => "group, classic",
            Self::Consumer => "group, consumer",
            Self::ConsumerAtOnce => "group, consumer, no assignment interval",
        }
    }
}

/// Creates the topic.
pub(super) fn prepare(subject: &Subject, flags: &Flags) -> anyhow::Result<()> {
    Wire::connect(subject.port())?.create_topic(TOPIC, i32::try_from(flags.partitions)?, &[])
}

/// One group lives once.
pub(super) fn measure(subject: &Subject, shape: Shape, flags: &Flags, round: u32) -> anyhow::Result<Vec<Figure>> {
    let group = format!("{}-{round}", shape.name().replace([' ', ','], "-"));
    let mut admin = Wire::connect(subject.port())?;
    members::await_coordinator(&mut admin, &group)?;
    quiet(subject)?;
    let figures = match shape {
        Shape::Classic => classic(subject, &group, flags)?,
        Shape::Consumer => consumer(subject, &group, flags, HEARTBEAT)?,
        Shape::ConsumerAtOnce => {
            members::configure(&mut admin, &group, &[("consumer.assignment.interval.ms", "0")])?;
            consumer(subject, &group, flags, Duration::ZERO)?
        }
    };
    let delete = DeleteGroupsRequest { groups_names: vec![group.as_str().into()], ..Default::default() };
    let deleted = admin.call(2, &delete)?;
    ensure!(deleted.results.iter().all(|one| one.error_code == 0), "delete {group}: {deleted:?}");
    Ok(figures)
}

/// Waits until the server does nothing but what it always does.
pub(super) fn quiet(subject: &Subject) -> anyhow::Result<()> {
    await_quiet(|| subject.cpu())
}

/// The same for whatever has used so much of the CPU.
pub(super) fn await_quiet(used: impl Fn() -> anyhow::Result<Duration>) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(200);
    for _ in 0..50 {
        let before = used()?;
        std::thread::sleep(PAUSE);
        if used()?.saturating_sub(before) <= PAUSE / 10 {
            break;
        }
    }
    Ok(())
}

/// Seconds and milliseconds of the server's CPU since.
struct Since<'a> {
    subject: &'a Subject,
    begin: Instant,
    cpu: Duration,
}

impl<'a> Since<'a> {
    fn now(subject: &'a Subject) -> anyhow::Result<Self> {
        Ok(Self { subject, cpu: subject.cpu()?, begin: Instant::now() })
    }

    fn taken(&self) -> anyhow::Result<(f64, f64)> {
        let seconds = self.begin.elapsed().as_secs_f64();
        Ok((seconds, self.subject.cpu()?.saturating_sub(self.cpu).as_secs_f64() * 1000.0))
    }
}

fn classic(subject: &Subject, group: &str, flags: &Flags) -> anyhow::Result<Vec<Figure>> {
    let partitions = i32::try_from(flags.partitions)?;
    let connect = |_| ClassicMember::connect(subject.port(), group, TOPIC);
    let mut all: Vec<ClassicMember> = (0..flags.members).map(connect).collect::<Result<_, _>>()?;
    let since = Since::now(subject)?;
    let leader = members::form(&mut all, TOPIC, partitions)?;
    let (seconds, cpu) = since.taken()?;
    expect_stable(subject, group, flags)?;
    let since = Since::now(subject)?;
    rejoin(&mut all, leader, partitions)?;
    let (again_seconds, again_cpu) = since.taken()?;
    expect_stable(subject, group, flags)?;
    members::leave(&mut all)?;
    Ok(vec![(SECONDS, seconds), (CPU, cpu), (AGAIN_SECONDS, again_seconds), (AGAIN_CPU, again_cpu)])
}

/// The leader asks for a rebalance, and all join again.
fn rejoin(all: &mut [ClassicMember], leader: usize, partitions: i32) -> anyhow::Result<()> {
    all.get_mut(leader).context("a leader")?.send_join()?;
    let witness = all.get_mut(usize::from(leader == 0)).context("a second member")?;
    while witness.heartbeat()? != ErrorCode::REBALANCE_IN_PROGRESS {
        std::thread::sleep(Duration::from_millis(1));
    }
    let others = all.iter_mut().enumerate().filter(|(n, _)| *n != leader);
    others.map(|(_, member)| member).try_for_each(ClassicMember::send_join)?;
    let mut answer = None;
    for (n, member) in all.iter_mut().enumerate() {
        let response = member.joined()?;
        ensure!(response.error_code == 0, "member {n} joins again: error {}", response.error_code);
        if response.leader == response.member_id {
            answer = Some((n, response));
        }
    }
    let answer = answer.context("a leader")?;
    ensure!(answer.0 == leader, "another leads after a rebalance");
    members::sync(all, answer, TOPIC, partitions)
}

fn expect_stable(subject: &Subject, group: &str, flags: &Flags) -> anyhow::Result<()> {
    let mut admin = Wire::connect(subject.port())?;
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let answer = admin.call(5, &request)?;
    let group = answer.groups.first().context("a group")?;
    let count = usize::try_from(flags.members)?;
    ensure!(group.group_state == "Stable" && group.members.len() == count, "the group is {}", group.group_state);
    Ok(())
}

fn consumer(subject: &Subject, group: &str, flags: &Flags, interval: Duration) -> anyhow::Result<Vec<Figure>> {
    let connect = |n| ConsumerMember::connect(subject.port(), group, TOPIC, u64::from(n));
    let mut all: Vec<ConsumerMember> = (0..flags.members).map(connect).collect::<Result<_, _>>()?;
    let each = usize::try_from(flags.partitions / flags.members)?;
    let since = Since::now(subject)?;
    let mut heartbeats = 0_usize;
    let mut due = Instant::now();
    loop {
        let is_due = Instant::now() >= due;
        if is_due {
            due = Instant::now() + interval;
        }
        heartbeats += sweep(&mut all, is_due)?;
        if is_stable(&all, each) {
            break;
        }
        ensure!(since.begin.elapsed() < LIMIT, "the group is not stable: {}", progress(&all));
        if !all.iter().any(|member| member.must_acknowledge) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    let (seconds, cpu) = since.taken()?;
    describe_stable(subject, group, flags)?;
    for member in &mut all {
        member.epoch = -1;
        member.send()?;
    }
    for member in &mut all {
        member.receive()?;
    }
    Ok(vec![(SECONDS, seconds), (CPU, cpu), (HEARTBEATS, heartbeats as f64)])
}

/// Everyone who has something to say, or everyone; how many that were.
fn sweep(all: &mut [ConsumerMember], everyone: bool) -> anyhow::Result<usize> {
    let mut speaking: Vec<&mut ConsumerMember> =
        all.iter_mut().filter(|member| everyone || member.must_acknowledge).collect();
    for member in &mut speaking {
        member.send()?;
    }
    for member in &mut speaking {
        let response = member.receive()?;
        if response.error_code != 0 {
            bail!("a heartbeat is answered with error {}: {:?}", response.error_code, response.error_message);
        }
    }
    Ok(speaking.len())
}

/// Everyone has its share, has said so, and is in the same epoch.
fn is_stable(all: &[ConsumerMember], each: usize) -> bool {
    let epoch = all.first().map_or(0, |member| member.epoch);
    all.iter().all(|member| member.epoch == epoch && !member.must_acknowledge && member.partitions() == each)
}

fn progress(all: &[ConsumerMember]) -> String {
    let owners = all.iter().filter(|member| member.partitions() > 0).count();
    let partitions: usize = all.iter().map(ConsumerMember::partitions).sum();
    format!("{owners} of {} members have {partitions} partitions", all.len())
}

fn describe_stable(subject: &Subject, group: &str, flags: &Flags) -> anyhow::Result<()> {
    let mut admin = Wire::connect(subject.port())?;
    let partitions = admin.call(12, &MetadataRequest { topics: None, ..Default::default() })?;
    let partitions = partitions.topics.iter().find(|topic| topic.name.as_deref() == Some(TOPIC));
    ensure!(partitions.is_some_and(|topic| topic.partitions.len() == flags.partitions as usize), "the topic");
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    let answer = admin.call(1, &request)?;
    let group = answer.groups.first().context("a group")?;
    let count = usize::try_from(flags.members)?;
    ensure!(group.group_state == "Stable" && group.members.len() == count, "the group is {}", group.group_state);
    Ok(())
}

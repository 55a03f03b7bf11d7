//! Offset commits: members that commit without pause, each the moment its last commit was answered, or with several on their
//! way. Requests are made beforehand and answers compared byte by byte, so that the client costs as little as it can; what it
//! takes of the machine is told beside.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use milena_protocol::messages::OffsetCommitRequest;
use milena_protocol::messages::OffsetFetchRequest;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::{decode_response, encode_request};

use super::Subject;
use super::figures::Figure;
use super::floor::Floor;
use super::stable;
use crate::cpu;
use crate::members::{self, ClassicMember};
use crate::wire::{Wire, flat};

pub(super) const RATE: &str = "commits/s ↑";
const SERVER_CPU: &str = "broker CPU us/commit ↓";
/// What a server that only answers reaches with the same client.
pub(super) const OF_FLOOR: &str = "% of the floor's rate ↑";
const CLIENT_CPU: &str = "client CPU us/commit";
const SERVER_SHARE: &str = "broker, % of the machine";
const CLIENT_SHARE: &str = "client, % of the machine";

const TOPIC: &str = "bench-commits";
const PARTITIONS: i32 = 64;
const VERSION: i16 = 9;
/// Different offsets that a member commits in turn.
const OFFSETS: i64 = 64;
const WARM_UP: Duration = Duration::from_millis(700);

/// A load.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) name: &'static str,
    groups: i32,
    /// Of each group, each on a connection of its own.
    members: i32,
    in_flight: usize,
    /// Of each commit.
    partitions: i32,
}

pub(super) const LOADS: [Load; 4] = [
    Load { name: "commits, 32 members, 1 in flight", groups: 8, members: 4, in_flight: 1, partitions: 1 },
    Load { name: "commits, 4 members, 16 in flight", groups: 4, members: 1, in_flight: 16, partitions: 1 },
    Load { name: "commits, 32 members of one group, 1 in flight", groups: 1, members: 32, in_flight: 1, partitions: 1 },
    Load {
        name: "commits of 10 partitions, 32 members, 1 in flight",
        groups: 8,
        members: 4,
        in_flight: 1,
        partitions: 10,
    },
];

/// Creates the topic.
pub(super) fn prepare(subject: &Subject) -> anyhow::Result<()> {
    Wire::connect(subject.port())?.create_topic(TOPIC, PARTITIONS, &[])
}

/// One load for some seconds.
pub(super) fn measure(subject: &Subject, load: &Load, seconds: f64, round: &str) -> anyhow::Result<Vec<Figure>> {
    let mut groups = Vec::new();
    for n in 0..load.groups {
        groups.push(form(subject, load, &format!("{}-{n}-{round}", load.name.replace([' ', ','], "-")))?);
    }
    stable::quiet(subject)?;
    let members = (0..).zip(groups.iter().flatten());
    let committers: Vec<Committer> =
        members.map(|(n, member)| Committer::new(member, n, load)).collect::<Result<_, _>>()?;
    let floor = Floor::start(committers.iter().map(|committer| committer.answer.clone()).collect())?;
    let on_floor: Vec<Committer> =
        committers.iter().map(|committer| committer.at(floor.port)).collect::<Result<_, _>>()?;
    let (least, _) = run(on_floor, WARM_UP, || Ok(Duration::ZERO))?;
    let (taken, lasts) = run(committers, Duration::from_secs_f64(seconds), || subject.cpu())?;
    for (n, last) in (0..).zip(lasts) {
        let member = groups.iter().flatten().nth(usize::try_from(n)?).context("a member")?;
        expect_committed(subject, member, n, load, last)?;
    }
    for group in &mut groups {
        members::leave(group)?;
    }
    let machine = taken.wall * std::thread::available_parallelism()?.get() as f64;
    Ok(vec![
        (RATE, taken.rate()),
        (OF_FLOOR, taken.rate() * 100.0 / least.rate()),
        (SERVER_CPU, taken.server * 1e6 / taken.commits),
        (CLIENT_CPU, taken.client * 1e6 / taken.commits),
        (SERVER_SHARE, taken.server * 100.0 / machine),
        (CLIENT_SHARE, taken.client * 100.0 / machine),
    ])
}

/// What some seconds of commits took, in seconds.
struct Taken {
    wall: f64,
    commits: f64,
    server: f64,
    client: f64,
}

impl Taken {
    fn rate(&self) -> f64 {
        self.commits / self.wall
    }
}

/// All commit at once; and the last offset of each.
fn run(
    committers: Vec<Committer>,
    time: Duration,
    server: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<(Taken, Vec<i64>)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for committer in committers {
        let (is_over, count) = (Arc::clone(&is_over), Arc::clone(&count));
        threads.push(std::thread::spawn(move || committer.run(&is_over, &count)));
    }
    std::thread::sleep(WARM_UP);
    let before = (Instant::now(), count.load(Ordering::Relaxed), server()?, cpu::own()?);
    std::thread::sleep(time);
    let after = (Instant::now(), count.load(Ordering::Relaxed), server()?, cpu::own()?);
    is_over.store(true, Ordering::Relaxed);
    let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a committer broke"))?);
    let lasts = joined.collect::<Result<_, _>>()?;
    let taken = Taken {
        wall: after.0.duration_since(before.0).as_secs_f64(),
        commits: (after.1 - before.1) as f64,
        server: after.2.saturating_sub(before.2).as_secs_f64(),
        client: after.3.saturating_sub(before.3).as_secs_f64(),
    };
    Ok((taken, lasts))
}

fn form(subject: &Subject, load: &Load, group: &str) -> anyhow::Result<Vec<ClassicMember>> {
    members::await_coordinator(&mut Wire::connect(subject.port())?, group)?;
    let connect = |_| ClassicMember::connect(subject.port(), group, TOPIC);
    let mut all: Vec<ClassicMember> = (0..load.members).map(connect).collect::<Result<_, _>>()?;
    members::form(&mut all, TOPIC, PARTITIONS)?;
    Ok(all)
}

/// The partitions that a member commits.
fn partitions_of(member: i32, load: &Load) -> impl Iterator<Item = i32> {
    let first = (member * load.partitions) % PARTITIONS;
    (0..load.partitions).map(move |n| (first + n) % PARTITIONS)
}

/// A member that commits.
struct Committer {
    stream: TcpStream,
    in_flight: usize,
    /// One for each offset, in turn; all of them have the same correlation id.
    frames: Vec<Vec<u8>>,
    /// What every answer is: the first one, which was looked at.
    answer: Vec<u8>,
}

impl Committer {
    fn new(member: &ClassicMember, n: i32, load: &Load) -> anyhow::Result<Self> {
        let request = |offset: i64| -> anyhow::Result<Vec<u8>> {
            let partitions = partitions_of(n, load).map(|partition| OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                committed_metadata: Some("".into()),
                ..Default::default()
            });
            let topic =
                OffsetCommitRequestTopic { name: TOPIC.into(), partitions: partitions.collect(), ..Default::default() };
            let request = OffsetCommitRequest {
                group_id: member.group.clone(),
                generation_id_or_member_epoch: member.generation,
                member_id: member.id.clone(),
                topics: vec![topic],
                ..Default::default()
            };
            flat(encode_request(VERSION, 1, Some("committer"), &request)?)
        };
        let frames: Vec<Vec<u8>> = (0..OFFSETS).map(request).collect::<Result<_, _>>()?;
        let mut stream = member.wire.stream.try_clone()?;
        stream.write_all(frames.last().context("a frame")?)?;
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(size))?];
        stream.read_exact(&mut body)?;
        let answer = [&size[..], &body[..]].concat();
        let (_, response) = decode_response::<OffsetCommitRequest>(Bytes::from(body), VERSION)?;
        let partitions: Vec<i16> =
            response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code).collect();
        let is_fine = partitions.len() == usize::try_from(load.partitions)? && partitions.iter().all(|code| *code == 0);
        ensure!(is_fine, "a commit is answered with {partitions:?}");
        Ok(Self { stream, in_flight: load.in_flight, frames, answer })
    }

    /// The same requests on a connection to another server.
    fn at(&self, port: u16) -> anyhow::Result<Self> {
        let stream = Wire::connect(port)?.stream;
        Ok(Self { stream, in_flight: self.in_flight, frames: self.frames.clone(), answer: self.answer.clone() })
    }

    /// Commits until it is over; the last offset.
    fn run(mut self, is_over: &AtomicBool, count: &AtomicU64) -> anyhow::Result<i64> {
        let mut sent = 0_usize;
        let mut out = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        let mut filled = 0;
        let mut owed = 0;
        loop {
            out.clear();
            while owed < self.in_flight && !is_over.load(Ordering::Relaxed) {
                out.extend_from_slice(self.frames.get(sent % self.frames.len()).context("a frame")?);
                sent += 1;
                owed += 1;
            }
            if owed == 0 {
                break;
            }
            self.stream.write_all(&out)?;
            let free = buffer.get_mut(filled..).context("room")?;
            let got = self.stream.read(free)?;
            ensure!(got > 0, "the connection was closed");
            filled += got;
            let whole = filled / self.answer.len();
            for answer in buffer.chunks_exact(self.answer.len()).take(whole) {
                ensure!(answer == self.answer, "an answer is another than the first");
            }
            buffer.copy_within(whole * self.answer.len()..filled, 0);
            filled -= whole * self.answer.len();
            owed -= whole;
            count.fetch_add(whole as u64, Ordering::Relaxed);
        }
        ensure!(sent > 0, "nothing was committed");
        Ok(i64::try_from((sent - 1) % self.frames.len())?)
    }
}

/// What was committed last is what is there.
fn expect_committed(subject: &Subject, member: &ClassicMember, n: i32, load: &Load, last: i64) -> anyhow::Result<()> {
    let group = OffsetFetchRequestGroup { group_id: member.group.clone(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
    let answer = Wire::connect(subject.port())?.call(VERSION, &request)?;
    let all = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
    // Where a group commits more partitions than there are, two members commit the same one, and either may be the last.
    if load.partitions * load.members > PARTITIONS {
        ensure!(all.count() > 0, "nothing is committed");
        return Ok(());
    }
    let mine: Vec<i64> = partitions_of(n, load)
        .filter_map(|partition| all.clone().find(|one| one.partition_index == partition))
        .map(|one| one.committed_offset)
        .collect();
    ensure!(mine == vec![last; mine.len()] && !mine.is_empty(), "committed {mine:?}, and {last} was the last");
    Ok(())
}

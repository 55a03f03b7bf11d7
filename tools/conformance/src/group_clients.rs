//! The members of groups that clients of every kind are: one alone, a second that joins it and leaves again, records before, between
//! and after. What the group is then is asked of the server; what the clients read and committed must be everything.
//!
//! Each client does the same on both servers, and what came out is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DescribeGroupsRequest, OffsetFetchRequest,
};
use milena_protocol::{Message as _, Reader};

use crate::flags::Flags;
use crate::member_program::{MEMBERS, Member, Running};
use crate::report::Report;
use crate::server::{self, Kind, Node};
use crate::wire::Wire;
use crate::{probe, scripts, text};

const PARTITIONS: i32 = 4;
/// Records that each partition gets at once.
const EACH: i64 = 10;
/// A member that joins an existing group waits for the others to come again.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// The part: every client on both servers.
pub(crate) fn run(flags: &Flags, report: &mut Report) -> anyhow::Result<()> {
    if let Some(reason) = server::missing(flags.servers.0, flags).or_else(|| server::missing(flags.servers.1, flags)) {
        report.skip("members", &reason);
        return Ok(());
    }
    let mut present = Vec::new();
    for member in MEMBERS.into_iter().filter(|member| flags.selects(member.name)) {
        match member.missing() {
            Some(reason) => report.skip(&format!("members {}", member.name), &reason),
            None => present.push(member),
        }
    }
    let (reference, candidate) = scripts::both(flags.servers, |name, kind| all(name, kind, &present, flags));
    let (reference, candidate) = (reference?, candidate?);
    for (member, (expected, found)) in present.iter().zip(reference.iter().zip(&candidate)) {
        let broken = expected.iter().find(|line| line.starts_with("BROKEN"));
        let difference = match broken {
            Some(broken) => Some(format!("     the reference itself: {broken}")),
            None => text::difference(expected, found),
        };
        report.check(&format!("members {}", member.name), difference);
    }
    Ok(())
}

/// What came out with each client on one server. All of them are members at the same time: most of what they do is to wait.
fn all(name: &str, kind: Kind, members: &[Member], flags: &Flags) -> anyhow::Result<Vec<Vec<String>>> {
    let node = Node::new(&format!("members-{name}"), flags)?;
    let server = node.format_and_start(kind)?;
    let one = |member: &Member| {
        let mut lines = Vec::new();
        if let Err(error) = live(*member, &node, &mut lines) {
            lines.push(format!("BROKEN {error:#}"));
        }
        lines
    };
    // A few at once: each client is two programs, and half of them are JVMs.
    let mut outcomes = Vec::new();
    for some in members.chunks(3) {
        outcomes.extend(std::thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|member| scope.spawn(|| one(member))).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
        }));
    }
    server.stop()?;
    node.remove(flags);
    Ok(outcomes)
}

/// One client's group.
fn live(member: Member, node: &Node, lines: &mut Vec<String>) -> anyhow::Result<()> {
    let mut world = World { member, wire: Wire::connect(node.port)?, told: 0 };
    world.wire.create_topic(&member.topic(), PARTITIONS, &[])?;
    world.fill()?;
    let mut first = Running::start(member, node, "first")?;
    world.await_shares(&[4])?;
    world.await_records(&mut [&mut first])?;
    lines.push("one member has all and reads all".to_owned());
    let mut second = Running::start(member, node, "second")?;
    world.await_shares(&[2, 2])?;
    let before = (first.read().len(), second.read().len());
    world.fill()?;
    world.await_records(&mut [&mut first, &mut second])?;
    ensure!(first.read().len() > before.0 && second.read().len() > before.1, "one of two members read nothing");
    lines.push("two members share".to_owned());
    second.stop()?;
    world.await_shares(&[4])?;
    world.fill()?;
    world.await_records(&mut [&mut first, &mut second])?;
    world.await_commits()?;
    lines.push(format!("one is left, and has committed {} of each partition", world.told));
    first.stop()?;
    world.await_shares(&[])?;
    lines.push("none is left".to_owned());
    Ok(())
}

/// The server's side of it.
struct World {
    member: Member,
    wire: Wire,
    /// Records of each partition.
    told: i64,
}

impl World {
    fn fill(&mut self) -> anyhow::Result<()> {
        for partition in 0..PARTITIONS {
            for _ in 0..EACH {
                // A leader that is named may not know of it yet.
                self.until("a leader", |world| {
                    let (error, _) = world.wire.produce(&world.member.topic(), partition, probe::batch(10)?)?;
                    Ok(if error == 0 { Ok(()) } else { Err(format!("error {error}")) })
                })?;
            }
        }
        self.told += EACH;
        Ok(())
    }

    fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> anyhow::Result<Result<(), String>>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            let found = match done(self)? {
                Ok(()) => return Ok(()),
                Err(found) => found,
            };
            if Instant::now() >= end {
                bail!("{what} did not come; at last: {found}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the group is stable, or empty, with so many partitions for each member and none twice.
    fn await_shares(&mut self, wanted: &[usize]) -> anyhow::Result<()> {
        let state = if wanted.is_empty() { "Empty" } else { "Stable" };
        self.until(&format!("a group with {wanted:?}"), |world| {
            let (found, shares) = world.describe()?;
            let mut sizes: Vec<usize> = shares.iter().map(BTreeSet::len).collect();
            sizes.sort_unstable();
            let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
            let is_whole = wanted.is_empty() || all.len() == PARTITIONS.unsigned_abs() as usize;
            Ok(if found == state && sizes == wanted && is_whole { Ok(()) } else { Err(format!("{found} {shares:?}")) })
        })
    }

    fn describe(&mut self) -> anyhow::Result<(String, Vec<BTreeSet<i32>>)> {
        describe(&mut self.wire, &self.member.topic(), self.member.is_consumer_protocol)
    }

    /// Waits until everything was read by one or the other.
    fn await_records(&mut self, running: &mut [&mut Running]) -> anyhow::Result<()> {
        let mut wanted = BTreeSet::new();
        for partition in 0..PARTITIONS {
            wanted.extend((0..self.told).map(|offset| (partition, offset)));
        }
        self.until("every record", |_| {
            for one in running.iter_mut() {
                one.must_be_alive()?;
            }
            let read: BTreeSet<(i32, i64)> = running.iter().flat_map(|one| one.read()).collect();
            Ok(if read == wanted { Ok(()) } else { Err(format!("{} of {}", read.len(), wanted.len())) })
        })
    }

    fn await_commits(&mut self) -> anyhow::Result<()> {
        let group =
            OffsetFetchRequestGroup { group_id: self.member.topic().into(), topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
        self.until("the last commits", |world| {
            let answer = world.wire.call(9, &request)?;
            let all = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
            let found: BTreeMap<i32, i64> = all.map(|one| (one.partition_index, one.committed_offset)).collect();
            let wanted: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, world.told)).collect();
            Ok(if found == wanted { Ok(()) } else { Err(format!("{found:?}")) })
        })
    }
}

/// A group's state and what each member has; no state if there is no such group of this protocol.
pub(crate) fn describe(
    wire: &mut Wire,
    group: &str,
    is_consumer_protocol: bool,
) -> anyhow::Result<(String, Vec<BTreeSet<i32>>)> {
    if is_consumer_protocol {
        let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
        let answer = wire.call(1, &request)?;
        let group = answer.groups.first().context("a group")?;
        let share = |member: &milena_protocol::messages::consumer_group_describe_response::Member| {
            member.assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect()
        };
        return Ok((group.group_state.to_string(), group.members.iter().map(share).collect()));
    }
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let answer = wire.call(5, &request)?;
    let group = answer.groups.first().context("a group")?;
    let mut shares = Vec::new();
    for member in &group.members {
        let mut reader = Reader::new(member.member_assignment.clone());
        let Ok(_version) = reader.read_i16() else { continue };
        let assignment = ConsumerProtocolAssignment::decode(&mut reader, 0)?;
        shares.push(assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect());
    }
    Ok((group.group_state.to_string(), shares))
}

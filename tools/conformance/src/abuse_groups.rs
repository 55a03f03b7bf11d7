//! Hostile members of groups: requests that are wrong in each way there is, each with Apache Kafka's code; more joiners than a
//! group takes, each with a megabyte to say; more groups of such members than there is memory for.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use milena_protocol::Text;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use milena_types::ErrorCode;

use crate::abuse::{Abuse, BUDGET_MB, Done, MB};
use crate::abuse_consumers::consumers;
use crate::members::{self, ClassicMember};
use crate::wire::{Outcome, Wire};

pub(crate) const TOPIC: &str = "grouped";
const JOINERS: usize = 10_000;
/// Members of groups of their own.
const LARGE: usize = 1_000;
const SAID_BYTES: usize = 1 << 20;
/// `group.max.size` of the node.
const SIZE_MAX: usize = 100;

/// What is asked, and the code it is answered with.
pub(crate) type Answer = (&'static str, ErrorCode, ErrorCode);

/// A group of two lives, and everything that can be wrong about a member is said to it.
pub(crate) fn wrong(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    let mut wire = abuse.wire()?;
    wire.create_topic(TOPIC, 2, &[])?;
    members::await_coordinator(&mut wire, "wrong")?;
    let mut pair = Vec::new();
    for _ in 0..2 {
        pair.push(ClassicMember::connect(abuse.node.port, "wrong", TOPIC)?);
    }
    members::form(&mut pair, TOPIC, 2)?;
    let member = pair.first_mut().context("a member")?;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.clear();
        answers.extend(beats(member)?);
        answers.extend(syncs(member)?);
        answers.extend(joins(member)?);
        answers.extend(commits(member)?);
        answers.extend(consumers(abuse)?);
    }
    for (what, found, expected) in &answers {
        ensure!(found == expected, "{what}: {found:?} where {expected:?} was due");
    }
    ensure!(member.heartbeat()? == ErrorCode::NONE, "the group did not live on");
    let what = format!("{} kinds of wrong requests, 50 times", answers.len());
    Ok(Done { what, growth_max: 32 * MB, _held: Vec::new() })
}

fn beats(member: &mut ClassicMember) -> anyhow::Result<Vec<Answer>> {
    let right = HeartbeatRequest {
        group_id: member.group.clone(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        ..Default::default()
    };
    let mut answers = Vec::new();
    let wrong = [
        (
            "heartbeat of nobody",
            HeartbeatRequest { member_id: "nobody".into(), ..right.clone() },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
        (
            "heartbeat of a long id",
            HeartbeatRequest { member_id: long(), ..right.clone() },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
        (
            "heartbeat of another generation",
            HeartbeatRequest { generation_id: 77, ..right.clone() },
            ErrorCode::ILLEGAL_GENERATION,
        ),
        (
            "heartbeat of generation -1",
            HeartbeatRequest { generation_id: -1, ..right.clone() },
            ErrorCode::ILLEGAL_GENERATION,
        ),
        (
            "heartbeat to no group",
            HeartbeatRequest { group_id: "".into(), ..right.clone() },
            ErrorCode::INVALID_GROUP_ID,
        ),
        (
            "heartbeat to an unknown group",
            HeartbeatRequest { group_id: "none".into(), ..right },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
    ];
    for (what, request, expected) in wrong {
        answers.push((what, ErrorCode(member.wire.call(4, &request)?.error_code), expected));
    }
    Ok(answers)
}

fn syncs(member: &mut ClassicMember) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let sync = SyncGroupRequest {
        group_id: member.group.clone(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        ..Default::default()
    };
    let wrong = [
        (
            "sync of nobody",
            SyncGroupRequest { member_id: "nobody".into(), ..sync.clone() },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
        (
            "sync of another generation",
            SyncGroupRequest { generation_id: 77, ..sync.clone() },
            ErrorCode::ILLEGAL_GENERATION,
        ),
        (
            "sync of another assignor",
            SyncGroupRequest { protocol_name: Some("never".into()), ..sync },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
    ];
    for (what, request, expected) in wrong {
        answers.push((what, ErrorCode(member.wire.call(5, &request)?.error_code), expected));
    }
    Ok(answers)
}

fn joins(member: &mut ClassicMember) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let right = JoinGroupRequest { member_id: Text::default(), ..member.join_request() };
    let other = |name: &str| {
        let mut protocols = right.protocols.clone();
        protocols.iter_mut().for_each(|protocol| protocol.name = name.into());
        protocols
    };
    let wrong = [
        (
            "join with an unknown assignor",
            JoinGroupRequest { protocols: other("never"), ..right.clone() },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "join with no assignor",
            JoinGroupRequest { protocols: Vec::new(), ..right.clone() },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "join of another kind",
            JoinGroupRequest { protocol_type: "connect".into(), ..right.clone() },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "join of nobody",
            JoinGroupRequest { member_id: "nobody".into(), ..right.clone() },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
        (
            "join with a short session",
            JoinGroupRequest { session_timeout_ms: 1, ..right.clone() },
            ErrorCode::INVALID_SESSION_TIMEOUT,
        ),
        (
            "join with a long session",
            JoinGroupRequest { session_timeout_ms: i32::MAX, ..right.clone() },
            ErrorCode::INVALID_SESSION_TIMEOUT,
        ),
        ("join to no group", JoinGroupRequest { group_id: "".into(), ..right }, ErrorCode::INVALID_GROUP_ID),
    ];
    for (what, request, expected) in wrong {
        answers.push((what, ErrorCode(member.wire.call(9, &request)?.error_code), expected));
    }
    let stranger = milena_protocol::messages::leave_group_request::MemberIdentity {
        member_id: "nobody".into(),
        ..Default::default()
    };
    let leave =
        LeaveGroupRequest { group_id: member.group.clone(), members: vec![stranger; 100], ..Default::default() };
    let answer = member.wire.call(5, &leave)?;
    let code = answer.members.last().map_or(answer.error_code, |member| member.error_code);
    answers.push(("a hundred strangers leave", ErrorCode(code), ErrorCode::UNKNOWN_MEMBER_ID));
    Ok(answers)
}

fn commits(member: &mut ClassicMember) -> anyhow::Result<Vec<Answer>> {
    let commit = |metadata: usize, partition: i32| {
        let partition = OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: 1,
            committed_metadata: Some("m".repeat(metadata).into()),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
        OffsetCommitRequest {
            group_id: member.group.clone(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.id.clone(),
            topics: vec![topic],
            ..Default::default()
        }
    };
    let wrong = [
        ("commit with the longest metadata", commit(4096, 0), ErrorCode::NONE),
        ("commit with longer metadata", commit(4097, 0), ErrorCode::OFFSET_METADATA_TOO_LARGE),
        ("commit with the longest string as metadata", commit(32_767, 0), ErrorCode::OFFSET_METADATA_TOO_LARGE),
        ("commit of no partition", commit(1, 99), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (
            "commit of nobody",
            OffsetCommitRequest { member_id: "nobody".into(), ..commit(1, 0) },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
        (
            "commit of another generation",
            OffsetCommitRequest { generation_id_or_member_epoch: 77, ..commit(1, 0) },
            ErrorCode::ILLEGAL_GENERATION,
        ),
        (
            "commit from outside",
            OffsetCommitRequest { generation_id_or_member_epoch: -1, member_id: "".into(), ..commit(1, 0) },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
        (
            "commit to an unknown group",
            OffsetCommitRequest { group_id: "none".into(), ..commit(1, 0) },
            ErrorCode::GROUP_ID_NOT_FOUND,
        ),
    ];
    let mut answers = Vec::new();
    for (what, request, expected) in wrong {
        let answer = member.wire.call(9, &request)?;
        let code = answer.topics.first().and_then(|topic| topic.partitions.first()).context("a partition")?.error_code;
        answers.push((what, ErrorCode(code), expected));
    }
    Ok(answers)
}

fn long() -> Text {
    Text::from("x".repeat(30_000))
}

/// Ten thousand members with a megabyte each want into a group that takes a hundred.
pub(crate) fn joiners(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    members::await_coordinator(&mut abuse.wire()?, "crowd")?;
    let said = Bytes::from(vec![b's'; SAID_BYTES]);
    let mut held = Vec::new();
    let (mut refused, mut late, mut other) = (0, 0, Vec::new());
    for n in 0..JOINERS {
        let mut member = joiner(abuse, "crowd", &said)?;
        member.send_join()?;
        // Whoever finds room waits for the others; all who come after them are refused at once.
        if n < SIZE_MAX {
            held.push(member.wire.stream);
            continue;
        }
        match member.joined() {
            Ok(answer) if answer.error_code == ErrorCode::GROUP_MAX_SIZE_REACHED.0 => refused += 1,
            // One of the first hundred may still be on its way.
            Ok(answer) if answer.error_code == 0 && late < SIZE_MAX => late += 1,
            Ok(answer) => other.push(format!("error {}", answer.error_code)),
            Err(error) => other.push(format!("{error:#}")),
        }
    }
    ensure!(other.is_empty(), "{} of {JOINERS} were answered otherwise: {:?}", other.len(), other.first());
    let what = format!("{JOINERS} joiners with 1 MiB each, {refused} refused, for a group of {SIZE_MAX}");
    Ok(Done { what, growth_max: (BUDGET_MB + 64) * MB, _held: held })
}

/// A member that knows its id, and has much to say with its next request.
fn joiner(abuse: &Abuse<'_>, group: &str, said: &Bytes) -> anyhow::Result<ClassicMember> {
    let mut member = ClassicMember::connect(abuse.node.port, group, TOPIC)?;
    member.send_join()?;
    let answer = member.joined()?;
    let is_told = answer.error_code == ErrorCode::MEMBER_ID_REQUIRED.0;
    // A full group says so at once.
    ensure!(is_told || answer.error_code == ErrorCode::GROUP_MAX_SIZE_REACHED.0, "error {}", answer.error_code);
    member.metadata = said.clone();
    Ok(member)
}

/// Groups of one member each, which says a megabyte and stays.
pub(crate) fn large_members(abuse: &Abuse<'_>) -> anyhow::Result<Done> {
    let said = Bytes::from(vec![b's'; SAID_BYTES]);
    let mut held = Vec::new();
    let (mut waiting, mut refused, mut closed) = (0, 0, 0);
    members::await_coordinator(&mut abuse.wire()?, "large")?;
    for n in 0..LARGE {
        let mut member = joiner(abuse, &format!("large-{n}"), &said)?;
        if member.send_join().is_err() {
            closed += 1;
            continue;
        }
        match member.wire.outcome(Duration::from_millis(5))? {
            Outcome::Silent => waiting += 1,
            Outcome::Answered(_) => refused += 1,
            Outcome::Closed => closed += 1,
        }
        held.push(member.wire.stream);
    }
    // The node still serves a member that says little.
    let mut small = ClassicMember::connect(abuse.node.port, "small", TOPIC)?;
    small.send_join()?;
    let answer = small.joined()?;
    small.send_join()?;
    let joined = small.joined()?;
    let is_served = answer.error_code == ErrorCode::MEMBER_ID_REQUIRED.0 && joined.error_code == 0;
    ensure!(is_served, "a small member: errors {} and {}", answer.error_code, joined.error_code);
    let _ = Wire::connect(abuse.node.port)?;
    // The budget once for what members say, once for requests on their way.
    let what = format!("{LARGE} groups of a member with 1 MiB: {waiting} waited, {refused} answered, {closed} closed");
    Ok(Done { what, growth_max: 2 * BUDGET_MB * MB, _held: held })
}

//! Hostile members of consumer groups (KIP-848): requests that are wrong, each with Apache Kafka's code.

use anyhow::ensure;
use milena_protocol::messages::ConsumerGroupHeartbeatRequest;
use milena_types::ErrorCode;

use crate::abuse::Abuse;
use crate::abuse_groups::{Answer, TOPIC};
use crate::members::ConsumerMember;

/// Everything that can be wrong about a member's heartbeat.
pub(crate) fn consumers(abuse: &Abuse<'_>) -> anyhow::Result<Vec<Answer>> {
    let mut member = ConsumerMember::connect(abuse.node.port, "wrong-consumers", TOPIC, 1)?;
    let right = member.request();
    let answer = member.wire.call(1, &right)?;
    ensure!(answer.error_code == 0, "a member joins: {answer:?}");
    member.epoch = answer.member_epoch;
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: member.group.clone(),
        member_id: member.id.clone(),
        member_epoch: member.epoch,
        ..Default::default()
    };
    let wrong = wrong_beats(&right, &beat);
    let mut answers = Vec::new();
    for (what, request, expected) in wrong {
        answers.push((what, ErrorCode(member.wire.call(1, &request)?.error_code), expected));
    }
    member.epoch = -1;
    member.send()?;
    member.receive()?;
    Ok(answers)
}

/// What is sent for a member that is there, or for one that is not, and the code it is due.
fn wrong_beats(
    right: &ConsumerGroupHeartbeatRequest,
    beat: &ConsumerGroupHeartbeatRequest,
) -> Vec<(&'static str, ConsumerGroupHeartbeatRequest, ErrorCode)> {
    vec![
        (
            "consumer with an unknown assignor",
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("never".into()),
                member_id: "other".into(),
                ..right.clone()
            },
            ErrorCode::UNSUPPORTED_ASSIGNOR,
        ),
        (
            "consumer with a broken expression",
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_regex: Some("(".into()),
                member_id: "other".into(),
                ..right.clone()
            },
            ErrorCode::INVALID_REGULAR_EXPRESSION,
        ),
        (
            "consumer without an id",
            ConsumerGroupHeartbeatRequest { member_id: "".into(), ..right.clone() },
            ErrorCode::INVALID_REQUEST,
        ),
        (
            "consumer to no group",
            ConsumerGroupHeartbeatRequest { group_id: "".into(), ..right.clone() },
            ErrorCode::INVALID_REQUEST,
        ),
        (
            "consumer of epoch -9",
            ConsumerGroupHeartbeatRequest { member_epoch: -9, ..right.clone() },
            ErrorCode::INVALID_REQUEST,
        ),
        (
            "heartbeat of no consumer",
            ConsumerGroupHeartbeatRequest { member_id: "nobody".into(), ..beat.clone() },
            ErrorCode::UNKNOWN_MEMBER_ID,
        ),
        (
            "heartbeat of a later epoch",
            ConsumerGroupHeartbeatRequest { member_epoch: 77, ..beat.clone() },
            ErrorCode::FENCED_MEMBER_EPOCH,
        ),
        (
            "heartbeat to no consumer group",
            ConsumerGroupHeartbeatRequest { group_id: "none".into(), ..beat.clone() },
            ErrorCode::GROUP_ID_NOT_FOUND,
        ),
        (
            "consumer to a classic group",
            ConsumerGroupHeartbeatRequest { group_id: "wrong".into(), ..beat.clone() },
            ErrorCode::GROUP_ID_NOT_FOUND,
        ),
    ]
}

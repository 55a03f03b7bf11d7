//! Changes of the voters: who is refused and why, what is written, when callers are answered.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Timestamp, Uuid};

use super::{Boot, Quorum, QuorumConfig};
use crate::accumulator::{BatchContent, ControlRecord};
use crate::effect::{Effect, Outbound};
use crate::epochs::EpochCache;
use crate::identity::{Endpoint, OffsetAndEpoch, ReplicaKey};
use crate::replies::{AddVoterAsk, FetchAsk, Ticket, UpdateVoterAsk};
use crate::role::RoleName;
use crate::voters::{KRaftState, Voter, VoterSet};

const NOW: Timestamp = Timestamp(1_000);

fn key(id: i32) -> ReplicaKey {
    ReplicaKey { id: BrokerId(id), directory_id: Uuid([u8::try_from(id).unwrap(); 16]) }
}

fn endpoints(id: i32) -> Vec<Endpoint> {
    vec![Endpoint { listener: "C".to_owned(), host: format!("h{id}"), port: 1 }]
}

fn voter(id: i32) -> Voter {
    Voter { key: key(id), endpoints: endpoints(id), kraft_version_min: 0, kraft_version_max: 1 }
}

fn at(offset: i64, epoch: i32) -> OffsetAndEpoch {
    OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
}

/// Member 1 as the sole voter, leading epoch 1 with its first records committed.
fn leader(kraft_version: i16) -> Quorum {
    let voters = VoterSet::new(vec![voter(1)]);
    let kraft = KRaftState { kraft_version, voters, voters_offset: None };
    let log = EpochCache::new(Offset(0), Offset(0), vec![], vec![]);
    let mut config = QuorumConfig::new(key(1), true, 7);
    config.endpoints = endpoints(1);
    let mut fx = Vec::new();
    let mut quorum = Quorum::open(config, Boot { election: None, log, kraft: kraft.into() }, NOW, &mut fx);
    quorum.on_durable(quorum.log().end_offset, NOW, &mut fx);
    quorum
}

fn fetch(quorum: &mut Quorum, id: i32, from: OffsetAndEpoch, fx: &mut Vec<Effect>) {
    let ask = FetchAsk { replica: key(id), epoch: quorum.epoch(), from, high_watermark: Offset::NONE };
    quorum.handle_fetch(&ask, NOW, fx);
}

fn add(quorum: &mut Quorum, id: i32, ticket: u64, fx: &mut Vec<Effect>) {
    let ask = AddVoterAsk { voter: key(id), endpoints: endpoints(id), ack_when_committed: true };
    quorum.handle_add_voter(ask, Ticket(ticket), NOW, fx);
}

fn answered(fx: &[Effect]) -> Vec<(u64, ErrorCode)> {
    let answer = |effect: &Effect| match effect {
        Effect::AnswerVoterChange { ticket, error, .. } => Some((ticket.0, *error)),
        _ => None,
    };
    fx.iter().filter_map(answer).collect()
}

#[test]
fn a_voter_is_added_once_it_has_caught_up_and_answered_and_is_final_when_committed() {
    let (mut quorum, mut fx) = (leader(1), Vec::new());
    add(&mut quorum, 2, 1, &mut fx);
    assert!(matches!(fx.as_slice(), [Effect::Send { request: Outbound::ApiVersions { .. }, .. }]), "{fx:?}");
    add(&mut quorum, 3, 2, &mut fx);
    quorum.on_api_versions_answer(BrokerId(2), Ok(Some((0, 1))), NOW, &mut fx);
    let refused = [(2, ErrorCode::REQUEST_TIMED_OUT), (1, ErrorCode::REQUEST_TIMED_OUT)];
    assert_eq!(answered(&fx), refused, "one at a time; and it has not caught up");
    fx.clear();
    let end = quorum.log().end();
    fetch(&mut quorum, 2, end, &mut fx);
    add(&mut quorum, 2, 3, &mut fx);
    quorum.on_api_versions_answer(BrokerId(2), Ok(Some((0, 1))), NOW, &mut fx);
    let appended = fx.iter().find_map(|effect| match effect {
        Effect::Append(batches) => batches.first().map(|batch| batch.content.clone()),
        _ => None,
    });
    let both = VoterSet::new(vec![voter(1), voter(2)]);
    assert_eq!(appended, Some(BatchContent::Control(vec![ControlRecord::KRaftVoters(both.clone())])));
    assert_eq!(quorum.kraft().voters, both, "in force before it is committed");
    fx.clear();
    let end = quorum.log().end();
    quorum.on_durable(end.offset, NOW, &mut fx);
    assert_eq!(answered(&fx), [], "both must have it now");
    fetch(&mut quorum, 2, end, &mut fx);
    assert_eq!(answered(&fx), [(3, ErrorCode::NONE)]);
    fx.clear();
    add(&mut quorum, 2, 4, &mut fx);
    assert_eq!(answered(&fx), [(4, ErrorCode::DUPLICATE_VOTER)]);
}

#[test]
fn a_voter_that_cannot_do_the_version_or_does_not_answer_is_not_added() {
    let (mut quorum, mut fx) = (leader(1), Vec::new());
    let end = quorum.log().end();
    fetch(&mut quorum, 2, end, &mut fx);
    for (range, error) in [
        (Ok(Some((0, 0))), ErrorCode::INVALID_REQUEST),
        (Ok(None), ErrorCode::INVALID_REQUEST),
        (Err(ErrorCode::UNSUPPORTED_VERSION), ErrorCode::REQUEST_TIMED_OUT),
    ] {
        fx.clear();
        add(&mut quorum, 2, 1, &mut fx);
        quorum.on_api_versions_answer(BrokerId(2), range, NOW, &mut fx);
        assert_eq!(answered(&fx), [(1, error)]);
    }
    fx.clear();
    add(&mut quorum, 2, 2, &mut fx);
    let deadline = quorum.next_deadline().unwrap();
    quorum.tick(deadline, &mut fx);
    assert_eq!(answered(&fx), [(2, ErrorCode::REQUEST_TIMED_OUT)]);
}

#[test]
fn static_voters_are_not_changed_but_written_down_by_an_upgrade() {
    let (mut quorum, mut fx) = (leader(0), Vec::new());
    add(&mut quorum, 2, 1, &mut fx);
    quorum.handle_remove_voter(key(1), Ticket(2), NOW, &mut fx);
    assert_eq!(answered(&fx), [(1, ErrorCode::UNSUPPORTED_VERSION), (2, ErrorCode::UNSUPPORTED_VERSION)]);
    let ask = UpdateVoterAsk { voter: voter(2), epoch: LeaderEpoch(1) };
    assert_eq!(quorum.handle_update_voter(ask, NOW, &mut fx), Err(ErrorCode::VOTER_NOT_FOUND));
    assert_eq!(quorum.upgrade_kraft_version(1, true, NOW, &mut fx), Ok(()));
    assert_eq!(quorum.kraft().kraft_version, 0, "only looked at");
    assert_eq!(quorum.upgrade_kraft_version(1, false, NOW, &mut fx), Ok(()));
    assert_eq!((quorum.kraft().kraft_version, quorum.kraft().voters.clone()), (1, VoterSet::new(vec![voter(1)])));
    assert_eq!(quorum.upgrade_kraft_version(0, false, NOW, &mut fx), Err(ErrorCode::INVALID_UPDATE_VERSION));
}

#[test]
fn a_leader_that_removes_itself_leads_until_that_is_committed() {
    let (mut quorum, mut fx) = (leader(1), Vec::new());
    quorum.handle_remove_voter(key(1), Ticket(1), NOW, &mut fx);
    assert_eq!(answered(&fx), [(1, ErrorCode::VOTER_NOT_FOUND)], "the last one stays");
    let end = quorum.log().end();
    fetch(&mut quorum, 2, end, &mut fx);
    add(&mut quorum, 2, 2, &mut fx);
    quorum.on_api_versions_answer(BrokerId(2), Ok(Some((0, 1))), NOW, &mut fx);
    let end = quorum.log().end();
    quorum.on_durable(end.offset, NOW, &mut fx);
    fetch(&mut quorum, 2, end, &mut fx);
    fx.clear();
    quorum.handle_remove_voter(key(1), Ticket(3), NOW, &mut fx);
    assert!(quorum.is_leader() && quorum.may_stand(), "nobody else has the record yet");
    let end = quorum.log().end();
    fetch(&mut quorum, 2, end, &mut fx);
    assert_eq!(answered(&fx), [(3, ErrorCode::NONE)]);
    assert_eq!(quorum.role(), RoleName::Resigned);
    assert!(!quorum.may_stand(), "it is known as committed");
}

#[test]
fn another_directory_is_another_replica() {
    let (mut quorum, mut fx) = (leader(1), Vec::new());
    let wiped = ReplicaKey { directory_id: Uuid([9; 16]), ..key(1) };
    quorum.handle_remove_voter(wiped, Ticket(1), NOW, &mut fx);
    assert_eq!(answered(&fx), [(1, ErrorCode::VOTER_NOT_FOUND)]);
    assert!(!quorum.kraft().voters.contains(&wiped));
    assert_eq!(quorum.log().end(), at(3, 1), "nothing was written");
}

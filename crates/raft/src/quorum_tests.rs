//! Quorums of one and of three, and observers.

use bytes::Bytes;
use milena_types::{ErrorCode, Uuid};

use super::*;
use crate::accumulator::BatchContent;
use crate::effect::{FetchOut, Outbound};
use crate::fetched::Fetched;
use crate::identity::OffsetAndEpoch;
use crate::replies::{FetchAnswer, FetchAsk, FetchVerdict, VoteAnswer, VoteAsk, VoteReply};
use crate::voters::VoterSet;

const NOW: Timestamp = Timestamp(1_000);

fn key(id: i32) -> ReplicaKey {
    ReplicaKey { id: BrokerId(id), directory_id: Uuid::ZERO }
}

fn at(offset: i64, epoch: i32) -> OffsetAndEpoch {
    OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
}

fn kraft(voters: &str, kraft_version: i16) -> KRaftState {
    KRaftState { kraft_version, voters: VoterSet::parse_static(voters, "C").unwrap(), voters_offset: None }
}

fn empty_log() -> EpochCache {
    EpochCache::new(Offset(0), Offset(0), vec![], vec![])
}

fn open(id: i32, kraft: KRaftState, election: Option<ElectionState>) -> (Quorum, Vec<Effect>) {
    let mut fx = Vec::new();
    let config = QuorumConfig::new(key(id), true, 7);
    let quorum = Quorum::open(config, Boot { election, log: empty_log(), kraft: kraft.into() }, NOW, &mut fx);
    (quorum, fx)
}

#[test]
fn a_sole_voter_leads_at_once_in_a_new_epoch() {
    let before = ElectionState { epoch: LeaderEpoch(4), leader: Some(BrokerId(1)), voted: None };
    let (mut quorum, mut fx) = open(1, kraft("1@h:1", 1), Some(before));
    let elected = ElectionState { epoch: LeaderEpoch(5), leader: Some(BrokerId(1)), voted: None };
    assert_eq!(fx.first(), Some(&Effect::WriteQuorumState(elected)), "before anything is said in the epoch");
    let Some(Effect::Append(batches)) = fx.get(2) else { panic!("{fx:?}") };
    let BatchContent::Control(records) = &batches[0].content else { panic!("{batches:?}") };
    assert_eq!(records.len(), 3, "leader change, version and voters: {records:?}");
    assert_eq!(quorum.high_watermark(), None, "nothing is committed before it is on disk");
    fx.clear();
    quorum.on_durable(Offset(3), NOW, &mut fx);
    assert_eq!(fx.first(), Some(&Effect::Commit(Offset(3))));
    assert_eq!(quorum.next_deadline(), None);
}

#[test]
fn records_are_committed_when_they_are_durable() {
    let (mut quorum, mut fx) = open(1, kraft("1@h:1", 0), None);
    quorum.on_durable(Offset(1), NOW, &mut fx);
    assert_eq!(quorum.append(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")], NOW), Ok(Offset(3)));
    fx.clear();
    quorum.drain(&mut fx);
    assert!(matches!(fx.first(), Some(Effect::Append(_))));
    assert_eq!(quorum.high_watermark(), Some(Offset(1)));
    quorum.on_durable(Offset(3), NOW, &mut fx);
    assert!(fx.contains(&Effect::Commit(Offset(3))));
}

#[test]
fn an_observers_fetch_is_served_but_commits_nothing() {
    let (mut quorum, mut fx) = open(1, kraft("1@h:1", 0), None);
    let ask = FetchAsk { replica: key(9), epoch: LeaderEpoch(1), from: at(0, 0), high_watermark: Offset(-1) };
    let verdict = quorum.handle_fetch(&ask, NOW, &mut fx);
    assert_eq!(verdict, FetchVerdict::Read { end: Offset(1), high_watermark: Offset::NONE });
    quorum.on_durable(Offset(1), NOW, &mut fx);
    let ahead = FetchAsk { from: at(7, 1), ..ask };
    assert_eq!(quorum.handle_fetch(&ahead, NOW, &mut fx), FetchVerdict::Diverging(at(1, 1)));
    let fenced = FetchAsk { epoch: LeaderEpoch(0), ..ask };
    assert_eq!(quorum.handle_fetch(&fenced, NOW, &mut fx), FetchVerdict::Error(ErrorCode::FENCED_LEADER_EPOCH));
    let description = quorum.describe(NOW).unwrap();
    assert_eq!((description.voters.len(), description.observers.len()), (1, 1));
}

fn observer() -> Quorum {
    let mut config = QuorumConfig::new(key(9), false, 7);
    config.fetch_timeout_ms = 2000;
    Quorum::open(
        config,
        Boot { election: None, log: empty_log(), kraft: kraft("1@h:1", 0).into() },
        NOW,
        &mut Vec::new(),
    )
}

fn asked(quorum: &Quorum) -> FetchOut {
    match quorum.next_fetch() {
        Some(Effect::Send { request: Outbound::Fetch(fetch), .. }) => fetch,
        other => panic!("it fetches: {other:?}"),
    }
}

#[test]
fn an_observer_finds_the_leader_and_commits_what_it_says() {
    let mut quorum = observer();
    assert_eq!(quorum.role(), RoleName::Observer);
    let Some(Effect::Send { to, .. }) = quorum.next_fetch() else { panic!("it looks for the leader") };
    assert_eq!(to, crate::effect::Destination::AnyBootstrapServer);
    let leader = LeaderAndEpoch { leader: Some(BrokerId(1)), epoch: LeaderEpoch(3) };
    let mut answer = FetchAnswer {
        error: ErrorCode::FENCED_LEADER_EPOCH,
        leader,
        high_watermark: Offset(5),
        diverging: None,
        snapshot: None,
        has_records: false,
    };
    let mut fx = Vec::new();
    let question = asked(&quorum);
    quorum.on_fetch_answer(&question, &answer, vec![], NOW, &mut fx);
    assert_eq!(quorum.leader_and_epoch(), leader);
    fx.clear();
    answer.error = ErrorCode::NONE;
    answer.has_records = true;
    let question = asked(&quorum);
    quorum.on_fetch_answer(&question, &answer, vec![], NOW, &mut fx);
    assert_eq!(fx, [Effect::AppendFetched]);
    fx.clear();
    let fetched = Fetched { ends: vec![(LeaderEpoch(1), Offset(4)), (LeaderEpoch(3), Offset(6))], controls: vec![] };
    quorum.on_follower_append(&fetched, Offset(5), NOW, &mut fx);
    assert_eq!(fx, [Effect::Commit(Offset(5))]);
    assert_eq!(quorum.log().end(), at(6, 3));
    fx.clear();
    answer.diverging = Some(at(5, 3));
    let question = asked(&quorum);
    quorum.on_fetch_answer(&question, &answer, vec![], NOW, &mut fx);
    assert_eq!(fx, [Effect::Truncate(Offset(5))]);
}

#[test]
fn three_voters_elect_by_pre_vote_and_vote_and_commit_by_majority() {
    let (mut quorum, mut fx) = open(1, kraft("1@h:1,2@h:2,3@h:3", 0), None);
    assert_eq!(quorum.role(), RoleName::Unattached);
    let deadline = quorum.next_deadline().unwrap();
    quorum.tick(deadline, &mut fx);
    let votes = |fx: &[Effect], pre: bool| {
        let is_vote = |effect: &&Effect| matches!(effect, Effect::Send { request: Outbound::Vote(vote), .. } if vote.pre_vote == pre);
        fx.iter().filter(is_vote).count()
    };
    assert_eq!((quorum.role(), quorum.epoch(), votes(&fx, true)), (RoleName::Prospective, LeaderEpoch(0), 2));
    fx.clear();
    let grant = |epoch, pre_vote| VoteAnswer {
        from: BrokerId(2),
        pre_vote,
        reply: VoteReply {
            error: ErrorCode::NONE,
            leader: LeaderAndEpoch { leader: None, epoch: LeaderEpoch(epoch) },
            granted: true,
        },
        endpoints: vec![],
    };
    quorum.on_vote_answer(&grant(0, true), deadline, &mut fx);
    assert_eq!((quorum.role(), quorum.epoch(), votes(&fx, false)), (RoleName::Candidate, LeaderEpoch(1), 2));
    assert!(matches!(&fx[0], Effect::WriteQuorumState(state) if state.voted == Some(key(1))), "the vote is kept first");
    fx.clear();
    quorum.on_vote_answer(&grant(1, false), deadline, &mut fx);
    assert!(quorum.is_leader());
    quorum.on_durable(Offset(1), deadline, &mut fx);
    assert_eq!(quorum.high_watermark(), None, "one of three is no majority");
    let ask = FetchAsk { replica: key(3), epoch: LeaderEpoch(1), from: at(1, 1), high_watermark: Offset(-1) };
    quorum.handle_fetch(&ask, deadline, &mut fx);
    assert_eq!(quorum.high_watermark(), Some(Offset(1)));
}

#[test]
fn a_vote_is_given_once_an_epoch_and_only_to_a_log_as_long_as_ours() {
    let (mut quorum, mut fx) = open(1, kraft("1@h:1,2@h:2,3@h:3", 0), None);
    let ask = |candidate, epoch| VoteAsk {
        voter: Some(key(1)),
        candidate: key(candidate),
        epoch: LeaderEpoch(epoch),
        last: at(0, 0),
        pre_vote: false,
    };
    assert!(quorum.handle_vote(&ask(2, 1), NOW, &mut fx).granted);
    assert!(quorum.handle_vote(&ask(2, 1), NOW, &mut fx).granted, "asked again");
    assert!(!quorum.handle_vote(&ask(3, 1), NOW, &mut fx).granted);
    assert_eq!(
        quorum.handle_vote(&ask(3, 0), NOW, &mut fx).error,
        ErrorCode::INVALID_REQUEST,
        "no epoch ends in itself"
    );
    let misdirected = VoteAsk { voter: Some(key(2)), ..ask(3, 2) };
    assert_eq!(quorum.handle_vote(&misdirected, NOW, &mut fx).error, ErrorCode::INVALID_VOTER_KEY);
    assert_eq!(quorum.handle_vote(&ask(3, 1), NOW, &mut fx).error, ErrorCode::FENCED_LEADER_EPOCH);
    quorum.log.on_append(LeaderEpoch(1), Offset(4));
    assert!(!quorum.handle_vote(&ask(3, 2), NOW, &mut fx).granted, "our log is longer");
}

#[test]
fn a_leader_cut_off_from_the_majority_resigns() {
    let (mut quorum, mut fx) = open(1, kraft("1@h:1,2@h:2,3@h:3", 0), None);
    quorum.become_candidate_for_test(&mut fx);
    let deadline = quorum.next_deadline().unwrap();
    quorum.tick(deadline, &mut fx);
    assert!(fx.iter().any(|effect| matches!(effect, Effect::Send { request: Outbound::BeginQuorumEpoch { .. }, .. })));
    let deadline = Timestamp(NOW.0 + 3_001);
    quorum.tick(deadline, &mut fx);
    assert_eq!(quorum.role(), RoleName::Resigned);
    assert_eq!(quorum.append(vec![Bytes::from_static(b"a")], deadline), Err(AppendError::NotLeader));
}

#[test]
fn a_leader_that_resigned_votes_only_in_a_later_epoch() {
    let (mut quorum, mut fx) = open(1, kraft("1@h:1,2@h:2,3@h:3", 0), None);
    quorum.become_candidate_for_test(&mut fx);
    quorum.resign(NOW, &mut fx);
    let ask = |epoch| VoteAsk {
        voter: Some(key(1)),
        candidate: key(2),
        epoch: LeaderEpoch(epoch),
        last: at(9, 0),
        pre_vote: false,
    };
    let higher = |epoch| VoteAsk { last: at(9, 1), ..ask(epoch) };
    assert!(!quorum.handle_vote(&ask(1), NOW, &mut fx).granted, "it voted for itself in this epoch");
    let deadline = quorum.next_deadline().unwrap();
    quorum.tick(Timestamp(deadline.0 + 5_000), &mut fx);
    assert_eq!((quorum.role(), quorum.epoch()), (RoleName::Unattached, LeaderEpoch(2)), "it leaves its own epoch");
    assert!(quorum.handle_vote(&higher(3), NOW, &mut fx).granted);
}

impl Quorum {
    fn become_candidate_for_test(&mut self, fx: &mut Vec<Effect>) {
        self.become_candidate(NOW, fx);
        self.become_leader(NOW, fx);
    }
}

#[test]
fn a_member_that_knew_its_leader_says_so_when_it_is_opened() {
    let before = ElectionState { epoch: LeaderEpoch(3), leader: Some(BrokerId(1)), voted: None };
    let mut fx = Vec::new();
    let boot = Boot { election: Some(before), log: empty_log(), kraft: kraft("1@h:1", 1).into() };
    let observer = Quorum::open(QuorumConfig::new(key(9), false, 7), boot, NOW, &mut fx);
    let leader = LeaderAndEpoch { leader: Some(BrokerId(1)), epoch: LeaderEpoch(3) };
    assert_eq!(fx, [Effect::LeaderChanged { leader, start_offset: None }]);
    assert_eq!(observer.leader_and_epoch(), leader);
}

#[test]
fn a_refused_connection_to_the_leader_makes_a_voter_ask_soon_and_give_its_pre_vote_but_no_more() {
    let follows = |quorum: &mut Quorum, fx: &mut Vec<Effect>| {
        let leader = LeaderAndEpoch { leader: Some(BrokerId(3)), epoch: LeaderEpoch(4) };
        let endpoints = vec![Endpoint { listener: "C".to_owned(), host: "h".to_owned(), port: 3 }];
        quorum.follow_news(crate::replies::LeaderNews { leader, endpoints }, NOW, fx);
        let answer = FetchAnswer {
            error: ErrorCode::NONE,
            leader,
            high_watermark: Offset(0),
            diverging: None,
            snapshot: None,
            has_records: false,
        };
        let question = asked(quorum);
        quorum.on_fetch_answer(&question, &answer, vec![], NOW, fx);
    };
    let (mut quorum, mut fx) = open(1, kraft("1@h:1,2@h:2,3@h:3", 0), None);
    follows(&mut quorum, &mut fx);
    let pre_vote = VoteAsk {
        candidate: key(2),
        voter: None,
        epoch: LeaderEpoch(4),
        last: OffsetAndEpoch::BOOTSTRAP,
        pre_vote: true,
    };
    assert!(!quorum.handle_vote(&pre_vote, NOW, &mut fx).granted, "its leader has answered");
    quorum.on_leader_refused(BrokerId(2), LeaderEpoch(4), NOW);
    quorum.on_leader_refused(BrokerId(3), LeaderEpoch(3), NOW);
    assert!(!quorum.handle_vote(&pre_vote, NOW, &mut fx).granted, "that was another leader");
    quorum.on_leader_refused(BrokerId(3), LeaderEpoch(4), NOW);
    assert!(quorum.handle_vote(&pre_vote, NOW, &mut fx).granted);
    let soon = quorum.next_deadline().unwrap();
    assert!(soon.0 - NOW.0 <= 80, "and not after the fetch timeout");
    quorum.tick(soon, &mut fx);
    assert_eq!((quorum.role(), quorum.epoch()), (RoleName::Prospective, LeaderEpoch(4)), "no epoch begins with a hint");
}

//! What a node says of an election, and when.

use std::sync::{Arc, Mutex};

use milena_raft::{OffsetAndEpoch, ReplicaKey, VoteOut};
use milena_storage::disk::SimulatedDisk;
use milena_types::{BrokerId, LeaderEpoch, Offset, Uuid};

use super::Event;
use super::test_node::node;
use crate::hosts::raft_requests::{RaftDone, RaftRequest, RaftResponse};
use crate::hosts::raft_wire::vote_request;

#[test]
fn a_vote_is_answered_only_when_it_is_on_disk() {
    let mut node = node(&SimulatedDisk::new(1), 1);
    let last = node.state.quorum.log().end();
    let out = VoteOut {
        voter: ReplicaKey { id: BrokerId(1), directory_id: Uuid::ZERO },
        candidate: ReplicaKey { id: BrokerId(7), directory_id: Uuid([7; 16]) },
        epoch: LeaderEpoch(40),
        last: OffsetAndEpoch { offset: Offset(last.offset.0 + 9), epoch: last.epoch },
        pre_vote: false,
    };
    let request = vote_request(&out, "cluster");
    let slot = Arc::new(Mutex::new(None));
    let answer = Arc::clone(&slot);
    let done: RaftDone = Box::new(move |response| *answer.lock().unwrap() = Some(response));
    let listener = "CONTROLLER".to_owned();
    node.state.handle(Event::Raft { request: RaftRequest::Vote(request), listener, done });
    assert_eq!(slot.lock().unwrap().take(), None, "nothing is on disk yet");
    node.state.settle().unwrap();
    let Some(RaftResponse::Vote(response)) = slot.lock().unwrap().take() else { panic!("it is answered now") };
    assert!(response.topics[0].partitions[0].vote_granted, "{response:?}");
    let kept = node.state.log.read_election().unwrap().unwrap();
    // With static voters the file knows no directories.
    assert_eq!((kept.epoch, kept.voted.map(|voted| voted.id)), (out.epoch, Some(out.candidate.id)));
}

//! A member of the new protocol (KIP-848): one request for everything.

use std::collections::BTreeSet;

use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::Text;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::ErrorCode;

use crate::cluster::{Spot, Wish};
use crate::member::{Act, Desk, Lane, Profile, is_moved};
use crate::reader::{Identity, Reader};
use crate::shape::HEARTBEAT_MS;
use crate::wire;

const LIMIT_MS: i64 = 4_000;

#[derive(Debug)]
pub(crate) struct Consumer {
    id: Text,
    assignor: Option<Text>,
    epoch: i32,
    owned: BTreeSet<Spot>,
    /// What it has been told to have, if it has not taken it yet.
    told: Option<BTreeSet<Spot>>,
    /// The next request says everything: the last one was not answered, or there is news.
    must_tell: bool,
    beats_at: i64,
    leaves: Option<i32>,
}

impl Consumer {
    pub(crate) fn new(id: Text, assignor: Option<Text>) -> Consumer {
        Consumer {
            id,
            assignor,
            epoch: 0,
            owned: BTreeSet::new(),
            told: None,
            must_tell: true,
            beats_at: 0,
            leaves: None,
        }
    }

    pub(crate) fn owned(&self) -> &BTreeSet<Spot> {
        &self.owned
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.epoch > 0 && self.told.is_none() && !self.must_tell
    }

    /// It leaves with its next request, for good or for a while.
    pub(crate) fn leave(&mut self, is_for_now: bool) {
        self.leaves = Some(if is_for_now { -2 } else { -1 });
        self.beats_at = 0;
    }

    pub(crate) fn resubscribed(&mut self) {
        self.must_tell = true;
        self.beats_at = 0;
    }

    pub(crate) fn disconnected(&mut self) {
        self.must_tell = true;
        self.beats_at = 0;
    }

    fn identity<'a>(&'a self, profile: &'a Profile) -> Identity<'a> {
        Identity {
            group: &profile.group,
            member: &self.id,
            instance: profile.instance.as_ref(),
            epoch: self.epoch,
            is_classic: false,
        }
    }

    pub(crate) fn wake(&mut self, profile: &Profile, reader: &mut Reader, is_waiting: bool, desk: &mut Desk<'_>) {
        if self.epoch > 0 {
            self.reconcile(profile, reader, desk);
            reader.step(&self.identity(profile), desk);
        }
        if is_waiting || desk.now < self.beats_at {
            return;
        }
        if self.leaves.is_some() {
            reader.commit(&self.identity(profile), desk);
        }
        let request = self.request(profile, desk.rebalance_ms);
        // Unless the answer says otherwise; what is news by then is not in this request.
        self.must_tell = false;
        desk.send(Lane::Membership, GroupRequest::ConsumerGroupHeartbeat(Box::new(request)), LIMIT_MS);
        self.beats_at = desk.now + HEARTBEAT_MS;
    }

    /// Gives back what it shall not have, having committed; then takes what is new, at once or after saying so.
    fn reconcile(&mut self, profile: &Profile, reader: &mut Reader, desk: &mut Desk<'_>) {
        let Some(told) = &self.told else { return };
        if !desk.is_calm && desk.seed.one_in(4) {
            return;
        }
        let kept: BTreeSet<Spot> = self.owned.intersection(told).copied().collect();
        let must_revoke = kept.len() < self.owned.len();
        if must_revoke {
            reader.commit(&self.identity(profile), desk);
        }
        let takes_all = !must_revoke || desk.seed.one_in(2);
        if takes_all {
            self.owned.clone_from(told);
            self.told = None;
        } else {
            self.owned = kept;
        }
        reader.own(&self.owned);
        desk.acts.push(Act::Owns(self.epoch, self.owned.clone()));
        self.must_tell = true;
        self.beats_at = 0;
    }

    fn request(&self, profile: &Profile, rebalance_ms: i32) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: profile.group.clone(),
            member_id: self.id.clone(),
            member_epoch: self.leaves.unwrap_or(self.epoch),
            instance_id: profile.instance.clone(),
            ..Default::default()
        };
        if self.epoch == 0 || self.must_tell {
            request.rebalance_timeout_ms = rebalance_ms;
            request.server_assignor = self.assignor.clone();
            request.topic_partitions = Some(wire::topic_partitions(&self.owned));
            match &profile.wish {
                Wish::Names(names) => {
                    request.subscribed_topic_names = Some(names.iter().cloned().collect());
                    request.subscribed_topic_regex = Some(Text::default());
                }
                Wish::Regex(regex) => {
                    request.subscribed_topic_names = Some(Vec::new());
                    request.subscribed_topic_regex = Some(regex.clone());
                }
            }
        }
        request
    }

    pub(crate) fn answered(&mut self, reader: &mut Reader, reply: &GroupReply, desk: &mut Desk<'_>) {
        let GroupReply::ConsumerGroupHeartbeat(response) = reply else { return };
        let error = ErrorCode(response.error_code);
        let is_elsewhere = is_moved(error.0) || error == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
        if self.leaves.is_some() && !is_elsewhere {
            return desk.acts.push(Act::Dies(0));
        }
        match error {
            ErrorCode::NONE => self.told(reader, response, desk),
            error if is_moved(error.0) => {
                self.must_tell = true;
                desk.acts.push(Act::Rediscover);
            }
            // Without the group: it was not written, or is a classic one by now.
            ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND => {
                self.begin_anew(reader);
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => self.must_tell = true,
            // Its successor is there, its predecessor still is, or what Java's consumer throws: it is started again.
            _ => desk.acts.push(Act::Dies(response.error_code)),
        }
    }

    fn told(&mut self, reader: &mut Reader, response: &ConsumerGroupHeartbeatResponse, desk: &mut Desk<'_>) {
        let before = self.epoch;
        self.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            let topics = assignment.topic_partitions.iter();
            let told = topics.flat_map(|topic| topic.partitions.iter().map(|number| (topic.topic_id, *number)));
            let told: BTreeSet<Spot> = told.collect();
            self.told = (told != self.owned).then_some(told);
        }
        if before != self.epoch {
            desk.acts.push(Act::Owns(self.epoch, self.owned.clone()));
            reader.own(&self.owned);
        }
    }

    fn begin_anew(&mut self, reader: &mut Reader) {
        self.epoch = 0;
        self.owned.clear();
        self.told = None;
        self.must_tell = true;
        self.beats_at = 0;
        reader.own(&self.owned);
    }
}

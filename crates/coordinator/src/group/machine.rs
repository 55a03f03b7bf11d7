//! `GroupMachine`: what happens to groups, passed on to the kind of group it is about. Kafka: `GroupCoordinatorShard`.

use super::config::GroupConfig;
use super::consumer;
use super::context::{Context, Live};
use super::error::Refusal;
use super::event::{Caller, GroupEvent, GroupReply, GroupRequest};
use super::records::GroupRecord;
use super::state::Groups;
use super::timer::{After, Timer};
use crate::runtime::{Decision, Machine, Ticket};
use bytes::Bytes;
use milena_metadata::Image;
use milena_protocol::messages::ConsumerGroupHeartbeatResponse;
use milena_protocol::{DecodeError, Text};
use milena_types::{ErrorCode, Timestamp};
use std::sync::Arc;

/// A decision about groups.
pub type GroupDecision = Decision<GroupRecord, GroupReply, After>;

/// The groups of one partition, beside what is in the log.
#[derive(Debug)]
pub struct GroupMachine {
    live: Live,
    image: Arc<Image>,
    config: Arc<GroupConfig>,
}

impl GroupMachine {
    /// A machine for a log that is being loaded; `seed` is for the ids of members.
    #[must_use]
    pub fn new(config: Arc<GroupConfig>, image: Arc<Image>, seed: u64) -> GroupMachine {
        GroupMachine { live: Live::new(seed), image, config }
    }

    fn with<T>(&mut self, state: &Groups, now: Timestamp, act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut context = Context { state, live: &mut self.live, image: &self.image, config: &self.config, now };
        act(&mut context)
    }
}

impl Machine for GroupMachine {
    type State = Groups;
    type Event = GroupEvent;
    type Reply = GroupReply;
    type After = After;

    fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
        GroupRecord::decode(key, value)
    }

    fn loaded(&mut self, state: &Groups, now: Timestamp) -> GroupDecision {
        self.with(state, now, consumer::loaded)
    }

    fn decide(&mut self, state: &Groups, event: GroupEvent, now: Timestamp) -> GroupDecision {
        match event {
            GroupEvent::Request { ticket, caller, request } => {
                self.with(state, now, |context| handle(context, ticket, &caller, request))
            }
            GroupEvent::Image { image, deleted, changed } => {
                self.image = image;
                self.with(state, now, |context| {
                    consumer::image_changed(context, &deleted, &changed);
                    GroupDecision::default()
                })
            }
        }
    }

    fn after(&mut self, _: &Groups, _: After, _: Result<(), ErrorCode>, _: Timestamp) -> GroupDecision {
        GroupDecision::default()
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.live.timers.next_deadline()
    }

    fn expire(&mut self, state: &Groups, now: Timestamp) -> Option<GroupDecision> {
        let timer = self.live.timers.pop_due(now)?;
        Some(self.with(state, now, |context| expire(context, &timer)))
    }

    fn unloaded(&mut self) -> Vec<Ticket> {
        Vec::new()
    }
}

fn handle(context: &mut Context<'_>, ticket: Ticket, caller: &Caller, request: GroupRequest) -> GroupDecision {
    match request {
        GroupRequest::ConsumerGroupHeartbeat(request) => {
            let (records, response) = consumer::heartbeat(context, caller, &request)
                .unwrap_or_else(|refusal| (Vec::new(), refused_heartbeat(refusal)));
            Decision::reply(ticket, GroupReply::ConsumerGroupHeartbeat(Box::new(response)), records)
        }
        GroupRequest::ConsumerGroupDescribe(groups) => {
            let describe = |group: &Text| consumer::describe(context, group);
            let described = groups.iter().map(describe).collect();
            Decision::at_once(ticket, GroupReply::ConsumerGroupDescribe(described))
        }
    }
}

fn refused_heartbeat(refusal: Refusal) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: refusal.error.0,
        error_message: refusal.message,
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn expire(context: &mut Context<'_>, timer: &Timer) -> GroupDecision {
    match timer {
        Timer::ConsumerSession { .. }
        | Timer::ConsumerRebalance { .. }
        | Timer::ConsumerJoin { .. }
        | Timer::ConsumerSync { .. }
        | Timer::ConsumerRefresh { .. } => consumer::expire(context, timer),
        Timer::ClassicHeartbeat { .. } | Timer::ClassicJoin { .. } | Timer::ClassicSync { .. } | Timer::Expiry => {
            GroupDecision::default()
        }
    }
}

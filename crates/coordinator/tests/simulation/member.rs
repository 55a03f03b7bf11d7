//! A member's process: its connection to the coordinator, and one of two protocols.

use std::collections::BTreeSet;

use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_coordinator::runtime::Ticket;
use milena_protocol::Text;
use milena_types::ErrorCode;

use crate::classic::Classic;
use crate::cluster::{Cluster, Spot, Wish};
use crate::consumer::Consumer;
use crate::random::Seed;
use crate::reader::Reader;

/// Requests of a lane go one after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    Membership,
    Data,
}

/// What a member does.
#[derive(Debug)]
pub(crate) enum Act {
    Send(Lane, GroupRequest, i64),
    /// It has been told to have these in that generation or epoch.
    Owns(i32, BTreeSet<Spot>),
    Read(Spot, i64, i64),
    /// It has asked who coordinates.
    Rediscover,
    /// It ends with an error its user has to see.
    Dies(i16),
}

/// What a member sees, and what it does about it.
pub(crate) struct Desk<'a> {
    pub(crate) now: i64,
    pub(crate) cluster: &'a Cluster,
    pub(crate) seed: &'a mut Seed,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
    pub(crate) rebalance_ms: i32,
    /// How long a message may take.
    pub(crate) travel_ms: i64,
    pub(crate) acts: Vec<Act>,
}

impl Desk<'_> {
    pub(crate) fn send(&mut self, lane: Lane, request: GroupRequest, limit_ms: i64) {
        self.acts.push(Act::Send(lane, request, limit_ms));
    }
}

/// Who a member is, whatever it does.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) group: Text,
    pub(crate) instance: Option<Text>,
    pub(crate) wish: Wish,
}

#[derive(Debug)]
pub(crate) enum Protocol {
    Classic(Classic),
    Consumer(Consumer),
}

/// The request of a lane that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) ticket: Ticket,
    pub(crate) deadline: i64,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) profile: Profile,
    pub(crate) protocol: Protocol,
    pub(crate) reader: Reader,
    /// Tells this process from others of its slot.
    pub(crate) process: u64,
    /// Which life of its group it knows of.
    pub(crate) life: u32,
    pub(crate) connection: u64,
    /// The coordinator it knows.
    pub(crate) host: Option<u64>,
    pub(crate) membership: Option<Pending>,
    pub(crate) data: Option<Pending>,
    pub(crate) paused_until: i64,
    /// When the last message in each direction arrives: connections keep their order.
    pub(crate) out_at: i64,
    pub(crate) in_at: i64,
}

impl Member {
    pub(crate) fn pending(&mut self, lane: Lane) -> &mut Option<Pending> {
        match lane {
            Lane::Membership => &mut self.membership,
            Lane::Data => &mut self.data,
        }
    }

    /// The partitions it has.
    pub(crate) fn owned(&self) -> &BTreeSet<Spot> {
        match &self.protocol {
            Protocol::Classic(classic) => classic.owned(),
            Protocol::Consumer(consumer) => consumer.owned(),
        }
    }

    /// Whether it is a member and has all it was told to have.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.protocol {
            Protocol::Classic(classic) => classic.is_settled(),
            Protocol::Consumer(consumer) => consumer.is_settled(),
        }
    }

    /// Time passed.
    pub(crate) fn wake(&mut self, desk: &mut Desk<'_>) {
        let is_late = |pending: &Option<Pending>| pending.is_some_and(|pending| pending.deadline <= desk.now);
        if is_late(&self.membership) || is_late(&self.data) {
            self.disconnected();
        }
        if self.host.is_none() {
            desk.acts.push(Act::Rediscover);
        }
        match &mut self.protocol {
            Protocol::Classic(classic) => {
                classic.wake(&self.profile, &mut self.reader, self.membership.is_some(), desk)
            }
            Protocol::Consumer(consumer) => {
                consumer.wake(&self.profile, &mut self.reader, self.membership.is_some(), desk);
            }
        }
    }

    /// The connection is gone, with everything on its way.
    pub(crate) fn disconnected(&mut self) {
        self.connection += 1;
        self.host = None;
        self.data = None;
        self.reader.disconnected();
        if self.membership.take().is_some() {
            match &mut self.protocol {
                Protocol::Classic(classic) => classic.disconnected(),
                Protocol::Consumer(consumer) => consumer.disconnected(),
            }
        }
    }

    /// An answer to the request with this ticket.
    pub(crate) fn answered(&mut self, ticket: Ticket, reply: &GroupReply, desk: &mut Desk<'_>) {
        let is_for = |pending: &Option<Pending>| pending.is_some_and(|pending| pending.ticket == ticket);
        if is_for(&self.membership) {
            self.membership = None;
            match &mut self.protocol {
                Protocol::Classic(classic) => classic.answered(&self.profile, &mut self.reader, reply, desk),
                Protocol::Consumer(consumer) => consumer.answered(&mut self.reader, reply, desk),
            }
        } else if is_for(&self.data) {
            self.data = None;
            let error = self.reader.answered(reply);
            if is_moved(error) {
                desk.acts.push(Act::Rediscover);
            }
            if let Protocol::Classic(classic) = &mut self.protocol {
                classic.commit_failed(error, &mut self.reader);
            }
        }
    }
}

/// Whether the coordinator is elsewhere.
pub(crate) fn is_moved(error: i16) -> bool {
    matches!(ErrorCode(error), ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE)
}

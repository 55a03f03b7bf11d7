//! The network: requests and answers between processes, with connections that keep their order, break, and end with the
//! processes at their ends.

use milena_broker::hosts::PeerRequest;
use milena_broker::{ControllerRequest, ControllerResponse};
use milena_raft::{Destination, Outbound};

use crate::broker::To;
use crate::message::{Answer, Body, Lane, Packet, Purpose, Request};
use crate::world::{Call, Event, World};

/// After this a caller no longer waits.
const TIMEOUT_MS: i64 = 2500;
/// A connection that carries nothing any more, and nobody knows it yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken {
    /// When its ends notice and make another one.
    until: i64,
    /// What is written to it meanwhile arrives, late.
    drains: bool,
}

/// How soon a caller learns that nobody listens where it calls.
const REFUSED_MS: i64 = 20;

impl World {
    /// The life of the process at a place; clients live once.
    pub(crate) fn life_at(&self, place: usize) -> u32 {
        self.nodes.get(place).map_or(0, |node| node.life)
    }

    fn is_up(&self, place: usize) -> bool {
        self.nodes.get(place).is_none_or(|node| node.process.is_some())
    }

    /// A node asks.
    pub(crate) fn call(&mut self, from: usize, to: To, lane: Lane, request: Request, purpose: Purpose) {
        let target = match to {
            To::Broker(id) => usize::try_from(id.0).ok(),
            To::Controller => {
                let process = self.nodes.get(from).and_then(|node| node.process.as_ref());
                let leader = process.and_then(|process| process.ear.told().leader);
                leader.and_then(|id| usize::try_from(id.0).ok())
            }
        };
        self.call_place(from, target, lane, request, purpose);
    }

    /// Asks whoever is at a place, if there is somebody.
    pub(crate) fn call_place(
        &mut self,
        from: usize,
        to: Option<usize>,
        lane: Lane,
        request: Request,
        purpose: Purpose,
    ) -> u64 {
        let call = self.next_call;
        self.next_call += 1;
        let from_life = self.life_at(from);
        self.calls.insert(call, Call { from, from_life, lane, purpose });
        let delay = self.nodes.get(from).map_or(0, |node| node.disk_delay);
        match to.filter(|to| *to < self.nodes.len() && self.is_up(*to)) {
            None => self.schedule(self.now + delay + REFUSED_MS, Event::Failed { call, refused: true }),
            Some(to) => {
                self.schedule(self.now + delay + TIMEOUT_MS, Event::Failed { call, refused: false });
                let packet = Packet { call, from, to, to_life: self.life_at(to), body: Body::Request(request) };
                self.transmit(packet, lane, delay);
            }
        }
        call
    }

    /// A process answers. Whoever asked may be gone.
    pub(crate) fn answer(&mut self, from: usize, call: u64, answer: Answer) {
        let Some(known) = self.calls.get(&call) else { return };
        if matches!(known.purpose, Purpose::Heartbeat) && self.checkers.metadata.leads(from) && is_blessing(&answer) {
            self.checkers.on_heartbeat(known.from, call);
        }
        let (to, to_life, lane) = (known.from, known.from_life, known.lane);
        let delay = self.nodes.get(from).map_or(0, |node| node.disk_delay);
        self.transmit(Packet { call, from, to, to_life, body: Body::Answer(answer) }, lane, delay);
    }

    fn transmit(&mut self, packet: Packet, lane: Lane, later: i64) {
        let (from, to, call) = (packet.from, packet.to, packet.call);
        let loss = if self.is_healing { 0 } else { self.draw.faults.loss };
        if from == to {
            self.schedule(self.now + later, Event::Deliver(Box::new(packet)));
            return;
        }
        let connection = (from, to, lane);
        if self.cut.contains(&(from, to)) {
            // Nothing passes, and nothing later on this connection either before the caller gives it up.
            self.broken.entry(connection).or_insert(Broken { until: self.now + TIMEOUT_MS, drains: false });
            return;
        }
        if self.broken.get(&connection).is_none_or(|broken| broken.until <= self.now) {
            self.broken.remove(&connection);
            if self.random.per_mille(loss) {
                // The connection breaks; what was written to it before that is noticed arrives late, or not at all.
                let broken =
                    Broken { until: self.now + self.random.between(1, 400), drains: self.random.per_mille(500) };
                self.broken.insert(connection, broken);
                self.arrivals.remove(&connection);
                self.broke(from, to, lane);
            }
        }
        if let Some(broken) = self.broken.get(&connection).copied() {
            self.schedule(broken.until, Event::Failed { call, refused: false });
            if broken.drains {
                let last = self.late_arrivals.get(&connection).copied().unwrap_or(0);
                let at = (self.now + later + self.random.between(1, 3000)).max(last);
                self.late_arrivals.insert(connection, at);
                self.schedule(at, Event::Deliver(Box::new(packet)));
            }
            return;
        }
        let slow = !self.is_healing && self.random.per_mille(self.draw.faults.slow_packets);
        let delay = if slow { self.random.between(50, 1500) } else { self.random.between(1, 8) };
        let last = self.arrivals.get(&connection).copied().unwrap_or(0);
        let at = (self.now + later + delay).max(last);
        self.arrivals.insert(connection, at);
        self.schedule(at, Event::Deliver(Box::new(packet)));
    }

    pub(crate) fn deliver(&mut self, packet: Packet) {
        let to = packet.to;
        if self.life_at(to) != packet.to_life || !self.is_up(to) {
            // The connection has ended with the process.
            if matches!(packet.body, Body::Request(_)) {
                self.schedule(self.now + REFUSED_MS, Event::Failed { call: packet.call, refused: true });
            }
            return;
        }
        let paused = self.nodes.get(to).map_or(0, |node| node.paused_until);
        if paused > self.now {
            self.schedule(paused, Event::Deliver(Box::new(packet)));
            return;
        }
        match packet.body {
            Body::Request(request) => self.serve(to, packet.call, request),
            Body::Answer(answer) => {
                let Some(call) = self.calls.remove(&packet.call) else { return };
                if call.from < self.nodes.len() {
                    self.take_answer(call, Some(answer));
                } else {
                    self.client_answered(call.from, packet.call, Some(answer));
                }
            }
        }
    }

    /// No answer came.
    pub(crate) fn fail(&mut self, id: u64, refused: bool) {
        let Some(call) = self.calls.get(&id) else { return };
        let from = call.from;
        let paused = self.nodes.get(from).map_or(0, |node| node.paused_until);
        if paused > self.now {
            self.schedule(paused, Event::Failed { call: id, refused });
            return;
        }
        let Some(call) = self.calls.remove(&id) else { return };
        if from >= self.nodes.len() {
            self.client_answered(from, id, None);
        } else if self.life_at(from) == call.from_life {
            if refused {
                self.tell_of_refusal(&call);
            }
            self.take_answer(call, None);
        }
    }

    /// Nobody listens where the leader of the quorum did.
    fn tell_of_refusal(&mut self, call: &Call) {
        if let Purpose::Raft { to: Destination::Node { id, .. }, request: Outbound::Fetch(asked), .. } = &call.purpose {
            let event = milena_broker::hosts::Event::LeaderRefused { leader: *id, asked: *asked };
            self.step(call.from, |process, _, _| process.metadata.handle(event));
        }
    }

    fn serve(&mut self, at: usize, call: u64, request: Request) {
        self.tell(|| format!("n{at} <- {}", crate::report::request(&request)));
        match request {
            Request::Controller(request) => self.serve_controller(at, call, request),
            Request::Peer(PeerRequest::Raft(request)) => self.serve_raft(at, call, request),
            Request::Peer(PeerRequest::Controller(request)) => self.serve_controller(at, call, request),
            Request::Peer(PeerRequest::ApiVersions) => self.answer(at, call, Answer::ApiVersions(0, 1)),
            Request::Metadata => {
                let image = self.nodes.get(at).and_then(crate::node::Node::broker).map(|host| host.image.clone());
                match image {
                    Some(image) => self.answer(at, call, Answer::Metadata(image)),
                    None => self.fail(call, false),
                }
            }
            Request::Fetch(_) | Request::Range { .. } | Request::Produce { .. } => {
                let is_serving =
                    self.nodes.get(at).and_then(crate::node::Node::broker).is_some_and(|host| host.is_serving());
                if !is_serving {
                    // Nobody listens there yet.
                    self.schedule(self.now + REFUSED_MS, Event::Failed { call, refused: true });
                    return;
                }
                self.step(at, |process, now, out| {
                    let Some(broker) = &mut process.broker else { return };
                    match request {
                        Request::Fetch(fetch) => broker.fetch(call, fetch, now, out),
                        Request::Range { key, leader_epoch } => {
                            out.answer(call, Answer::Range(broker.range(key, leader_epoch)));
                        }
                        Request::Produce { key, batch, timeout_ms } => {
                            broker.produce(call, key, batch, timeout_ms, now, out);
                        }
                        Request::Controller(_) | Request::Peer(_) | Request::Metadata => {}
                    }
                });
            }
        }
    }

    fn serve_controller(&mut self, at: usize, call: u64, request: ControllerRequest) {
        if matches!(request, ControllerRequest::BrokerHeartbeat(_)) {
            self.checkers.beats.insert(call, self.now);
        }
        self.step(at, |process, _, _| {
            let ear = process.ear.clone();
            let done = Box::new(move |answer: Result<ControllerResponse, _>| {
                ear.told().answers.push((call, Answer::Controller(answer.map(Box::new))));
            });
            process.metadata.handle(milena_broker::hosts::Event::Request { request, done });
        });
    }

    fn serve_raft(&mut self, at: usize, call: u64, request: milena_broker::hosts::RaftRequest) {
        self.step(at, |process, _, _| {
            let ear = process.ear.clone();
            let done = Box::new(move |answer| {
                ear.told().answers.push((call, Answer::Raft(Box::new(answer))));
            });
            let listener = "CONTROLLER".to_owned();
            process.metadata.handle(milena_broker::hosts::Event::Raft { request, listener, done });
        });
    }
}

/// Whether a heartbeat was answered with nothing against its sender.
fn is_blessing(answer: &Answer) -> bool {
    let Answer::Controller(Ok(response)) = answer else { return false };
    let ControllerResponse::BrokerHeartbeat(response) = &**response else { return false };
    response.error_code == 0 && !response.is_fenced
}

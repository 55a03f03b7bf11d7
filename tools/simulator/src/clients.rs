//! Clients: producers with idempotence and acks=all, consumers of assigned partitions, and one who administrates. Each
//! asks brokers for metadata as real ones do, and may be wrong about who leads.

mod admin;
mod consumer;
mod producer;

use std::sync::Arc;

use milena_metadata::Image;
use milena_replication::PartitionKey;
use milena_types::{BrokerId, LeaderEpoch};

use crate::checkers::Checkers;
use crate::draw::Draw;
use crate::message::{Answer, Lane, Purpose, Request};
use crate::random::Random;
use crate::world::{Event, World};
use admin::Admin;
use consumer::Consumer;
use producer::Producer;

/// What a client knows of the cluster.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) image: Arc<Image>,
    /// The metadata request that is under way.
    asking: Option<u64>,
    is_stale: bool,
}

impl View {
    /// Who leads a partition, as far as this client knows.
    pub(crate) fn leader(&self, key: PartitionKey) -> Option<(BrokerId, LeaderEpoch)> {
        let partition = self.image.topics.partition(key.0, key.1)?;
        partition.leader.is_some().then_some((partition.leader, partition.leader_epoch))
    }

    /// A client never goes back to older metadata.
    fn learn(&mut self, image: &Arc<Image>) {
        self.is_stale = false;
        if image.offset > self.image.offset {
            self.image = Arc::clone(image);
        }
    }

    pub(crate) fn partitions(&self) -> Vec<PartitionKey> {
        let topics = self.image.topics.iter();
        topics.flat_map(|topic| topic.iter().map(|(index, _)| (topic.id, index))).collect()
    }
}

pub(crate) enum Client {
    Producer(Producer),
    Consumer(Consumer),
    Admin(Admin),
}

/// All clients; their places come after the nodes'.
pub(crate) struct Clients {
    all: Vec<(View, Client)>,
    first_place: usize,
}

impl Clients {
    pub(crate) fn new(draw: &Draw, first_place: usize, random: &mut Random) -> Clients {
        let mut all = vec![Client::Admin(Admin::new(draw))];
        all.extend((0..draw.producers).map(|at| Client::Producer(Producer::new(at, random))));
        all.extend((0..draw.consumers).map(|_| Client::Consumer(Consumer::default())));
        Clients { all: all.into_iter().map(|client| (View::default(), client)).collect(), first_place }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// No new records: what is under way is finished.
    pub(crate) fn stop_producing(&mut self) {
        for (_, client) in &mut self.all {
            if let Client::Producer(producer) = client {
                producer.is_stopped = true;
            }
        }
    }

    /// Says who still waits.
    pub(crate) fn is_done(&self, checkers: &Checkers) -> Result<(), String> {
        for ((_, client), place) in self.all.iter().zip(self.first_place..) {
            match client {
                Client::Producer(producer) => {
                    producer.is_done(checkers).map_err(|what| format!("producer {place} {what}"))?
                }
                Client::Consumer(consumer) => {
                    consumer.is_done(checkers).map_err(|what| format!("consumer {place} {what}"))?;
                }
                Client::Admin(admin) => admin.is_done()?,
            }
        }
        Ok(())
    }
}

impl World {
    pub(crate) fn step_client(&mut self, at: usize) {
        let place = self.nodes.len() + at;
        let next = self.now + self.random.between(10, 120);
        self.schedule(next, Event::Client(at));
        let Some((mut view, mut client)) = self.take_client(at) else { return };
        let needs_news = view.is_stale || view.image.offset.0 <= 0 || self.random.per_mille(30);
        if needs_news && view.asking.is_none() {
            let brokers: Vec<usize> = self.nodes.iter().filter(|node| node.is_broker).map(|node| node.index).collect();
            let broker = self.random.pick(&brokers);
            view.asking = Some(self.call_place(place, broker, Lane::Client, Request::Metadata, Purpose::Client));
        }
        match &mut client {
            Client::Producer(producer) => producer.step(self, place, &view),
            Client::Consumer(consumer) => consumer.step(self, place, &view),
            Client::Admin(admin) => admin.step(self, place, &view),
        }
        self.put_client(at, (view, client));
    }

    /// An answer for a client, or none will come.
    pub(crate) fn client_answered(&mut self, place: usize, call: u64, answer: Option<Answer>) {
        let at = place - self.nodes.len();
        let Some((mut view, mut client)) = self.take_client(at) else { return };
        if view.asking == Some(call) {
            view.asking = None;
            if let Some(Answer::Metadata(image)) = &answer {
                view.learn(image);
            }
        } else {
            let told_off = match &mut client {
                Client::Producer(producer) => producer.answered(self, place, call, answer),
                Client::Consumer(consumer) => consumer.answered(self, place, call, answer),
                Client::Admin(admin) => admin.answered(self, call, answer),
            };
            view.is_stale |= told_off;
        }
        self.put_client(at, (view, client));
    }

    fn take_client(&mut self, at: usize) -> Option<(View, Client)> {
        let slot = self.clients.all.get_mut(at)?;
        Some(std::mem::replace(slot, (View::default(), Client::Consumer(Consumer::default()))))
    }

    fn put_client(&mut self, at: usize, client: (View, Client)) {
        if let Some(slot) = self.clients.all.get_mut(at) {
            *slot = client;
        }
    }
}

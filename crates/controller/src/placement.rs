//! Where new replicas go: striped over racks and brokers (`StripedReplicaPlacer`).
//!
//! Partitions take their leaders from the brokers in turn, and the followers of consecutive partitions are shifted against
//! each other, so that leaderships and replicas spread evenly. Racks come before brokers; fenced brokers only follow.

use std::collections::BTreeMap;

use milena_metadata::Cluster;
use milena_protocol::Text;
use milena_types::{BrokerId, ErrorCode};

use crate::ApiError;
use crate::decision::{Random, below, shuffle};

/// A ring of brokers that starts one further in each new epoch.
#[derive(Default)]
struct Ring {
    brokers: Vec<BrokerId>,
    epoch: u64,
    index: usize,
    offset: usize,
}

impl Ring {
    fn initialize(&mut self, random: &mut dyn Random) {
        self.brokers.sort_unstable();
        self.offset = below(random, self.brokers.len());
    }

    /// The next broker of this epoch; `None` when each was given once.
    fn next(&mut self, epoch: u64) -> Option<BrokerId> {
        let count = self.brokers.len();
        if count == 0 {
            return None;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.index = 0;
            self.offset = (self.offset + 1) % count;
        }
        if self.index >= count {
            return None;
        }
        let broker = self.brokers.get((self.index + self.offset) % count).copied();
        self.index += 1;
        broker
    }
}

#[derive(Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

impl Rack {
    fn next(&mut self, epoch: u64) -> Option<BrokerId> {
        self.unfenced.next(epoch).or_else(|| self.fenced.next(epoch))
    }
}

struct Racks {
    racks: Vec<Rack>,
    broker_count: usize,
    unfenced_count: usize,
    epoch: u64,
    /// Rings remember the epoch they were last used in; this one never repeats, also after a shuffle.
    ring_epoch: u64,
    offset: usize,
}

/// Replicas for `partitions` new partitions with `replicas` replicas each; the first of each is the preferred leader.
///
/// # Errors
/// `INVALID_REPLICATION_FACTOR` when there are not enough brokers.
pub(crate) fn place(
    cluster: &Cluster,
    partitions: usize,
    replicas: i16,
    random: &mut dyn Random,
) -> Result<Vec<Vec<BrokerId>>, ApiError> {
    let mut racks = Racks::new(cluster, random);
    let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, why));
    let Some(count) = usize::try_from(replicas).ok().filter(|count| *count > 0) else {
        return refuse(format!("Invalid replication factor {replicas}: the replication factor must be positive."));
    };
    if racks.unfenced_count == 0 {
        return refuse("All brokers are currently fenced, or have all their log directories cordoned.".to_owned());
    }
    if count > racks.broker_count {
        return refuse(format!(
            "The target replication factor of {count} cannot be reached because only {} broker(s) are registered or some \
             brokers have all their log directories cordoned.",
            racks.broker_count
        ));
    }
    Ok((0..partitions).map(|_| racks.place(count, random)).collect())
}

impl Racks {
    fn new(cluster: &Cluster, random: &mut dyn Random) -> Racks {
        let mut by_name: BTreeMap<Option<Text>, Rack> = BTreeMap::new();
        let (mut broker_count, mut unfenced_count) = (0, 0);
        let usable = |broker: &&std::sync::Arc<milena_metadata::BrokerRegistration>| {
            !broker.is_in_controlled_shutdown && !broker.is_cordoned()
        };
        for broker in cluster.brokers.values().filter(usable) {
            let rack = by_name.entry(broker.rack.clone()).or_default();
            broker_count += 1;
            if broker.is_fenced {
                rack.fenced.brokers.push(broker.id);
            } else {
                unfenced_count += 1;
                rack.unfenced.brokers.push(broker.id);
            }
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for rack in &mut racks {
            rack.unfenced.initialize(random);
            rack.fenced.initialize(random);
        }
        let offset = below(random, racks.len());
        Racks { racks, broker_count, unfenced_count, epoch: 0, ring_epoch: 0, offset }
    }

    /// The replicas of the next partition. The caller checked that there are enough brokers.
    fn place(&mut self, replicas: usize, random: &mut dyn Random) -> Vec<BrokerId> {
        // After as many partitions as there are leaders to choose from, other neighbours should meet.
        if self.epoch == self.unfenced_count as u64 && self.unfenced_count > 1 {
            self.shuffle(random);
            self.epoch = 0;
        }
        let count = self.racks.len();
        if self.offset >= count {
            self.offset = 0;
        }
        let mut chosen = Vec::with_capacity(replicas.min(self.broker_count));
        let mut leader_rack = None;
        for step in 0..count {
            let at = (self.offset + step) % count;
            let next = self.racks.get_mut(at).and_then(|rack| rack.unfenced.next(self.ring_epoch));
            if let Some(broker) = next {
                chosen.push(broker);
                leader_rack = Some(at);
                break;
            }
        }
        let mut at = self.offset;
        let mut fruitless = 0;
        while chosen.len() < replicas && fruitless <= count + 1 {
            // The rack that gave the leader is passed over once.
            let next = if leader_rack == Some(at) {
                leader_rack = None;
                None
            } else {
                self.racks.get_mut(at).and_then(|rack| rack.next(self.ring_epoch))
            };
            fruitless = if next.is_some() { 0 } else { fruitless + 1 };
            chosen.extend(next);
            at = (at + 1) % count.max(1);
        }
        self.epoch += 1;
        self.ring_epoch += 1;
        self.offset += 1;
        chosen
    }

    fn shuffle(&mut self, random: &mut dyn Random) {
        shuffle(&mut self.racks, random);
        for rack in &mut self.racks {
            shuffle(&mut rack.unfenced.brokers, random);
            shuffle(&mut rack.fenced.brokers, random);
        }
    }
}

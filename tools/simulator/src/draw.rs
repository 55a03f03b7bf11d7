//! What a seed draws before anything runs: the cluster, its settings, and which families of faults there are. Each family
//! is off in half of the seeds, so that what one fault hides another seed shows.

use milena_replication::Durability;

use crate::random::Random;

/// One topic to be made.
#[derive(Clone, Debug)]
pub(crate) struct TopicDraw {
    pub(crate) partitions: i32,
    pub(crate) replicas: i16,
    pub(crate) min_insync: usize,
    /// `unclean.leader.election.enable`: nothing is promised of its records then.
    pub(crate) unclean: bool,
}

/// The families of faults. Chances are per mille.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) loss: i64,
    pub(crate) slow_packets: i64,
    pub(crate) partitions: bool,
    pub(crate) kills: bool,
    pub(crate) power_cuts: bool,
    pub(crate) disk_failures: bool,
    pub(crate) slow_disks: bool,
    pub(crate) clean_restarts: bool,
    pub(crate) pauses: bool,
    pub(crate) clocks: bool,
    pub(crate) admin: bool,
}

/// Everything a seed decides at once.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    pub(crate) controllers: usize,
    pub(crate) brokers: usize,
    /// The voters are in the log and can be changed (KIP-853).
    pub(crate) dynamic_voters: bool,
    /// Brokers and controllers share processes.
    pub(crate) combined: bool,
    pub(crate) durability: Durability,
    pub(crate) topics: Vec<TopicDraw>,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    pub(crate) segment_bytes: u32,
    pub(crate) snapshot_bytes: u64,
    pub(crate) faults: Faults,
    /// How long the faults last, milliseconds.
    pub(crate) safety_ms: i64,
    /// Between two faults, about.
    pub(crate) fault_every_ms: i64,
}

impl Draw {
    pub(crate) fn of(random: &mut Random) -> Draw {
        let brokers = random.pick(&[1, 2, 3, 3, 3, 3, 4]).unwrap_or(3);
        let topics = 1 + random.below(3);
        let half = |random: &mut Random| random.per_mille(500);
        let faults = Faults {
            loss: random.pick(&[0, 0, 5, 20, 60]).unwrap_or(0),
            slow_packets: random.pick(&[0, 0, 10, 50]).unwrap_or(0),
            partitions: half(random),
            kills: half(random),
            power_cuts: half(random),
            disk_failures: half(random),
            slow_disks: half(random),
            clean_restarts: half(random),
            pauses: half(random),
            clocks: half(random),
            admin: half(random),
        };
        Draw {
            controllers: random.pick(&CONTROLLERS).unwrap_or(1),
            brokers,
            dynamic_voters: half(random),
            combined: half(random),
            durability: if half(random) { Durability::Fsync } else { Durability::Os },
            topics: (0..topics).map(|_| TopicDraw::of(random, brokers)).collect(),
            producers: 1 + random.below(3),
            consumers: 1 + random.below(2),
            segment_bytes: random.pick(&[700, 2000, 16_000, 1 << 20]).unwrap_or(2000),
            snapshot_bytes: random.pick(&[1500, 4000, 1 << 20]).unwrap_or(4000),
            faults,
            safety_ms: random.between(8_000, 30_000),
            fault_every_ms: random.pick(&[300, 1000, 3000]).unwrap_or(1000),
        }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        if self.combined { self.brokers.max(self.controllers) } else { self.brokers + self.controllers }
    }

    pub(crate) fn is_controller(&self, node: usize) -> bool {
        if self.combined { node < self.controllers } else { node >= self.brokers }
    }

    pub(crate) fn is_broker(&self, node: usize) -> bool {
        node < self.brokers
    }
}

/// Quorum sizes to choose from.
const CONTROLLERS: [usize; 6] = [1, 1, 3, 3, 3, 4];

impl TopicDraw {
    fn of(random: &mut Random, brokers: usize) -> TopicDraw {
        let replicas = if random.per_mille(700) { brokers.min(3) } else { 1 + random.below(brokers) };
        let min_insync = if replicas >= 3 && random.per_mille(700) { 2 } else { 1 + random.below(replicas) };
        TopicDraw {
            partitions: 1 + i32::try_from(random.below(3)).unwrap_or(0),
            replicas: i16::try_from(replicas).unwrap_or(1),
            min_insync,
            unclean: random.per_mille(100),
        }
    }
}

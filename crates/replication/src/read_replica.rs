//! Which replica a consumer had better read from (KIP-392): `RackAwareReplicaSelector`, and what a leader lets it choose
//! from (`ReplicaManager.findPreferredReadReplica`).

use milena_types::{BrokerId, Offset, Timestamp};

use crate::partition::{PartitionState, Role};

impl PartitionState {
    /// The follower to read `from` on, for a reader whose rack is that of the brokers `is_near` names. `None` if it may
    /// as well read from this leader: it is near itself, or nobody is who is in sync and has the offset.
    ///
    /// Of several that with the longest log is chosen, then the one that was caught up last, then the largest id.
    #[must_use]
    pub fn read_replica(&self, from: Offset, now: Timestamp, is_near: impl Fn(BrokerId) -> bool) -> Option<BrokerId> {
        if self.role() != Role::Leader || is_near(self.config().local) {
            return None;
        }
        let has = |end: Offset, start: Offset| end >= from && start <= from;
        let candidates = self.remote_replicas().iter().filter(|replica| {
            is_near(replica.id)
                && self.isr().committed().contains(&replica.id)
                && has(replica.log_end_offset, replica.log_start_offset)
        });
        let best = candidates.max_by_key(|replica| {
            (replica.log_end_offset, std::cmp::Reverse(replica.since_caught_up_ms(now)), replica.id)
        });
        best.map(|replica| replica.id)
    }
}

#[cfg(test)]
mod tests {
    use milena_types::LeaderEpoch;

    use super::*;
    use crate::{Assignment, Durability, PartitionConfig, ReplicaFetch};

    fn leader() -> PartitionState {
        let config = PartitionConfig {
            local: BrokerId(1),
            durability: Durability::Os,
            min_insync_replicas: 1,
            replica_lag_time_max_ms: 10_000,
        };
        let mut state = PartitionState::new(config, Offset(0), Offset(0));
        let assignment = Assignment {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 1,
            replicas: [1, 2, 3, 4].map(BrokerId).to_vec(),
            isr: [1, 2, 3].map(BrokerId).to_vec(),
        };
        state.assign(&assignment, Timestamp(1));
        state.on_local_append(Offset(100), Timestamp(2));
        for (id, end, start) in [(2, 50, 0), (3, 80, 20), (4, 100, 0)] {
            let fetch = ReplicaFetch {
                replica: BrokerId(id),
                fetch_offset: Offset(end),
                log_start_offset: Offset(start),
                broker_epoch: -1,
            };
            state.on_replica_fetch(&fetch, Timestamp(3)).unwrap();
        }
        state
    }

    fn chosen(from: i64, near: &[i32]) -> Option<i32> {
        leader().read_replica(Offset(from), Timestamp(4), |id| near.contains(&id.0)).map(|id| id.0)
    }

    #[test]
    fn a_consumer_reads_from_the_nearest_in_sync_replica_that_has_the_offset() {
        assert_eq!(chosen(30, &[2]), Some(2));
        assert_eq!(chosen(30, &[2, 3]), Some(3), "the one with the longer log");
        assert_eq!(chosen(10, &[2, 3]), Some(2), "the other does not go back so far");
        assert_eq!(chosen(60, &[2]), None, "it is not there yet");
        assert_eq!(chosen(30, &[4]), None, "not in sync");
        assert_eq!(chosen(30, &[]), None);
        assert_eq!(chosen(30, &[1, 2]), None, "the leader is as near");
    }

    #[test]
    fn a_follower_chooses_nobody() {
        let mut state = leader();
        let assignment = Assignment {
            leader: BrokerId(2),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: 2,
            replicas: [1, 2].map(BrokerId).to_vec(),
            isr: [1, 2].map(BrokerId).to_vec(),
        };
        state.assign(&assignment, Timestamp(5));
        assert_eq!(state.read_replica(Offset(0), Timestamp(6), |id| id == BrokerId(2)), None);
    }
}

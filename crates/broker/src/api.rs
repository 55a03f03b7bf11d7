//! The table of everything this broker serves, sorted by key. ApiVersions is computed from it: what is not here cannot
//! be advertised. Versions are those of the protocol table (Kafka's stable ones), so a row is all or nothing.

mod altering;
mod k00_produce;
mod k01_fetch;
mod k02_list_offsets;
mod k03_metadata;
mod k08_offset_commit;
mod k09_offset_fetch;
mod k10_find_coordinator;
mod k11_join_group;
mod k12_heartbeat;
mod k13_leave_group;
mod k14_sync_group;
mod k15_describe_groups;
mod k16_list_groups;
pub(crate) mod k18_api_versions;
mod k19_create_topics;
mod k20_delete_topics;
mod k21_delete_records;
mod k22_init_producer_id;
mod k23_offset_for_leader_epoch;
mod k24_add_partitions_to_txn;
mod k25_add_offsets_to_txn;
mod k26_end_txn;
mod k27_write_txn_markers;
mod k28_txn_offset_commit;
mod k32_describe_configs;
mod k33_alter_configs;
mod k34_alter_replica_log_dirs;
mod k35_describe_log_dirs;
mod k37_create_partitions;
mod k42_delete_groups;
mod k43_elect_leaders;
mod k44_incremental_alter_configs;
mod k45_alter_partition_reassignments;
mod k46_list_partition_reassignments;
mod k47_offset_delete;
mod k55_describe_quorum;
mod k57_update_features;
mod k60_describe_cluster;
mod k61_describe_producers;
mod k64_unregister_broker;
mod k65_describe_transactions;
mod k66_list_transactions;
mod k68_consumer_group_heartbeat;
mod k69_consumer_group_describe;
mod k74_list_config_resources;
mod k75_describe_topic_partitions;
mod k80_add_raft_voter;
mod k81_remove_raft_voter;

use crate::call::{Call, Outcome};
use milena_protocol::{ApiKey, ApiKeyInfo, api_keys};
use milena_types::ErrorCode;
use std::ops::RangeInclusive;

/// A handler: plain, it never spawns, sleeps or blocks.
pub type Handle = fn(&mut Call<'_, '_>) -> Outcome;

/// What a request needs before it can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Answered from the image at once.
    Inline,
    /// Touches partitions; may wait for appends, replication or the disk.
    Partition,
    /// Goes to a coordinator's log.
    Coordinator,
    /// Answered by the active controller.
    Controller,
}

/// One row: a key and who answers it.
#[derive(Clone, Copy)]
pub struct Api {
    pub key: ApiKey,
    pub lane: Lane,
    pub handle: Handle,
}

/// All rows, sorted by key.
static TABLE: &[Api] = &[
    k00_produce::API,
    k01_fetch::API,
    k02_list_offsets::API,
    k03_metadata::API,
    k08_offset_commit::API,
    k09_offset_fetch::API,
    k10_find_coordinator::API,
    k11_join_group::API,
    k12_heartbeat::API,
    k13_leave_group::API,
    k14_sync_group::API,
    k15_describe_groups::API,
    k16_list_groups::API,
    k18_api_versions::API,
    k19_create_topics::API,
    k20_delete_topics::API,
    k21_delete_records::API,
    k22_init_producer_id::API,
    k23_offset_for_leader_epoch::API,
    k24_add_partitions_to_txn::API,
    k25_add_offsets_to_txn::API,
    k26_end_txn::API,
    k27_write_txn_markers::API,
    k28_txn_offset_commit::API,
    k32_describe_configs::API,
    k33_alter_configs::API,
    k34_alter_replica_log_dirs::API,
    k35_describe_log_dirs::API,
    k37_create_partitions::API,
    k42_delete_groups::API,
    k43_elect_leaders::API,
    k44_incremental_alter_configs::API,
    k45_alter_partition_reassignments::API,
    k46_list_partition_reassignments::API,
    k47_offset_delete::API,
    k55_describe_quorum::API,
    k57_update_features::API,
    k60_describe_cluster::API,
    k61_describe_producers::API,
    k64_unregister_broker::API,
    k65_describe_transactions::API,
    k66_list_transactions::API,
    k68_consumer_group_heartbeat::API,
    k69_consumer_group_describe::API,
    k74_list_config_resources::API,
    k75_describe_topic_partitions::API,
    k80_add_raft_voter::API,
    k81_remove_raft_voter::API,
];

/// All rows, sorted by key.
#[must_use]
pub fn apis() -> &'static [Api] {
    TABLE
}

/// The row that serves this version of a key.
#[must_use]
pub fn find(key: ApiKey, version: i16) -> Option<&'static Api> {
    let at = TABLE.binary_search_by_key(&key.0, |api| api.key.0).ok()?;
    TABLE.get(at).filter(|api| api.versions().contains(&version))
}

impl Api {
    /// The versions served.
    #[must_use]
    pub fn versions(&self) -> RangeInclusive<i16> {
        api_keys::TABLE
            .binary_search_by_key(&self.key.0, |info| info.key.0)
            .ok()
            .and_then(|at| api_keys::TABLE.get(at))
            .map_or(RangeInclusive::new(0, -1), stable_versions)
    }
}

/// Kafka's stable versions: the newest is left out while it is marked unstable.
fn stable_versions(info: &ApiKeyInfo) -> RangeInclusive<i16> {
    info.min_version..=info.max_version - i16::from(info.latest_version_unstable)
}

/// `PRODUCER_FENCED` as clients of before `version_that_knows` understand it.
pub(crate) fn fenced_before(version_that_knows: i16, version: i16, error: ErrorCode) -> ErrorCode {
    if error == ErrorCode::PRODUCER_FENCED && version < version_that_knows {
        return ErrorCode::INVALID_PRODUCER_EPOCH;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_row_has_versions() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].key.0 < pair[1].key.0, "{:?} before {:?}", pair[0].key, pair[1].key);
        }
        for api in TABLE {
            assert!(!api.versions().is_empty(), "{:?}", api.key);
            assert!(find(api.key, *api.versions().end()).is_some());
            assert!(find(api.key, api.versions().end() + 1).is_none());
        }
    }

    #[test]
    fn init_producer_id_stops_before_its_unstable_version() {
        let info = api_keys::TABLE.iter().find(|info| info.key == ApiKey::INIT_PRODUCER_ID).unwrap();
        assert_eq!(stable_versions(info), 0..=5);
    }
}

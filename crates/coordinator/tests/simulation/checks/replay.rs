//! What the log amounts to when it is read from scratch, compacted or not, is what the coordinator has.

use milena_coordinator::group::{Group, GroupMachine, Groups};
use milena_coordinator::runtime::{Machine, RecordPlace, Replicated};
use milena_protocol::Text;
use milena_records::Batch;
use milena_types::ProducerId;

use crate::log::entries;

/// Reads the log.
fn load(batches: &[Batch]) -> Groups {
    let mut groups = Groups::default();
    for entry in batches.iter().flat_map(entries) {
        let place = RecordPlace { offset: entry.offset, producer_id: ProducerId::NONE };
        if let Ok(Some(record)) = GroupMachine::decode(entry.key, entry.value) {
            groups.replay(place, &record);
        }
    }
    groups
}

/// Compares; `how` says which log it is.
pub(crate) fn check(live: &Groups, batches: &[Batch], how: &str) -> Result<(), String> {
    let read = load(batches);
    let all = |groups: &Groups| -> Vec<(Text, Group)> {
        groups.iter().map(|(id, group)| (id.clone(), group.clone())).collect()
    };
    for ((id, live), (_, read)) in all(live).iter().zip(&all(&read)) {
        if live != read {
            return Err(format!("{id} differs from the {how} log: {live:?} is live, {read:?} was read"));
        }
    }
    if live.iter().count() != read.iter().count() {
        return Err(format!("there are other groups than in the {how} log"));
    }
    if let Some((live, read)) = live.iter_offsets().zip(read.iter_offsets()).find(|(live, read)| live != read) {
        return Err(format!("an offset differs from the {how} log: {live:?} is live, {read:?} was read"));
    }
    if live.iter_offsets().count() != read.iter_offsets().count() {
        return Err(format!("there are other offsets than in the {how} log"));
    }
    Ok(())
}

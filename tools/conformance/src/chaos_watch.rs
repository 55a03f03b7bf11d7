//! The administrator of the group chaos: what groups are, and what they have committed, asked of their coordinators.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::{FindCoordinatorRequest, OffsetFetchRequest};

use crate::chaos_check::Sample;
use crate::group_clients::describe;
use crate::wire::Wire;

/// Asks any of the servers' ports.
pub(crate) struct Watch {
    ports: Vec<u16>,
    wires: BTreeMap<u16, Wire>,
    /// Where each group was found last.
    coordinators: BTreeMap<String, u16>,
}

/// The time members write down, too.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Watch {
    pub(crate) fn new(ports: Vec<u16>) -> Self {
        Self { ports, wires: BTreeMap::new(), coordinators: BTreeMap::new() }
    }

    fn wire(&mut self, port: u16) -> anyhow::Result<&mut Wire> {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.wires.entry(port) {
            vacant.insert(Wire::connect(port)?);
        }
        self.wires.get_mut(&port).context("a connection")
    }

    /// Does something on a connection to the group's coordinator; after a failure it is looked for anew.
    fn ask<T>(&mut self, group: &str, ask: impl FnOnce(&mut Wire) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let port = match self.coordinators.get(group) {
            Some(port) => *port,
            None => self.find(group)?,
        };
        let answer = self.wire(port).and_then(ask);
        if answer.is_err() {
            self.wires.remove(&port);
            self.coordinators.remove(group);
        }
        answer
    }

    fn find(&mut self, group: &str) -> anyhow::Result<u16> {
        let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
        for port in self.ports.clone() {
            let Ok(answer) = self.wire(port).and_then(|wire| wire.call(4, &request)) else {
                self.wires.remove(&port);
                continue;
            };
            let Some(found) = answer.coordinators.into_iter().find(|one| one.error_code == 0) else { continue };
            let port = u16::try_from(found.port)?;
            self.coordinators.insert(group.to_owned(), port);
            return Ok(port);
        }
        anyhow::bail!("nobody knows the coordinator of {group}")
    }

    /// The committed offsets of a group.
    pub(crate) fn committed(&mut self, group: &'static str) -> anyhow::Result<Vec<Sample>> {
        let asked = now();
        let answer = self.ask(group, |wire| {
            let of = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
            let request = OffsetFetchRequest { groups: vec![of], ..Default::default() };
            let answer = wire.call(9, &request)?;
            let found = answer.groups.into_iter().next().context("a group")?;
            ensure!(found.error_code == 0, "error {}", found.error_code);
            Ok(found)
        })?;
        let answered = now();
        let sample =
            |partition: i32, offset: i64| Sample { group: group.to_owned(), partition, offset, asked, answered };
        let all = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(all.filter(|one| one.error_code == 0).map(|one| sample(one.partition_index, one.committed_offset)).collect())
    }

    /// A group's state and what each member has, whatever its protocol is now.
    pub(crate) fn describe(&mut self, group: &str) -> anyhow::Result<(String, Vec<BTreeSet<i32>>)> {
        self.ask(group, |wire| {
            let found = describe(wire, group, true)?;
            if found.0.is_empty() { describe(wire, group, false) } else { Ok(found) }
        })
    }
}

/// Partitions that a coordinator says two members have.
pub(crate) fn doubled(shares: &[BTreeSet<i32>]) -> Vec<i32> {
    let mut seen = BTreeSet::new();
    shares.iter().flatten().copied().filter(|partition| !seen.insert(*partition)).collect()
}

#[cfg(test)]
mod tests {
    use super::doubled;

    #[test]
    fn a_partition_of_two_members_is_found() {
        assert_eq!(doubled(&[[1, 2].into(), [3].into()]), []);
        assert_eq!(doubled(&[[1, 2].into(), [3, 2].into()]), [2]);
    }
}

//! Committed offsets never go back: neither from one acknowledged commit to the next, nor in the eyes of somebody outside,
//! who sees at least what had been acknowledged when it looked.

use std::collections::BTreeMap;

use crate::cluster::Spot;

#[derive(Debug, Default)]
pub(crate) struct Offsets {
    acknowledged: BTreeMap<(usize, Spot), i64>,
    seen: BTreeMap<(usize, Spot), i64>,
}

impl Offsets {
    /// A commit was acknowledged.
    pub(crate) fn acknowledged(&mut self, group: usize, spot: Spot, offset: i64) -> Result<(), String> {
        let before = self.acknowledged.insert((group, spot), offset).unwrap_or(-1);
        if offset < before {
            return Err(format!("group {group}: {spot:?}: {before} was acknowledged, then {offset}"));
        }
        Ok(())
    }

    /// Everything acknowledged for a group so far.
    pub(crate) fn of(&self, group: usize) -> BTreeMap<Spot, i64> {
        let of_group = self.acknowledged.iter().filter(|((known, _), _)| *known == group);
        of_group.map(|((_, spot), offset)| (*spot, *offset)).collect()
    }

    /// Somebody outside sees an offset who could expect at least this one.
    pub(crate) fn seen(&mut self, group: usize, spot: Spot, offset: i64, expected: i64) -> Result<(), String> {
        let before = self.seen.insert((group, spot), offset).unwrap_or(-1);
        if offset < before {
            return Err(format!("group {group}: {spot:?}: {before} was seen, then {offset}"));
        }
        if offset < expected {
            return Err(format!("group {group}: {spot:?}: {expected} was acknowledged, {offset} is seen"));
        }
        Ok(())
    }
}

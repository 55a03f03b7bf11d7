//! Every record is read at least once: what is committed has been read by somebody of the group, and in the end everything
//! has.

use std::collections::BTreeMap;

use crate::cluster::Spot;

#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// By group and partition: which records were read.
    read: BTreeMap<(usize, Spot), Vec<bool>>,
}

impl Delivery {
    /// Records from one offset up to another were read.
    pub(crate) fn read(&mut self, group: usize, spot: Spot, from: i64, upto: i64) {
        let read = self.read.entry((group, spot)).or_default();
        let (from, upto) = (from.max(0) as usize, upto.max(0) as usize);
        if read.len() < upto {
            read.resize(upto, false);
        }
        read.iter_mut().take(upto).skip(from).for_each(|read| *read = true);
    }

    /// Everything below an offset must have been read.
    pub(crate) fn is_read_upto(&self, group: usize, spot: Spot, upto: i64) -> Result<(), String> {
        let read = self.read.get(&(group, spot)).map_or(&[][..], |read| &read[..]);
        let upto = upto.max(0) as usize;
        match (0..upto).find(|at| !read.get(*at).copied().unwrap_or(false)) {
            Some(missing) => Err(format!("group {group}: {spot:?}: nobody read record {missing} of {upto}")),
            None => Ok(()),
        }
    }
}

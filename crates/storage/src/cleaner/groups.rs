//! Which segments become one (`Cleaner.groupSegmentsBySize`): neighbours as long as log and indexes stay within the limits
//! of one segment and offsets within what an index can say.

use super::view::{CleanView, SegmentView};
use crate::disk::Disk;
use crate::error::Result;

impl<D: Disk> CleanView<D> {
    /// The segments with offsets below `end`, in groups; nothing at `first_uncleanable` or after is among them.
    pub(super) fn groups(&self, end: i64, first_uncleanable: i64) -> Result<Vec<Vec<SegmentView<D>>>> {
        let segments = self.between(0, end);
        let mut groups: Vec<Vec<SegmentView<D>>> = Vec::new();
        let mut sums = (0, 0, 0);
        for (at, segment) in segments.iter().enumerate() {
            let (index, time_index) = segment.index_bytes(&self.files)?;
            let grown = (sums.0 + segment.size, sums.1 + index, sums.2 + time_index);
            // The offset after which the segment surely ends, without reading it.
            let last_offset = segments.get(at + 1).map_or(first_uncleanable, |next| next.base_offset) - 1;
            let index_max = u64::from(self.config.segment_index_bytes);
            let fits = |group: &[SegmentView<D>]| {
                grown.0 <= u64::from(self.config.segment_bytes)
                    && grown.1 <= index_max
                    && grown.2 <= index_max
                    && group.first().is_some_and(|first| {
                        segment.size == 0 || last_offset - first.base_offset <= i64::from(i32::MAX)
                    })
            };
            match groups.last_mut() {
                Some(group) if fits(group) => {
                    group.push(segment.clone());
                    sums = grown;
                }
                _ => {
                    groups.push(vec![segment.clone()]);
                    sums = (segment.size, index, time_index);
                }
            }
        }
        Ok(groups)
    }
}

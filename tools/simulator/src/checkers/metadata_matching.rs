//! Who has the metadata up to the same offset has the same metadata, no epoch has two leaders, and what was published
//! does not go back (MetadataLogMatching).

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_metadata::Image;

use super::Verdict;

/// Every how many offsets images are compared.
const COMPARED_EVERY: i64 = 3;
/// How many images are kept to compare with.
const KEPT: usize = 200;

#[derive(Default)]
pub(crate) struct MetadataMatching {
    images: BTreeMap<i64, Arc<Image>>,
    leaders: BTreeMap<i32, usize>,
    /// By node: the life and the offset it has published.
    published: BTreeMap<usize, (u32, i64)>,
}

impl MetadataMatching {
    /// A node published an image.
    pub(crate) fn on_published(&mut self, node: usize, life: u32, image: &Arc<Image>) -> Verdict {
        let offset = image.offset.0;
        if let Some((its_life, before)) = self.published.insert(node, (life, offset))
            && its_life == life
            && before > offset
        {
            return Err(format!("node {node} published metadata up to {before}, then up to {offset}"));
        }
        // Images that differ go on differing: a part of them is enough to see it.
        if offset % COMPARED_EVERY != 0 {
            return Ok(());
        }
        match self.images.get(&offset) {
            // What a snapshot does not say, such as the offset of a registration, may differ.
            Some(known) if known != image && !known.records().eq(image.records()) => {
                let (known, own): (Vec<_>, Vec<_>) = (known.records().collect(), image.records().collect());
                let differs = |(one, other): (&_, &_)| one != other;
                let at = known.iter().zip(&own).position(differs).unwrap_or(known.len().min(own.len()));
                return Err(format!(
                    "node {node} has other metadata at offset {offset} than another node: {:?}, not {:?}",
                    own.get(at),
                    known.get(at)
                ));
            }
            Some(_) => {}
            None => {
                self.images.insert(offset, Arc::clone(image));
                if self.images.len() > KEPT {
                    self.images.pop_first();
                }
            }
        }
        Ok(())
    }

    /// Whether nobody has led in a later epoch than this node.
    pub(crate) fn leads(&self, node: usize) -> bool {
        self.leaders.last_key_value().is_some_and(|(_, leader)| *leader == node)
    }

    /// A node leads the quorum in this epoch. Whether that is news.
    pub(crate) fn on_leader(&mut self, node: usize, epoch: i32) -> Result<bool, String> {
        match self.leaders.insert(epoch, node) {
            Some(other) if other != node => Err(format!("nodes {other} and {node} both led the quorum in {epoch}")),
            Some(_) => Ok(false),
            None => Ok(true),
        }
    }
}

//! What lies in a partition's folder, as the file format says it: batches behind each other.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The segments of a partition that hold something, oldest first.
pub(crate) fn logs(partition: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(partition).with_context(|| format!("list {}", partition.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") && std::fs::metadata(&path)?.len() > 0 {
            logs.push(path);
        }
    }
    logs.sort();
    Ok(logs)
}

/// The whole batches of a segment: where each begins, and its bytes.
pub(crate) fn batches(content: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut at, mut rest, mut found) = (0, content, Vec::new());
    // Base offset, then the length of what follows the length.
    while let Some((length, _)) = rest.get(8..).and_then(|rest| rest.split_first_chunk::<4>()) {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { break };
        let Some((batch, after)) = rest.split_at_checked(length + 12) else { break };
        found.push((at, batch));
        (at, rest) = (at + batch.len() as u64, after);
    }
    found
}

/// The id of the codec of a batch: the lowest three bits of the attributes.
pub(crate) fn codec_of(batch: &[u8]) -> Option<usize> {
    batch.get(22).map(|attributes| usize::from(attributes & 7))
}

/// Gives a batch the offsets after its own; the base offset is not under the checksum.
pub(crate) fn renumber(batch: &mut [u8]) -> anyhow::Result<()> {
    let delta = batch.get(23..27).and_then(|bytes| bytes.first_chunk::<4>()).context("the last offset's delta")?;
    let delta = i64::from(i32::from_be_bytes(*delta));
    let base = batch.first_chunk_mut::<8>().context("a base offset")?;
    *base = (i64::from_be_bytes(*base) + delta + 1).to_be_bytes();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{batches, renumber};

    #[test]
    fn a_torn_batch_at_the_end_is_not_one() {
        let mut batch = [&[0; 11][..], &[15], &[0; 15]].concat();
        batch[26] = 2;
        let content = [&batch[..], &batch, &batch[..20]].concat();
        assert_eq!(batches(&content), [(0, &batch[..]), (27, &batch[..])]);
        renumber(&mut batch).expect("long enough");
        assert_eq!(batch[..8], 3_i64.to_be_bytes());
    }
}

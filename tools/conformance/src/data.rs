//! What the clients send: lines and whole files of this machine, in shards; and what must come back.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::layout;

/// The largest file sent as one record; the default limit of a batch is 1 MiB.
const FILE_BYTES_MAX: u64 = 900_000;
/// The longest line sent as one record.
const LINE_BYTES_MAX: usize = 500_000;
/// Where a large run finds real text and real binaries.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/lib", "/usr/share", "/usr/bin", "/usr/include"];

/// What one record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A line of the shard's file.
    Lines,
    /// A whole file; the shard's file is the list of their paths.
    Files,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Files => "files",
        }
    }
}

/// A piece of the data, sent by one client in one codec.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) mode: Mode,
    pub(crate) keyed: bool,
    pub(crate) path: PathBuf,
}

impl Shard {
    /// The frames each partition must hold: key and value, each as a 32-bit big-endian length (-1: null) and its bytes.
    pub(crate) fn expected(&self, partitions: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut frames = vec![Vec::new(); partitions];
        for (n, line) in lines(&self.path)?.into_iter().enumerate() {
            let value = match self.mode {
                Mode::Lines => line,
                Mode::Files => {
                    let path = String::from_utf8(line).context("a path")?;
                    std::fs::read(&path).with_context(|| format!("read {path}"))?
                }
            };
            let Some(frame) = frames.get_mut(n % partitions) else { continue };
            let key = self.keyed.then(|| n.to_string().into_bytes());
            put(frame, key.as_deref())?;
            put(frame, Some(&value))?;
        }
        Ok(frames)
    }
}

fn put(frame: &mut Vec<u8>, field: Option<&[u8]>) -> anyhow::Result<()> {
    let length = field.map_or(Ok(-1), |field| i32::try_from(field.len()))?;
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(field.unwrap_or_default());
    Ok(())
}

/// The lines of a file, without their ends.
pub(crate) fn lines(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let content = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let content = content.strip_suffix(b"\n").unwrap_or(&content);
    Ok(content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

/// kcat's `%K %k%R%s` (decimal key length, blank, key, binary value length, value) as frames.
pub(crate) fn reframe(raw: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut framed = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while !rest.is_empty() {
        let blank = rest.iter().position(|byte| *byte == b' ').context("no key length")?;
        let (digits, after) = rest.split_at_checked(blank).context("no key length")?;
        let length: i32 = std::str::from_utf8(digits)?.parse().context("a key length")?;
        let after = after.get(1..).context("nothing after the key length")?;
        let key_bytes = usize::try_from(length).unwrap_or(0);
        let (key, after) = after.split_at_checked(key_bytes).context("a cut key")?;
        put(&mut framed, (length >= 0).then_some(key))?;
        let (length, after) = after.split_first_chunk::<4>().context("a cut value length")?;
        let value_bytes = usize::try_from(i32::from_be_bytes(*length)).context("a null value")?;
        let (value, after) = after.split_at_checked(value_bytes).context("a cut value")?;
        put(&mut framed, Some(value))?;
        rest = after;
    }
    Ok(framed)
}

/// Shards of `bytes` in all: even ones are lines, odd ones whole files; every other shard of lines is keyed.
///
/// The default amount is this repository's own text; a large amount comes from the system's folders.
pub(crate) fn shards(count: usize, bytes: u64, folder: &Path) -> anyhow::Result<Vec<Shard>> {
    let mut sources = Vec::new();
    if bytes == 0 {
        gather(&layout::source("."), u64::MAX, &mut sources);
    } else {
        let mut left = bytes;
        for folder in SYSTEM_FOLDERS {
            left = gather(Path::new(folder), left, &mut sources);
        }
    }
    let mut shards = Vec::new();
    for n in 0..count {
        let mode = if n % 2 == 0 { Mode::Lines } else { Mode::Files };
        let path = folder.join(format!("shard-{n}"));
        let mine = sources.iter().skip(if bytes == 0 { 0 } else { n }).step_by(if bytes == 0 { 1 } else { count });
        let mut out = std::io::BufWriter::new(std::fs::File::create(&path)?);
        for source in mine {
            match mode {
                Mode::Files => writeln!(out, "{}", source.display())?,
                Mode::Lines => {
                    let content = std::fs::read(source)?;
                    for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        for piece in line.chunks(LINE_BYTES_MAX) {
                            out.write_all(piece)?;
                            out.write_all(b"\n")?;
                        }
                    }
                }
            }
        }
        out.flush()?;
        shards.push(Shard { mode, keyed: n % 4 == 0, path });
    }
    Ok(shards)
}

/// Adds the plain files under a folder in the order of names until `left` bytes are found; says how many are still wanted.
fn gather(folder: &Path, mut left: u64, found: &mut Vec<PathBuf>) -> u64 {
    let Ok(listing) = std::fs::read_dir(folder) else { return left };
    let mut paths: Vec<PathBuf> = listing.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
        if left == 0 {
            return 0;
        }
        let is_plain = path.to_str().is_some_and(|name| !name.contains('\n'));
        if about.is_dir() {
            left = gather(&path, left, found);
        } else if about.is_file()
            && is_plain
            && (1..=FILE_BYTES_MAX).contains(&about.len())
            && std::fs::File::open(&path).is_ok()
        {
            left = left.saturating_sub(about.len());
            found.push(path);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::reframe;

    #[test]
    fn what_kcat_writes_becomes_frames() {
        let framed = reframe(b"2 ab\0\0\0\x01x-1 \0\0\0\0").expect("two records");
        assert_eq!(framed, b"\0\0\0\x02ab\0\0\0\x01x\xff\xff\xff\xff\0\0\0\0");
        assert!(reframe(b"2 a").is_err());
    }
}

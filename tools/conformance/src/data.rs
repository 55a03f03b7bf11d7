//! What the clients send: lines and whole files of this machine, in shards; and what must come back.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::layout;

/// A file so large that it would be most of the data is left out.
const SOURCE_BYTES_MAX: u64 = 50_000_000;
/// The largest piece of a file sent as one record; the default limit of a batch is 1 MiB.
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

/// What a shard is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) mode: Mode,
    pub(crate) keyed: bool,
    /// Only lines of UTF-8 without carriage returns: what a program that reads characters does not change.
    pub(crate) is_text: bool,
}

/// A piece of the data, sent by one client in one codec.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) mode: Mode,
    pub(crate) keyed: bool,
    pub(crate) path: PathBuf,
}

impl Shard {
    /// How many records, and how many bytes of keys and values.
    pub(crate) fn size(&self) -> anyhow::Result<(usize, usize)> {
        let frames = self.expected(1)?;
        let records = lines(&self.path)?.len();
        Ok((records, frames.iter().map(Vec::len).sum::<usize>().saturating_sub(8 * records)))
    }

    /// A file of the shard's lines, each with its key and a tab in front if keyed.
    pub(crate) fn delimited(&self, at: &Path) -> anyhow::Result<PathBuf> {
        if !self.keyed {
            return Ok(self.path.clone());
        }
        let path = at.with_extension("in");
        let mut out = BufWriter::new(File::create(&path)?);
        for (n, line) in lines(&self.path)?.into_iter().enumerate() {
            write!(out, "{n}\t")?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(path)
    }

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

/// Shards of `bytes` in all. The default amount is this repository's own text, whole for each; a large amount comes from the system's
/// folders, each file to one shard; shards of text take the files of text once more.
pub(crate) fn shards(jobs: &[Job], bytes: u64, folder: &Path) -> anyhow::Result<Vec<Shard>> {
    let mut sources = Vec::new();
    if bytes == 0 {
        gather(&layout::source("."), u64::MAX, &mut sources);
    } else {
        let mut left = bytes;
        for folder in SYSTEM_FOLDERS {
            left = gather(Path::new(folder), left, &mut sources);
        }
        anyhow::ensure!(left == 0, "the system's folders hold {left} bytes too little");
        let files = sources.len();
        sources = pieces(sources, folder)?;
        println!("{} MB in {files} files, {} pieces", bytes / 1_000_000, sources.len());
    }
    let texts: Vec<PathBuf> = sources.iter().filter(|source| is_text(source)).cloned().collect();
    let text_jobs = jobs.iter().filter(|job| job.is_text).count();
    let (mut seen, mut seen_text) = (0, 0);
    let mut shards = Vec::new();
    for (n, job) in jobs.iter().enumerate() {
        let path = folder.join(format!("shard-{n}"));
        let (pool, nth, count) = if job.is_text {
            (&texts, &mut seen_text, text_jobs)
        } else {
            (&sources, &mut seen, jobs.len() - text_jobs)
        };
        let mine = pool.iter().skip(if bytes == 0 { 0 } else { *nth }).step_by(if bytes == 0 { 1 } else { count });
        *nth += 1;
        let mut out = BufWriter::new(File::create(&path)?);
        for source in mine {
            match job.mode {
                Mode::Files => writeln!(out, "{}", source.display())?,
                Mode::Lines => write_lines(&std::fs::read(source)?, job.is_text, &mut out)?,
            }
        }
        out.flush()?;
        shards.push(Shard { mode: job.mode, keyed: job.keyed, path });
    }
    Ok(shards)
}

fn is_text(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|content| !content.contains(&b'\r') && std::str::from_utf8(&content).is_ok())
}

/// The lines of a file that are not blank (kcat does not send those), long ones in pieces.
fn write_lines(content: &[u8], is_text: bool, out: &mut impl Write) -> anyhow::Result<()> {
    for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if is_text && (line.contains(&b'\r') || std::str::from_utf8(line).is_err() || line.len() > LINE_BYTES_MAX) {
            continue;
        }
        for piece in line.chunks(LINE_BYTES_MAX) {
            out.write_all(piece)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Files that fit into one record as they are; larger ones cut into such, in `folder`.
fn pieces(sources: Vec<PathBuf>, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder.join("pieces");
    std::fs::create_dir_all(&folder)?;
    let mut pieces = Vec::new();
    for source in sources {
        let length = std::fs::metadata(&source)?.len();
        if length <= FILE_BYTES_MAX {
            pieces.push(source);
            continue;
        }
        for piece in std::fs::read(&source)?.chunks(usize::try_from(FILE_BYTES_MAX)?) {
            let path = folder.join(pieces.len().to_string());
            std::fs::write(&path, piece)?;
            pieces.push(path);
        }
    }
    Ok(pieces)
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
            && (1..=SOURCE_BYTES_MAX).contains(&about.len())
            && File::open(&path).is_ok()
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

//! A power cut for the kill rounds: what a server wrote and did not sync is lost, up to a random place behind the last sync.
//!
//! A killed process loses nothing, since the kernel keeps what it wrote. `c/powercut.c`, preloaded into the server, notes the length each
//! file had at its last sync; `cut` takes away what lies behind it, whole or in part, and spoils half of the tails that are left.
//! The simulated disk of `crates/storage` does the same, and more, to the log alone; this does it to the node that ships.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::random::Random;
use crate::{layout, process};

/// The library and where it writes.
#[derive(Clone, Debug)]
pub(crate) struct PowerCut {
    pub(crate) library: PathBuf,
    pub(crate) notes: PathBuf,
}

/// What a cut took away.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl PowerCut {
    /// Compiles the library into a node's folder.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let library = folder.join("powercut.so");
        let mut command = Command::new("gcc");
        command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library);
        command.arg(layout::source("c").join("powercut.c")).arg("-ldl");
        process::succeed(&mut command, &folder.join("gcc"), Duration::from_secs(60)).context("compile powercut.c")?;
        Ok(Self { library, notes: folder.join("synced") })
    }

    /// Cuts every log under `data` somewhere between what was synced and its end. To be called between a kill and a start.
    pub(crate) fn cut(&self, data: &Path, random: &mut Random) -> anyhow::Result<Lost> {
        let synced = self.synced()?;
        let mut lost = Lost::default();
        let mut logs = Vec::new();
        gather(data, &mut logs)?;
        for path in logs {
            let file = File::options().read(true).write(true).open(&path)?;
            let length = file.metadata()?.len();
            let kept = synced.get(&path).copied().unwrap_or(0).min(length);
            if kept == length {
                continue;
            }
            // A third of the cuts take all of it; else some of it had reached the disk, and that not always as it was.
            let left = if random.below(3) == 0 { kept } else { kept + random.below(length - kept + 1) };
            file.set_len(left)?;
            if left > kept && random.below(2) == 0 {
                let from = kept + random.below(left - kept);
                let zeros = vec![0; usize::try_from(left - from)?];
                file.write_all_at(&zeros, from)?;
            }
            lost.files += 1;
            lost.bytes += length - left;
        }
        self.begin_again(data)?;
        Ok(lost)
    }

    /// The last noted length of each file.
    fn synced(&self) -> anyhow::Result<BTreeMap<PathBuf, u64>> {
        let notes = std::fs::read_to_string(&self.notes).context("no file was ever synced")?;
        let lines = notes.lines().filter_map(|line| line.split_once(' '));
        Ok(lines.filter_map(|(length, path)| Some((PathBuf::from(path), length.parse().ok()?))).collect())
    }

    /// What is on the disk after the cut is there for good: the notes begin with that.
    fn begin_again(&self, data: &Path) -> anyhow::Result<()> {
        let mut logs = Vec::new();
        gather(data, &mut logs)?;
        let mut notes = File::create(&self.notes)?;
        for path in logs {
            writeln!(notes, "{} {}", std::fs::metadata(&path)?.len(), path.display())?;
        }
        Ok(())
    }
}

/// The `.log` files under a folder, the metadata's among them.
fn gather(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

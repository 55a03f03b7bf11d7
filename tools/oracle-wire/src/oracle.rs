//! Starts the Java side with Kafka's jars.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::entries::{self, Entry};

/// The Java program, its jars, and a folder for the files that pass between.
pub(crate) struct Oracle {
    jars: PathBuf,
    folder: TempDir,
}

impl Oracle {
    pub(crate) fn new(jars: PathBuf) -> Result<Oracle> {
        Ok(Oracle { jars, folder: tempfile::tempdir()? })
    }

    /// `count` random messages of every class and version.
    pub(crate) fn write(&self, seed: u64, count: u32) -> Result<Vec<Entry>> {
        let out = self.folder.path().join("from-kafka");
        self.run(&["write".as_ref(), seed.to_string().as_ref(), count.to_string().as_ref(), out.as_os_str()])?;
        entries::parse(fs::read(out)?.into())
    }

    /// A message of every class and version with all its defaults.
    pub(crate) fn blank(&self) -> Result<Vec<Entry>> {
        let out = self.folder.path().join("blank");
        self.run(&["blank".as_ref(), out.as_os_str()])?;
        entries::parse(fs::read(out)?.into())
    }

    /// What Kafka makes of `entries`, in the same order.
    pub(crate) fn recode(&self, entries: &[Entry]) -> Result<Vec<Entry>> {
        let input = self.folder.path().join("from-here");
        let out = self.folder.path().join("by-kafka");
        fs::write(&input, entries::render(entries)?)?;
        self.run(&["recode".as_ref(), input.as_os_str(), out.as_os_str()])?;
        entries::parse(fs::read(out)?.into())
    }

    fn run(&self, args: &[&OsStr]) -> Result<()> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/OracleWire.java");
        let output = Command::new("java")
            .args(["-Dfile.encoding=UTF-8", "-Xshare:auto", "-XX:+UseSerialGC", "-cp"])
            .arg(self.jars.join("*"))
            .arg(program)
            .args(args)
            .output()
            .context("running java")?;
        if !output.status.success() {
            bail!("java: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

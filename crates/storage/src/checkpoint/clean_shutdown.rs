//! `.kafka_cleanshutdown`: present only while no broker runs on the directory and the last one closed every log. It
//! carries the broker epoch of that run (KIP-966, `CleanShutdownFileHandler`).

use std::path::Path;

use crate::disk::{Disk, read_whole, write_atomic};
use crate::error::{At, Result};

const NAME: &str = ".kafka_cleanshutdown";

/// The mark of a clean shutdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanShutdown {
    /// Broker epoch of the run that ended; `None` if the file says nothing (older versions).
    pub broker_epoch: Option<i64>,
}

impl CleanShutdown {
    /// Reads the mark; `None` if the last run did not end cleanly.
    ///
    /// # Errors
    /// IO.
    pub fn read<D: Disk>(disk: &D, log_dir: &Path) -> Result<Option<CleanShutdown>> {
        let path = log_dir.join(NAME);
        let Some(contents) = read_whole(disk, &path).at("read", &path)? else { return Ok(None) };
        let value: serde_json::Value = serde_json::from_slice(&contents).unwrap_or_default();
        Ok(Some(CleanShutdown { broker_epoch: value.get("brokerEpoch").and_then(serde_json::Value::as_i64) }))
    }

    /// Leaves the mark durably, after every log was closed.
    ///
    /// # Errors
    /// IO.
    pub fn write<D: Disk>(disk: &D, log_dir: &Path, broker_epoch: i64) -> Result<()> {
        let path = log_dir.join(NAME);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        write_atomic(disk, &path, text.as_bytes()).at("write", &path)
    }

    /// Removes the mark durably, before anything is written to a log.
    ///
    /// # Errors
    /// IO.
    pub fn remove<D: Disk>(disk: &D, log_dir: &Path) -> Result<()> {
        let path = log_dir.join(NAME);
        if disk.metadata(&path).at("look at", &path)?.is_none() {
            return Ok(());
        }
        disk.remove(&path).at("remove", &path)?;
        disk.sync_directory(log_dir).at("sync", log_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn the_mark_carries_the_broker_epoch_and_can_be_removed() {
        let disk = SimulatedDisk::new(1);
        let root = Path::new("/");
        assert_eq!(CleanShutdown::read(&disk, root).unwrap(), None);
        CleanShutdown::write(&disk, root, 42).unwrap();
        let bytes = read_whole(&disk, &root.join(NAME)).unwrap().unwrap();
        assert_eq!(bytes, br#"{"version":0,"brokerEpoch":42}"#);
        assert_eq!(CleanShutdown::read(&disk, root).unwrap(), Some(CleanShutdown { broker_epoch: Some(42) }));
        CleanShutdown::remove(&disk, root).unwrap();
        assert_eq!(CleanShutdown::read(&disk, root).unwrap(), None);
    }
}

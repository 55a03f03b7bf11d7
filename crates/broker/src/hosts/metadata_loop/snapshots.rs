//! Snapshots of the committed metadata (class `SnapshotGenerator`) and removal of what they replace.

use milena_raft::{OffsetAndEpoch, SnapshotBuilder};
use milena_storage::Result;
use milena_storage::disk::Disk;
use milena_types::Timestamp;

use super::MetadataLoop;

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn snapshot_if_due(&mut self, now: Timestamp) -> Result<()> {
        let due = self.snapshots.is_due(self.replayer.bytes_since_snapshot, now.0 - self.last_snapshot.0);
        if !due || self.replayer.image.is_in_transaction() {
            return Ok(());
        }
        let id = OffsetAndEpoch { offset: self.replayer.next_offset, epoch: self.replayer.image.epoch };
        self.write_snapshot(id, now)?;
        self.last_snapshot = now;
        self.replayer.bytes_since_snapshot = 0;
        self.quorum.on_snapshot_written(id);
        let (start, oldest) = self.log.clean(now)?;
        self.quorum.on_log_cleaned(start, oldest);
        Ok(())
    }

    fn write_snapshot(&mut self, id: OffsetAndEpoch, now: Timestamp) -> Result<()> {
        let failed = |error: milena_raft::CodecError| milena_storage::Error::Corrupt {
            path: "snapshot".into(),
            position: 0,
            reason: error.to_string(),
        };
        let kraft = self.quorum.kraft();
        let (mut builder, first) =
            SnapshotBuilder::new(id, kraft, self.replayer.last_timestamp, now).map_err(failed)?;
        let mut writer = self.log.begin_snapshot(id)?;
        writer.append(&first)?;
        for (record, version) in self.replayer.image.records() {
            if let Some(piece) = builder.push(record.encode(version)).map_err(failed)? {
                writer.append(&piece)?;
            }
        }
        for piece in builder.finish().map_err(failed)? {
            writer.append(&piece)?;
        }
        writer.seal()?;
        self.log.note_snapshot(id);
        tracing::info!(end_offset = id.offset.0, epoch = id.epoch.0, "metadata snapshot written");
        Ok(())
    }
}

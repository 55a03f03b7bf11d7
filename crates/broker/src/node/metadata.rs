//! What the metadata thread of a node is made of, and how its news reach the broker.

use std::sync::Arc;

use arc_swap::ArcSwap;
use milena_metadata::{Delta, Image};
use milena_raft::{KRaftState, SnapshotPolicy, VoterSet};
use milena_storage::FileCache;
use milena_storage::disk::RealDisk;
use milena_types::{Timestamp, Uuid};

use super::{NodeError, bootstrap};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::format::{Formatted, random_uuid};
use crate::hosts::{
    BesideThread, LeaderWatch, MetadataHandle, MetadataListener, MetadataLog, MetadataOffset, MetadataParts, RaftSender,
};
use crate::metrics::ControllerView;

/// Hands committed metadata to the broker.
pub(super) struct Publisher {
    pub(super) broker: Option<Arc<Broker>>,
    /// The newest image, for who looks at it from outside.
    pub(super) image: Arc<ArcSwap<Image>>,
    pub(super) offset: MetadataOffset,
    pub(super) is_first: bool,
}

impl Publisher {
    /// The publisher, and where the controller can be looked at.
    pub(super) fn new(
        broker: Option<Arc<Broker>>,
        leader: LeaderWatch,
        offset: &MetadataOffset,
    ) -> (Self, ControllerView) {
        let view = ControllerView { image: Arc::default(), leader };
        (Self { broker, image: Arc::clone(&view.image), offset: offset.clone(), is_first: true }, view)
    }
}

impl MetadataListener for Publisher {
    fn publish(&mut self, image: &Arc<Image>, delta: &Delta) {
        if let Some(broker) = &self.broker {
            broker.apply(Arc::clone(image), (!self.is_first).then_some(delta));
        }
        self.image.store(Arc::clone(image));
        self.is_first = false;
        self.offset.set(image.offset.0);
    }

    fn kraft_version(&mut self, level: i16) {
        if let Some(broker) = &self.broker {
            broker.set_kraft_version(level);
        }
    }

    fn caught_up(&mut self, as_of: Timestamp) {
        if let Some(broker) = &self.broker {
            broker.lease().note_caught_up(as_of);
        }
    }
}

pub(super) fn metadata_parts(
    config: &ServerConfig,
    formatted: &Formatted,
    files: &Arc<FileCache<RealDisk>>,
    clock: Clock,
    publisher: Publisher,
    sender: Box<dyn RaftSender>,
    metadata: &MetadataHandle,
) -> Result<MetadataParts<RealDisk>, NodeError> {
    let directory = &formatted.metadata_log_dir.path;
    let log = MetadataLog::open(files, directory, &config.metadata_log, clock.now())?;
    let listener_name = config.listeners.controller_listener_names.first().cloned().unwrap_or_default();
    let voters = bootstrap::static_voters(config, &listener_name);
    let seed = seed()?;
    Ok(MetadataParts {
        log,
        quorum: config.quorum_config(formatted, seed),
        kraft: KRaftState { kraft_version: 0, voters, voters_offset: None },
        controller: config.node.is_controller.then(|| config.controller_settings(formatted, &VoterSet::default())),
        own_broker: config.node.is_broker.then_some(config.node.node_id),
        bootstrap: bootstrap::read(directory)?,
        listener: Box::new(publisher),
        sender,
        beside: Box::new(BesideThread::new(metadata)),
        clock,
        snapshots: SnapshotPolicy {
            max_bytes: u64::try_from(config.metadata_log.max_record_bytes_between_snapshots).unwrap_or(u64::MAX),
            max_interval_ms: config.metadata_log.max_snapshot_interval_ms,
        },
        cluster_id: formatted.cluster_id.clone(),
        listener_name,
        random_seed: seed.rotate_left(17),
        ended: None,
    })
}

pub(super) fn seed() -> Result<u64, NodeError> {
    let Uuid(bytes) = random_uuid().map_err(NodeError::Format)?;
    Ok(bytes.first_chunk().map_or(1, |bytes| u64::from_le_bytes(*bytes)))
}

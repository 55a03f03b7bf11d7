//! What a controller knows of the cluster. Kafka: `QuorumControllerMetrics`, `ControllerMetadataMetrics`.

use super::names;
use crate::hosts::{ActiveController, LeaderWatch};
use arc_swap::ArcSwap;
use milena_metadata::Image;
use milena_metrics::Page;
use milena_types::BrokerId;
use std::fmt;
use std::sync::Arc;

/// A controller's image, and who is active.
#[derive(Clone)]
pub(crate) struct ControllerView {
    pub(crate) image: Arc<ArcSwap<Image>>,
    pub(crate) leader: LeaderWatch,
}

pub(super) fn write(page: &mut Page<'_>, view: &ControllerView) -> fmt::Result {
    let is_active = *view.leader.borrow() == Some(ActiveController::Here);
    let image = view.image.load_full();
    let fenced = image.cluster.brokers.values().filter(|broker| broker.is_fenced).count();
    let (mut topics, mut partitions, mut offline, mut not_preferred) = (0_usize, 0_usize, 0_usize, 0_usize);
    for topic in image.topics.iter() {
        topics += 1;
        for partition in &topic.partitions {
            partitions += 1;
            offline += usize::from(partition.leader == BrokerId::NONE);
            not_preferred += usize::from(partition.replicas.first() != Some(&partition.leader));
        }
    }
    page.number(&names::ACTIVE_CONTROLLER, is_active)?;
    page.number(&names::ACTIVE_BROKERS, image.cluster.brokers.len().saturating_sub(fenced))?;
    page.number(&names::FENCED_BROKERS, fenced)?;
    page.number(&names::GLOBAL_TOPICS, topics)?;
    page.number(&names::GLOBAL_PARTITIONS, partitions)?;
    page.number(&names::OFFLINE_PARTITIONS, offline)?;
    page.number(&names::NOT_PREFERRED, not_preferred)?;
    page.number(&names::METADATA_OFFSET, image.offset.0)
}

//! What a controller that does not lead says to who asks it all the same. Apache Kafka's answers what asks nothing of the controller
//! (nothing at all, the same twice, what nobody may ask) and what is only read, from what is committed here; of everything
//! else it says who leads (classes `ControllerApis`, `QuorumController.ControllerWriteEvent`, `ControllerExceptions`).

use milena_controller::{Controller, reaches};
use milena_storage::disk::Disk;

use super::MetadataLoop;
use super::requests::{Turn, decide};
use crate::controller_handle::{ControllerRequest, ControllerResponse};

/// Told the answer, if there is one without leading, and otherwise why there is none.
pub(super) type ElsewhereDone = Box<dyn FnOnce(Option<ControllerResponse>, String) + Send>;

impl<D: Disk> MetadataLoop<D> {
    pub(super) fn handle_elsewhere(&mut self, request: ControllerRequest, done: ElsewhereDone) {
        let why = match self.quorum.leader_and_epoch().leader {
            Some(leader) => format!("The active controller appears to be node {}.", leader.0),
            None => "No controller appears to be active.".to_owned(),
        };
        done(self.without_leading(request), why);
    }

    fn without_leading(&mut self, request: ControllerRequest) -> Option<ControllerResponse> {
        if is_for_leader(&request) {
            return None;
        }
        let mut controller = Controller::new(self.settings.clone()?, self.replayer.image.clone());
        let now = self.uptime();
        let turn =
            Turn { next_offset: self.replayer.next_offset, now, kraft_version: self.quorum.kraft().kraft_version };
        let decision = decide(&mut controller, request, turn, &mut self.random);
        // Of topics to delete it depends on the image whether any is there.
        decision.records.is_empty().then_some(decision.response)
    }
}

/// Whether it asks something that only the active controller can say or do.
fn is_for_leader(request: &ControllerRequest) -> bool {
    use ControllerRequest as Ask;
    match request {
        Ask::CreateTopics(request) => reaches::creations(request),
        Ask::CreatePartitions(request) => reaches::additions(request),
        Ask::AlterConfigs(request) => reaches::replacements(request),
        Ask::IncrementalAlterConfigs(request) => reaches::changes(request),
        Ask::ElectLeaders(request) => !request.topic_partitions.as_ref().is_some_and(Vec::is_empty),
        Ask::AlterPartitionReassignments(request) => !request.topics.is_empty(),
        Ask::AlterPartition(request) => !request.topics.is_empty(),
        Ask::DeleteTopics(_) | Ask::ListPartitionReassignments(_) => false,
        _ => true,
    }
}

//! A broker leads nothing before the image has the registration of this process. Until then the controller takes it for the
//! process before, which may have asked for replicas in the ISR that this one knows nothing of. Kafka's waits with the first
//! image (`BrokerLifecycleManager.initialCatchUpFuture`).

use milena_metadata::Image;
use milena_types::{BrokerId, Uuid};

/// How far this process has come.
#[derive(Debug)]
pub(crate) struct Registration {
    node_id: BrokerId,
    /// `None` once the image has it, and for a broker that does not register.
    awaited: Option<Uuid>,
}

impl Registration {
    pub(crate) fn new(node_id: BrokerId, incarnation_id: Option<Uuid>) -> Registration {
        Registration { node_id, awaited: incarnation_id }
    }

    /// Whether `image` is the first one that has the registration.
    pub(crate) fn note(&mut self, image: &Image) -> bool {
        let registered = image.cluster.broker(self.node_id).map(|broker| broker.incarnation_id);
        self.awaited.take_if(|awaited| registered == Some(*awaited)).is_some()
    }

    /// This broker while it may not lead.
    pub(super) fn may_not_lead(&self) -> Option<BrokerId> {
        self.awaited.map(|_| self.node_id)
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::Delta;
    use milena_protocol::messages::{MetadataRecord, RegisterBrokerRecord};
    use milena_types::{LeaderEpoch, Offset};

    use super::*;

    #[test]
    fn who_does_not_register_leads_at_once() {
        assert_eq!(Registration::new(BrokerId(1), None).may_not_lead(), None);
    }

    #[test]
    fn an_image_without_the_registration_changes_nothing() {
        let mut registration = Registration::new(BrokerId(1), Some(Uuid::ONE));
        assert!(!registration.note(&Image::default()));
        assert_eq!(registration.may_not_lead(), Some(BrokerId(1)));
    }

    #[test]
    fn only_the_registration_of_this_process_lets_it_lead_and_only_once() {
        let mut registration = Registration::new(BrokerId(1), Some(Uuid([2; 16])));
        let with = |incarnation_id| {
            let record = RegisterBrokerRecord { broker_id: 1, incarnation_id, ..RegisterBrokerRecord::default() };
            let mut image = Image::default();
            let record = MetadataRecord::RegisterBroker(record);
            image.replay(&record, Offset(1), LeaderEpoch(1), &mut Delta::default()).unwrap();
            image
        };
        assert!(!registration.note(&with(Uuid::ONE)));
        assert!(registration.note(&with(Uuid([2; 16]))));
        assert_eq!(registration.may_not_lead(), None);
        assert!(!registration.note(&with(Uuid([2; 16]))));
    }
}

//! The replica that a consumer is sent to (KIP-392): what the image knows of racks and listeners, for the core's choice.

use super::partition::Inner;
use crate::broker::Broker;
use milena_protocol::Text;
use milena_types::{BrokerId, Offset};

/// The replica in the consumer's rack that it is sent to, if there is one that clients of its listener can reach.
pub(super) fn nearer_replica(
    broker: &Broker,
    inner: &Inner,
    (listener, rack): (&str, &Text),
    from: Offset,
) -> Option<BrokerId> {
    let image = broker.image();
    let is_near = |id: BrokerId| {
        let registration = image.cluster.broker(id).filter(|broker| !broker.is_fenced);
        registration.is_some_and(|it| it.rack.as_ref() == Some(rack) && it.endpoint(listener).is_some())
    };
    inner.state.read_replica(from, broker.steady(), is_near)
}

//! What a node tells the cluster about itself: as a controller here, as a broker in `BrokerLifecycle`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::Text;
use milena_protocol::messages::controller_registration_request::{Feature, Listener};
use milena_protocol::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};
use milena_types::ErrorCode;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::NodeError;
use super::listeners::with_bound_ports;
use crate::config::ServerConfig;
use crate::controller_handle::{ControllerHandle, ForController};
use crate::format::random_uuid;

/// Between two tries to register.
const RETRY: Duration = Duration::from_millis(100);

/// Tells the cluster where this controller listens and what it can do; every start is a new incarnation. The request is
/// on its way when this returns; the task repeats it until a leader has taken it (`ControllerRegistrationManager`).
pub(super) fn register_controller(
    config: &ServerConfig,
    addresses: &[(String, SocketAddr)],
    handle: &Arc<dyn ControllerHandle>,
) -> Result<JoinHandle<()>, NodeError> {
    let feature = |(name, min, max): (&'static str, i16, i16)| Feature {
        name: Text::from_static(name),
        min_supported_version: min,
        max_supported_version: max,
        ..Feature::default()
    };
    let endpoints = with_bound_ports(config.advertised_controller_listeners(), addresses);
    let request = ControllerRegistrationRequest {
        controller_id: config.node.node_id.0,
        incarnation_id: random_uuid().map_err(NodeError::Format)?,
        listeners: endpoints.iter().map(Listener::from).collect(),
        features: milena_metadata::supported_features().map(feature).collect(),
        ..ControllerRegistrationRequest::default()
    };
    let mut asked = begin(&**handle, request.clone());
    let handle = Arc::clone(handle);
    Ok(tokio::spawn(async move {
        loop {
            match asked.await.unwrap_or(Err(ErrorCode::NOT_CONTROLLER)) {
                Ok(response) if response.error_code == 0 => return,
                // Clusters of before KIP-919 do not register controllers.
                Ok(response) if ErrorCode(response.error_code) == ErrorCode::UNSUPPORTED_VERSION => return,
                Ok(response) => {
                    let error = ErrorCode(response.error_code);
                    tracing::warn!(%error, "the active controller did not register this controller");
                }
                Err(error) => tracing::debug!(%error, "no controller took the registration of this one yet"),
            }
            tokio::time::sleep(RETRY).await;
            asked = begin(&*handle, request.clone());
        }
    }))
}

/// Hands the request over at once.
fn begin(
    handle: &dyn ControllerHandle,
    request: ControllerRegistrationRequest,
) -> oneshot::Receiver<Result<ControllerRegistrationResponse, ErrorCode>> {
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |answer: Result<crate::ControllerResponse, ErrorCode>| {
        let answer = answer.and_then(|response| {
            ControllerRegistrationRequest::from_response(response).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)
        });
        // Whoever asked may be gone.
        let _ = sender.send(answer);
    });
    handle.submit(request.into_request(), done);
    receiver
}

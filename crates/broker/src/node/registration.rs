//! What a node tells the cluster about itself: as a controller here, as a broker in `BrokerLifecycle`.

use std::net::SocketAddr;

use milena_protocol::Text;
use milena_protocol::messages::ControllerRegistrationRequest;
use milena_protocol::messages::controller_registration_request::{Feature, Listener};
use milena_types::ErrorCode;

use super::NodeError;
use super::listeners::with_bound_ports;
use crate::config::{Endpoint, ServerConfig};
use crate::controller_handle::ControllerHandle;
use crate::format::random_uuid;
use crate::hosts::ask;

/// Tells the cluster where this controller listens and what it can do; every start is a new incarnation.
pub(super) async fn register_controller(
    config: &ServerConfig,
    addresses: &[(String, SocketAddr)],
    handle: &dyn ControllerHandle,
) -> Result<(), NodeError> {
    let listener = |endpoint: Endpoint| Listener {
        name: Text::from(endpoint.name.as_str()),
        host: Text::from(endpoint.host.as_str()),
        port: endpoint.port,
        security_protocol: endpoint.protocol.code(),
        ..Listener::default()
    };
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
        listeners: endpoints.into_iter().map(listener).collect(),
        features: milena_metadata::supported_features().map(feature).collect(),
        ..ControllerRegistrationRequest::default()
    };
    match ask(handle, request).await {
        Ok(response) if response.error_code == 0 => Ok(()),
        // Clusters of before KIP-919 do not register controllers.
        Ok(response) if ErrorCode(response.error_code) == ErrorCode::UNSUPPORTED_VERSION => Ok(()),
        Ok(response) => Err(NodeError::ControllerRegistration(ErrorCode(response.error_code))),
        Err(error) => Err(NodeError::ControllerRegistration(error)),
    }
}

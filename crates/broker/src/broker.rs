//! What every handler may use: settings, the way to the controller, the clock.

use crate::clock::Clock;
use crate::controller_handle::{ControllerHandle, ForController};
use crate::settings::BrokerSettings;
use milena_types::{ErrorCode, Timestamp};
use std::sync::Arc;

/// What a broker is made of.
pub struct BrokerParts {
    pub settings: BrokerSettings,
    pub clock: Clock,
    pub controller: Arc<dyn ControllerHandle>,
}

/// One broker.
pub struct Broker {
    pub settings: BrokerSettings,
    clock: Clock,
    controller: Arc<dyn ControllerHandle>,
}

impl Broker {
    /// A broker that serves nothing yet.
    #[must_use]
    pub fn new(parts: BrokerParts) -> Arc<Self> {
        let BrokerParts { settings, clock, controller } = parts;
        Arc::new(Self { settings, clock, controller })
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks the controller; `done` gets its answer, or the reason why there is none, from any thread.
    pub fn submit<R: ForController>(
        &self,
        request: R,
        done: impl FnOnce(Result<R::Response, ErrorCode>) + Send + 'static,
    ) {
        let done = Box::new(move |result: Result<crate::ControllerResponse, ErrorCode>| {
            // Another request's answer would be a mistake of the handle.
            done(result.and_then(|response| R::from_response(response).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)));
        });
        self.controller.submit(request.into_request(), done);
    }
}

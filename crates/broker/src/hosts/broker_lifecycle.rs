//! A broker's life in the cluster (class `BrokerLifecycleManager`): it registers, is unfenced once it has the metadata of
//! its own registration, sends heartbeats, and leaves in a controlled way. Nothing here waits for a timer while the
//! controller answers: a broker beside its controller is unfenced as fast as the disk syncs.
//!
//! What a process of this broker that is dead by now once sent may reach the controller after the registration of this one
//! and displace it. Kafka's broker stays fenced then until it is restarted; this one registers again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use milena_metadata::supported_features;
use milena_protocol::Text;
use milena_protocol::messages::broker_registration_request::{Feature, Listener};
use milena_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use milena_replication::Blessing;
use milena_types::{BrokerId, ErrorCode, Uuid};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::config::Endpoint;
use crate::controller_handle::{ControllerHandle, ForController};
use crate::log_dirs::LogDirs;

/// Between two tries while the controller does not answer (`RESEND_EXPONENTIAL_BACKOFF` begins at it).
const RETRY: Duration = Duration::from_millis(100);
/// From a registration to the heartbeat that unfences: so long the metadata may need to get here.
const SOON: Duration = Duration::from_millis(100);
/// How long writes wait until all before them are committed, and as long until others lead.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Who registers.
#[derive(Clone, Debug)]
pub struct BrokerIdentity {
    pub id: BrokerId,
    pub cluster_id: String,
    /// Different at every start.
    pub incarnation_id: Uuid,
    /// As advertised.
    pub listeners: Vec<Endpoint>,
    pub rack: Option<String>,
    /// The epoch of the last clean shutdown; -1 if the last one was not clean (KIP-966).
    pub previous_broker_epoch: i64,
}

/// Times of a broker's life.
#[derive(Clone, Copy, Debug)]
pub struct LifecycleTimes {
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat: Duration,
    /// `initial.broker.registration.timeout.ms`.
    pub registration: Duration,
    /// `log.dir.failure.timeout.ms`: how long the controller may not know of a failed log directory.
    pub log_dir_failure: Duration,
}

/// How far the broker has published metadata, shared with whoever publishes. -1 before the first.
#[derive(Clone, Debug)]
pub struct MetadataOffset(Arc<AtomicI64>);

impl Default for MetadataOffset {
    fn default() -> Self {
        MetadataOffset(Arc::new(AtomicI64::new(-1)))
    }
}

impl MetadataOffset {
    /// Everything up to and including `offset` is published.
    pub fn set(&self, offset: i64) {
        self.0.store(offset, Ordering::Release);
    }

    /// The last offset published.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Why a broker could not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The controller will never accept this registration.
    #[error("the controller refused to register this broker: {0}")]
    Refused(ErrorCode),
    /// Nobody accepted it in time.
    #[error("no controller registered this broker within {0:?}")]
    TimedOut(Duration),
}

/// A registered broker.
pub struct BrokerLifecycle {
    identity: BrokerIdentity,
    times: LifecycleTimes,
    controller: Arc<dyn ControllerHandle>,
    offset: MetadataOffset,
    /// Whose registration it is, whose epoch, and whose log directories the controller is told of.
    broker: Arc<Broker>,
}

impl std::fmt::Debug for BrokerLifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerLifecycle")
            .field("identity", &self.identity)
            .field("epoch", &self.broker.epoch())
            .finish()
    }
}

impl BrokerLifecycle {
    /// Registers and returns when the registration is committed; the broker knows its epoch then.
    ///
    /// # Errors
    /// The controller refuses for good, or none answers within `initial.broker.registration.timeout.ms`.
    pub async fn register(
        identity: BrokerIdentity,
        times: LifecycleTimes,
        controller: Arc<dyn ControllerHandle>,
        offset: MetadataOffset,
        broker: Arc<Broker>,
    ) -> Result<BrokerLifecycle, JoinError> {
        let request = registration(&identity, broker.log_dirs());
        let registered =
            tokio::time::timeout(times.registration, register_until_accepted(&*controller, &request)).await;
        let response = registered.map_err(|_| JoinError::TimedOut(times.registration))??;
        broker.set_epoch(response.broker_epoch);
        Ok(BrokerLifecycle { identity, times, controller, offset, broker })
    }

    /// Sends heartbeats until the controller has unfenced this broker.
    pub async fn unfence(&self) {
        loop {
            match self.heartbeat(false).await {
                Ok(response) if response.error_code == 0 && !response.is_fenced => return,
                Ok(response) if response.error_code == 0 => tokio::time::sleep(Duration::from_millis(10)).await,
                Ok(response) if self.on_refused(ErrorCode(response.error_code)).await => {}
                _ => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// The controller refused a heartbeat. Whether this broker is registered anew.
    async fn on_refused(&self, error: ErrorCode) -> bool {
        tracing::warn!(%error, "the controller refused a heartbeat");
        let displaced = self.broker.image().cluster.is_displaced(self.identity.id, self.broker.epoch());
        if error != ErrorCode::STALE_BROKER_EPOCH || !displaced {
            return false;
        }
        // What the controller has taken away from the other one was this one's: it begins as after an unclean end.
        let request = BrokerRegistrationRequest {
            previous_broker_epoch: -1,
            ..registration(&self.identity, self.broker.log_dirs())
        };
        match ask(&*self.controller, request).await {
            Ok(response) if response.error_code == 0 => {
                self.broker.set_epoch(response.broker_epoch);
                tracing::warn!(epoch = response.broker_epoch, "another process of this broker had displaced this one");
                true
            }
            Ok(response) => {
                let error = ErrorCode(response.error_code);
                tracing::warn!(%error, "another process has the registration of this broker");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "no controller took the registration");
                false
            }
        }
    }

    /// Sends a heartbeat every interval until `stop` says so; then asks to leave and returns when the controller lets
    /// it, or after `patience`.
    pub async fn run(self, mut stop: watch::Receiver<bool>, patience: Duration) {
        let mut interval = tokio::time::interval(self.times.heartbeat);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut news = self.broker.log_dirs().news();
        // The failed directories the controller knows of, and since when there is one it does not.
        let (mut told, mut untold_since) = (0, None);
        let (mut has_lease, begin) = (true, Instant::now());
        while !*stop.borrow() {
            tokio::select! {
                _ = interval.tick() => {}
                _ = news.changed() => {}
                changed = stop.changed() => if changed.is_err() { break } else { continue },
            }
            let failed = news.borrow_and_update().offline.len();
            let since = *untold_since.get_or_insert_with(Instant::now);
            match self.heartbeat(false).await {
                Ok(response) if response.error_code != 0 => {
                    if self.on_refused(ErrorCode(response.error_code)).await {
                        interval.reset_after(SOON);
                    }
                }
                Ok(_) => told = failed,
                Err(error) => tracing::warn!(%error, "no controller took a heartbeat"),
            }
            // The first lease takes two heartbeats: metadata has to be as new as the answer to one.
            if begin.elapsed() >= self.times.heartbeat * 2 {
                self.tell_of_lease(&mut has_lease);
            }
            if told == failed {
                untold_since = None;
            } else if since.elapsed() >= self.times.log_dir_failure {
                tracing::error!("no controller could be told in time that a log directory failed");
                self.broker.log_dirs().give_up();
            }
        }
        if tokio::time::timeout(patience, self.leave()).await.is_err() {
            tracing::warn!("the controller did not move this broker's leaderships in time");
        }
        self.broker.end_write_pause();
    }

    fn tell_of_lease(&self, had: &mut bool) {
        let has = self.broker.lease().is_held(self.broker.steady());
        match (std::mem::replace(had, has), has) {
            (true, false) => tracing::warn!("no controller has answered for long: leaders here refuse acks=1"),
            (false, true) => tracing::info!("the controller answers: leaders here take acks=1 again"),
            _ => {}
        }
    }

    /// Asks to leave until the controller lets it. Writes wait meanwhile, but not for long.
    async fn leave(&self) {
        let partitions = &self.broker.partitions;
        if !partitions.leads_what_others_may() {
            return self.ask_to_leave().await;
        }
        partitions.write_pause.begin();
        within(PAUSE_MAX, || partitions.is_all_committed()).await;
        let moved = async {
            within(PAUSE_MAX, || !partitions.leads_what_others_may() && self.broker.is_settled()).await;
            self.broker.end_write_pause();
        };
        tokio::join!(self.ask_to_leave(), moved);
    }

    async fn ask_to_leave(&self) {
        loop {
            match self.heartbeat(true).await {
                Ok(response) if response.error_code == 0 && response.should_shut_down => return,
                // The controller goes away together with this broker, or knows it no more.
                Ok(response) if response.error_code != 0 => return,
                Err(ErrorCode::NOT_CONTROLLER) => return,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn heartbeat(&self, want_shut_down: bool) -> Result<BrokerHeartbeatResponse, ErrorCode> {
        let news = self.broker.log_dirs().news().borrow().clone();
        let sent = self.broker.steady();
        let request = BrokerHeartbeatRequest {
            broker_id: self.identity.id.0,
            broker_epoch: self.broker.epoch(),
            current_metadata_offset: self.offset.get(),
            want_fence: false,
            want_shut_down,
            offline_log_dirs: news.offline,
            cordoned_log_dirs: news.cordoned,
            ..BrokerHeartbeatRequest::default()
        };
        let response = ask(&*self.controller, request).await?;
        if response.error_code == 0 && !response.is_fenced {
            self.broker.lease().renew(Blessing { sent, answered: self.broker.steady() });
        }
        Ok(response)
    }
}

/// Returns when it is so, or after `limit`.
async fn within(limit: Duration, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(limit, wait).await;
}

async fn register_until_accepted(
    controller: &dyn ControllerHandle,
    request: &BrokerRegistrationRequest,
) -> Result<BrokerRegistrationResponse, JoinError> {
    loop {
        match ask(controller, request.clone()).await {
            Ok(response) => match ErrorCode(response.error_code) {
                ErrorCode::NONE => return Ok(response),
                // The last incarnation's session may still be running: it expires.
                ErrorCode::DUPLICATE_BROKER_REGISTRATION | ErrorCode::NOT_CONTROLLER => {}
                error @ (ErrorCode::INCONSISTENT_CLUSTER_ID
                | ErrorCode::UNSUPPORTED_VERSION
                | ErrorCode::INVALID_REGISTRATION
                | ErrorCode::INVALID_REQUEST) => return Err(JoinError::Refused(error)),
                error => tracing::warn!(%error, "the controller did not register this broker yet"),
            },
            Err(error) => tracing::debug!(%error, "no controller took the registration yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Asks the controller and waits.
pub(crate) async fn ask<R: ForController>(
    controller: &dyn ControllerHandle,
    request: R,
) -> Result<R::Response, ErrorCode>
where
    R::Response: Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |result: Result<crate::ControllerResponse, ErrorCode>| {
        let _ = sender.send(result);
    });
    controller.submit(request.into_request(), done);
    let response = receiver.await.unwrap_or(Err(ErrorCode::NOT_CONTROLLER))?;
    R::from_response(response).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)
}

fn registration(identity: &BrokerIdentity, log_dirs: &LogDirs) -> BrokerRegistrationRequest {
    let feature = |(name, min, max): (&'static str, i16, i16)| Feature {
        name: Text::from_static(name),
        min_supported_version: min,
        max_supported_version: max,
        ..Feature::default()
    };
    BrokerRegistrationRequest {
        broker_id: identity.id.0,
        cluster_id: Text::from(identity.cluster_id.as_str()),
        incarnation_id: identity.incarnation_id,
        listeners: identity.listeners.iter().map(Listener::from).collect(),
        features: supported_features().map(feature).collect(),
        rack: identity.rack.as_deref().map(Text::from),
        log_dirs: log_dirs.online().map(|directory| directory.id()).collect(),
        previous_broker_epoch: identity.previous_broker_epoch,
        ..BrokerRegistrationRequest::default()
    }
}

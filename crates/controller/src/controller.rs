//! `Controller`: the state every manager reads, and the only place where it changes (`QuorumController`).
//!
//! Every request is decided by a `decide_*` method, which reads the state and returns records and a response; only
//! `replay` changes replicated state. The host of the active controller, in this order: decides, appends the records,
//! replays them here at their offsets, and answers when they are committed. The image in here is thus ahead of what is
//! committed; `image()` clones cheaply, so the host can keep one per append and publish it on commit. On loss of
//! leadership the host throws this away and makes a new one from the committed image.
//!
//! Soft state, kept only by the active controller and lost with it, are the brokers' sessions. Time is a duration since
//! any fixed moment, the same for all calls.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_metadata::{ConfigResource, Delta, Image, ReplayError};
use milena_protocol::Text;
use milena_protocol::messages::MetadataRecord;
use milena_types::{BrokerId, LeaderEpoch, Offset};

use crate::config_rules::ConfigRules;
use crate::elect_leaders::ElectionRounds;
use crate::session::Sessions;
use crate::suspicions::Suspicions;

/// What the controller is told once.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// `cluster.id` of `meta.properties`.
    pub cluster_id: Text,
    /// `node.id` of this controller.
    pub node_id: BrokerId,
    /// The voters of the quorum; a feature is raised only when all of them registered.
    pub voters: Vec<BrokerId>,
    /// `num.partitions`.
    pub default_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `broker.session.timeout.ms`: a broker that is silent for longer is fenced.
    pub session_timeout: Duration,
    /// The broker keys that are set in `server.properties`.
    pub static_configs: BTreeMap<String, String>,
}

/// The controller's core.
#[derive(Clone, Debug)]
pub struct Controller {
    pub(crate) settings: ControllerSettings,
    pub(crate) image: Image,
    pub(crate) sessions: Sessions,
    pub(crate) suspicions: Suspicions,
    pub(crate) election_rounds: ElectionRounds,
    /// A metadata transaction begun by another controller and not ended.
    open_transaction: bool,
}

impl Controller {
    /// A controller whose log ends where `image` does. It is not active.
    #[must_use]
    pub fn new(settings: ControllerSettings, image: Image) -> Controller {
        let sessions = Sessions::new(settings.session_timeout);
        let open_transaction = image.is_in_transaction();
        let election_rounds = ElectionRounds::new(&settings, Duration::ZERO);
        let suspicions = Suspicions::default();
        Controller { settings, image, sessions, suspicions, election_rounds, open_transaction }
    }

    /// The state with everything that was replayed, committed or not.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What the controller was told at its making.
    #[must_use]
    pub fn settings(&self) -> &ControllerSettings {
        &self.settings
    }

    /// Starts a session of each registered broker: this controller leads from now on.
    pub fn activate(&mut self, now: Duration) {
        self.sessions = Sessions::new(self.settings.session_timeout);
        self.election_rounds = ElectionRounds::new(&self.settings, now);
        for broker in self.image.cluster.brokers.values() {
            self.sessions.register(broker.id, broker.is_fenced, now);
        }
        self.look_at_all(now);
    }

    /// Applies a record at its place in the log, and notes in `delta` what changed.
    ///
    /// # Errors
    /// When the record cannot follow the state: the log is corrupt.
    pub fn replay(
        &mut self,
        record: &MetadataRecord,
        offset: Offset,
        epoch: LeaderEpoch,
        delta: &mut Delta,
    ) -> Result<(), ReplayError> {
        self.image.replay(record, offset, epoch, delta)?;
        self.open_transaction = self.image.is_in_transaction();
        match record {
            MetadataRecord::UnregisterBroker(record) => self.sessions.remove(BrokerId(record.broker_id)),
            MetadataRecord::BrokerRegistrationChange(record) if record.fenced > 0 => {
                self.sessions.fence(BrokerId(record.broker_id));
            }
            MetadataRecord::FenceBroker(record) => self.sessions.fence(BrokerId(record.id)),
            _ => {}
        }
        Ok(())
    }

    /// The rules for configs at this moment.
    pub(crate) fn config_rules(&self) -> ConfigRules<'_> {
        let node = ConfigResource { kind: ConfigResource::BROKER, name: Text::from(self.settings.node_id.to_string()) };
        ConfigRules {
            static_configs: &self.settings.static_configs,
            cluster_configs: self.image.configs.get(&ConfigResource::all_brokers()).map(AsRef::as_ref),
            node_configs: self.image.configs.get(&node).map(AsRef::as_ref),
        }
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        self.open_transaction
    }
}

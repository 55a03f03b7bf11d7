//! `GroupCoordinators`: which coordinator has which group, and what becomes of coordinators when the cluster changes.

use crate::broker::Broker;
use crate::hosts::coordinators::{self, Done, Host, Hosted, Led, RuntimeCells};
use crate::partitions::Partition;
use crate::settings::BrokerSettings;
use milena_coordinator::group::{Caller, GroupCounts, GroupEvent, GroupMachine, GroupRequest, MemberMemory};
use milena_coordinator::runtime::{RuntimeConfig, Ticket};
use milena_metadata::{Delta, Image};
use milena_protocol::Text;
use milena_types::{ErrorCode, TopicId};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

/// The topic of groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Gets the answer, from any thread.
pub(crate) type GroupDone = Done<GroupMachine>;

impl Hosted for GroupMachine {
    const TOPIC: &'static str = OFFSETS_TOPIC;
    const SUBJECT: &'static str = "groups";
    type Request = (Caller, Box<GroupRequest>);
    type Action = Infallible;

    fn asked(ticket: Ticket, (caller, request): Self::Request) -> GroupEvent {
        GroupEvent::Request { ticket, caller, request: *request }
    }

    fn now_is(broker: &Broker) -> GroupEvent {
        GroupEvent::Image { image: Arc::clone(&broker.image()), deleted: Vec::new(), changed: Vec::new() }
    }

    fn take_actions(&mut self) -> Vec<Infallible> {
        Vec::new()
    }

    fn act(_broker: &Arc<Broker>, _host: &Arc<Host<Self>>, action: Infallible) {
        match action {}
    }

    fn load_buffer_bytes(settings: &BrokerSettings) -> u32 {
        settings.groups.offsets_load_buffer_size
    }

    fn cells(broker: &Broker) -> Option<&RuntimeCells> {
        broker.cells().map(|cells| &cells.groups)
    }

    fn partitions_if_new(settings: &BrokerSettings) -> i32 {
        settings.groups.offsets_topic_num_partitions
    }
}

/// Every group coordinator of this broker.
#[derive(Default)]
pub(crate) struct GroupCoordinators {
    pub(super) led: Led<GroupMachine>,
    /// What members of classic groups have said, everywhere here.
    memory: OnceLock<MemberMemory>,
    /// What happened to groups, everywhere here.
    pub(super) counts: GroupCounts,
}

impl GroupCoordinators {
    /// A request of one group; `done` gets its answer, now or later.
    pub(crate) fn submit(&self, broker: &Broker, caller: Caller, request: GroupRequest, done: GroupDone) {
        if let Some(reply) = request.check(&broker.settings.groups.config) {
            return done(reply);
        }
        let group = request.group_id().cloned().unwrap_or_default();
        self.submit_to(partition_of(broker, &group), caller, request, done);
    }

    /// A request of groups of one partition.
    pub(crate) fn submit_to(&self, partition: i32, caller: Caller, request: GroupRequest, done: GroupDone) {
        match self.led.on(partition) {
            Some(host) => host.request((caller, Box::new(request)), done),
            None => done(request.refused(ErrorCode::NOT_COORDINATOR)),
        }
    }

    /// Follows the leaderships of the groups' topic, and tells every coordinator what changed. The partitions have
    /// followed the image already, and it is the broker's.
    pub(crate) fn follow(&self, broker: &Arc<Broker>, image: &Arc<Image>, delta: Option<&Delta>) {
        self.led.follow(broker, (image, delta), |partition| self.begin(broker, image, partition));
        let Some(delta) = delta else { return };
        let is_of_interest =
            delta.has_topics() || delta.features || !delta.configs.is_empty() || !delta.brokers.is_empty();
        if !is_of_interest {
            return;
        }
        let deleted: Vec<(Text, TopicId)> =
            delta.deleted_topics.iter().map(|(id, topic)| (topic.name.clone(), *id)).collect();
        let changed: Vec<TopicId> = delta.changed_partitions.keys().copied().collect();
        for host in self.led.all() {
            let (image, deleted, changed) = (Arc::clone(image), deleted.clone(), changed.clone());
            host.event(GroupEvent::Image { image, deleted, changed });
        }
    }

    fn begin(&self, broker: &Broker, image: &Arc<Image>, partition: &Partition) -> (GroupMachine, RuntimeConfig) {
        let settings = &broker.settings.groups;
        let seed = crate::random::seed();
        let memory = self.memory.get_or_init(|| MemberMemory::new(settings.member_bytes_max));
        let machine = GroupMachine::new(Arc::clone(&settings.config), Arc::clone(image), seed);
        let machine = machine.sharing(memory.clone()).counting(self.counts.clone());
        let config = RuntimeConfig {
            max_batch_bytes: partition.max_batch_bytes(),
            append_linger_ms: settings.config.append_linger_ms,
            write_timeout_ms: settings.config.offsets_commit_timeout_ms,
            codec: settings.offsets_topic_codec,
        };
        (machine, config)
    }

    /// The broker stops: whoever waits is told to look elsewhere.
    pub(crate) fn stop(&self) {
        self.led.stop();
    }
}

/// The partition of the groups' topic that a group is on, whether the topic exists or not.
pub(crate) fn partition_of(broker: &Broker, group: &str) -> i32 {
    coordinators::partition_of::<GroupMachine>(broker, group)
}

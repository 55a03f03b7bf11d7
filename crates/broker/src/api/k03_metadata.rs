//! Metadata, versions 0 to 13: all topics, or those asked for by name or (from version 10) by id, and the brokers of the
//! client's own listener. Topics that do not exist are created through the controller when both sides allow it; as in
//! Kafka the answer does not wait for that, it says UNKNOWN_TOPIC_OR_PARTITION and the client asks again. Kafka:
//! `KafkaApis.handleTopicMetadataRequest`, `DefaultAutoTopicCreationManager`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use crate::describe::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS, ViewRules, reachable_brokers, view};
use crate::internal_topics::creatable;
use crate::partitions::is_internal;
use crate::topic_names;
use milena_metadata::{Image, Topic};
use milena_protocol::messages::metadata_request::MetadataRequestTopic;
use milena_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::{ErrorCode, Uuid};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::METADATA, lane: Lane::Inline, handle };

/// From here on a topic may be asked for by its id.
const TOPIC_IDS_FROM_VERSION: i16 = 12;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<MetadataRequest>() else { return Outcome::Close };
    let version = call.version();
    let listener = Arc::clone(&call.session.peer.listener);
    let broker = Arc::clone(call.broker);
    let image = broker.image();
    let mut response = MetadataResponse {
        cluster_id: Some(broker.settings.cluster_id.as_str().into()),
        brokers: reachable_brokers(&image, &listener)
            .map(|(registration, endpoint)| MetadataResponseBroker {
                node_id: registration.id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: registration.rack.clone(),
                ..Default::default()
            })
            .collect(),
        // Clients send what is for the controller here; it is passed on.
        controller_id: if image.cluster.is_active(broker.settings.node_id) { broker.settings.node_id.0 } else { -1 },
        ..Default::default()
    };
    let show = TopicView {
        image: &image,
        rules: ViewRules { listener: &listener, hide_unavailable: version == 0, tell_missing_listener: version >= 6 },
        operations: version >= 8 && request.include_topic_authorized_operations,
    };
    // Version 0 had no way to ask for none.
    let wants_all = request.topics.as_ref().is_none_or(|topics| version == 0 && topics.is_empty());
    if wants_all {
        response.topics = image.topics.iter().map(|topic| show.topic(topic)).collect();
    } else if let Some(asked) = &request.topics {
        match check(asked, version) {
            Ok(()) => response.topics = named(&broker, &show, asked, request.allow_auto_topic_creation || version < 4),
            Err(error) => response.topics = asked.iter().map(|topic| refused(topic, error)).collect(),
        }
    }
    if (8..=10).contains(&version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    call.answer(&response)
}

/// Before version 12 topics have names only.
fn check(asked: &[MetadataRequestTopic], version: i16) -> Result<(), ErrorCode> {
    let wrong = |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_zero();
    if version < TOPIC_IDS_FROM_VERSION && asked.iter().any(wrong) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    Ok(())
}

fn refused(topic: &MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.0,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    }
}

/// The topics asked for; ids win over names, as in Kafka.
fn named(
    broker: &Arc<Broker>,
    show: &TopicView<'_>,
    asked: &[MetadataRequestTopic],
    create: bool,
) -> Vec<MetadataResponseTopic> {
    if asked.iter().any(|topic| !topic.topic_id.is_zero()) {
        let answers = asked.iter().filter(|topic| !topic.topic_id.is_zero()).map(|topic| show.by_id(topic.topic_id));
        // Kafka tells first of the ids it does not know.
        let (mut answers, known): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.error_code != 0);
        answers.extend(known);
        return answers;
    }
    let create = create && broker.settings.auto_create_topics_enable;
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    let mut absent = Vec::new();
    let mut answers = Vec::with_capacity(asked.len());
    for name in asked.iter().filter_map(|topic| topic.name.as_ref()).filter(|name| seen.insert((*name).clone())) {
        match show.image.topics.named(name) {
            Some(topic) => answers.push(show.topic(topic)),
            None => {
                let is_valid = topic_names::is_valid(name);
                if create && is_valid {
                    missing.push(name.detached());
                }
                let error =
                    if is_valid { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { ErrorCode::INVALID_TOPIC_EXCEPTION };
                absent.push(show.absent(name, error));
            }
        }
    }
    answers.extend(absent);
    if !missing.is_empty() {
        broker.create_on_use(missing);
    }
    answers
}

/// How topics are shown to this client.
struct TopicView<'a> {
    image: &'a Image,
    rules: ViewRules<'a>,
    operations: bool,
}

impl TopicView<'_> {
    fn by_id(&self, id: Uuid) -> MetadataResponseTopic {
        match self.image.topics.get(id) {
            Some(topic) => self.topic(topic),
            None => MetadataResponseTopic {
                error_code: ErrorCode::UNKNOWN_TOPIC_ID.0,
                name: None,
                topic_id: id,
                ..Default::default()
            },
        }
    }

    /// What everyone may do is told of topics that are not there, too.
    fn absent(&self, name: &Text, error: ErrorCode) -> MetadataResponseTopic {
        let mut answer = MetadataResponseTopic {
            error_code: error.0,
            name: Some(name.clone()),
            is_internal: is_internal(name),
            ..Default::default()
        };
        if self.operations {
            answer.topic_authorized_operations = TOPIC_OPERATIONS;
        }
        answer
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let mut answer = MetadataResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions: Vec::with_capacity(topic.partitions.len()),
            ..Default::default()
        };
        if self.operations {
            answer.topic_authorized_operations = TOPIC_OPERATIONS;
        }
        for (index, partition) in topic.iter() {
            let seen = view(self.image, partition, self.rules);
            answer.partitions.push(MetadataResponsePartition {
                error_code: seen.error.0,
                partition_index: index.0,
                leader_id: seen.leader,
                leader_epoch: seen.leader_epoch,
                replica_nodes: seen.replicas,
                isr_nodes: seen.isr,
                offline_replicas: seen.offline,
                ..Default::default()
            });
        }
        answer
    }
}

impl Broker {
    /// Has the controller create topics with the broker's defaults; those already asked for are left out until the
    /// controller has answered.
    pub(crate) fn create_on_use(self: &Arc<Self>, names: Vec<Text>) {
        let mut creating = self.creating_topics();
        let names: Vec<Text> = names.into_iter().filter(|name| creating.insert(name.clone())).collect();
        drop(creating);
        if names.is_empty() {
            return;
        }
        let topics = names.iter().map(|name| creatable(&self.settings, name));
        let request =
            CreateTopicsRequest { topics: topics.collect(), timeout_ms: CREATE_TIMEOUT_MS, ..Default::default() };
        let broker = Arc::downgrade(self);
        self.submit(request, move |result| {
            let failures = result.iter().flat_map(|response| &response.topics).filter(|topic| topic.error_code != 0);
            for topic in failures {
                let error = ErrorCode(topic.error_code);
                tracing::info!(topic = %topic.name, %error, "a topic was not created on use");
            }
            if let Err(error) = &result {
                tracing::warn!(%error, "topics were not created on use: no controller");
            }
            if let Some(broker) = broker.upgrade() {
                let mut creating = broker.creating_topics();
                creating.retain(|name| !names.contains(name));
            }
        });
    }
}

/// How long the controller may take to create topics on use (`request.timeout.ms`).
const CREATE_TIMEOUT_MS: i32 = 30_000;

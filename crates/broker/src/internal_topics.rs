//! Kafka's own topics, made when they are first needed. Kafka: `DefaultAutoTopicCreationManager`.

use crate::hosts::{OFFSETS_TOPIC, TRANSACTION_TOPIC};
use crate::settings::BrokerSettings;
use milena_protocol::Text;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};

/// The topic as it is made on use: Kafka's own have settings of their own, others the broker's defaults.
pub(crate) fn creatable(settings: &BrokerSettings, name: &Text) -> CreatableTopic {
    if **name == *OFFSETS_TOPIC {
        let groups = &settings.groups;
        return CreatableTopic {
            name: name.clone(),
            num_partitions: groups.offsets_topic_num_partitions,
            replication_factor: groups.offsets_topic_replication_factor,
            configs: vec![
                config("cleanup.policy", "compact".to_owned()),
                config("compression.type", "producer".to_owned()),
                config("segment.bytes", groups.offsets_topic_segment_bytes.to_string()),
            ],
            ..Default::default()
        };
    }
    if **name == *TRANSACTION_TOPIC {
        let transactions = &settings.transactions;
        return CreatableTopic {
            name: name.clone(),
            num_partitions: transactions.state_log_num_partitions,
            replication_factor: transactions.state_log_replication_factor,
            configs: vec![
                config("unclean.leader.election.enable", "false".to_owned()),
                config("compression.type", "uncompressed".to_owned()),
                config("cleanup.policy", "compact".to_owned()),
                config("min.insync.replicas", transactions.state_log_min_isr.to_string()),
                config("segment.bytes", transactions.state_log_segment_bytes.to_string()),
            ],
            ..Default::default()
        };
    }
    CreatableTopic {
        name: name.clone(),
        num_partitions: settings.num_partitions,
        replication_factor: settings.default_replication_factor,
        ..Default::default()
    }
}

fn config(name: &'static str, value: String) -> CreatableTopicConfig {
    CreatableTopicConfig { name: Text::from_static(name), value: Some(value.into()), ..Default::default() }
}

//! Tells clients that asked the wrong broker where the leader is (KIP-951): `KafkaApis.getCurrentLeader`.

use crate::broker::Broker;
use milena_metadata::Endpoint;
use milena_protocol::messages::{ProduceResponse, fetch_response, produce_response};
use milena_replication::TopicKey;
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex};

impl Broker {
    /// The leader of a partition and its epoch, as the image has it.
    fn current_leader(&self, topic: &TopicKey, index: PartitionIndex) -> Option<(BrokerId, LeaderEpoch)> {
        let image = self.image();
        let topic = match topic {
            TopicKey::Id(id) => image.topics.get(*id)?,
            TopicKey::Name(name) => image.topics.named(std::str::from_utf8(name).ok()?)?,
        };
        topic.partition(index).map(|partition| (partition.leader, partition.leader_epoch))
    }

    /// Where a broker listens for clients of this `listener`.
    pub(crate) fn endpoint_of(
        &self,
        broker: BrokerId,
        listener: &str,
    ) -> Option<(Endpoint, Option<milena_protocol::Text>)> {
        let image = self.image();
        let registration = image.cluster.broker(broker).filter(|registration| !registration.is_fenced)?;
        Some((registration.endpoint(listener)?.clone(), registration.rack.clone()))
    }

    /// Fills in the leaders of partitions that are led elsewhere.
    pub(crate) fn add_current_leaders(&self, response: &mut ProduceResponse, listener: &str) {
        for topic in &mut response.responses {
            let key = if topic.name.is_empty() {
                TopicKey::Id(topic.topic_id)
            } else {
                TopicKey::Name(topic.name.clone().into_bytes())
            };
            for partition in &mut topic.partition_responses {
                if partition.error_code != ErrorCode::NOT_LEADER_OR_FOLLOWER.0 {
                    continue;
                }
                let Some((leader, epoch)) = self.current_leader(&key, PartitionIndex(partition.index)) else {
                    continue;
                };
                partition.current_leader.leader_id = leader.0;
                partition.current_leader.leader_epoch = epoch.0;
                if response.node_endpoints.iter().any(|node| node.node_id == leader.0) {
                    continue;
                }
                if let Some((endpoint, rack)) = self.endpoint_of(leader, listener) {
                    response.node_endpoints.push(produce_response::NodeEndpoint {
                        node_id: leader.0,
                        host: endpoint.host,
                        port: i32::from(endpoint.port),
                        rack,
                        ..Default::default()
                    });
                }
            }
        }
    }

    /// Fills in the leader of one partition of a fetch response, if its error asks for that.
    pub(crate) fn add_current_leader_to_fetch(
        &self,
        topic: &TopicKey,
        data: &mut fetch_response::PartitionData,
        nodes: &mut Vec<fetch_response::NodeEndpoint>,
        listener: &str,
    ) {
        if !matches!(ErrorCode(data.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH) {
            return;
        }
        let Some((leader, epoch)) = self.current_leader(topic, PartitionIndex(data.partition_index)) else { return };
        data.current_leader.leader_id = leader.0;
        data.current_leader.leader_epoch = epoch.0;
        if nodes.iter().any(|node| node.node_id == leader.0) {
            return;
        }
        if let Some((endpoint, rack)) = self.endpoint_of(leader, listener) {
            nodes.push(fetch_response::NodeEndpoint {
                node_id: leader.0,
                host: endpoint.host,
                port: i32::from(endpoint.port),
                rack,
                ..Default::default()
            });
        }
    }
}

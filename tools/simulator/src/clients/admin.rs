//! Who administrates: makes the topics, then moves replicas, elects leaders and changes configs while faults last.

use milena_broker::hosts::PeerRequest;
use milena_broker::{ControllerRequest, ControllerResponse};
use milena_protocol::Text;
use milena_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use milena_protocol::messages::elect_leaders_request::TopicPartitions;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::{
    AlterPartitionReassignmentsRequest, CreateTopicsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest,
};
use milena_raft::{Outbound, ReplicaKey, Voter};
use milena_types::ErrorCode;

use super::View;
use crate::broker::CLUSTER_ID;
use crate::draw::{Draw, TopicDraw};
use crate::message::{Answer, Lane, Purpose, Request};
use crate::world::World;

pub(crate) struct Admin {
    /// Topics whose creation is not answered yet.
    wanted: Vec<(String, TopicDraw)>,
    call: Option<(u64, Option<String>)>,
}

impl Admin {
    pub(crate) fn new(draw: &Draw) -> Admin {
        let name = |at: usize, topic: &TopicDraw| {
            if topic.unclean { format!("unclean-{at}") } else { format!("topic-{at}") }
        };
        let topics = draw.topics.iter().enumerate();
        Admin { wanted: topics.map(|(at, topic)| (name(at, topic), topic.clone())).collect(), call: None }
    }

    pub(crate) fn is_done(&self) -> Result<(), String> {
        match self.wanted.first() {
            Some((name, _)) => Err(format!("topic {name} cannot be made")),
            None => Ok(()),
        }
    }

    pub(crate) fn step(&mut self, world: &mut World, place: usize, view: &View) {
        if self.call.is_some() {
            return;
        }
        let (request, name) = match self.wanted.first() {
            Some((name, topic)) => (creation(name, topic), Some(name.clone())),
            None if world.is_healing || !world.draw.faults.admin || !world.random.per_mille(60) => return,
            None => match any_change(world, view) {
                Some(request) => (request, None),
                None => return,
            },
        };
        let controllers: Vec<usize> =
            world.nodes.iter().filter(|node| node.is_controller).map(|node| node.index).collect();
        let controller = world.random.pick(&controllers);
        let call = world.call_place(place, controller, Lane::Controller, Request::Controller(request), Purpose::Client);
        self.call = Some((call, name));
    }

    /// Returns whether the metadata may be old.
    pub(crate) fn answered(&mut self, world: &mut World, call: u64, answer: Option<Answer>) -> bool {
        let Some((_, name)) = self.call.take_if(|(known, _)| *known == call) else { return false };
        let response = match answer {
            Some(Answer::Controller(Ok(response))) => *response,
            _ => return false,
        };
        if let (Some(name), ControllerResponse::CreateTopics(response)) = (name, response) {
            let code = response.topics.first().map_or(-1, |topic| topic.error_code);
            if code == 0 || ErrorCode(code) == ErrorCode::TOPIC_ALREADY_EXISTS {
                self.wanted.retain(|(wanted, _)| *wanted != name);
                world.checkers.topics.insert(name);
            }
        }
        true
    }
}

fn creation(name: &str, topic: &TopicDraw) -> ControllerRequest {
    let config = |name: &'static str, value: String| CreatableTopicConfig {
        name: Text::from_static(name),
        value: Some(Text::from(value)),
        ..CreatableTopicConfig::default()
    };
    let topic = CreatableTopic {
        name: Text::from(name),
        num_partitions: topic.partitions,
        replication_factor: topic.replicas,
        configs: vec![
            config("min.insync.replicas", topic.min_insync.to_string()),
            config("unclean.leader.election.enable", topic.unclean.to_string()),
        ],
        ..CreatableTopic::default()
    };
    ControllerRequest::CreateTopics(CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 1000,
        ..CreateTopicsRequest::default()
    })
}

fn any_change(world: &mut World, view: &View) -> Option<ControllerRequest> {
    let partitions = view.partitions();
    let (id, index) = world.random.pick(&partitions)?;
    let topic = view.image.topics.get(id)?;
    let partition = topic.partition(index)?;
    let brokers = world.draw.brokers;
    if world.draw.dynamic_voters && world.random.per_mille(300) {
        return voter_change(world);
    }
    match world.random.below(4) {
        0 | 1 => {
            let mut others: Vec<i32> = (0..i32::try_from(brokers).unwrap_or(0)).collect();
            let mut replicas = Vec::new();
            while replicas.len() < partition.replicas.len() && !others.is_empty() {
                replicas.push(others.swap_remove(world.random.below(others.len())));
            }
            // Of one that is under way, another one takes the place, or it is given up.
            let cancels = world.random.per_mille(300) && partition.is_reassigning();
            let change = ReassignablePartition {
                partition_index: index.0,
                replicas: (!cancels).then_some(replicas),
                ..ReassignablePartition::default()
            };
            let topic = ReassignableTopic {
                name: topic.name.clone(),
                partitions: vec![change],
                ..ReassignableTopic::default()
            };
            Some(ControllerRequest::AlterPartitionReassignments(AlterPartitionReassignmentsRequest {
                topics: vec![topic],
                ..AlterPartitionReassignmentsRequest::default()
            }))
        }
        2 => {
            let named =
                TopicPartitions { topic: topic.name.clone(), partitions: vec![index.0], ..TopicPartitions::default() };
            Some(ControllerRequest::ElectLeaders(ElectLeadersRequest {
                election_type: 0,
                topic_partitions: Some(vec![named]),
                ..ElectLeadersRequest::default()
            }))
        }
        _ => {
            let value = world.random.between(3_600_000, 7_200_000);
            let least = 1 + value % i64::try_from(partition.replicas.len()).unwrap_or(1).max(1);
            let (name, value) = if value % 2 == 0 && is_bearable(world) {
                ("min.insync.replicas", least)
            } else {
                ("retention.ms", value)
            };
            let config = AlterableConfig {
                name: Text::from_static(name),
                value: Some(Text::from(value.to_string())),
                ..AlterableConfig::default()
            };
            let resource = AlterConfigsResource {
                resource_type: milena_metadata::ConfigResource::TOPIC,
                resource_name: topic.name.clone(),
                configs: vec![config],
                ..AlterConfigsResource::default()
            };
            Some(ControllerRequest::IncrementalAlterConfigs(IncrementalAlterConfigsRequest {
                resources: vec![resource],
                ..IncrementalAlterConfigsRequest::default()
            }))
        }
    }
}

/// With another minimum a leader may soon commit alone, which must not have lost anything then.
fn is_bearable(world: &World) -> bool {
    let is_whole = |node: &crate::node::Node| !(node.is_lossy || node.is_breaking || node.is_unclean);
    world.draw.durability == milena_replication::Durability::Fsync || world.nodes.iter().all(is_whole)
}

/// Removes a voter, or adds a controller that is none.
fn voter_change(world: &mut World) -> Option<ControllerRequest> {
    let quorums = world.nodes.iter().filter_map(|node| Some(node.process.as_ref()?.metadata.quorum()));
    let voters = quorums.filter(|quorum| quorum.is_leader()).map(|quorum| quorum.kraft().voters.clone()).next()?;
    let controllers = world.nodes.iter().filter(|node| node.is_controller);
    let missing = controllers.map(|node| crate::node::voter(node.index, &world.draw));
    let missing: Vec<Voter> = missing.filter(|voter| !voters.contains(&voter.key)).collect();
    let keys: Vec<ReplicaKey> = voters.voters().iter().map(|voter| voter.key).collect();
    let change = match missing.first() {
        Some(voter) if keys.len() < 3 || world.random.per_mille(500) => Outbound::AddRaftVoter { voter: voter.clone() },
        _ if keys.len() > 2 => Outbound::RemoveRaftVoter { voter: world.random.pick(&keys)? },
        _ => return None,
    };
    match PeerRequest::new(&change, 0, CLUSTER_ID) {
        PeerRequest::Controller(request) => Some(request),
        _ => None,
    }
}

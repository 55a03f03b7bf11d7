//! Members of groups that know no more than the wire: each request is sent and its answer received on its own, so that a
//! thousand members can ask before one of them is answered.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::consumer_protocol_assignment::TopicPartition;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ConsumerProtocolAssignment,
    ConsumerProtocolSubscription, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use milena_protocol::{Message, Text, Writer};
use milena_types::{ErrorCode, Uuid};

use crate::wire::Wire;

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_VERSION: i16 = 5;
const CONSUMER_HEARTBEAT_VERSION: i16 = 1;
/// Long enough that nobody is taken for dead while the machine is busy.
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 60_000;
const COORDINATOR_LIMIT: Duration = Duration::from_secs(60);

/// A member of a classic group.
#[derive(Debug)]
pub(crate) struct ClassicMember {
    pub(crate) wire: Wire,
    pub(crate) group: Text,
    pub(crate) id: Text,
    pub(crate) generation: i32,
    /// What it says for the one protocol it knows, `range`.
    pub(crate) metadata: Bytes,
}

impl ClassicMember {
    /// A member that wants a topic, on a connection of its own.
    pub(crate) fn connect(port: u16, group: &str, topic: &str) -> anyhow::Result<Self> {
        let subscription = ConsumerProtocolSubscription { topics: vec![topic.into()], ..Default::default() };
        let metadata = versioned(&subscription)?;
        let wire = Wire::connect(port)?;
        Ok(Self { wire, group: group.into(), id: Text::default(), generation: -1, metadata })
    }

    pub(crate) fn join_request(&self) -> JoinGroupRequest {
        let protocol =
            JoinGroupRequestProtocol { name: "range".into(), metadata: self.metadata.clone(), ..Default::default() };
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        }
    }

    pub(crate) fn send_join(&mut self) -> anyhow::Result<()> {
        let request = self.join_request();
        self.wire.send(JOIN_VERSION, &request)
    }

    /// Takes the id and the generation it is told.
    pub(crate) fn joined(&mut self) -> anyhow::Result<JoinGroupResponse> {
        let response = self.wire.receive::<JoinGroupRequest>(JOIN_VERSION)?;
        if !response.member_id.is_empty() {
            self.id = response.member_id.clone();
        }
        self.generation = response.generation_id;
        Ok(response)
    }

    pub(crate) fn send_sync(&mut self, assignments: Vec<SyncGroupRequestAssignment>) -> anyhow::Result<()> {
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments,
            ..Default::default()
        };
        self.wire.send(SYNC_VERSION, &request)
    }

    pub(crate) fn synced(&mut self) -> anyhow::Result<SyncGroupResponse> {
        self.wire.receive::<SyncGroupRequest>(SYNC_VERSION)
    }

    pub(crate) fn heartbeat(&mut self) -> anyhow::Result<ErrorCode> {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        Ok(ErrorCode(self.wire.call(HEARTBEAT_VERSION, &request)?.error_code))
    }
}

/// What the leader gives every member: one partition each as long as there are some.
pub(crate) fn assignments(
    leader: &JoinGroupResponse,
    topic: &str,
    partitions: i32,
) -> anyhow::Result<Vec<SyncGroupRequestAssignment>> {
    let count = i32::try_from(leader.members.len())?;
    let give = |(n, member): (i32, &milena_protocol::messages::join_group_response::JoinGroupResponseMember)| {
        let mine = (n..partitions).step_by(usize::try_from(count).unwrap_or(1).max(1)).collect();
        let topic = TopicPartition { topic: topic.into(), partitions: mine };
        let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![topic], ..Default::default() };
        let assignment = versioned(&assignment)?;
        Ok(SyncGroupRequestAssignment { member_id: member.member_id.clone(), assignment, ..Default::default() })
    };
    (0..).zip(&leader.members).map(give).collect()
}

/// All join, in one generation; then all have what the leader gives them. The group must be new. Who leads.
pub(crate) fn form(members: &mut [ClassicMember], topic: &str, partitions: i32) -> anyhow::Result<usize> {
    let mut leader = None;
    for round in 0..2 {
        members.iter_mut().try_for_each(ClassicMember::send_join)?;
        for (n, member) in members.iter_mut().enumerate() {
            let response = member.joined()?;
            let expected = if round == 0 { ErrorCode::MEMBER_ID_REQUIRED } else { ErrorCode::NONE };
            ensure!(response.error_code == expected.0, "member {n} joins: error {}", response.error_code);
            if round == 1 && response.leader == response.member_id {
                leader = Some((n, response));
            }
        }
    }
    let (leader, answer) = leader.context("a leader")?;
    sync(members, (leader, answer), topic, partitions)?;
    Ok(leader)
}

/// The members of a new generation get their partitions.
pub(crate) fn sync(
    members: &mut [ClassicMember],
    (leader, answer): (usize, JoinGroupResponse),
    topic: &str,
    partitions: i32,
) -> anyhow::Result<()> {
    ensure!(answer.members.len() == members.len(), "{} members in the generation", answer.members.len());
    let mut given = Some(assignments(&answer, topic, partitions)?);
    for (n, member) in members.iter_mut().enumerate() {
        member.send_sync(if n == leader { given.take().unwrap_or_default() } else { Vec::new() })?;
    }
    for (n, member) in members.iter_mut().enumerate() {
        let response = member.synced()?;
        let is_given = response.error_code == 0 && !response.assignment.is_empty();
        ensure!(is_given, "member {n} syncs: error {}, {} bytes", response.error_code, response.assignment.len());
    }
    Ok(())
}

/// A member of a consumer group (KIP-848).
#[derive(Debug)]
pub(crate) struct ConsumerMember {
    pub(crate) wire: Wire,
    pub(crate) group: Text,
    pub(crate) id: Text,
    pub(crate) epoch: i32,
    /// What it was told to have.
    pub(crate) assignment: Vec<TopicPartitions>,
    /// It was told so and has not said yet that it has.
    pub(crate) must_acknowledge: bool,
    topic: Text,
}

impl ConsumerMember {
    pub(crate) fn connect(port: u16, group: &str, topic: &str, number: u64) -> anyhow::Result<Self> {
        // Told apart by their first letters, as random ids are.
        let id = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
        Ok(Self {
            wire: Wire::connect(port)?,
            group: group.into(),
            id: Text::from(Uuid(id).to_string()),
            epoch: 0,
            assignment: Vec::new(),
            must_acknowledge: false,
            topic: topic.into(),
        })
    }

    pub(crate) fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            ..Default::default()
        };
        if self.epoch == 0 {
            request.rebalance_timeout_ms = REBALANCE_MS;
            request.subscribed_topic_names = Some(vec![self.topic.clone()]);
        }
        if self.epoch == 0 || self.must_acknowledge {
            request.topic_partitions = Some(self.assignment.clone());
        }
        request
    }

    pub(crate) fn send(&mut self) -> anyhow::Result<()> {
        let request = self.request();
        self.must_acknowledge = false;
        self.wire.send(CONSUMER_HEARTBEAT_VERSION, &request)
    }

    pub(crate) fn receive(&mut self) -> anyhow::Result<ConsumerGroupHeartbeatResponse> {
        let response = self.wire.receive::<ConsumerGroupHeartbeatRequest>(CONSUMER_HEARTBEAT_VERSION)?;
        if response.error_code == 0 {
            self.epoch = response.member_epoch;
        }
        if let Some(assignment) = &response.assignment {
            self.assignment = assignment
                .topic_partitions
                .iter()
                .map(|topic| TopicPartitions {
                    topic_id: topic.topic_id,
                    partitions: topic.partitions.clone(),
                    ..Default::default()
                })
                .collect();
            self.must_acknowledge = true;
        }
        Ok(response)
    }

    /// How many partitions it has.
    pub(crate) fn partitions(&self) -> usize {
        self.assignment.iter().map(|topic| topic.partitions.len()).sum()
    }
}

/// Waits until the group's coordinator is there and has loaded.
pub(crate) fn await_coordinator(wire: &mut Wire, group: &str) -> anyhow::Result<()> {
    let end = Instant::now() + COORDINATOR_LIMIT;
    loop {
        let find = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
        let found = wire.call(4, &find)?.coordinators.first().is_some_and(|one| one.error_code == 0);
        let describe = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        let loaded = |wire: &mut Wire| -> anyhow::Result<bool> {
            Ok(wire.call(5, &describe)?.groups.iter().all(|one| one.error_code == 0))
        };
        if found && loaded(wire)? {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("the coordinator of {group} does not come");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sets a config of one group.
pub(crate) fn configure(wire: &mut Wire, group: &str, configs: &[(&str, &str)]) -> anyhow::Result<()> {
    const GROUP: i8 = 32;
    let configs = configs.iter().map(|(name, value)| AlterableConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..Default::default()
    });
    let resource = AlterConfigsResource {
        resource_type: GROUP,
        resource_name: group.into(),
        configs: configs.collect(),
        ..Default::default()
    };
    let answer = wire.call(1, &IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() })?;
    ensure!(answer.responses.iter().all(|one| one.error_code == 0), "configure {group}: {answer:?}");
    Ok(())
}

/// All leave a classic group with one request.
pub(crate) fn leave(members: &mut [ClassicMember]) -> anyhow::Result<()> {
    let ids = members.iter().map(|member| MemberIdentity { member_id: member.id.clone(), ..Default::default() });
    let members_leaving = ids.collect();
    let Some(first) = members.first_mut() else { return Ok(()) };
    let request = LeaveGroupRequest { group_id: first.group.clone(), members: members_leaving, ..Default::default() };
    let answer = first.wire.call(LEAVE_VERSION, &request)?;
    ensure!(answer.error_code == 0, "leave: error {}", answer.error_code);
    Ok(())
}

/// A message of consumers, behind its version.
fn versioned<M: Message>(message: &M) -> anyhow::Result<Bytes> {
    let mut writer = Writer::new();
    writer.write_i16(M::MAX_VERSION);
    message.encode(&mut writer, M::MAX_VERSION).context("encode")?;
    writer.into_bytes().context("a message of consumers has no file")
}

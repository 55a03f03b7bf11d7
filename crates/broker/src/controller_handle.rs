//! How a broker asks the active controller, wherever that runs: in this process or behind a connection. Kafka's
//! counterparts are `ForwardingManager` and `NodeToControllerChannelManager`.

use milena_protocol::messages;
use milena_types::ErrorCode;

/// Called once with the committed answer, from any thread. An error code means that no controller answered
/// (`NOT_CONTROLLER`, `REQUEST_TIMED_OUT`, ...): it is then unknown whether anything was done, unless the code says.
pub type ControllerDone = Box<dyn FnOnce(Result<ControllerResponse, ErrorCode>) + Send>;

/// The active controller.
pub trait ControllerHandle: Send + Sync {
    /// Queues `request` and returns at once; never blocks. `done` is called after the answer's records, if any, are
    /// committed *and* the broker's own image holds them, so that the client's next request sees its own change.
    fn submit(&self, request: ControllerRequest, done: ControllerDone);
}

/// A request the controller answers, and what it is answered with.
pub trait ForController: Sized {
    /// The answer.
    type Response;

    /// The request as one of all.
    fn into_request(self) -> ControllerRequest;

    /// The answer out of all, `None` if it is another's.
    fn from_response(response: ControllerResponse) -> Option<Self::Response>;
}

macro_rules! controller_requests {
    ($($(#[$doc:meta])* $name:ident: $request:ident -> $response:ident,)*) => {
        /// Everything a broker asks of the controller; decoded, without a version of the wire.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ControllerRequest {
            $($(#[$doc])* $name(messages::$request),)*
        }

        /// The answer to the request of the same name.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ControllerResponse {
            $($name(messages::$response),)*
        }

        $(impl ForController for messages::$request {
            type Response = messages::$response;

            fn into_request(self) -> ControllerRequest {
                ControllerRequest::$name(self)
            }

            fn from_response(response: ControllerResponse) -> Option<messages::$response> {
                match response {
                    ControllerResponse::$name(response) => Some(response),
                    _ => None,
                }
            }
        })*
    };
}

controller_requests! {
    /// Also sent by Metadata for topics that are created on use.
    CreateTopics: CreateTopicsRequest -> CreateTopicsResponse,
    DeleteTopics: DeleteTopicsRequest -> DeleteTopicsResponse,
    CreatePartitions: CreatePartitionsRequest -> CreatePartitionsResponse,
    AlterConfigs: AlterConfigsRequest -> AlterConfigsResponse,
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest -> IncrementalAlterConfigsResponse,
    UpdateFeatures: UpdateFeaturesRequest -> UpdateFeaturesResponse,
    UnregisterBroker: UnregisterBrokerRequest -> UnregisterBrokerResponse,
    AllocateProducerIds: AllocateProducerIdsRequest -> AllocateProducerIdsResponse,
    AlterPartition: AlterPartitionRequest -> AlterPartitionResponse,
    AssignReplicasToDirs: AssignReplicasToDirsRequest -> AssignReplicasToDirsResponse,
    ElectLeaders: ElectLeadersRequest -> ElectLeadersResponse,
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest -> AlterPartitionReassignmentsResponse,
    ListPartitionReassignments: ListPartitionReassignmentsRequest -> ListPartitionReassignmentsResponse,
    DescribeQuorum: DescribeQuorumRequest -> DescribeQuorumResponse,
    AddRaftVoter: AddRaftVoterRequest -> AddRaftVoterResponse,
    RemoveRaftVoter: RemoveRaftVoterRequest -> RemoveRaftVoterResponse,
    BrokerRegistration: BrokerRegistrationRequest -> BrokerRegistrationResponse,
    BrokerHeartbeat: BrokerHeartbeatRequest -> BrokerHeartbeatResponse,
    ControllerRegistration: ControllerRegistrationRequest -> ControllerRegistrationResponse,
}

//! The active controller behind a connection (classes `NodeToControllerChannelManager` and `ForwardingManager`). Requests
//! go out one after the other; a broker has one channel for its heartbeats and one for everything else.

use std::io;
use std::time::Duration;

use milena_protocol::Request;
use milena_types::ErrorCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::network_sender::LeaderWatch;
use super::peers::{Address, Link};
use crate::controller_handle::{ControllerDone, ControllerHandle, ControllerRequest, ControllerResponse};

/// Between two tries to reach a controller.
const RETRY: Duration = Duration::from_millis(50);

/// How long requests look for a controller (`controller.socket.timeout.ms`).
const GIVE_UP: Duration = Duration::from_secs(30);

/// A channel to the active controller, wherever that is.
#[derive(Clone, Debug)]
pub struct RemoteController {
    requests: mpsc::UnboundedSender<(ControllerRequest, ControllerDoneBox)>,
}

/// Keeps the callback out of `Debug`.
struct ControllerDoneBox(ControllerDone);

impl std::fmt::Debug for ControllerDoneBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControllerDone")
    }
}

impl RemoteController {
    /// Starts the task that owns the connection; needs a tokio runtime.
    #[must_use]
    pub fn start(leader: LeaderWatch, client_id: &str) -> RemoteController {
        let (requests, mut inbox) = mpsc::unbounded_channel::<(ControllerRequest, ControllerDoneBox)>();
        let mut channel = Channel { leader, link: Link::default(), client_id: client_id.to_owned() };
        tokio::spawn(async move {
            while let Some((request, done)) = inbox.recv().await {
                let answer = channel.ask_until_answered(&request).await;
                (done.0)(answer);
            }
        });
        RemoteController { requests }
    }
}

impl ControllerHandle for RemoteController {
    fn submit(&self, request: ControllerRequest, done: ControllerDone) {
        if let Err(failed) = self.requests.send((request, ControllerDoneBox(done))) {
            (failed.0.1.0)(Err(ErrorCode::NOT_CONTROLLER));
        }
    }
}

struct Channel {
    leader: LeaderWatch,
    link: Link,
    client_id: String,
}

impl Channel {
    async fn ask_until_answered(&mut self, request: &ControllerRequest) -> Result<ControllerResponse, ErrorCode> {
        let deadline = Instant::now() + GIVE_UP;
        loop {
            let address = self.leader.borrow_and_update().clone();
            if let Some(address) = address {
                match self.ask(&address, request).await {
                    Ok(response) if !is_not_controller(&response) => return Ok(response),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        return Err(ErrorCode::UNSUPPORTED_VERSION);
                    }
                    Err(error) => tracing::debug!(?address, %error, "the controller did not answer"),
                }
            }
            if Instant::now() >= deadline {
                return Err(ErrorCode::REQUEST_TIMED_OUT);
            }
            // Whichever comes first: news of the leader, or the next try.
            let _ = tokio::time::timeout(RETRY, self.leader.changed()).await;
        }
    }

    async fn ask(&mut self, address: &Address, request: &ControllerRequest) -> io::Result<ControllerResponse> {
        use ControllerRequest as Ask;
        use ControllerResponse as Answer;
        match request {
            Ask::CreateTopics(request) => self.exchange(address, request).await.map(Answer::CreateTopics),
            Ask::DeleteTopics(request) => self.exchange(address, request).await.map(Answer::DeleteTopics),
            Ask::CreatePartitions(request) => self.exchange(address, request).await.map(Answer::CreatePartitions),
            Ask::AlterConfigs(request) => self.exchange(address, request).await.map(Answer::AlterConfigs),
            Ask::IncrementalAlterConfigs(request) => {
                self.exchange(address, request).await.map(Answer::IncrementalAlterConfigs)
            }
            Ask::UpdateFeatures(request) => self.exchange(address, request).await.map(Answer::UpdateFeatures),
            Ask::UnregisterBroker(request) => self.exchange(address, request).await.map(Answer::UnregisterBroker),
            Ask::AllocateProducerIds(request) => self.exchange(address, request).await.map(Answer::AllocateProducerIds),
            Ask::AlterPartition(request) => self.exchange(address, request).await.map(Answer::AlterPartition),
            Ask::AssignReplicasToDirs(request) => {
                self.exchange(address, request).await.map(Answer::AssignReplicasToDirs)
            }
            Ask::ElectLeaders(request) => self.exchange(address, request).await.map(Answer::ElectLeaders),
            Ask::AlterPartitionReassignments(request) => {
                self.exchange(address, request).await.map(Answer::AlterPartitionReassignments)
            }
            Ask::ListPartitionReassignments(request) => {
                self.exchange(address, request).await.map(Answer::ListPartitionReassignments)
            }
            Ask::DescribeQuorum(request) => self.exchange(address, request).await.map(Answer::DescribeQuorum),
            Ask::BrokerRegistration(request) => self.exchange(address, request).await.map(Answer::BrokerRegistration),
            Ask::BrokerHeartbeat(request) => self.exchange(address, request).await.map(Answer::BrokerHeartbeat),
            Ask::ControllerRegistration(request) => {
                self.exchange(address, request).await.map(Answer::ControllerRegistration)
            }
        }
    }

    async fn exchange<R: Request>(&mut self, address: &Address, request: &R) -> io::Result<R::Response> {
        self.link.ask(address, &self.client_id, GIVE_UP, request, Duration::ZERO).await
    }
}

/// Whether the answer says that the controller is another by now. Answers that have no place for that come as a closed
/// connection.
fn is_not_controller(response: &ControllerResponse) -> bool {
    use ControllerResponse as Answer;
    let code = match response {
        Answer::UpdateFeatures(response) => response.error_code,
        Answer::UnregisterBroker(response) => response.error_code,
        Answer::AllocateProducerIds(response) => response.error_code,
        Answer::AlterPartition(response) => response.error_code,
        Answer::AssignReplicasToDirs(response) => response.error_code,
        Answer::ElectLeaders(response) => response.error_code,
        Answer::AlterPartitionReassignments(response) => response.error_code,
        Answer::ListPartitionReassignments(response) => response.error_code,
        Answer::BrokerRegistration(response) => response.error_code,
        Answer::BrokerHeartbeat(response) => response.error_code,
        Answer::ControllerRegistration(response) => response.error_code,
        Answer::CreateTopics(_)
        | Answer::DeleteTopics(_)
        | Answer::CreatePartitions(_)
        | Answer::AlterConfigs(_)
        | Answer::IncrementalAlterConfigs(_)
        | Answer::DescribeQuorum(_) => ErrorCode::NONE.0,
    };
    ErrorCode(code) == ErrorCode::NOT_CONTROLLER
}

//! The active controller behind a connection (classes `NodeToControllerChannelManager` and `ForwardingManager`). Requests
//! go out one after the other; a broker has one channel for its heartbeats and one for everything else.

use std::io;
use std::time::Duration;

use milena_protocol::Request;
use milena_types::ErrorCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::metadata_loop::MetadataHandle;
use super::network_sender::{ActiveController, LeaderWatch};
use super::peers::{Address, Link};
use crate::controller_handle::{ControllerDone, ControllerHandle, ControllerRequest, ControllerResponse};

/// Between two tries to reach a controller.
const RETRY: Duration = Duration::from_millis(50);

/// How long a request looks for a controller, from when it was asked, however many wait before it.
const GIVE_UP: Duration = Duration::from_secs(60);

/// How long a controller may take for an answer (`controller.socket.timeout.ms`).
const ANSWER: Duration = Duration::from_secs(30);

/// How long a controller that no longer leads may take for its last answer.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// A channel to the active controller, wherever that is; it may be this process.
#[derive(Clone, Debug)]
pub struct RemoteController {
    local: Option<MetadataHandle>,
    leader: LeaderWatch,
    requests: mpsc::UnboundedSender<Asked>,
}

/// A request that waits for its turn.
#[derive(Debug)]
struct Asked {
    request: ControllerRequest,
    /// Then it is given up.
    deadline: Instant,
    done: ControllerDoneBox,
}

/// Keeps the callback out of `Debug`.
struct ControllerDoneBox(ControllerDone);

impl std::fmt::Debug for ControllerDoneBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControllerDone")
    }
}

impl RemoteController {
    /// Starts the task that owns the connection; needs a tokio runtime. `local` is the metadata thread of a node with the
    /// controller role.
    #[must_use]
    pub fn start(leader: LeaderWatch, local: Option<MetadataHandle>, client_id: &str) -> RemoteController {
        let (requests, mut inbox) = mpsc::unbounded_channel::<Asked>();
        let link = Link::default();
        let mut channel =
            Channel { leader: leader.clone(), local: local.clone(), link, client_id: client_id.to_owned() };
        tokio::spawn(async move {
            while let Some(Asked { request, deadline, done }) = inbox.recv().await {
                let answer = channel.ask_until_answered(&request, deadline).await;
                (done.0)(answer);
            }
        });
        RemoteController { local, leader, requests }
    }
}

impl ControllerHandle for RemoteController {
    fn submit(&self, request: ControllerRequest, done: ControllerDone) {
        let is_here = matches!(*self.leader.borrow(), Some(ActiveController::Here));
        let Some(local) = self.local.as_ref().filter(|_| is_here) else {
            return queue(&self.requests, request, done);
        };
        let (requests, again) = (self.requests.clone(), request.clone());
        let done = Box::new(move |answer| match answer {
            // It no longer leads: whoever does is asked.
            Err(ErrorCode::NOT_CONTROLLER) => queue(&requests, again, done),
            answer => done(answer),
        });
        local.submit(request, done);
    }
}

fn queue(requests: &mpsc::UnboundedSender<Asked>, request: ControllerRequest, done: ControllerDone) {
    let asked = Asked { request, deadline: Instant::now() + GIVE_UP, done: ControllerDoneBox(done) };
    if let Err(failed) = requests.send(asked) {
        (failed.0.done.0)(Err(ErrorCode::NOT_CONTROLLER));
    }
}

struct Channel {
    leader: LeaderWatch,
    local: Option<MetadataHandle>,
    link: Link,
    client_id: String,
}

impl Channel {
    async fn ask_until_answered(
        &mut self,
        request: &ControllerRequest,
        deadline: Instant,
    ) -> Result<ControllerResponse, ErrorCode> {
        loop {
            if Instant::now() >= deadline {
                return Err(ErrorCode::REQUEST_TIMED_OUT);
            }
            let active = self.leader.borrow_and_update().clone();
            match (active, &self.local) {
                (Some(ActiveController::Here), Some(local)) => match ask_local(local, request).await {
                    Err(ErrorCode::NOT_CONTROLLER) => {}
                    answer => return answer,
                },
                (Some(ActiveController::At(address)), _) => match self.ask_while_it_leads(&address, request).await {
                    Ok(response) if !is_not_controller(&response) => return Ok(response),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        return Err(ErrorCode::UNSUPPORTED_VERSION);
                    }
                    Err(error) => tracing::debug!(?address, %error, "the controller did not answer"),
                },
                _ => {}
            }
            // Whichever comes first: news of the leader, or the next try.
            let _ = tokio::time::timeout(RETRY, self.leader.changed()).await;
        }
    }

    /// Asks, but does not wait long for one that no longer leads: it may be the one that does not answer any more.
    async fn ask_while_it_leads(
        &mut self,
        address: &Address,
        request: &ControllerRequest,
    ) -> io::Result<ControllerResponse> {
        let Channel { leader, link, client_id, .. } = self;
        let mut exchange = Exchange { address, link, client_id };
        let asking = exchange.ask(request);
        tokio::pin!(asking);
        let here = Some(ActiveController::At(address.clone()));
        tokio::select! {
            answer = &mut asking => return answer,
            _ = leader.wait_for(|now| *now != here) => {}
        }
        tokio::time::timeout(LAST_ANSWER, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn ask_local(local: &MetadataHandle, request: &ControllerRequest) -> Result<ControllerResponse, ErrorCode> {
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |answer| {
        // Whoever asked may be gone.
        let _ = sender.send(answer);
    });
    local.submit(request.clone(), done);
    receiver.await.unwrap_or(Err(ErrorCode::NOT_CONTROLLER))
}

/// One request over the link.
struct Exchange<'a> {
    address: &'a Address,
    link: &'a mut Link,
    client_id: &'a str,
}

impl Exchange<'_> {
    async fn ask(&mut self, request: &ControllerRequest) -> io::Result<ControllerResponse> {
        use ControllerRequest as Ask;
        use ControllerResponse as Answer;
        match request {
            Ask::CreateTopics(request) => self.exchange(request).await.map(Answer::CreateTopics),
            Ask::DeleteTopics(request) => self.exchange(request).await.map(Answer::DeleteTopics),
            Ask::CreatePartitions(request) => self.exchange(request).await.map(Answer::CreatePartitions),
            Ask::AlterConfigs(request) => self.exchange(request).await.map(Answer::AlterConfigs),
            Ask::IncrementalAlterConfigs(request) => self.exchange(request).await.map(Answer::IncrementalAlterConfigs),
            Ask::UpdateFeatures(request) => self.exchange(request).await.map(Answer::UpdateFeatures),
            Ask::UnregisterBroker(request) => self.exchange(request).await.map(Answer::UnregisterBroker),
            Ask::AllocateProducerIds(request) => self.exchange(request).await.map(Answer::AllocateProducerIds),
            Ask::AlterPartition(request) => self.exchange(request).await.map(Answer::AlterPartition),
            Ask::AssignReplicasToDirs(request) => self.exchange(request).await.map(Answer::AssignReplicasToDirs),
            Ask::ElectLeaders(request) => self.exchange(request).await.map(Answer::ElectLeaders),
            Ask::AlterPartitionReassignments(request) => {
                self.exchange(request).await.map(Answer::AlterPartitionReassignments)
            }
            Ask::ListPartitionReassignments(request) => {
                self.exchange(request).await.map(Answer::ListPartitionReassignments)
            }
            Ask::DescribeQuorum(request) => self.exchange(request).await.map(Answer::DescribeQuorum),
            Ask::AddRaftVoter(request) => self.exchange(request).await.map(Answer::AddRaftVoter),
            Ask::RemoveRaftVoter(request) => self.exchange(request).await.map(Answer::RemoveRaftVoter),
            Ask::BrokerRegistration(request) => self.exchange(request).await.map(Answer::BrokerRegistration),
            Ask::BrokerHeartbeat(request) => self.exchange(request).await.map(Answer::BrokerHeartbeat),
            Ask::ControllerRegistration(request) => self.exchange(request).await.map(Answer::ControllerRegistration),
        }
    }

    async fn exchange<R: Request>(&mut self, request: &R) -> io::Result<R::Response> {
        self.link.ask(self.address, self.client_id, ANSWER, request, Duration::ZERO).await
    }
}

fn first<T>(parts: &[T], code: impl Fn(&T) -> i16) -> i16 {
    parts.first().map_or(ErrorCode::NONE.0, code)
}

/// Whether the answer says that the controller is another by now. What only the quorum's leader can answer, others refuse in words of their own.
pub(super) fn is_not_controller(response: &ControllerResponse) -> bool {
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
        Answer::AddRaftVoter(response) => response.error_code,
        Answer::RemoveRaftVoter(response) => response.error_code,
        Answer::ControllerRegistration(response) => response.error_code,
        Answer::DescribeQuorum(response) => {
            let partition = response.topics.first().and_then(|topic| topic.partitions.first());
            partition.map_or(response.error_code, |partition| partition.error_code)
        }
        // All of them say the same then.
        Answer::CreateTopics(response) => first(&response.topics, |topic| topic.error_code),
        Answer::DeleteTopics(response) => first(&response.responses, |topic| topic.error_code),
        Answer::CreatePartitions(response) => first(&response.results, |topic| topic.error_code),
        Answer::AlterConfigs(response) => first(&response.responses, |resource| resource.error_code),
        Answer::IncrementalAlterConfigs(response) => first(&response.responses, |resource| resource.error_code),
    };
    matches!(ErrorCode(code), ErrorCode::NOT_CONTROLLER | ErrorCode::NOT_LEADER_OR_FOLLOWER)
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::CreateTopicsRequest;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn a_request_whose_time_was_up_before_its_turn_is_refused_and_not_sent() {
        let controller = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ("127.0.0.1".to_owned(), controller.local_addr().unwrap().port());
        let (_news, leader) = watch::channel(Some(ActiveController::At(address)));
        let remote = RemoteController::start(leader, None, "test");
        let ask = |deadline| {
            let (sender, receiver) = oneshot::channel();
            let done: ControllerDone = Box::new(move |answer| drop(sender.send(answer)));
            let request = ControllerRequest::CreateTopics(CreateTopicsRequest::default());
            remote.requests.send(Asked { request, deadline, done: ControllerDoneBox(done) }).unwrap();
            receiver
        };
        let late = ask(Instant::now());
        let in_time = ask(Instant::now() + GIVE_UP);
        assert!(matches!(late.await.unwrap(), Err(ErrorCode::REQUEST_TIMED_OUT)));
        let (only, _) = controller.accept().await.unwrap();
        drop((only, in_time));
    }
}

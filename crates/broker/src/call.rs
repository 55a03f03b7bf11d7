//! One request on its way through its handler, and the three ways to answer it.

use crate::broker::Broker;
use crate::dispatch::Session;
use crate::metrics::Waited;
use crate::partitions::AppendGroup;
use milena_coordinator::group::{Caller, GroupReply, GroupRequest};
use milena_network::{Replies, Reply};
use milena_protocol::{ApiKey, DecodeError, Message, Reader, RequestHeader, Segment, Text, encode_response};
use milena_types::ErrorCode;
use std::sync::Arc;
use std::time::Instant;

/// What one request may take decoded. Apache Kafka has no such bound; its largest sensible requests, of hundreds of
/// thousands of partitions, stay below.
pub(crate) const DECODED_BYTES_MAX: usize = 64 << 20;

/// What of that was taken.
pub(crate) fn decoded_bytes(body: &Reader) -> usize {
    DECODED_BYTES_MAX.saturating_sub(body.allowance_left())
}

/// What a handler returns.
#[derive(Debug)]
pub enum Outcome {
    /// The whole answer.
    Ready(Vec<Segment>),
    /// No answer is wanted.
    Nothing,
    /// The handler took a [`Later`].
    Pending,
    /// The request cannot be read: the connection is closed.
    Close,
}

/// A request with its header decoded and everything a handler may use.
pub struct Call<'a, 'r> {
    pub broker: &'a Arc<Broker>,
    pub session: &'a mut Session,
    pub header: RequestHeader,
    /// The body, not yet decoded.
    pub body: Reader,
    replies: &'a mut Replies<'r>,
    parked: bool,
    /// When it began to be worked on, if somebody may ask.
    began: Option<Instant>,
}

/// An answer that is owed; may be sent from any thread. Dropped, it closes the connection.
#[derive(Debug)]
pub struct Later {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    reply: Reply,
    waited: Waited,
}

impl<'a, 'r> Call<'a, 'r> {
    pub(crate) fn new(
        broker: &'a Arc<Broker>,
        session: &'a mut Session,
        header: RequestHeader,
        body: Reader,
        replies: &'a mut Replies<'r>,
    ) -> Self {
        let began = broker.cells().map(|cells| {
            cells.requests.came(header.api_key, header.api_version);
            Instant::now()
        });
        Self { broker, session, header, body, replies, parked: false, began }
    }

    /// The version of the request and of its answer.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    /// Decodes the body.
    ///
    /// # Errors
    /// The bytes are no `M`; answer with [`Outcome::Close`].
    pub fn decode<M: Message>(&mut self) -> Result<M, DecodeError> {
        M::decode(&mut self.body, self.header.api_version)
    }

    /// The answer, encoded.
    #[must_use]
    pub fn answer<M: Message>(&self, response: &M) -> Outcome {
        let header = &self.header;
        match encode_response(header.api_key, header.api_version, header.correlation_id, response) {
            Ok(segments) => Outcome::Ready(segments),
            Err(error) => {
                log_encode(header.api_key, header.api_version, &error);
                Outcome::Close
            }
        }
    }

    /// Keeps the place of the answer; the handler then returns [`Outcome::Pending`]. `None` if there is no memory for
    /// what the request holds while it waits; the handler then returns [`Outcome::Close`].
    pub fn park(&mut self) -> Option<Later> {
        assert!(!self.parked, "a request has one answer");
        let reply = self.replies.park_holding(decoded_bytes(&self.body))?;
        self.parked = true;
        let RequestHeader { api_key, api_version, correlation_id, .. } = self.header;
        let waited = Waited::since(self.broker.cells(), self.began);
        Some(Later { key: api_key, version: api_version, correlation_id, reply, waited })
    }

    /// Asks the controller and answers with what `finish` makes of its word.
    pub fn forward<R, M>(
        &mut self,
        request: R,
        finish: impl FnOnce(Result<R::Response, ErrorCode>) -> M + Send + 'static,
    ) -> Outcome
    where
        R: crate::ForController,
        M: Message,
    {
        let Some(later) = self.park() else { return Outcome::Close };
        self.broker.submit(request, move |result| later.answer(&finish(result)));
        Outcome::Pending
    }

    /// Who asks, as group coordinators note it.
    #[must_use]
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            client_id: self.header.client_id.as_ref().map(Text::detached).unwrap_or_default(),
            client_host: format!("/{}", self.session.peer.remote.ip()).into(),
            version: self.header.api_version,
        }
    }

    /// Asks the coordinator of the request's group and answers with what `finish` makes of its answer, which is `None`
    /// only for another request's.
    pub(crate) fn coordinate<M: Message>(
        &mut self,
        request: GroupRequest,
        finish: impl FnOnce(GroupReply) -> Option<M> + Send + 'static,
    ) -> Outcome {
        let Some(later) = self.park() else { return Outcome::Close };
        let done = Box::new(move |reply| {
            if let Some(response) = finish(reply) {
                later.answer(&response);
            }
        });
        let caller = self.caller();
        self.broker.groups().submit(self.broker, caller, request, done);
        Outcome::Pending
    }

    /// Appends a produce request by itself.
    pub(crate) fn append_alone(&mut self) -> Outcome {
        let mut group = AppendGroup::new(self.broker, &self.session.peer.listener, &self.session.held);
        let body = std::mem::replace(&mut self.body, Reader::new(bytes::Bytes::new()));
        group.add(self.header.clone(), body, self.replies);
        group.flush(self.replies);
        // The group has answered, or parked the answer.
        self.parked = true;
        self.began = None;
        Outcome::Pending
    }

    /// Puts the outcome where the connection finds it.
    pub(crate) fn conclude(self, outcome: Outcome) {
        assert_eq!(self.parked, matches!(outcome, Outcome::Pending), "pending is what was parked");
        if let (Some(cells), Some(began), false) = (self.broker.cells(), self.began, self.parked) {
            cells.requests.answered(self.header.api_key, began.elapsed());
        }
        match outcome {
            Outcome::Ready(segments) => self.replies.ready(segments),
            Outcome::Nothing => self.replies.nothing(),
            Outcome::Pending => {}
            Outcome::Close => self.replies.close(),
        }
    }
}

impl Later {
    pub(crate) fn new(header: &RequestHeader, reply: Reply) -> Self {
        Self {
            key: header.api_key,
            version: header.api_version,
            correlation_id: header.correlation_id,
            reply,
            waited: Waited::default(),
        }
    }

    /// The same, that notes how long it waited when it is answered.
    pub(crate) fn timed(self, waited: Waited) -> Self {
        Self { waited, ..self }
    }

    /// The version the answer is encoded in.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// No answer is wanted after all.
    pub(crate) fn nothing(self) {
        self.reply.send(Vec::new());
    }

    /// Encodes and sends the answer.
    pub fn answer<M: Message>(self, response: &M) {
        self.waited.is_over(self.key);
        match encode_response(self.key, self.version, self.correlation_id, response) {
            Ok(segments) => self.reply.send(segments),
            Err(error) => {
                log_encode(self.key, self.version, &error);
                self.reply.close();
            }
        }
    }
}

/// An answer that its own version cannot carry is a mistake of ours.
fn log_encode(key: ApiKey, version: i16, error: &dyn std::error::Error) {
    tracing::error!(key = key.0, version, error = %error, "an answer cannot be encoded; its connection is closed");
}

//! Connections to controllers: one request at a time, versions agreed on when the connection is made. Broker to broker
//! and broker to controller only; clients have a library of their own.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_protocol::messages::ApiVersionsRequest;
use milena_protocol::{ApiKey, Request, Segment, decode_response, encode_request};
use milena_types::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest answer taken (`socket.request.max.bytes` of the other side bounds what we send).
const ANSWER_MAX_BYTES: usize = 100 << 20;

/// A host and a port.
pub(crate) type Address = (String, u16);

/// An open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What the other side serves, by key.
    versions: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
    client_id: String,
    patience: Duration,
}

impl Connection {
    /// Connects and asks for versions. Nothing takes longer than `patience`.
    pub(crate) async fn open(address: &Address, client_id: &str, patience: Duration) -> io::Result<Connection> {
        let connecting = TcpStream::connect((address.0.as_str(), address.1));
        let stream = tokio::time::timeout(patience, connecting).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            stream,
            versions: BTreeMap::from([(ApiKey::API_VERSIONS.0, (0, 0))]),
            correlation_id: 0,
            client_id: client_id.to_owned(),
            patience,
        };
        let answer = connection.ask(&ApiVersionsRequest::default(), Duration::ZERO).await?;
        if answer.error_code != ErrorCode::NONE.0 {
            return Err(io::Error::other(format!("ApiVersions: {}", ErrorCode(answer.error_code))));
        }
        let rows = answer.api_keys.iter().map(|row| (row.api_key, (row.min_version, row.max_version)));
        connection.versions = rows.collect();
        Ok(connection)
    }

    /// Sends a request and waits for its answer, `wait` longer than the connection's patience. After an error the
    /// connection must not be used again.
    pub(crate) async fn ask<R: Request>(&mut self, request: &R, wait: Duration) -> io::Result<R::Response> {
        let version = self.version_of::<R>()?;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        // What the version agreed on cannot say, the other side does not know.
        let frame = encode_request(version, self.correlation_id, Some(&self.client_id), request)
            .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
        let exchange = async {
            for segment in frame {
                match segment {
                    Segment::Bytes(bytes) => self.stream.write_all(&bytes).await?,
                    Segment::File(_) => return Err(io::Error::other("requests hold no files")),
                }
            }
            read_frame(&mut self.stream).await
        };
        let patience = self.patience + wait;
        let answer = tokio::time::timeout(patience, exchange).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let (correlation_id, response) = decode_response::<R>(answer, version).map_err(io::Error::other)?;
        if correlation_id != self.correlation_id {
            return Err(io::Error::other(format!("answer {correlation_id} to request {}", self.correlation_id)));
        }
        Ok(response)
    }

    /// The newest version both sides know.
    fn version_of<R: Request>(&self) -> io::Result<i16> {
        let unsupported = || io::Error::new(io::ErrorKind::Unsupported, format!("{} is not served", R::NAME));
        let (min, max) = *self.versions.get(&R::API_KEY.0).ok_or_else(unsupported)?;
        let ours = R::API_KEY.info().map_or(R::MAX_VERSION, |info| info.max_stable_version());
        let version = max.min(ours);
        if version < min.max(R::MIN_VERSION) { Err(unsupported()) } else { Ok(version) }
    }
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let size = stream.read_i32().await?;
    let size = usize::try_from(size).ok().filter(|size| *size <= ANSWER_MAX_BYTES);
    let Some(size) = size else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the size of an answer is out of range"));
    };
    let mut frame = BytesMut::new();
    let mut rest = stream.take(size as u64);
    while frame.len() < size {
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

/// Whether nobody listens at any of these places: each refuses a connection. Silence says nothing.
pub(crate) async fn all_refuse(addresses: &[Address], patience: Duration) -> bool {
    for address in addresses {
        let connecting = TcpStream::connect((address.0.as_str(), address.1));
        match tokio::time::timeout(patience, connecting).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            _ => return false,
        }
    }
    !addresses.is_empty()
}

/// A connection that is made when it is needed and dropped when it fails or another address is wanted.
#[derive(Default)]
pub(crate) struct Link {
    open: Option<(Address, Connection)>,
}

impl Link {
    /// Asks whoever is at `address`.
    pub(crate) async fn ask<R: Request>(
        &mut self,
        address: &Address,
        client_id: &str,
        patience: Duration,
        request: &R,
        wait: Duration,
    ) -> io::Result<R::Response> {
        let mut connection = match self.open.take() {
            Some((known, connection)) if known == *address => connection,
            _ => Connection::open(address, client_id, patience).await?,
        };
        let response = connection.ask(request, wait).await?;
        self.open = Some((address.clone(), connection));
        Ok(response)
    }
}

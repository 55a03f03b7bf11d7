//! What no client should send: Kafka's own answer or a closed connection, and other clients undisturbed.

use crate::client::{Client, TestNode, batch, flat, produce_request};
use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use milena_protocol::{Message, Reader, encode_request};
use milena_types::ErrorCode;
use std::io::Write;

fn is_served(client: &mut Client) {
    assert_eq!(client.call(5, &MetadataRequest { topics: None, ..Default::default() }).brokers.len(), 1);
}

fn header(key: i16, version: i16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(77i32.to_be_bytes());
    frame.extend((-1i16).to_be_bytes());
    [&(frame.len() as i32).to_be_bytes()[..], &frame].concat()
}

#[test]
fn nonsense_closes_its_own_connection_only() {
    let node = TestNode::start(&[]);
    let mut other = node.connect();
    let nonsense: Vec<Vec<u8>> = vec![
        vec![0x7f, 0xff, 0xff, 0xff, 0, 0],
        vec![0xff, 0xff, 0xff, 0xff],
        vec![0x80, 0, 0, 0],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 1, 0],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01],
        header(999, 0),
        header(-1, 0),
        header(4, 0),
        header(0, 99),
        header(3, -1),
        header(1, 3),
        header(3, 9),
        [&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff][..], &[0x7f, 0xff, 0xff, 0xff]].concat(),
    ];
    for bytes in nonsense {
        let mut client = node.connect();
        client.stream.write_all(&bytes).unwrap();
        assert!(client.is_closed(), "{bytes:?}");
        is_served(&mut other);
    }
}

#[test]
fn every_cut_of_a_request_is_survived() {
    let node = TestNode::start(&[]);
    let mut other = node.connect();
    other.create_topic("cut", 1, &[]);
    let whole =
        flat(encode_request(9, 1, Some("cut"), &produce_request("cut", 1, vec![(0, batch(&["value"]))])).unwrap());
    for len in 4..whole.len() {
        // Cut, and said to be as short as it is: the request ends in the midst of a field.
        let mut cut = whole[..len].to_vec();
        cut[..4].copy_from_slice(&(len as i32 - 4).to_be_bytes());
        let mut client = node.connect();
        client.stream.write_all(&cut).unwrap();
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answered = !client.is_closed();
        assert!(!answered || len + 2 >= whole.len(), "a cut at {len} of {} was answered", whole.len());
    }
    is_served(&mut other);
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_as_version_0() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    // The header of a flexible version ends with its tagged fields, none here.
    let mut request = header(18, 99);
    request.push(0);
    let len = request.len() as i32 - 4;
    request[..4].copy_from_slice(&len.to_be_bytes());
    client.stream.write_all(&request).unwrap();
    let frame = client.receive_frame();
    assert_eq!(frame[..4], 77i32.to_be_bytes());
    let mut reader = Reader::new(frame.slice(4..));
    let response = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
    assert!(reader.is_empty());
    assert_eq!(ErrorCode(response.error_code), ErrorCode::UNSUPPORTED_VERSION);
    let row = &response.api_keys[0];
    assert_eq!((response.api_keys.len(), row.api_key, row.min_version, row.max_version), (1, 18, 0, 4));
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).error_code, 0, "the connection goes on");
}

/// Resident memory of this process, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn thousands_of_idle_connections_cost_little_and_disturb_nobody() {
    const CONNECTIONS: usize = 5000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(65_536);
    let raised = rustix::process::Rlimit { current: Some(wanted), maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    // Both ends are in this process.
    assert!(wanted as usize > 2 * CONNECTIONS + 500, "needs {} open files", 2 * CONNECTIONS + 500);
    let node = TestNode::start(&[("socket.listen.backlog.size", "4096")]);
    let mut other = node.connect();
    is_served(&mut other);
    let before = resident_bytes();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.call(0, &ApiVersionsRequest::default());
    }
    // Half of them have sent the beginning of a request and go on no further.
    for client in clients.iter_mut().step_by(2) {
        client.stream.write_all(&[0, 0, 0x10, 0, 0, 3]).unwrap();
    }
    is_served(&mut other);
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    assert!(each <= 16 << 10, "{each} bytes a connection");
}

#[test]
fn a_request_that_would_take_far_more_memory_than_its_size_closes_its_connection() {
    let node = TestNode::start(&[]);
    let mut other = node.connect();
    // Metadata, version 0: 700,000 topics with empty names, 1.4 MB that would take more than 64 MB.
    let mut frame = header(3, 0);
    frame.extend(700_000i32.to_be_bytes());
    frame.extend(std::iter::repeat_n(0, 1_400_000));
    let mut client = node.connect();
    client.stream.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
    client.stream.write_all(&frame).unwrap();
    assert!(client.is_closed());
    is_served(&mut other);
}

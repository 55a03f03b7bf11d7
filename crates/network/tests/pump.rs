//! The pump as a client meets it: order, bounds, nonsense, slow peers, shutdown. The service here echoes a request's
//! body, and does more for bodies that begin with a known letter.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use bytes::{BufMut, Bytes, BytesMut};
use milena_network::{
    ConnectionLimits, ConnectionQuotas, ListenerConfig, ListenerQuotas, Memory, Peer, Replies, Reply, Server, Service,
};
use milena_protocol::{FileSlice, FileSource, Segment};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Echo {
    parked: Mutex<Vec<(Bytes, Reply)>>,
    file: Mutex<Option<FileSlice>>,
}

#[derive(Debug)]
struct Opened(std::fs::File);

impl FileSource for Opened {
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }
    fn raw_fd(&self) -> Option<i32> {
        Some(self.0.as_raw_fd())
    }
}

fn framed(body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(body.len() as i32);
    frame.put_slice(body);
    frame.freeze()
}

impl Service for Echo {
    type Session = ();

    fn open(&self, _: &Peer) {}

    fn handle(&self, (): &mut (), frames: &mut Vec<Bytes>, replies: &mut Replies<'_>) {
        while !replies.is_full() && !frames.is_empty() {
            let frame = frames.remove(0);
            match frame.first() {
                // An answer a thousand times as large as the request.
                Some(b'x') => replies.ready(vec![Segment::Bytes(framed(&vec![b'x'; frame.len() * 1000]))]),
                // Parked until the next release.
                Some(b'p') => {
                    let reply = replies.park();
                    self.parked.lock().unwrap().push((Bytes::copy_from_slice(&frame), reply));
                }
                Some(b'r') => {
                    for (body, reply) in self.parked.lock().unwrap().drain(..).rev() {
                        reply.send(vec![Segment::Bytes(framed(&body))]);
                    }
                    replies.ready(vec![Segment::Bytes(framed(&frame))]);
                }
                Some(b'n') => replies.nothing(),
                Some(b'c') => return replies.close(),
                Some(b'f') => {
                    let slice = self.file.lock().unwrap().clone().unwrap();
                    let mut head = BytesMut::new();
                    head.put_i32(slice.len as i32 + 2);
                    head.put_slice(b"<");
                    let tail = Segment::Bytes(Bytes::from_static(b">"));
                    replies.ready(vec![Segment::Bytes(head.freeze()), Segment::File(slice), tail]);
                }
                _ => replies.ready(vec![Segment::Bytes(framed(&frame))]),
            }
        }
    }
}

struct Node {
    runtime: tokio::runtime::Runtime,
    server: Option<Server<Echo>>,
    service: Arc<Echo>,
    address: SocketAddr,
    memory: Memory,
}

impl Node {
    fn start(limits: ConnectionLimits, memory_bytes: u64) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let guard = runtime.enter();
        let service = Arc::new(Echo::default());
        let memory = Memory::new(memory_bytes);
        let listener = ListenerConfig::new("PLAINTEXT", "127.0.0.1:0".parse().unwrap());
        let mut server = Server::bind(vec![listener], limits, memory.clone(), Arc::clone(&service)).unwrap();
        let address = server.addresses()[0].1;
        server.start();
        drop(guard);
        Node { runtime, server: Some(server), service, address, memory }
    }

    fn default() -> Node {
        Node::start(ConnectionLimits::default(), 256 << 20)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

fn send(stream: &mut TcpStream, body: &[u8]) {
    stream.write_all(&framed(body)).unwrap();
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut body = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut body).unwrap();
    body
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn answers_leave_in_the_order_of_their_requests() {
    let node = Node::default();
    let mut stream = node.connect();
    for body in [&b"1"[..], b"p2", b"n", b"3", b"p4", b"r5"] {
        send(&mut stream, body);
    }
    let answers: Vec<_> = (0..5).map(|_| String::from_utf8(receive(&mut stream)).unwrap()).collect();
    assert_eq!(answers, ["1", "p2", "3", "p4", "r5"]);
}

#[test]
fn thousands_of_requests_in_one_write_and_one_byte_at_a_time_are_all_answered() {
    let node = Node::default();
    let mut stream = node.connect();
    let mut many = Vec::new();
    for number in 0..20_000u32 {
        many.extend_from_slice(&framed(&number.to_be_bytes()));
    }
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&many).unwrap());
    for number in 0..20_000u32 {
        assert_eq!(receive(&mut stream), number.to_be_bytes());
    }
    writing.join().unwrap();
    for byte in framed(b"slow").iter() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(receive(&mut stream), b"slow");
}

#[test]
fn requests_around_the_buffers_size_come_through_whole() {
    let node = Node::default();
    let mut stream = node.connect();
    let mut writer = stream.try_clone().unwrap();
    let sizes = [1usize, 16 << 10, (16 << 10) + 1, 90_000, 90_000, 250_000, 262_144, 300_000, 5 << 20, 7, 0, 1 << 20];
    let bodies: Vec<Vec<u8>> =
        sizes.iter().map(|size| (0..*size).map(|at| (at * 31 + size) as u8 | 128).collect()).collect();
    let sent = bodies.clone();
    let writing = std::thread::spawn(move || sent.iter().for_each(|body| writer.write_all(&framed(body)).unwrap()));
    for body in &bodies {
        assert!(receive(&mut stream) == *body);
    }
    writing.join().unwrap();
    // All memory is given back, the last of it when the node sees that its answer was taken.
    while node.memory.available_bytes() < 256 << 20 {
        std::thread::yield_now();
    }
}

#[test]
fn sizes_out_of_range_and_http_close_only_their_connection() {
    let node = Node::default();
    let mut other = node.connect();
    for bytes in [&[0x7f, 0xff, 0xff, 0xff, 1][..], &[0xff, 0xff, 0xff, 0xff], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = node.connect();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{bytes:?}");
    }
    let mut stream = node.connect();
    send(&mut stream, b"kept");
    send(&mut stream, b"close");
    assert_eq!(receive(&mut stream), b"kept", "what came before is answered");
    assert!(is_closed(&mut stream));
    send(&mut other, b"hello");
    assert_eq!(receive(&mut other), b"hello");
}

#[test]
fn slices_of_files_arrive_between_their_header_and_tail() {
    let node = Node::default();
    let path = std::env::temp_dir().join(format!("milena-pump-{}", std::process::id()));
    let content: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let source: Arc<dyn FileSource> = Arc::new(Opened(std::fs::File::open(&path).unwrap()));
    let mut stream = node.connect();
    for (position, len) in [(5usize, 100usize), (0, 2_999_000), (7, 40_000), (9, 0)] {
        *node.service.file.lock().unwrap() =
            Some(FileSlice { source: Arc::clone(&source), position: position as u64, len: len as u32 });
        send(&mut stream, b"f");
        send(&mut stream, b"1");
        let answer = receive(&mut stream);
        assert_eq!((answer[0], answer[answer.len() - 1]), (b'<', b'>'));
        assert!(answer[1..answer.len() - 1] == content[position..position + len]);
        assert_eq!(receive(&mut stream), b"1");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_large_request_waits_for_memory_and_others_go_on() {
    let node = Node::start(ConnectionLimits::default(), 1 << 20);
    let (mut holder, mut waiter, mut small) = (node.connect(), node.connect(), node.connect());
    holder.write_all(&(1i32 << 20).to_be_bytes()).unwrap();
    holder.write_all(&[0; 1000]).unwrap();
    while node.memory.available_bytes() > 0 {
        std::thread::yield_now();
    }
    let body = vec![9; 900_000];
    let mut writer = waiter.try_clone().unwrap();
    let sent = body.clone();
    let writing = std::thread::spawn(move || writer.write_all(&framed(&sent)));
    send(&mut small, b"small");
    assert_eq!(receive(&mut small), b"small");
    drop(holder);
    assert!(receive(&mut waiter) == body, "granted once the holder is gone");
    writing.join().unwrap().unwrap();
}

#[test]
fn who_holds_memory_and_sends_nothing_makes_way_for_others() {
    let limits = ConnectionLimits { stalled_request_max: Duration::from_millis(200), ..ConnectionLimits::default() };
    let node = Node::start(limits, 1 << 20);
    let (mut holder, mut waiter) = (node.connect(), node.connect());
    holder.write_all(&(1i32 << 20).to_be_bytes()).unwrap();
    holder.write_all(&[0; 1000]).unwrap();
    while node.memory.available_bytes() > 0 {
        std::thread::yield_now();
    }
    let body = vec![9; 900_000];
    let mut writer = waiter.try_clone().unwrap();
    let sent = body.clone();
    let writing = std::thread::spawn(move || writer.write_all(&framed(&sent)));
    assert!(receive(&mut waiter) == body, "granted once the holder was closed");
    writing.join().unwrap().unwrap();
    assert!(is_closed(&mut holder));
}

#[test]
fn huge_half_requests_keep_no_usual_one_waiting() {
    let node = Node::start(ConnectionLimits::default(), 64 << 20);
    let mut holders: Vec<TcpStream> = (0..8).map(|_| node.connect()).collect();
    for holder in &mut holders {
        holder.write_all(&(40i32 << 20).to_be_bytes()).unwrap();
    }
    while node.memory.available_bytes() > 32 << 20 {
        std::thread::yield_now();
    }
    let mut usual = node.connect();
    let body = vec![9; 900_000];
    let begin = Instant::now();
    let (mut writer, sent) = (usual.try_clone().unwrap(), body.clone());
    let writing = std::thread::spawn(move || writer.write_all(&framed(&sent)));
    assert!(receive(&mut usual) == body);
    writing.join().unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "waited {:?} behind huge ones", begin.elapsed());
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_from() {
    let limits = ConnectionLimits { pending_requests_max: 8, ..ConnectionLimits::default() };
    let node = Node::start(limits, 64 << 20);
    let mut stream = node.connect();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let frame = framed(&vec![7; 200_000]);
    let taken = (0..1000).take_while(|_| stream.write_all(&frame).is_ok()).count();
    assert!(taken < 200, "took {taken} requests of 200 kB without one answer being read");
    let mut parking = node.connect();
    parking.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let frame = framed(&[&b"p"[..], &[0; 100_000]].concat());
    let taken = (0..1000).take_while(|_| parking.write_all(&frame).is_ok()).count();
    assert!(taken < 200, "took {taken} requests that all wait");
}

#[test]
fn connections_are_limited_and_idle_ones_closed() {
    let limits = ConnectionLimits {
        quotas: ConnectionQuotas { max_connections_per_ip: 2, ..ConnectionQuotas::default() },
        connections_max_idle: Some(Duration::from_millis(200)),
        ..ConnectionLimits::default()
    };
    let node = Node::start(limits, 1 << 20);
    let (mut first, mut second) = (node.connect(), node.connect());
    send(&mut first, b"1");
    assert_eq!(receive(&mut first), b"1");
    send(&mut second, b"2");
    assert_eq!(receive(&mut second), b"2");
    assert!(is_closed(&mut node.connect()), "a third from the same address");
    assert!(is_closed(&mut first) && is_closed(&mut second), "idle");
}

#[test]
fn accepting_waits_for_a_place() {
    let quotas = ConnectionQuotas { max_connections: 1, ..ConnectionQuotas::default() };
    let node = Node::start(ConnectionLimits { quotas, ..ConnectionLimits::default() }, 1 << 20);
    let mut first = node.connect();
    send(&mut first, b"1");
    assert_eq!(receive(&mut first), b"1");
    let mut second = node.connect();
    send(&mut second, b"2");
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(receive(&mut second), b"2");
}

#[test]
fn quotas_change_while_the_server_runs() {
    let node = Node::default();
    let quotas = node.server.as_ref().unwrap().quotas();
    let mut first = node.connect();
    send(&mut first, b"1");
    assert_eq!(receive(&mut first), b"1");
    quotas.set(ConnectionQuotas { max_connections_per_ip: 1, ..ConnectionQuotas::default() });
    // The acceptor asked for its turn before; this one it takes and closes.
    assert!(is_closed(&mut node.connect()), "a second from the same address");
    let one = ListenerQuotas { max_connections: 1, ..ListenerQuotas::default() };
    let listeners = [("PLAINTEXT".to_owned(), one)].into();
    quotas.set(ConnectionQuotas { listeners, ..ConnectionQuotas::default() });
    let mut second = node.connect();
    send(&mut second, b"2");
    // That one may have been let in on the turn given before; the next one waits.
    let mut third = node.connect();
    send(&mut third, b"3");
    third.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(third.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    quotas.set(ConnectionQuotas::default());
    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!((receive(&mut second), receive(&mut third)), (b"2".to_vec(), b"3".to_vec()));
}

#[test]
fn connections_are_accepted_no_faster_than_the_rate() {
    let quotas = ConnectionQuotas { max_connection_creation_rate: 20, ..ConnectionQuotas::default() };
    let node = Node::start(ConnectionLimits { quotas, ..ConnectionLimits::default() }, 1 << 20);
    let start = Instant::now();
    let mut streams: Vec<_> = (0..31).map(|_| node.connect()).collect();
    for stream in &mut streams {
        send(stream, b"1");
        assert_eq!(receive(stream), b"1");
    }
    // The first second's worth may come at once.
    assert!(start.elapsed() >= Duration::from_millis(500), "31 connections in {:?}", start.elapsed());
}

#[test]
fn answers_larger_than_their_requests_are_made_only_as_fast_as_they_are_taken() {
    let node = Node::start(ConnectionLimits::default(), 4 << 20);
    let mut stream = node.connect();
    // 2,000 requests of 104 bytes with answers of 100 kB each: 200 MB, which must not lie in memory.
    let many: Vec<u8> = (0..2000).flat_map(|_| framed(&[b'x'; 100])).collect();
    stream.write_all(&many).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(node.memory.available_bytes() >= (4 << 20) - (2 << 20), "no more than an answer past 1 MiB is counted");
    for _ in 0..2000 {
        assert_eq!(receive(&mut stream).len(), 100_000);
    }
    while node.memory.available_bytes() < 4 << 20 {
        std::thread::yield_now();
    }
}

#[test]
fn peers_that_take_nothing_are_closed_when_memory_is_used_up_and_others_go_on() {
    let node = Node::start(ConnectionLimits::default(), 2 << 20);
    let mut other = node.connect();
    let many: Vec<u8> = (0..200).flat_map(|_| framed(&[b'x'; 500])).collect();
    let mut slow: Vec<_> = (0..8).map(|_| node.connect()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(&many).unwrap());
    let closed = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        // Something arrived; a reset comes once the socket's own buffer is behind us.
        let mut all = vec![0; 1 << 20];
        let mut stream = stream;
        let ended = loop {
            match stream.read(&mut all) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() == ErrorKind::ConnectionReset,
            }
        };
        stream.set_nonblocking(false).unwrap();
        ended
    };
    while node.server.as_ref().unwrap().connection_count() > 3 {
        std::thread::yield_now();
    }
    send(&mut other, b"still here");
    assert_eq!(receive(&mut other), b"still here");
    // The news of it may still be on its way.
    while slow.iter().filter(|stream| closed(stream)).count() < 6 {
        std::thread::yield_now();
    }
}

#[test]
fn shutdown_closes_every_connection_and_frees_the_port() {
    let mut node = Node::default();
    let mut streams: Vec<_> = (0..20).map(|_| node.connect()).collect();
    for stream in &mut streams {
        send(stream, b"1");
        assert_eq!(receive(stream), b"1");
    }
    send(&mut streams[0], b"p");
    let server = node.server.take().unwrap();
    assert_eq!(server.connection_count(), 20);
    node.runtime.block_on(server.shutdown());
    assert!(streams.iter_mut().all(is_closed));
    std::net::TcpListener::bind(node.address).expect("the port is free again");
}

//! What many connections cost together, measured as the memory of this process: one test, so that nothing else uses any.

#![expect(clippy::unwrap_used, reason = "a test may")]

use bytes::Bytes;
use milena_network::{ConnectionLimits, ListenerConfig, Memory, Peer, Replies, Server, Service};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Silent;

impl Service for Silent {
    type Session = ();
    fn open(&self, _: &Peer) {}
    fn handle(&self, (): &mut (), frames: &mut Vec<Bytes>, replies: &mut Replies<'_>) {
        frames.clear();
        replies.close();
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn half_requests_of_many_connections_cost_the_budget_and_a_little_each() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let guard = runtime.enter();
    let memory = Memory::new(1 << 20);
    let listener = ListenerConfig::new("PLAINTEXT", "127.0.0.1:0".parse().unwrap());
    let mut server =
        Server::bind(vec![listener], ConnectionLimits::default(), memory.clone(), Arc::new(Silent)).unwrap();
    let address = server.addresses()[0].1;
    server.start();
    drop(guard);
    let before = resident_bytes();
    // 400 peers each announce 50 MiB, send a part of it, and stop.
    let part = [&(50i32 << 20).to_be_bytes()[..], &vec![7; 150 << 10]].concat();
    let peers: Vec<TcpStream> = (0..400)
        .map(|_| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(1);
    let mut sent = vec![0; peers.len()];
    while Instant::now() < end {
        for (mut stream, sent) in peers.iter().zip(&mut sent) {
            *sent += stream.write(&part[*sent..]).unwrap_or(0);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "400 half requests hold {grown} bytes");
    assert_eq!(server.connection_count(), 400);
    assert_eq!(memory.available_bytes(), 0, "one of them holds the budget");
}

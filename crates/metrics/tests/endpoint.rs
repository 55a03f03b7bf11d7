//! The endpoint over its socket: what it answers, and what clients that misbehave get.
#![expect(clippy::unwrap_used, reason = "a test may")]

use milena_metrics::{Endpoint, Kind, Listening, Metric, Page, Source};
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static PAGES: Metric = Metric { name: "pages", kind: Kind::Counter, labels: "", mbean: "", help: "Pages made." };

#[derive(Default)]
struct Counting(AtomicU64);

impl Source for Counting {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.number(&PAGES, self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

fn endpoint() -> Endpoint {
    let listening = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    listening.start(Arc::new(Counting::default())).unwrap()
}

fn connect(endpoint: &Endpoint) -> TcpStream {
    let stream = TcpStream::connect(endpoint.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Everything until the endpoint closes; a reset after an answer is an end, too.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        if count == 0 {
            break;
        }
        all.extend_from_slice(piece.get(..count).unwrap());
    }
    String::from_utf8(all).unwrap()
}

fn ask(endpoint: &Endpoint, request: &str) -> String {
    let mut stream = connect(endpoint);
    stream.write_all(request.as_bytes()).unwrap();
    rest(stream)
}

#[test]
fn a_scrape_gets_the_page_in_the_format_it_asks_for() {
    let endpoint = endpoint();
    let plain = ask(&endpoint, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.1 200 OK\r\n"), "{plain}");
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{plain}");
    assert!(plain.ends_with("# TYPE pages counter\npages_total 1\n# EOF\n"), "{plain}");
    let open = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text;version=1.0.0,*/*\r\n\r\n";
    assert!(ask(&endpoint, open).contains("content-type: application/openmetrics-text; version=1.0.0;"));
}

#[test]
fn other_requests_are_refused() {
    let endpoint = endpoint();
    let status = |request: &str| ask(&endpoint, request).lines().next().unwrap_or_default().to_owned();
    assert_eq!(status("GET / HTTP/1.1\r\nhost: x\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(
        status("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"),
        "HTTP/1.1 405 Method Not Allowed"
    );
    assert_eq!(status("what is this\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let mut stream = connect(&endpoint);
    // It may be closed before all of it was taken.
    let _ = stream.write_all(long.as_bytes());
    assert!(!rest(stream).contains("200 OK"));
    assert!(ask(&endpoint, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").contains("pages_total"));
}

#[test]
fn clients_that_say_nothing_keep_nobody_out_for_long() {
    let endpoint = endpoint();
    let silent: Vec<TcpStream> = (0..20).map(|_| connect(&endpoint)).collect();
    assert!(ask(&endpoint, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").contains("pages_total"));
    drop(silent);
}

#[test]
fn an_address_that_is_taken_is_an_error_and_a_dropped_endpoint_frees_it() {
    let endpoint = endpoint();
    let address = endpoint.address();
    assert!(Listening::bind(address).is_err());
    drop(endpoint);
    assert!(TcpStream::connect(address).is_err());
}

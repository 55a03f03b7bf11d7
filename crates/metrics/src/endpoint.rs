//! The HTTP endpoint: `GET /metrics`. It has a thread of its own, so that a scrape never takes time from connections, and
//! everything a client can do is bounded: how many there are, how much they say, how long they take, how often a page is
//! made. There is no authentication: who may not see it must not reach the address.

use crate::page::{self, Source};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

/// Connections served at once; others wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// How long a client may take to say what it wants.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// How long a client may take for everything, reading the page too.
const CONNECTION_MAX: Duration = Duration::from_secs(20);

/// What a request's head may take.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A page that is not older is handed out again: scrapes must not take a processor for themselves.
const PAGE_AGE_MAX: Duration = Duration::from_millis(100);

/// How long accepting rests after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An address that is bound; clients can connect, and are served once it has begun.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// The endpoint while it serves. Dropped, it ends.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Binds the address.
    ///
    /// # Errors
    /// It is taken, or not this machine's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address with the port that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what `source` writes, from a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self, source: Arc<dyn Source>) -> io::Result<Endpoint> {
        let (stop, stopped) = oneshot::channel();
        let Self { listener, address } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => tokio::select! {
                        () = accept(&listener, Rc::new(Pages::new(source))) => {}
                        // Also when the endpoint was dropped.
                        _ = stopped => {}
                    },
                    Err(error) => tracing::error!(%error, "metrics are not served"),
                }
            });
        })?;
        Ok(Endpoint { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Endpoint {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the metrics failed");
        }
    }
}

async fn accept(listener: &tokio::net::TcpListener, pages: Rc<Pages>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the metrics' listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let pages = Rc::clone(&pages);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &pages);
                async move { Ok::<_, Infallible>(response) }
            });
            let serving = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(HEAD_BYTES_MAX)
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_MAX)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(CONNECTION_MAX, serving).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a client of the metrics was closed"),
                Err(_) => tracing::debug!("a client of the metrics took too long"),
            }
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, pages: &Pages) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return refused(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accepts = |kind: &str| {
        let values = request.headers().get_all(hyper::header::ACCEPT);
        values.iter().any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
    };
    // The older format has no `_total` in the lines about a counter, which its readers do not mind.
    let kind = if accepts("application/openmetrics-text") { OPEN_METRICS } else { PLAIN_TEXT };
    let mut response = Response::new(Full::new(pages.page_at(Instant::now())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn refused(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN_TEXT));
    response
}

/// Makes pages, and keeps the last one for a moment.
struct Pages {
    registry: Registry,
    last: std::cell::RefCell<Option<(Instant, Bytes)>>,
}

impl Pages {
    fn new(source: Arc<dyn Source>) -> Self {
        Self { registry: page::registry(source), last: std::cell::RefCell::default() }
    }

    fn page_at(&self, now: Instant) -> Bytes {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((made, page)) if now.saturating_duration_since(*made) <= PAGE_AGE_MAX => page.clone(),
            _ => {
                let page = Bytes::from(page::text(&self.registry));
                *last = Some((now, page.clone()));
                page
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Kind, Metric, Page};
    use std::sync::atomic::{AtomicU64, Ordering};

    static PAGES: Metric = Metric { name: "pages", kind: Kind::Gauge, labels: "", mbean: "", help: "Pages made." };

    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Source for Counting {
        fn write(&self, page: &mut Page<'_>) -> std::fmt::Result {
            page.number(&PAGES, self.0.fetch_add(1, Ordering::Relaxed))
        }
    }

    #[test]
    fn scrapes_in_quick_succession_get_the_same_page() {
        let pages = Pages::new(Arc::new(Counting::default()));
        let first = Instant::now();
        let page = pages.page_at(first);
        assert_eq!(pages.page_at(first + PAGE_AGE_MAX), page);
        assert_ne!(pages.page_at(first + PAGE_AGE_MAX + Duration::from_millis(1)), page);
    }
}

//! The HTTP side: one thread for each request, and the stop that lets requests
//! under way finish. The owner of the package tiny_http.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tiny_http::{Header, Request, Response};

use crate::panics;

/// A request thread parses nothing and formats a page of text; untouched pages
/// cost nothing.
const REQUEST_STACK: usize = 128 * 1024;

/// How long a listener that cannot accept is left alone, and how often that is
/// tried in a row.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
const REOPEN_ATTEMPTS: u32 = 100;

/// What a request is answered with.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Plain text, which all answers but the metrics are.
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

impl Reply {
    /// A plain text reply.
    #[must_use]
    pub fn plain(status: u16, body: String) -> Reply {
        Reply {
            status,
            content_type: PLAIN_TEXT,
            body,
        }
    }
}

/// Answers a request for this target that arrived at this moment.
pub type Respond = dyn Fn(&str, Instant) -> Reply + Send + Sync;

/// Counts the requests under way.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<(Mutex<usize>, Condvar)>);

impl UnderWay {
    fn enter(&self) -> UnderWayGuard {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        UnderWayGuard(self.clone())
    }

    /// Waits until no request is under way, or for `at_most`.
    pub fn drain(&self, at_most: Duration) {
        let (count, left) = &*self.0;
        let count = count.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it timed out or not, what follows is the end.
        drop(left.wait_timeout_while(count, at_most, |count| *count > 0));
    }
}

struct UnderWayGuard(UnderWay);

impl Drop for UnderWayGuard {
    fn drop(&mut self) {
        let (count, left) = &*self.0.0;
        *count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        left.notify_all();
    }
}

/// Serves `listener` from a thread of its own until the process ends;
/// `beyond_repair` hears why it cannot go on.
///
/// # Errors
///
/// When the thread or tiny_http cannot be started.
pub fn serve(
    name: &'static str,
    listener: TcpListener,
    under_way: UnderWay,
    respond: Arc<Respond>,
    beyond_repair: impl Fn(&str) + Send + 'static,
) -> Result<(), String> {
    let server = open(&listener).map_err(|error| format!("cannot serve HTTP: {error}"))?;
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(REQUEST_STACK)
        .spawn(move || {
            let ended = panics::caught(|| receive(server, &listener, &under_way, &respond));
            beyond_repair(&ended.unwrap_or_else(|panic| panic));
        })
        .map(drop)
        .map_err(|error| format!("cannot start the thread {name:?}: {error}"))
}

/// Receives requests for ever. Comes back with the reason when it cannot.
fn receive(
    mut server: tiny_http::Server,
    listener: &TcpListener,
    under_way: &UnderWay,
    respond: &Arc<Respond>,
) -> String {
    loop {
        let error = match server.recv() {
            Ok(request) => {
                hand_over(request, under_way.enter(), respond);
                continue;
            }
            Err(error) => error,
        };
        // tiny_http's accept loop has ended and will not come back, and another
        // recv() would wait for ever: the listener gets another one.
        log::error!(err = error.to_string(); "Cannot accept connections, trying again");
        let mut reopened = None;
        for _ in 0..REOPEN_ATTEMPTS {
            thread::sleep(REOPEN_PAUSE);
            reopened = open(listener).ok();
            if reopened.is_some() {
                break;
            }
        }
        match reopened {
            Some(reopened) => server = reopened,
            None => return format!("cannot serve HTTP any more: {error}"),
        }
    }
}

fn open(listener: &TcpListener) -> Result<tiny_http::Server, String> {
    let listener = listener.try_clone().map_err(|error| error.to_string())?;
    tiny_http::Server::from_listener(listener, None).map_err(|error| error.to_string())
}

/// Gives a request its thread; where none can be had, answers it right here,
/// slower than usual, but a healthy driver stays healthy.
fn hand_over(request: Request, guard: UnderWayGuard, respond: &Arc<Respond>) {
    let arrived = Instant::now();
    // The closure is lost when the spawn fails; what it holds must not be.
    let parcel = Arc::new(Mutex::new(Some((request, guard))));
    let answer = {
        let parcel = Arc::clone(&parcel);
        let respond = Arc::clone(respond);
        move || {
            let parcel = parcel.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((request, _guard)) = parcel {
                answer(request, arrived, &*respond);
            }
        }
    };
    let spawned = thread::Builder::new()
        .name("request".to_owned())
        .stack_size(REQUEST_STACK)
        .spawn(answer.clone());
    if let Err(error) = spawned {
        log::debug!(err = error.to_string(); "Cannot start a request's thread");
        answer();
    }
}

fn answer(request: Request, arrived: Instant, respond: &Respond) {
    let reply = if has_body(&request) {
        Reply::plain(413, "a request's body is not accepted here".to_owned())
    } else {
        panics::caught(|| respond(request.url(), arrived)).unwrap_or_else(|panic| {
            log::error!(err = panic; "Cannot answer a request, this is a bug");
            Reply::plain(
                500,
                "this sidecar has a bug; its log tells which".to_owned(),
            )
        })
    };
    log::debug!(
        method = request.method().to_string(), target = request.url(), status = reply.status;
        "Request answered"
    );
    let mut response = Response::from_string(reply.body)
        .with_status_code(reply.status)
        // Never chunked: the length is known.
        .with_chunked_threshold(usize::MAX);
    if let Ok(header) = Header::from_bytes("Content-Type", reply.content_type) {
        response.add_header(header);
    }
    // A client that has gone needs no answer. tiny_http sorts a hostile TE
    // header here and may panic.
    let _ = panics::caught(|| request.respond(response));
}

fn has_body(request: &Request) -> bool {
    let length = request.body_length().unwrap_or(0);
    length > 0
        || request
            .headers()
            .iter()
            .any(|header| header.field.equiv("Transfer-Encoding"))
}

/// The reason a listener could not be opened, for people.
#[must_use]
pub fn why_not_listening(address: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "address in use: another process on this node, or another container of this pod, \
             has this port; choose another one with --health-port or --http-endpoint"
        }
        io::ErrorKind::AddrNotAvailable => "no interface of this host has this address",
        io::ErrorKind::PermissionDenied => {
            "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE"
        }
        _ => return format!("cannot listen on {address}: {error}"),
    };
    format!("cannot listen on {address}: {hint}")
}

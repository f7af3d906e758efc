//! tiny_http behind the door, and a thread of its own for each request under way. The
//! owner of the package tiny_http.
//!
//! It only ever sees requests in the door's own words, over streams that were
//! there when it started.

mod over_tcp;

use std::io::{self, Cursor};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tiny_http::{Header, Request, Response};

use crate::admission::{ARRIVED_HEADER, SERVER};
use crate::clock::Utc;
use crate::health::Route;
use crate::panics;
use crate::socket;

/// A request thread parses nothing and formats a page of text; untouched pages
/// cost nothing.
const STACK: usize = 128 * 1024;

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

/// Answers a request that arrived at this moment.
pub type Respond = dyn Fn(Route, Instant) -> Reply + Send + Sync;

/// How many connections one of tiny_http's servers takes. Its pool starts with four
/// threads, and queues a connection while it believes that one of them is idle: of
/// more that come at once, some would wait for a thread for ever.
pub const CONNECTIONS_MAX: usize = 4;

/// How many threads wait for requests when there are none: one, and one that takes over
/// from it. With one alone each request would start a thread and end one.
const WAITING_MAX: usize = 2;

/// Serves this many streams, [`CONNECTIONS_MAX`] at most, from threads of its own, until the
/// process ends; these are the other ends. Arrivals are counted from `origin`;
/// `beyond_repair` hears why it cannot go on.
///
/// # Errors
///
/// When a stream, a thread or tiny_http cannot be had.
pub fn open(
    count: usize,
    origin: Instant,
    respond: Arc<Respond>,
    beyond_repair: impl Fn(&str) + Clone + Send + Sync + 'static,
) -> Result<Vec<UnixStream>, String> {
    match socket::private_listener(count) {
        Ok((listener, streams)) => {
            serve(listener, origin, respond, beyond_repair)?;
            Ok(streams)
        }
        Err(unix) => over_tcp::open(count, origin, &respond, &beyond_repair).map_err(|tcp| {
            format!(
                "cannot open the way to the HTTP server: with Unix sockets: {unix}; with TCP: {tcp}"
            )
        }),
    }
}

/// Serves the connections that wait at `listener`, [`CONNECTIONS_MAX`] at most, from
/// threads of its own, until the process ends. Arrivals are counted from `origin`;
/// `beyond_repair` hears why it cannot go on.
///
/// # Errors
///
/// When a thread or tiny_http cannot be started.
fn serve(
    listener: UnixListener,
    origin: Instant,
    respond: Arc<Respond>,
    beyond_repair: impl Fn(&str) + Send + Sync + 'static,
) -> Result<(), String> {
    let server = tiny_http::Server::from_listener(listener, None)
        .map_err(|error| format!("cannot serve HTTP: {error}"))?;
    let crew = Arc::new(Crew {
        server,
        origin,
        respond,
        beyond_repair: Box::new(beyond_repair),
        waiting: AtomicUsize::new(0),
        is_closed: AtomicBool::new(false),
    });
    Crew::join(&crew).map_err(|error| format!("cannot start the thread \"request\": {error}"))
}

/// The threads of one server: each waits for a request, sees to it that another one does,
/// and answers.
struct Crew {
    server: tiny_http::Server,
    origin: Instant,
    respond: Arc<Respond>,
    beyond_repair: Box<dyn Fn(&str) + Send + Sync>,
    /// How many wait for a request.
    waiting: AtomicUsize,
    /// tiny_http has told that it accepts no connection any more.
    is_closed: AtomicBool,
}

impl Crew {
    /// Starts a thread.
    fn join(crew: &Arc<Crew>) -> io::Result<()> {
        let member = Arc::clone(crew);
        crew.waiting.fetch_add(1, Ordering::SeqCst);
        thread::Builder::new()
            .name("request".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let worked = panics::caught(|| work(&member));
                if let Err(reason) = worked.map_err(String::from).flatten() {
                    (member.beyond_repair)(&reason);
                }
            })
            .map(drop)
            .inspect_err(|_| {
                crew.waiting.fetch_sub(1, Ordering::SeqCst);
            })
    }
}

/// Answers requests until others do, or nobody can; says why then.
fn work(crew: &Arc<Crew>) -> Result<(), String> {
    loop {
        match crew.server.recv() {
            Ok(request) => {
                let is_last = crew.waiting.fetch_sub(1, Ordering::SeqCst) == 1;
                // Where no thread can be had, the next request waits for this one: slower
                // than usual, but a healthy driver stays healthy.
                if is_last && let Err(error) = Crew::join(crew) {
                    log::debug!(err = error.to_string(); "Cannot start a request's thread");
                }
                let answered = panics::caught(|| answer(request, crew.origin, &*crew.respond));
                if let Err(panic) = answered {
                    log::error!(err = panic.to_string(); "Cannot answer a request, this is a bug");
                }
                let joined =
                    crew.waiting
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| {
                            (waiting < WAITING_MAX).then_some(waiting + 1)
                        });
                if joined.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                // tiny_http's accept loop ends once it has taken the private
                // streams, because the listener is shut down; that is told once.
                if crew.is_closed.swap(true, Ordering::SeqCst) {
                    return Err(format!("cannot serve HTTP any more: {error}"));
                }
            }
        }
    }
}

fn answer(request: Request, origin: Instant, respond: &Respond) {
    let arrived = arrival(&request, origin);
    let route = Route::of_target(request.url());
    if let Err(error) = request.respond(response(route, arrived, respond)) {
        log::error!(err = error.to_string(); "Cannot answer the door, this is a bug");
    }
}

fn response(route: Route, arrived: Instant, respond: &Respond) -> Response<Cursor<Vec<u8>>> {
    let reply = panics::caught(|| respond(route, arrived)).unwrap_or_else(|panic| {
        log::error!(err = panic.to_string(); "Cannot answer a request, this is a bug");
        Reply::plain(
            500,
            "this sidecar has a bug; its log tells which".to_owned(),
        )
    });
    let mut response = Response::from_string(reply.body)
        .with_status_code(reply.status)
        // Never chunked: the length is known.
        .with_chunked_threshold(usize::MAX);
    let date = Utc::from(SystemTime::now()).http();
    for (name, value) in [
        ("Content-Type", reply.content_type),
        ("Server", SERVER),
        // tiny_http's own panics before 1970 and after 9999.
        ("Date", &date),
    ] {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    response
}

/// When the request came to the door.
fn arrival(request: &Request, origin: Instant) -> Instant {
    let header = request
        .headers()
        .iter()
        .find(|header| header.field.equiv(ARRIVED_HEADER));
    moment(header.map(|header| header.value.as_str()), origin)
}

/// The moment that a header's value stands for.
fn moment(value: Option<&str>, origin: Instant) -> Instant {
    value
        .and_then(|value| value.parse().ok())
        .and_then(|nanoseconds| origin.checked_add(Duration::from_nanos(nanoseconds)))
        .unwrap_or_else(Instant::now)
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

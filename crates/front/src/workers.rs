//! tiny_http behind the event loop, and a thread of its own for each request to it. The owner of
//! the package tiny_http.
//!
//! It only ever reads requests that the event loop has written, over streams that were there when
//! it started.

mod over_tcp;

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use program::{Program, panics};
use tiny_http::{Header, Request, Response};

use crate::connected_pairs;
use crate::exchange::{Exchange, Slot};
use crate::site::Site;

/// A worker parses nothing and formats a page of text; untouched pages cost nothing.
const STACK: usize = 128 * 1024;

/// How many connections one of tiny_http's servers takes. Its pool starts with four threads, and
/// queues a connection while it believes that one of them is idle: of more that come at once,
/// some would wait for a thread without end.
const CONNECTIONS_MAX: usize = 4;

/// Idle request threads: one that waits, and one that takes its place when it gets a request. With
/// one alone each request would start a thread and end one.
const IDLE_MAX: usize = 2;

/// Ends a process whose HTTP side cannot go on, for this reason.
pub type Fatal = fn(&str);

/// Opens an exchange for each group, each with a worker behind it, until the process ends.
///
/// # Errors
///
/// When a stream, a thread or tiny_http cannot be had.
pub fn open<S: Site>(
    program: &Program,
    site: &Arc<S>,
    fatal: Fatal,
) -> Result<Vec<Exchange<S>>, String> {
    let slots: Arc<[Slot<S::Prepared>]> = (0..site.groups()).map(|_| Slot::new()).collect();
    let mut exchanges = Vec::new();
    while exchanges.len() < site.groups() {
        let count = (site.groups() - exchanges.len()).min(CONNECTIONS_MAX);
        let work = Work {
            site: Arc::clone(site),
            slots: Arc::clone(&slots),
        };
        for stream in connect(count, program, work, fatal)? {
            let group = exchanges.len();
            exchanges.push(Exchange::new(group, stream, Arc::clone(&slots)));
        }
    }
    Ok(exchanges)
}

/// Connects so many streams to workers.
fn connect<S: Site>(
    count: usize,
    program: &Program,
    work: Work<S>,
    fatal: Fatal,
) -> Result<Vec<UnixStream>, String> {
    match connected_pairs::over_unix(program, count) {
        Ok((listener, streams)) => {
            serve(listener, work, fatal)?;
            Ok(streams)
        }
        Err(unix) => over_tcp::open(count, &work, fatal).map_err(|tcp| {
            format!(
                "cannot connect to the HTTP workers: with Unix sockets: {unix}; with TCP: {tcp}"
            )
        }),
    }
}

/// What a worker does: it prepares the answers of a group.
struct Work<S: Site> {
    site: Arc<S>,
    slots: Arc<[Slot<S::Prepared>]>,
}

impl<S: Site> Clone for Work<S> {
    fn clone(&self) -> Work<S> {
        Work {
            site: Arc::clone(&self.site),
            slots: Arc::clone(&self.slots),
        }
    }
}

impl<S: Site> Work<S> {
    /// Prepares the answers that the event loop has asked for by this target.
    fn prepare(&self, target: &str) {
        let group: Option<usize> = target.trim_start_matches('/').parse().ok();
        let Some((group, slot)) = group.and_then(|group| Some((group, self.slots.get(group)?)))
        else {
            log::error!(target = target; "Cannot prepare an answer for no group, this is a bug");
            return;
        };
        let arrived = slot.arrived();
        match panics::catch(|| self.site.prepare(group, arrived)) {
            Ok(prepared) => slot.put(prepared),
            Err(panic) => {
                log::error!(err = panic.to_string(); "Cannot prepare an answer, this is a bug");
            }
        }
    }
}

/// Serves the connections that wait at `listener`, [`CONNECTIONS_MAX`] at most.
fn serve<S: Site>(listener: UnixListener, work: Work<S>, fatal: Fatal) -> Result<(), String> {
    let server = tiny_http::Server::from_listener(listener, None)
        .map_err(|error| format!("cannot serve HTTP: {error}"))?;
    let workers = Arc::new(Workers {
        server,
        work,
        fatal,
        waiting: AtomicUsize::new(0),
        is_closed: AtomicBool::new(false),
    });
    Workers::spawn_one(&workers)
        .map_err(|error| format!("cannot start the thread \"request\": {error}"))
}

/// The threads of one server: each waits for a request, starts another thread if none waits
/// then, and does the work.
struct Workers<S: Site> {
    server: tiny_http::Server,
    work: Work<S>,
    fatal: Fatal,
    /// How many wait for a request.
    waiting: AtomicUsize,
    /// tiny_http has reported that it accepts no connection any more.
    is_closed: AtomicBool,
}

impl<S: Site> Workers<S> {
    fn spawn_one(workers: &Arc<Workers<S>>) -> io::Result<()> {
        let one = Arc::clone(workers);
        workers.waiting.fetch_add(1, Ordering::SeqCst);
        thread::Builder::new()
            .name("request".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let served = panics::catch(|| serve_requests(&one));
                if let Err(reason) = served.map_err(String::from).flatten() {
                    (one.fatal)(&reason);
                }
            })
            .map(drop)
            .inspect_err(|_| {
                workers.waiting.fetch_sub(1, Ordering::SeqCst);
            })
    }
}

/// Answers requests until enough other threads wait for the next one.
///
/// # Errors
///
/// Why no thread can serve any more.
fn serve_requests<S: Site>(workers: &Arc<Workers<S>>) -> Result<(), String> {
    loop {
        match workers.server.recv() {
            Ok(request) => {
                let is_last = workers.waiting.fetch_sub(1, Ordering::SeqCst) == 1;
                // Where no thread can be had, the next request waits for this one: slower than
                // usual, but a healthy driver stays healthy.
                if is_last && let Err(error) = Workers::spawn_one(workers) {
                    log::debug!(err = error.to_string(); "Cannot start a request's thread");
                }
                answer(request, &workers.work);
                let goes_on =
                    workers
                        .waiting
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| {
                            (waiting < IDLE_MAX).then_some(waiting + 1)
                        });
                if goes_on.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                // tiny_http's accept loop ends once it has taken the streams, because the
                // listener is shut down; it reports that once.
                if workers.is_closed.swap(true, Ordering::SeqCst) {
                    return Err(format!("cannot serve HTTP any more: {error}"));
                }
            }
        }
    }
}

fn answer<S: Site>(request: Request, work: &Work<S>) {
    work.prepare(request.url());
    let responded = panics::catch(|| request.respond(done()));
    let error = match responded {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    };
    log::error!(err = error; "Cannot answer the event loop, this is a bug");
}

/// The response to the event loop. It is empty, because the prepared answers are in the slot.
fn done() -> Response<io::Empty> {
    let mut response = Response::empty(204);
    // tiny_http would write the time of day, and its formatting panics before 1970 and after
    // 9999. Nothing reads it.
    if let Ok(date) = Header::from_bytes("Date", "Thu, 01 Jan 1970 00:00:00 GMT") {
        response.add_header(date);
    }
    response
}

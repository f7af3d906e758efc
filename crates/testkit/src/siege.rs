//! A siege: other clients do their worst while a well-behaved client sends ten requests a
//! second. The sidecar must answer each of those in time, within bounds of memory and
//! threads, and afterwards its resources must be as they were before.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::http::{self, Response};
use crate::sidecar::Sidecar;
use crate::sys::{bind_without_port, raise_descriptor_limit};
use crate::wait::{PATIENCE, eventually};

/// What a sidecar may use during a siege.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Resident memory in KiB.
    pub memory: u64,
    /// Threads.
    pub threads: u64,
}

/// How much more resident memory, in KiB, a sidecar may have after a siege than before.
const LEFT_BEHIND: u64 = 512;
/// How long the well-behaved client waits at most while others do their worst.
pub const PROMPT: Duration = Duration::from_millis(500);
/// The time between two requests of the well-behaved client.
const PACE: Duration = Duration::from_millis(100);

/// One siege runs at a time, because each needs the whole machine.
static ONE: Mutex<()> = Mutex::new(());

/// Returns whether the suites run at their full size (`make hostile`).
pub fn is_full() -> bool {
    std::env::var_os("HOSTILE_FULL").is_some()
}

/// Returns how long hostile clients keep what they have.
pub fn hold() -> Duration {
    Duration::from_secs(if is_full() { 15 } else { 3 })
}

/// Connects, with a read timeout that a test outlasts.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Opens so many connections and sends these bytes on each.
pub fn crowd(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    crowd_from(Ipv4Addr::LOCALHOST, address, count, bytes)
}

/// Does the same from this address.
pub fn crowd_from(
    from: Ipv4Addr,
    address: SocketAddr,
    count: usize,
    bytes: &[u8],
) -> Vec<TcpStream> {
    raise_descriptor_limit();
    (0..count)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            bind_without_port(&socket, from);
            socket
                .connect_timeout(&address.into(), PATIENCE)
                .expect("a connection");
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // The sidecar may have closed the connection already to make room.
            let _ = stream.write_all(bytes);
            stream
        })
        .collect()
}

/// Closes a connection with RST in place of FIN.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

/// Lays siege to a sidecar whose driver is healthy. `within` is how long a response to the
/// well-behaved client may take.
pub fn lay(sidecar: &Sidecar, bounds: Bounds, within: Duration, attack: impl FnOnce()) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1_000 {
        let response = sidecar.healthz();
        assert_eq!(response.both(), (200, "ok"));
        // A sidecar before a slow driver needs fewer requests until its memory is stable.
        if response.took > Duration::from_millis(500) {
            break;
        }
    }
    sidecar.get("/metrics");
    let before = settled(sidecar);
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let mut attacked = Duration::ZERO;
    let (memory, threads) = (AtomicU64::new(0), AtomicU64::new(0));
    let responses: Vec<Response> = std::thread::scope(|scope| {
        let well_behaved = scope.spawn(|| get_steadily(sidecar, &is_over));
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                memory.fetch_max(sidecar.status("VmRSS"), Ordering::Relaxed);
                threads.fetch_max(sidecar.status("Threads"), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        attack();
        is_over.store(true, Ordering::Relaxed);
        attacked = began.elapsed();
        well_behaved.join().unwrap()
    });
    for response in &responses {
        assert_eq!(response.both(), (200, "ok"), "{response:?}");
        assert!(response.took < within, "{response:?}");
    }
    // The client must have kept its pace, or these responses would prove little.
    let expected = attacked.as_millis() / PACE.as_millis();
    assert!(
        u128::try_from(responses.len()).unwrap() + 3 >= expected,
        "{} of {expected}",
        responses.len()
    );
    let (memory, threads) = (memory.into_inner(), threads.into_inner());
    assert!(memory <= bounds.memory, "{memory} KiB resident");
    assert!(threads <= bounds.threads, "{threads} threads");
    // Threads that tiny_http had to spare at its start may have ended meanwhile.
    let (descriptors, threads_before) = before.0;
    eventually("descriptors and threads back to where they were", || {
        sidecar.descriptors() == descriptors && sidecar.status("Threads") <= threads_before
    });
    let after = sidecar.status("VmRSS");
    assert!(
        after <= before.1 + LEFT_BEHIND,
        "{} KiB, then {after}",
        before.1
    );
    let longest = responses
        .iter()
        .map(|response| response.took)
        .max()
        .unwrap_or_default();
    println!(
        "{} responses, the slowest after {longest:?}; {memory} KiB and {threads} threads at most; \
         {} KiB before, {after} after",
        responses.len(),
        before.1
    );
}

/// Waits until the numbers of descriptors and threads stay the same, and returns them and
/// the resident memory.
fn settled(sidecar: &Sidecar) -> ((usize, u64), u64) {
    let mut last = (0, 0);
    let mut since = Instant::now();
    eventually("a settled sidecar", || {
        let now = (sidecar.descriptors(), sidecar.status("Threads"));
        if now != last {
            last = now;
            since = Instant::now();
        }
        since.elapsed() > Duration::from_millis(200)
    });
    (last, sidecar.status("VmRSS"))
}

/// Sends requests at a steady pace, each from a thread of its own, so that a slow response
/// does not delay the next request.
fn get_steadily(sidecar: &Sidecar, is_over: &AtomicBool) -> Vec<Response> {
    let mut clients = Vec::new();
    let mut next = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        let address = sidecar.address;
        clients.push(std::thread::spawn(move || http::get(address, "/healthz")));
        next += PACE;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let responses = clients.into_iter().map(|client| {
        client
            .join()
            .expect("a response to the well-behaved client")
    });
    responses.collect()
}

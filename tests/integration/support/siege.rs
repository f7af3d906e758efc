//! A siege: a stranger does his worst, and a well-behaved client asks ten times a
//! second all the while. Every one of its requests must be answered, in time,
//! within bounds of memory and threads, and afterwards all is as it was before.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::http;
use super::sys::{bind_without_port, raise_descriptor_limit};
use super::{PATIENCE, Response, Sidecar, eventually};

/// Resident memory during a siege, in KiB.
pub const MEMORY: u64 = 8 * 1024;
/// Threads during a siege.
pub const THREADS: u64 = 32;
/// Resident memory that may stay behind, in KiB.
const LEFT_BEHIND: u64 = 512;
/// What a well-behaved client waits at most while a stranger does his worst.
pub const PROMPT: Duration = Duration::from_millis(500);
/// Between two requests of the well-behaved client.
const PACE: Duration = Duration::from_millis(100);

/// One siege at a time: each is to have the machine for itself.
static ONE: Mutex<()> = Mutex::new(());

/// Whether the suites run at their full size (`make hostile`).
pub fn is_full() -> bool {
    std::env::var_os("HOSTILE_FULL").is_some()
}

/// How long strangers hold on to what they have.
pub fn hold() -> Duration {
    Duration::from_secs(if is_full() { 15 } else { 3 })
}

/// A connection that waits no longer than a test does.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// So many connections that have sent these bytes.
pub fn crowd(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    crowd_from(Ipv4Addr::LOCALHOST, address, count, bytes)
}

/// So many that come from this address.
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
            // It may have had to give way already.
            let _ = stream.write_all(bytes);
            stream
        })
        .collect()
}

/// Closes with RST in place of FIN.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

/// Lays siege to a sidecar whose driver is healthy. `within` is what the
/// well-behaved client's answers may take.
pub fn lay(sidecar: &Sidecar, within: Duration, attack: impl FnOnce()) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1_000 {
        // A slow driver's probes are warmed up by fewer.
        let response = sidecar.healthz();
        assert_eq!(response.both(), (200, "ok"));
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
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let well_behaved = scope.spawn(|| ask_steadily(sidecar, &is_over));
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
    for answer in &answers {
        assert_eq!(answer.both(), (200, "ok"), "{answer:?}");
        assert!(answer.took < within, "{answer:?}");
    }
    // It did ask at its pace.
    let expected = attacked.as_millis() / PACE.as_millis();
    assert!(
        u128::try_from(answers.len()).unwrap() + 3 >= expected,
        "{} of {expected}",
        answers.len()
    );
    let (memory, threads) = (memory.into_inner(), threads.into_inner());
    assert!(memory <= MEMORY, "{memory} KiB resident");
    assert!(threads <= THREADS, "{threads} threads");
    // tiny_http's spare threads of the start may have ended meanwhile.
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
    let longest = answers
        .iter()
        .map(|answer| answer.took)
        .max()
        .unwrap_or_default();
    println!(
        "{} answers, the slowest after {longest:?}; {memory} KiB and {threads} threads at most; \
         {} KiB before, {after} after",
        answers.len(),
        before.1
    );
}

/// Descriptors and threads, and resident memory, once nothing changes.
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

/// Asks at a steady pace, each time from a thread of its own: a slow answer does
/// not hold up the next question.
fn ask_steadily(sidecar: &Sidecar, is_over: &AtomicBool) -> Vec<Response> {
    let mut asked = Vec::new();
    let mut next = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        let address = sidecar.address;
        asked.push(std::thread::spawn(move || http::get(address, "/healthz")));
        next += PACE;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    asked
        .into_iter()
        .map(|asked| asked.join().expect("an answer to the well-behaved client"))
        .collect()
}

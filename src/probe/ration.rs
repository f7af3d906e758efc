//! What a driver may send in a call, and how long: gRPC reads a ration and no more, and
//! never waits for a driver to read.
//!
//! C-core's own bound is a target that it passes by far: the size of its reads
//! doubles without an end (`finish_estimate` in its tcp_posix.cc), and each small
//! frame costs it more than its own length. And for room to write it waits in the one
//! thread of the completion queue, with the calls of all drivers (c_core/unthreaded.rs).
//! So its system calls come by here. A driver's socket whose ration is used up has ended;
//! what a driver does not take counts as sent, and the socket is read to what is there
//! and ends, as one whose other side has gone.
//!
//! Once a call has its answer there is nothing left to say. C-core would send GOAWAY with the
//! words "Channel Destroyed" before it closes the connection, and a driver on gRPC's C++ or
//! Python library newer than 1.60 logs that, for each probe. So what it sends from then on
//! counts as sent, and the driver sees the end of the connection.
//!
//! Rejected: a pair of sockets in between, and copying. That was here before, and took
//! a sixth of a probe's processor time (docs/footprint.md).

mod system_calls;

use std::future::Future;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The most that is read from a driver in a call, in bytes, but for the read that passes
/// it, which is as large as all before it at most: the largest message that C-core takes has
/// 16 KiB, and the metadata before and behind it 65 KiB each (call.rs). The rest is for what
/// HTTP/2 puts around them.
pub const RATION: usize = 160 * 1024;

/// What gRPC gets to read an answer that was there by the deadline, and that it
/// had not read yet because this process was stopped or starved.
const LAST_CHANCE: Duration = Duration::from_millis(25);

/// The rations of the calls under way, and what is left of others: one for each number
/// that a descriptor has had.
static GIVEN: Mutex<Vec<Given>> = Mutex::new(Vec::new());

/// One of them. A panic cannot come between its changes.
struct Given {
    /// gRPC's descriptor.
    socket: RawFd,
    /// Whose: the number of a socket that gRPC has closed is soon another's.
    owner: u64,
    /// The number by which the kernel knows the socket itself.
    inode: u64,
    left: usize,
    last_read: Option<Instant>,
    /// Its call has its answer.
    is_answered: bool,
    /// Its call is over, and gRPC has closed it or is about to.
    is_over: bool,
}

fn given() -> MutexGuard<'static, Vec<Given>> {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does this with what is given to a socket, if it is a driver's.
fn with<T>(socket: RawFd, what: impl FnOnce(&mut Given) -> T) -> Option<T> {
    given()
        .iter_mut()
        .rfind(|given| given.socket == socket)
        .map(what)
}

/// Whether nothing more is read from it.
fn is_used_up(socket: RawFd) -> bool {
    with(socket, |given| given.left == 0 && !given.is_over).unwrap_or_default()
}

/// So many bytes have come.
fn has_come(socket: RawFd, count: usize) {
    with(socket, |given| {
        given.left = given.left.saturating_sub(count);
        given.last_read = Some(Instant::now());
    });
}

/// Whether it is a driver's, or was one and nobody knows what it is now: gRPC may still
/// have something to write.
fn is_a_drivers(socket: RawFd) -> bool {
    with(socket, |_| ()).is_some()
}

/// Whether it is a driver's, and its call has its answer. The number alone does not say: gRPC
/// may have closed the socket, and a DNS server may have it now.
fn is_answered(socket: RawFd) -> bool {
    let inode = with(socket, |given| given.is_answered.then_some(given.inode)).flatten();
    inode.is_some_and(|inode| inode == system_calls::inode(socket))
}

/// What is given to a driver's socket until this is dropped, and the wait for a reply.
pub struct Ration {
    socket: RawFd,
    owner: u64,
}

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Ration {
    /// Gives a ration to a driver's socket, which is to be gRPC's.
    pub fn new(socket: &OwnedFd) -> Ration {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        let ration = Ration {
            socket: socket.as_raw_fd(),
            owner: OWNERS.fetch_add(1, Ordering::Relaxed),
        };
        let mut all = given();
        all.retain(|given| !(given.is_over && given.socket == ration.socket));
        all.push(Given {
            socket: ration.socket,
            owner: ration.owner,
            inode: system_calls::inode(ration.socket),
            left: RATION,
            last_read: None,
            is_answered: false,
            is_over: false,
        });
        ration
    }

    /// Whether the driver has sent more than is read from it.
    pub fn is_used_up(&self) -> bool {
        self.given(|given| given.left == 0)
    }

    fn given(&self, what: impl FnOnce(&Given) -> bool) -> bool {
        given()
            .iter()
            .find(|given| given.owner == self.owner)
            .is_some_and(what)
    }

    fn change(&self, what: impl FnOnce(&mut Given)) {
        if let Some(given) = given().iter_mut().find(|given| given.owner == self.owner) {
            what(given);
        }
    }

    /// Waits until `reply` is there. If it is not by `overdue`, `cancel` is to bring
    /// it about.
    pub fn serve<F: Future + Unpin>(
        &self,
        mut reply: F,
        overdue: Instant,
        cancel: impl FnOnce(&mut F),
    ) -> F::Output {
        let waker = Waker::from(Arc::new(Sleeper(thread::current())));
        let mut context = Context::from_waker(&waker);
        let (mut until, mut cancel) = (overdue, Some(cancel));
        let mut answer = Answer { of: Some(self) };
        loop {
            if let Poll::Ready(reply) = Pin::new(&mut reply).poll(&mut context) {
                return reply;
            }
            if cancel.is_none() {
                // Without a deadline: if that does not end it nothing will, and the
                // watchdog knows.
                thread::park();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::park_timeout(left);
            } else if until == overdue && self.has_news() {
                until = Instant::now() + LAST_CHANCE;
            } else if let Some(cancel) = cancel.take() {
                // A call that is given up is reset: the driver is to stop its work.
                answer.of = None;
                cancel(&mut reply);
            }
        }
    }

    /// Whether gRPC has something to read from the driver, or has just read it.
    fn has_news(&self) -> bool {
        let is_recent = |read: Instant| read.elapsed() < LAST_CHANCE;
        system_calls::has_bytes(self.socket)
            || self.given(|given| given.last_read.is_some_and(is_recent))
    }
}

/// Says at the end of the wait that the answer is there, also if grpcio panics on it.
struct Answer<'a> {
    of: Option<&'a Ration>,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(ration) = self.of {
            ration.change(|given| given.is_answered = true);
        }
    }
}

impl Drop for Ration {
    fn drop(&mut self) {
        self.change(|given| given.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Read as _, Write as _};
    use std::mem::MaybeUninit;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockRef};

    use super::*;

    const SOON: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_secs(20);

    /// A reply that somebody gives.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<(Option<&'static str>, Option<Waker>)>>);

    impl Told {
        fn tell(&self, what: &'static str) {
            let mut told = self.0.lock().unwrap();
            told.0 = Some(what);
            if let Some(waker) = told.1.take() {
                waker.wake();
            }
        }
    }

    impl Future for Told {
        type Output = &'static str;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<&'static str> {
            let mut told = self.0.lock().unwrap();
            told.1 = Some(context.waker().clone());
            told.0.map_or(Poll::Pending, Poll::Ready)
        }
    }

    /// A driver's end, a ration, and gRPC's end.
    fn line() -> (UnixStream, Ration, UnixStream) {
        let (driver, socket) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(LATE)).unwrap();
        let socket = OwnedFd::from(socket);
        let ration = Ration::new(&socket);
        (driver, ration, socket.into())
    }

    /// As C-core does it.
    fn receive(socket: &UnixStream) -> io::Result<usize> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut parts = [MaybeUninitSlice::new(&mut buffer)];
        SockRef::from(socket).recvmsg(&mut MsgHdrMut::new().with_buffers(&mut parts), 0)
    }

    fn send(socket: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
        let parts = [io::IoSlice::new(&bytes[..1]), io::IoSlice::new(&bytes[1..])];
        SockRef::from(socket).sendmsg(&MsgHdr::new().with_buffers(&parts), 0)
    }

    /// All that comes, to its end.
    fn receive_all(socket: &UnixStream) -> usize {
        let mut all = 0;
        loop {
            match receive(socket).unwrap() {
                0 => return all,
                count => all += count,
            }
        }
    }

    /// Sends until there is no room.
    fn fill(socket: &UnixStream) -> io::Error {
        socket.set_nonblocking(true).unwrap();
        loop {
            if let Err(error) = send(socket, &[b'x'; 4096]) {
                return error;
            }
        }
    }

    fn serve(ration: &Ration, told: Told, within: Duration) -> &'static str {
        let overdue = Instant::now() + within;
        ration.serve(told, overdue, |told| told.tell("cancelled"))
    }

    #[test]
    fn a_reply_ends_the_wait() {
        let (mut driver, ration, grpc) = line();
        let told = Told::default();
        let teller = told.clone();
        let talk = thread::spawn(move || {
            assert_eq!(send(&grpc, b"ping").unwrap(), 4);
            driver.read_exact(&mut [0; 4]).unwrap();
            driver.write_all(b"pong").unwrap();
            assert_eq!(receive(&grpc).unwrap(), 4);
            teller.tell("pong");
        });
        assert_eq!(serve(&ration, told, LATE), "pong");
        talk.join().unwrap();
        assert!(!ration.is_used_up());
    }

    #[test]
    fn after_a_reply_nothing_is_sent_and_before_it_all_is() {
        let (mut driver, ration, grpc) = line();
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        let told = Told::default();
        told.tell("pong");
        assert_eq!(serve(&ration, told, LATE), "pong");
        assert_eq!(send(&grpc, b"goodbye").unwrap(), 7);
        drop(ration);
        assert_eq!(send(&grpc, b"goodbye").unwrap(), 7);
        drop(grpc);
        let mut received = String::new();
        driver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "ping");
    }

    #[test]
    fn a_call_that_is_given_up_says_so() {
        let (mut driver, ration, grpc) = line();
        assert_eq!(serve(&ration, Told::default(), SOON), "cancelled");
        assert_eq!(send(&grpc, b"reset").unwrap(), 5);
        drop((ration, grpc));
        let mut received = String::new();
        driver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "reset");
    }

    #[test]
    fn a_number_that_is_another_socket_s_now_is_sent_to() {
        let (_driver, ration, grpc) = line();
        let told = Told::default();
        told.tell("pong");
        assert_eq!(serve(&ration, told, LATE), "pong");
        drop(ration);
        // Under the same number.
        let (mut other, new) = UnixStream::pair().unwrap();
        let mut number = OwnedFd::from(grpc);
        nix::unistd::dup2(&new, &mut number).unwrap();
        let grpc = UnixStream::from(number);
        assert_eq!(send(&grpc, b"query").unwrap(), 5);
        drop((grpc, new));
        let mut received = String::new();
        other.read_to_string(&mut received).unwrap();
        assert_eq!(received, "query");
    }

    #[test]
    fn whoever_sends_without_end_is_cut_off() {
        let (mut driver, ration, grpc) = line();
        let sender = thread::spawn(move || while driver.write_all(&[b'x'; 4096]).is_ok() {});
        let all = receive_all(&grpc);
        assert!((RATION..RATION + 8192).contains(&all), "{all}");
        assert!(ration.is_used_up());
        drop((ration, grpc));
        sender.join().unwrap();
    }

    #[test]
    fn whoever_does_not_read_is_not_waited_for() {
        let (mut driver, ration, grpc) = line();
        driver.write_all(b"pong").unwrap();
        grpc.set_nonblocking(true).unwrap();
        // More than a socket holds.
        for _ in 0..1000 {
            assert_eq!(send(&grpc, &[b'x'; 4096]).unwrap(), 4096);
        }
        assert_eq!(receive_all(&grpc), 4);
        drop((driver, ration));
    }

    #[test]
    fn what_a_driver_says_before_it_closes_is_not_lost() {
        let (mut driver, ration, grpc) = line();
        driver.write_all(&[b'x'; 16_000]).unwrap();
        drop(driver);
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        assert_eq!(receive_all(&grpc), 16_000);
        drop(ration);
    }

    #[test]
    fn a_driver_that_reads_no_more_has_ended() {
        let (driver, ration, grpc) = line();
        driver.shutdown(Shutdown::Read).unwrap();
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        assert_eq!(receive(&grpc).unwrap(), 0);
        drop(ration);
    }

    #[test]
    fn whoever_is_silent_is_given_up_at_the_deadline() {
        let (_driver, ration, _grpc) = line();
        assert_eq!(serve(&ration, Told::default(), SOON), "cancelled");
    }

    #[test]
    fn what_is_there_by_the_deadline_is_waited_for() {
        let (mut driver, ration, _grpc) = line();
        driver.write_all(b"pong").unwrap();
        let began = Instant::now();
        assert_eq!(serve(&ration, Told::default(), Duration::ZERO), "cancelled");
        assert!(began.elapsed() >= LAST_CHANCE);
    }

    #[test]
    fn other_sockets_are_as_they_were() {
        // Other tests' drivers may have had these numbers.
        let mut pairs = std::iter::repeat_with(|| UnixStream::pair().unwrap());
        let mut passed_over = Vec::new();
        let (one, other) = loop {
            let pair = pairs.next().unwrap();
            if ![&pair.0, &pair.1]
                .map(|end| is_a_drivers(end.as_raw_fd()))
                .contains(&true)
            {
                break pair;
            }
            passed_over.push(pair);
        };
        assert_eq!(fill(&one).kind(), ErrorKind::WouldBlock);
        drop(one);
        assert!(receive_all(&other) > RATION);
        assert_eq!(fill(&other).kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn when_a_call_is_over_all_is_read_and_nothing_waited_for() {
        let (mut driver, ration, grpc) = line();
        drop(ration);
        grpc.set_nonblocking(true).unwrap();
        driver.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent <= 2 * RATION {
            match driver.write(&[b'x'; 4096]) {
                Ok(count) => sent += count,
                // No room: gRPC reads on, beyond a ration.
                Err(_) => assert!(receive(&grpc).unwrap() > 0),
            }
        }
        for _ in 0..1000 {
            assert_eq!(send(&grpc, &[b'x'; 4096]).unwrap(), 4096);
        }
    }
}

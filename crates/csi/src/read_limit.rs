//! What a driver may send in a call, and how long: gRPC reads a limit and no more, and
//! never waits for a driver to read.
//!
//! C-core's own bound is a target that it passes by far: the size of its reads
//! doubles without an end (`finish_estimate` in its tcp_posix.cc), and each small
//! frame costs it more than its own length. And for room to write it waits in the one
//! thread of the completion queue, with the calls of all drivers (c_core/unthreaded.rs).
//! So its system calls come by here. A driver's socket whose limit is used up has ended;
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
use std::time::Instant;

use crate::deadline::READ_GRACE;

/// The limits of the calls under way, and what is left of others: one for each number
/// that a descriptor has had.
static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// One of them. A panic cannot come between its changes.
struct Entry {
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

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does this with what is given to a socket, if it is a driver's.
fn with_entry<T>(socket: RawFd, what: impl FnOnce(&mut Entry) -> T) -> Option<T> {
    entries()
        .iter_mut()
        .rfind(|entry| entry.socket == socket)
        .map(what)
}

/// Whether nothing more is read from it.
fn is_exhausted(socket: RawFd) -> bool {
    with_entry(socket, |entry| entry.left == 0 && !entry.is_over).unwrap_or_default()
}

/// So many bytes have come.
fn count_read(socket: RawFd, count: usize) {
    with_entry(socket, |entry| {
        entry.left = entry.left.saturating_sub(count);
        entry.last_read = Some(Instant::now());
    });
}

/// Whether it is a driver's, or was one and nobody knows what it is now: gRPC may still
/// have something to write.
fn is_driver(socket: RawFd) -> bool {
    with_entry(socket, |_| ()).is_some()
}

/// Whether it is a driver's, and its call has its answer. The number alone does not say: gRPC
/// may have closed the socket, and a DNS server may have it now.
fn is_answered(socket: RawFd) -> bool {
    let inode = with_entry(socket, |entry| entry.is_answered.then_some(entry.inode)).flatten();
    inode.is_some_and(|inode| inode == system_calls::inode(socket))
}

/// What is given to a driver's socket until this is dropped, and the wait for a reply.
pub struct ReadLimit {
    socket: RawFd,
    owner: u64,
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl ReadLimit {
    /// Gives a limit to a driver's socket, which is to be gRPC's.
    pub fn new(socket: &OwnedFd, bytes: usize) -> ReadLimit {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        let limit = ReadLimit {
            socket: socket.as_raw_fd(),
            owner: OWNERS.fetch_add(1, Ordering::Relaxed),
        };
        let mut all = entries();
        all.retain(|entry| !(entry.is_over && entry.socket == limit.socket));
        all.push(Entry {
            socket: limit.socket,
            owner: limit.owner,
            inode: system_calls::inode(limit.socket),
            left: bytes,
            last_read: None,
            is_answered: false,
            is_over: false,
        });
        limit
    }

    /// Whether the driver has sent more than is read from it.
    pub fn is_exhausted(&self) -> bool {
        self.is(|entry| entry.left == 0)
    }

    fn is(&self, what: impl FnOnce(&Entry) -> bool) -> bool {
        entries()
            .iter()
            .find(|entry| entry.owner == self.owner)
            .is_some_and(what)
    }

    fn change(&self, what: impl FnOnce(&mut Entry)) {
        if let Some(given) = entries().iter_mut().find(|entry| entry.owner == self.owner) {
            what(given);
        }
    }

    /// Waits until `reply` is there. If it is not by `overdue`, `cancel` is to bring
    /// it about.
    pub fn wait_for<F: Future + Unpin>(
        &self,
        mut reply: F,
        overdue: Instant,
        cancel: impl FnOnce(&mut F),
    ) -> F::Output {
        let waker = Waker::from(Arc::new(Parked(thread::current())));
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
            } else if until == overdue && self.has_unread() {
                until = Instant::now() + READ_GRACE;
            } else if let Some(cancel) = cancel.take() {
                // A call that is given up is reset: the driver is to stop its work.
                answer.of = None;
                cancel(&mut reply);
            }
        }
    }

    /// Whether gRPC has something to read from the driver, or has just read it.
    fn has_unread(&self) -> bool {
        let is_recent = |read: Instant| read.elapsed() < READ_GRACE;
        system_calls::has_bytes(self.socket)
            || self.is(|entry| entry.last_read.is_some_and(is_recent))
    }
}

/// Says at the end of the wait that the answer is there, also if grpcio panics on it.
struct Answer<'a> {
    of: Option<&'a ReadLimit>,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(limit) = self.of {
            limit.change(|entry| entry.is_answered = true);
        }
    }
}

impl Drop for ReadLimit {
    fn drop(&mut self) {
        self.change(|entry| entry.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Read as _, Write as _};
    use std::mem::MaybeUninit;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockRef};

    use std::time::Duration;

    use super::*;

    const LIMIT: usize = 160 * 1024;

    const SOON: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_secs(20);

    /// A reply that somebody gives.
    #[derive(Clone, Default)]
    struct Reply(Arc<Mutex<(Option<&'static str>, Option<Waker>)>>);

    impl Reply {
        fn tell(&self, what: &'static str) {
            let mut reply = self.0.lock().unwrap();
            reply.0 = Some(what);
            if let Some(waker) = reply.1.take() {
                waker.wake();
            }
        }
    }

    impl Future for Reply {
        type Output = &'static str;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<&'static str> {
            let mut reply = self.0.lock().unwrap();
            reply.1 = Some(context.waker().clone());
            reply.0.map_or(Poll::Pending, Poll::Ready)
        }
    }

    /// A driver's end, a limit, and gRPC's end.
    fn line() -> (UnixStream, ReadLimit, UnixStream) {
        let (driver, socket) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(LATE)).unwrap();
        let socket = OwnedFd::from(socket);
        let limit = ReadLimit::new(&socket, LIMIT);
        (driver, limit, socket.into())
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

    fn serve(limit: &ReadLimit, reply: Reply, within: Duration) -> &'static str {
        let overdue = Instant::now() + within;
        limit.wait_for(reply, overdue, |reply| reply.tell("cancelled"))
    }

    #[test]
    fn a_reply_ends_the_wait() {
        let (mut driver, limit, grpc) = line();
        let reply = Reply::default();
        let teller = reply.clone();
        let talk = thread::spawn(move || {
            assert_eq!(send(&grpc, b"ping").unwrap(), 4);
            driver.read_exact(&mut [0; 4]).unwrap();
            driver.write_all(b"pong").unwrap();
            assert_eq!(receive(&grpc).unwrap(), 4);
            teller.tell("pong");
        });
        assert_eq!(serve(&limit, reply, LATE), "pong");
        talk.join().unwrap();
        assert!(!limit.is_exhausted());
    }

    #[test]
    fn after_a_reply_nothing_is_sent_and_before_it_all_is() {
        let (mut driver, limit, grpc) = line();
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        let reply = Reply::default();
        reply.tell("pong");
        assert_eq!(serve(&limit, reply, LATE), "pong");
        assert_eq!(send(&grpc, b"goodbye").unwrap(), 7);
        drop(limit);
        assert_eq!(send(&grpc, b"goodbye").unwrap(), 7);
        drop(grpc);
        let mut received = String::new();
        driver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "ping");
    }

    #[test]
    fn a_call_that_is_given_up_says_so() {
        let (mut driver, limit, grpc) = line();
        assert_eq!(serve(&limit, Reply::default(), SOON), "cancelled");
        assert_eq!(send(&grpc, b"reset").unwrap(), 5);
        drop((limit, grpc));
        let mut received = String::new();
        driver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "reset");
    }

    #[test]
    fn a_number_that_is_another_socket_s_now_is_sent_to() {
        let (_driver, limit, grpc) = line();
        let reply = Reply::default();
        reply.tell("pong");
        assert_eq!(serve(&limit, reply, LATE), "pong");
        drop(limit);
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
        let (mut driver, limit, grpc) = line();
        let sender = thread::spawn(move || while driver.write_all(&[b'x'; 4096]).is_ok() {});
        let all = receive_all(&grpc);
        assert!((LIMIT..LIMIT + 8192).contains(&all), "{all}");
        assert!(limit.is_exhausted());
        drop((limit, grpc));
        sender.join().unwrap();
    }

    #[test]
    fn whoever_does_not_read_is_not_waited_for() {
        let (mut driver, limit, grpc) = line();
        driver.write_all(b"pong").unwrap();
        grpc.set_nonblocking(true).unwrap();
        // More than a socket holds.
        for _ in 0..1000 {
            assert_eq!(send(&grpc, &[b'x'; 4096]).unwrap(), 4096);
        }
        assert_eq!(receive_all(&grpc), 4);
        drop((driver, limit));
    }

    #[test]
    fn what_a_driver_says_before_it_closes_is_not_lost() {
        let (mut driver, limit, grpc) = line();
        driver.write_all(&[b'x'; 16_000]).unwrap();
        drop(driver);
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        assert_eq!(receive_all(&grpc), 16_000);
        drop(limit);
    }

    #[test]
    fn a_driver_that_reads_no_more_has_ended() {
        let (driver, limit, grpc) = line();
        driver.shutdown(Shutdown::Read).unwrap();
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        assert_eq!(receive(&grpc).unwrap(), 0);
        drop(limit);
    }

    #[test]
    fn whoever_is_silent_is_given_up_at_the_deadline() {
        let (_driver, limit, _grpc) = line();
        assert_eq!(serve(&limit, Reply::default(), SOON), "cancelled");
    }

    #[test]
    fn what_is_there_by_the_deadline_is_waited_for() {
        let (mut driver, limit, _grpc) = line();
        driver.write_all(b"pong").unwrap();
        let began = Instant::now();
        assert_eq!(serve(&limit, Reply::default(), Duration::ZERO), "cancelled");
        assert!(began.elapsed() >= READ_GRACE);
    }

    #[test]
    fn other_sockets_are_as_they_were() {
        // Other tests' drivers may have had these numbers.
        let mut pairs = std::iter::repeat_with(|| UnixStream::pair().unwrap());
        let mut passed_over = Vec::new();
        let (one, other) = loop {
            let pair = pairs.next().unwrap();
            if ![&pair.0, &pair.1]
                .map(|end| is_driver(end.as_raw_fd()))
                .contains(&true)
            {
                break pair;
            }
            passed_over.push(pair);
        };
        assert_eq!(fill(&one).kind(), ErrorKind::WouldBlock);
        drop(one);
        assert!(receive_all(&other) > LIMIT);
        assert_eq!(fill(&other).kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn when_a_call_is_over_all_is_read_and_nothing_waited_for() {
        let (mut driver, limit, grpc) = line();
        drop(limit);
        grpc.set_nonblocking(true).unwrap();
        driver.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent <= 2 * LIMIT {
            match driver.write(&[b'x'; 4096]) {
                Ok(count) => sent += count,
                // No room: gRPC reads on, beyond a limit.
                Err(_) => assert!(receive(&grpc).unwrap() > 0),
            }
        }
        for _ in 0..1000 {
            assert_eq!(send(&grpc, &[b'x'; 4096]).unwrap(), 4096);
        }
    }
}

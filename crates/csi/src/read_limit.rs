//! Bounds what gRPC reads from a driver in one call, and keeps gRPC from waiting for a driver that
//! does not read.
//!
//! C-core's own limit, its memory quota, is only a target, which it exceeds by far: the size of its
//! reads doubles without an end (`finish_estimate` in tcp_posix.cc), and each small frame costs it
//! more memory than the frame has bytes. And it waits for room to write in the one thread of the
//! completion queue, which the calls of all drivers share (linked/unthreaded.rs). So we intercept
//! its recvmsg and sendmsg. Once a driver has sent its limit, recvmsg reports end of file. When the
//! driver does not read, sendmsg pretends success and shuts the receiving side down: C-core reads
//! what is already there, then sees end of file, as if the driver had gone.
//!
//! After the reply, sendmsg sends nothing more and pretends success. Otherwise C-core would send
//! GOAWAY with the text "Channel Destroyed" before it closes the connection, and a driver on gRPC's
//! C++ or Python library newer than 1.60 logs that text, for each call. This way the driver only
//! sees the end of the connection.
//!
//! Rejected: a socket pair between gRPC and the driver, and a thread that copies. An earlier
//! version had it, and it took a sixth of the processor time of a call (docs/footprint.md).

mod system_calls;

use std::future::Future;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use program::threads;

use crate::deadline::READ_GRACE;

/// One entry for each call in flight. An entry of a call that is over stays, because gRPC may still
/// write to the socket, until another call has the same descriptor: there are never more such
/// entries than descriptors.
static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// The state of one call's socket. No code panics while it changes an entry, so a poisoned lock is
/// usable.
struct Entry {
    /// The descriptor, which gRPC owns.
    socket: RawFd,
    /// The number of the call. A descriptor does not identify a call, because it is reused as soon
    /// as gRPC has closed the socket.
    call: u64,
    /// The inode of the socket, by which a later socket with the same descriptor is recognised.
    inode: u64,
    /// The bytes that gRPC may still read.
    remaining: usize,
    last_read: Option<Instant>,
    /// Whether the call has its reply.
    is_answered: bool,
    /// Whether the call is over, so that gRPC has closed the socket or is about to.
    is_over: bool,
}

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    threads::lock(&ENTRIES)
}

/// Calls `access` with the newest entry of a descriptor. Returns `None` if there is none, because
/// the descriptor has never been a driver's socket.
fn with_entry_of<T>(socket: RawFd, access: impl FnOnce(&mut Entry) -> T) -> Option<T> {
    entries()
        .iter_mut()
        .rfind(|entry| entry.socket == socket)
        .map(access)
}

/// Whether this is the socket of a call that has read its limit.
fn is_exhausted(socket: RawFd) -> bool {
    with_entry_of(socket, |entry| entry.remaining == 0 && !entry.is_over).unwrap_or_default()
}

/// Counts the bytes that gRPC has read from a socket.
fn count_read(socket: RawFd, count: usize) {
    with_entry_of(socket, |entry| {
        entry.remaining = entry.remaining.saturating_sub(count);
        entry.last_read = Some(Instant::now());
    });
}

/// Whether this descriptor is a driver's socket, or was one: after a call gRPC may still write to
/// it.
fn is_driver(socket: RawFd) -> bool {
    with_entry_of(socket, |_| ()).is_some()
}

/// Whether this is the socket of a call that has its reply. It compares inodes, because gRPC may
/// have closed the socket, and its descriptor may now be a connection to a DNS server.
fn is_answered(socket: RawFd) -> bool {
    let inode = with_entry_of(socket, |entry| entry.is_answered.then_some(entry.inode)).flatten();
    inode.is_some_and(|inode| inode == system_calls::inode(socket))
}

/// The limit on a driver's socket during one call, which ends when this is dropped.
pub struct ReadLimit {
    socket: RawFd,
    call: u64,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl ReadLimit {
    /// Limits the bytes that gRPC reads from `socket`. This must be called before gRPC gets the
    /// socket.
    pub fn new(socket: &OwnedFd, bytes: usize) -> ReadLimit {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let limit = ReadLimit {
            socket: socket.as_raw_fd(),
            call: CALLS.fetch_add(1, Ordering::Relaxed),
        };
        let mut all = entries();
        all.retain(|entry| !(entry.is_over && entry.socket == limit.socket));
        all.push(Entry {
            socket: limit.socket,
            call: limit.call,
            inode: system_calls::inode(limit.socket),
            remaining: bytes,
            last_read: None,
            is_answered: false,
            is_over: false,
        });
        limit
    }

    /// Whether the driver has sent the limit or more.
    pub fn is_exhausted(&self) -> bool {
        self.check(|entry| entry.remaining == 0)
    }

    fn check(&self, condition: impl FnOnce(&Entry) -> bool) -> bool {
        entries()
            .iter()
            .find(|entry| entry.call == self.call)
            .is_some_and(condition)
    }

    fn update(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = entries().iter_mut().find(|entry| entry.call == self.call) {
            change(entry);
        }
    }

    /// Waits for `reply`. If it is not ready at `overdue`, `cancel` must make it ready.
    /// [`READ_GRACE`] is added if the driver's reply has arrived by then and gRPC has not read it.
    pub fn wait_for<F: Future + Unpin>(
        &self,
        mut reply: F,
        overdue: Instant,
        cancel: impl FnOnce(&mut F),
    ) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let (mut until, mut cancel) = (overdue, Some(cancel));
        let mut on_reply = MarkAnswered { limit: Some(self) };
        loop {
            if let Poll::Ready(reply) = Pin::new(&mut reply).poll(&mut context) {
                return reply;
            }
            if cancel.is_none() {
                // This wait has no deadline. A call that does not end after it was cancelled never
                // ends, and the watchdog of the program has to notice that.
                thread::park();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::park_timeout(left);
            } else if until == overdue && self.has_unread() {
                until = Instant::now() + READ_GRACE;
            } else if let Some(cancel) = cancel.take() {
                // gRPC must still be able to send RST_STREAM, so that the driver stops its work.
                on_reply.limit = None;
                cancel(&mut reply);
            }
        }
    }

    /// Whether the driver has sent bytes that gRPC has not read, or has read only just now.
    fn has_unread(&self) -> bool {
        let is_recent = |read: Instant| read.elapsed() < READ_GRACE;
        system_calls::has_bytes(self.socket)
            || self.check(|entry| entry.last_read.is_some_and(is_recent))
    }
}

/// Marks the call as answered at the end of the wait. It does so on drop, because grpcio panics on
/// some replies.
struct MarkAnswered<'a> {
    limit: Option<&'a ReadLimit>,
}

impl Drop for MarkAnswered<'_> {
    fn drop(&mut self) {
        if let Some(limit) = self.limit {
            limit.update(|entry| entry.is_answered = true);
        }
    }
}

impl Drop for ReadLimit {
    fn drop(&mut self) {
        self.update(|entry| entry.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Read as _, Write as _};
    use std::mem::MaybeUninit;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockRef};

    use super::*;

    const LIMIT: usize = 160 * 1024;

    const SOON: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_secs(20);

    /// A reply that the test makes ready.
    #[derive(Clone, Default)]
    struct Reply(Arc<Mutex<(Option<&'static str>, Option<Waker>)>>);

    impl Reply {
        fn complete(&self, value: &'static str) {
            let mut reply = self.0.lock().unwrap();
            reply.0 = Some(value);
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

    /// The driver's end of a connection, its limit, and gRPC's end.
    fn connection() -> (UnixStream, ReadLimit, UnixStream) {
        let (driver, socket) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(LATE)).unwrap();
        let socket = OwnedFd::from(socket);
        let limit = ReadLimit::new(&socket, LIMIT);
        (driver, limit, socket.into())
    }

    /// Reads as C-core does.
    fn receive(socket: &UnixStream) -> io::Result<usize> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut parts = [MaybeUninitSlice::new(&mut buffer)];
        SockRef::from(socket).recvmsg(&mut MsgHdrMut::new().with_buffers(&mut parts), 0)
    }

    fn send(socket: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
        let parts = [io::IoSlice::new(&bytes[..1]), io::IoSlice::new(&bytes[1..])];
        SockRef::from(socket).sendmsg(&MsgHdr::new().with_buffers(&parts), 0)
    }

    /// Reads to the end of file, and returns the number of bytes.
    fn receive_all(socket: &UnixStream) -> usize {
        let mut total = 0;
        loop {
            match receive(socket).unwrap() {
                0 => return total,
                count => total += count,
            }
        }
    }

    /// Sends until the kernel refuses.
    fn fill(socket: &UnixStream) -> io::Error {
        socket.set_nonblocking(true).unwrap();
        loop {
            if let Err(error) = send(socket, &[b'x'; 4096]) {
                return error;
            }
        }
    }

    fn wait(limit: &ReadLimit, reply: Reply, timeout: Duration) -> &'static str {
        let overdue = Instant::now() + timeout;
        limit.wait_for(reply, overdue, |reply| reply.complete("cancelled"))
    }

    #[test]
    fn a_reply_ends_the_wait() {
        let (mut driver, limit, grpc) = connection();
        let reply = Reply::default();
        let driver_reply = reply.clone();
        let driver_thread = thread::spawn(move || {
            assert_eq!(send(&grpc, b"ping").unwrap(), 4);
            driver.read_exact(&mut [0; 4]).unwrap();
            driver.write_all(b"pong").unwrap();
            assert_eq!(receive(&grpc).unwrap(), 4);
            driver_reply.complete("pong");
        });
        assert_eq!(wait(&limit, reply, LATE), "pong");
        driver_thread.join().unwrap();
        assert!(!limit.is_exhausted());
    }

    #[test]
    fn bytes_are_sent_before_the_reply_and_not_after_it() {
        let (mut driver, limit, grpc) = connection();
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        let reply = Reply::default();
        reply.complete("pong");
        assert_eq!(wait(&limit, reply, LATE), "pong");
        assert_eq!(send(&grpc, b"goodbye").unwrap(), 7);
        drop(limit);
        assert_eq!(send(&grpc, b"goodbye").unwrap(), 7);
        drop(grpc);
        let mut received = String::new();
        driver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "ping");
    }

    #[test]
    fn a_cancelled_call_can_still_be_reset() {
        let (mut driver, limit, grpc) = connection();
        assert_eq!(wait(&limit, Reply::default(), SOON), "cancelled");
        assert_eq!(send(&grpc, b"reset").unwrap(), 5);
        drop((limit, grpc));
        let mut received = String::new();
        driver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "reset");
    }

    #[test]
    fn bytes_are_sent_to_another_socket_with_the_same_descriptor() {
        let (_driver, limit, grpc) = connection();
        let reply = Reply::default();
        reply.complete("pong");
        assert_eq!(wait(&limit, reply, LATE), "pong");
        drop(limit);
        let (mut other, new) = UnixStream::pair().unwrap();
        let mut descriptor = OwnedFd::from(grpc);
        nix::unistd::dup2(&new, &mut descriptor).unwrap();
        let grpc = UnixStream::from(descriptor);
        assert_eq!(send(&grpc, b"query").unwrap(), 5);
        drop((grpc, new));
        let mut received = String::new();
        other.read_to_string(&mut received).unwrap();
        assert_eq!(received, "query");
    }

    #[test]
    fn a_driver_that_sends_without_end_is_read_up_to_its_limit() {
        let (mut driver, limit, grpc) = connection();
        let sender = thread::spawn(move || while driver.write_all(&[b'x'; 4096]).is_ok() {});
        let total = receive_all(&grpc);
        assert!((LIMIT..LIMIT + 8192).contains(&total), "{total}");
        assert!(limit.is_exhausted());
        drop((limit, grpc));
        sender.join().unwrap();
    }

    #[test]
    fn sending_to_a_driver_that_does_not_read_never_blocks() {
        let (mut driver, limit, grpc) = connection();
        driver.write_all(b"pong").unwrap();
        grpc.set_nonblocking(true).unwrap();
        // This is more than the socket's buffers hold.
        for _ in 0..1000 {
            assert_eq!(send(&grpc, &[b'x'; 4096]).unwrap(), 4096);
        }
        assert_eq!(receive_all(&grpc), 4);
        drop((driver, limit));
    }

    #[test]
    fn bytes_that_a_driver_sends_before_it_closes_are_read() {
        let (mut driver, limit, grpc) = connection();
        driver.write_all(&[b'x'; 16_000]).unwrap();
        drop(driver);
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        assert_eq!(receive_all(&grpc), 16_000);
        drop(limit);
    }

    #[test]
    fn a_driver_that_shuts_its_receiving_side_down_is_at_end_of_file() {
        let (driver, limit, grpc) = connection();
        driver.shutdown(Shutdown::Read).unwrap();
        assert_eq!(send(&grpc, b"ping").unwrap(), 4);
        assert_eq!(receive(&grpc).unwrap(), 0);
        drop(limit);
    }

    #[test]
    fn a_call_without_a_reply_is_cancelled_at_the_deadline() {
        let (_driver, limit, _grpc) = connection();
        assert_eq!(wait(&limit, Reply::default(), SOON), "cancelled");
    }

    #[test]
    fn a_reply_that_has_arrived_by_the_deadline_gets_the_grace() {
        let (mut driver, limit, _grpc) = connection();
        driver.write_all(b"pong").unwrap();
        let began = Instant::now();
        assert_eq!(wait(&limit, Reply::default(), Duration::ZERO), "cancelled");
        assert!(began.elapsed() >= READ_GRACE);
    }

    #[test]
    fn other_sockets_are_unchanged() {
        // Drivers of other tests may have had these descriptors, so this takes others.
        let mut pairs = std::iter::repeat_with(|| UnixStream::pair().unwrap());
        let mut unsuitable = Vec::new();
        let (one, other) = loop {
            let pair = pairs.next().unwrap();
            if ![&pair.0, &pair.1]
                .map(|end| is_driver(end.as_raw_fd()))
                .contains(&true)
            {
                break pair;
            }
            unsuitable.push(pair);
        };
        assert_eq!(fill(&one).kind(), ErrorKind::WouldBlock);
        drop(one);
        assert!(receive_all(&other) > LIMIT);
        assert_eq!(fill(&other).kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn after_a_call_reading_has_no_limit_and_sending_never_blocks() {
        let (mut driver, limit, grpc) = connection();
        drop(limit);
        grpc.set_nonblocking(true).unwrap();
        driver.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent <= 2 * LIMIT {
            match driver.write(&[b'x'; 4096]) {
                Ok(count) => sent += count,
                // The buffers are full. gRPC still reads, beyond the limit.
                Err(_) => assert!(receive(&grpc).unwrap() > 0),
            }
        }
        for _ in 0..1000 {
            assert_eq!(send(&grpc, &[b'x'; 4096]).unwrap(), 4096);
        }
    }
}

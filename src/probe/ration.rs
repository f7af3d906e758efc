//! What a driver may send in a call, counted before gRPC sees it.
//!
//! C-core's own bound is a target that it passes by far: the size of its reads
//! doubles without an end (`finish_estimate` in its tcp_posix.cc), and each small
//! frame costs it more than its own length. So it does not get the driver's socket
//! but one end of a pair, and the thread that waits for the reply copies between the
//! two until the ration is used up.

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::poll::{Interest, Round};

/// The most that is taken from a driver in a call, in bytes: the largest message and
/// the largest headers and trailers that C-core takes are 48 KiB together.
pub const RATION: usize = 128 * 1024;

/// What is copied at once.
const BUFFER: usize = 8 * 1024;

/// A driver's socket, and our end of the pair that stands for it.
pub struct Ration {
    driver: UnixStream,
    ours: UnixStream,
    left: usize,
}

/// Bytes on their way in one direction.
struct Lane {
    buffer: [u8; BUFFER],
    begin: usize,
    end: usize,
    is_over: bool,
}

/// Ends the wait for bytes when there is something to ask the future for.
struct Bell(UnixStream);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // One that is full rings already.
        let _ = (&self.0).write(&[0]);
    }
}

impl Ration {
    /// Puts a pair in the place of `driver`; the second is for gRPC.
    ///
    /// # Errors
    ///
    /// When there are no descriptors for it.
    pub fn new(driver: OwnedFd) -> io::Result<(Ration, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        // Whatever its kind: read(2) and write(2) are the same.
        let driver = UnixStream::from(driver);
        driver.set_nonblocking(true)?;
        ours.set_nonblocking(true)?;
        let ration = Ration {
            driver,
            ours,
            left: RATION,
        };
        Ok((ration, theirs.into()))
    }

    /// Whether the driver wanted to send more.
    pub fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Copies until `reply` is there. If it is not by `overdue`, `cancel` is to bring
    /// it about.
    ///
    /// # Errors
    ///
    /// When a bell cannot be had, or poll(2) fails.
    pub fn serve<F: Future + Unpin>(
        &mut self,
        mut reply: F,
        overdue: Instant,
        cancel: impl FnOnce(&mut F),
    ) -> io::Result<F::Output> {
        let mut cancel = Some(cancel);
        let (bell, ringing) = UnixStream::pair()?;
        for end in [&bell, &ringing] {
            end.set_nonblocking(true)?;
        }
        let waker = Waker::from(Arc::new(Bell(ringing)));
        let mut context = Context::from_waker(&waker);
        let (mut inwards, mut outwards) = (Lane::new(), Lane::new());
        let mut round = Round::default();
        loop {
            if let Poll::Ready(reply) = Pin::new(&mut reply).poll(&mut context) {
                return Ok(reply);
            }
            let left = overdue.saturating_duration_since(Instant::now());
            if let Some(cancel) = cancel.take_if(|_| left.is_zero()) {
                cancel(&mut reply);
                continue;
            }
            round.clear();
            round.add(bell.as_fd(), Interest::Read);
            for (lane, from, to) in [
                (&inwards, &self.driver, &self.ours),
                (&outwards, &self.ours, &self.driver),
            ] {
                if lane.end > lane.begin {
                    round.add(to.as_fd(), Interest::Write);
                } else if !lane.is_over {
                    round.add(from.as_fd(), Interest::Read);
                }
            }
            // Without a deadline once it is cancelled: if that does not end it nothing
            // will, and the watchdog knows.
            round.wait(cancel.as_ref().map(|_| left))?;
            let _ = (&bell).read(&mut [0; 64]);
            let taken = inwards.copy(&self.driver, &self.ours, self.left);
            self.left -= taken;
            if self.left == 0 {
                inwards.is_over = true;
                let _ = self.ours.shutdown(std::net::Shutdown::Both);
                outwards.is_over = true;
            }
            outwards.copy(&self.ours, &self.driver, usize::MAX);
        }
    }
}

impl Lane {
    fn new() -> Lane {
        Lane {
            buffer: [0; BUFFER],
            begin: 0,
            end: 0,
            is_over: false,
        }
    }

    /// Copies what there is, at most so many; says how many were read.
    fn copy(&mut self, mut from: &UnixStream, mut to: &UnixStream, at_most: usize) -> usize {
        let mut taken = 0;
        if self.begin == self.end && !self.is_over {
            let room = BUFFER.min(at_most);
            match from.read(&mut self.buffer[..room]) {
                Ok(0) => self.finish(to),
                Ok(count) => {
                    (self.begin, self.end) = (0, count);
                    taken = count;
                }
                Err(error) if is_later(&error) => {}
                Err(_) => self.finish(to),
            }
        }
        while self.begin < self.end {
            match to.write(&self.buffer[self.begin..self.end]) {
                Ok(count) => self.begin += count,
                Err(error) if is_later(&error) => break,
                Err(_) => {
                    self.begin = self.end;
                    self.is_over = true;
                }
            }
        }
        taken
    }

    fn finish(&mut self, to: &UnixStream) {
        self.is_over = true;
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

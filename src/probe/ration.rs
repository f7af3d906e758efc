//! What a driver may send in a call, counted before gRPC sees it.
//!
//! C-core's own bound is a target that it passes by far: the size of its reads
//! doubles without an end (`finish_estimate` in its tcp_posix.cc), and each small
//! frame costs it more than its own length. So it does not get the driver's socket
//! but one end of a pair, and the thread that waits for the reply copies between the
//! two until the ration is used up.

use std::future::Future;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::poll::{Interest, Round};

/// The most that is taken from a driver in a call, in bytes: the largest message and
/// the largest headers and trailers that C-core takes are 48 KiB together.
pub const RATION: usize = 128 * 1024;

/// What is copied at once. A call as it should be has less than a kilobyte each way, and
/// what is larger here would stay resident on the stack of each prober.
const BUFFER: usize = 2 * 1024;

/// What gRPC gets to read an answer that was there by the deadline, and that nobody
/// had copied yet because this process was stopped or starved.
const LAST_CHANCE: Duration = Duration::from_millis(25);

/// A driver's socket, and what stands for it.
pub struct Ration {
    driver: UnixStream,
    ours: UnixStream,
    /// Ends the wait for bytes when there is something to ask the future for.
    bell: UnixStream,
    ringer: Arc<Ringer>,
    left: usize,
}

struct Ringer(UnixStream);

impl Wake for Ringer {
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
        let (bell, ringing) = UnixStream::pair()?;
        // Whatever its kind: read(2) and write(2) are the same.
        let driver = UnixStream::from(driver);
        for end in [&driver, &ours, &bell, &ringing] {
            end.set_nonblocking(true)?;
        }
        let ration = Ration {
            driver,
            ours,
            bell,
            ringer: Arc::new(Ringer(ringing)),
            left: RATION,
        };
        Ok((ration, theirs.into()))
    }

    /// Whether nothing more is taken from the driver.
    pub fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Copies until `reply` is there. If it is not by `overdue`, `cancel` is to bring
    /// it about.
    ///
    /// # Errors
    ///
    /// That of poll(2).
    pub fn serve<F: Future + Unpin>(
        &mut self,
        mut reply: F,
        overdue: Instant,
        cancel: impl FnOnce(&mut F),
    ) -> io::Result<F::Output> {
        let waker = Waker::from(Arc::clone(&self.ringer));
        let mut context = Context::from_waker(&waker);
        let (mut lanes, mut round) = (Lanes::default(), Round::default());
        let (mut until, mut cancel) = (overdue, Some(cancel));
        let mut has_come = false;
        loop {
            if let Poll::Ready(reply) = Pin::new(&mut reply).poll(&mut context) {
                // gRPC's last words, too: that it has understood, or gives up.
                self.copy(&mut lanes);
                return Ok(reply);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && cancel.is_some() {
                has_come |= self.copy(&mut lanes);
                if has_come && until == overdue {
                    until = Instant::now() + LAST_CHANCE;
                } else if let Some(cancel) = cancel.take() {
                    cancel(&mut reply);
                }
                continue;
            }
            round.clear();
            round.add(self.bell.as_fd(), Interest::Read);
            lanes.inwards.add_to(&mut round, &self.driver, &self.ours);
            lanes.outwards.add_to(&mut round, &self.ours, &self.driver);
            // Without a deadline once it is cancelled: if that does not end it nothing
            // will, and the watchdog knows.
            round.wait(cancel.as_ref().map(|_| left))?;
            // Before the reply is asked for again, so that no ring is lost.
            let _ = (&self.bell).read(&mut [0; 64]);
            has_come = self.copy(&mut lanes);
        }
    }

    /// Copies what there is; says whether anything came from the driver.
    fn copy(&mut self, lanes: &mut Lanes) -> bool {
        let taken = lanes.inwards.copy(&self.driver, &self.ours, self.left);
        self.left -= taken;
        if self.left == 0 {
            lanes.inwards.end(&self.ours);
            lanes.outwards.end(&self.ours);
        }
        lanes.outwards.copy(&self.ours, &self.driver, usize::MAX);
        if lanes.outwards.is_refused {
            // It may have said all that it had to say before.
            while self.left > 0 {
                match lanes.inwards.copy(&self.driver, &self.ours, self.left) {
                    0 => break,
                    taken => self.left -= taken,
                }
            }
            lanes.outwards.end(&self.ours);
        }
        taken > 0
    }
}

#[derive(Default)]
struct Lanes {
    inwards: Lane,
    outwards: Lane,
}

/// Bytes on their way in one direction.
struct Lane {
    buffer: [u8; BUFFER],
    begin: usize,
    end: usize,
    /// Nothing more is read.
    is_over: bool,
    /// Nobody takes what is written.
    is_refused: bool,
}

impl Default for Lane {
    fn default() -> Lane {
        Lane {
            buffer: [0; BUFFER],
            begin: 0,
            end: 0,
            is_over: false,
            is_refused: false,
        }
    }
}

impl Lane {
    /// What it waits for.
    fn add_to(&self, round: &mut Round, from: &UnixStream, to: &UnixStream) {
        if self.begin < self.end {
            round.add(to.as_fd(), Interest::Write);
        } else if !self.is_over {
            round.add(from.as_fd(), Interest::Read);
        }
    }

    /// Copies what there is, at most so many; says how many were read.
    fn copy(&mut self, mut from: &UnixStream, mut to: &UnixStream, at_most: usize) -> usize {
        let mut taken = 0;
        if self.begin == self.end && !self.is_over {
            let room = BUFFER.min(at_most);
            match from.read(&mut self.buffer[..room]) {
                Ok(count) if count > 0 => {
                    (self.begin, self.end) = (0, count);
                    taken = count;
                }
                Err(error) if is_later(&error) => {}
                Ok(_) | Err(_) => {
                    self.is_over = true;
                    let _ = to.shutdown(Shutdown::Write);
                }
            }
        }
        while self.begin < self.end {
            match to.write(&self.buffer[self.begin..self.end]) {
                Ok(count) => self.begin += count,
                Err(error) if is_later(&error) => break,
                Err(_) => {
                    self.begin = self.end;
                    (self.is_over, self.is_refused) = (true, true);
                }
            }
        }
        taken
    }

    /// Copies nothing any more, and takes leave of this end.
    fn end(&mut self, of: &UnixStream) {
        self.begin = self.end;
        self.is_over = true;
        let _ = of.shutdown(Shutdown::Both);
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

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
        let (ration, theirs) = Ration::new(socket.into()).unwrap();
        for end in [&driver, &UnixStream::from(theirs.try_clone().unwrap())] {
            end.set_read_timeout(Some(LATE)).unwrap();
        }
        (driver, ration, theirs.into())
    }

    fn serve(ration: &mut Ration, told: Told, within: Duration) -> &'static str {
        let overdue = Instant::now() + within;
        ration
            .serve(told, overdue, |told| told.tell("cancelled"))
            .unwrap()
    }

    #[test]
    fn both_hear_each_other_until_the_reply() {
        let (mut driver, mut ration, mut grpc) = line();
        let told = Told::default();
        let teller = told.clone();
        let talk = thread::spawn(move || {
            let mut heard = [0; 4];
            grpc.write_all(b"ping").unwrap();
            driver.read_exact(&mut heard).unwrap();
            driver.write_all(b"pong").unwrap();
            grpc.read_exact(&mut heard).unwrap();
            // Its last words, which nobody asks for.
            grpc.write_all(b"bye").unwrap();
            teller.tell("pong");
            let mut last = [0; 3];
            driver.read_exact(&mut last).unwrap();
            (heard, last)
        });
        assert_eq!(serve(&mut ration, told, LATE), "pong");
        assert_eq!(talk.join().unwrap(), (*b"pong", *b"bye"));
        assert!(!ration.is_used_up());
    }

    #[test]
    fn whoever_sends_without_end_is_cut_off() {
        let (mut driver, mut ration, mut grpc) = line();
        let told = Told::default();
        let teller = told.clone();
        let sender = thread::spawn(move || while driver.write_all(&[b'x'; 4096]).is_ok() {});
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            grpc.read_to_end(&mut read).unwrap();
            teller.tell("closed");
            read.len()
        });
        assert_eq!(serve(&mut ration, told, LATE), "closed");
        assert!(ration.is_used_up());
        assert!(reader.join().unwrap() <= RATION);
        drop(ration);
        sender.join().unwrap();
    }

    #[test]
    fn whoever_does_not_read_is_given_up_at_the_deadline() {
        let (driver, mut ration, grpc) = line();
        grpc.set_nonblocking(true).unwrap();
        let writer = thread::spawn(move || {
            // Until there is no room any more, and the end is told.
            loop {
                match (&grpc).write(&[b'x'; 4096]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(error) => return error.kind(),
                    Ok(_) => {}
                }
            }
        });
        assert_eq!(serve(&mut ration, Told::default(), SOON), "cancelled");
        drop(ration);
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
        drop(driver);
    }

    #[test]
    fn a_driver_that_reads_no_more_is_told_of_at_once() {
        let (driver, mut ration, mut grpc) = line();
        let told = Told::default();
        let teller = told.clone();
        driver.shutdown(Shutdown::Read).unwrap();
        let asker = thread::spawn(move || {
            grpc.write_all(b"ping").unwrap();
            let end = grpc.read(&mut [0; 4]).unwrap();
            teller.tell("closed");
            end
        });
        assert_eq!(serve(&mut ration, told, LATE), "closed");
        assert_eq!(asker.join().unwrap(), 0);
    }

    #[test]
    fn what_a_driver_says_before_it_closes_is_not_lost() {
        for length in [4, 20_000] {
            let (mut driver, mut ration, mut grpc) = line();
            let told = Told::default();
            let teller = told.clone();
            grpc.write_all(b"ping").unwrap();
            driver.write_all(&vec![b'x'; length]).unwrap();
            drop(driver);
            let reader = thread::spawn(move || {
                let mut heard = Vec::new();
                grpc.read_to_end(&mut heard).unwrap();
                teller.tell("closed");
                heard.len()
            });
            assert_eq!(serve(&mut ration, told, LATE), "closed");
            assert_eq!(reader.join().unwrap(), length);
        }
    }

    #[test]
    fn what_was_there_by_the_deadline_is_not_lost() {
        let (mut driver, mut ration, mut grpc) = line();
        let told = Told::default();
        let teller = told.clone();
        driver.write_all(b"pong").unwrap();
        let reader = thread::spawn(move || {
            let mut heard = [0; 4];
            grpc.read_exact(&mut heard).unwrap();
            teller.tell("pong");
        });
        assert_eq!(serve(&mut ration, told, Duration::ZERO), "pong");
        reader.join().unwrap();
    }
}

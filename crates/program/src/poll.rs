//! poll(2), which waits for several sockets at once.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

/// The event of a socket to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// There are bytes to read, a connection to accept, or the end of file.
    Read,
    /// There is room to write.
    Write,
    /// The other side has shut down its sending side, or the connection has ended.
    Finish,
    /// The connection has ended, in both directions or by an error.
    Hangup,
}

/// The sockets of one poll(2), and afterwards their events.
#[derive(Default)]
pub struct Round(Vec<libc::pollfd>);

impl Round {
    /// Removes all sockets.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a socket, and returns its number for [`Round::is_ready`] and [`Round::is_over`].
    pub fn add(&mut self, socket: BorrowedFd<'_>, interest: Interest) -> usize {
        self.0.push(libc::pollfd {
            fd: socket.as_raw_fd(),
            events: match interest {
                Interest::Read => libc::POLLIN,
                Interest::Write => libc::POLLOUT,
                Interest::Finish => libc::POLLRDHUP,
                // poll(2) always reports errors and hang-ups.
                Interest::Hangup => 0,
            },
            revents: 0,
        });
        self.0.len() - 1
    }

    /// Waits until a socket has an event, or until `at_most` is over; `None` has no end. If a
    /// signal interrupts the wait, it ends, and no socket is ready.
    ///
    /// # Errors
    ///
    /// ENOMEM, and EINVAL if RLIMIT_NOFILE was lowered below the number of these sockets.
    #[allow(unsafe_code, reason = "std has no poll(2); see SAFETY")]
    pub fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let count = libc::nfds_t::try_from(self.0.len()).map_err(io::Error::other)?;
        // Rounding down would end the wait too early. -1 means no end.
        let milliseconds = at_most.map_or(-1, |time| {
            i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        // SAFETY: pointer and count are those of one Vec of pollfd, which this function borrows
        // mutably. For a descriptor that is closed, poll(2) reports POLLNVAL.
        let result = unsafe { libc::poll(self.0.as_mut_ptr(), count, milliseconds) };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            for socket in &mut self.0 {
                socket.revents = 0;
            }
            return Ok(());
        }
        Err(error)
    }

    /// Whether the connection of this socket has ended, in both directions or by an error.
    #[must_use]
    pub fn is_over(&self, number: usize) -> bool {
        const OVER: libc::c_short = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        self.0
            .get(number)
            .is_some_and(|socket| socket.revents & OVER != 0)
    }

    /// Whether this socket has an event, which may be an error.
    #[must_use]
    pub fn is_ready(&self, number: usize) -> bool {
        self.0.get(number).is_some_and(|socket| socket.revents != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn only_sockets_with_an_event_are_ready() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let (silent, _kept) = UnixStream::pair().unwrap();
        let mut round = Round::default();
        let read = round.add(other.as_fd(), Interest::Read);
        let none = round.add(silent.as_fd(), Interest::Read);
        round.wait(Some(Duration::ZERO)).unwrap();
        assert!(!round.is_ready(read) && !round.is_ready(none));
        one.write_all(b"x").unwrap();
        round.wait(None).unwrap();
        assert!(round.is_ready(read) && !round.is_ready(none));
        drop(one);
        round.clear();
        let hung_up = round.add(other.as_fd(), Interest::Hangup);
        round.wait(None).unwrap();
        assert!(round.is_ready(hung_up));
    }
}

//! poll(2): waiting for several sockets at once.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

/// What to wait for, and what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes, a connection, or an end.
    Read,
    /// Room for bytes.
    Write,
    /// That the other side will send no more, an error, or an end of both
    /// directions.
    Finish,
    /// Nothing but an error or an end of both directions.
    Hangup,
}

/// The sockets of one round, and afterwards which of them are ready.
#[derive(Default)]
pub struct Round(Vec<libc::pollfd>);

impl Round {
    /// Begins a round again.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a socket; the number is for [`Round::is_ready`].
    pub fn add(&mut self, socket: BorrowedFd<'_>, interest: Interest) -> usize {
        self.0.push(libc::pollfd {
            fd: socket.as_raw_fd(),
            events: match interest {
                Interest::Read => libc::POLLIN,
                Interest::Write => libc::POLLOUT,
                Interest::Finish => libc::POLLRDHUP,
                // Errors and hang-ups come unasked.
                Interest::Hangup => 0,
            },
            revents: 0,
        });
        self.0.len() - 1
    }

    /// Waits until a socket is ready, or for `at_most`; `None` is for ever. An
    /// interruption by a signal is an end without anything ready.
    ///
    /// # Errors
    ///
    /// ENOMEM; EINVAL where RLIMIT_NOFILE was lowered below what is open.
    #[allow(unsafe_code, reason = "std has no poll(2); see SAFETY")]
    pub fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let count = libc::nfds_t::try_from(self.0.len()).map_err(io::Error::other)?;
        // Rounded up, so that the moment waited for has come; -1 is for ever.
        let milliseconds = at_most.map_or(-1, |time| {
            i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the pointer and the count are those of one Vec of pollfd,
        // which nobody else touches meanwhile. Descriptors that are closed by
        // then are reported as such, not followed.
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

    /// Whether this socket has an error or has ended in both directions.
    #[must_use]
    pub fn is_over(&self, number: usize) -> bool {
        const OVER: libc::c_short = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        self.0
            .get(number)
            .is_some_and(|socket| socket.revents & OVER != 0)
    }

    /// Whether anything has come for this socket, an error included.
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
    fn a_round_tells_who_is_ready() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let (silent, _kept) = UnixStream::pair().unwrap();
        let mut round = Round::default();
        let read = round.add(other.as_fd(), Interest::Read);
        let nothing = round.add(silent.as_fd(), Interest::Read);
        round.wait(Some(Duration::ZERO)).unwrap();
        assert!(!round.is_ready(read) && !round.is_ready(nothing));
        one.write_all(b"x").unwrap();
        round.wait(None).unwrap();
        assert!(round.is_ready(read) && !round.is_ready(nothing));
        drop(one);
        round.clear();
        let hung_up = round.add(other.as_fd(), Interest::Hangup);
        round.wait(None).unwrap();
        assert!(round.is_ready(hung_up));
    }
}

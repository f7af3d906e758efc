//! Connecting to the driver: tried again until the window closes where waiting
//! can cure the cause, given up at once where it cannot.

mod permission;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::CsiAddress;
use crate::error::{ConnectError, Reason};
use crate::socket;

/// Pauses between attempts: short at first, for a driver that is just starting,
/// then a tenth of a second, which costs next to nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What the first attempt has at least, however little is left: it takes
/// microseconds where somebody listens, and without it there is no cause to tell.
const FIRST_ATTEMPT: Duration = Duration::from_millis(10);

/// Connects to the driver, with attempts until `until` but at least one; `failed`
/// hears of each attempt that did not succeed.
///
/// # Errors
///
/// The last attempt's error.
pub fn connect(
    address: &CsiAddress,
    until: Instant,
    mut failed: impl FnMut(&ConnectError),
) -> Result<OwnedFd, ConnectError> {
    connect_while(address, until, |error| {
        failed(error);
        error.passing
    })
}

/// Connects to the driver until `until` if it is there, and gives up at once if it is not:
/// for somebody who comes again soon anyway. A driver that is slow to accept is there.
///
/// # Errors
///
/// The last attempt's error.
pub fn connect_if_there(address: &CsiAddress, until: Instant) -> Result<OwnedFd, ConnectError> {
    connect_while(address, until, |error| error.reason == Reason::QueueFull)
}

/// Attempts until `until` but at least one, as long as `goes_on` says of each that did not
/// succeed that another one is to be made.
fn connect_while(
    address: &CsiAddress,
    until: Instant,
    mut goes_on: impl FnMut(&ConnectError) -> bool,
) -> Result<OwnedFd, ConnectError> {
    let mut pause = FIRST_PAUSE;
    let mut last: Option<ConnectError> = None;
    loop {
        let began = Instant::now();
        let attempt_until = match last {
            None => until.max(began + FIRST_ATTEMPT),
            Some(_) => until,
        };
        let connected = socket::connect(address, attempt_until);
        let error = match (connected, last) {
            (Ok(socket), _) => return Ok(socket),
            // Our own deadline says less than what went wrong before it.
            (Err(error), Some(last)) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(last);
            }
            (Err(error), _) => explain(address, &error),
        };
        let goes_on = goes_on(&error);
        let left = until.saturating_duration_since(Instant::now());
        if !goes_on || left.is_zero() {
            return Err(error);
        }
        // For room in a queue the attempt itself has waited, in the kernel.
        if began.elapsed() < LONGEST_PAUSE {
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        last = Some(error);
    }
}

/// Puts the error of an attempt into words.
fn explain(address: &CsiAddress, error: &io::Error) -> ConnectError {
    let (cause, reason, passing) = match (error.kind(), address) {
        (io::ErrorKind::ConnectionRefused, CsiAddress::Path(path)) => {
            // Linux says "connection refused" of every file that is no socket.
            match fs::metadata(path) {
                Ok(found) if !found.file_type().is_socket() => {
                    ("not a socket".to_owned(), Reason::NotASocket, false)
                }
                _ => ("connection refused".to_owned(), Reason::Refused, true),
            }
        }
        (io::ErrorKind::WouldBlock, CsiAddress::Path(_) | CsiAddress::Abstract(_)) => (
            "the driver does not accept connections, its queue is full".to_owned(),
            Reason::QueueFull,
            true,
        ),
        (io::ErrorKind::PermissionDenied, CsiAddress::Path(path))
            if error.raw_os_error() == Some(libc::EACCES) && permission::lets_us_write(path) =>
        {
            (
                "permission denied, though the socket's mode allows it: \
                 look for SELinux or AppArmor denials"
                    .to_owned(),
                Reason::PermissionDenied,
                false,
            )
        }
        (io::ErrorKind::TimedOut, _) => ("timed out".to_owned(), Reason::TimedOut, true),
        (kind, _) => (in_words(error), reason(kind), !is_final(error)),
    };
    ConnectError {
        address: address.to_string(),
        cause,
        reason,
        passing,
    }
}

fn reason(kind: io::ErrorKind) -> Reason {
    match kind {
        io::ErrorKind::NotFound => Reason::NotFound,
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        io::ErrorKind::PermissionDenied => Reason::PermissionDenied,
        io::ErrorKind::NotADirectory => Reason::NotADirectory,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Reason::Unreachable,
        _ => Reason::Other,
    }
}

/// Whether waiting cannot cure it: somebody has to change the machine or the
/// manifest. All else is worth another attempt within the window.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EPERM
                | libc::EACCES
                | libc::ENOTDIR
                | libc::ELOOP
                | libc::ENAMETOOLONG
                | libc::EINVAL
                | libc::EPROTOTYPE // a datagram socket
        )
    )
}

/// The C library's words without Rust's number behind them, in lower case as
/// Go prints them.
fn in_words(error: &io::Error) -> String {
    let full = error.to_string();
    let words = match full.find(" (os error ") {
        Some(end) => &full[..end],
        None => &full,
    };
    let mut letters = words.chars();
    match letters.next() {
        // "Is a directory" becomes "is a directory"; "ABC failed" stays.
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_and_without_a_number() {
        assert_eq!(
            in_words(&io::Error::from_raw_os_error(2)),
            "no such file or directory"
        );
        assert_eq!(in_words(&io::Error::other("DNS is down")), "DNS is down");
    }

    #[test]
    fn what_waiting_does_not_cure_is_final() {
        for code in [
            libc::EPERM,
            libc::EACCES,
            libc::ENOTDIR,
            libc::ELOOP,
            libc::ENAMETOOLONG,
            libc::EPROTOTYPE,
        ] {
            assert!(is_final(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [
            libc::ENOENT,
            libc::ECONNREFUSED,
            libc::EAGAIN,
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOMEM,
            libc::EHOSTUNREACH,
        ] {
            assert!(!is_final(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}

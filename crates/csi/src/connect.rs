//! Connects to a driver. A cause that waiting can cure leads to another attempt until the deadline;
//! any other cause ends the attempts at once.

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

/// The pause after the first attempt, which is short because the driver may be just starting. Each
/// further pause is twice as long as the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between attempts. Ten attempts a second cost next to nothing.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The time that the first attempt gets at least, however little is left until the deadline. A
/// driver that listens needs microseconds, and without an attempt the error could name no cause.
const FIRST_ATTEMPT: Duration = Duration::from_millis(10);

/// Connects to the driver. It makes at least one attempt, and others until `until`, and calls
/// `failed` with the error of each attempt that fails.
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
        error.is_transient
    })
}

/// Connects to the driver if it listens, and returns an error at once if it does not, for callers
/// that try again soon anyway. It waits until `until` only if the driver is slow to accept.
///
/// # Errors
///
/// The last attempt's error.
pub fn connect_if_there(address: &CsiAddress, until: Instant) -> Result<OwnedFd, ConnectError> {
    connect_while(address, until, |error| error.reason == Reason::QueueFull)
}

/// Makes at least one attempt, and others until `until` while `should_retry` is true of the last
/// error.
fn connect_while(
    address: &CsiAddress,
    until: Instant,
    mut should_retry: impl FnMut(&ConnectError) -> bool,
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
            // The error of an earlier attempt says more than that the time is over.
            (Err(error), Some(last)) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(last);
            }
            (Err(error), _) => explain(address, &error),
        };
        let retry = should_retry(&error);
        let left = until.saturating_duration_since(Instant::now());
        if !retry || left.is_zero() {
            return Err(error);
        }
        // If the accept queue was full, the attempt itself has waited in the kernel.
        if began.elapsed() < LONGEST_PAUSE {
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        last = Some(error);
    }
}

/// Finds the cause of a failed attempt, and whether waiting can cure it.
fn explain(address: &CsiAddress, error: &io::Error) -> ConnectError {
    let (cause, reason, is_transient) = match (error.kind(), address) {
        (io::ErrorKind::ConnectionRefused, CsiAddress::Path(path)) => {
            // Linux returns ECONNREFUSED also for a file that is no socket.
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
            if error.raw_os_error() == Some(libc::EACCES) && permission::allows_writing(path) =>
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
        (kind, _) => (lower_case_message(error), reason(kind), !is_final(error)),
    };
    ConnectError {
        address: address.to_string(),
        cause,
        reason,
        is_transient,
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

/// Whether waiting cannot cure the error, because an operator has to change the node or the
/// manifest.
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

/// The C library's message, without the number that Rust appends, and in lower case as Go prints
/// it.
fn lower_case_message(error: &io::Error) -> String {
    let full = error.to_string();
    let message = match full.find(" (os error ") {
        Some(end) => &full[..end],
        None => &full,
    };
    let mut letters = message.chars();
    match letters.next() {
        // "Is a directory" becomes "is a directory"; "ABC failed" stays.
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_lower_case_and_without_a_number() {
        assert_eq!(
            lower_case_message(&io::Error::from_raw_os_error(2)),
            "no such file or directory"
        );
        assert_eq!(
            lower_case_message(&io::Error::other("DNS is down")),
            "DNS is down"
        );
    }

    #[test]
    fn an_error_that_waiting_does_not_cure_is_final() {
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

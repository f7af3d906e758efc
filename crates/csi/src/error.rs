//! The errors of a connection and of a call. They are displayed as gRPC's implementation in Go
//! displays them, because users' alerts match that form.

use std::fmt;

use program::escape;
use program::panics::Panic;

use crate::code::Code;

/// The error of a connection that was not established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The driver's address.
    pub address: String,
    /// The cause, as a text for people.
    pub cause: String,
    /// The cause, as the label of a metric.
    pub reason: Reason,
    /// Whether waiting can cure the cause, such as a socket that does not exist yet.
    pub is_transient: bool,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: {}", self.address, self.cause)
    }
}

/// The reason why there is no connection, from a fixed set. A cause is no label of a metric,
/// because its text is the C library's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The socket or the host does not exist.
    NotFound,
    /// No process listens.
    Refused,
    /// The socket's owner or mode, or a security module, forbids the connection.
    PermissionDenied,
    /// The path leads to a file of another kind.
    NotASocket,
    /// A part of the path that should be a directory is a file.
    NotADirectory,
    /// The driver does not accept connections, and its queue is full.
    QueueFull,
    /// No route leads to the host.
    Unreachable,
    /// The connection was not established in time.
    TimedOut,
    /// Any other reason, which the log names.
    Other,
}

impl Reason {
    /// The value of the label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Reason::NotFound => "not_found",
            Reason::Refused => "refused",
            Reason::PermissionDenied => "permission_denied",
            Reason::NotASocket => "not_a_socket",
            Reason::NotADirectory => "not_a_directory",
            Reason::QueueFull => "queue_full",
            Reason::Unreachable => "unreachable",
            Reason::TimedOut => "timed_out",
            Reason::Other => "other",
        }
    }
}

/// The error of a call, displayed as gRPC in Go displays a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The gRPC status code.
    pub code: Code,
    /// The message of the driver or of gRPC. It is capped, but not escaped yet.
    pub message: String,
}

impl CallError {
    /// Makes an error. It caps `message`, because the driver may have written it.
    #[must_use]
    pub fn new(code: Code, message: &str) -> CallError {
        CallError {
            code,
            message: escape::capped(message),
        }
    }

    /// Makes the error for a panic of this program, which says nothing about the driver.
    #[must_use]
    pub fn of_a_bug(panic: &Panic) -> CallError {
        CallError::new(
            Code::INTERNAL,
            &format!("this sidecar has a bug, and the driver has no part in it: {panic}"),
        )
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_displayed_as_in_go() {
        let error = CallError::new(Code(9), "disk on fire");
        assert_eq!(
            error.to_string(),
            "rpc error: code = FailedPrecondition desc = disk on fire"
        );
    }
}

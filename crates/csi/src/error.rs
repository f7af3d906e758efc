//! The errors of a connection and of a call. They are displayed as gRPC's implementation in Go
//! displays them, because users' alerts match that form.

use std::fmt;

use program::escape;
use program::panics::Panic;

/// The error of a connection that was not established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The driver's address.
    pub address: String,
    /// The cause, for people. It is never from a driver.
    pub cause: String,
    /// The cause, for the label of a metric.
    pub reason: Reason,
    /// Whether waiting can cure the cause, such as a socket that does not exist yet.
    pub is_transient: bool,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: {}", self.address, self.cause)
    }
}

/// The reason why there is no connection, from a fixed set. A cause is no label of a metric, because
/// its text is the C library's.
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

/// A gRPC status code, displayed by its name in Go. The driver may send any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub i32);

impl Code {
    /// The call succeeded.
    pub const OK: Code = Code(0);
    /// The deadline passed.
    pub const DEADLINE_EXCEEDED: Code = Code(4);
    /// A resource is used up. Here, the reply exceeds its limits.
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    /// An internal error.
    pub const INTERNAL: Code = Code(13);
    /// The service cannot be reached.
    pub const UNAVAILABLE: Code = Code(14);

    /// Whether gRPC gives this number a meaning.
    #[must_use]
    pub fn is_defined(self) -> bool {
        self.go_name().is_some()
    }

    fn go_name(self) -> Option<&'static str> {
        let index = usize::try_from(self.0).ok()?;
        GO_NAMES.get(index).copied()
    }
}

/// The names by number: <https://github.com/grpc/grpc-go/blob/master/codes/code_string.go>.
const GO_NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.go_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Code({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names_in_go() {
        assert_eq!(Code::OK.to_string(), "OK");
        assert_eq!(Code(1).to_string(), "Canceled");
        assert_eq!(Code::DEADLINE_EXCEEDED.to_string(), "DeadlineExceeded");
        assert_eq!(Code(9).to_string(), "FailedPrecondition");
        assert_eq!(Code::INTERNAL.to_string(), "Internal");
        assert_eq!(Code::UNAVAILABLE.to_string(), "Unavailable");
        assert_eq!(Code(16).to_string(), "Unauthenticated");
        assert_eq!(Code(17).to_string(), "Code(17)");
        assert_eq!(Code(-1).to_string(), "Code(-1)");
    }

    #[test]
    fn an_error_is_displayed_as_in_go() {
        let error = CallError::new(Code(9), "disk on fire");
        assert_eq!(
            error.to_string(),
            "rpc error: code = FailedPrecondition desc = disk on fire"
        );
    }
}

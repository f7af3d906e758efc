//! What a connection and a call can end in, displayed as gRPC's Go implementation displays it,
//! because users' alerts and habits are made for that.

use std::fmt;

use program::escape;
use program::panics::Panic;

/// A connection that did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The driver's address.
    pub address: String,
    /// The cause in words.
    pub cause: String,
    /// The cause as a metric's label.
    pub reason: Reason,
    /// Whether waiting can cure it, as it does a socket that is not there yet.
    pub passing: bool,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: {}", self.address, self.cause)
    }
}

/// Why there is no connection, in one word of a fixed set: the words of a cause
/// are the C library's, and no label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such socket, or no such host.
    NotFound,
    /// Nobody listens.
    Refused,
    /// The socket's owner or mode, or a security module, forbids it.
    PermissionDenied,
    /// What is there is a file of another kind.
    NotASocket,
    /// A part of the path is a file.
    NotADirectory,
    /// The driver does not accept connections.
    QueueFull,
    /// No route leads to the host.
    Unreachable,
    /// Nothing happened in time.
    TimedOut,
    /// Anything else; the log has the words.
    Other,
}

impl Reason {
    /// The word.
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

/// A call that failed, displayed as Go's gRPC displays a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The gRPC status code.
    pub code: Code,
    /// The driver's words, or gRPC's. Capped, but not escaped yet.
    pub message: String,
}

impl CallError {
    /// A failed call; `message` is a stranger's text and gets capped.
    #[must_use]
    pub fn new(code: Code, message: &str) -> CallError {
        CallError {
            code,
            message: escape::capped(message),
        }
    }

    /// What a panic of this program is reported as. It says nothing of the driver.
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

/// A gRPC status code, displayed by its name in Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub i32);

impl Code {
    /// The call succeeded.
    pub const OK: Code = Code(0);
    /// The deadline passed.
    pub const DEADLINE_EXCEEDED: Code = Code(4);
    /// There is not enough of something, here for a reply.
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    /// Something inside is broken.
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

/// <https://github.com/grpc/grpc-go/blob/master/codes/code_string.go>
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
    fn codes_are_spelled_as_in_go() {
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
    fn a_failed_call_reads_as_go_prints_it() {
        let error = CallError::new(Code(9), "disk on fire");
        assert_eq!(
            error.to_string(),
            "rpc error: code = FailedPrecondition desc = disk on fire"
        );
    }
}

//! gRPC status codes.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>

use std::fmt;

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
}

//! The bytes of the answers that the door gives itself.

use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::Utc;

/// The `Server` of every answer, whichever side of the door gives it.
pub const SERVER: &str = "csi-livenessprobe";

/// An answer of the door's own: its bytes with and without the body.
#[derive(Clone)]
pub struct Canned {
    /// HTTP status.
    pub status: u16,
    /// Head and body.
    pub whole: Arc<[u8]>,
    /// The head alone, for HEAD.
    pub head: Arc<[u8]>,
}

impl Canned {
    /// Writes an answer that closes the connection, dated `now`: a server with a clock has
    /// to send `Date` (RFC 9110, section 6.6.1).
    pub fn new(status: u16, body: &str, now: SystemTime) -> Canned {
        // A 405 has to say what would be allowed (RFC 9110, section 15.5.6).
        let allow = match status {
            405 => "Allow: GET, HEAD, OPTIONS\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {status} {}\r\nServer: {SERVER}\r\nDate: {}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n{allow}\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            reason(status),
            Utc::from(now).http(),
            body.len()
        );
        Canned {
            status,
            whole: [head.as_bytes(), body.as_bytes()].concat().into(),
            head: head.into_bytes().into(),
        }
    }
}

/// The reason phrases of RFC 9110, section 15, for the statuses given here.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_closes_and_tells_its_length() {
        let now = SystemTime::UNIX_EPOCH;
        let canned = Canned::new(405, "no", now);
        assert_eq!(
            std::str::from_utf8(&canned.whole).unwrap(),
            "HTTP/1.1 405 Method Not Allowed\r\nServer: csi-livenessprobe\r\n\
             Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Allow: GET, HEAD, OPTIONS\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        );
        assert!(canned.whole.starts_with(&canned.head) && canned.head.ends_with(b"\r\n\r\n"));
    }
}

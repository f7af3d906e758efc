//! The bytes of every answer.

use std::sync::Arc;
use std::time::SystemTime;

use program::Program;
use program::utc::Utc;

use crate::site::Reply;

/// An answer's bytes, with and without the body.
#[derive(Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Head and body.
    whole: Arc<[u8]>,
    /// The head alone, for HEAD.
    head: Arc<[u8]>,
}

impl Response {
    /// Writes an answer that closes the connection, dated `now`: a server with a clock has to
    /// send `Date` (RFC 9110, section 6.6.1).
    pub fn new(program: &Program, reply: &Reply, now: SystemTime) -> Response {
        let status = reply.status;
        // A 405 has to say what would be allowed (RFC 9110, section 15.5.6).
        let allow = match status {
            405 => "Allow: GET, HEAD, OPTIONS\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {status} {}\r\nServer: {}\r\nDate: {}\r\nContent-Type: {}\r\n{allow}\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            reason(status),
            program.package,
            Utc::from(now).http(),
            reply.content_type,
            reply.body.len()
        );
        Response {
            status,
            whole: [head.as_bytes(), reply.body.as_bytes()].concat().into(),
            head: head.into_bytes().into(),
        }
    }

    /// The bytes for a request by HEAD, or for another one.
    pub fn bytes(&self, is_head: bool) -> &Arc<[u8]> {
        if is_head { &self.head } else { &self.whole }
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
    fn an_answer_closes_and_gives_its_length() {
        let program = Program {
            name: "sidecar",
            package: "csi-sidecar",
            version: "1",
            revision: "2",
        };
        let reply = Reply::plain(405, "no");
        let response = Response::new(&program, &reply, SystemTime::UNIX_EPOCH);
        assert_eq!(
            std::str::from_utf8(response.bytes(false)).unwrap(),
            "HTTP/1.1 405 Method Not Allowed\r\nServer: csi-sidecar\r\n\
             Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Allow: GET, HEAD, OPTIONS\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        );
        let (whole, head) = (response.bytes(false), response.bytes(true));
        assert!(whole.starts_with(head) && head.ends_with(b"\r\n\r\n"));
    }
}

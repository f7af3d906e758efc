//! A request's head (RFC 9112): is it complete, is it answered here, and if not, with which error
//! is it refused? Pure.
//!
//! Two facts about a head are used: whether it is a HEAD, and its target. The rest of what a
//! client wrote is dropped here, so that it does not matter whether tiny_http would understand an
//! odd head in the same way.
//!
//! By hand and not by the crate httparse: the checks that matter here (Host, lengths,
//! Transfer-Encoding, Expect, the first bytes of other protocols) would still be ours.

use crate::limits::HEAD_BYTES;

/// What the bytes are that have come so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// The beginning of a head.
    Partial,
    /// A request to be answered.
    Complete(Request),
    /// A request that is refused.
    Refused(RequestError),
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether the answer is to have no body.
    pub is_head: bool,
    /// The method, for the log.
    pub method: String,
    /// The target, visible ASCII.
    pub target: String,
    /// Whether there are bytes behind the head.
    pub has_more: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// HTTP status.
    pub status: u16,
    /// The reason, for people.
    pub why: &'static str,
}

const fn error(status: u16, why: &'static str) -> RequestError {
    RequestError { status, why }
}

/// The head did not come in time.
pub const TOO_SLOW: RequestError = error(408, "the request did not come within 2 s");
/// The head gives way to a newer connection.
pub const GIVES_WAY: RequestError = error(503, "too many connections without a request");
/// Too many complete requests.
pub const TOO_MANY: RequestError = error(503, "too many requests are waiting");
const TOO_LONG: RequestError = error(431, "the request's head is longer than 8 KiB");
const TARGET_TOO_LONG: RequestError = error(414, "the request line is longer than 8 KiB");
const NOT_HTTP: RequestError = error(400, "this is no HTTP/1.1 request");
const TLS: RequestError = error(
    400,
    "this port speaks HTTP without TLS, and the client sent TLS: a probe needs scheme: HTTP",
);
const BAD_HEADER: RequestError = error(400, "a header line is malformed");
const BAD_CHUNK: RequestError = error(400, "the length of a chunk is malformed");
const BAD_LENGTH: RequestError = error(400, "Content-Length is no number, or there are two");
const NO_HOST: RequestError = error(400, "HTTP/1.1 needs exactly one Host header");
const OTHER_VERSION: RequestError = error(505, "this server speaks HTTP/1.0 and HTTP/1.1");
const HAS_BODY: RequestError = error(413, "a request's body is not accepted here");
const EXPECTS: RequestError = error(417, "no expectation is met here");
const NOT_A_PROXY: RequestError = error(405, "this is no proxy");

/// Reads the bytes that have come so far. Bytes beyond the longest head are not looked at, so the
/// result does not depend on the pieces in which a longer one comes.
#[must_use]
pub fn read(bytes: &[u8]) -> Head {
    let within = &bytes[..bytes.len().min(HEAD_BYTES)];
    // Empty lines before a request are skipped (RFC 9112, section 2.2).
    let begin = within
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(within.len());
    let head = &within[begin..];
    if let Err(error) = can_begin_a_request(head) {
        return Head::Refused(error);
    }
    let complete = end_of_head(head).map(|end| {
        let (request, body) = parse(&head[..end])?;
        let body_end = match body {
            Body::None => Some(0),
            Body::Chunked => end_of_empty_chunks(&head[end..])?,
        };
        Ok((request, body_end.map(|length| begin + end + length)))
    });
    match complete {
        Some(Err(error)) => Head::Refused(error),
        Some(Ok((request, Some(end)))) => Head::Complete(Request {
            has_more: bytes.len() > end,
            ..request
        }),
        _ if bytes.len() < HEAD_BYTES => Head::Partial,
        _ if head.contains(&b'\n') => Head::Refused(TOO_LONG),
        _ => Head::Refused(TARGET_TOO_LONG),
    }
}

/// Whether these bytes can be the beginning of a request. A client that speaks another protocol
/// waits for an answer before it sends more, and may never send an empty line, so it is refused as
/// soon as its first line, or its first byte, can belong to no request.
fn can_begin_a_request(head: &[u8]) -> Result<(), RequestError> {
    // The type of a TLS record with a handshake in it (RFC 8446, section 5.1).
    const HANDSHAKE: u8 = 22;
    if head.first() == Some(&HANDSHAKE) {
        return Err(TLS);
    }
    if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
        let line = &head[..end];
        return request_line(line.strip_suffix(b"\r").unwrap_or(line)).map(drop);
    }
    let mut words = head.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version = words.next().unwrap_or_default();
    let is_possible = method.iter().copied().all(is_token_byte)
        && target.iter().all(u8::is_ascii_graphic)
        && version.len() <= VERSION.len()
        && version.iter().zip(VERSION).all(|(byte, expected)| match expected {
            b'#' => byte.is_ascii_digit(),
            expected => byte == expected,
        })
        && words.next().is_none()
        // A space behind an empty word ends it, and it cannot become a word any more.
        && !head.starts_with(b" ")
        && !head.windows(2).any(|pair| pair == b"  ");
    if is_possible { Ok(()) } else { Err(NOT_HTTP) }
}

/// The form of a version and the end of its line; # is a digit.
const VERSION: &[u8] = b"HTTP/#.#\r";

/// The body behind a head.
#[derive(Clone, Copy)]
enum Body {
    None,
    Chunked,
}

/// The length of a chunked body without content (RFC 9112, section 7.1), as Envoy and
/// Linkerd send it with a GET; `None` while it is not complete.
fn end_of_empty_chunks(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
    let zeros = bytes.iter().take_while(|byte| **byte == b'0').count();
    match bytes.get(zeros) {
        Some(b'\r' | b'\n' | b';' | b' ' | b'\t') if zeros > 0 => {}
        Some(byte) if byte.is_ascii_hexdigit() => return Err(HAS_BODY),
        Some(_) => return Err(BAD_CHUNK),
        None => return Ok(None),
    }
    let Some(end) = end_of_head(bytes) else {
        return Ok(None);
    };
    // Trailer fields stand between the last chunk and the empty line.
    let lines = lines(&bytes[..end]).skip(1);
    for line in lines.take_while(|line| !line.is_empty()) {
        header(line)?;
    }
    Ok(Some(end))
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The length of the head with its empty line. A lone LF ends a line, too (RFC 9112, section
/// 2.2), because people type it so.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut line_began = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let line = &bytes[line_began..at];
        if line_began > 0 && matches!(line, b"" | b"\r") {
            return Some(at + 1);
        }
        line_began = at + 1;
    }
    None
}

fn parse(head: &[u8]) -> Result<(Request, Body), RequestError> {
    let mut lines = lines(head);
    let (method, target, is_1_0) = request_line(lines.next().unwrap_or_default())?;
    let mut hosts = 0;
    let mut length: Option<&[u8]> = None;
    let mut body = Body::None;
    let mut refused = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = header(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            if !is_number || length.is_some_and(|other| other != value) {
                return Err(BAD_LENGTH);
            }
            length = Some(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            match body {
                Body::None if value.eq_ignore_ascii_case(b"chunked") => body = Body::Chunked,
                // Another coding, or a second one.
                _ => refused = Some(HAS_BODY),
            }
        } else if name.eq_ignore_ascii_case(b"expect") {
            refused = refused.or(Some(EXPECTS));
        }
    }
    // HTTP/1.1 needs one (RFC 9112, section 3.2).
    if hosts > 1 || (hosts == 0 && !is_1_0) {
        return Err(NO_HOST);
    }
    // A chunked body beside a length is how requests are smuggled, and one in HTTP/1.0 is
    // faulty (RFC 9112, section 6.1).
    let is_chunked = matches!(body, Body::Chunked);
    if length.is_some_and(|digits| is_chunked || digits.iter().any(|digit| *digit != b'0'))
        || (is_chunked && is_1_0)
    {
        return Err(HAS_BODY);
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    if method == "CONNECT" {
        return Err(NOT_A_PROXY);
    }
    let request = Request {
        is_head: method == "HEAD",
        method: method.to_owned(),
        target: target.to_owned(),
        has_more: false,
    };
    Ok((request, body))
}

/// Method, target, and whether the version is 1.0.
fn request_line(line: &[u8]) -> Result<(&str, &str, bool), RequestError> {
    let line = std::str::from_utf8(line).map_err(|_| NOT_HTTP)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(NOT_HTTP);
    };
    let is_target = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token(method.as_bytes()) || !is_target {
        return Err(NOT_HTTP);
    }
    match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some(b"1.0") => Ok((method, target, true)),
        Some([b'1', b'.', minor]) if minor.is_ascii_digit() => Ok((method, target, false)),
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(OTHER_VERSION)
        }
        _ => Err(NOT_HTTP),
    }
}

/// The name and value of a header. A line that begins with white space would continue the line
/// before it, which is obsolete and used for request smuggling (RFC 9112, section 5.2).
fn header(line: &[u8]) -> Result<(&[u8], &[u8]), RequestError> {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(BAD_HEADER)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_value = value
        .iter()
        .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    if !is_token(name) || !is_value {
        return Err(BAD_HEADER);
    }
    Ok((name, value))
}

/// Whether this is a token (RFC 9110, section 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Splits a target into path and query. The absolute form, which a proxy sends and every server
/// must accept (RFC 9112, section 3.2.2), loses its authority.
#[must_use]
pub fn path_and_query(target: &str) -> (&str, &str) {
    let scheme = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let target = match scheme {
        Some(_) => target[7..]
            .find(['/', '?'])
            .map_or("/", |at| &target[7 + at..]),
        None => target,
    };
    let target = target.split('#').next().unwrap_or(target);
    target.split_once('?').unwrap_or((target, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(head: &str) -> u16 {
        match read(head.as_bytes()) {
            Head::Refused(refusal) => refusal.status,
            Head::Complete(_) => 200,
            Head::Partial => 0,
        }
    }

    #[test]
    fn kubelet_s_requests_are_accepted() {
        let head = "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:9808\r\nUser-Agent: kube-probe/1.34\r\n\
                    Accept: */*\r\nConnection: close\r\n\r\n";
        let request = Request {
            is_head: false,
            method: "GET".to_owned(),
            target: "/healthz".to_owned(),
            has_more: false,
        };
        assert_eq!(read(head.as_bytes()), Head::Complete(request));
        for end in 0..head.len() {
            assert_eq!(read(&head.as_bytes()[..end]), Head::Partial, "{end}");
        }
    }

    #[test]
    fn heads_are_accepted_or_refused() {
        let long = "x".repeat(HEAD_BYTES);
        let headers = "A: b\r\n".repeat(HEAD_BYTES / 6 + 1);
        let table = [
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("GET / HTTP/1.0\n\n", 200),
            ("GET / HTTP/1.1\nHost: x\n\n", 200),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            ("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            ("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 200),
            ("BREW /pot HTTP/1.1\r\nhost: x\r\n\r\n", 200),
            ("GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            ("GET / HTTP/1.9\r\nHost: x\r\n\r\n", 200),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                200,
            ),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 00\r\n\r\n",
                200,
            ),
            ("GET / HTTP/1.1\r\nHost: x\r\nTE: a;q=nan, b\r\n\r\n", 200),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
                200,
            ),
            ("GET / HTTP/1.1\r\nHost: x\r\nX: caf\u{e9}\r\n\r\n", 200),
            // Not HTTP.
            ("\u{16}\u{3}\u{1}\u{2}\n\n", 400),
            ("GET /\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
            ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET /\u{7f} HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET / http/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET / HTTP/1\r\nHost: x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\n folded: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\rc: d\r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                400,
            ),
            ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n",
                400,
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
                400,
            ),
            // What a health probe never needs.
            ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000000\r\n\r\n",
                413,
            ),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n",
                413,
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
                417,
            ),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("GET / HTTP/0.9\r\n\r\n", 505),
            ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
            // Too long.
            (&long, 414),
            (&format!("GET /{long}"), 414),
            (&format!("GET / HTTP/1.1\r\nA: {long}"), 431),
            (&format!("GET / HTTP/1.1\r\n{headers}"), 431),
            (&format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n"), 431),
            (&"\r\n".repeat(HEAD_BYTES / 2), 414),
        ];
        for (head, status) in table {
            let shown: String = head.chars().take(80).collect();
            assert_eq!(status_of(head), status, "{shown:?}");
        }
    }

    #[test]
    fn a_chunked_body_is_no_body_or_refused() {
        let chunked = |body: &str| {
            format!("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n{body}")
        };
        let table = [
            (chunked("5\r\nhello\r\n0\r\n\r\n"), 413),
            (chunked("1"), 413),
            (chunked("0a\r\n"), 413),
            (chunked("x\r\n"), 400),
            (chunked("\r\n"), 400),
            (chunked("0x0\r\n\r\n"), 400),
            (chunked("0\r\nno colon\r\n\r\n"), 400),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
                413,
            ),
            (
                "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
                413,
            ),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
                 Content-Length: 0\r\n\r\n0\r\n\r\n"
                    .to_owned(),
                413,
            ),
            // No content in a chunked body is no body.
            (chunked("0\r\n\r\n"), 200),
            (chunked("000\n\n"), 200),
            (chunked("0;a=b\r\nX: y\r\n\r\n"), 200),
            (chunked(""), 0),
            (chunked("00"), 0),
            (chunked("0\r\n"), 0),
        ];
        for (head, status) in table {
            assert_eq!(status_of(&head), status, "{head:?}");
        }
    }

    #[test]
    fn other_protocols_are_refused_at_their_first_line_or_byte() {
        for (bytes, status) in [
            // A TLS ClientHello begins like this.
            ("\u{16}", 400),
            ("\u{16}\u{3}\u{1}", 400),
            ("\u{0}", 400),
            (" ", 400),
            ("GET  ", 400),
            ("G\u{7f}", 400),
            ("GET /\u{1}", 400),
            ("GET / HTTQ", 400),
            ("GET / HTTP/x", 400),
            ("GET / HTTP/1.1 ", 400),
            ("GET / HTTP/1.1\r\r", 400),
            ("GET /healthz\r\n", 400),
            ("SSH-2.0-OpenSSH_9.2\r\n", 400),
            ("PRI * HTTP/2.0\r\n", 505),
            ("GET / HTTP/2.0", 0),
            ("GET / HTTP/1.1\r", 0),
            ("GET / HTTP/1.1\r\n", 0),
            ("GET /", 0),
            ("G", 0),
            ("\r\n", 0),
            ("", 0),
        ] {
            assert_eq!(status_of(bytes), status, "{bytes:?}");
        }
        let Head::Refused(refusal) = read(b"\x16\x03\x01") else {
            panic!("not refused");
        };
        assert!(refusal.why.contains("scheme: HTTP"), "{}", refusal.why);
    }

    #[test]
    fn a_head_that_is_too_long_gets_the_same_error_in_any_pieces() {
        let long = format!("GET /{} HTTP/1.0\r\n\r\n", "x".repeat(HEAD_BYTES));
        for end in HEAD_BYTES..=long.len() {
            assert_eq!(status_of(&long[..end]), 414, "{end}");
        }
    }

    #[test]
    fn bytes_behind_the_head_are_noticed() {
        let Head::Complete(request) = read(b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n") else {
            panic!("not complete");
        };
        assert!(request.has_more);
    }
}

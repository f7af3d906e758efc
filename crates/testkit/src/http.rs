//! An HTTP/1.1 client that sends exactly the bytes it is given and takes the response
//! apart.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wait::PATIENCE;

/// A response.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, as they came.
    pub head: String,
    /// The body.
    pub body: String,
    /// How long the exchange took, from the connect to the end.
    pub took: Duration,
}

impl Response {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns status and body, so that a test can compare both at once.
    pub fn both(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// Sends a GET request as kubelet does.
pub fn get(address: SocketAddr, path: &str) -> Response {
    send(
        address,
        &format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.34\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        ),
    )
}

/// Sends this request.
pub fn send(address: SocketAddr, request: &str) -> Response {
    send_in_pieces(address, &[request])
}

/// Sends these pieces of a request one after the other, each in a packet of its own.
pub fn send_in_pieces(address: SocketAddr, pieces: &[&str]) -> Response {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).expect("the sidecar accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece.as_bytes()).unwrap();
    }
    let mut response = Vec::new();
    stream
        .read_to_end(&mut response)
        .expect("a response and a close");
    parse(&response, started.elapsed())
}

fn parse(response: &[u8], took: Duration) -> Response {
    let text = String::from_utf8_lossy(response);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no end of headers in {text:?}"));
    Response {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status in {head:?}")),
        head: head.to_owned(),
        body: body.to_owned(),
        took,
    }
}

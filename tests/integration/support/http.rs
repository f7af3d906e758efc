//! An HTTP/1.1 client that sends what it is told and takes the answer apart.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The status line and headers as they came.
    pub head: String,
    pub body: String,
    pub took: Duration,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Status and body, for comparing both at once.
    pub fn both(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// What kubelet sends.
pub fn get(address: SocketAddr, path: &str) -> Response {
    send(
        address,
        &format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.34\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        ),
    )
}

pub fn send(address: SocketAddr, request: &str) -> Response {
    send_in_pieces(address, &[request])
}

/// Sends these one after the other, each in a packet of its own.
pub fn send_in_pieces(address: SocketAddr, pieces: &[&str]) -> Response {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).expect("the sidecar accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece.as_bytes()).unwrap();
    }
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("an answer and a close");
    parse(&answer, started.elapsed())
}

fn parse(answer: &[u8], took: Duration) -> Response {
    let text = String::from_utf8_lossy(answer);
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

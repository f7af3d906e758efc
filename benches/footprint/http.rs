//! One request as kubelet sends it: over a connection of its own, which the answer closes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;

/// How long to wait for an answer: longer than any deadline that a sidecar gives its driver.
const PATIENCE: Duration = Duration::from_secs(15);

/// Requests `/healthz`, and returns how long that took, from connecting to the end of the stream.
/// A status other than 200 is an error.
pub fn healthz(address: SocketAddr) -> Result<Duration> {
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.34\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    let mut answer = Vec::with_capacity(1024);
    let began = Instant::now();
    ask(address, request.as_bytes(), &mut answer)
        .map_err(|error| format!("no answer from {address}: {error}"))?;
    let took = began.elapsed();
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(took);
    }
    let said = String::from_utf8_lossy(&answer);
    Err(format!(
        "/healthz at {address} answered {:?}; right would be HTTP/1.1 200",
        said.trim_end()
    ))
}

fn ask(address: SocketAddr, request: &[u8], answer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    stream.read_to_end(answer).map(|_| ())
}

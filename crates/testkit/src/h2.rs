//! A fake driver that writes HTTP/2 (RFC 9113) byte by byte, so that it can break the
//! protocol in ways that no gRPC library allows.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The type of a frame (section 6).
pub const DATA: u8 = 0;
/// The type of a frame.
pub const HEADERS: u8 = 1;
/// The type of a frame.
pub const RST_STREAM: u8 = 3;
/// The type of a frame.
pub const SETTINGS: u8 = 4;
/// The type of a frame.
pub const PING: u8 = 6;
/// The type of a frame.
pub const GOAWAY: u8 = 7;
/// The type of a frame.
pub const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// A flag of a frame.
pub const END_STREAM: u8 = 1;
/// A flag of a frame.
pub const END_HEADERS: u8 = 4;
/// A flag of a frame.
pub const ACK: u8 = 1;

/// The length of a client's connection preface (section 3.4).
const PREFACE: usize = 24;

/// Returns a frame with its header (section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Returns a header block of literals that are not indexed (RFC 7541, section 6.2.2).
pub fn header_block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Appends an integer with a prefix of seven bits (RFC 7541, section 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The longest payload that a peer accepts by default (section 6.5.2).
const FRAME_MAX: usize = 16_384;

/// Returns a header block of any length, in as many frames as it needs.
pub fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    let mut parts = block.chunks(FRAME_MAX).peekable();
    let mut kind = HEADERS;
    let mut flags = flags;
    let mut frames = Vec::new();
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        frames.extend(frame(kind, flags | last, stream, part));
        (kind, flags) = (CONTINUATION, 0);
    }
    frames
}

/// Returns the headers that begin a gRPC reply.
pub fn reply_begins(stream: u32) -> Vec<u8> {
    let block = header_block(&[(":status", "200"), ("content-type", "application/grpc")]);
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// Returns a message behind its gRPC prefix, in as many frames as it needs.
pub fn message(stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut data = vec![0];
    data.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    data.extend(payload);
    let frames = data.chunks(FRAME_MAX);
    frames
        .flat_map(|part| frame(DATA, 0, stream, part))
        .collect()
}

/// Returns the trailers that end a gRPC reply.
pub fn reply_ends(stream: u32, status: &str) -> Vec<u8> {
    let block = header_block(&[("grpc-status", status)]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// Returns a whole reply with the status OK.
pub fn ok(stream: u32, payload: &[u8]) -> Vec<u8> {
    [
        reply_begins(stream),
        message(stream, payload),
        reply_ends(stream, "0"),
    ]
    .concat()
}

/// Returns a reply with the status OK and no message, on which grpcio panics.
pub fn ok_without_message(stream: u32) -> Vec<u8> {
    [reply_begins(stream), reply_ends(stream, "0")].concat()
}

/// Returns the response of a proxy that knows no gRPC: a status of HTTP, and either headers
/// alone or a page.
pub fn no_grpc(stream: u32, status: &str, content_type: &str, page: &[u8]) -> Vec<u8> {
    let block = header_block(&[(":status", status), ("content-type", content_type)]);
    if page.is_empty() {
        return headers(END_STREAM, stream, &block);
    }
    [
        headers(0, stream, &block),
        frame(DATA, END_STREAM, stream, page),
    ]
    .concat()
}

/// A GOAWAY (section 6.8) with which a gRPC server asks for fewer pings.
pub fn go_away_for_pings() -> Vec<u8> {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let last_stream = 1_u32.to_be_bytes();
    let payload = [
        last_stream.as_slice(),
        &ENHANCE_YOUR_CALM.to_be_bytes(),
        b"too_many_pings",
    ];
    frame(GOAWAY, 0, 0, &payload.concat())
}

/// `ProbeResponse` with ready=true.
pub const READY: &[u8] = &[0x0a, 0x02, 0x08, 0x01];

/// A Probe call that has arrived.
pub struct Call {
    /// The connection that the call came by.
    pub socket: UnixStream,
    /// The number of its stream.
    pub stream: u32,
    /// The headers, as HPACK has encoded them.
    pub headers: Vec<u8>,
    /// How many Probe calls came before it.
    pub number: usize,
}

impl Call {
    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        // The client may have closed the connection, which some tests are about.
        let _ = self.socket.write_all(bytes);
    }
}

/// Listens at `path` until the process ends, and replies to GetPluginInfo. Each Probe call
/// goes to `probe`, which replies or does not.
pub fn serve(path: &Path, probe: impl Fn(Call) + Send + Sync + 'static) -> UnixListener {
    listen(path, true, probe)
}

/// Does the same, but never acknowledges SETTINGS.
pub fn serve_without_ack(path: &Path, probe: impl Fn(Call) + Send + Sync + 'static) {
    listen(path, false, probe);
}

fn listen(
    path: &Path,
    acknowledges: bool,
    probe: impl Fn(Call) + Send + Sync + 'static,
) -> UnixListener {
    let listener = UnixListener::bind(path).expect("a socket for the fake driver");
    let accepting = listener.try_clone().unwrap();
    let probe = Arc::new(probe);
    let count = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for socket in accepting.incoming().map_while(Result::ok) {
            let (probe, count) = (Arc::clone(&probe), Arc::clone(&count));
            // The connection may end with an error.
            std::thread::spawn(move || {
                let _ = read_frames(socket, acknowledges, &*probe, &count);
            });
        }
    });
    listener
}

/// Ends accept(2) for each holder of a listener. The socket's file stays.
pub fn close(listener: &UnixListener) {
    socket2::SockRef::from(listener)
        .shutdown(std::net::Shutdown::Both)
        .unwrap();
}

/// Serves one connection until the client closes it.
pub fn converse(socket: UnixStream, probe: &(dyn Fn(Call) + Send + Sync), count: &AtomicUsize) {
    // The connection may end with an error.
    let _ = read_frames(socket, true, probe, count);
}

fn read_frames(
    mut socket: UnixStream,
    acknowledges: bool,
    probe: &(dyn Fn(Call) + Send + Sync),
    count: &AtomicUsize,
) -> io::Result<()> {
    socket.read_exact(&mut [0; PREFACE])?;
    socket.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    let mut block = Vec::new();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 && acknowledges => {
                socket.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
            }
            PING if flags & ACK == 0 => socket.write_all(&frame(PING, ACK, 0, &payload))?,
            HEADERS => block = payload,
            DATA if flags & END_STREAM != 0 => {
                // C-core sends the path without Huffman coding.
                if contains(&block, b"/csi.v1.Identity/GetPluginInfo") {
                    socket.write_all(&ok(stream, b"\x0a\x04fake"))?;
                } else {
                    assert!(contains(&block, b"/csi.v1.Identity/Probe"));
                    probe(Call {
                        socket: socket.try_clone()?,
                        stream,
                        headers: block.clone(),
                        number: count.fetch_add(1, Ordering::SeqCst),
                    });
                }
            }
            _ => {}
        }
    }
}

/// Returns whether `part` is somewhere in `text`.
pub fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

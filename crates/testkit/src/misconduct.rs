//! A table of the ways in which a driver can misbehave on a connection that it has
//! accepted.

use crate::faulty_driver::Behaviour;
use crate::h2;

/// A name for it, the behaviour, and words that the error must contain.
pub type Misconduct = (&'static str, Behaviour, &'static str);

fn goaway(code: u8) -> Vec<u8> {
    h2::frame(h2::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code])
}

fn trailers(stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    let first = [(":status", "200"), ("content-type", "application/grpc")];
    let block = h2::header_block(&[&first[..], headers].concat());
    h2::headers(h2::END_STREAM, stream, &block)
}

/// Returns the prefix of a message that declares this length, and the beginning of it.
fn declares(stream: u32, length: u32) -> Vec<u8> {
    let mut data = vec![0];
    data.extend(length.to_be_bytes());
    data.extend([b'x'; 64]);
    [
        h2::reply_begins(stream),
        h2::frame(h2::DATA, 0, stream, &data),
    ]
    .concat()
}

/// All that a driver can do wrong with frames and headers.
pub const MISCONDUCT: &[Misconduct] = &[
    ("silence", Behaviour::Silent, "DeadlineExceeded"),
    (
        "SETTINGS, then silence",
        Behaviour::SettingsOnly,
        "DeadlineExceeded",
    ),
    ("GOAWAY", Behaviour::Replies(|_| goaway(0)), "code = "),
    (
        "GOAWAY, ENHANCE_YOUR_CALM",
        Behaviour::Replies(|_| goaway(11)),
        "code = ",
    ),
    (
        "GOAWAY, then close",
        Behaviour::RepliesAndCloses(|_| goaway(2)),
        "code = Unavailable",
    ),
    (
        "close",
        Behaviour::RepliesAndCloses(|_| Vec::new()),
        "code = Unavailable",
    ),
    (
        "headers, then silence",
        Behaviour::Replies(h2::reply_begins),
        "DeadlineExceeded",
    ),
    (
        "a message, then silence",
        Behaviour::Replies(|stream| {
            [h2::reply_begins(stream), h2::message(stream, h2::READY)].concat()
        }),
        "DeadlineExceeded",
    ),
    (
        "a message, then close",
        Behaviour::RepliesAndCloses(|stream| {
            [h2::reply_begins(stream), h2::message(stream, h2::READY)].concat()
        }),
        "code = Unavailable",
    ),
    (
        "trailers alone",
        Behaviour::Replies(|stream| {
            trailers(stream, &[("grpc-status", "14"), ("grpc-message", "no")])
        }),
        "code = Unavailable desc = no",
    ),
    (
        "trailers alone, OK",
        Behaviour::Replies(|stream| trailers(stream, &[("grpc-status", "0")])),
        "code = Internal",
    ),
    (
        "OK without a message",
        Behaviour::Replies(h2::ok_without_message),
        "code = Internal",
    ),
    (
        "no status at all",
        Behaviour::Replies(|stream| trailers(stream, &[])),
        "code = Unknown",
    ),
    (
        "a status that is no number",
        Behaviour::Replies(|stream| trailers(stream, &[("grpc-status", "many")])),
        "code = Unknown",
    ),
    (
        "a status that gRPC does not define",
        Behaviour::Replies(|stream| trailers(stream, &[("grpc-status", "2147483647")])),
        "code = Code(2147483647)",
    ),
    (
        "two messages",
        Behaviour::Replies(|stream| {
            let message = h2::message(stream, h2::READY);
            [
                h2::reply_begins(stream),
                message.clone(),
                message,
                h2::reply_ends(stream, "13"),
            ]
            .concat()
        }),
        // C-core waits until the second message is read, which no code does.
        "code = DeadlineExceeded",
    ),
    (
        "2 GiB announced",
        Behaviour::Replies(|stream| declares(stream, 1 << 31)),
        "code = DeadlineExceeded",
    ),
    (
        "4 GiB announced",
        Behaviour::Replies(|stream| declares(stream, u32::MAX)),
        "code = DeadlineExceeded",
    ),
    (
        "a frame of 16 MiB announced",
        Behaviour::Replies(|stream| {
            let mut frame = h2::frame(h2::DATA, 0, stream, b"x");
            frame[..3].fill(0xff);
            frame
        }),
        "code = ",
    ),
    (
        "a header block that cannot be decoded",
        Behaviour::Replies(|stream| h2::headers(h2::END_STREAM, stream, &[0xff; 64])),
        "code = ",
    ),
    (
        "1 MB of metadata",
        Behaviour::Replies(|stream| {
            trailers(stream, &[("grpc-status", "0"), ("x", &"y".repeat(1 << 20))])
        }),
        "code = ",
    ),
    (
        "1 MB of metadata in small pieces",
        Behaviour::Replies(|stream| {
            let many = [("a-name-like-many-others", "a value"); 30_000];
            trailers(stream, &many)
        }),
        "code = ",
    ),
    (
        "an error text of 1 MB with control bytes",
        Behaviour::Replies(|stream| {
            let text = "%00%0A%1B[31m%7F".repeat(1 << 16);
            trailers(stream, &[("grpc-status", "9"), ("grpc-message", &text)])
        }),
        "code = ",
    ),
    (
        "an error text of 6 KB with control bytes",
        Behaviour::Replies(|stream| {
            let text = "%00%0A%1B[31m%7F".repeat(400);
            trailers(stream, &[("grpc-status", "9"), ("grpc-message", &text)])
        }),
        "code = FailedPrecondition desc = \\x00\\n\\x1b[31m\\x7f\\x00",
    ),
];

macro_rules! resets {
    ($($code:literal)*) => {
        &[$((
            concat!("RST_STREAM ", $code),
            Behaviour::Replies(|stream| {
                h2::frame(h2::RST_STREAM, 0, stream, &[0, 0, 0, $code])
            }),
            "rpc error: code = ",
        )),*]
    };
}

/// A stream that is reset with each error code of RFC 9113, section 7, and with one that is
/// not defined.
pub const RESETS: &[Misconduct] = resets![0 1 2 3 4 5 6 7 8 9 10 11 12 13 99];

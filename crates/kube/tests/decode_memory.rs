//! How much memory a hostile text takes while it is decoded. It is the only test of its program,
//! because the peak is that of the whole process.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use kube::decode::{LINE_MAX, Status};

/// The largest resident size that the process has had, in bytes (proc(5), `VmHWM`).
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_million_causes_take_no_memory() {
    let mut body = br#"{"code":504,"details":{"causes":["#.to_vec();
    while body.len() < LINE_MAX - 100 {
        body.extend(b"{},");
    }
    body.extend(br#"{"reason":"ResourceVersionTooLarge"},{}]}}"#);
    let before = peak();
    let status = Status::of_response(504, None, &body);
    assert!(status.is_too_large_version);
    let taken = peak() - before;
    assert!(taken < LINE_MAX, "{taken} bytes");
}

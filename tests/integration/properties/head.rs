//! The head of a request gets one verdict, which no later byte changes. Of a client's bytes
//! only a target of visible ASCII is passed on.

use csi_livenessprobe::routes::Paths;
use front::HEAD_BYTES;
use front::head::{Head, path_and_query, read};

/// Takes any bytes.
pub fn check(bytes: &[u8]) {
    let verdict = read(bytes);
    match &verdict {
        Head::Partial => assert!(bytes.len() < HEAD_BYTES),
        Head::Refused(refusal) => {
            assert!((400..600).contains(&refusal.status) && !refusal.why.is_empty());
        }
        Head::Complete(request) => {
            assert!(request.target.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(request.method.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(request.is_head, request.method == "HEAD");
            is_routed(&request.target);
        }
    }
    is_final(bytes, &verdict);
}

/// Checks that the verdict about a beginning stays when more bytes come.
fn is_final(bytes: &[u8], verdict: &Head) {
    // The first bytes are also read one by one.
    let line_ends = bytes
        .iter()
        .enumerate()
        .filter(|(at, byte)| *at < 64 || **byte == b'\n');
    for end in line_ends.map(|(at, _)| at + 1) {
        match (read(&bytes[..end]), verdict) {
            (Head::Partial, _) => {}
            (Head::Refused(early), late) => assert_eq!(Head::Refused(early), *late),
            (Head::Complete(early), Head::Complete(late)) => {
                assert_eq!((&early.target, &early.method), (&late.target, &late.method));
                assert!(late.has_more || end == bytes.len());
            }
            (Head::Complete(early), late) => panic!("{early:?}, then {late:?}"),
        }
    }
}

/// Looks for the route of any target.
fn is_routed(target: &str) {
    let paths = Paths {
        health: true,
        extra: vec!["nfs".to_owned()],
        metrics: Some("/metrics".to_owned()),
    };
    let (path, query) = path_and_query(target);
    let _ = paths.route(path, query);
}

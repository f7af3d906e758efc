//! What goes over the driver's socket: what the sidecar sends, and what peers send that are
//! broken gRPC servers or none at all.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use testkit::{Dir, Driver, LATENESS, Response, Sidecar, h2};

use super::support::livenessprobe;

/// Serves every connection with these bytes and keeps it open.
fn serve_bytes(path: &str, bytes: &'static [u8]) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = socket.write_all(bytes);
                // Until the client closes the connection.
                let _ = socket.read_to_end(&mut Vec::new());
            });
        }
    });
}

const TIMEOUT: Duration = Duration::from_millis(800);

/// Returns the response of a probe that gRPC fails.
fn failed_call(dir: &Dir) -> Response {
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=800ms"]);
    let response = sidecar.healthz();
    assert!(response.took < TIMEOUT + LATENESS, "{response:?}");
    assert_eq!(response.status, 500);
    assert!(
        response.body.starts_with("rpc error: code = "),
        "{response:?}"
    );
    response
}

#[test]
fn an_experiment_of_grpc_in_the_environment_changes_nothing() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    for experiment in ["event_engine_client", "promise_based_client_call"] {
        let mut command = livenessprobe().serving(&dir.socket());
        command.env("GRPC_EXPERIMENTS", experiment);
        let sidecar = Sidecar::run(&mut command);
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "{experiment}");
    }
}

#[test]
fn garbage_is_a_failed_call() {
    let dir = Dir::new();
    serve_bytes(
        &dir.socket(),
        b"\x00\x01garbage\xff\xfe, and more of it than a frame has\n",
    );
    failed_call(&dir);
}

#[test]
fn http_1_is_a_failed_call() {
    let dir = Dir::new();
    serve_bytes(
        &dir.socket(),
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    );
    failed_call(&dir);
}

#[test]
fn silence_is_given_up_at_the_deadline() {
    let dir = Dir::new();
    serve_bytes(&dir.socket(), b"");
    let response = failed_call(&dir);
    assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
    assert!(response.took >= TIMEOUT, "{response:?}");
}

#[test]
fn a_connection_that_is_closed_is_unavailable() {
    let dir = Dir::new();
    let listener = UnixListener::bind(dir.socket()).unwrap();
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(drop));
    let response = failed_call(&dir);
    assert!(
        response.body.contains("code = Unavailable desc = "),
        "{response:?}"
    );
}

#[test]
fn a_connection_lost_in_the_call_is_unavailable() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |call| {
        let _ = call.socket.shutdown(std::net::Shutdown::Both);
    });
    let response = failed_call(&dir);
    assert!(
        response.body.contains("code = Unavailable desc = "),
        "{response:?}"
    );
}

#[test]
fn ok_without_a_message_is_a_failed_probe_and_has_no_aftereffect() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let reply = if call.number < 3 {
            h2::ok_without_message(call.stream)
        } else {
            h2::ok(call.stream, h2::READY)
        };
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for _ in 0..3 {
        let response = sidecar.healthz();
        assert_eq!(response.status, 500);
        assert!(
            response
                .body
                .contains("code = Internal desc = gRPC panicked ("),
            "{response:?}"
        );
        let place = ", at grpcio-0.13.0/src/call/client.rs:";
        assert!(response.body.contains(place), "{response:?}");
    }
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    assert!(
        !sidecar.log().contains("this is a bug"),
        "{}",
        sidecar.log()
    );
}

#[test]
fn a_proxy_that_answers_for_the_driver_is_named() {
    for (status, code) in [
        ("502", "Unavailable"),
        ("503", "Unavailable"),
        ("404", "Unimplemented"),
        ("401", "Unauthenticated"),
        ("418", "Unknown"),
    ] {
        for page in [b"".as_slice(), b"x"] {
            let dir = Dir::new();
            h2::serve(dir.socket().as_ref(), move |mut call| {
                let reply = h2::no_grpc(call.stream, status, "application/grpc", page);
                call.send(&reply);
            });
            let words = format!("a proxy answers for the driver (HTTP {status})");
            let expected = format!("rpc error: code = {code} desc = {words}");
            assert_eq!(failed_call(&dir).body, expected);
        }
    }
}

/// C-core checks the content type before the status.
#[test]
fn a_page_in_place_of_a_reply_is_a_failed_probe() {
    for (status, content_type) in [("502", "text/html"), ("200", "text/plain; charset=utf-8")] {
        for page in [b"".as_slice(), b"<html></html>"] {
            let dir = Dir::new();
            h2::serve(dir.socket().as_ref(), move |mut call| {
                let reply = h2::no_grpc(call.stream, status, content_type, page);
                call.send(&reply);
            });
            assert_eq!(
                failed_call(&dir).body,
                "rpc error: code = Unknown desc = the reply is not one of gRPC's (Stream removed)"
            );
        }
    }
}

/// C-core logs an error for each call that is answered with another content type, and another one
/// for a GOAWAY with this text.
#[test]
fn a_driver_that_answers_with_pages_does_not_flood_the_log() {
    const PAGES: usize = 50;
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let answer = if call.number < PAGES {
            h2::no_grpc(call.stream, "502", "text/html", b"<html></html>")
        } else {
            let answer = h2::ok(call.stream, h2::READY);
            [h2::go_away_for_pings(), answer].concat()
        };
        call.send(&answer);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for _ in 0..PAGES {
        assert_eq!(sidecar.healthz().status, 500);
    }
    sidecar.healthz();
    let log = &sidecar.process.err;
    log.wait_for(0, "too_many_pings");
    let lines: Vec<String> = log
        .all()
        .into_iter()
        .filter(|line| line.contains(".cc:"))
        .collect();
    assert!((2..=5).contains(&lines.len()), "{lines:#?}");
    let suppressed: usize = lines
        .iter()
        .filter_map(|line| line.split_once(" lines_not_logged="))
        .map(|(_, count)| count.parse::<usize>().unwrap())
        .sum();
    // The last line is the one about GOAWAY.
    assert_eq!(lines.len() - 1 + suppressed, PAGES, "{lines:#?}");
}

#[test]
fn a_message_that_is_not_protobuf_is_a_failed_probe() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let reply = h2::ok(call.stream, b"\x0a\xff\xff");
        call.send(&reply);
    });
    let response = failed_call(&dir);
    assert!(response.body.contains("cannot be decoded"), "{response:?}");
}

#[test]
fn ready_that_is_present_but_empty_is_false() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let reply = h2::ok(call.stream, b"\x0a\x00");
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(
        sidecar.healthz().both(),
        (500, "driver responded but is not ready")
    );
}

#[test]
fn fields_that_a_later_csi_may_add_are_ignored() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        // Field 2, a number, before `ready`.
        let reply = h2::ok(call.stream, b"\x10\x07\x0a\x02\x08\x01");
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

#[test]
fn a_long_error_text_is_cut() {
    let dir = Dir::new();
    let long = "x".repeat(5_000);
    h2::serve(dir.socket().as_ref(), move |mut call| {
        let block = h2::header_block(&[
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "9"),
            ("grpc-message", &long),
        ]);
        let reply = h2::frame(
            h2::HEADERS,
            h2::END_HEADERS | h2::END_STREAM,
            call.stream,
            &block,
        );
        call.send(&reply);
    });
    let response = failed_call(&dir);
    assert!(
        response.body.ends_with("xxx... (3976 bytes more)"),
        "{response:?}"
    );
}

#[test]
fn the_call_names_localhost_and_its_timeout() {
    let dir = Dir::new();
    let (sender, headers) = std::sync::mpsc::channel();
    h2::serve(dir.socket().as_ref(), move |mut call| {
        sender.send(call.headers.clone()).unwrap();
        let reply = h2::ok(call.stream, h2::READY);
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().status, 200);
    let headers = headers.recv().unwrap();
    // The Rust library h2, which tonic uses, refuses a path there.
    assert!(h2::contains(&headers, b"localhost"), "{headers:?}");
    assert!(!h2::contains(&headers, b"csi.sock"), "{headers:?}");
    assert!(h2::contains(&headers, b"grpc-timeout"), "{headers:?}");
}

#[test]
fn a_driver_s_own_deadline_exceeded_is_reported_in_its_words() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--error=4", "--message=Deadline Exceeded"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(
        sidecar.healthz().both(),
        (
            500,
            "rpc error: code = DeadlineExceeded desc = Deadline Exceeded"
        )
    );
}

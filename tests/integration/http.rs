//! The table of responses in docs/usage.md: the status and the body in each situation.

use std::time::Duration;

use testkit::driver::{Library, library};
use testkit::{Dir, Driver, LATENESS, http};

use super::support::livenessprobe;

fn healthz_of(driver_flags: &[&str]) -> (u16, String) {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), driver_flags);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let response = sidecar.healthz();
    driver.has_had_probes(1);
    (response.status, response.body)
}

#[test]
fn a_ready_driver_is_ok() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--ready"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let response = sidecar.healthz();
    assert_eq!(response.both(), (200, "ok"));
    assert_eq!(
        response.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(response.header("Content-Length"), Some("2"));
}

#[test]
fn a_driver_that_leaves_ready_out_is_ok() {
    assert_eq!(healthz_of(&["--ready-absent"]), (200, "ok".to_owned()));
}

#[test]
fn a_driver_that_is_not_ready_fails_healthz_and_readyz_but_is_alive() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--not-ready"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let not_ready = (500, "driver responded but is not ready");
    assert_eq!(sidecar.get("/healthz").both(), not_ready);
    assert_eq!(sidecar.get("/readyz").both(), not_ready);
    assert_eq!(
        sidecar.get("/livez").both(),
        (200, "ok (driver responded but is not ready)")
    );
}

#[test]
fn a_ready_driver_is_alive_and_ready() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.get("/livez").both(), (200, "ok"));
    assert_eq!(sidecar.get("/readyz").both(), (200, "ok"));
}

#[test]
fn a_driver_s_error_is_reported_in_go_s_words() {
    for (code, name) in [
        (1, "Canceled"),
        (9, "FailedPrecondition"),
        (14, "Unavailable"),
        // Some libraries cannot send a code that gRPC does not define.
        match library() {
            Library::Python | Library::Tonic => (77, "Unknown"),
            Library::Core | Library::Go | Library::Node => (77, "Code(77)"),
        },
    ] {
        let (status, body) = healthz_of(&[&format!("--error={code}"), "--message=disk on fire"]);
        assert_eq!(status, 500);
        assert_eq!(
            body,
            format!("rpc error: code = {name} desc = disk on fire")
        );
    }
}

#[test]
fn a_driver_s_newlines_and_control_bytes_stay_harmless() {
    let (status, body) = healthz_of(&["--error=9", "--message=a\r\nX-Evil: 1\n\x1b[31mred\x07"]);
    assert_eq!(status, 500);
    assert_eq!(
        body,
        "rpc error: code = FailedPrecondition desc = a\\r\\nX-Evil: 1\\n\\x1b[31mred\\x07"
    );
}

#[test]
fn a_driver_that_hangs_is_given_up_at_the_deadline() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--hang"]);
    let timeout = Duration::from_secs(1);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    let response = sidecar.healthz();
    assert_eq!(
        response.both(),
        (
            500,
            format!(
                "rpc error: code = DeadlineExceeded desc = context deadline exceeded: no answer to \
                 /csi.v1.Identity/Probe from {} within 1s",
                dir.socket()
            )
            .as_str()
        )
    );
    assert!(
        response.took >= timeout && response.took < timeout + LATENESS,
        "{response:?}"
    );
}

#[test]
fn a_reply_of_10_mb_is_refused() {
    let (status, body) = healthz_of(&["--padding=10000000"]);
    assert_eq!(status, 500);
    assert!(
        body.starts_with("rpc error: code = ResourceExhausted desc = "),
        "{body}"
    );
}

#[test]
fn other_paths_are_not_found_and_do_not_probe() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for path in [
        "/",
        "/health",
        "/healthz/",
        "/healthz/x",
        "/HEALTHZ",
        "/?healthz",
        "*",
    ] {
        let response = sidecar.get(path);
        assert_eq!(response.both(), (404, "404 page not found"), "{path}");
    }
    // This request is the first that probes.
    assert_eq!(sidecar.healthz().status, 200);
    driver.has_had_probes(1);
}

#[test]
fn queries_and_the_absolute_form_do_not_matter() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for target in [
        "/healthz?",
        "/healthz?a=b&c",
        "http://node:9808/healthz",
        "/livez?x=/metrics",
    ] {
        assert_eq!(sidecar.get(target).both(), (200, "ok"), "{target}");
    }
}

#[test]
fn any_method_probes_and_head_has_no_body() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for (number, method) in ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "BREW"]
        .iter()
        .enumerate()
    {
        let response = http::send(
            sidecar.address,
            &format!(
                "{method} /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
        );
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(response.header("Content-Length"), Some("2"), "{method}");
        assert_eq!(response.body, if *method == "HEAD" { "" } else { "ok" });
        driver.has_had_probes(number + 1);
    }
}

#[test]
fn a_request_with_a_body_is_refused() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for head in [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let response = http::send(
            sidecar.address,
            &format!("POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}"),
        );
        assert_eq!(response.status, 413, "{head}");
    }
    // This request is the first that probes.
    assert_eq!(sidecar.healthz().status, 200);
    driver.has_had_probes(1);
}

/// Envoy and Linkerd send such requests (envoy#7753, linkerd2#402). The last chunk may come
/// later than the head.
#[test]
fn a_chunked_body_without_content_is_no_body() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let head = "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole = http::send(sidecar.address, &format!("{head}0\r\n\r\n"));
    assert_eq!(whole.both(), (200, "ok"));
    let in_pieces = http::send_in_pieces(sidecar.address, &[head, "0\r\n", "\r\n"]);
    assert_eq!(in_pieces.both(), (200, "ok"));
}

/// Such clients wait for a response before they send more.
#[test]
fn another_protocol_is_refused_at_its_first_line_or_byte() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for (begin, status, why) in [
        (
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}",
            400,
            "scheme: HTTP",
        ),
        ("GET /healthz\r\n", 400, "no HTTP/1.1"),
        ("PRI * HTTP/2.0\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
    ] {
        let response = http::send(sidecar.address, begin);
        assert_eq!(response.status, status, "{begin:?}");
        assert!(response.body.contains(why), "{response:?}");
        assert!(response.took < Duration::from_secs(1), "{response:?}");
    }
}

#[test]
fn http_1_0_works() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let response = http::send(sidecar.address, "GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(response.both(), (200, "ok"));
}

#[test]
fn a_verbose_response_has_all_details() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &["--name=details.example"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=400ms"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    let lines = |response: &testkit::Response| -> Vec<String> {
        response.body.lines().map(str::to_owned).collect()
    };
    let healthy = sidecar.get("/healthz?verbose");
    assert_eq!(healthy.status, 200);
    let details = lines(&healthy);
    assert_eq!(
        details[..3],
        [
            "result: ok".to_owned(),
            "driver: details.example".to_owned(),
            format!("address: {}", dir.socket())
        ]
    );
    assert!(
        details[3].starts_with("took: ") && details[3].ends_with('s'),
        "{details:?}"
    );
    assert!(
        details[4].starts_with("last success: 20") && details[4].ends_with(" ago)"),
        "{details:?}"
    );
    assert_eq!(details.len(), 5);

    driver.process.kill();
    std::fs::remove_file(dir.socket()).unwrap();
    let failing = sidecar.get("/livez?verbose");
    assert_eq!(failing.status, 500);
    let details = lines(&failing);
    assert_eq!(
        details[0],
        format!(
            "result: cannot connect to {}: no such file or directory",
            dir.socket()
        )
    );
    assert!(details[4].starts_with("last success: 20"), "{details:?}");
}

/// The front writes some responses itself, and tiny_http writes the others (RFC 9110, 6.6.1).
#[test]
fn each_response_has_a_date_and_the_same_server() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let responses = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let paths = ["/healthz", "/nowhere", "/metrics"].into_iter().cycle();
                    let responses = paths.take(30).map(|path| sidecar.get(path));
                    responses.collect::<Vec<_>>()
                })
            })
            .collect();
        let responses = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        responses.collect::<Vec<_>>()
    });
    let refused = http::send(sidecar.address, "nonsense\r\n\r\n");
    for response in responses.iter().chain([&refused]) {
        let date = response
            .header("Date")
            .unwrap_or_else(|| panic!("{response:?}"));
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        assert_eq!(
            response.header("Server"),
            Some("csi-livenessprobe"),
            "{response:?}"
        );
    }
}

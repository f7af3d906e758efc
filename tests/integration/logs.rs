//! The log on stderr: its two forms, its lines when something changes, and no others.

use std::io::{PipeReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::time::Duration;

use testkit::sys::send_signal;
use testkit::{Dir, Driver, eventually, h2, http};

use super::support::{RECEIVED, livenessprobe};

#[test]
fn text_lines_have_klog_s_header() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--name=log.example"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let line = sidecar.process.err.wait_for(0, "CSI driver name");
    let (header, rest) = line.split_once("] ").unwrap();
    assert_eq!(rest, "\"CSI driver name\" driver=\"log.example\"");
    let mut words = header.split_whitespace();
    let (day, time) = (words.next().unwrap(), words.next().unwrap());
    assert!(
        day.len() == 5 && day.starts_with('I') && day[1..].bytes().all(|b| b.is_ascii_digit()),
        "{line}"
    );
    assert!(time.len() == 15 && time.as_bytes()[8] == b'.', "{line}");
    assert_eq!(words.next().unwrap(), sidecar.process.pid().to_string());
    assert!(words.next().unwrap().contains(".rs:"), "{line}");
    // The pid is right-aligned to seven columns.
    assert_eq!(header.find(" driver_name.rs"), Some(29), "{line}");
}

#[test]
fn every_line_has_the_chosen_form() {
    let dir = Dir::new();
    // This peer makes C-core log errors, too.
    h2::serve(dir.socket().as_ref(), |mut call| {
        call.send(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    });
    let sidecar = livenessprobe().start(
        &dir.socket(),
        &[
            "--logging-format=json",
            "--v=10",
            "--probe-timeout=300ms",
            "--logtostderr",
        ],
    );
    for path in ["/healthz", "/metrics", "/\"quoted\"\\"] {
        sidecar.get(path);
    }
    sidecar.process.err.wait_for(0, "quoted");
    let lines = sidecar.process.err.all();
    assert!(lines.len() > 5, "{lines:#?}");
    for line in lines {
        let fields: serde_json::Value = serde_json::from_str(&line).expect(&line);
        assert!(fields["ts"].is_f64() && fields["msg"].is_string(), "{line}");
        assert!(
            fields["caller"]
                .as_str()
                .unwrap()
                .starts_with("livenessprobe/"),
            "{line}"
        );
    }
}

#[test]
fn the_steady_state_is_silent() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--v=4"]);
    sidecar.process.err.wait_for(0, "CSI driver name");
    sidecar.healthz();
    sidecar.process.err.wait_for(0, "Driver is healthy");
    let before = sidecar.process.err.all().len();
    for _ in 0..100 {
        assert_eq!(sidecar.healthz().status, 200);
    }
    assert_eq!(sidecar.process.err.all().len(), before, "{}", sidecar.log());
}

#[test]
fn verbosity_5_logs_each_probe_and_request() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--v=5"]);
    for _ in 0..3 {
        sidecar.healthz();
    }
    sidecar.process.err.wait_for_count("\"Probe ended\"", 3);
    for words in [RECEIVED, "\"Request answered\""] {
        sidecar.process.err.wait_for_count(words, 3);
    }
}

#[test]
fn a_change_is_logged_with_its_cause_and_a_lasting_failure_is_not_repeated() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=100ms"]);
    for _ in 0..10 {
        assert_eq!(sidecar.healthz().status, 500);
    }
    let line = sidecar.process.err.wait_for(0, "Probe failed");
    assert!(line.starts_with('E'), "{line}");
    let wanted = format!(
        "\"Probe failed\" err=\"cannot connect to {}: no such file or directory\" phase=\"connect\"",
        dir.socket()
    );
    assert!(line.contains(&wanted), "{line}");
    assert_eq!(sidecar.process.err.count("Probe failed"), 1);

    let mut driver = Driver::start(&dir.socket(), &["--not-ready"]);
    sidecar.healthz();
    sidecar
        .process
        .err
        .wait_for(0, "Driver responded but is not ready");
    driver.process.kill();
    let _driver = Driver::start(&dir.socket(), &[]);
    sidecar.healthz();
    let line = sidecar.process.err.wait_for(0, "Driver is healthy");
    assert!(line.starts_with('I'), "{line}");
}

#[test]
fn a_driver_s_text_cannot_forge_a_line() {
    let dir = Dir::new();
    let _driver = Driver::start(
        &dir.socket(),
        &[
            "--error=9",
            "--message=a\nI0101 00:00:00.000000       1 main.rs:1] \"Driver is healthy\"",
            "--name=evil\nI0101 \x1b[2J",
        ],
    );
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.healthz();
    sidecar.process.err.wait_for(0, "Probe failed");
    sidecar.process.err.wait_for(0, "CSI driver name");
    for line in sidecar.process.err.all() {
        assert!(!line.starts_with("I0101"), "{line}");
        assert!(line.bytes().all(|byte| byte >= b' '), "{line}");
    }
}

#[test]
fn a_name_that_cannot_be_learned_is_reported_once_and_asked_for_again() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--info-error=12"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let line = sidecar
        .process
        .err
        .wait_for(0, "Cannot learn the driver's name");
    assert!(line.contains("code = Unimplemented"), "{line}");
    driver.process.out.wait_for_count("GetPluginInfo", 3);
    assert_eq!(
        sidecar.process.err.count("Cannot learn the driver's name"),
        1
    );
    assert_eq!(sidecar.healthz().status, 200);
}

#[test]
fn an_empty_name_is_no_name() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--name="]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let line = sidecar
        .process
        .err
        .wait_for(0, "Cannot learn the driver's name");
    assert!(line.contains("empty name"), "{line}");
}

#[test]
fn the_name_is_known_within_a_second_of_the_first_healthy_response_and_not_asked_for_again() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let client = sidecar.spawn_get("/healthz");
    let driver = Driver::start(&dir.socket(), &[]);
    assert_eq!(client.join().unwrap().status, 200);
    let healthy = std::time::Instant::now();
    sidecar.process.err.wait_for(0, "CSI driver name");
    assert!(
        healthy.elapsed() < Duration::from_millis(1_200),
        "{:?}",
        healthy.elapsed()
    );
    // For two more of its periods.
    std::thread::sleep(Duration::from_millis(2_200));
    assert_eq!(driver.process.out.count("GetPluginInfo"), 1);
}

#[test]
fn a_long_target_is_cut_in_the_log() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &["--v=5"]);
    assert_eq!(sidecar.get(&format!("/{}", "x".repeat(5_000))).status, 404);
    for words in [RECEIVED, "\"Request answered\""] {
        let line = sidecar.process.err.wait_for(0, words);
        assert!(line.len() < 1_500, "{}", line.len());
    }
}

/// A sidecar that logs each probe and request to a pipe, killed when it is dropped.
struct Unread {
    child: Child,
    address: SocketAddr,
}

impl Unread {
    /// Starts it at an address that the test chooses, because the test reads the log, which has
    /// the address, only later.
    fn start(dir: &Dir) -> (Unread, PipeReader) {
        let (pipe, stderr) = std::io::pipe().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = livenessprobe()
            .command()
            .args([
                &format!("--csi-address={}", dir.socket()),
                &format!("--http-endpoint={address}"),
                "--probe-timeout=500ms",
                "--v=5",
            ])
            .stderr(stderr)
            .spawn()
            .unwrap();
        let sidecar = Unread { child, address };
        eventually("the listener", || TcpStream::connect(address).is_ok());
        (sidecar, pipe)
    }

    /// Stops it, and checks that it stops cleanly.
    fn stop(mut self) {
        send_signal(self.child.id().try_into().unwrap(), libc::SIGTERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stderr_without_a_reader_stops_nothing() {
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &[]);
    let (sidecar, _unread) = Unread::start(&dir);
    let port = sidecar.address;
    // A pipe holds 64 KiB, and a line has some 150 bytes.
    for _ in 0..1_000 {
        assert_eq!(http::get(port, "/healthz").both(), (200, "ok"));
    }
    driver.process.kill();
    assert_eq!(http::get(port, "/healthz").status, 500);
    let _driver = Driver::start(&dir.socket(), &[]);
    assert_eq!(http::get(port, "/healthz").both(), (200, "ok"));
    sidecar.stop();
}

#[test]
fn lines_lost_are_counted_when_stderr_is_read_again() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let (sidecar, mut read) = Unread::start(&dir);
    let port = sidecar.address;
    for _ in 0..1_000 {
        assert_eq!(http::get(port, "/healthz").status, 200);
    }
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        text
    });
    // All lines that wait are written now, or at the end of the process.
    sidecar.stop();
    let text = reader.join().unwrap();
    assert!(
        text.contains("\"Log lines lost, stderr was blocked\" lines="),
        "{text}"
    );
    for line in text.lines() {
        assert!(line.starts_with('I') || line.starts_with('W'), "{line}");
    }
}

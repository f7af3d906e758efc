//! The hostile suite: clients that do what one packet or two thousand connections
//! could knock an HTTP server over with. `make hostile` runs it at full size.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::sys::is_root;
use testkit::{Dir, Driver, Sidecar, eventually, http};

use super::support::livenessprobe;
use super::support::siege::{PROMPT, connect, crowd, hold, lay, reset};

/// Lays siege to a sidecar in front of a healthy driver: once, and again until
/// the well-behaved client has asked some ten times.
fn siege(attack: impl Fn(SocketAddr)) {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, PROMPT, || {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            attack(sidecar.address);
            if Instant::now() >= until {
                break;
            }
        }
    });
}

/// Sends a request over and over and wants this status each time.
fn is_answered(address: SocketAddr, times: usize, status: u16, request: &str) {
    for _ in 0..times {
        assert_eq!(http::send(address, request).status, status, "{request}");
    }
}

/// Sends `begin` and then `more` without end, on one connection after the
/// other, until `total` bytes are sent. Each must be cut off long before.
fn pour(address: SocketAddr, begin: &[u8], more: &[u8], total: usize) {
    let mut sent = 0;
    let chunk = more.repeat(64 * 1024 / more.len());
    while sent < total {
        let mut stream = connect(address);
        let mut here = 0;
        if stream.write_all(begin).is_ok() {
            while let Ok(count) = stream.write(&chunk) {
                here += count;
                assert!(here < 64 << 20, "never cut off");
            }
        }
        // What the kernel buffers counts, too.
        sent += here.max(1);
    }
}

const MB: usize = 1 << 20;

#[test]
fn a_body_of_100_terabytes_is_refused() {
    siege(|address| {
        is_answered(
            address,
            200,
            413,
            "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000000\r\n\r\n",
        );
    });
}

#[test]
fn a_body_that_is_promised_and_never_sent_is_not_waited_for() {
    siege(|address| {
        let request = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
        for mut stream in crowd(address, 100, request) {
            let mut answer = String::new();
            // Its answer, or a reset where too many were lingering.
            if stream.read_to_string(&mut answer).is_ok() {
                assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
            }
        }
    });
}

#[test]
fn other_versions_are_refused() {
    siege(|address| {
        is_answered(
            address,
            200,
            505,
            "GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n",
        );
        is_answered(address, 50, 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    });
}

#[test]
fn a_te_header_that_cannot_be_sorted_is_passed_over() {
    siege(|address| {
        let items: Vec<String> = (0..60)
            .map(|number| {
                format!(
                    "a{number};q={}",
                    if number % 3 == 0 { "nan" } else { "0.5" }
                )
            })
            .collect();
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: x\r\nTE: {}\r\nConnection: close\r\n\r\n",
            items.join(", ")
        );
        is_answered(address, 100, 200, &request);
    });
}

#[test]
fn what_is_no_http_is_refused() {
    siege(|address| {
        for request in [
            "\u{16}\u{3}\u{1}\0\u{5}\n\n",
            "GET /healthz\r\n\r\n",
            "GET /healthz HTTP/1.1\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\rSet-Cookie: c\r\n\r\n",
        ] {
            is_answered(address, 20, 400, request);
        }
        is_answered(address, 20, 405, "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n");
        let expects = "GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n";
        is_answered(address, 20, 417, expects);
    });
}

#[test]
fn a_hundred_megabytes_of_pipelined_requests_are_one_request() {
    siege(|address| {
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        pour(address, b"", request, 100 * MB);
    });
}

#[test]
fn a_header_without_end_is_cut_off() {
    siege(|address| {
        pour(address, b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x", 100 * MB);
        is_answered(
            address,
            1,
            431,
            &format!(
                "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
                "x".repeat(9_000)
            ),
        );
    });
}

#[test]
fn a_target_without_end_is_cut_off() {
    siege(|address| {
        pour(address, b"GET /", b"x", 100 * MB);
        is_answered(address, 1, 414, &format!("GET /{}", "x".repeat(9_000)));
    });
}

#[test]
fn two_thousand_idle_connections_keep_nobody_out() {
    siege(|address| {
        let held = crowd(address, 2_000, b"");
        std::thread::sleep(hold());
        drop(held);
    });
}

#[test]
fn two_thousand_half_open_requests_keep_nobody_out() {
    siege(|address| {
        let held = crowd(address, 2_000, b"GET /healthz HTTP/1.1\r\nHost: ");
        std::thread::sleep(hold());
        drop(held);
    });
}

#[test]
fn newcomers_without_end_keep_nobody_out() {
    siege(|address| {
        let until = Instant::now() + hold();
        while Instant::now() < until {
            drop(crowd(address, 50, b"GET /hea"));
        }
    });
}

#[test]
fn five_thousand_connections_that_are_reset_leave_nothing_behind() {
    siege(|address| {
        for number in 0..5_000 {
            let mut stream = connect(address);
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            }
            reset(stream);
        }
    });
}

#[test]
fn connections_that_are_reset_before_they_are_accepted_are_passed_over() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, PROMPT, || {
        // They wait in the kernel's queue, and are gone when they are accepted.
        // For the well-behaved client this takes no longer than a breath.
        sidecar.process.freeze();
        for mut stream in crowd(sidecar.address, 200, b"") {
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            reset(stream);
        }
        sidecar.process.thaw();
        std::thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn readers_that_do_not_read_are_given_up() {
    siege(|address| {
        let held: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = connect(address);
                socket2::SockRef::from(&stream)
                    .set_recv_buffer_size(1_024)
                    .unwrap();
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
                stream
            })
            .collect();
        std::thread::sleep(hold());
        drop(held);
    });
}

#[test]
fn a_byte_at_a_time_is_too_slow() {
    siege(|address| {
        let request = b"GET /healthz HTTP/1.1\r\nHost: a-very-patient-client.example\r\n\r\n";
        let began = Instant::now();
        let mut slow = crowd(address, 10, b"");
        let mut bytes = request.iter();
        while slow.iter().any(PeekIsOpen::peek_is_open) {
            if let Some(byte) = bytes.next() {
                for stream in &mut slow {
                    let _ = stream.write_all(&[*byte]);
                }
            }
            assert!(began.elapsed() < Duration::from_secs(4), "not cut off");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(
            began.elapsed() >= Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        for mut stream in slow {
            let mut answer = String::new();
            if stream.read_to_string(&mut answer).is_ok() {
                assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            }
        }
    });
}

/// Whether the other side has neither answered nor closed.
trait PeekIsOpen {
    fn peek_is_open(&self) -> bool;
}

impl PeekIsOpen for TcpStream {
    fn peek_is_open(&self) -> bool {
        self.set_nonblocking(true).unwrap();
        let peeked = self.peek(&mut [0]);
        self.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[test]
fn clients_that_half_close_are_answered() {
    siege(|address| {
        for _ in 0..200 {
            let mut stream = connect(address);
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        }
    });
}

#[test]
fn every_answer_closes() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        "nonsense\r\n\r\n",
    ] {
        // send() returns when the connection is closed.
        let response = http::send(sidecar.address, request);
        assert_eq!(response.header("Connection"), Some("close"), "{response:?}");
        assert!(response.took < Duration::from_secs(1), "{response:?}");
    }
}

#[test]
fn forty_clients_and_a_driver_that_takes_a_second() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, Duration::from_millis(2_700), || {
        let until = Instant::now() + 2 * hold();
        let clients: Vec<_> = (0..40)
            .map(|_| {
                let address = sidecar.address;
                std::thread::spawn(move || {
                    while Instant::now() < until {
                        assert_eq!(http::get(address, "/healthz").both(), (200, "ok"));
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    });
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn more_requests_than_there_is_room_for_are_turned_away() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut counts = (0, 0);
    for mut stream in crowd(sidecar.address, 600, request) {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        match &answer[..12] {
            "HTTP/1.1 500" => counts.0 += 1,
            "HTTP/1.1 503" => counts.1 += 1,
            _ => panic!("{answer}"),
        }
    }
    // Those that have come have their time, and the newest are turned away.
    assert_eq!(counts, (512, 88));
}

#[test]
fn a_hundred_and_twenty_clients_and_a_driver_that_takes_a_second() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, Duration::from_millis(2_700), || {
        let until = Instant::now() + hold();
        std::thread::scope(|scope| {
            for _ in 0..120 {
                scope.spawn(|| {
                    while Instant::now() < until {
                        assert_eq!(http::get(sidecar.address, "/healthz").both(), (200, "ok"));
                    }
                });
            }
        });
    });
    assert_eq!(driver.most_in_flight(), 1);
}

#[test]
fn clients_that_ask_and_go_hold_no_place() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--delay=1s"]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, Duration::from_millis(2_700), || {
        let until = Instant::now() + hold();
        while Instant::now() < until {
            // Some thousand a second: more than there is room for in a Probe.
            let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
            drop(crowd(sidecar.address, 50, request));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn connections_that_all_ask_at_once_after_a_silence_are_all_answered() {
    siege(|address| {
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut silent = crowd(address, 120, b"");
        for stream in &mut silent {
            stream.write_all(request).unwrap();
        }
        for mut stream in silent {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    });
}

#[test]
fn of_half_open_requests_the_oldest_gives_way() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let half = b"GET /healthz HTTP/1.1\r\n";
    let mut older = crowd(sidecar.address, 16, half);
    // It connects, and begins a moment later.
    let mut newcomer = connect(sidecar.address);
    std::thread::sleep(Duration::from_millis(50));
    newcomer.write_all(half).unwrap();
    let mut answer = String::new();
    older[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    newcomer.write_all(b"Host: x\r\n\r\n").unwrap();
    answer.clear();
    newcomer.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn two_seconds_for_a_head_are_two_seconds_whoever_else_begins_one() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    let mut first = crowd(sidecar.address, 1, b"GET /").remove(0);
    let began = Instant::now();
    let others: Vec<TcpStream> = (0..4)
        .flat_map(|_| {
            std::thread::sleep(Duration::from_millis(400));
            crowd(sidecar.address, 1, b"GET /")
        })
        .collect();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        began.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        began.elapsed()
    );
    drop(others);
}

#[test]
fn sixty_four_descriptors_are_enough() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = Sidecar::run(Command::new("sh").args([
        "-c",
        "ulimit -n 64 && exec \"$0\" \"$@\"",
        livenessprobe().binary(),
        &format!("--csi-address={}", dir.socket()),
        "--http-endpoint=127.0.0.1:0",
    ]));
    lay(&sidecar, PROMPT, || {
        let idle = crowd(sidecar.address, 500, b"");
        let half_open = crowd(sidecar.address, 500, b"GET /healthz HTTP/1.1\r\n");
        let until = Instant::now() + hold();
        while Instant::now() < until {
            // 2,000 a second: with so few descriptors the door lets in 3,000, and
            // beyond that it is the kernel's queue that kubelet waits in.
            drop(crowd(
                sidecar.address,
                20,
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            ));
            std::thread::sleep(Duration::from_millis(10));
        }
        drop((idle, half_open));
    });
}

#[test]
fn a_machine_without_descriptors_is_waited_out() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert_eq!(sidecar.healthz().status, 200);
    // From one moment to the other, no descriptor can be had.
    let limit = |soft: &str| {
        let status = Command::new("prlimit")
            .args([
                "--pid",
                &sidecar.process.pid().to_string(),
                &format!("--nofile={soft}:"),
            ])
            .status()
            .unwrap();
        assert!(status.success());
    };
    // All numbers below are taken, and poll(2) still works.
    let taken =
        |number: &u32| std::path::Path::new(&format!("/proc/{}/fd/{number}", sidecar.pid)).exists();
    let first_free = (3..1024).find(|number| !taken(number)).unwrap();
    limit(&first_free.to_string());
    let waiting = sidecar.spawn_get("/healthz");
    sidecar
        .process
        .err
        .wait_for(0, "Cannot accept a connection");
    limit("1024");
    assert_eq!(waiting.join().unwrap().both(), (200, "ok"));
}

/// A user that owns nothing else.
const USER: u32 = 61_234;

#[test]
fn a_machine_without_threads_is_no_obstacle() {
    if !is_root() {
        // RLIMIT_NPROC counts all processes of a user, so the sidecar needs one
        // of its own, and only root can give it that.
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        return;
    }
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--delay=5ms"]);
    std::fs::set_permissions(dir.socket(), PermissionsExt::from_mode(0o777)).unwrap();
    let binary = dir.path().join("livenessprobe");
    std::fs::copy(livenessprobe().binary(), &binary).unwrap();
    let sidecar = Sidecar::run(
        Command::new(&binary)
            .uid(USER)
            .gid(USER)
            .arg(format!("--csi-address={}", dir.socket()))
            .args(["--http-endpoint=127.0.0.1:0", "--v=5"]),
    );
    sidecar.process.err.wait_for(0, "CSI driver name");
    lay(&sidecar, PROMPT, || {
        let limit = Command::new("prlimit")
            .uid(USER)
            .gid(USER)
            .args(["--pid", &sidecar.process.pid().to_string(), "--nproc=1:"])
            .status()
            .unwrap();
        assert!(limit.success());
        // Until there are more at once than threads that wait for them.
        eventually("a request without a thread", || {
            let paths = ["/healthz", "/livez", "/healthz?verbose"];
            for asked in paths.map(|path| sidecar.spawn_get(path)) {
                assert_eq!(asked.join().unwrap().status, 200);
            }
            sidecar.process.err.count("Cannot start a request's thread") > 0
        });
        let held = crowd(sidecar.address, 200, b"GET /");
        std::thread::sleep(hold());
        drop(held);
    });
}

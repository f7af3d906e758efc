//! The faulty-driver suite: each fault of a driver is reported in time, and the first probe
//! after the driver has recovered succeeds. `make hostile` runs it at full size.

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::faulty_driver::{Behaviour, FaultyDriver};
use testkit::misconduct::{MISCONDUCT, RESETS};
use testkit::{Dir, Driver, LATENESS, Response, Sidecar, eventually, h2};

use super::support::livenessprobe;
use super::support::siege::is_full;

const TIMEOUT: Duration = Duration::from_millis(500);

fn sidecar(dir: &Dir) -> Sidecar {
    livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"])
}

fn is_in_time(response: &Response, what: &str) {
    assert!(response.took < TIMEOUT + LATENESS, "{what}: {response:?}");
}

#[test]
fn each_fault_is_reported_in_time_and_has_no_aftereffect() {
    let dir = Dir::new();
    let driver = FaultyDriver::listen(dir.socket().as_ref());
    let sidecar = sidecar(&dir);
    let mut after_the_first_round = None;
    for _ in 0..if is_full() { 20 } else { 3 } {
        for (what, behaviour, words) in MISCONDUCT {
            driver.set(behaviour.clone());
            let response = sidecar.healthz();
            assert_eq!(response.status, 500, "{what}: {response:?}");
            assert!(response.body.contains(words), "{what}: {response:?}");
            assert!(
                response
                    .body
                    .bytes()
                    .all(|byte| byte >= b' ' && byte != 0x7f),
                "{what}: {response:?}"
            );
            assert!(
                response.body.len() < 8 * 1024,
                "{what}: {}",
                response.body.len()
            );
            is_in_time(&response, what);
            driver.set(Behaviour::Healthy);
            assert_eq!(sidecar.healthz().both(), (200, "ok"), "after {what}");
        }
        let descriptors = sidecar.descriptors();
        let memory = sidecar.status("VmRSS");
        after_the_first_round.get_or_insert((descriptors, memory));
    }
    // Every path has been taken once in the first round, and nothing may accumulate later.
    let (descriptors, memory) = after_the_first_round.unwrap();
    eventually("no more descriptors than before", || {
        sidecar.descriptors() <= descriptors
    });
    let after = sidecar.status("VmRSS");
    assert!(after <= memory + 512, "{memory} KiB, then {after}");
    for line in sidecar.process.err.all() {
        assert!("IWE".contains(&line[..1]), "{line}");
    }
}

#[test]
fn a_stream_reset_with_any_code_is_reported_in_time() {
    let dir = Dir::new();
    let driver = FaultyDriver::listen(dir.socket().as_ref());
    let sidecar = sidecar(&dir);
    for (what, behaviour, words) in RESETS {
        driver.set(behaviour.clone());
        let response = sidecar.healthz();
        assert_eq!(response.status, 500, "{what}: {response:?}");
        assert!(response.body.starts_with(words), "{what}: {response:?}");
        is_in_time(&response, what);
        driver.set(Behaviour::Healthy);
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "after {what}");
    }
}

#[test]
fn a_listener_that_comes_and_goes_delays_no_response() {
    let dir = Dir::new();
    let sidecar = sidecar(&dir);
    for round in 0..if is_full() { 500 } else { 50 } {
        let listener = h2::serve(dir.socket().as_ref(), |mut call| {
            let reply = h2::ok(call.stream, h2::READY);
            call.send(&reply);
        });
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "round {round}");
        h2::close(&listener);
        if round % 2 == 0 {
            std::fs::remove_file(dir.socket()).unwrap();
        }
        if round % 10 == 0 {
            let response = sidecar.healthz();
            assert_eq!(response.status, 500);
            is_in_time(&response, "down");
        }
        let _ = std::fs::remove_file(dir.socket());
    }
}

#[test]
fn a_socket_file_replaced_a_thousand_times_is_always_the_latest() {
    let dir = Dir::new();
    let sidecar = sidecar(&dir);
    let calls = Arc::new(AtomicUsize::new(0));
    for round in 1..=1_000 {
        let next = dir.path().join("next.sock");
        let called = Arc::clone(&calls);
        let listener = h2::serve(&next, move |mut call| {
            // Only the listener of this round stores its number.
            called.store(round, std::sync::atomic::Ordering::SeqCst);
            let reply = h2::ok(call.stream, h2::READY);
            call.send(&reply);
        });
        std::fs::rename(&next, dir.socket()).unwrap();
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "round {round}");
        assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), round);
        h2::close(&listener);
    }
}

#[test]
fn a_driver_killed_in_mid_call_two_hundred_times_is_reported_at_once() {
    let dir = Dir::new();
    let sidecar = sidecar(&dir);
    for round in 0..200 {
        let mut driver = Driver::start(&dir.socket(), &["--hang"]);
        let client = sidecar.spawn_get("/healthz");
        driver.process.out.wait_for(0, "probe begin");
        driver.process.kill();
        let response = client.join().unwrap();
        assert_eq!(response.status, 500, "round {round}: {response:?}");
        is_in_time(&response, "killed");
        if round % 10 == 0 {
            let _driver = Driver::start(&dir.socket(), &[]);
            assert_eq!(sidecar.healthz().both(), (200, "ok"), "round {round}");
        }
    }
}

#[test]
fn a_reply_of_300_mb_is_not_held() {
    /// In KiB: the limit of what gRPC may hold of a connection (crates/csi/src/read_limit.rs), and as
    /// much again for a read in progress and for pages of the program that a refusal touches
    /// for the first time.
    const HELD: u64 = 2 * 1024;
    let dir = Dir::new();
    let mut driver = Driver::start(&dir.socket(), &[]);
    // Some libraries copy the whole reply several times before they send its first byte.
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=15s"]);
    for _ in 0..100 {
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
    }
    let before = sidecar.status("VmHWM");
    driver.process.kill();
    let _driver = Driver::start(&dir.socket(), &["--padding=300000000"]);
    for _ in 0..3 {
        let response = sidecar.healthz();
        assert_eq!(response.status, 500);
        assert_eq!(
            response.body,
            "rpc error: code = ResourceExhausted desc = \
             the driver's reply to /csi.v1.Identity/Probe is far too large: more than 163840 bytes"
        );
    }
    let peak = sidecar.status("VmHWM");
    println!("{before} KiB before, {peak} KiB at most");
    assert!(peak <= before + HELD, "{before} KiB, then {peak}");
}

/// How much more memory may be resident after any misbehaviour, in KiB: pages of the program
/// that a refusal touches for the first time, and memory that malloc keeps.
const MORE: u64 = 2 * 1024;

/// Starts a sidecar, lets it probe, and returns it with its peak of resident memory.
fn warm(dir: &Dir) -> (Sidecar, u64) {
    let sidecar = sidecar(dir);
    for _ in 0..100 {
        assert_eq!(sidecar.healthz().both(), (200, "ok"));
    }
    let peak = sidecar.status("VmHWM");
    (sidecar, peak)
}

#[test]
fn a_driver_that_pings_and_does_not_read_delays_no_other() {
    let (healthy, faulty) = (Dir::new(), Dir::new());
    let _driver = Driver::start(&healthy.socket(), &[]);
    // gRPC acknowledges each of these until there is no room for another acknowledgement.
    h2::serve(faulty.socket().as_ref(), |mut call| {
        let ping = h2::frame(h2::PING, 0, 0, &[0; 8]);
        while call.socket.write_all(&ping).is_ok() {}
    });
    let extra = format!("--extra-csi-address=faulty={}", faulty.socket());
    let flags = [extra.as_str(), "--probe-timeout=500ms"];
    let sidecar = livenessprobe().start(&healthy.socket(), &flags);
    for _ in 0..10 {
        let client = sidecar.spawn_get("/healthz/faulty");
        while !client.is_finished() {
            let response = sidecar.healthz();
            assert_eq!(response.both(), (200, "ok"));
            is_in_time(&response, "the healthy driver");
        }
        let response = client.join().unwrap();
        assert_eq!(response.status, 500);
        is_in_time(&response, "the driver that does not read");
    }
}

/// Makes a frame for the stream of a call.
type Frame = fn(u32) -> Vec<u8>;

#[test]
fn a_flood_of_small_frames_is_not_held() {
    // Each frame costs C-core far more memory than its length.
    let floods: &[(&str, Frame)] = &[
        ("PING", |_| h2::frame(h2::PING, 0, 0, &[0; 8])),
        ("SETTINGS", |_| h2::frame(h2::SETTINGS, 0, 0, &[])),
        ("GOAWAY", |_| {
            let mut debug = vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
            debug.extend([b'x'; 1000]);
            h2::frame(h2::GOAWAY, 0, 0, &debug)
        }),
        ("RST_STREAM", |stream| {
            h2::frame(h2::RST_STREAM, 0, stream + 2, &[0, 0, 0, 8])
        }),
        ("WINDOW_UPDATE", |_| {
            h2::frame(h2::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
        }),
        ("empty DATA", |stream| h2::frame(h2::DATA, 0, stream, &[])),
        ("a frame of an unknown type", |_| {
            h2::frame(0x55, 0, 0, &[0; 16_000])
        }),
    ];
    for (what, frame) in floods {
        let dir = Dir::new();
        let is_flood = Arc::new(Mutex::new(false));
        let floods_now = Arc::clone(&is_flood);
        let frame = *frame;
        h2::serve(dir.socket().as_ref(), move |mut call| {
            if !*floods_now.lock().unwrap() {
                call.send(&h2::ok(call.stream, h2::READY));
                return;
            }
            if what.contains("DATA") {
                call.send(&h2::reply_begins(call.stream));
            }
            let many = frame(call.stream).repeat(64 * 1024 / frame(call.stream).len());
            while call.socket.write_all(&many).is_ok() {}
        });
        let (sidecar, before) = warm(&dir);
        *is_flood.lock().unwrap() = true;
        for _ in 0..5 {
            let response = sidecar.healthz();
            assert_eq!(response.status, 500, "{what}: {response:?}");
            is_in_time(&response, what);
        }
        let peak = sidecar.status("VmHWM");
        println!("{what}: {before} KiB before, {peak} KiB at most");
        assert!(peak <= before + MORE, "{what}: {before} KiB, then {peak}");
        *is_flood.lock().unwrap() = false;
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "after {what}");
    }
}

/// Returns 2.5 MB of zeros in 16,000 bytes of zlib's format, with fixed Huffman codes
/// (RFC 1950, RFC 1951).
fn zeros() -> Vec<u8> {
    let mut bits = Vec::new();
    let mut push = |code: u32, length: u32, is_code: bool| {
        for at in 0..length {
            let at = if is_code { length - 1 - at } else { at };
            bits.push(code >> at & 1);
        }
    };
    // This is the last block and has fixed codes; a zero, and then again and again 258 more.
    push(0b1, 1, false);
    push(0b01, 2, false);
    push(0x30, 8, true);
    for _ in 0..9_800 {
        push(0b1100_0101, 8, true);
        push(0, 5, true);
    }
    push(0, 7, true);
    let mut bytes = vec![0x78, 0x9c];
    bytes.extend(bits.chunks(8).map(|bits| {
        let byte = bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
        u8::try_from(byte).unwrap()
    }));
    // Adler-32 of zeros is their number in the upper half, and 1 in the lower half.
    let count = 1 + 9_800 * 258;
    bytes.extend([
        u8::try_from((count % 65_521) >> 8).unwrap(),
        u8::try_from((count % 65_521) & 0xff).unwrap(),
        0,
        1,
    ]);
    bytes
}

#[test]
fn a_compressed_reply_is_not_inflated() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        if call.number < 100 {
            call.send(&h2::ok(call.stream, h2::READY));
            return;
        }
        let block = h2::header_block(&[
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-encoding", "deflate"),
        ]);
        let payload = zeros();
        let mut data = vec![1];
        data.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        data.extend(payload);
        call.send(&h2::headers(0, call.stream, &block));
        for part in data.chunks(16_384) {
            call.send(&h2::frame(h2::DATA, 0, call.stream, part));
        }
        call.send(&h2::reply_ends(call.stream, "0"));
    });
    let (sidecar, before) = warm(&dir);
    for _ in 0..5 {
        // gRPC says that the algorithm is disabled, or the compressed message is found not to
        // be protobuf, whichever comes first.
        assert_eq!(sidecar.healthz().status, 500);
    }
    let peak = sidecar.status("VmHWM");
    // The inflated message would have 2.5 MB.
    assert!(peak <= before + MORE / 2, "{before} KiB, then {peak}");
}

#[test]
fn a_driver_that_pings_slowly_and_does_not_read_delays_no_other() {
    let dirs = [Dir::new(), Dir::new()];
    let listener = UnixListener::bind(dirs[0].socket()).unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = socket.write_all(&h2::frame(h2::SETTINGS, 0, 0, &[]));
                // The pause makes gRPC acknowledge each ping by itself, until there is no room
                // for another acknowledgement.
                let ping = h2::frame(h2::PING, 0, 0, &[0; 8]);
                while socket.write_all(&ping).is_ok() {
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
        }
    });
    let _driver = Driver::start(&dirs[1].socket(), &[]);
    let extra = format!("--extra-csi-address=healthy={}", dirs[1].socket());
    let mut sidecar = livenessprobe().start(&dirs[0].socket(), &["--probe-timeout=2s", &extra]);
    for round in 0..3 {
        let client = sidecar.spawn_get("/healthz");
        while !client.is_finished() {
            let response = sidecar.get("/healthz/healthy");
            assert_eq!(response.both(), (200, "ok"), "round {round}");
            assert!(response.took < LATENESS, "round {round}: {response:?}");
        }
        let response = client.join().unwrap();
        assert_eq!(response.status, 500, "round {round}");
        assert!(
            response.took < Duration::from_secs(2) + LATENESS,
            "{response:?}"
        );
    }
    assert!(sidecar.process.is_running());
}

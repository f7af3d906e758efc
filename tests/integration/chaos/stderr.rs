//! A stderr that is closed, full, or has no reader.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::sys::send_signal;
use testkit::{Dir, Driver, eventually, http};

use crate::support::livenessprobe;

/// A sidecar whose log cannot be read, at `--v=5`. The test chooses its address, because it
/// cannot log the one that the kernel would choose.
struct Unread {
    child: Child,
    address: SocketAddr,
}

impl Unread {
    /// Starts it with this stderr and these redirections of a shell.
    fn start(dir: &Dir, redirections: &str, stderr: Stdio) -> Unread {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("exec \"$0\" \"$@\" {redirections}")])
            .arg(livenessprobe().binary())
            .arg(format!("--csi-address={}", dir.socket()))
            .arg(format!("--http-endpoint={address}"))
            .args(["--probe-timeout=500ms", "--v=5"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let sidecar = Unread { child, address };
        eventually("the listener", || TcpStream::connect(address).is_ok());
        sidecar
    }

    fn stream(&self, number: u32) -> String {
        let link = format!("/proc/{}/fd/{number}", self.child.id());
        fs::read_link(link).unwrap().display().to_string()
    }

    /// Checks that it goes on through all that is logged, and that it stops.
    fn goes_on_and_stops(mut self, dir: &Dir, what: &str) {
        let healthz = || http::get(self.address, "/healthz");
        let mut driver = Driver::start(&dir.socket(), &[]);
        for _ in 0..100 {
            // A log line that was written to a socket would be in this response.
            assert_eq!(healthz().both(), (200, "ok"), "{what}");
        }
        driver.process.kill();
        assert_eq!(healthz().status, 500, "{what}");
        driver = Driver::start(&dir.socket(), &[]);
        assert_eq!(healthz().both(), (200, "ok"), "{what}");
        assert!(self.child.try_wait().unwrap().is_none(), "{what}");
        let stopped = Instant::now();
        send_signal(self.child.id().try_into().unwrap(), libc::SIGTERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{what}");
        let took = stopped.elapsed();
        assert!(took < Duration::from_millis(1_500), "{what}: {took:?}");
        driver.process.kill();
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next three sockets would otherwise get their numbers, and log lines would be written
/// to one of them. The sidecar opens empty pipes in their place (crates/program/linked/streams.rs).
#[test]
fn standard_streams_that_are_closed_are_replaced() {
    for redirections in ["2>&-", "0<&- 1>&- 2>&-"] {
        let dir = Dir::new();
        let sidecar = Unread::start(&dir, redirections, Stdio::null());
        // Only the last ones are closed in the first case.
        let closed = redirections.matches(">&-").count() + redirections.matches("<&-").count();
        for number in (0..3).skip(3 - closed) {
            let stream = sidecar.stream(number);
            assert!(stream.starts_with("pipe:["), "{redirections}: {stream}");
        }
        sidecar.goes_on_and_stops(&dir, redirections);
    }
}

#[test]
fn a_stderr_that_accepts_nothing_stops_nothing() {
    /// The capacity of a pipe (pipe(7)).
    const PIPE: usize = 64 * 1024;
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        (None, OwnedFd::from(writer))
    };
    let full = || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&vec![b'x'; PIPE]).unwrap();
        (Some(reader), OwnedFd::from(writer))
    };
    let disk = || {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        (None, OwnedFd::from(full))
    };
    for (what, (_kept, stderr)) in [
        ("its reader has gone", gone()),
        ("it is full and has no reader", full()),
        ("its disk is full", disk()),
    ] {
        let dir = Dir::new();
        let sidecar = Unread::start(&dir, "", Stdio::from(stderr));
        sidecar.goes_on_and_stops(&dir, what);
    }
}

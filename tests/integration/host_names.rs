//! A driver at a host's name: slow lookups, hosts with several addresses, names that need no
//! lookup, and the name of the driver in all these cases.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use testkit::machine::in_namespaces;
use testkit::{Dir, Driver, Sidecar};

use super::support::livenessprobe;

/// How much later an event may come on a busy machine.
const BUSY: Duration = Duration::from_secs(1);

/// Returns a free port of this loopback address.
fn free_port(ip: [u8; 4]) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((ip, 0))).unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns a command line of the sidecar with a getaddrinfo(3) that sleeps for so many
/// milliseconds and then finds 127.0.0.1 for any name. `None` means that the binary ships: its
/// C library is linked into it and cannot be replaced.
fn with_slow_lookups(dir: &Dir, milliseconds: u32) -> Option<Command> {
    const SLOW: &str = "
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <netdb.h>
        #include <unistd.h>
        typedef int lookup(const char *, const char *, const struct addrinfo *,
                           struct addrinfo **);
        int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                        struct addrinfo **found) {
            usleep(1000 * MILLISECONDS);
            lookup *next = (lookup *)dlsym(RTLD_NEXT, \"getaddrinfo\");
            return next(\"127.0.0.1\", service, hints, found);
        }";
    if livenessprobe().is_shipped() {
        return None;
    }
    let (source, library) = (dir.path().join("slow.c"), dir.path().join("slow.so"));
    std::fs::write(&source, SLOW).unwrap();
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(format!("-DMILLISECONDS={milliseconds}"))
        .arg(&source)
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut command = livenessprobe().command();
    command
        .env("LD_PRELOAD", library)
        .arg("--http-endpoint=127.0.0.1:0");
    Some(command)
}

/// Returns a command line of the sidecar with this /etc/hosts.
fn with_hosts(dir: &Dir, hosts: &str) -> Option<Command> {
    let mut command = in_namespaces(&["--mount"])?;
    let file = dir.path().join("hosts");
    std::fs::write(&file, hosts).unwrap();
    let program = livenessprobe().command();
    command
        .args(["sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""])
        .arg(file)
        .arg(program.get_program())
        .args(program.get_args())
        .arg("--http-endpoint=127.0.0.1:0");
    Some(command)
}

#[test]
fn the_driver_s_name_is_learned_in_spite_of_a_slow_lookup() {
    // The last one takes longer than a quick attempt may take.
    for (milliseconds, within) in [(15, 1_000), (300, 1_000), (1_200, 4_000)] {
        let dir = Dir::new();
        let Some(mut command) = with_slow_lookups(&dir, milliseconds) else {
            return;
        };
        let port = free_port([127, 0, 0, 1]);
        let _driver = Driver::start(&format!("127.0.0.1:{port}"), &[]);
        let sidecar = Sidecar::run(command.arg(format!("--csi-address=tcp://csi.test:{port}")));
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "{milliseconds} ms");
        let healthy = Instant::now();
        sidecar.process.err.wait_for(0, "CSI driver name");
        let took = healthy.elapsed();
        let most = Duration::from_millis(within) + BUSY;
        assert!(took < most, "{milliseconds} ms, then {took:?}");
        let details = sidecar.get("/healthz?verbose").body;
        assert!(details.contains("driver: example.csi"), "{details}");
    }
}

#[test]
fn a_name_that_comes_too_late_is_logged() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--info-hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=1s"]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
    let line = sidecar.process.err.wait_for(0, "Cannot learn");
    let cause = "no answer to /csi.v1.Identity/GetPluginInfo from";
    assert!(line.starts_with('W') && line.contains(cause), "{line}");
}

/// The probes already report a driver that does not reply at all.
#[test]
fn a_driver_that_hangs_is_reported_once() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--info-hang", "--hang"]);
    let sidecar = livenessprobe().start(&dir.socket(), &["--probe-timeout=500ms"]);
    for _ in 0..3 {
        assert_eq!(sidecar.healthz().status, 500);
    }
    let log = sidecar.log();
    assert!(log.contains("Probe failed"), "{log}");
    assert!(!log.contains("Cannot learn"), "{log}");
}

/// A listener that drops all connection attempts, because its accept queue is full.
struct BlackHole {
    _listener: Socket,
    _waiting: Vec<TcpStream>,
    port: u16,
}

impl BlackHole {
    fn at(ip: [u8; 4]) -> BlackHole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
        let waiting = std::iter::from_fn(|| connect().ok()).collect();
        BlackHole {
            _listener: listener,
            _waiting: waiting,
            port: address.port(),
        }
    }
}

#[test]
fn an_address_that_drops_everything_leaves_time_for_another() {
    let dir = Dir::new();
    // The C library sorts the address first that is most like the source address, 127.0.0.1.
    let hosts = "127.0.0.1 two.test\n127.0.0.2 two.test\n";
    let Some(mut command) = with_hosts(&dir, hosts) else {
        return;
    };
    let hole = BlackHole::at([127, 0, 0, 1]);
    let _driver = Driver::start(&format!("127.0.0.2:{}", hole.port), &[]);
    let address = format!("--csi-address=tcp://two.test:{}", hole.port);
    let sidecar = Sidecar::run(command.arg(address).arg("--probe-timeout=2s"));
    for _ in 0..2 {
        let response = sidecar.healthz();
        assert_eq!(response.both(), (200, "ok"));
        // The other address was tried first.
        assert!(response.took > Duration::from_millis(500), "{response:?}");
    }
}

#[test]
fn localhost_is_not_looked_up() {
    let dir = Dir::new();
    let port = free_port([127, 0, 0, 1]);
    let _driver = Driver::start(&format!("127.0.0.1:{port}"), &[]);
    for host in ["localhost", "LOCALHOST.", "csi.localhost"] {
        // A lookup would find this address.
        let hosts = format!("127.0.0.3 {host}\n127.0.0.3 localhost\n");
        let Some(mut command) = with_hosts(&dir, &hosts) else {
            return;
        };
        let sidecar = Sidecar::run(command.arg(format!("--csi-address=tcp://{host}:{port}")));
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "{host}");
    }
}

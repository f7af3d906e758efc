//! The forms of the driver's address and of the listener's address.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use testkit::machine::in_namespaces;
use testkit::sidecar::address_in;
use testkit::{Dir, Driver, Process, Sidecar, eventually, h2, http};

use super::support::livenessprobe;

#[test]
fn every_form_of_a_unix_address_reaches_the_driver() {
    let dir = Dir::new();
    let driver = Driver::start(&dir.socket(), &[]);
    let path = dir.socket();
    for address in [
        path.clone(),
        format!("unix://{path}"),
        format!("unix:{path}"),
    ] {
        let sidecar = livenessprobe().start(&address, &[]);
        assert_eq!(sidecar.healthz().both(), (200, "ok"), "{address}");
    }
    driver.has_had_probes(3);
}

#[test]
fn a_relative_address_begins_at_the_working_directory() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let mut command = livenessprobe().command();
    command
        .current_dir(dir.path())
        .args(["--csi-address=unix:csi.sock", "--http-endpoint=127.0.0.1:0"]);
    assert_eq!(Sidecar::run(&mut command).healthz().both(), (200, "ok"));
}

#[test]
fn characters_that_a_resolver_would_interpret_are_taken_literally() {
    let dir = Dir::new();
    let odd = dir.path().join("a,b;c?d#e%41.sock");
    h2::serve(&odd, |mut call| {
        let reply = h2::ok(call.stream, h2::READY);
        call.send(&reply);
    });
    let sidecar = livenessprobe().start(&odd.display().to_string(), &[]);
    assert_eq!(sidecar.healthz().both(), (200, "ok"));
}

#[test]
fn an_abstract_address_reaches_the_driver() {
    let name = format!("unix-abstract:lp-test-{}", std::process::id());
    let _driver = Driver::start(&name, &[]);
    assert_eq!(
        livenessprobe().start(&name, &[]).healthz().both(),
        (200, "ok")
    );
}

#[test]
fn tcp_addresses_reach_the_driver() {
    let mut hosts = vec![("127.0.0.1", "127.0.0.1")];
    if has_ipv6() {
        hosts.push(("[::1]", "[::1]"));
    }
    // A chroot or a scratch image may have no /etc/hosts.
    if ("localhost", 0).to_socket_addrs().is_ok() {
        hosts.push(("localhost", "127.0.0.1"));
    }
    for (host, listens) in hosts {
        let port = free_port(listens);
        let _driver = Driver::start(&format!("{listens}:{port}"), &[]);
        for form in ["tcp://", "", "dns:///"] {
            let address = format!("{form}{host}:{port}");
            let sidecar = livenessprobe().start(&address, &["--probe-timeout=10s"]);
            assert_eq!(sidecar.healthz().both(), (200, "ok"), "{address}");
        }
    }
}

#[test]
fn a_tcp_port_without_a_listener_is_refused() {
    let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
    let sidecar = livenessprobe().start(&address, &["--probe-timeout=300ms"]);
    let body = format!("cannot connect to {address}: connection refused");
    assert_eq!(sidecar.healthz().both(), (500, body.as_str()));
}

#[test]
fn a_host_that_does_not_exist_is_reported() {
    let sidecar = livenessprobe().start("tcp://no-such-host.invalid:1", &["--probe-timeout=300ms"]);
    let response = sidecar.healthz();
    assert_eq!(response.status, 500);
    let begin = "cannot connect to no-such-host.invalid:1: ";
    assert!(response.body.starts_with(begin), "{response:?}");
}

/// Returns a port that was free a moment ago.
fn free_port(host: &str) -> u16 {
    TcpListener::bind(format!("{host}:0"))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Returns whether the kernel has IPv6, which not every kernel has.
fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn the_default_listener_serves_ipv4_and_ipv6() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    for flag in [
        "--health-port=0",
        "--http-endpoint=:0",
        "--http-endpoint=0.0.0.0:0",
        "--http-endpoint=[::]:0",
    ] {
        let sidecar = Sidecar::run(
            livenessprobe()
                .command()
                .args([flag, &format!("--csi-address={}", dir.socket())]),
        );
        let port = sidecar.address.port();
        for address in [
            SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
        ] {
            assert_eq!(
                http::get(address, "/healthz").both(),
                (200, "ok"),
                "{flag} {address}"
            );
        }
    }
}

/// There is no /etc/hosts, no nsswitch.conf and no network with a DNS server.
#[test]
fn localhost_is_the_loopback_address_without_a_lookup() {
    let Some(mut command) = in_namespaces(&["--mount", "--net"]) else {
        return;
    };
    let dir = Dir::new();
    let script = "ip link set lo up && mount -t tmpfs none /etc && exec \"$@\"";
    for (host, address) in [
        ("localhost", "127.0.0.1"),
        ("LocalHost.", "127.0.0.1"),
        ("driver.localhost", "127.0.0.1"),
    ] {
        let process = Process::start(
            command
                .args(["sh", "-c", script, "sh", livenessprobe().binary()])
                .arg(format!("--csi-address={}", dir.socket()))
                .arg(format!("--http-endpoint={host}:0")),
        );
        let line = process.err.wait_for(0, "Listening");
        assert_eq!(address_in(&line).ip().to_string(), address, "{host}");
        command = in_namespaces(&["--mount", "--net"]).unwrap();
    }
    // Without IPv4 it is the address of IPv6.
    let script = "ip link set lo up && ip addr del 127.0.0.1/8 dev lo && \
                  mount -t tmpfs none /etc && exec \"$@\"";
    if !has_ipv6() {
        return;
    }
    let process = Process::start(
        command
            .args(["sh", "-c", script, "sh", livenessprobe().binary()])
            .arg(format!("--csi-address={}", dir.socket()))
            .arg("--http-endpoint=localhost:0"),
    );
    let line = process.err.wait_for(0, "Listening");
    assert_eq!(address_in(&line).ip().to_string(), "::1");
    assert_eq!(process.err.count("Waiting"), 0);
}

#[test]
fn an_address_that_is_given_is_the_only_one_that_is_served() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    assert!(sidecar.address.ip().is_loopback());
    let another = SocketAddr::from(([127, 0, 0, 2], sidecar.address.port()));
    assert!(TcpStream::connect(another).is_err());
}

#[test]
fn health_alone_has_no_metrics_and_metrics_alone_have_no_health() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = Sidecar::run(livenessprobe().command().args([
        "--health-port=0",
        "--metrics-address=127.0.0.1:0",
        "--metrics-path=/m",
        &format!("--csi-address={}", dir.socket()),
    ]));
    eventually("two listeners", || {
        sidecar.process.err.count("Listening") == 2
    });
    let addresses: Vec<SocketAddr> = sidecar
        .process
        .err
        .all()
        .iter()
        .filter(|line| line.contains("Listening"))
        .map(|line| address_in(line))
        .collect();
    let health = SocketAddr::from(([127, 0, 0, 1], addresses[0].port()));
    let metrics = addresses[1];
    assert_eq!(http::get(health, "/healthz").status, 200);
    assert_eq!(http::get(health, "/m").status, 404);
    assert_eq!(http::get(metrics, "/m").status, 200);
    assert_eq!(http::get(metrics, "/healthz").status, 404);
}

#[test]
fn the_backlog_has_room_for_six_hundred_connections() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    sidecar.process.freeze();
    // The kernel drops a SYN when the queue is full, and the client sends it again a second
    // later.
    let waiting: Vec<TcpStream> = (0..600)
        .map(|number| {
            TcpStream::connect_timeout(&sidecar.address, Duration::from_millis(900))
                .unwrap_or_else(|error| panic!("connection {number}: {error}"))
        })
        .collect();
    assert_eq!(waiting.len(), 600);
}

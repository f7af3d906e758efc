//! Several drivers in one process, each with a path, a name and deadlines of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{Dir, Driver, LATENESS, eventually};

use super::support::siege::crowd;
use super::support::{RECEIVED, livenessprobe};

fn extra(name: &str, dir: &Dir) -> String {
    format!("--extra-csi-address={name}={}", dir.socket())
}

/// How long a response may take that no slow driver delays.
const PROMPT: Duration = Duration::from_millis(500);

#[test]
fn each_driver_has_a_path() {
    let (first, nfs, smb) = (Dir::new(), Dir::new(), Dir::new());
    let _first = Driver::start(&first.socket(), &["--name=first.example"]);
    let _nfs = Driver::start(&nfs.socket(), &["--name=nfs.example", "--not-ready"]);
    let flags = [
        extra("nfs", &nfs),
        extra("smb", &smb),
        "--probe-timeout=400ms".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = livenessprobe().start(&first.socket(), &flags);
    sidecar.process.err.wait_for_count("CSI driver name", 2);

    let missing = format!(
        "cannot connect to {}: no such file or directory",
        smb.socket()
    );
    let not_ready = "driver responded but is not ready";
    for (path, status, body) in [
        ("/healthz", 200, "ok".to_owned()),
        ("/healthz/nfs", 500, not_ready.to_owned()),
        ("/readyz/nfs", 500, not_ready.to_owned()),
        ("/livez/nfs", 200, format!("ok ({not_ready})")),
        ("/healthz/smb", 500, missing.clone()),
        (
            "/healthz/all",
            500,
            format!("/healthz/nfs: {not_ready}; /healthz/smb: {missing}"),
        ),
        ("/livez/all", 500, format!("/healthz/smb: {missing}")),
        ("/healthz/none", 404, "404 page not found".to_owned()),
        ("/healthz/0", 404, "404 page not found".to_owned()),
    ] {
        assert_eq!(sidecar.get(path).both(), (status, body.as_str()), "{path}");
    }
    let verbose = sidecar.get("/healthz/all?verbose").body;
    for line in [
        "path: /healthz",
        "driver: first.example",
        "path: /healthz/nfs",
        "result: ok",
        "driver: nfs.example",
        "driver: smb",
        &format!("address: {}", smb.socket()),
        &format!("result: {missing}"),
    ] {
        assert!(
            verbose.lines().any(|found| found == line),
            "{line}\n{verbose}"
        );
    }

    let _smb = Driver::start(&smb.socket(), &["--name=smb.example"]);
    assert_eq!(sidecar.get("/healthz/smb").both(), (200, "ok"));
    sidecar.process.err.wait_for_count("CSI driver name", 3);
    let text = sidecar.get("/metrics").body;
    for series in [
        "csi_sidecar_probe_success{driver_name=\"first.example\"} 1",
        "csi_sidecar_probe_success{driver_name=\"nfs.example\"} 0",
        "csi_sidecar_probe_success{driver_name=\"smb.example\"} 1",
    ] {
        assert!(text.lines().any(|line| line == series), "{series}\n{text}");
    }
}

#[test]
fn a_driver_that_hangs_delays_no_other() {
    let (first, hung, healthy) = (Dir::new(), Dir::new(), Dir::new());
    let _first = Driver::start(&first.socket(), &["--hang"]);
    let _hung = Driver::start(&hung.socket(), &["--hang"]);
    let _healthy = Driver::start(&healthy.socket(), &[]);
    let flags = [
        extra("hung", &hung),
        extra("healthy", &healthy),
        "--probe-timeout=2s".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = livenessprobe().start(&first.socket(), &flags);
    // Many clients, with every kind of path.
    let kinds = ["healthz", "livez", "readyz"];
    let crowd: Vec<_> = (0..60)
        .map(|number| {
            let kind = kinds[number % 3];
            let verbose = if number % 2 == 0 { "" } else { "?verbose" };
            let target = ["", "/hung", "/all"][number / 20];
            sidecar.spawn_get(&format!("/{kind}{target}{verbose}"))
        })
        .collect();
    for _ in 0..30 {
        let response = sidecar.get("/healthz/healthy");
        assert_eq!(response.both(), (200, "ok"));
        assert!(response.took < PROMPT, "{response:?}");
        let response = sidecar.get("/metrics");
        assert!(response.took < PROMPT, "{response:?}");
    }
    for client in crowd {
        let response = client.join().unwrap();
        assert_eq!(response.status, 500);
        assert!(
            response.took < Duration::from_secs(2) + LATENESS,
            "{response:?}"
        );
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
    }
}

#[test]
fn all_drivers_are_called_at_the_same_time() {
    let dirs = [Dir::new(), Dir::new(), Dir::new()];
    let _drivers: Vec<_> = dirs
        .iter()
        .map(|dir| Driver::start(&dir.socket(), &["--delay=400ms"]))
        .collect();
    let flags = [extra("b", &dirs[1]), extra("c", &dirs[2])];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = livenessprobe().start(&dirs[0].socket(), &flags);
    let response = sidecar.get("/healthz/all");
    assert_eq!(response.both(), (200, "ok"));
    assert!(
        response.took < Duration::from_millis(400 + 300),
        "{response:?}"
    );
}

#[test]
fn two_drivers_of_one_name_are_healthy_only_if_both_are() {
    let (first, second) = (Dir::new(), Dir::new());
    let _first = Driver::start(&first.socket(), &["--name=same.example"]);
    let _second = Driver::start(&second.socket(), &["--name=same.example", "--not-ready"]);
    let sidecar = livenessprobe().start(&first.socket(), &[extra("second", &second).as_str()]);
    sidecar.process.err.wait_for_count("CSI driver name", 2);
    sidecar.get("/healthz/all");
    sidecar.get("/healthz");
    let text = sidecar.get("/metrics").body;
    let series = "csi_sidecar_probe_success{driver_name=\"same.example\"} ";
    assert_eq!(text.matches(series).count(), 1, "{text}");
    assert!(text.contains(&format!("{series}0\n")), "{text}");
}

#[test]
fn one_driver_alone_has_no_path_for_all() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    eventually("a sidecar", || sidecar.get("/healthz/all").status == 404);
}

#[test]
fn each_path_is_served_at_once_while_every_driver_hangs() {
    for extra in [0, 1, 3, 8, 10] {
        let dirs: Vec<Dir> = (0..=extra).map(|_| Dir::new()).collect();
        let drivers: Vec<Driver> = dirs
            .iter()
            .map(|dir| Driver::start(&dir.socket(), &["--hang"]))
            .collect();
        let mut flags: Vec<String> = (1..=extra)
            .map(|number| self::extra(&format!("n{number}"), &dirs[number]))
            .collect();
        flags.extend(["--probe-timeout=1s".to_owned(), "--v=5".to_owned()]);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = livenessprobe().start(&dirs[0].socket(), &flags);
        let mut paths: Vec<String> = ["/healthz", "/livez", "/healthz?verbose"]
            .map(str::to_owned)
            .to_vec();
        paths.extend((1..=extra).map(|number| format!("/healthz/n{number}")));
        if extra > 0 {
            paths.push("/healthz/all".to_owned());
        }
        let clients: Vec<_> = paths.iter().map(|path| sidecar.spawn_get(path)).collect();
        sidecar.process.err.wait_for_count(RECEIVED, paths.len());
        // Each driver is called although none of the others replies.
        for driver in &drivers {
            driver.process.out.wait_for(0, "probe begin");
        }
        let metrics = sidecar.get("/metrics");
        assert!(metrics.took < PROMPT, "{metrics:?}");
        for response in clients.into_iter().map(|client| client.join().unwrap()) {
            // "timed out" would come from a probe that never began.
            assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
            let most = Duration::from_secs(1) + LATENESS;
            assert!(response.took < most, "{response:?}");
        }
    }
}

#[test]
fn a_crowd_before_a_driver_that_hangs_leaves_room_for_requests_about_others() {
    let (first, hung) = (Dir::new(), Dir::new());
    let _first = Driver::start(&first.socket(), &[]);
    let _hung = Driver::start(&hung.socket(), &["--hang"]);
    let flags = [extra("hung", &hung), "--probe-timeout=10s".to_owned()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = livenessprobe().start(&first.socket(), &flags);
    // More than all places together.
    let request = b"GET /healthz/hung HTTP/1.1\r\nHost: x\r\n\r\n";
    let crowd = crowd(sidecar.address, 600, request);
    for _ in 0..10 {
        let response = sidecar.healthz();
        assert_eq!(response.both(), (200, "ok"));
        assert!(response.took < PROMPT, "{response:?}");
    }
    drop(crowd);
}

/// A share is for groups of requests that may wait for a driver. The metrics are ready at once.
#[test]
fn many_scrapes_at_once_are_answered_beside_many_drivers() {
    let dir = Dir::new();
    let flags: Vec<String> = (0..64).map(|n| extra(&format!("d{n}"), &dir)).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = livenessprobe().start(&dir.socket(), &flags);
    // All of them are sent before the sidecar reads the first one.
    sidecar.process.freeze();
    let scrapes: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut scrape = TcpStream::connect(sidecar.address).unwrap();
            let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
            scrape.write_all(request).unwrap();
            scrape
        })
        .collect();
    sidecar.process.thaw();
    for mut scrape in scrapes {
        let mut response = String::new();
        scrape.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    }
}

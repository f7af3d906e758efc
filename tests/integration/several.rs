//! Several drivers in one process, each with its own path, name and time.

use std::time::Duration;

use testkit::{Dir, Driver, LATENESS, Sidecar, eventually};

use super::support::siege::crowd;
use super::support::{livenessprobe, requests_at_rest};

fn extra(name: &str, dir: &Dir) -> String {
    format!("--extra-csi-address={name}={}", dir.socket())
}

/// What an answer takes at most that no slow driver delays.
const PROMPT: Duration = Duration::from_millis(500);

#[test]
fn each_is_answered_for_by_its_path() {
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
fn one_that_hangs_delays_no_other() {
    let (first, hung, well) = (Dir::new(), Dir::new(), Dir::new());
    let _first = Driver::start(&first.socket(), &["--hang"]);
    let _hung = Driver::start(&hung.socket(), &["--hang"]);
    let _well = Driver::start(&well.socket(), &[]);
    let flags = [
        extra("hung", &hung),
        extra("well", &well),
        "--probe-timeout=2s".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = livenessprobe().start(&first.socket(), &flags);
    // As many askers as there could be, and of every kind.
    let kinds = ["healthz", "livez", "readyz"];
    let crowd: Vec<_> = (0..60)
        .map(|number| {
            let kind = kinds[number % 3];
            let verbose = if number % 2 == 0 { "" } else { "?verbose" };
            let whom = ["", "/hung", "/all"][number / 20];
            sidecar.spawn_get(&format!("/{kind}{whom}{verbose}"))
        })
        .collect();
    for _ in 0..30 {
        let response = sidecar.get("/healthz/well");
        assert_eq!(response.both(), (200, "ok"));
        assert!(response.took < PROMPT, "{response:?}");
        let response = sidecar.get("/metrics");
        assert!(response.took < PROMPT, "{response:?}");
    }
    for asked in crowd {
        let response = asked.join().unwrap();
        assert_eq!(response.status, 500);
        assert!(
            response.took < Duration::from_secs(2) + LATENESS,
            "{response:?}"
        );
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
    }
}

#[test]
fn all_are_asked_at_the_same_time() {
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
fn two_of_one_name_are_as_well_as_the_worse_of_them() {
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
fn without_others_there_is_no_all() {
    let dir = Dir::new();
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    eventually("a sidecar", || sidecar.get("/healthz/all").status == 404);
}

/// How many threads it takes to answer these at once, before drivers that hang.
fn requests_under_way(sidecar: &Sidecar, paths: &[String]) -> usize {
    let at_rest = requests_at_rest(sidecar);
    let asked: Vec<_> = paths.iter().map(|path| sidecar.spawn_get(path)).collect();
    let mut most = 0;
    while !asked.iter().all(std::thread::JoinHandle::is_finished) {
        most = most.max(sidecar.threads_named("request").len());
        std::thread::sleep(Duration::from_millis(10));
    }
    for response in asked.into_iter().map(|asked| asked.join().unwrap()) {
        // Each has been asked: "timed out" would be a probe that was never made.
        assert!(response.body.contains("DeadlineExceeded"), "{response:?}");
    }
    // Those are still there that wait for further ones.
    most - at_rest
}

#[test]
fn no_way_behind_the_door_is_without_a_thread() {
    for extra in [0, 1, 3, 8, 10] {
        let dirs: Vec<Dir> = (0..=extra).map(|_| Dir::new()).collect();
        let _drivers: Vec<Driver> = dirs
            .iter()
            .map(|dir| Driver::start(&dir.socket(), &["--hang"]))
            .collect();
        let mut flags: Vec<String> = (1..=extra)
            .map(|number| self::extra(&format!("n{number}"), &dirs[number]))
            .collect();
        flags.push("--probe-timeout=1s".to_owned());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = livenessprobe().start(&dirs[0].socket(), &flags);
        // Three ways to ask for the first, for whom there are three streams (one more
        // is the metrics'), and one for each of the others and for all.
        let mut paths: Vec<String> = ["/healthz", "/livez", "/healthz?verbose"]
            .map(str::to_owned)
            .to_vec();
        paths.extend((1..=extra).map(|number| format!("/healthz/n{number}")));
        if extra > 0 {
            paths.push("/healthz/all".to_owned());
        }
        assert_eq!(requests_under_way(&sidecar, &paths), paths.len(), "{extra}");
    }
}

#[test]
fn a_crowd_before_one_that_hangs_takes_no_other_one_s_places() {
    let (first, hung) = (Dir::new(), Dir::new());
    let _first = Driver::start(&first.socket(), &[]);
    let _hung = Driver::start(&hung.socket(), &["--hang"]);
    let flags = [extra("hung", &hung), "--probe-timeout=10s".to_owned()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let sidecar = livenessprobe().start(&first.socket(), &flags);
    // More than there are places in all.
    let request = b"GET /healthz/hung HTTP/1.1\r\nHost: x\r\n\r\n";
    let crowd = crowd(sidecar.address, 600, request);
    for _ in 0..10 {
        let response = sidecar.healthz();
        assert_eq!(response.both(), (200, "ok"));
        assert!(response.took < PROMPT, "{response:?}");
    }
    drop(crowd);
}

//! `--once`, a single probe that ends with an exit code and one line, and `--install`, which
//! copies the program to where another container finds it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::process::Output;
use std::time::{Duration, Instant};

use testkit::machine::in_namespaces;
use testkit::{Dir, Driver, LATENESS, Process, h2};

use super::support::livenessprobe;

fn once(dir: &Dir, flags: &[&str]) -> (Option<i32>, String) {
    let output = livenessprobe()
        .command()
        .args(["--once", &format!("--csi-address={}", dir.socket())])
        .args(flags)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), stdout(&output))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn each_outcome_has_its_code_and_its_line() {
    for (flags, code, line) in [
        (&[][..], 0, "ok\n"),
        (&["--ready-absent"], 0, "ok\n"),
        (&["--not-ready"], 5, "driver responded but is not ready\n"),
        (
            &["--error=9", "--message=disk\non fire"],
            4,
            "rpc error: code = FailedPrecondition desc = disk\\non fire\n",
        ),
    ] {
        let dir = Dir::new();
        let _driver = Driver::start(&dir.socket(), flags);
        assert_eq!(once(&dir, &[]), (Some(code), line.to_owned()), "{flags:?}");
    }
}

#[test]
fn a_driver_that_cannot_be_reached_is_3_with_the_cause_in_time() {
    let dir = Dir::new();
    let began = Instant::now();
    let cause = format!(
        "cannot connect to {}: no such file or directory\n",
        dir.socket()
    );
    assert_eq!(once(&dir, &["--probe-timeout=500ms"]), (Some(3), cause));
    assert!(began.elapsed() < Duration::from_millis(500) + LATENESS);

    drop(UnixListener::bind(dir.socket()).unwrap());
    let cause = format!("cannot connect to {}: connection refused\n", dir.socket());
    assert_eq!(once(&dir, &["--probe-timeout=300ms"]), (Some(3), cause));
}

#[test]
fn a_driver_that_hangs_is_4_at_the_deadline() {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &["--hang"]);
    let began = Instant::now();
    let (code, line) = once(&dir, &["--timeout=400ms"]);
    assert_eq!(code, Some(4));
    assert!(
        line.starts_with("rpc error: code = DeadlineExceeded desc = "),
        "{line}"
    );
    assert!(began.elapsed() < Duration::from_millis(400) + LATENESS);
}

#[test]
fn a_reply_that_makes_grpc_panic_is_4() {
    let dir = Dir::new();
    h2::serve(dir.socket().as_ref(), |mut call| {
        let reply = h2::ok_without_message(call.stream);
        call.send(&reply);
    });
    let (code, line) = once(&dir, &[]);
    assert_eq!(code, Some(4));
    assert!(line.starts_with("rpc error: code = Internal"), "{line}");
}

#[test]
fn nothing_is_written_in_the_container_of_the_driver() {
    let Some(mut command) = in_namespaces(&["--mount"]) else {
        return;
    };
    // kubelet reads the last words of that container from a file in /dev, so the script has a
    // /dev of its own.
    let script = "mount -t tmpfs none /dev && : >/dev/termination-log && \
                  for flags in --probe-timeout=100ms --bogus; do \
                  \"$0\" --once --csi-address=/none/csi.sock $flags >/dev/out 2>&1; echo \"$?\"; \
                  done; cat /dev/termination-log";
    let output = command
        .args(["sh", "-c", script, livenessprobe().binary()])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "3\n2\n");
}

#[test]
fn it_installs_a_complete_executable_over_any_other_file() {
    let dir = Dir::new();
    let to = dir.path().join("shared/livenessprobe");
    std::fs::create_dir(to.parent().unwrap()).unwrap();
    let install = || {
        // This umask would remove the permission of other users to run the file.
        let output = std::process::Command::new("sh")
            .args([
                "-c",
                "umask 077; exec \"$0\" \"$@\"",
                livenessprobe().binary(),
            ])
            .arg(format!("--install={}", to.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    install();
    let metadata = std::fs::metadata(&to).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
    assert!(std::fs::read(&to).unwrap() == std::fs::read(livenessprobe().binary()).unwrap());

    // A temporary file of another process is left alone.
    let other = to.with_file_name("livenessprobe.1");
    std::fs::write(&other, "half").unwrap();
    install();
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "half");
    std::fs::remove_file(&other).unwrap();
    let metadata = std::fs::metadata(&to).unwrap();

    // A program that runs can be replaced, and goes on.
    let mut running = Process::start(std::process::Command::new(&to).args([
        &format!("--csi-address={}", dir.socket()),
        "--http-endpoint=127.0.0.1:0",
    ]));
    running.err.wait_for(0, "Listening");
    install();
    assert!(running.is_running());
    assert_ne!(std::fs::metadata(&to).unwrap().ino(), metadata.ino());

    let _driver = Driver::start(&dir.socket(), &[]);
    let output = std::process::Command::new(&to)
        .args(["--once", &format!("--csi-address={}", dir.socket())])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "ok\n");
    let left: Vec<_> = std::fs::read_dir(to.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["livenessprobe"]);
}

#[test]
fn an_install_that_fails_is_1_and_names_the_file() {
    let dir = Dir::new();
    let existing = dir.path().display().to_string();
    for (to, words) in [
        (format!("{existing}/none/livenessprobe"), "No such file"),
        (existing.clone(), "name the file in it"),
        ("/proc/livenessprobe".to_owned(), "/proc/livenessprobe"),
    ] {
        let output = livenessprobe()
            .command()
            .arg(format!("--install={to}"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&to) && text.contains(words), "{text}");
    }
}

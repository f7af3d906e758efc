//! A sidecar's program, and a process that runs it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Result, http, number};

/// A program that is measured, and its name in the table.
pub struct Binary {
    pub name: String,
    pub path: PathBuf,
}

impl Binary {
    /// A command line that begins with it.
    pub fn command(&self) -> Command {
        Command::new(&self.path)
    }

    /// The size of its file.
    pub fn bytes(&self) -> Result<f64> {
        std::fs::metadata(&self.path)
            .map(|file| number::float(file.len()))
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// The first line that `--version` prints.
    pub fn version(&self) -> String {
        version(&self.path).unwrap_or_else(|| "prints no version".to_owned())
    }
}

fn version(path: &Path) -> Option<String> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // A program without this flag may ignore it and go on.
    let until = Instant::now() + Duration::from_secs(5);
    let status = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(status)) => break status,
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut said = String::new();
    child.stdout.take()?.read_to_string(&mut said).ok()?;
    status
        .success()
        .then(|| said.lines().next().unwrap_or_default().to_owned())
        .filter(|line| !line.is_empty())
}

/// How many of the last lines on stderr an error contains.
const LAST_LINES: usize = 10;

/// How often a sidecar that starts gets a request.
const POLL: Duration = Duration::from_micros(200);

/// A process, which is killed when this is dropped.
pub struct Sidecar {
    child: Child,
    name: String,
    last_lines: Arc<Mutex<VecDeque<String>>>,
    /// Where it answers.
    pub address: SocketAddr,
    pub pid: Pid,
}

impl Sidecar {
    /// Runs a command line that ends in a sidecar's program, and waits for the first 200. Returns
    /// how long that took, from just before the process was created.
    pub fn start(
        name: &str,
        mut command: Command,
        socket: &Path,
        patience: Duration,
    ) -> Result<(Sidecar, Duration)> {
        let address = free_address()?;
        command
            .arg(format!("--csi-address={}", socket.display()))
            .arg(format!("--http-endpoint={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run {name} as {command:?}: {error}"))?;
        let last_lines = Arc::<Mutex<VecDeque<String>>>::default();
        if let Some(stderr) = child.stderr.take() {
            keep_last_lines(stderr, Arc::clone(&last_lines));
        }
        let pid = i32::try_from(child.id())
            .map(Pid::from_raw)
            .map_err(|error| format!("process id {}: {error}", child.id()))?;
        let mut sidecar = Sidecar {
            child,
            name: name.to_owned(),
            last_lines,
            address,
            pid,
        };
        loop {
            let answer = http::healthz(address);
            let took = began.elapsed();
            match answer {
                Ok(_) if sidecar.is_running() => return Ok((sidecar, took)),
                Ok(_) => {
                    let reason = format!("it has ended, and another program answers at {address}");
                    return Err(sidecar.describe(&reason));
                }
                Err(reason) if took > patience || !sidecar.is_running() => {
                    let reason = format!("no 200 within {took:.1?} of the start: {reason}");
                    return Err(sidecar.describe(&reason));
                }
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    /// Sends one request, and returns how long it took.
    pub fn healthz(&mut self) -> Result<Duration> {
        http::healthz(self.address).map_err(|reason| self.describe(&reason))
    }

    /// Sends so many requests, one after the other, and returns how long each took.
    pub fn probes(&mut self, count: u32) -> Result<Vec<Duration>> {
        (0..count).map(|_| self.healthz()).collect()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM, and waits until the process has exited with 0.
    pub fn end(mut self, patience: Duration) -> Result<()> {
        kill(self.pid, Signal::SIGTERM)
            .map_err(|error| format!("{}: cannot send SIGTERM: {error}", self.name))?;
        let until = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(None) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(Some(_)) => return Err(self.describe("it did not end well after SIGTERM")),
                _ => return Err(self.describe(&format!("it runs {patience:?} after SIGTERM"))),
            }
        }
    }

    /// Adds the state of the process and its last log lines to a reason.
    pub fn describe(&mut self, reason: &str) -> String {
        // The thread that reads stderr needs a moment after the end.
        std::thread::sleep(Duration::from_millis(50));
        let state = match self.child.try_wait() {
            Ok(None) => "it is running".to_owned(),
            Ok(Some(status)) => format!("it has ended: {status}"),
            Err(error) => format!("its state is unknown: {error}"),
        };
        let lines = self
            .last_lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let said = if lines.is_empty() {
            "nothing on stderr".to_owned()
        } else {
            format!("its last lines on stderr:\n  {}", lines.join("\n  "))
        };
        format!("{}: {reason}; {state}; {said}", self.name)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep_last_lines(stream: impl Read + Send + 'static, kept: Arc<Mutex<VecDeque<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream)
            .split(b'\n')
            .map_while(std::result::Result::ok)
        {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LAST_LINES {
                kept.pop_front();
            }
            kept.push_back(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

/// Finds an address on which no process listens. Its port is below those that the kernel gives to
/// clients, because one of this program's own thousands of connections might get it before the
/// sidecar's listen(2). The search begins at a port that depends on this process and on how many
/// it has given: otherwise two of these programs at once would choose the same port, and one
/// would measure the other's sidecar.
fn free_address() -> Result<SocketAddr> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    (0..COUNT)
        .filter_map(|_| {
            let given = GIVEN.fetch_add(1, Ordering::Relaxed);
            let offset = std::process::id().wrapping_mul(499).wrapping_add(given) % COUNT;
            let port = u16::try_from(FIRST + offset).ok()?;
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        })
        .find(|address| TcpListener::bind(address).is_ok())
        .ok_or_else(|| format!("{COUNT} ports of 127.0.0.1 from {FIRST} on are all taken"))
}

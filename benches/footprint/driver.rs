//! The CSI driver that is probed: the example, or one that is running already.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// How long the example driver may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A driver. The example driver is killed, and its directory removed, when this is dropped.
pub struct Driver {
    /// Where it listens.
    pub socket: PathBuf,
    /// How the report calls it.
    pub description: String,
    example: Option<(Child, PathBuf)>,
}

impl Driver {
    /// Uses a driver that is running already.
    pub fn running(socket: &Path) -> Result<Driver> {
        UnixStream::connect(socket).map_err(|error| {
            format!(
                "CSI_SOCKET={}: no driver listens there: {error}; right would be the socket of a driver that is running",
                socket.display()
            )
        })?;
        Ok(Driver {
            socket: socket.to_owned(),
            description: format!("the one at {}", socket.display()),
            example: None,
        })
    }

    /// Starts the example driver, and waits until it listens.
    pub fn start(program: &Path) -> Result<Driver> {
        let directory = scratch()?;
        let socket = directory.join("csi.sock");
        let mut child = Command::new(program)
            .arg(format!("--address={}", socket.display()))
            .stdin(Stdio::null())
            // Its events are not needed.
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!(
                    "DRIVER={}: cannot run it: {error}; right would be the example driver, \
                     which cargo build --release --example csi_driver builds",
                    program.display()
                )
            })?;
        let until = Instant::now() + PATIENCE;
        let listens = loop {
            if UnixStream::connect(&socket).is_ok() {
                break true;
            }
            if Instant::now() > until || !matches!(child.try_wait(), Ok(None)) {
                break false;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let driver = Driver {
            socket,
            description: "examples/csi_driver.rs".to_owned(),
            example: Some((child, directory)),
        };
        if listens {
            return Ok(driver);
        }
        Err(format!(
            "the driver {} does not listen on {} after {PATIENCE:?}; its messages are above",
            program.display(),
            driver.socket.display()
        ))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some((child, directory)) = &mut self.example {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// Creates a directory whose path is short enough for a socket (unix(7)).
fn scratch() -> Result<PathBuf> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("lp-bench-{}-{number}", std::process::id()));
    std::fs::create_dir(&directory)
        .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    Ok(directory)
}

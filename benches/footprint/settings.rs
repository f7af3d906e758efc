//! The settings, which are variables of the environment. `make` and `benches/run.sh` pass them
//! on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;

/// The settings of both modes.
pub struct Common {
    /// The sidecar that is measured.
    pub binary: PathBuf,
    /// The example driver's program.
    pub driver: PathBuf,
}

/// The settings of `measure`.
pub struct Settings {
    pub common: Common,
    /// Another sidecar with the same flags, and its name in the table.
    pub peer: Option<(PathBuf, String)>,
    /// A driver that is running already.
    pub csi_socket: Option<PathBuf>,
    pub runs: u32,
    pub idle: Duration,
    pub growth: u32,
    pub json: PathBuf,
}

/// The architectures by their names in files and in Rust.
const ARCHITECTURES: [(&str, &str); 4] = [
    ("amd64", "x86_64"),
    ("arm64", "aarch64"),
    ("armv7", "arm"),
    ("riscv64", "riscv64"),
];

/// The architecture of this machine, by its name in files.
pub fn architecture() -> Result<&'static str> {
    let here = std::env::consts::ARCH;
    ARCHITECTURES
        .iter()
        .find_map(|(name, rust)| (*rust == here).then_some(*name))
        .ok_or_else(|| format!("nothing is built for this machine's architecture, {here}"))
}

impl Common {
    pub fn read() -> Result<Common> {
        let binary = match path("BINARY") {
            Some(binary) => binary,
            None => PathBuf::from(format!("dist/livenessprobe-linux-{}", architecture()?)),
        };
        Ok(Common {
            binary: file(
                "BINARY",
                &binary,
                "a sidecar's program; make static builds one",
            )?,
            // Checked only when it is started, because CSI_SOCKET needs none.
            driver: path("DRIVER").unwrap_or_else(|| "target/release/examples/csi_driver".into()),
        })
    }
}

impl Settings {
    pub fn read() -> Result<Settings> {
        let common = Common::read()?;
        let peer = match path("PEER") {
            Some(peer) => {
                let peer = file(
                    "PEER",
                    &peer,
                    "a program with the flags --csi-address and --http-endpoint",
                )?;
                let name = text("PEER_NAME").unwrap_or_else(|| {
                    let name = peer.file_name().unwrap_or(peer.as_os_str());
                    name.to_string_lossy().into_owned()
                });
                Some((peer, name))
            }
            None => None,
        };
        Ok(Settings {
            common,
            peer,
            csi_socket: path("CSI_SOCKET")
                .map(|socket| std::path::absolute(&socket).unwrap_or(socket)),
            runs: number("RUNS", 5, 1, 1_000)?,
            idle: Duration::from_secs(number("IDLE", 30, 1, 86_400)?.into()),
            growth: number("GROWTH", 100_000, 2_000, 100_000_000)?,
            json: path("JSON").unwrap_or_else(|| "target/bench.json".into()),
        })
    }
}

/// Whether `UPDATE=1` asks for a new record.
pub fn is_update() -> Result<bool> {
    match text("UPDATE").as_deref() {
        None => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(format!("UPDATE={other}: right would be 1, or nothing")),
    }
}

/// The path of the guard's record.
pub fn record() -> PathBuf {
    path("RECORD").unwrap_or_else(|| "benches/footprint.json".into())
}

/// An empty variable counts as not set, because make exports all of them.
fn text(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

fn path(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name)?;
    (!value.is_empty()).then(|| value.into())
}

fn number(name: &str, default: u32, least: u32, most: u32) -> Result<u32> {
    let Some(value) = text(name) else {
        return Ok(default);
    };
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{name}={value}: right would be a number from {least} to {most}"))
}

fn file(name: &str, path: &Path, what: &str) -> Result<PathBuf> {
    // By its whole path, because a bare name would be looked up in PATH.
    let whole =
        std::path::absolute(path).map_err(|error| format!("{name}={}: {error}", path.display()))?;
    if is_program(&whole) {
        return Ok(whole);
    }
    Err(format!(
        "{name}: {} is no file that can be run; right would be {what}",
        path.display()
    ))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

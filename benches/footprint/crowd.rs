//! Connections without a complete request: half of them send nothing, and half the beginning
//! of a request.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::sidecar::Sidecar;
use crate::{Result, load, number, proc};

/// How many connections are opened.
pub const CONNECTIONS: u32 = 2_000;

/// The beginning of a request, as if the rest were on its way.
const BEGINNING: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: local";

/// How long the connections are held before the sidecar is measured. That is shorter than the
/// time that either sidecar gives a slow client.
const SETTLE: Duration = Duration::from_secs(1);

/// How many successful probes are made meanwhile.
const PROBES: u32 = 20;

/// What was measured while the connections were held.
pub struct Crowd {
    /// In KiB.
    pub resident: f64,
    /// Connections that the sidecar has neither closed nor answered.
    pub still_open: f64,
    /// The most threads that were counted.
    pub threads: u64,
}

/// Raises the limit of descriptors for this process. A sidecar inherits it; in a container the
/// limit is higher still.
pub fn raise_descriptor_limit() -> Result<()> {
    let needed = u64::from(CONNECTIONS) + 200;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| format!("cannot read RLIMIT_NOFILE: {error}"))?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        return Err(format!(
            "this process may open {hard} files and needs {needed}; run: ulimit -Hn {needed}, as root"
        ));
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
        .map_err(|error| format!("cannot set RLIMIT_NOFILE to {needed}: {error}"))
}

/// Opens and holds the connections, and measures the sidecar meanwhile.
pub fn hold(sidecar: &mut Sidecar) -> Result<Crowd> {
    let (pid, address) = (sidecar.pid, sidecar.address);
    let seen = load::most_threads(pid, || {
        let held = connect(address)?;
        std::thread::sleep(SETTLE);
        for _ in 0..PROBES {
            crate::http::healthz(address)
                .map_err(|reason| format!("while {CONNECTIONS} connections were held: {reason}"))?;
        }
        let memory = proc::memory(pid)?;
        let still_open = held.iter().filter(|stream| is_open(stream)).count();
        Ok((memory.resident, u64::try_from(still_open).unwrap_or(0)))
    });
    let ((resident, still_open), threads) = seen.map_err(|reason| sidecar.describe(&reason))?;
    Ok(Crowd {
        resident: number::float(resident),
        still_open: number::float(still_open),
        threads,
    })
}

fn connect(address: SocketAddr) -> Result<Vec<TcpStream>> {
    (0..CONNECTIONS)
        .map(|count| {
            let mut stream = TcpStream::connect(address)
                .map_err(|error| format!("connection {count} to {address}: {error}"))?;
            if count % 2 == 1 {
                // The sidecar may have closed it already, which is counted later.
                let _ = stream.write_all(BEGINNING);
            }
            Ok(stream)
        })
        .collect()
}

fn is_open(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    stream
        .peek(&mut [0])
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

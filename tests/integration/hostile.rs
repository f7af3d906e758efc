//! The hostile suite: clients that could stop an ordinary HTTP server with one packet or with
//! two thousand connections. `make hostile` runs it at full size.

mod connections;
mod crowds;
mod requests;
mod shortage;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::{Dir, Driver};

use super::support::livenessprobe;
use super::support::siege::{PROMPT, lay};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// Lays siege to a sidecar before a healthy driver. The attack is repeated until the
/// well-behaved client has sent some ten requests.
fn siege(attack: impl Fn(SocketAddr)) {
    let dir = Dir::new();
    let _driver = Driver::start(&dir.socket(), &[]);
    let sidecar = livenessprobe().start(&dir.socket(), &[]);
    lay(&sidecar, PROMPT, || {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            attack(sidecar.address);
            if Instant::now() >= until {
                break;
            }
        }
    });
}

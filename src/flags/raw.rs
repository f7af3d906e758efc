//! The last value of each flag, into which the rows of the table put them.

use std::path::PathBuf;
use std::time::Duration;

use csi::flags::{AddressFlags, Addresses};
use front::flags::{ListenerFlags, Listeners};
use program::flags::{LogFlags, Logs};

use super::Extra;
use crate::routes;

/// The most further drivers. Each has threads and descriptors of its own, and no node has more
/// drivers than this.
const EXTRA_MAX: usize = 64;

/// The last value of each flag; where a flag has two names, of each name.
#[derive(Default)]
pub struct Raw {
    pub(super) addresses: Addresses,
    pub(super) listeners: Listeners,
    pub(super) logs: Logs,
    pub(super) extra: Vec<Extra>,
    pub(super) probe_timeout: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) probe_path: Option<String>,
    pub(super) service: Option<String>,
    pub(super) health_port: Option<u16>,
    pub(super) once: bool,
    pub(super) install: Option<PathBuf>,
    pub(super) interval: Option<Duration>,
    pub(super) retries: Option<u32>,
    pub(super) health_file: Option<PathBuf>,
}

impl AddressFlags for Raw {
    fn addresses(&mut self) -> &mut Addresses {
        &mut self.addresses
    }
}

impl ListenerFlags for Raw {
    const HEALTH_PATHS: &'static [&'static str] = &[routes::HEALTHZ, routes::LIVEZ, routes::READYZ];

    fn listeners(&mut self) -> &mut Listeners {
        &mut self.listeners
    }
}

impl LogFlags for Raw {
    fn logs(&mut self) -> &mut Logs {
        &mut self.logs
    }
}

impl Raw {
    pub(super) fn add(&mut self, extra: Extra) -> Result<(), String> {
        if self.extra.iter().any(|other| other.name == extra.name) {
            return Err(format!(
                "--extra-csi-address gives the name {:?} twice; each driver needs its own",
                extra.name
            ));
        }
        if self.extra.len() == EXTRA_MAX {
            return Err(format!(
                "--extra-csi-address is given more than {EXTRA_MAX} times; start another process"
            ));
        }
        self.extra.push(extra);
        Ok(())
    }
}

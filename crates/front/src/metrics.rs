//! The metrics in Prometheus' text format 0.0.4, with the families that every sidecar has. The
//! owner of the package prometheus.

mod operations;
mod process;

use std::time::{SystemTime, UNIX_EPOCH};

pub use prometheus;
use prometheus::core::Collector;
use prometheus::{Error, Gauge, Opts, Registry, TextEncoder};

pub use operations::{Call, DRIVER, Operations, Recorder};
use process::Process;
use program::Program;

/// The longest text that is served, in bytes. A scrape holds several copies of it, and so do
/// clients that do not read it.
const TEXT_MAX: usize = 1024 * 1024;

/// What Go's client library announces for this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// The families about the process, which started at `started`.
    ///
    /// # Errors
    ///
    /// When a family is not well-formed, which none of these constants is.
    pub fn new(program: &Program, started: SystemTime) -> Result<Metrics, Error> {
        let start_time = Gauge::new(
            "process_start_time_seconds",
            "[ALPHA] Start time of the process since unix epoch in seconds.",
        )?;
        start_time.set(seconds(started));
        let build_info = Gauge::with_opts(
            Opts::new(
                format!("{}_build_info", program.name.replace('-', "_")),
                "The version and the revision of this program, as labels; always 1.",
            )
            .const_label("version", program.version)
            .const_label("revision", program.revision),
        )?;
        build_info.set(1.0);
        let metrics = Metrics {
            registry: Registry::new(),
        };
        metrics.register(start_time)?;
        metrics.register(build_info)?;
        metrics.register(Process::new()?)?;
        Ok(metrics)
    }

    /// Adds a family.
    ///
    /// # Errors
    ///
    /// When there is one of this name already.
    pub fn register(&self, family: impl Collector + 'static) -> Result<(), Error> {
        self.registry.register(Box::new(family))
    }

    /// The text of all families, of at most 1 MiB.
    ///
    /// # Errors
    ///
    /// When the encoder refuses a family, or the text is too long: many drivers that answer with
    /// every code there is can make it so.
    pub fn render(&self) -> Result<String, String> {
        let text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| format!("cannot render the metrics: {error}"))?;
        within(TEXT_MAX, text)
    }
}

fn within(most: usize, text: String) -> Result<String, String> {
    match text.len() {
        length if length > most => Err(format!(
            "the metrics have {length} bytes, and at most {most} are served"
        )),
        _ => Ok(text),
    }
}

/// A time as Prometheus writes it.
#[must_use]
pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_not_served() {
        assert_eq!(within(4, "four".to_owned()).as_deref(), Ok("four"));
        let error = within(4, "fives".to_owned()).unwrap_err();
        assert_eq!(error, "the metrics have 5 bytes, and at most 4 are served");
    }
}

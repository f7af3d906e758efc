//! Writes log lines to stderr, as klog's text or as the JSON of Kubernetes' component-base. Only
//! this module uses the package env_logger.
//!
//! gRPC's C-core logs through this module, too. It logs an error for each call to a driver that
//! answers with another content type, for example, so its lines are throttled unless all of them
//! are wanted. The lines of the programs are not: they throttle what they repeat themselves.

mod line;

use std::io::{self, Write as _};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use env_logger::Target;
use log::{LevelFilter, Record};

use crate::Program;
use crate::log_queue::Queue;
use crate::log_throttle::{Line, LogThrottle};
use crate::threads::lock;

pub use line::line;

/// The format of log lines, `--logging-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// klog's text: a header of fixed width, the message and its key-value pairs.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

/// The verbosity from which a program logs each operation, such as a request or a call.
pub const VERBOSE: u8 = 5;
/// The highest verbosity, to which a higher one is cut. C-core logs its internals with it.
pub const VERBOSITY_MAX: u8 = 10;

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Starts logging. A second call changes nothing.
pub fn init(program: &Program, format: Format, verbosity: u8) {
    let name = program.name;
    let level = match verbosity {
        0..VERBOSE => LevelFilter::Info,
        VERBOSE..VERBOSITY_MAX => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // tiny_http logs the end of its accept loop as an error, but a program ends it on purpose.
    let tiny_http = match level {
        LevelFilter::Trace => LevelFilter::Trace,
        _ => LevelFilter::Off,
    };
    let c_core = Mutex::new(LogThrottle::new());
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(level)
        .filter_module("tiny_http", tiny_http)
        .format(move |out, record| {
            let mut write = |record: &Record<'_>| {
                let line = line(name, format, SystemTime::now(), std::process::id(), record);
                out.write_all(line.as_bytes())
            };
            if level < LevelFilter::Trace && is_from_c_core(record) {
                throttle(&c_core, record, write)
            } else {
                write(record)
            }
        });
    if let Some(queue) =
        Queue::start(|lines| log::warn!(lines = lines; "Log lines lost, stderr was blocked"))
    {
        builder.target(Target::Pipe(Box::new(queue.clone())));
        // This fails only in a second call.
        let _ = QUEUE.set(queue);
    }
    // This fails only in a second call, too.
    let _ = builder.try_init();
}

/// The path of grpcio's module that passes C-core's lines on (its log_util.rs). They have no
/// target.
const C_CORE: &str = "grpcio::log_util";

fn is_from_c_core(record: &Record<'_>) -> bool {
    record.module_path() == Some(C_CORE)
}

/// Writes a line of C-core's only if [`LogThrottle`] allows it. The line's place in C-core's source
/// stands for its cause, because its text may contain addresses and a driver's bytes.
fn throttle(
    c_core: &Mutex<LogThrottle>,
    record: &Record<'_>,
    write: impl FnOnce(&Record<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let place = format!("{:?}:{:?}", record.file(), record.line());
    let allowed = lock(c_core).is_worth_a_line(Some(&place), Instant::now());
    match allowed {
        None => Ok(()),
        Some(Line { suppressed: 0 }) => write(record),
        // C-core's lines have no pairs that this could replace.
        Some(Line { suppressed }) => write(
            &record
                .to_builder()
                .key_values(&[("lines_not_logged", suppressed)])
                .build(),
        ),
    }
}

/// The longest wait for the last lines before the process ends without them.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Waits until all lines are written, but at most half a second. It is for the end of the process.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

//! Log lines on stderr, every one in the chosen form: klog's text or the JSON of
//! Kubernetes' component-base. The owner of the package env_logger.
//!
//! gRPC's C-core logs through here, too.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use env_logger::Target;

use log::kv::{Key, Value, VisitSource, VisitValue};
use log::{Level, LevelFilter, Record};

use crate::Program;
use crate::escape::{capped, json, quoted};
use crate::log_queue::Queue;
use crate::utc::Utc;

/// `--logging-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// klog's: a header of fixed width, the message and its pairs.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// From this verbosity on, each probe and each request is logged.
pub const VERBOSE: u8 = 5;
/// The highest verbosity; all above means this. C-core logs its inside, too.
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
    // It calls the end of its accept loop, which is meant, an error.
    let tiny_http = match level {
        LevelFilter::Trace => LevelFilter::Trace,
        _ => LevelFilter::Off,
    };
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(level)
        .filter_module("tiny_http", tiny_http)
        .format(move |out, record| {
            let line = line(name, format, SystemTime::now(), std::process::id(), record);
            out.write_all(line.as_bytes())
        });
    if let Some(queue) =
        Queue::start(|lines| log::warn!(lines = lines; "Log lines lost, stderr was blocked"))
    {
        builder.target(Target::Pipe(Box::new(queue.clone())));
        // Fails only if it is set already.
        let _ = QUEUE.set(queue);
    }
    // Likewise.
    let _ = builder.try_init();
}

/// What the last lines get before the process ends without them.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Waits until what was logged is written, but not for long: for the end.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

/// One line with its newline, as it is written to stderr at `now` by process `pid`.
#[must_use]
pub fn line(
    program: &str,
    format: Format,
    now: SystemTime,
    pid: u32,
    record: &Record<'_>,
) -> String {
    let mut pairs = Pairs::default();
    // Collecting into a Vec cannot fail.
    let _ = record.key_values().visit(&mut pairs);
    // klog writes the error first, wherever it was given.
    pairs.0.sort_by_key(|(key, _)| key != "err");
    // A line holds what strangers wrote, C-core's messages included.
    let message = capped(&record.args().to_string());
    let file = record.file().map_or("unknown", base_name);
    let place = record.line().unwrap_or(0);
    match format {
        Format::Text => text_line(now, pid, record.level(), file, place, &message, &pairs.0),
        Format::Json => {
            let caller = format!("{program}/{file}:{place}");
            json_line(now, record.level(), &caller, &message, &pairs.0)
        }
    }
}

fn text_line(
    now: SystemTime,
    pid: u32,
    level: Level,
    file: &str,
    place: u32,
    message: &str,
    pairs: &[(String, Scalar)],
) -> String {
    let utc = Utc::from(now);
    let letter = match level {
        Level::Error => 'E',
        Level::Warn => 'W',
        Level::Info | Level::Debug | Level::Trace => 'I',
    };
    let mut line = format!(
        "{letter}{:02}{:02} {:02}:{:02}:{:02}.{:06} {pid:>7} {file}:{place}] {}",
        utc.month,
        utc.day,
        utc.hour,
        utc.minute,
        utc.second,
        utc.microsecond,
        quoted(message)
    );
    // Writing to a String cannot fail, here and below.
    for (key, value) in pairs {
        let _ = match value {
            Scalar::Text(text) => write!(line, " {key}={}", quoted(text)),
            Scalar::Plain(plain) => write!(line, " {key}={plain}"),
        };
    }
    line.push('\n');
    line
}

fn json_line(
    now: SystemTime,
    level: Level,
    caller: &str,
    message: &str,
    pairs: &[(String, Scalar)],
) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = format!(
        "{{\"ts\":{}.{:03},\"caller\":{},\"msg\":{}",
        since.as_millis(),
        since.subsec_micros() % 1000,
        json(caller),
        json(message)
    );
    match level {
        Level::Error => {}
        Level::Warn | Level::Info => line.push_str(",\"v\":0"),
        Level::Debug => {
            let _ = write!(line, ",\"v\":{VERBOSE}");
        }
        Level::Trace => {
            let _ = write!(line, ",\"v\":{VERBOSITY_MAX}");
        }
    }
    for (key, value) in pairs {
        let _ = match value {
            Scalar::Text(text) => write!(line, ",{}:{}", json(key), json(text)),
            Scalar::Plain(plain) => write!(line, ",{}:{plain}", json(key)),
        };
    }
    line.push_str("}\n");
    line
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A pair's value: quoted or as it stands.
#[derive(Debug, PartialEq)]
enum Scalar {
    Text(String),
    Plain(String),
}

#[derive(Default)]
struct Pairs(Vec<(String, Scalar)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let mut scalar = OneValue(None);
        value.visit(&mut scalar)?;
        // A pair without a value is left out.
        if let Some(scalar) = scalar.0 {
            self.0.push((key.to_string(), scalar));
        }
        Ok(())
    }
}

struct OneValue(Option<Scalar>);

impl VisitValue<'_> for OneValue {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), log::kv::Error> {
        self.0 = Some(Scalar::Text(capped(&value.to_string())));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), log::kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), log::kv::Error> {
        self.0 = Some(Scalar::Plain(value.to_string()));
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), log::kv::Error> {
        self.0 = Some(Scalar::Plain(value.to_string()));
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), log::kv::Error> {
        self.0 = Some(Scalar::Plain(value.to_string()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(format: Format, level: Level, message: &str, pairs: &[(&str, Value<'_>)]) -> String {
        let now = UNIX_EPOCH + Duration::from_micros(1_795_165_932_172_896);
        line(
            "livenessprobe",
            format,
            now,
            1,
            &Record::builder()
                .args(format_args!("{message}"))
                .level(level)
                .file(Some("/src/x/main.rs"))
                .line(Some(137))
                .key_values(&pairs)
                .build(),
        )
    }

    #[test]
    fn text_is_klog_s() {
        assert_eq!(
            render(
                Format::Text,
                Level::Info,
                "CSI driver name",
                &[("driver", Value::from("hostpath.csi.k8s.io"))]
            ),
            "I1120 09:12:12.172896       1 main.rs:137] \"CSI driver name\" driver=\"hostpath.csi.k8s.io\"\n"
        );
        assert_eq!(
            render(
                Format::Text,
                Level::Error,
                "a\nb",
                &[("n", Value::from(3)), ("err", Value::from("x\x1b\n\"y\""))]
            ),
            "E1120 09:12:12.172896       1 main.rs:137] \"a\\nb\" err=\"x\\x1b\\n\\\"y\\\"\" n=3\n"
        );
        let warning = render(Format::Text, Level::Warn, "w", &[]);
        assert!(warning.starts_with('W'));
        let debug = render(Format::Text, Level::Debug, "d", &[]);
        assert!(debug.starts_with('I'));
    }

    #[test]
    fn json_is_component_base_s() {
        assert_eq!(
            render(
                Format::Json,
                Level::Info,
                "CSI driver name",
                &[("driver", Value::from("hostpath.csi.k8s.io"))]
            ),
            "{\"ts\":1795165932172.896,\"caller\":\"livenessprobe/main.rs:137\",\
             \"msg\":\"CSI driver name\",\"v\":0,\"driver\":\"hostpath.csi.k8s.io\"}\n"
        );
        assert_eq!(
            render(
                Format::Json,
                Level::Error,
                "m",
                &[("up", Value::from(true)), ("err", Value::from("x\n"))]
            ),
            "{\"ts\":1795165932172.896,\"caller\":\"livenessprobe/main.rs:137\",\
             \"msg\":\"m\",\"err\":\"x\\n\",\"up\":true}\n"
        );
        assert!(render(Format::Json, Level::Debug, "m", &[]).contains("\"v\":5"));
    }

    #[test]
    fn a_line_is_never_long() {
        let long = "x".repeat(100_000);
        for format in [Format::Text, Format::Json] {
            let line = render(
                format,
                Level::Error,
                &long,
                &[("err", Value::from(long.as_str()))],
            );
            assert!(line.len() < 2_500, "{}", line.len());
        }
    }

    #[test]
    fn a_pair_without_a_value_is_left_out() {
        let line = render(Format::Text, Level::Info, "m", &[("none", Value::null())]);
        assert!(line.ends_with("] \"m\"\n"), "{line}");
    }
}

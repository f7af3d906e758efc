//! Log lines on stderr, every one in the chosen form: klog's text or the JSON of
//! Kubernetes' component-base. The owner of the package env_logger.
//!
//! gRPC's C-core logs through here too, see [`init`].

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use log::kv::{Key, Value, VisitSource, VisitValue};
use log::{Level, LevelFilter, Record};

use crate::clock::Utc;
use crate::text::{json, quoted};

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

/// Starts logging. Before this, and after a second call, nothing changes.
pub fn init(format: Format, verbosity: u8) {
    let level = match verbosity {
        0..VERBOSE => LevelFilter::Info,
        VERBOSE..VERBOSITY_MAX => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // Fails only if a logger is set already.
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .filter_module("tiny_http", level.min(LevelFilter::Info))
        .format(move |out, record| {
            let line = line(format, SystemTime::now(), std::process::id(), record);
            out.write_all(line.as_bytes())
        })
        .try_init();
    // C-core chooses what it logs by the level that is set now. But for errors,
    // its lines are about its own inside, three and more for each probe.
    if level < LevelFilter::Trace {
        log::set_max_level(LevelFilter::Error);
    }
    grpcio::redirect_log();
    log::set_max_level(level);
}

/// One line with its newline.
fn line(format: Format, now: SystemTime, pid: u32, record: &Record<'_>) -> String {
    let mut pairs = Pairs::default();
    // Collecting into a Vec cannot fail.
    let _ = record.key_values().visit(&mut pairs);
    // klog writes the error first, wherever it was given.
    pairs.0.sort_by_key(|(key, _)| key != "err");
    let message = record.args().to_string();
    let file = record.file().map_or("unknown", base_name);
    let place = record.line().unwrap_or(0);
    match format {
        Format::Text => text_line(now, pid, record.level(), file, place, &message, &pairs.0),
        Format::Json => json_line(now, record.level(), file, place, &message, &pairs.0),
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
    file: &str,
    place: u32,
    message: &str,
    pairs: &[(String, Scalar)],
) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = format!(
        "{{\"ts\":{}.{:03},\"caller\":{},\"msg\":{}",
        since.as_millis(),
        since.subsec_micros() % 1000,
        json(&format!("livenessprobe/{file}:{place}")),
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
        let mut scalar = OneValue(Scalar::Plain(String::new()));
        value.visit(&mut scalar)?;
        self.0.push((key.to_string(), scalar.0));
        Ok(())
    }
}

struct OneValue(Scalar);

impl VisitValue<'_> for OneValue {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), log::kv::Error> {
        self.0 = Scalar::Text(value.to_string());
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), log::kv::Error> {
        self.0 = Scalar::Plain(value.to_string());
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), log::kv::Error> {
        self.0 = Scalar::Plain(value.to_string());
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), log::kv::Error> {
        self.0 = Scalar::Plain(value.to_string());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn render(format: Format, level: Level, message: &str, pairs: &[(&str, Value<'_>)]) -> String {
        let now = UNIX_EPOCH + Duration::from_micros(1_795_165_932_172_896);
        line(
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
}

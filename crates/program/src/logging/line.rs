//! Formats a log record as a line of klog's text or of component-base's JSON.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use log::kv::{Key, Value, VisitSource, VisitValue};
use log::{Level, Record};

use super::{Format, VERBOSE, VERBOSITY_MAX};
use crate::escape::{capped, json, quoted};
use crate::utc::Utc;

/// The line for a record that process `pid` writes at `now`, with its newline.
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
    // klog writes the error first, wherever it is among the arguments.
    pairs.0.sort_by_key(|(key, _)| key != "err");
    // Even a message may contain untrusted text: C-core's messages quote the driver.
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
    // Writing to a String cannot fail, here and in `json_line`.
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

/// The value of a pair: text, which is quoted, or a number or a bool.
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
    use std::time::Duration;

    use super::*;

    fn render(format: Format, level: Level, message: &str, pairs: &[(&str, Value<'_>)]) -> String {
        let now = UNIX_EPOCH + Duration::from_micros(1_795_165_932_172_896);
        line(
            "example",
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
    fn text_has_klog_s_format() {
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
    fn json_has_component_base_s_format() {
        assert_eq!(
            render(
                Format::Json,
                Level::Info,
                "CSI driver name",
                &[("driver", Value::from("hostpath.csi.k8s.io"))]
            ),
            "{\"ts\":1795165932172.896,\"caller\":\"example/main.rs:137\",\
             \"msg\":\"CSI driver name\",\"v\":0,\"driver\":\"hostpath.csi.k8s.io\"}\n"
        );
        assert_eq!(
            render(
                Format::Json,
                Level::Error,
                "m",
                &[("up", Value::from(true)), ("err", Value::from("x\n"))]
            ),
            "{\"ts\":1795165932172.896,\"caller\":\"example/main.rs:137\",\
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

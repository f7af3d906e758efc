//! The record of what the static binary takes, and how measured figures differ from it. It takes
//! text and gives text, so that tests/integration/guard.rs can test it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A figure that is recorded.
pub struct Recorded {
    /// Its name in the file.
    pub key: &'static str,
    /// Its name in messages.
    pub description: &'static str,
    /// How many per cent of the record it may differ by, in either direction.
    pub percent: u64,
}

/// All figures. A value that is too small fails as well, because it would otherwise hide a later
/// rise.
pub const FIGURES: [Recorded; 4] = [
    recorded("file_bytes", "the file's size in bytes", 5),
    recorded("resident_kib", "KiB resident after 1,000 probes", 5),
    recorded("threads_idle", "threads while idle", 0),
    recorded(
        "instructions_per_probe",
        "instructions per probe, in user mode",
        5,
    ),
];

const fn recorded(key: &'static str, description: &'static str, percent: u64) -> Recorded {
    Recorded {
        key,
        description,
        percent,
    }
}

/// The values, by their keys.
pub type Values = BTreeMap<&'static str, u64>;

const REMEDY: &str = "make guard UPDATE=1 writes the record";

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(format!(
            "the record is {other}; right would be an object with a key for each architecture; {REMEDY}"
        )),
        Err(error) => Err(format!("the record is no JSON: {error}; {REMEDY}")),
    }
}

/// The recorded values of an architecture.
pub fn read(text: &str, architecture: &str) -> Result<Values, String> {
    let record = parse(text)?;
    let of_it = record
        .get(architecture)
        .ok_or_else(|| format!("the record has nothing for {architecture}; {REMEDY}"))?;
    FIGURES
        .iter()
        .map(|figure| match of_it.get(figure.key) {
            None => Err(format!("the record of {architecture} has no {}; {REMEDY}", figure.key)),
            Some(value) => match value.as_u64() {
                Some(number) if number > 0 => Ok((figure.key, number)),
                _ => Err(format!(
                    "the record of {architecture} says {value} for {}; right would be a number above 0; {REMEDY}",
                    figure.key
                )),
            },
        })
        .collect()
}

/// Describes each figure that differs from the record.
pub fn differences(recorded: &Values, measured: &Values) -> Vec<String> {
    FIGURES
        .iter()
        .filter_map(|figure| {
            let was = recorded.get(figure.key).copied().unwrap_or(0);
            let is = measured.get(figure.key).copied().unwrap_or(0);
            if is.abs_diff(was) * 100 <= was * figure.percent {
                return None;
            }
            let mut text = format!("{}: {is}, and the record says {was}", figure.description);
            if figure.percent > 0 {
                let _ = write!(text, ", give or take {} %", figure.percent);
            }
            Some(text)
        })
        .collect()
}

/// The record with new values for an architecture; those of other architectures stay.
pub fn updated(
    text: Option<&str>,
    architecture: &str,
    measured: &Values,
) -> Result<String, String> {
    let mut record = text.map_or(Ok(Map::new()), parse)?;
    record.insert(architecture.to_owned(), json!(measured));
    Ok(format!("{:#}\n", Value::Object(record)))
}

//! Durations in Go's notation, such as `1m30s`, which manifests use in flags.
//!
//! The grammar is that of Go's `time.ParseDuration`: an optional sign, then either a lone `0` or
//! one or more decimal numbers, each with a unit. As in Go, a duration is a signed 64-bit count of
//! nanoseconds.

use std::fmt::Write as _;
use std::time::Duration;

/// The units and their nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),  // the micro sign
    ("\u{3bc}s", 1_000), // the Greek letter mu
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A description of the notation, for the error messages.
const EXAMPLES: &str =
    "write a number with a unit (ns, us, ms, s, m, h), such as 3s, 500ms or 1m30s";

/// Parses Go's notation into a sign, which is `true` for a negative duration, and a length.
///
/// # Errors
///
/// The message says what is wrong with the text, and how to write a duration.
pub fn parse(text: &str) -> Result<(bool, Duration), String> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if digits == "0" {
        return Ok((negative, Duration::ZERO));
    }
    if digits.is_empty() {
        return Err(format!("no number in it; {EXAMPLES}"));
    }
    let mut rest = digits;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = one_part(rest)?;
        total += nanoseconds;
        // This check is in the loop so that no number of parts can overflow the sum.
        if total > u128::from(i64::MAX.unsigned_abs()) {
            return Err("longer than a duration can be, about 292 years".to_owned());
        }
        rest = after;
    }
    let nanoseconds = u64::try_from(total).map_err(|error| error.to_string())?;
    Ok((negative, Duration::from_nanos(nanoseconds)))
}

/// Parses one number with its unit. Returns its nanoseconds and the rest of the text.
fn one_part(text: &str) -> Result<(u128, &str), String> {
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => split_digits(after),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(format!("no number before {rest:?}; {EXAMPLES}"));
    }
    let unit_end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    if unit.is_empty() {
        return Err(format!("no unit after {text:?}; {EXAMPLES}"));
    }
    let Some(&(_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("unknown unit {unit:?}; {EXAMPLES}"));
    };
    let scale = u128::from(scale);
    // No duration has more than nineteen digits. Go refuses more, too.
    let whole: u128 = match whole.trim_start_matches('0') {
        "" => 0,
        digits if digits.len() > 19 => {
            return Err("longer than a duration can be, about 292 years".to_owned());
        }
        digits => digits.parse().map_err(|_| EXAMPLES.to_owned())?,
    };
    // In every unit, the digits after the eighteenth are below a nanosecond.
    let (mut numerator, mut denominator): (u128, u128) = (0, 1);
    for digit in fraction.bytes().take(18) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    let nanoseconds = whole * scale + numerator * scale / denominator;
    Ok((nanoseconds, after))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Parses a duration that must be longer than zero, such as a timeout.
///
/// # Errors
///
/// Those of [`parse`], and zero or negative durations.
pub fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        (false, length) if !length.is_zero() => Ok(length),
        _ => Err("must be longer than zero, such as 3s".to_owned()),
    }
}

/// Writes a duration as Go does: `3s`, `1m30s`, `1.5s`, `500ms`, `250µs`.
#[must_use]
pub fn format(length: Duration) -> String {
    let nanoseconds = length.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    if nanoseconds < 1_000_000_000 {
        let (scale, unit) = match nanoseconds {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "\u{b5}s"),
            _ => (1_000_000, "ms"),
        };
        let _ = write!(text, "{}{unit}", decimal(nanoseconds, scale));
        return text;
    }
    let seconds = length.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let rest = nanoseconds % 60_000_000_000;
    let _ = write!(text, "{}s", decimal(rest, 1_000_000_000));
    text
}

/// Writes a duration as [`format()`] does, rounded down to a multiple of `unit`, which must be
/// shorter than a second.
#[must_use]
pub fn format_to(length: Duration, unit: Duration) -> String {
    let unit = unit.subsec_nanos().max(1);
    let rounded = length.subsec_nanos() / unit * unit;
    format(Duration::new(length.as_secs(), rounded))
}

/// Writes `value / scale` without trailing zeros. `scale` is a power of ten.
fn decimal(value: u128, scale: u128) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.to_string().len() - 1;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_own_examples_have_go_s_values() {
        let good: [(&str, i128); 24] = [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.004s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("9223372036854775807ns", i64::MAX.into()),
            ("0.100000000000000000000h", 360_000_000_000),
        ];
        for (text, nanoseconds) in good {
            let (negative, length) = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let value = i128::try_from(length.as_nanos()).unwrap();
            let value = if negative { -value } else { value };
            assert_eq!(value, nanoseconds, "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_an_example() {
        let bad = [
            "",
            "3",
            "-",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "1d",
            "1.5",
            "3 s",
            " 3s",
            "3s ",
            "1e3s",
            "1s2",
            "--1s",
            "1\u{442}s",
            "0x1s",
            "3S",
        ];
        for text in bad {
            let error = parse(text).expect_err(text);
            assert!(error.contains("500ms"), "{text}: {error}");
        }
        for text in [
            "9223372036854775808ns",
            "9223372036854775.808us",
            "3000000h",
            "99999999999999999999s",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("292 years"), "{text}: {error}");
        }
    }

    #[test]
    fn a_timeout_must_be_longer_than_zero() {
        for text in ["0", "0s", "-1s", "-0"] {
            assert!(
                parse_positive(text)
                    .unwrap_err()
                    .contains("longer than zero")
            );
        }
        assert_eq!(parse_positive("1ns"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn durations_are_written_as_in_go() {
        let table = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (500_000_000, "500ms"),
            (3_000_000_000, "3s"),
            (3_300_000_000, "3.3s"),
            (90_000_000_000, "1m30s"),
            (245_001_000_000, "4m5.001s"),
            (3_600_000_000_000, "1h0m0s"),
        ];
        for (nanoseconds, text) in table {
            assert_eq!(format(Duration::from_nanos(nanoseconds)), text);
        }
    }
}

//! A duration in Go's notation, compared with a second computation in floating point.

use std::time::Duration;

use program::duration::{format, parse, parse_positive};

const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

/// Takes any bytes. Bytes that are not UTF-8 are replaced as the flags replace them.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse(&text) {
        Ok((negative, length)) => {
            assert_eq!(negative, text.starts_with('-'));
            assert!(length.as_nanos() <= u128::from(u64::MAX / 2));
            is_near(&text, length);
            assert_eq!(parse(&format(length)), Ok((false, length)));
            let positive = parse_positive(&text);
            assert_eq!(positive.is_ok(), !negative && !length.is_zero());
            adds_up(&text, length);
        }
        Err(error) => {
            assert!(
                error.contains("500ms") || error.contains("292 years"),
                "{error}"
            );
            assert!(parse_positive(&text).is_err());
        }
    }
}

/// Checks the length against the sum of its parts in floating point.
fn is_near(text: &str, length: Duration) {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return;
    }
    let (mut sum, mut parts) = (0.0, 0.0);
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let unit_at = rest.find(|c| !is_number(c)).expect("a unit");
        let (number, after) = rest.split_at(unit_at);
        let unit_end = after.find(is_number).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .expect("a unit")
            .1;
        sum += number.parse::<f64>().expect("a number") * scale;
        parts += 1.0;
        rest = after;
    }
    let seconds = length.as_secs_f64();
    // Each part is truncated to a nanosecond, and a double has 53 bits.
    let allowed = 1e-9 * (parts + 1.0) + seconds * 1e-12;
    assert!(
        (sum / 1e9 - seconds).abs() <= allowed,
        "{text:?}: {length:?}"
    );
}

/// Checks that a duration written twice is twice as long.
fn adds_up(text: &str, length: Duration) {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return;
    }
    let twice = parse(&format!("{unsigned}{unsigned}"));
    match length
        .checked_mul(2)
        .filter(|sum| sum.as_nanos() <= u128::from(u64::MAX / 2))
    {
        Some(sum) => assert_eq!(twice, Ok((false, sum))),
        None => assert!(twice.is_err()),
    }
}

//! Splits a moment into a date and a time of day in UTC.
//!
//! Rejected: the packages `time`, `chrono` and `jiff`, which do far more. This needs a few
//! divisions and one well-known algorithm.

use std::time::{SystemTime, UNIX_EPOCH};

/// A date and a time of day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Year of the Gregorian calendar.
    pub year: u64,
    /// Month, from 1.
    pub month: u64,
    /// Day of the month, from 1.
    pub day: u64,
    /// Hour, from 0.
    pub hour: u64,
    /// Minute.
    pub minute: u64,
    /// Second.
    pub second: u64,
    /// Microsecond.
    pub microsecond: u32,
    /// Day of the week, in HTTP's three letters.
    pub weekday: &'static str,
}

impl From<SystemTime> for Utc {
    /// A moment before 1970 becomes the beginning of 1970, because a wrong clock must not cause a
    /// panic.
    fn from(time: SystemTime) -> Utc {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        let days = seconds / SECONDS_PER_DAY;
        let (year, month, day) = civil(days);
        Utc {
            weekday: usize::try_from(days % 7).map_or("", |day| DAYS[day]),
            year,
            month,
            day,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            microsecond: since.subsec_micros(),
        }
    }
}

impl Utc {
    /// The form of RFC 3339 with milliseconds: `2026-11-20T09:12:12.172Z`.
    #[must_use]
    pub fn rfc3339(&self) -> String {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
            self.microsecond / 1000
        )
    }

    /// The form of HTTP's `Date` (RFC 9110, section 5.6.7): `Fri, 20 Nov 2026 09:12:12 GMT`.
    #[must_use]
    pub fn http(&self) -> String {
        let month = usize::try_from(self.month - 1).map_or("", |month| MONTHS[month]);
        format!(
            "{}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
            self.weekday, self.day, self.year, self.hour, self.minute, self.second
        )
    }
}

const SECONDS_PER_DAY: u64 = 86_400;

/// The days of the week, from that of 1970-01-01.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Converts days since 1970-01-01 to year, month and day. This is Howard Hinnant's
/// `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>), without negative
/// days. Its years begin in March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let era = days / 146_097; // of 400 years
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_are_written_as_date_prints_them() {
        // date -u -d @SECONDS +%FT%TZ
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_078_012_799, "2004-02-28T23:59:59.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_795_165_932, "2026-11-20T09:12:12.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc::from(time).rfc3339(), text);
        }
        // date -u -R -d @SECONDS
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_165_932, "Fri, 20 Nov 2026 09:12:12 GMT"),
            (253_402_300_800, "Sat, 01 Jan 10000 00:00:00 GMT"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc::from(time).http(), text);
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Utc::from(before).rfc3339(), "1970-01-01T00:00:00.000Z");
    }
}

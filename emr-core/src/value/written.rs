//! Numbers and dates that keep the text in which they were written.

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;

/// The text is not a decimal or not a date-time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: write it as {form}")]
pub struct ValueError {
    what: &'static str,
    text: String,
    form: &'static str,
}

/// A number kept as it was written: `1.50` stays `1.50`, `1e400` stays `1e400`.
///
/// The text of a JSON number (RFC 8259, section 6), at most [`Decimal::MAX_BYTES`] long. Two decimals are equal when
/// their texts are: `1.5` and `1.50` differ, as they do in FHIR.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(Box<str>);

/// A date, or a date with a time and a zone, kept as it was written.
///
/// `YYYY-MM-DD`, or `YYYY-MM-DDThh:mm:ss` with an optional fraction and then `Z` or `+hh:mm` or `-hh:mm`: FHIR's
/// dateTime from the full date on. The day exists in the calendar; second 60 is allowed. At most
/// [`DateTime::MAX_BYTES`] long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DateTime(Box<str>);

impl Decimal {
    /// The longest text.
    pub const MAX_BYTES: usize = 1024;

    /// The number as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_valid(text: &str) -> bool {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
    }
}

impl DateTime {
    /// The longest text.
    pub const MAX_BYTES: usize = 64;

    /// The date-time as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_valid(text: &str) -> bool {
        match text.split_once('T') {
            None => is_date(text),
            Some((date, time)) => is_date(date) && is_zoned_time(time),
        }
    }
}

/// A number of exactly `width` digits within a range.
fn number(text: &str, width: usize, range: std::ops::RangeInclusive<u16>) -> Option<u16> {
    let digits = text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && range.contains(n))
}

fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut part = |width, range| parts.next().and_then(|p| number(p, width, range));
    let (Some(year), Some(month), Some(day)) = (part(4, 1..=9999), part(2, 1..=12), part(2, 1..=31)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u16::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    day <= last
}

fn is_zoned_time(text: &str) -> bool {
    let Some((time, zone)) = text.find(['Z', '+', '-']).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let mut parts = time.split(':');
    let mut part = |range| parts.next().is_some_and(|p| number(p, 2, range).is_some());
    let clock = part(0..=23) && part(0..=59) && part(0..=60) && parts.next().is_none();
    let fraction = fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
    let zone = match zone.strip_prefix(['+', '-']) {
        Some(offset) => offset
            .split_once(':')
            .is_some_and(|(hours, minutes)| number(hours, 2, 0..=14).is_some() && number(minutes, 2, 0..=59).is_some()),
        None => zone == "Z",
    };
    clock && fraction && zone
}

macro_rules! kept_as_written {
    ($name:ident, $what:literal, $form:literal) => {
        impl $name {
            /// The same as parsing, without an error to make: most texts of a document are neither.
            pub(crate) fn read(text: &str) -> Option<Self> {
                (text.len() <= Self::MAX_BYTES && Self::is_valid(text)).then(|| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;
            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }

        impl std::str::FromStr for $name {
            type Err = ValueError;
            fn from_str(text: &str) -> Result<Self, ValueError> {
                Self::read(text).ok_or_else(|| ValueError { what: $what, text: excerpt(text, 40), form: $form })
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.into()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

kept_as_written!(Decimal, "decimal", "12, -0.50 or 6.02e23");
kept_as_written!(DateTime, "date-time", "2024-02-29 or 2024-02-29T08:30:00+01:00");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_json_numbers_as_written() -> Result<(), ValueError> {
        for text in ["0", "-0", "1.50", "1e400", "-12.0E+7", "123456789012345678901234567890", "0.0000"] {
            assert_eq!(text.parse::<Decimal>()?.as_str(), text);
        }
        for text in
            ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "0x10", "1_000", " 1", "NaN", "1.5.2", "1e4e4", "\u{661}"]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
        assert!("9".repeat(Decimal::MAX_BYTES).parse::<Decimal>().is_ok());
        assert!("9".repeat(Decimal::MAX_BYTES + 1).parse::<Decimal>().is_err_and(|e| e.to_string().len() < 120));
        Ok(())
    }

    #[test]
    fn date_times_exist_and_have_a_zone() -> Result<(), ValueError> {
        for text in ["2024-02-29", "2000-02-29", "2016-12-31T23:59:60Z", "2015-02-07T13:28:17.239+02:00", "0001-01-01"]
        {
            assert_eq!(text.parse::<DateTime>()?.as_str(), text);
        }
        for text in [
            "",
            "2024",
            "2024-02",
            "2023-02-29",
            "1900-02-29",
            "2024-04-31",
            "2024-13-01",
            "2024-00-10",
            "2024-1-01",
            "24-01-01",
            "2024-01-01T",
            "2024-01-01T10:00:00",
            "2024-01-01T10:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T10:00:00.Z",
            "2024-01-01T10:00:00+1:00",
            "2024-01-01T10:00:00+15:00",
            "2024-01-01T10:00:00z",
            "2024-01-01 10:00:00Z",
            "2024-01-01Z",
            "+024-01-01",
        ] {
            assert!(text.parse::<DateTime>().is_err(), "{text}");
        }
        Ok(())
    }
}

//! Dates and times as DICOM writes them (PS3.5, section 6.2).

use crate::value::Value;

/// The value of a date (DA): `YYYYMMDD`, or `YYYY.MM.DD` as in older files.
pub(super) fn date(written: &str) -> Value {
    let digits = written.replace('.', "");
    value(dashed(&digits), written)
}

/// The value of a date with a time (DT): `YYYYMMDDHHMMSS.FFFFFF&ZZXX`, which may be cut off after each part. `offset` is
/// the offset from UTC that the file states for all times without one.
pub(super) fn date_time(written: &str, offset: Option<&str>) -> Value {
    let (local, own_offset) = match written.find(['+', '-']) {
        Some(at) => (&written[..at], Some(&written[at..])),
        None => (written, None),
    };
    match (local.get(..8), local.get(8..)) {
        (Some(_), Some("")) | (None, _) => date(local),
        (Some(day), Some(time)) => {
            let zoned = || Some(format!("{}T{}{}", dashed(day)?, clock(time)?, zone(own_offset.or(offset)?)?));
            value(zoned(), written)
        }
        (Some(_), None) => Value::Text(written.to_owned()),
    }
}

/// A date-time if there is one that exists. Otherwise the text as written.
fn value(date_time: Option<String>, written: &str) -> Value {
    match date_time.and_then(|text| text.parse().ok()) {
        Some(date_time) => Value::DateTime(date_time),
        None => Value::Text(written.to_owned()),
    }
}

/// `YYYYMMDD` as `YYYY-MM-DD`.
fn dashed(digits: &str) -> Option<String> {
    Some(format!("{}-{}-{}", digits.get(..4)?, digits.get(4..6)?, digits.get(6..)?))
}

/// `HHMMSS` with an optional fraction as `HH:MM:SS`.
fn clock(time: &str) -> Option<String> {
    Some(format!("{}:{}:{}", time.get(..2)?, time.get(2..4)?, time.get(4..)?))
}

/// `&ZZXX` as `&ZZ:XX`.
fn zone(offset: &str) -> Option<String> {
    Some(format!("{}:{}", offset.get(..3)?, offset.get(3..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_exist_become_date_times() -> Result<(), crate::value::ValueError> {
        for (written, expected) in [("20240229", "2024-02-29"), ("1997.04.24", "1997-04-24")] {
            assert_eq!(date(written), Value::DateTime(expected.parse()?));
        }
        for written in ["20230229", "2024", "202402", "2024022", "202402291", "+0240229", "\u{e9}0240229", "today"] {
            assert_eq!(date(written), Value::Text(written.into()));
        }
        for (written, offset, expected) in [
            ("20240229", None, "2024-02-29"),
            ("20240229123456+0100", None, "2024-02-29T12:34:56+01:00"),
            ("20240229123456.123456-0530", Some("+0000"), "2024-02-29T12:34:56.123456-05:30"),
            ("20240229123456.5", Some("+0200"), "2024-02-29T12:34:56.5+02:00"),
        ] {
            assert_eq!(date_time(written, offset), Value::DateTime(expected.parse()?));
        }
        for written in [
            "20240229123456",
            "2024022912",
            "20240229123456+01",
            "20240229123456+",
            "20240229256161+0100",
            "2024\u{e9}9",
        ] {
            assert_eq!(date_time(written, None), Value::Text(written.into()));
        }
        Ok(())
    }
}

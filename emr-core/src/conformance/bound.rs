//! Comparison of decimals with bounds, exactly as they are written.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::value::Decimal;

/// An end of a range: a decimal whose exponent fits 32 bits.
///
/// Any decimal can be compared with it exactly: the texts are compared, and never rounded to a float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Decimal", into = "Decimal")]
pub struct Bound(Decimal);

/// A closed range of numbers. In JSON: `{"low": "0", "high": "2000"}`; each end may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The lowest number that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<Bound>,
    /// The highest number that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<Bound>,
}

/// The exponent of a bound is too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has too large an exponent for the end of a range: write a smaller one")]
pub struct NotABound(Decimal);

impl Bound {
    /// The bound as written.
    pub const fn as_decimal(&self) -> &Decimal {
        &self.0
    }
}

impl TryFrom<Decimal> for Bound {
    type Error = NotABound;
    fn try_from(decimal: Decimal) -> Result<Self, NotABound> {
        if i32::try_from(Parts::of(&decimal).exponent).is_ok() { Ok(Self(decimal)) } else { Err(NotABound(decimal)) }
    }
}

impl From<Bound> for Decimal {
    fn from(bound: Bound) -> Self {
        bound.0
    }
}

impl Range {
    /// Whether a number is within the range.
    pub fn contains(&self, value: &Decimal) -> bool {
        let value = Parts::of(value);
        let not_below = |low: &Bound| value.compare(&Parts::of(&low.0)) != Ordering::Less;
        let not_above = |high: &Bound| value.compare(&Parts::of(&high.0)) != Ordering::Greater;
        self.low.as_ref().is_none_or(not_below) && self.high.as_ref().is_none_or(not_above)
    }

    /// Whether no number is within the range.
    pub(super) fn is_empty(&self) -> bool {
        match (&self.low, &self.high) {
            (Some(low), Some(high)) => Parts::of(&low.0).compare(&Parts::of(&high.0)) == Ordering::Greater,
            _ => false,
        }
    }
}

/// For people: `0 to 2000`, `at least 0`, `at most 14`, `any number`.
impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.low, &self.high) {
            (Some(low), Some(high)) => write!(f, "{} to {}", low.0, high.0),
            (Some(low), None) => write!(f, "at least {}", low.0),
            (None, Some(high)) => write!(f, "at most {}", high.0),
            (None, None) => f.write_str("any number"),
        }
    }
}

/// A number as `0.DIGITS` times ten to a power.
struct Parts {
    is_negative: bool,
    /// Without zeros at its ends; empty for zero.
    digits: Vec<u8>,
    /// The power of ten: `1` is 0.1 times ten to the first. A power that does not fit 64 bits becomes one beyond every bound.
    exponent: i128,
}

impl Parts {
    fn of(decimal: &Decimal) -> Self {
        let text = decimal.as_str();
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        digits.truncate(digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1));
        if digits.is_empty() {
            return Self { is_negative: false, digits, exponent: 0 };
        }
        let beyond = if power.starts_with('-') { i128::from(i64::MIN) } else { i128::from(i64::MAX) };
        let power = power.parse::<i64>().map_or(beyond, i128::from);
        // A decimal has at most 1,024 characters.
        Self { is_negative, digits, exponent: power + whole.len() as i128 - leading as i128 }
    }

    /// Exact if one of the two is a bound.
    fn compare(&self, other: &Self) -> Ordering {
        let sign = |parts: &Self| match (parts.digits.is_empty(), parts.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = || self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            -1 => magnitude().reverse(),
            _ => magnitude(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn compare(a: &str, b: &str) -> Result<Ordering, Box<dyn std::error::Error>> {
        Ok(Parts::of(&a.parse()?).compare(&Parts::of(&Decimal::from(Bound::try_from(b.parse::<Decimal>()?)?))))
    }

    #[test]
    fn decimals_compare_as_written() -> Outcome {
        use Ordering::{Equal, Greater, Less};
        for (a, b, order) in [
            ("1.50", "1.5", Equal),
            ("150e-2", "1.5", Equal),
            ("0.015E2", "1.5", Equal),
            ("0", "-0.000", Equal),
            ("-0e99", "0", Equal),
            ("9", "10", Less),
            ("-9", "-10", Greater),
            ("-1", "1", Less),
            ("0.1", "0.09", Greater),
            ("1e3", "999.999", Greater),
            // A float holds neither of these two numbers, and calls them equal.
            ("2000.00000000000000001", "2000", Greater),
            ("9007199254740993", "9007199254740992", Greater),
            ("0.30000000000000000001", "0.3", Greater),
            // Beyond every float.
            ("1e400", "1e399", Greater),
            ("-1e400", "-1e399", Less),
            ("1e-400", "0", Greater),
            // Beyond 64 bits of exponent.
            ("1e99999999999999999999999999999", "1e2147483000", Greater),
            ("-1e99999999999999999999999999999", "0", Less),
            ("1e-99999999999999999999999999999", "1e-2147483000", Less),
            ("1e-99999999999999999999999999999", "0", Greater),
            ("0e99999999999999999999999999999", "0", Equal),
        ] {
            assert_eq!(compare(a, b)?, order, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn a_range_includes_its_ends_and_its_ends_are_bounds() -> Outcome {
        let range: Range = serde_json::from_str(r#"{"low": "0", "high": "2000"}"#)?;
        for (value, inside) in [
            ("0", true),
            ("-0", true),
            ("2000.0", true),
            ("2e3", true),
            ("2000.0000000000000000001", false),
            ("-1e-300", false),
        ] {
            assert_eq!(range.contains(&value.parse()?), inside, "{value}");
        }
        assert!(!range.is_empty());
        assert!(serde_json::from_str::<Range>(r#"{"low": "2", "high": "1.99"}"#)?.is_empty());
        // A JSON number would pass through a float.
        for refused in [r#"{"low": 0}"#, r#"{"low": "1e2147483648"}"#, r#"{"low": "x"}"#, r#"{"lo": "1"}"#] {
            assert!(serde_json::from_str::<Range>(refused).is_err(), "{refused}");
        }
        Ok(())
    }

    proptest! {
        /// Against whole numbers of 128 bits at a common scale.
        #[test]
        fn agrees_with_integers(a in any::<i64>(), b in any::<i64>(), up in 0_u32..18, down in 0_usize..30) {
            let scaled = |n: i64| i128::from(n) * 10_i128.pow(up);
            let text = |n: i64| format!("{n}{}e-{down}", "0".repeat(down));
            let plain = |n: i64| format!("{n}e{up}");
            let expected = scaled(a).cmp(&i128::from(b));
            prop_assert_eq!(compare(&plain(a), &text(b)).ok(), Some(expected));
        }
    }
}

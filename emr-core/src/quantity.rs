//! Quantities that must not be confused with one another. Each type knows its width in bits in packed leaves and in the
//! circuit (`docs/encoding.md`).

use serde::{Deserialize, Serialize};

/// A value does not fit the width of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not a valid {what}: it must be from {min} to {max}")]
pub struct OutOfRange {
    /// The quantity's name in prose.
    pub what: &'static str,
    /// The value that was given.
    pub value: u64,
    /// The least valid value.
    pub min: u64,
    /// The greatest valid value.
    pub max: u64,
}

macro_rules! quantity {
    ($(#[$meta:meta])* $name:ident($repr:ty), $bits:literal bits, $min:literal..=$max:expr, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($repr);

        impl $name {
            #[doc = concat!("Width of the packed field in bits: ", $bits, ".")]
            pub const BITS: u32 = $bits;
            #[doc = concat!("The least valid value: ", $min, ".")]
            pub const MIN: u64 = $min;
            /// The greatest valid value.
            pub const MAX: u64 = $max;

            /// Checks the range.
            ///
            /// # Errors
            /// Returns [`OutOfRange`] outside `MIN..=MAX`.
            pub const fn new(value: u64) -> Result<Self, OutOfRange> {
                // A value below MIN wraps around to one that is too large.
                if value.wrapping_sub(Self::MIN) > Self::MAX - Self::MIN {
                    return Err(OutOfRange { what: $what, value, min: Self::MIN, max: Self::MAX });
                }
                Ok(Self(value as $repr))
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0 as u64
            }

            /// The next number.
            ///
            /// # Errors
            /// Returns [`OutOfRange`] past `MAX`.
            pub const fn next(self) -> Result<Self, OutOfRange> {
                Self::new(self.0 as u64 + 1)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = OutOfRange;
            fn try_from(value: u64) -> Result<Self, OutOfRange> {
                Self::new(value)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> u64 {
                value.get()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = OutOfRange;
            fn from_str(text: &str) -> Result<Self, OutOfRange> {
                // A number too large for u64 is out of every range too.
                Self::new(text.parse().unwrap_or(u64::MAX))
            }
        }
    };
}

quantity!(
    /// Position of an account in the identity and medical trees. 0 is never assigned.
    AccountIndex(u32), 24 bits, 1..=0xff_ffff, "account index"
);
quantity!(
    /// Position in a patient's grants tree. Slots below [`GrantSlot::FIRST_ORDINARY`] are for break-glass grants.
    GrantSlot(u16), 10 bits, 0..=1023, "grant slot"
);
quantity!(
    /// Position in a patient's records tree.
    RecordSlot(u16), 16 bits, 0..=0xffff, "record slot"
);
quantity!(
    /// How often a record's content or a grant has been written. It is 1 after the first write.
    Version(u32), 32 bits, 0..=0xffff_ffff, "version"
);
quantity!(
    /// How often a record leaf has been written, re-encryption included.
    Revision(u32), 32 bits, 0..=0xffff_ffff, "revision"
);
quantity!(
    /// How often a grant has been used to request access.
    Uses(u32), 32 bits, 0..=0xffff_ffff, "use count"
);
quantity!(
    /// Generation of an account's keys and status. A message signed under an older epoch is no longer valid.
    AccountEpoch(u32), 32 bits, 0..=0xffff_ffff, "account epoch"
);
quantity!(
    /// Seconds since 1970-01-01T00:00:00Z.
    UnixTime(u64), 40 bits, 0..=0xff_ffff_ffff, "time"
);

macro_rules! zero {
    ($($name:ident),+) => { $(
        impl $name {
            /// Zero: not yet written, not yet used, or no time set.
            pub const ZERO: Self = Self(0);
        }
    )+ };
}

zero!(Version, Revision, Uses, AccountEpoch, UnixTime);

impl AccountEpoch {
    /// The epoch that registration gives.
    pub const FIRST: Self = Self(1);
}

impl GrantSlot {
    /// The first slot that `SetGrant` may use; those below belong to `BreakGlass`.
    pub const FIRST_ORDINARY: Self = Self(64);
}

impl UnixTime {
    /// The time `seconds` later, but at most [`UnixTime::MAX`].
    pub const fn saturating_add(self, seconds: u64) -> Self {
        let sum = self.0.saturating_add(seconds);
        Self(if sum > Self::MAX { Self::MAX } else { sum })
    }

    /// The time by this machine's clock. A clock before 1970 gives 0.
    pub fn now() -> Self {
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self(seconds.min(Self::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_packed_fields() {
        assert!(AccountIndex::new(0).is_err());
        assert_eq!(AccountIndex::new((1 << AccountIndex::BITS) - 1).map(u64::from), Ok(0xff_ffff));
        assert!(AccountIndex::new(1 << AccountIndex::BITS).is_err());
        assert!(GrantSlot::new(1024).is_err());
        assert_eq!(UnixTime::MAX, (1 << UnixTime::BITS) - 1);
        assert!(Version::new(u64::from(u32::MAX)).is_ok_and(|v| v.next().is_err()));
        assert!("18446744073709551616".parse::<RecordSlot>().is_err());
        assert!("x".parse::<RecordSlot>().is_err());
    }

    #[test]
    fn json_refuses_the_values_that_new_refuses() {
        assert!(serde_json::from_str::<AccountIndex>("0").is_err());
        assert_eq!(serde_json::from_str::<RecordSlot>("7").ok().map(RecordSlot::get), Some(7));
    }
}

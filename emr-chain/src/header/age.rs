//! How old the newest block may be. Pure.
//!
//! An Ethereum node that shows an old block hides everything that was settled since: a revoked grant looks valid. On a
//! development chain the age says nothing, because such a chain makes blocks on demand.

use std::fmt;

use emr_core::UnixTime;

use super::Answers;
use crate::DEVELOPMENT_CHAINS;

/// The greatest age of the newest block, in seconds. Ethereum makes a block every 12 s, and has left out more than a few
/// in a row only when its consensus failed.
pub const OLDEST: u64 = 30 * 60;
/// How far the newest block's time may be ahead of this machine's clock, in seconds.
pub const AHEAD: u64 = 60;

/// The time from a block to the clock, in seconds. Negative if the block is ahead of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(i64);

impl Age {
    /// The age at `now` of a block with this time.
    pub fn of(block_time: u64, now: UnixTime) -> Self {
        let now = i64::try_from(now.get()).unwrap_or(i64::MAX);
        Self(now.saturating_sub(i64::try_from(block_time).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.unsigned_abs();
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} minutes", seconds / 60),
            7_200..172_800 => write!(f, "{} hours", seconds / 3_600),
            _ => write!(f, "{} days", seconds / 86_400),
        }?;
        f.write_str(if self.0 < 0 { " ahead of this machine's clock" } else { " old" })
    }
}

/// The newest block's time does not fit the clock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderAgeError {
    /// The block is too old.
    #[error(
        "the newest block on L1 is {age}, and more than 30 minutes are not accepted, because what was revoked since would look valid \
         ({answers}): wait until the Ethereum node has caught up, name another one with --rpc, or correct this machine's clock"
    )]
    Old {
        /// Its age.
        age: Age,
        /// What each Ethereum node said.
        answers: Answers,
    },
    /// The block is from the future.
    #[error(
        "the newest block on L1 is {age} ({answers}): correct this machine's clock; if the clock is right, the Ethereum node lies: name \
         another one with --rpc"
    )]
    Ahead {
        /// Its age, which is negative.
        age: Age,
        /// What each Ethereum node said.
        answers: Answers,
    },
}

/// Whether the age of the newest block counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderAge {
    /// It must be at most [`OLDEST`], and at most [`AHEAD`] in the future.
    Checked,
    /// It does not count. For development chains.
    Unchecked,
}

impl HeaderAge {
    /// The rule for a chain.
    pub fn of_chain(chain_id: u64) -> Self {
        if DEVELOPMENT_CHAINS.contains(&chain_id) { Self::Unchecked } else { Self::Checked }
    }

    /// Compares the time of the newest block with the clock.
    ///
    /// # Errors
    /// Returns [`HeaderAgeError`] if the block is too old, or from the future.
    pub fn check(self, block_time: u64, answers: &Answers, now: UnixTime) -> Result<(), HeaderAgeError> {
        let age = Age::of(block_time, now);
        let answers = || answers.clone();
        match self {
            Self::Checked if age.0 > OLDEST as i64 => Err(HeaderAgeError::Old { age, answers: answers() }),
            Self::Checked if age.0 < -(AHEAD as i64) => Err(HeaderAgeError::Ahead { age, answers: answers() }),
            Self::Checked | Self::Unchecked => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: HeaderAge, block_time: u64) -> Result<(), HeaderAgeError> {
        let now = UnixTime::new(1_800_000_000).expect("a time");
        rule.check(block_time, &Answers::default(), now)
    }

    #[test]
    fn a_block_may_be_half_an_hour_old_and_a_minute_ahead() {
        const NOW: u64 = 1_800_000_000;
        for good in [NOW, NOW - 12, NOW - OLDEST, NOW + AHEAD] {
            assert_eq!(check(HeaderAge::Checked, good), Ok(()), "{good}");
        }
        for old in [NOW - OLDEST - 1, NOW - 86_400, 1, 0] {
            assert!(matches!(check(HeaderAge::Checked, old), Err(HeaderAgeError::Old { .. })), "{old}");
        }
        for ahead in [NOW + AHEAD + 1, NOW + 86_400, u64::MAX] {
            assert!(matches!(check(HeaderAge::Checked, ahead), Err(HeaderAgeError::Ahead { .. })), "{ahead}");
        }
        for any in [0, NOW, u64::MAX] {
            assert_eq!(check(HeaderAge::Unchecked, any), Ok(()));
        }
    }

    #[test]
    fn errors_say_how_old_and_what_to_do() {
        let old = check(HeaderAge::Checked, 1_800_000_000 - 2_400).map_err(|error| error.to_string());
        assert!(old.is_err_and(|text| text.contains("40 minutes old") && text.contains("--rpc")));
        let ahead = check(HeaderAge::Checked, 1_800_000_000 + 7_200).map_err(|error| error.to_string());
        assert!(
            ahead.is_err_and(|text| text.contains("2 hours ahead") && text.contains("correct this machine's clock"))
        );
    }

    #[test]
    fn only_development_chains_have_no_age() {
        assert_eq!([31337, 1337, 1, 11_155_111].map(HeaderAge::of_chain), {
            use HeaderAge::{Checked, Unchecked};
            [Unchecked, Unchecked, Checked, Checked]
        });
    }
}

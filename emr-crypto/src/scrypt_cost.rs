//! How much work a guess of a passphrase takes.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// The accepted values of log2 N: from 1 MiB to 1 GiB of memory.
pub(crate) const LOG_N: RangeInclusive<u8> = 10..=20;
/// The smallest N that is chosen for a machine, as log2: 32 MiB.
const LEAST: u8 = 15;

/// How much work each guess of the passphrase takes: scrypt's N (RFC 7914), with r = 8 and p = 1. The file states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScryptCost {
    /// N = 2^17, as OWASP recommends: 128 MiB, about half a second.
    #[default]
    Standard,
    /// N = 2^10: 1 MiB, milliseconds. For tests and throw-away identities only.
    Development,
    /// Measured on a machine, or read from a file.
    Measured(LogN),
}

/// log2 of scrypt's N: 10 to 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogN(u8);

impl LogN {
    /// Checks the range. `None` outside 10 to 20.
    pub fn new(log_n: u8) -> Option<Self> {
        LOG_N.contains(&log_n).then_some(Self(log_n))
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl ScryptCost {
    /// The greatest cost whose derivation takes at most `target` on this machine, from N = 2^15 (32 MiB) to N = 2^20 (1 GiB). Measuring takes
    /// up to twice the target, because each size is tried.
    ///
    /// A busy machine gets a lower cost than an idle one.
    pub fn calibrated(target: Duration) -> Self {
        let measure = |log_n| {
            let started = Instant::now();
            derive(b"calibration", &[0; 32], log_n);
            started.elapsed()
        };
        Self::Measured(LogN(greatest_within(target, measure)))
    }

    /// log2 of N.
    pub const fn log_n(self) -> u8 {
        match self {
            Self::Standard => 17,
            Self::Development => 10,
            Self::Measured(log_n) => log_n.0,
        }
    }

    /// The memory that one derivation takes, in bytes: 128 r N.
    pub const fn memory(self) -> u64 {
        1024 << self.log_n()
    }

    /// The greater one of two costs.
    #[must_use]
    pub const fn at_least(self, other: Self) -> Self {
        if other.log_n() > self.log_n() { other } else { self }
    }
}

/// The work doubles with each step, so the next size is tried only if twice the last time is within the target.
fn greatest_within(target: Duration, mut measure: impl FnMut(u8) -> Duration) -> u8 {
    let mut log_n = LEAST;
    let mut took = measure(log_n);
    while log_n < *LOG_N.end() && took.saturating_mul(2) <= target {
        let next = measure(log_n + 1);
        if next > target {
            break;
        }
        (log_n, took) = (log_n + 1, next);
    }
    log_n
}

/// The key of a passphrase: scrypt with r = 8, p = 1 and 32 bytes of output.
pub(crate) fn derive(passphrase: &[u8], salt: &[u8], log_n: u8) -> Zeroizing<[u8; 32]> {
    let params = scrypt::Params::new(log_n, 8, 1).expect("within bounds");
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase, salt, &params, &mut *key).expect("32 bytes is a valid length");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that takes this long for N = 2^15, and a little more than twice as long for each next size, as real ones do.
    fn machine(smallest: Duration) -> impl FnMut(u8) -> Duration {
        move |log_n| smallest.mul_f64(2.1_f64.powi(i32::from(log_n) - i32::from(LEAST)))
    }

    #[test]
    fn a_quick_machine_works_more_and_never_longer_than_the_target() {
        let second = Duration::from_secs(1);
        for (smallest, chosen) in [(4000, 15), (999, 15), (400, 16), (100, 18), (50, 19), (1, 20)] {
            let found = greatest_within(second, machine(Duration::from_millis(smallest)));
            assert_eq!(found, chosen, "{smallest} ms");
            assert!(found == LEAST || machine(Duration::from_millis(smallest))(found) <= second);
        }
        assert_eq!(greatest_within(Duration::ZERO, machine(second)), LEAST);
        assert_eq!(greatest_within(Duration::MAX, machine(second)), *LOG_N.end());
    }

    #[test]
    fn this_machine_has_a_cost() {
        let started = Instant::now();
        let cost = ScryptCost::calibrated(Duration::from_millis(1));
        assert_eq!(cost.log_n(), LEAST, "it took {:?}", started.elapsed());
        assert_eq!(cost.memory(), 32 << 20);
    }

    #[test]
    fn the_greater_cost_wins() {
        let measured = |log_n| ScryptCost::Measured(LogN(log_n));
        assert_eq!(measured(18).at_least(ScryptCost::Standard), measured(18));
        assert_eq!(measured(15).at_least(ScryptCost::Standard), ScryptCost::Standard);
        assert_eq!(LogN::new(9), None);
        assert_eq!(LogN::new(21), None);
        assert_eq!(LogN::new(20).map(LogN::get), Some(20));
    }

    /// RFC 7914, section 12, has no vector with p = 1 and 32 bytes. Computed with Python:
    /// `hashlib.scrypt(b"pleaseletmein", salt=b"SodiumChloride", n=2**14, r=8, p=1, dklen=32)`, the first half of the RFC's third vector.
    #[test]
    fn the_key_is_scrypt() {
        let known = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2";
        assert_eq!(hex::encode(*derive(b"pleaseletmein", b"SodiumChloride", 14)), known);
    }
}

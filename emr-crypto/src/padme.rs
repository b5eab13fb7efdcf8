//! Padmé: padding that hides lengths at a cost of at most 12%.
//!
//! Nikitin, Barman, Lueks, Underwood, Hubaux, Ford, "Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", PoPETs 2019, section 4.3: a length is rounded up so that its binary form has no more
//! significant bits than its exponent needs. A ciphertext of up to M bytes then shows O(log log M) bits of its length.

/// The padded length for `length` bytes: at least `length`, at most 12% more.
///
/// A length within 2^58 of `u64::MAX` stays unchanged. No content is that long.
pub fn padded_length(length: u64) -> u64 {
    let Some(exponent) = length.checked_ilog2() else { return length };
    let significant = exponent.checked_ilog2().map_or(1, |log| log + 1);
    let mask = (1_u64 << exponent.saturating_sub(significant)) - 1;
    length.checked_add(mask).map_or(length, |sum| sum & !mask)
}

/// The padded length of data in memory, or `least` if that is more.
pub(crate) fn padded(length: usize, least: usize) -> usize {
    let padded = usize::try_from(padded_length(length as u64)).expect("what fits in memory fits padded");
    padded.max(least)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computed by another program from the paper's algorithm 1 (floor(log2 L), floor(log2 E) + 1 significant bits).
    #[test]
    fn lengths_of_the_paper() {
        for (length, padded) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (7, 7),
            (8, 8),
            (9, 10),
            (15, 16),
            (16, 16),
            (17, 18),
            (99, 104),
            (129, 144),
            (1000, 1024),
            (1025, 1088),
            (65_537, 67_584),
            (1_000_000, 1_015_808),
            (1_048_577, 1_081_344),
            (1_000_000_000, 1_006_632_960),
        ] {
            assert_eq!(padded_length(length), padded, "{length}");
        }
        assert_eq!(padded_length(u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn pads_up_by_at_most_an_eighth_keeping_order(a in 0_u64..1 << 56, b in 0_u64..1 << 56) {
            let padded = padded_length(a);
            prop_assert!(padded >= a && u128::from(padded - a) * 100 <= u128::from(a) * 12);
            prop_assert_eq!(padded_length(padded), padded);
            prop_assert!(a > b || padded <= padded_length(b));
        }
    }
}

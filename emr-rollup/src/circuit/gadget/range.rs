//! Range checks: words as running sums of two-bit digits, on the S-box rows of permutations.

use halo2curves::ff::Field;

use super::schedule::ROWS;
use crate::{
    circuit::{
        builder::{Builder, Wire},
        config::{RANGE_COLUMNS, Selector},
        origin::Origin,
    },
    primitive::field::Fr,
};

/// Digits that the S-box rows of one permutation hold.
const DIGITS: usize = ROWS - 2;
/// The widest word that one check takes, in bits.
pub(in crate::circuit) const WORD_BITS: u32 = 2 * DIGITS as u32;

#[derive(Clone, Copy, Debug)]
struct Word {
    wire: Wire,
    bits: u32,
    origin: Origin,
}

/// Words that wait for their rows, and permutations that offer theirs.
#[derive(Debug, Default)]
pub(in crate::circuit) struct RangeQueue {
    words: Vec<Word>,
    hosts: Vec<u32>,
}

impl RangeQueue {
    /// Notes that the S-box rows from here on have their range columns free.
    pub(in crate::circuit) fn offer(&mut self, first: u32) {
        self.hosts.push(first);
    }

    /// Lays out every word, two side by side.
    pub(in crate::circuit) fn lay_out(builder: &mut Builder) {
        let Self { words, hosts } = std::mem::take(&mut builder.ranges);
        let mut hosts = hosts.into_iter();
        for pair in words.chunks(RANGE_COLUMNS.len()) {
            let first = hosts.next().unwrap_or_else(|| builder.table.append(DIGITS + 1));
            for digit in 0..DIGITS as u32 {
                builder.table.select(first + digit, Selector::Range);
            }
            for (word, column) in pair.iter().zip(RANGE_COLUMNS) {
                builder.table.explain(first, first + DIGITS as u32, 1 << column, word.origin);
                builder.place_for(word.wire, first, column, word.origin);
                let digits = word.bits / 2;
                let bytes = crate::primitive::field::to_bytes(&builder.value(word.wire));
                let mut low = [0; 8];
                low.copy_from_slice(&bytes[24..]);
                let value = u64::from_be_bytes(low);
                for digit in 1..digits {
                    let rest = builder.propose(word.origin, "digits", Fr::from(value >> (2 * digit)));
                    builder.table.write(first + digit, column, rest);
                }
                builder.place_for(builder.zero(), first + digits, column, word.origin);
                for digit in digits + 1..=DIGITS as u32 {
                    builder.table.write(first + digit, column, Fr::ZERO);
                }
            }
        }
    }
}

impl Builder {
    /// Constrains a wire to be below `2^bits`.
    ///
    /// # Panics
    /// If `bits` is odd or 0.
    pub(in crate::circuit) fn assert_range(&mut self, wire: Wire, bits: u32) {
        assert!(bits.is_multiple_of(2) && bits > 0, "digits have two bits");
        if bits <= WORD_BITS {
            let origin = self.assertion();
            self.ranges.words.push(Word { wire, bits, origin });
            return;
        }
        let words = split(&self.value(wire), bits);
        let mut terms = Vec::with_capacity(words.len());
        let mut factor = Fr::ONE;
        for (value, width) in words {
            let word = self.hint("word", value);
            self.assert_range(word, width);
            terms.push((factor, word));
            factor *= Fr::from(1 << WORD_BITS);
        }
        self.assert_linear(&terms, Fr::ZERO, wire);
    }
}

/// The low `bits` of an element in words of at most [`WORD_BITS`], lowest first, with their widths.
fn split(element: &Fr, bits: u32) -> Vec<(Fr, u32)> {
    let bytes = crate::primitive::field::to_bytes(element);
    let bit = |i: u32| u64::from(bytes[31 - i as usize / 8] >> (i % 8) & 1);
    (0..bits.div_ceil(WORD_BITS))
        .map(|i| {
            let (from, to) = (i * WORD_BITS, bits.min((i + 1) * WORD_BITS));
            let value = (from..to).rev().fold(0, |word, i| word << 1 | bit(i));
            (Fr::from(value), to - from)
        })
        .collect()
}

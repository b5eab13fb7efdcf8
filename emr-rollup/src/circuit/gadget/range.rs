//! Range checks: words as running sums of two-bit digits, one below the other in the column that permutations leave free.

use std::ops::Range;

use halo2curves::ff::Field as _;

use super::constrained::{Bit, Field, Ranged};
use crate::{
    circuit::{
        builder::{Builder, Wire},
        config::{RANGE_COLUMN, Selector},
        origin::Origin,
        scope::Scope,
    },
    primitive::field::Fr,
};

/// The widest word that one check takes, in bits.
pub(in crate::circuit) const WORD_BITS: u32 = u64::BITS;

#[derive(Clone, Copy, Debug)]
struct Word {
    wire: Wire,
    bits: u32,
    origin: Origin,
}

/// Words that are not laid out yet, and rows whose range column is free for them.
#[derive(Debug, Default)]
pub(in crate::circuit) struct RangeQueue {
    words: Vec<Word>,
    free: Range<u32>,
}

impl RangeQueue {
    /// Offers rows whose range column is free.
    pub(in crate::circuit) fn offer(&mut self, rows: Range<u32>) {
        self.free = rows;
    }

    /// Lays out every word, on new rows if the free ones are used up. The last cell of each is the constant 0, and is not
    /// constrained by the rows below it.
    pub(in crate::circuit) fn lay_out(builder: &mut Builder) {
        let Self { words, free } = std::mem::take(&mut builder.ranges);
        let mut rest: u32 = words.iter().map(|word| word.bits / 2 + 1).sum();
        let Range { start: mut row, mut end } = free;
        for word in words {
            let digits = word.bits / 2;
            if end - row <= digits {
                row = builder.table.append(rest as usize);
                end = row + rest;
            }
            rest -= digits + 1;
            builder.table.explain(row, row + digits, 1 << RANGE_COLUMN, word.origin);
            let bytes = crate::primitive::field::to_bytes(&builder.value(word.wire));
            let mut low = [0; 8];
            low.copy_from_slice(&bytes[24..]);
            let value = u64::from_be_bytes(low);
            builder.place(word.wire, row, RANGE_COLUMN, word.origin);
            for digit in 0..digits {
                builder.table.select(row + digit, Selector::Range);
                if digit > 0 {
                    let rest = builder.propose(word.origin.part, "digits", Fr::from(value >> (2 * digit)));
                    builder.table.write(row + digit, RANGE_COLUMN, rest);
                }
            }
            builder.place(builder.zero(), row + digits, RANGE_COLUMN, word.origin);
            row += digits + 1;
        }
    }
}

impl Scope<'_> {
    /// Constrains a wire to be below `2^BITS`. BITS is even.
    pub(in crate::circuit) fn range<const BITS: u32>(&mut self, wire: Wire) -> Ranged<BITS> {
        const { assert!(BITS.is_multiple_of(2) && BITS > 0, "digits have two bits") };
        if BITS <= WORD_BITS {
            let origin = self.assertion();
            self.builder.ranges.words.push(Word { wire, bits: BITS, origin });
        } else {
            let mut words = Vec::new();
            for (value, bits) in split(&self.value(wire), BITS) {
                let word = self.hint("word", value);
                let origin = self.assertion();
                self.builder.ranges.words.push(Word { wire: word, bits, origin });
                words.push(Field { wire: word, bits });
            }
            self.spell::<BITS>(&words, wire);
        }
        Ranged::constrained(wire)
    }

    /// Counts up if the bit is 1, unless `x` is the last number of its range. Returns whether it counted, and the result.
    pub(in crate::circuit) fn count_if<const BITS: u32>(
        &mut self,
        inverse: &'static str,
        bit: impl Into<Bit>,
        x: Ranged<BITS>,
    ) -> (Bit, Ranged<BITS>) {
        const { assert!(BITS < u64::BITS) };
        let below = self.linear(&[(Fr::ONE, x.into())], -Fr::from((1 << BITS) - 1));
        let last = self.is_zero(inverse, below);
        let counts = self.and_not(bit, last);
        let next = self.linear(&[(Fr::ONE, x.into()), (Fr::ONE, counts.into())], Fr::ZERO);
        (counts, Ranged::constrained(next))
    }

    /// If the bit is 1, constrains `x - y` to be at least 0 and below `2^BITS`. Returns this difference, or 0 if the
    /// bit is 0.
    ///
    /// Both are in range, so the difference does not wrap around modulo p.
    pub(in crate::circuit) fn assert_at_least_if<const BITS: u32, const X: u32, const Y: u32>(
        &mut self,
        bit: impl Into<Bit>,
        x: Ranged<X>,
        y: Ranged<Y>,
    ) -> Ranged<BITS> {
        let difference = self.difference_if(bit, x, y);
        self.range(difference)
    }

    /// Constrains `x` to be more than `y`, and at most `2^BITS` above it, if the bit is 1.
    ///
    /// Both are in range, so the difference does not wrap around modulo p.
    pub(in crate::circuit) fn assert_more_if<const BITS: u32, const X: u32, const Y: u32>(
        &mut self,
        bit: impl Into<Bit>,
        x: Ranged<X>,
        y: Ranged<Y>,
    ) {
        let bit = bit.into();
        let difference = self.difference_if(bit, x, y);
        let above = self.linear(&[(Fr::ONE, difference), (-Fr::ONE, bit.into())], Fr::ZERO);
        self.range::<BITS>(above);
    }

    /// Constrains `x` to be at most a bound, or to be 0 if the bit is 0.
    ///
    /// # Panics
    /// Panics if the bound is not in range.
    pub(in crate::circuit) fn assert_at_most_if<const BITS: u32>(
        &mut self,
        bit: impl Into<Bit>,
        x: Ranged<BITS>,
        bound: u64,
    ) {
        assert!(bound >> BITS == 0, "{bound} has more than {BITS} bits");
        let room = self.linear(&[(Fr::from(bound), bit.into().into()), (-Fr::ONE, x.into())], Fr::ZERO);
        self.range::<BITS>(room);
    }
}

/// The low `bits` bits of an element as words of at most [`WORD_BITS`] bits, lowest first, with their widths.
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

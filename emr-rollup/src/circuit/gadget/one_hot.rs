//! Flags of which at most one is set, such as the flags of an operation's kind. So sums of different flags are bits.

use std::collections::BTreeMap;

use halo2curves::ff::Field as _;

use super::constrained::{Bit, Ranged};
use crate::{
    circuit::{builder::Wire, scope::Scope},
    primitive::field::Fr,
};

/// A set of flags, as a mask. Bit i stands for flag i.
pub(in crate::circuit) type Set = u32;

/// A bit that is 0 unless a flag of its set is 1. Two bits with disjoint sets are not both 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::circuit) struct Within {
    bit: Bit,
    set: Set,
}

impl From<Within> for Bit {
    fn from(within: Within) -> Self {
        within.bit
    }
}

impl From<Within> for Wire {
    fn from(within: Within) -> Self {
        within.bit.into()
    }
}

/// N flags of which at most one is set.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct OneHot<const N: usize> {
    /// Flags and sums of flags, by set.
    sums: BTreeMap<Set, Bit>,
}

impl<const N: usize> OneHot<N> {
    const ALL: Set = (1 << N) - 1;

    /// Flag `i`.
    pub(in crate::circuit) fn flag(&self, i: usize) -> Within {
        let set = 1 << i;
        Within { bit: self.sums[&set], set }
    }

    /// Whether any flag is set.
    pub(in crate::circuit) fn any(&self) -> Within {
        Within { bit: self.sums[&Self::ALL], set: Self::ALL }
    }
}

impl Scope<'_> {
    /// Constrains at most one of N bits to be 1.
    ///
    /// Each line of `plan` is a sum to lay out first, given as disjoint parts. The last line is the sum of all flags.
    /// With one flag the plan is empty.
    ///
    /// # Panics
    /// Panics if the last line is not the sum of all flags, or if parts are not disjoint.
    pub(in crate::circuit) fn at_most_one<const N: usize>(&mut self, flags: [Bit; N], plan: &[&[Set]]) -> OneHot<N> {
        let mut sums = BTreeMap::new();
        for (i, flag) in flags.into_iter().enumerate() {
            sums.insert(1 << i, Wire::from(flag));
        }
        for parts in plan {
            let whole = parts.iter().fold(0, |whole, part| {
                assert!(whole & part == 0, "a flag in two parts of a sum");
                whole | part
            });
            let terms: Vec<_> = parts.iter().map(|part| (Fr::ONE, self.sum_of(&mut sums, *part))).collect();
            if terms.len() > 1 {
                let sum = self.linear(&terms, Fr::ZERO);
                sums.insert(whole, sum);
            }
        }
        // If the sum of all bits is a bit, at most one of them is set. Then every sum of some of them is a bit too.
        if N > 1 {
            self.assert_bit(sums[&OneHot::<N>::ALL]);
        }
        OneHot { sums: sums.into_iter().map(|(set, sum)| (set, Bit::constrained(sum))).collect() }
    }

    fn sum_of(&mut self, sums: &mut BTreeMap<Set, Wire>, set: Set) -> Wire {
        if let Some(sum) = sums.get(&set) {
            return *sum;
        }
        let flags = (0..Set::BITS).filter(|i| set >> i & 1 == 1);
        let terms: Vec<_> = flags.map(|i| (Fr::ONE, sums[&(1 << i)])).collect();
        let sum = self.linear(&terms, Fr::ZERO);
        sums.insert(set, sum);
        sum
    }

    /// Whether a flag of a set is 1. Equal sets share a wire.
    pub(in crate::circuit) fn any_of<const N: usize>(&mut self, flags: &mut OneHot<N>, set: Set) -> Within {
        let bit = match flags.sums.get(&set) {
            Some(bit) => *bit,
            None => {
                let mut sums = flags.sums.iter().map(|(set, bit)| (*set, Wire::from(*bit))).collect();
                let bit = Bit::constrained(self.sum_of(&mut sums, set));
                flags.sums.insert(set, bit);
                bit
            }
        };
        Within { bit, set }
    }

    /// `a` and `b`, within the set of `a`.
    pub(in crate::circuit) fn within_and(&mut self, a: Within, b: Bit) -> Within {
        Within { bit: self.and(a, b), set: a.set }
    }

    /// `a` and not `b`, within the set of `a`.
    pub(in crate::circuit) fn within_and_not(&mut self, a: Within, b: Bit) -> Within {
        Within { bit: self.and_not(a, b), set: a.set }
    }

    /// `a` or `b`. Their sets are disjoint.
    pub(in crate::circuit) fn either(&mut self, a: Within, b: Within) -> Within {
        assert_disjoint(a, b);
        let bit = Bit::constrained(self.linear(&[(Fr::ONE, a.into()), (Fr::ONE, b.into())], Fr::ZERO));
        Within { bit, set: a.set | b.set }
    }

    /// (`a` and `bit`) or `b`. The sets of `a` and `b` are disjoint.
    pub(in crate::circuit) fn and_or(&mut self, (a, bit): (Within, Bit), b: Within) -> Bit {
        assert_disjoint(a, b);
        Bit::constrained(self.mul_add(a, bit, b))
    }

    /// `x` if `a` is 1, `y` if `b` is 1, else 0. The sets of `a` and `b` are disjoint.
    pub(in crate::circuit) fn either_of(
        &mut self,
        (a, x): (Within, impl Into<Wire>),
        (b, y): (Within, impl Into<Wire>),
    ) -> Wire {
        assert_disjoint(a, b);
        let zero = self.zero();
        self.add_products(zero, (a.into(), x.into()), (b.into(), y.into()))
    }

    /// Constrains a wire to be the number whose bit is 1, or 0 if no bit is 1. The sets of the bits are disjoint.
    pub(in crate::circuit) fn chosen<const BITS: u32>(&mut self, choices: &[(u8, Within)], wire: Wire) -> Ranged<BITS> {
        let mut seen = 0;
        for (number, within) in choices {
            assert!(seen & within.set == 0 && u32::from(*number) >> BITS == 0, "one number of {BITS} bits at a time");
            seen |= within.set;
        }
        let terms: Vec<_> =
            choices.iter().map(|(number, within)| (Fr::from(u64::from(*number)), (*within).into())).collect();
        self.assert_linear(&terms, Fr::ZERO, wire);
        Ranged::constrained(wire)
    }
}

fn assert_disjoint(a: Within, b: Within) {
    assert!(a.set & b.set == 0, "both could be 1: sets {:b} and {:b}", a.set, b.set);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{builder::Builder, diagnosis::failures_of};

    #[test]
    fn flags_are_bits_of_which_at_most_one_is_set() {
        for (values, refused) in
            [([0, 0, 0], false), ([0, 1, 0], false), ([1, 1, 0], true), ([2, 0, 0], true), ([1, 0, 1], true)]
        {
            let mut builder = Builder::new();
            let flags = builder.test_hints(values.map(Fr::from));
            let mut scope = builder.test_scope();
            let flags = flags.map(|flag| scope.assert_bit(flag));
            scope.at_most_one(flags, &[&[0b011], &[0b011, 0b100]]);
            assert_eq!(!failures_of(&builder.finish()).is_empty(), refused, "{values:?}");
        }
    }

    #[test]
    #[should_panic(expected = "both could be 1")]
    fn sets_that_overlap_are_refused() {
        let mut builder = Builder::new();
        let flags = builder.test_hints([Fr::ZERO, Fr::ONE]);
        let mut scope = builder.test_scope();
        let flags = flags.map(|flag| scope.assert_bit(flag));
        let mut flags = scope.at_most_one(flags, &[&[0b01, 0b10]]);
        let all = scope.any_of(&mut flags, 0b11);
        scope.either(all, flags.flag(1));
    }
}

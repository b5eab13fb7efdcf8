//! Wires that are constrained to be a bit, or below a power of two.
//!
//! Only gadgets make them, each next to the constraint that makes it true: [`Bit::constrained`] and
//! [`Ranged::constrained`] are visible in this folder alone. A gadget that needs a bit or a range takes these types, so
//! an unconstrained wire is a type error there.
//!
//! | type | made by |
//! |---|---|
//! | [`Bit`] | `assert_bit`, `assert_bit_below`, `is_zero`, `and`, `and_not`; sums of flags of which one is set (`one_hot.rs`) |
//! | [`Ranged`] | `range`, `spell`, `compose`, `assert_at_least_if`, `count_if`; the turns of a path (`path.rs`); equality with one (`equal_in_range`); a promise (below) |
//! | [`Packed`] | `pack` |
//!
//! A [`Promise`] is for a field that is packed before the rows that show its range are laid out. `Builder::finish`
//! panics if one is open.

use crate::{
    circuit::{
        builder::{Builder, Wire},
        scope::Scope,
    },
    primitive::field::{Fr, to_u64},
};

/// A wire that is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit) struct Bit(Wire);

impl Bit {
    /// The caller must have constrained the wire, or must know that it follows from bits.
    pub(super) fn constrained(wire: Wire) -> Self {
        Self(wire)
    }
}

/// A wire that holds an integer below `2^BITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit) struct Ranged<const BITS: u32>(Wire);

impl<const BITS: u32> Ranged<BITS> {
    /// The caller must have constrained the wire, or must know that it follows from other ranges.
    pub(super) fn constrained(wire: Wire) -> Self {
        const { assert!(BITS <= MAX_BITS) };
        Self(wire)
    }
}

/// The widest range. Differences of two of these do not wrap around modulo p, which has 254 bits.
const MAX_BITS: u32 = 128;

/// Fields in range, packed into one element. If two packings of one layout are equal, all their fields are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit) struct Packed(Wire);

impl Packed {
    /// The caller must have packed fields that are in range.
    pub(super) fn constrained(wire: Wire) -> Self {
        Self(wire)
    }
}

/// A wire in a range whose width is known when the circuit is laid out.
#[derive(Clone, Copy, Debug)]
pub(in crate::circuit) struct Field {
    pub(super) wire: Wire,
    pub(super) bits: u32,
}

impl From<Bit> for Wire {
    fn from(bit: Bit) -> Self {
        bit.0
    }
}

impl<const BITS: u32> From<Ranged<BITS>> for Wire {
    fn from(ranged: Ranged<BITS>) -> Self {
        ranged.0
    }
}

impl From<Packed> for Wire {
    fn from(packed: Packed) -> Self {
        packed.0
    }
}

impl From<Bit> for Field {
    fn from(bit: Bit) -> Self {
        Self { wire: bit.0, bits: 1 }
    }
}

impl<const BITS: u32> From<Ranged<BITS>> for Field {
    fn from(ranged: Ranged<BITS>) -> Self {
        Self { wire: ranged.0, bits: BITS }
    }
}

/// A range that is used before it is constrained.
#[must_use]
#[derive(Debug)]
pub(in crate::circuit) struct Promise<const BITS: u32>(Wire);

impl Builder {
    /// Uses a wire as one in range. [`keep`](Scope::keep) must follow.
    pub(in crate::circuit) fn promise<const BITS: u32>(&mut self, wire: Wire) -> (Ranged<BITS>, Promise<BITS>) {
        self.promises += 1;
        (Ranged(wire), Promise(wire))
    }

    /// The value of a wire as an integer; 0 if the value has more than 64 bits. Hints are computed from it.
    pub(in crate::circuit) fn integer(&self, wire: impl Into<Wire>) -> u64 {
        to_u64(&self.value(wire)).unwrap_or(0)
    }
}

impl Scope<'_> {
    /// Keeps a promise: constrains the promised wire to be equal to this one, unless it is the same.
    pub(in crate::circuit) fn keep<const BITS: u32>(&mut self, promise: Promise<BITS>, shown: Ranged<BITS>) {
        self.builder.promises -= 1;
        if shown.0 != promise.0 {
            self.assert_equal(shown, promise.0);
        }
    }

    /// Constrains a wire to be equal to one in range.
    pub(in crate::circuit) fn equal_in_range<const BITS: u32>(
        &mut self,
        wire: Wire,
        other: Ranged<BITS>,
    ) -> Ranged<BITS> {
        self.assert_equal(wire, other);
        Ranged(wire)
    }

    /// A constant in range.
    ///
    /// # Panics
    /// Panics if the value is not in range.
    pub(in crate::circuit) fn constant_in_range<const BITS: u32>(&mut self, value: u64) -> Ranged<BITS> {
        assert!(BITS >= u64::BITS || value >> BITS == 0, "{value} has more than {BITS} bits");
        Ranged::constrained(self.constant(Fr::from(value)))
    }
}

#[cfg(test)]
mod tests {
    use halo2curves::ff::Field as _;

    use super::*;
    use crate::circuit::diagnosis::failures_of;

    #[test]
    #[should_panic(expected = "1 range is promised and not constrained")]
    fn a_promise_that_is_not_kept_is_refused() {
        let mut builder = Builder::new();
        let [wire] = builder.test_hints([Fr::ONE]);
        let (promised, _promise) = builder.promise::<16>(wire);
        builder.test_scope().mul(promised, promised);
        builder.finish();
    }

    #[test]
    fn a_promise_is_kept_by_an_equal_in_range() {
        for (shown, refused) in [(5, 0), (6, 1)] {
            let mut builder = Builder::new();
            let [wire, other] = builder.test_hints([Fr::from(5), Fr::from(shown)]);
            let (promised, promise) = builder.promise::<16>(wire);
            let mut scope = builder.test_scope();
            scope.mul(promised, promised);
            let shown = scope.range(other);
            scope.keep(promise, shown);
            assert_eq!(failures_of(&builder.finish()).len(), refused);
        }
    }
}

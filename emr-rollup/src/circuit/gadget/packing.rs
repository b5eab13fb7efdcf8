//! Packed fields, each in range.

use halo2curves::ff::{Field as _, PrimeField as _};

use super::constrained::{Bit, Field, Packed, Ranged};
use crate::{
    circuit::{builder::Wire, scope::Scope},
    layout::Packing,
    primitive::field::Fr,
};

impl Scope<'_> {
    /// The packing of fields.
    ///
    /// # Panics
    /// Panics if the range of a field is wider than its place.
    pub(in crate::circuit) fn pack<const N: usize>(&mut self, layout: &Packing<N>, fields: [Field; N]) -> Packed {
        for (field, width) in fields.iter().zip(layout.widths()) {
            assert!(field.bits <= *width, "a field of {} bits in a place of {width}", field.bits);
        }
        let terms = weighted(fields.iter().zip(layout.widths()).rev().map(|(field, width)| (field.wire, *width)));
        Packed::constrained(self.linear(&terms, Fr::ZERO))
    }

    /// If the bit is 1, constrains `after` to be `before + step`. The fields are in range, so each field that `step`
    /// does not touch stays the same.
    pub(in crate::circuit) fn assert_steps_if(&mut self, bit: impl Into<Bit>, [before, after]: [Packed; 2], step: Fr) {
        let change = self.linear(&[(Fr::ONE, after.into()), (-Fr::ONE, before.into())], Fr::ZERO);
        self.assert_constant_if(bit, change, step);
    }

    /// The integer that consists of digits, lowest first, each in its range.
    ///
    /// # Panics
    /// Panics if the digits have more than `BITS` bits together.
    pub(in crate::circuit) fn compose<const BITS: u32>(&mut self, digits: &[impl Into<Field> + Copy]) -> Ranged<BITS> {
        let digits: Vec<Field> = digits.iter().map(|digit| (*digit).into()).collect();
        let terms = digits_of::<BITS>(&digits);
        Ranged::constrained(self.linear(&terms, Fr::ZERO))
    }

    /// Constrains a wire to consist of digits, lowest first, each in its range.
    ///
    /// # Panics
    /// Panics if the digits have more than `BITS` bits together.
    pub(in crate::circuit) fn spell<const BITS: u32>(
        &mut self,
        digits: &[Field],
        wire: impl Into<Wire>,
    ) -> Ranged<BITS> {
        let wire = wire.into();
        let terms = digits_of::<BITS>(digits);
        self.assert_linear(&terms, Fr::ZERO, wire);
        Ranged::constrained(wire)
    }
}

fn digits_of<const BITS: u32>(digits: &[Field]) -> Vec<(Fr, Wire)> {
    assert!(digits.iter().map(|digit| digit.bits).sum::<u32>() <= BITS, "digits of more than {BITS} bits");
    weighted(digits.iter().map(|digit| (digit.wire, digit.bits)))
}

/// The weight of each field, lowest first: the fields before it take the lower bits.
fn weighted(fields: impl Iterator<Item = (Wire, u32)>) -> Vec<(Fr, Wire)> {
    let mut weight = Fr::ONE;
    fields
        .map(|(wire, bits)| {
            let term = (weight, wire);
            weight *= Fr::from_u128(1 << bits);
            term
        })
        .collect()
}

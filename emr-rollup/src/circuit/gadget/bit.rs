//! Gadgets that make bits, and gadgets that need them.

use halo2curves::ff::Field as _;

use super::constrained::{Bit, Ranged};
use crate::{
    circuit::{builder::Wire, gadget::generic::Generic, scope::Scope},
    primitive::field::Fr,
};

impl Scope<'_> {
    /// Constrains a wire to be 0 or 1.
    pub(in crate::circuit) fn assert_bit(&mut self, wire: Wire) -> Bit {
        self.assert_generic(product(wire, wire, -Fr::ONE), self.zero());
        Bit::constrained(wire)
    }

    /// Constrains a wire to be 0, or to be 0 or 1 if the bit is 1.
    pub(in crate::circuit) fn assert_bit_below(&mut self, wire: Wire, bit: Bit) -> Bit {
        let square = Generic {
            l: Some(wire),
            r: Some(wire),
            factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
            uv: Some((wire, bit.into())),
            ..Generic::default()
        };
        self.assert_generic(square, self.zero());
        Bit::constrained(wire)
    }

    /// Whether a wire is 0. `inverse` names the hint.
    pub(in crate::circuit) fn is_zero(&mut self, inverse: &'static str, wire: impl Into<Wire>) -> Bit {
        let wire = wire.into();
        // bit = 1 - wire·inverse and wire·bit = 0. If the wire is not 0, the bit is 0. If the wire is 0, the bit is 1.
        let inverse = self.hint(inverse, self.value(wire).invert().unwrap_or(Fr::ZERO));
        let bit = self.generic(Generic {
            l: Some(wire),
            r: Some(inverse),
            factors: [Fr::ZERO, Fr::ZERO, -Fr::ONE],
            constant: Fr::ONE,
            ..Generic::default()
        });
        self.assert_generic(product(wire, bit, Fr::ZERO), self.zero());
        Bit::constrained(bit)
    }

    /// Whether two wires are equal.
    pub(in crate::circuit) fn is_equal(
        &mut self,
        inverse: &'static str,
        x: impl Into<Wire>,
        y: impl Into<Wire>,
    ) -> Bit {
        let difference = self.linear(&[(Fr::ONE, x.into()), (-Fr::ONE, y.into())], Fr::ZERO);
        self.is_zero(inverse, difference)
    }

    /// `a` and `b`.
    pub(in crate::circuit) fn and(&mut self, a: impl Into<Bit>, b: impl Into<Bit>) -> Bit {
        Bit::constrained(self.mul(a.into(), b.into()))
    }

    /// `a` and not `b`.
    pub(in crate::circuit) fn and_not(&mut self, a: impl Into<Bit>, b: impl Into<Bit>) -> Bit {
        Bit::constrained(self.mul_complement(a.into(), b.into()))
    }

    /// `x`, or 0 if the bit is 0.
    pub(in crate::circuit) fn zero_unless(&mut self, bit: impl Into<Bit>, x: impl Into<Wire>) -> Wire {
        self.mul(bit.into(), x)
    }

    /// `x`, or 0 if the bit is 1.
    pub(in crate::circuit) fn zero_if(&mut self, bit: impl Into<Bit>, x: impl Into<Wire>) -> Wire {
        self.mul_complement(x, bit.into())
    }

    /// `x` if the bit is 1, else `y`.
    pub(in crate::circuit) fn select(&mut self, bit: impl Into<Bit>, x: impl Into<Wire>, y: impl Into<Wire>) -> Wire {
        let y = y.into();
        self.generic(Generic { addend: Some(y), ..difference(bit.into(), x.into(), y) })
    }

    /// The same as [`select`](Self::select) for two wires of one range, so the result is in that range.
    pub(in crate::circuit) fn select_in_range<const BITS: u32>(
        &mut self,
        bit: impl Into<Bit>,
        x: Ranged<BITS>,
        y: Ranged<BITS>,
    ) -> Ranged<BITS> {
        Ranged::constrained(self.select(bit, x, y))
    }

    /// `x - y`, or 0 if the bit is 0.
    pub(in crate::circuit) fn difference_if(
        &mut self,
        bit: impl Into<Bit>,
        x: impl Into<Wire>,
        y: impl Into<Wire>,
    ) -> Wire {
        self.generic(difference(bit.into(), x.into(), y.into()))
    }

    /// Constrains `x` to be `y` if the bit is 1.
    pub(in crate::circuit) fn assert_equal_if(&mut self, bit: impl Into<Bit>, x: impl Into<Wire>, y: impl Into<Wire>) {
        self.assert_generic(difference(bit.into(), x.into(), y.into()), self.zero());
    }

    /// Constrains `x` to be a constant if the bit is 1.
    pub(in crate::circuit) fn assert_constant_if(&mut self, bit: impl Into<Bit>, x: impl Into<Wire>, constant: Fr) {
        self.assert_generic(product(bit.into().into(), x.into(), -constant), self.zero());
    }

    /// Constrains `x` to be 0 if the bit is 1.
    pub(in crate::circuit) fn assert_zero_if(&mut self, bit: impl Into<Bit>, x: impl Into<Wire>) {
        self.assert_constant_if(bit, x, Fr::ZERO);
    }

    /// Constrains `x` to be 0 if the bit is 0.
    pub(in crate::circuit) fn assert_zero_unless(&mut self, bit: impl Into<Bit>, x: impl Into<Wire>) {
        let gate = Generic {
            l: Some(x.into()),
            r: Some(bit.into().into()),
            factors: [Fr::ONE, Fr::ZERO, -Fr::ONE],
            ..Generic::default()
        };
        self.assert_generic(gate, self.zero());
    }
}

/// `l·(r + factor)`.
fn product(l: Wire, r: Wire, factor: Fr) -> Generic {
    Generic { l: Some(l), r: Some(r), factors: [factor, Fr::ZERO, Fr::ONE], ..Generic::default() }
}

/// `bit·(x - y)`.
fn difference(bit: Bit, x: Wire, y: Wire) -> Generic {
    let bit = bit.into();
    Generic {
        l: Some(bit),
        r: Some(x),
        factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
        uv: Some((bit, y)),
        ..Generic::default()
    }
}

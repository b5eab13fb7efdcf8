//! Arithmetic on wires: what the generic gate gives.

use halo2curves::ff::Field;

use crate::{
    circuit::builder::{Builder, Generic, Wire},
    primitive::field::Fr,
};

impl Builder {
    /// `sum factor · wire + constant`. Two terms a row.
    pub(in crate::circuit) fn linear(&mut self, terms: &[(Fr, Wire)], constant: Fr) -> Wire {
        let gate = self.linear_gate(terms, constant);
        self.generic(gate)
    }

    /// Constrains `out` to be `sum factor · wire + constant`.
    pub(in crate::circuit) fn assert_linear(&mut self, terms: &[(Fr, Wire)], constant: Fr, out: Wire) {
        let gate = self.linear_gate(terms, constant);
        self.assert_generic(gate, out);
    }

    /// Lays out all rows of a sum but the last.
    fn linear_gate(&mut self, terms: &[(Fr, Wire)], constant: Fr) -> Generic {
        // A term with factor 1 rides along as the first addend.
        let mut terms = terms.to_vec();
        let free = (terms.len() % 2 == 1).then(|| terms.iter().position(|(factor, _)| *factor == Fr::ONE)).flatten();
        let mut addend = free.map(|i| terms.swap_remove(i).1);
        let row = |i: usize, addend: Option<Wire>| {
            let term = |j: usize| terms.get(2 * i + j).copied();
            let factor = |j| term(j).map_or(Fr::ZERO, |(factor, _)| factor);
            Generic {
                l: term(0).map(|(_, wire)| wire),
                r: term(1).map(|(_, wire)| wire),
                factors: [factor(0), factor(1), Fr::ZERO],
                constant: if i == 0 { constant } else { Fr::ZERO },
                addend,
                uv: None,
            }
        };
        let last = terms.len().div_ceil(2).max(1) - 1;
        for i in 0..last {
            addend = Some(self.generic(row(i, addend)));
        }
        row(last, addend)
    }

    /// `a · b`.
    pub(in crate::circuit) fn mul(&mut self, a: Wire, b: Wire) -> Wire {
        self.generic(Generic { l: Some(a), r: Some(b), factors: [Fr::ZERO, Fr::ZERO, Fr::ONE], ..Generic::default() })
    }

    /// `a · b + c`.
    pub(in crate::circuit) fn mul_add(&mut self, a: Wire, b: Wire, c: Wire) -> Wire {
        self.generic(Generic {
            l: Some(a),
            r: Some(b),
            factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
            addend: Some(c),
            ..Generic::default()
        })
    }

    /// `a · (1 - b)`.
    pub(in crate::circuit) fn and_not(&mut self, a: Wire, b: Wire) -> Wire {
        self.generic(Generic { l: Some(a), r: Some(b), factors: [Fr::ONE, Fr::ZERO, -Fr::ONE], ..Generic::default() })
    }

    /// `flag · (x - y)`.
    pub(in crate::circuit) fn gated_difference(&mut self, flag: Wire, x: Wire, y: Wire) -> Wire {
        self.generic(difference(flag, x, y))
    }

    /// `x` if the bit is 1, else `y`.
    pub(in crate::circuit) fn select(&mut self, bit: Wire, x: Wire, y: Wire) -> Wire {
        self.generic(Generic { addend: Some(y), ..difference(bit, x, y) })
    }

    /// Constrains `flag · (x - y) = 0`.
    pub(in crate::circuit) fn assert_equal_if(&mut self, flag: Wire, x: Wire, y: Wire) {
        self.assert_generic(difference(flag, x, y), self.zero());
    }

    /// Constrains `flag · (x - constant) = 0`.
    pub(in crate::circuit) fn assert_constant_if(&mut self, flag: Wire, x: Wire, constant: Fr) {
        let gate = Generic { l: Some(flag), r: Some(x), factors: [-constant, Fr::ZERO, Fr::ONE], ..Generic::default() };
        self.assert_generic(gate, self.zero());
    }

    /// Constrains `(1 - flag) · x = 0`.
    pub(in crate::circuit) fn assert_zero_unless(&mut self, flag: Wire, x: Wire) {
        let gate = Generic { l: Some(x), r: Some(flag), factors: [Fr::ONE, Fr::ZERO, -Fr::ONE], ..Generic::default() };
        self.assert_generic(gate, self.zero());
    }

    /// Constrains `a · b = 0`.
    pub(in crate::circuit) fn assert_product_zero(&mut self, a: Wire, b: Wire) {
        self.assert_constant_if(a, b, Fr::ZERO);
    }

    /// Constrains a wire to be 0 or 1.
    pub(in crate::circuit) fn assert_bit(&mut self, bit: Wire) {
        self.assert_constant_if(bit, bit, Fr::ONE);
    }

    /// A bit: whether the wire is 0. `inverse` names the hint.
    pub(in crate::circuit) fn is_zero(&mut self, inverse: &'static str, wire: Wire) -> Wire {
        // bit = 1 - wire·inverse and wire·bit = 0: if the wire is not 0 the bit is, and if it is the bit is 1.
        let inverse = self.hint(inverse, self.value(wire).invert().unwrap_or(Fr::ZERO));
        let bit = self.generic(Generic {
            l: Some(wire),
            r: Some(inverse),
            factors: [Fr::ZERO, Fr::ZERO, -Fr::ONE],
            constant: Fr::ONE,
            ..Generic::default()
        });
        self.assert_product_zero(wire, bit);
        bit
    }

    /// A bit: whether two wires are equal.
    pub(in crate::circuit) fn is_equal(&mut self, inverse: &'static str, x: Wire, y: Wire) -> Wire {
        let difference = self.linear(&[(Fr::ONE, x), (-Fr::ONE, y)], Fr::ZERO);
        self.is_zero(inverse, difference)
    }

    /// Constrains `flag = 0` or `wire != 0`.
    pub(in crate::circuit) fn assert_nonzero_if(&mut self, inverse: &'static str, flag: Wire, wire: Wire) {
        let zero = self.is_zero(inverse, wire);
        self.assert_product_zero(flag, zero);
    }

    /// The integer of bits, least significant first. Two a row. That they are bits is constrained where they turn paths.
    pub(in crate::circuit) fn recompose(&mut self, bits: &[Wire]) -> Wire {
        let mut sum = self.zero();
        let mut factor = Fr::ONE;
        for chunk in bits.chunks(2) {
            let second = chunk.get(1).copied();
            sum = self.generic(Generic {
                l: Some(chunk[0]),
                r: second,
                factors: [factor, second.map_or(Fr::ZERO, |_| factor.double()), Fr::ZERO],
                addend: Some(sum),
                ..Generic::default()
            });
            factor = factor.double().double();
        }
        sum
    }
}

fn difference(flag: Wire, x: Wire, y: Wire) -> Generic {
    Generic {
        l: Some(flag),
        r: Some(x),
        factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
        uv: Some((flag, y)),
        ..Generic::default()
    }
}

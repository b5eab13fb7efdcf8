//! Arithmetic with the generic gate, on wires of any value.

use halo2curves::ff::Field as _;

use crate::{
    circuit::{builder::Wire, gadget::generic::Generic, scope::Scope},
    primitive::field::Fr,
};

impl Scope<'_> {
    /// `sum factor · wire + constant`. Two terms a row.
    pub(in crate::circuit) fn linear(&mut self, terms: &[(Fr, Wire)], constant: Fr) -> Wire {
        let gate = self.linear_gate(terms, constant);
        self.generic(gate)
    }

    /// Constrains `out` to be `sum factor · wire + constant`.
    pub(in crate::circuit) fn assert_linear(&mut self, terms: &[(Fr, Wire)], constant: Fr, out: impl Into<Wire>) {
        let gate = self.linear_gate(terms, constant);
        self.assert_generic(gate, out.into());
    }

    /// Lays out all rows of a sum but the last.
    fn linear_gate(&mut self, terms: &[(Fr, Wire)], constant: Fr) -> Generic {
        // A term with factor 1 becomes the addend of the first row.
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
    pub(in crate::circuit) fn mul(&mut self, a: impl Into<Wire>, b: impl Into<Wire>) -> Wire {
        self.generic(Generic {
            l: Some(a.into()),
            r: Some(b.into()),
            factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
            ..Generic::default()
        })
    }

    /// `a · b + c`.
    pub(in crate::circuit) fn mul_add(&mut self, a: impl Into<Wire>, b: impl Into<Wire>, c: impl Into<Wire>) -> Wire {
        self.generic(Generic {
            l: Some(a.into()),
            r: Some(b.into()),
            factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
            addend: Some(c.into()),
            ..Generic::default()
        })
    }

    /// `a · (1 - b)`.
    pub(in crate::circuit) fn mul_complement(&mut self, a: impl Into<Wire>, b: impl Into<Wire>) -> Wire {
        self.generic(Generic {
            l: Some(a.into()),
            r: Some(b.into()),
            factors: [Fr::ONE, Fr::ZERO, -Fr::ONE],
            ..Generic::default()
        })
    }
}

//! The generic gate: one equation per row.

use halo2curves::ff::Field as _;

use crate::{
    circuit::{builder::Wire, config::Selector, scope::Scope, table::ALL},
    primitive::field::Fr,
};

/// `out = factors[0]·l + factors[1]·r + constant + factors[2]·l·r + addend - u·v`; absent inputs are 0.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::circuit) struct Generic {
    pub(in crate::circuit) l: Option<Wire>,
    pub(in crate::circuit) r: Option<Wire>,
    pub(in crate::circuit) factors: [Fr; 3],
    pub(in crate::circuit) constant: Fr,
    pub(in crate::circuit) addend: Option<Wire>,
    pub(in crate::circuit) uv: Option<(Wire, Wire)>,
}

/// Columns of the generic gate.
const L: usize = 0;
const R: usize = 3;
const OUT: usize = 6;
const ADDEND: usize = 7;
const U: usize = 8;
const V: usize = 9;

impl Scope<'_> {
    /// Defines the constant 0: `out = addend - u·v`, where all four are the same wire, so its square is 0.
    pub(in crate::circuit) fn define_zero(&mut self, zero: Wire) {
        let row = self.generic_row([Fr::ZERO; 4]);
        for column in [OUT, ADDEND, U, V] {
            self.place(zero, row, column);
        }
    }

    fn generic_row(&mut self, constants: [Fr; 4]) -> u32 {
        let row = self.builder.table.append(1);
        let origin = self.origin();
        let table = &mut self.builder.table;
        table.row(row).constants = constants;
        table.select(row, Selector::Generic);
        table.explain(row, row + 1, ALL, origin);
        row
    }

    fn generic_inputs(&mut self, gate: &Generic) -> u32 {
        let [factor_l, factor_r, factor_lr] = gate.factors;
        let row = self.generic_row([factor_l, factor_r, gate.constant, factor_lr]);
        let inputs = [(gate.l, L), (gate.r, R)];
        for (wire, column) in inputs {
            if let Some(wire) = wire {
                self.place(wire, row, column);
            }
        }
        match gate.uv {
            Some((u, v)) => {
                self.place(u, row, U);
                self.place(v, row, V);
            }
            // With u = 0, v may be anything.
            None => self.place(self.zero(), row, U),
        }
        row
    }

    fn generic_value(&self, gate: &Generic) -> Fr {
        let value = |wire: Option<Wire>| wire.map_or(Fr::ZERO, |wire| self.value(wire));
        let (l, r) = (value(gate.l), value(gate.r));
        let [factor_l, factor_r, factor_lr] = gate.factors;
        let product = gate.uv.map_or(Fr::ZERO, |(u, v)| self.value(u) * self.value(v));
        factor_l * l + factor_r * r + gate.constant + factor_lr * l * r + value(gate.addend) - product
    }

    /// The wire that a generic row computes.
    pub(in crate::circuit) fn generic(&mut self, gate: Generic) -> Wire {
        let value = self.generic_value(&gate);
        let out = self.builder.witness(value);
        self.generic_output(gate, out);
        out
    }

    /// Constrains a generic row to compute a given wire.
    pub(in crate::circuit) fn assert_generic(&mut self, gate: Generic, out: Wire) {
        self.asserting().generic_output(gate, out);
    }

    fn generic_output(&mut self, gate: Generic, out: Wire) {
        let row = self.generic_inputs(&gate);
        self.place(gate.addend.unwrap_or(self.zero()), row, ADDEND);
        self.place(out, row, OUT);
    }

    /// `before + a·b + c·d`. The row's addend is the result.
    pub(in crate::circuit) fn add_products(
        &mut self,
        before: Wire,
        (a, b): (Wire, Wire),
        (c, d): (Wire, Wire),
    ) -> Wire {
        let value = |wire| self.value(wire);
        let sum = value(before) + value(a) * value(b) + value(c) * value(d);
        let sum = self.builder.witness(sum);
        let gate = Generic {
            l: Some(a),
            r: Some(b),
            factors: [Fr::ZERO, Fr::ZERO, -Fr::ONE],
            uv: Some((c, d)),
            ..Generic::default()
        };
        let row = self.generic_inputs(&gate);
        self.place(sum, row, ADDEND);
        self.place(before, row, OUT);
        sum
    }
}

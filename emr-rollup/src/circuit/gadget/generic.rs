//! The generic gate: two equations per row.
//!
//! The first takes any [`Generic`]. The second has no constant and no addend, and takes most of the others.

use halo2curves::ff::Field as _;

use crate::{
    circuit::{builder::Wire, config::Selector, scope::Scope},
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

/// Columns of the first equation: l, r, out, addend, u, v.
const FIRST: [usize; 6] = [0, 1, 2, 3, 4, 5];
/// Columns of the second equation: l, r, out, u, v.
const SECOND: [usize; 5] = [6, 7, 8, 9, 10];
/// The column of r in the first equation.
pub(in crate::circuit) const FIRST_R: usize = FIRST[1];
/// The column of r in the second equation.
#[cfg(test)]
pub(in crate::circuit) const SECOND_R: usize = SECOND[1];

fn mask(columns: &[usize]) -> u16 {
    columns.iter().fold(0, |mask, column| mask | 1 << column)
}

/// Rows with one equation, whose other equation is free. At most one of the two lists holds rows.
#[derive(Debug, Default)]
pub(in crate::circuit) struct OpenRows {
    first: Vec<u32>,
    second: Vec<u32>,
}

/// `out = factor·l + l·r - u·v`.
struct Second {
    factor: Fr,
    l: Wire,
    r: Wire,
    u: Wire,
    v: Wire,
}

impl Scope<'_> {
    /// Defines the constant 0: `out = addend - u·v`, where all four are the same wire, so its square is 0.
    pub(in crate::circuit) fn define_zero(&mut self, zero: Wire) {
        let row = self.new_row();
        self.builder.generic_rows.second.push(row);
        let [_, _, out, addend, u, v] = FIRST;
        self.fill(row, [Fr::ZERO; 4], &[(zero, out), (zero, addend), (zero, u), (zero, v)]);
    }

    fn new_row(&mut self) -> u32 {
        let row = self.builder.table.append(1);
        self.builder.table.select(row, Selector::Generic);
        row
    }

    fn fill(&mut self, row: u32, constants: [Fr; 4], cells: &[(Wire, usize)]) {
        let origin = self.origin();
        let table = &mut self.builder.table;
        table.row(row).constants[..4].copy_from_slice(&constants);
        table.explain(row, row + 1, mask(&FIRST), origin);
        for (wire, column) in cells {
            self.place(*wire, row, *column);
        }
    }

    fn lay_out_first(&mut self, gate: &Generic, addend: Wire, out: Wire) {
        let row = self.builder.generic_rows.first.pop().unwrap_or_else(|| {
            let row = self.new_row();
            self.builder.generic_rows.second.push(row);
            row
        });
        let [factor_l, factor_r, factor_lr] = gate.factors;
        let reads = |wire: Option<Wire>, factors: [Fr; 2]| wire.is_some() || factors == [Fr::ZERO; 2];
        assert!(
            reads(gate.l, [factor_l, factor_lr]) && reads(gate.r, [factor_r, factor_lr]),
            "a factor of an absent input: nothing would constrain its cell"
        );
        let [l, r, result, add, u, v] = FIRST;
        let inputs = [(gate.l, l), (gate.r, r)];
        let mut cells: Vec<_> = inputs.into_iter().filter_map(|(wire, column)| Some((wire?, column))).collect();
        match gate.uv {
            Some((left, right)) => cells.extend([(left, u), (right, v)]),
            // With u = 0, v may be anything.
            None => cells.push((self.zero(), u)),
        }
        cells.extend([(addend, add), (out, result)]);
        self.fill(row, [factor_l, factor_r, gate.constant, factor_lr], &cells);
    }

    /// The same equation in the form of the second one, if it has one.
    fn second(&mut self, gate: &Generic) -> Option<Second> {
        let (zero, one) = (Fr::ZERO, Fr::ONE);
        let nothing = self.zero();
        let mut minus_one = || self.constant(-one);
        if gate.constant != zero {
            return None;
        }
        let l = gate.l.unwrap_or(nothing);
        let plain = |factor| Second { factor, l, r: nothing, u: nothing, v: nothing };
        let second = match (gate.factors, gate.r, gate.addend, gate.uv) {
            ([factor, f_r, f_lr], Some(r), None, uv) if f_r == zero && f_lr == one => {
                let (u, v) = uv.unwrap_or((nothing, nothing));
                Second { r, u, v, ..plain(factor) }
            }
            ([factor, f_r, f_lr], Some(r), Some(addend), None) if f_r == zero && f_lr == one => {
                Second { r, u: addend, v: minus_one(), ..plain(factor) }
            }
            // `- l·r` becomes `- u·v`.
            ([factor, f_r, f_lr], Some(r), None, None) if f_r == zero && f_lr == -one => {
                Second { u: l, v: r, ..plain(factor) }
            }
            ([factor, f_r, f_lr], Some(r), None, None) if f_r == one && f_lr == zero => {
                Second { u: r, v: minus_one(), ..plain(factor) }
            }
            ([factor, f_r, f_lr], Some(r), None, None) if f_lr == zero && (f_r == -one || factor == one) => {
                // One of the two terms has factor 1 or -1.
                if factor == one {
                    Second { factor: f_r, l: r, r: nothing, u: l, v: minus_one() }
                } else {
                    Second { u: r, v: self.constant(one), ..plain(factor) }
                }
            }
            ([factor, _, f_lr], None, addend, None) if f_lr == zero => match addend {
                Some(addend) => Second { u: addend, v: minus_one(), ..plain(factor) },
                None => plain(factor),
            },
            _ => return None,
        };
        Some(second)
    }

    fn lay_out_second(&mut self, row: u32, gate: &Second, out: Wire) {
        let origin = self.origin();
        let table = &mut self.builder.table;
        table.row(row).constants[4] = gate.factor;
        table.explain(row, row + 1, mask(&SECOND), origin);
        for (wire, column) in [gate.l, gate.r, out, gate.u, gate.v].into_iter().zip(SECOND) {
            self.place(wire, row, column);
        }
    }

    fn lay_out(&mut self, gate: &Generic, out: Wire) {
        let addend = gate.addend.unwrap_or(self.zero());
        let Some(second) = self.second(gate) else { return self.lay_out_first(gate, addend, out) };
        match self.builder.generic_rows.second.pop() {
            Some(row) => self.lay_out_second(row, &second, out),
            None if self.builder.generic_rows.first.is_empty() => {
                let row = self.new_row();
                self.builder.generic_rows.first.push(row);
                self.lay_out_second(row, &second, out);
            }
            None => self.lay_out_first(gate, addend, out),
        }
    }

    fn generic_value(&self, gate: &Generic) -> Fr {
        let value = |wire: Option<Wire>| wire.map_or(Fr::ZERO, |wire| self.value(wire));
        let (l, r) = (value(gate.l), value(gate.r));
        let [factor_l, factor_r, factor_lr] = gate.factors;
        let product = gate.uv.map_or(Fr::ZERO, |(u, v)| self.value(u) * self.value(v));
        factor_l * l + factor_r * r + gate.constant + factor_lr * l * r + value(gate.addend) - product
    }

    /// The wire that a generic equation computes.
    pub(in crate::circuit) fn generic(&mut self, gate: Generic) -> Wire {
        let value = self.generic_value(&gate);
        let out = self.builder.witness(value);
        self.lay_out(&gate, out);
        out
    }

    /// Constrains a generic equation to compute a given wire.
    pub(in crate::circuit) fn assert_generic(&mut self, gate: Generic, out: Wire) {
        self.asserting().lay_out(&gate, out);
    }

    /// `before + a·b + c·d`. The equation's addend is the result.
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
        // before = sum - a·b - c·d
        self.lay_out_first(&gate, sum, before);
        sum
    }
}

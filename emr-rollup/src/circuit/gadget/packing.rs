//! Packed fields: each under its range check, and their packing (C19).

use halo2curves::ff::Field;

use crate::{
    circuit::builder::{Builder, Wire},
    layout::Packing,
    primitive::field::Fr,
    statement::Clause,
};

impl Builder {
    /// Constrains each wire to its width in bits. Widths are even.
    pub(in crate::circuit) fn assert_ranges(&mut self, fields: &[(Wire, u32)]) {
        for (wire, bits) in fields {
            self.assert_range(*wire, *bits);
        }
    }

    /// The packing of fields. Their ranges are constrained elsewhere.
    pub(in crate::circuit) fn pack<const N: usize>(&mut self, layout: &Packing<N>, fields: [Wire; N]) -> Wire {
        let mut terms = Vec::with_capacity(N);
        let mut factor = Fr::ONE;
        for (wire, bits) in fields.iter().zip(layout.widths()).rev() {
            terms.push((factor, *wire));
            factor *= Fr::from(1 << bits);
        }
        self.linear(&terms, Fr::ZERO)
    }

    /// Range checks and packing.
    pub(in crate::circuit) fn pack_checked<const N: usize>(&mut self, layout: &Packing<N>, wires: [Wire; N]) -> Wire {
        let fields: [_; N] = std::array::from_fn(|i| (wires[i], layout.widths()[i]));
        self.clause(Clause::C19, "packed field");
        self.assert_ranges(&fields);
        self.pack(layout, wires)
    }
}

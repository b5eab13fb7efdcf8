//! Packed fields: each under its range check, and their packing (C19).

use halo2curves::ff::Field;

use super::builder::{Builder, Wire};
use crate::{field::Fr, statement::Clause};

/// Fields of a packing, most significant first, with their widths in bits.
pub(super) type Fields<'a> = &'a [(Wire, u32)];

impl Builder {
    /// Constrains each field to its width. Widths are even.
    pub(super) fn assert_ranges(&mut self, fields: Fields<'_>) {
        for (wire, bits) in fields {
            self.assert_range(*wire, *bits);
        }
    }

    /// `pack(fields)`. Ranges are constrained elsewhere.
    pub(super) fn pack(&mut self, fields: Fields<'_>) -> Wire {
        let mut terms = Vec::with_capacity(fields.len());
        let mut factor = Fr::ONE;
        for (wire, bits) in fields.iter().rev() {
            terms.push((factor, *wire));
            factor *= Fr::from(1 << bits);
        }
        self.linear(&terms, Fr::ZERO)
    }

    /// Range checks and packing.
    pub(super) fn pack_checked<const N: usize>(&mut self, wires: [Wire; N], widths: &[u32]) -> Wire {
        let fields: Vec<_> = wires.into_iter().zip(widths.iter().copied()).collect();
        self.clause(Clause::C19, "packed field");
        self.assert_ranges(&fields);
        self.pack(&fields)
    }
}

//! The quotient: the weighted sum of all constraints, divided by `X^n - 1`.
//!
//! If the highest degree of a constraint is d, the quotient has `(d-1)·n` coefficients. It is determined by its values on
//! `d - 1` cosets of H, so no more are used. (halo2-axiom rounds up to a power of two.) On the coset `c·H`, `X^n` is the
//! constant `c^n`. So the values there determine `sum c^(nm)·h_m`, where `h_m` are the pieces of n coefficients. The pieces follow from d - 1 such
//! sums. Each coset is added to the pieces when it is done, so only one coset is in memory.

use halo2curves::{bn256::Fr, ff::Field};
use rayon::prelude::*;

use super::{
    domain::interpolate,
    key::{Key, on_coset},
    permutation::{Challenges, Constraints},
    program::{BLOCK, Columns},
};

/// Rows per task: a whole number of blocks.
const TASK: usize = 64 * BLOCK;

/// The polynomials of a proof, by their coefficients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Witness<'a> {
    pub(super) advice: &'a [Vec<Fr>],
    pub(super) instance: &'a [Vec<Fr>],
    pub(super) products: &'a [Vec<Fr>],
}

/// The pieces of the quotient, by their coefficients, lowest first.
pub(super) fn pieces(key: &Key, witness: Witness<'_>, challenges: Challenges, y: Fr) -> Vec<Vec<Fr>> {
    let gates = key.program.constraints();
    // The first constraint has the highest power.
    let count = gates + Constraints::count(key);
    let mut powers: Vec<_> = std::iter::successors(Some(Fr::ONE), |power| Some(*power * y)).take(count).collect();
    powers.reverse();
    let weights = key.program.weights(&powers[..gates]);
    let shifts: Vec<_> = (0..key.cosets).map(|coset| key.domain.shift(coset)).collect();
    let inverse =
        Interpolation::new(shifts.iter().map(|shift| shift.pow_vartime([key.domain.size() as u64])).collect());

    let mut pieces = vec![vec![Fr::ZERO; key.domain.size()]; key.cosets];
    for (coset, shift) in shifts.into_iter().enumerate() {
        let twiddles = key.domain.coset_factors(shift);
        let values = |polynomials: &[Vec<Fr>]| -> Vec<Vec<Fr>> {
            polynomials.par_iter().map(|coefficients| on_coset(coefficients, &twiddles)).collect()
        };
        let (advice, (instance, products)) = rayon::join(
            || values(witness.advice),
            || rayon::join(|| values(witness.instance), || values(witness.products)),
        );
        let mut sums = key.with_coset(coset, &twiddles, |fixed| {
            let columns = Columns { fixed: &fixed.fixed, advice: &advice, instance: &instance };
            let permutation =
                Constraints { key, fixed, columns, products: &products, challenges, shift, powers: &powers[gates..] };
            let mut sums = vec![Fr::ZERO; key.domain.size()];
            sums.par_chunks_mut(TASK).enumerate().for_each(|(task, sums)| {
                let mut registers = key.program.registers();
                for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
                    let start = task * TASK + block * BLOCK;
                    key.program.run(columns, &weights, &mut registers, start, sums);
                    permutation.add_to(start, sums);
                }
            });
            sums
        });
        interpolate(&mut sums, &key.domain.coset_inverse(shift));
        // The transform is n times too great, and the division by X^n - 1 is one by a constant here.
        let scale = key.domain.size_inverse() * inverse.vanishing[coset];
        pieces.par_iter_mut().zip(&inverse.factors[coset]).for_each(|(piece, factor)| {
            let factor = *factor * scale;
            piece.iter_mut().zip(&sums).for_each(|(coefficient, sum)| *coefficient += *sum * factor);
        });
    }
    pieces
}

/// The inverse of the matrix `points[j]^m`.
struct Interpolation {
    /// By point, then by power.
    factors: Vec<Vec<Fr>>,
    /// `1 / (point - 1)`.
    vanishing: Vec<Fr>,
}

impl Interpolation {
    fn new(points: Vec<Fr>) -> Self {
        let inverse = |value: Fr| value.invert().unwrap_or(Fr::ZERO);
        let factors = points.iter().map(|point| {
            // The polynomial that is 1 at this point and 0 at the others.
            let mut basis = vec![Fr::ONE];
            for other in points.iter().filter(|other| *other != point) {
                let scale = inverse(*point - *other);
                let mut product = vec![Fr::ZERO; basis.len() + 1];
                for (power, coefficient) in basis.iter().enumerate() {
                    product[power + 1] += *coefficient * scale;
                    product[power] -= *coefficient * *other * scale;
                }
                basis = product;
            }
            basis
        });
        Self { factors: factors.collect(), vanishing: points.iter().map(|point| inverse(*point - Fr::ONE)).collect() }
    }
}

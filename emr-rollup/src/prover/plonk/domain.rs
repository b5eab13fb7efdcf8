//! The roots of unity, and transforms between coefficients and values.
//!
//! Coefficients are kept in bit-reversed order: the coefficient of `X^i` is at the place whose index has the bits of i
//! from last to first. Then neither direction has to move elements. Values are in their natural order, so that a
//! rotation is a shift.
//!
//! A transform to the values on a coset `c·H` has the powers of c in its factors. So it costs no more than one on H.

use std::iter::successors;

use halo2curves::ff::{Field, PrimeField, WithSmallOrderMulGroup};
use rayon::prelude::*;

use crate::primitive::field::Fr;

/// Transforms of this length or less run in one loop per stage. Their elements and factors (64 KiB) fit into the
/// first two levels of cache.
const LEAF: usize = 1 << 10;
/// Shorter slices than this are not shared between threads.
const PARALLEL: usize = 1 << 13;

/// The subgroup H of order `2^k`, and the tables for its transforms.
#[derive(Debug)]
pub(super) struct Domain {
    k: u32,
    /// A root of unity of order `2^extended_k`.
    extended_omega: Fr,
    forward: Twiddles,
    inverse: Twiddles,
}

/// The factors of each stage. Stage s joins or splits blocks of `2^s` elements, and has as many factors.
#[derive(Debug)]
pub(super) struct Twiddles(Vec<Vec<Fr>>);

impl Twiddles {
    fn new(k: u32, omega: Fr) -> Self {
        let half = 1usize << k.saturating_sub(1);
        let mut stage: Vec<Fr> = successors(Some(Fr::ONE), |power| Some(*power * omega)).take(half).collect();
        let mut stages = vec![];
        for _ in 0..k {
            let next = stage.iter().step_by(2).copied().collect();
            stages.push(std::mem::replace(&mut stage, next));
        }
        stages.reverse();
        Self(stages)
    }

    /// The factors for the coset `shift·H`.
    fn shifted(&self, shift: Fr) -> Self {
        let shifts: Vec<_> = successors(Some(shift), |power| Some(power.square())).take(self.0.len()).collect();
        let stages = self.0.par_iter().zip(shifts.into_par_iter().rev());
        Self(
            stages
                .map(|(stage, shift)| stage.par_iter().with_min_len(PARALLEL).map(|factor| *factor * shift).collect())
                .collect(),
        )
    }
}

impl Domain {
    /// A domain of `2^k` elements, with cosets up to a group of `2^extended_k`.
    pub(super) fn new(k: u32, extended_k: u32) -> Self {
        let root = |log: u32| (log..Fr::S).fold(Fr::ROOT_OF_UNITY, |root, _| root.square());
        let omega = root(k);
        let forward = Twiddles::new(k, omega);
        let inverse = Twiddles::new(k, omega.invert().unwrap_or(Fr::ONE));
        Self { k, extended_omega: root(extended_k), forward, inverse }
    }

    /// The number of elements.
    pub(super) fn size(&self) -> usize {
        1 << self.k
    }

    /// `omega^i`, for an i below the size.
    pub(super) fn power(&self, i: usize) -> Fr {
        let Some(table) = self.forward.0.last() else { return Fr::ONE };
        match i.checked_sub(table.len()) {
            None => table[i],
            Some(rest) => -table[rest],
        }
    }

    /// `point · omega^rotation`.
    pub(super) fn rotate(&self, point: Fr, rotation: i32) -> Fr {
        point * self.power(rotation.rem_euclid(self.size() as i32) as usize)
    }

    /// The shift of coset number i. No coset contains an element of H, and no two are equal.
    pub(super) fn shift(&self, i: usize) -> Fr {
        Fr::ZETA * self.extended_omega.pow_vartime([i as u64])
    }

    /// The factors for [`evaluate`] on the coset `shift·H`.
    pub(super) fn coset_factors(&self, shift: Fr) -> Twiddles {
        self.forward.shifted(shift)
    }

    /// The factors for [`interpolate`] from the coset `shift·H`.
    pub(super) fn coset_inverse(&self, shift: Fr) -> Twiddles {
        self.inverse.shifted(shift.invert().unwrap_or(Fr::ONE))
    }

    /// The coefficients of the polynomial with these values on H.
    pub(super) fn coefficients(&self, mut values: Vec<Fr>) -> Vec<Fr> {
        interpolate(&mut values, &self.inverse);
        let scale = self.size_inverse();
        values.par_iter_mut().with_min_len(PARALLEL).for_each(|value| *value *= scale);
        values
    }

    /// `1 / 2^k`.
    pub(super) fn size_inverse(&self) -> Fr {
        Fr::TWO_INV.pow_vartime([u64::from(self.k)])
    }
}

/// Coefficients in bit-reversed order become values in natural order.
pub(super) fn evaluate(elements: &mut [Fr], twiddles: &Twiddles) {
    debug_assert_eq!(elements.len(), 1 << twiddles.0.len());
    join_halves(elements, &twiddles.0);
}

fn join_halves(elements: &mut [Fr], stages: &[Vec<Fr>]) {
    let Some((last, earlier)) = stages.split_last() else { return };
    if elements.len() <= LEAF {
        for stage in stages {
            elements.chunks_exact_mut(2 * stage.len()).for_each(|block| join(block, stage));
        }
        return;
    }
    let (low, high) = elements.split_at_mut(last.len());
    if low.len() >= PARALLEL {
        rayon::join(|| join_halves(low, earlier), || join_halves(high, earlier));
    } else {
        join_halves(low, earlier);
        join_halves(high, earlier);
    }
    pairs(low, high, last, |low, high, factor| {
        let product = *high * *factor;
        *high = *low - product;
        *low += product;
    });
}

fn join(block: &mut [Fr], stage: &[Fr]) {
    let (low, high) = block.split_at_mut(stage.len());
    for ((low, high), factor) in low.iter_mut().zip(high).zip(stage) {
        let product = *high * *factor;
        *high = *low - product;
        *low += product;
    }
}

/// Values in natural order become coefficients in bit-reversed order, `2^k` times too great.
pub(super) fn interpolate(elements: &mut [Fr], twiddles: &Twiddles) {
    debug_assert_eq!(elements.len(), 1 << twiddles.0.len());
    split_halves(elements, &twiddles.0);
}

fn split_halves(elements: &mut [Fr], stages: &[Vec<Fr>]) {
    let Some((last, earlier)) = stages.split_last() else { return };
    if elements.len() <= LEAF {
        for stage in stages.iter().rev() {
            elements.chunks_exact_mut(2 * stage.len()).for_each(|block| split(block, stage));
        }
        return;
    }
    let (low, high) = elements.split_at_mut(last.len());
    pairs(low, high, last, |low, high, factor| {
        let difference = *low - *high;
        *low += *high;
        *high = difference * *factor;
    });
    if low.len() >= PARALLEL {
        rayon::join(|| split_halves(low, earlier), || split_halves(high, earlier));
    } else {
        split_halves(low, earlier);
        split_halves(high, earlier);
    }
}

fn split(block: &mut [Fr], stage: &[Fr]) {
    let (low, high) = block.split_at_mut(stage.len());
    for ((low, high), factor) in low.iter_mut().zip(high).zip(stage) {
        let difference = *low - *high;
        *low += *high;
        *high = difference * *factor;
    }
}

fn pairs(low: &mut [Fr], high: &mut [Fr], stage: &[Fr], each: impl Fn(&mut Fr, &mut Fr, &Fr) + Sync) {
    let chunks = low.par_chunks_mut(PARALLEL).zip(high.par_chunks_mut(PARALLEL)).zip(stage.par_chunks(PARALLEL));
    chunks.for_each(|((low, high), stage)| {
        for ((low, high), factor) in low.iter_mut().zip(high).zip(stage) {
            each(low, high, factor);
        }
    });
}

/// Changes between the natural and the bit-reversed order.
pub(super) fn reverse_bits<T>(elements: &mut [T]) {
    let Some(unused) = usize::BITS.checked_sub(elements.len().trailing_zeros()) else { return };
    if unused == usize::BITS {
        return;
    }
    for i in 0..elements.len() {
        let j = i.reverse_bits() >> unused;
        if i < j {
            elements.swap(i, j);
        }
    }
}

/// The value at a point of the polynomial with these coefficients in bit-reversed order.
pub(super) fn value_at(coefficients: &[Fr], point: Fr) -> Fr {
    // Neighbours differ in the highest bit of their exponents.
    let log = coefficients.len().trailing_zeros() as usize;
    let powers: Vec<Fr> = successors(Some(point), |power| Some(power.square())).take(log).collect();
    fold(coefficients, &powers)
}

/// `powers` are `x, x^2, x^4, ..`, as many as the logarithm of the number of coefficients.
fn fold(coefficients: &[Fr], powers: &[Fr]) -> Fr {
    let Some((point, rest)) = powers.split_first() else { return coefficients[0] };
    let (even, odd) = coefficients.split_at(coefficients.len() / 2);
    if even.len() >= PARALLEL {
        let (even, odd) = rayon::join(|| fold(even, rest), || fold(odd, rest));
        return even + odd * point;
    }
    let mut values = coefficients.to_vec();
    for power in powers.iter().rev() {
        let half = values.len() / 2;
        for i in 0..half {
            values[i] = values[2 * i] + values[2 * i + 1] * power;
        }
        values.truncate(half);
    }
    values[0]
}

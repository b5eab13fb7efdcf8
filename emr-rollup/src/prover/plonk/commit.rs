//! Commitments: sums of multiples of the setup's points (Pippenger's method).
//!
//! Each scalar is cut into signed digits of [`WINDOW`] bits. For each digit's place, the points are sorted by the digit,
//! and the points of one digit are added pairwise, round by round. So thousands of independent additions of affine points
//! share one inversion, and an addition costs six multiplications. Sorting also means that equal digits, which witness
//! columns have many of, need no special path.

use halo2_proofs::{
    SerdeFormat,
    poly::{commitment::Params, kzg::commitment::ParamsKZG},
};
use halo2curves::{
    bn256::{Bn256, Fq, G1, G1Affine},
    ff::{Field, PrimeField},
    group::{Curve, Group},
};
use rayon::prelude::*;

use super::domain::reverse_bits;
use crate::primitive::field::Fr;

/// The greatest number of bits of a digit.
const WINDOW: usize = 15;
/// The number of additions that share an inversion.
const BATCH: usize = 512;

/// The setup's points, in the orders that the prover needs.
#[derive(Debug)]
pub(super) struct Committer {
    /// For coefficients in bit-reversed order.
    powers: Vec<G1Affine>,
    /// For values on H.
    lagrange: Vec<G1Affine>,
}

impl Committer {
    /// Takes the points from a setup. Its Lagrange points are only in its serialised form.
    pub(super) fn new(params: &ParamsKZG<Bn256>) -> std::io::Result<Self> {
        use halo2_proofs::SerdeCurveAffine as _;
        let size = 1usize << params.k();
        let mut bytes = vec![];
        params.write_custom(&mut bytes, SerdeFormat::RawBytesUnchecked)?;
        let mut reader = &bytes[size_of::<u32>()..];
        let mut read = || -> std::io::Result<Vec<G1Affine>> {
            (0..size).map(|_| G1Affine::read(&mut reader, SerdeFormat::RawBytesUnchecked)).collect()
        };
        let mut powers = read()?;
        let lagrange = read()?;
        reverse_bits(&mut powers);
        Ok(Self { powers, lagrange })
    }

    /// Commits to polynomials by their coefficients in bit-reversed order.
    pub(super) fn coefficients(&self, polynomials: &[Vec<Fr>]) -> Vec<G1Affine> {
        commit(polynomials, &self.powers)
    }

    /// Commits to polynomials by their values on H.
    pub(super) fn values(&self, polynomials: &[Vec<Fr>]) -> Vec<G1Affine> {
        commit(polynomials, &self.lagrange)
    }
}

fn commit(polynomials: &[Vec<Fr>], points: &[G1Affine]) -> Vec<G1Affine> {
    let sums: Vec<G1> = polynomials.par_iter().map(|scalars| multiply(scalars, points)).collect();
    let mut affine = vec![G1Affine::default(); sums.len()];
    G1::batch_normalize(&sums, &mut affine);
    affine
}

/// `sum scalars[i] · points[i]`.
pub(super) fn multiply(scalars: &[Fr], points: &[G1Affine]) -> G1 {
    let bits = (scalars.len().max(1).ilog2() as usize).saturating_sub(2).clamp(2, WINDOW);
    // One more bit than a scalar has, because digits are signed.
    let places = (Fr::NUM_BITS as usize + 1).div_ceil(bits);
    let scalars: Vec<_> = scalars.par_iter().map(|scalar| Words::of(*scalar)).collect();
    let sums: Vec<G1> = (0..places)
        .into_par_iter()
        .map(|place| sum_of_multiples(sorted(&scalars, points, place * bits, bits), bits))
        .collect();
    sums.into_iter().rev().fold(G1::identity(), |sum, next| (0..bits).fold(sum, |sum, _| sum.double()) + next)
}

/// A scalar as an integer, least significant word first.
struct Words([u64; 5]);

impl Words {
    fn of(scalar: Fr) -> Self {
        let mut words = [0; 5];
        for (word, bytes) in words.iter_mut().zip(scalar.to_repr().as_ref().chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Self(words)
    }

    /// The signed digit of `bits` bits from bit `start` on (Booth): its lowest bit counts the bit below it too, and its highest
    /// bit counts negatively.
    fn digit(&self, start: usize, bits: usize) -> i32 {
        // Bits start-1 to start+bits-1.
        let window = match start.checked_sub(1) {
            None => self.0[0] << 1,
            Some(first) => {
                let (word, shift) = (first / 64, first % 64);
                let high = self.0.get(word + 1).copied().unwrap_or(0);
                self.0[word] >> shift | if shift == 0 { 0 } else { high << (64 - shift) }
            }
        } & ((1 << (bits + 1)) - 1);
        let magnitude = window.div_ceil(2) as i32;
        if window >> bits == 1 { magnitude - (1 << bits) } else { magnitude }
    }
}

/// Points in the order of their digits: `starts[d - 1]..starts[d]` are those with digit d.
struct Sorted {
    points: Vec<G1Affine>,
    starts: Vec<u32>,
}

fn sorted(scalars: &[Words], points: &[G1Affine], start: usize, bits: usize) -> Sorted {
    let mut starts = vec![0u32; (1 << (bits - 1)) + 1];
    let digits: Vec<i32> = scalars.iter().map(|scalar| scalar.digit(start, bits)).collect();
    for digit in digits.iter().filter(|digit| **digit != 0) {
        starts[digit.unsigned_abs() as usize] += 1;
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    let mut next = starts.clone();
    let mut order = vec![0u32; starts.last().map_or(0, |count| *count as usize)];
    for (i, digit) in digits.iter().enumerate().filter(|(_, digit)| **digit != 0) {
        let place = &mut next[digit.unsigned_abs() as usize - 1];
        order[*place as usize] = (i as u32) << 1 | u32::from(*digit < 0);
        *place += 1;
    }
    let points = order.iter().map(|entry| {
        let point = points[(entry >> 1) as usize];
        if entry & 1 == 0 { point } else { -point }
    });
    Sorted { points: points.collect(), starts }
}

/// `sum d · (sum of the points with digit d)`.
///
/// With `d - 1 = r·i + j`, this is `sum r·i·(row i) + sum (j+1)·(column j)`, where a row is the sum over all j, and a column
/// the sum over all i. Rows and columns are sums of pairs too.
fn sum_of_multiples(sorted: Sorted, bits: usize) -> G1 {
    let sorted = sorted.summed();
    let digits = 1usize << (bits - 1);
    let row = 1usize << ((bits - 1) / 2);
    let of_digit = |digit: usize| &sorted.points[sorted.starts[digit] as usize..sorted.starts[digit + 1] as usize];
    let mut columns = Sorted { points: Vec::with_capacity(sorted.points.len()), starts: vec![0] };
    for column in 0..row {
        (column..digits).step_by(row).for_each(|digit| columns.points.extend(of_digit(digit)));
        columns.starts.push(columns.points.len() as u32);
    }
    let starts = sorted.starts.iter().step_by(row).copied().collect();
    let rows = Sorted { points: sorted.points, starts };
    let (rows, columns) = (rows.summed(), columns.summed());
    let by_row = (0..row.ilog2()).fold(rows.multiples(0), |sum, _| sum.double());
    by_row + columns.multiples(1)
}

impl Sorted {
    /// Adds all points of each digit.
    fn summed(mut self) -> Self {
        while let Some(next) = self.halved() {
            self = next;
        }
        self
    }

    /// `sum (i + first) · (point of digit i)`, counting digits from 0. Each digit has one point or none.
    fn multiples(&self, first: usize) -> G1 {
        let (mut from_here, mut sum) = (G1::identity(), G1::identity());
        for digit in (1 - first..self.starts.len() - 1).rev() {
            let (start, end) = (self.starts[digit] as usize, self.starts[digit + 1] as usize);
            from_here = self.points[start..end].iter().fold(from_here, |sum, point| sum + point);
            sum += from_here;
        }
        sum
    }

    /// Adds the points of each digit in pairs. `None` if no digit has two.
    fn halved(&self) -> Option<Self> {
        let runs = || self.starts.windows(2).map(|run| (run[0] as usize, run[1] as usize));
        if runs().all(|(start, end)| end - start < 2) {
            return None;
        }
        let mut starts = Vec::with_capacity(self.starts.len());
        starts.push(0);
        let mut points = Vec::with_capacity(self.points.len() / 2 + self.starts.len());
        let mut additions = Additions::new();
        for (start, end) in runs() {
            let mut pairs = self.points[start..end].chunks_exact(2);
            for pair in &mut pairs {
                additions.push(pair[0], pair[1], points.len());
                points.push(G1Affine::default());
                if additions.is_full() {
                    additions.finish(&mut points);
                }
            }
            points.extend(pairs.remainder());
            starts.push(points.len() as u32);
        }
        additions.finish(&mut points);
        Some(Self { points, starts })
    }
}

/// Additions of affine points that wait for their common inversion.
struct Additions {
    waiting: Vec<Addition>,
    product: Fq,
}

struct Addition {
    left: G1Affine,
    right: G1Affine,
    place: usize,
    numerator: Fq,
    denominator: Fq,
    /// The product of the denominators before this one.
    before: Fq,
}

impl Additions {
    fn new() -> Self {
        Self { waiting: Vec::with_capacity(BATCH), product: Fq::ONE }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() == BATCH
    }

    fn push(&mut self, left: G1Affine, right: G1Affine, place: usize) {
        let (mut numerator, mut denominator) = (right.y - left.y, right.x - left.x);
        if denominator == Fq::ZERO && left.y == right.y {
            // The tangent. The curve has no points with y = 0 except the identity, which is (0, 0) here.
            let square = left.x.square();
            (numerator, denominator) = (square.double() + square, left.y.double());
        }
        if left.y == Fq::ZERO || right.y == Fq::ZERO {
            denominator = Fq::ZERO;
        }
        let before = self.product;
        if denominator != Fq::ZERO {
            self.product *= denominator;
        }
        self.waiting.push(Addition { left, right, place, numerator, denominator, before });
    }

    /// Writes the sums to their places.
    fn finish(&mut self, points: &mut [G1Affine]) {
        let mut inverse = self.product.invert().unwrap_or(Fq::ONE);
        for addition in self.waiting.drain(..).rev() {
            let Addition { left, right, place, numerator, denominator, before } = addition;
            points[place] = if denominator == Fq::ZERO {
                // One point is the identity, or they are each other's negatives.
                (G1::from(left) + right).to_affine()
            } else {
                let slope = numerator * (inverse * before);
                inverse *= denominator;
                let x = slope.square() - left.x - right.x;
                G1Affine { x, y: slope * (left.x - x) - left.y }
            };
        }
        self.product = Fq::ONE;
    }
}

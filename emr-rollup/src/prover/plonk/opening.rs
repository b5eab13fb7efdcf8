//! SHPLONK: one proof for the values of many polynomials at several points
//! (Boneh, Drake, Fisch, Gabizon, <https://eprint.iacr.org/2020/081>).
//!
//! Order and challenges are those of halo2-axiom's `ProverSHPLONK`. Polynomials that are opened at the same points are
//! added before anything else is done with them.

use std::io;

use halo2_proofs::{
    arithmetic::{kate_division, lagrange_interpolate},
    transcript::{EncodedChallenge, TranscriptWrite},
};
use halo2curves::{
    bn256::{Fr, G1Affine},
    ff::Field,
};
use rayon::prelude::*;

use super::{
    commit::Committer,
    domain::{reverse_bits, value_at},
};

/// A polynomial's value at a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'a> {
    /// Coefficients in bit-reversed order. Two openings are of the same polynomial if they refer to the same slice.
    pub(super) polynomial: &'a [Fr],
    pub(super) point: Fr,
    pub(super) value: Fr,
}

/// The polynomials that are opened at the same points.
struct Set<'a> {
    points: Vec<Fr>,
    /// With the values at the points, in their order.
    polynomials: Vec<(&'a [Fr], Vec<Fr>)>,
}

fn sets<'a>(openings: &[Opening<'a>]) -> Vec<Set<'a>> {
    let mut polynomials: Vec<&'a [Fr]> = vec![];
    for opening in openings {
        if !polynomials.iter().any(|known| std::ptr::eq(*known, opening.polynomial)) {
            polynomials.push(opening.polynomial);
        }
    }
    let mut sets: Vec<Set<'a>> = vec![];
    for polynomial in polynomials {
        let of_this = openings.iter().filter(|opening| std::ptr::eq(opening.polynomial, polynomial));
        let mut values: Vec<_> = of_this.map(|opening| (opening.point, opening.value)).collect();
        values.sort_unstable();
        let (points, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        match sets.iter_mut().find(|set| set.points == points) {
            Some(set) => set.polynomials.push((polynomial, values)),
            None => sets.push(Set { points, polynomials: vec![(polynomial, values)] }),
        }
    }
    sets
}

/// A set's polynomials as one: `sum y^k · P_k`, and the polynomial of low degree with the same values at the points.
struct Combined {
    points: Vec<Fr>,
    polynomial: Vec<Fr>,
    remainder: Vec<Fr>,
}

impl Combined {
    fn new(set: Set<'_>, y: Fr) -> Self {
        let (mut polynomial, mut remainder) = (vec![], vec![Fr::ZERO; set.points.len()]);
        let mut power = Fr::ONE;
        for (summand, values) in &set.polynomials {
            add_multiple(&mut polynomial, summand, power);
            let low = lagrange_interpolate(&set.points, values);
            remainder.iter_mut().zip(low).for_each(|(sum, coefficient)| *sum += coefficient * power);
            power *= y;
        }
        Self { points: set.points, polynomial, remainder }
    }

    /// The quotient of `polynomial - remainder` by the polynomial that is 0 at the points. In natural order.
    fn quotient(&self) -> Vec<Fr> {
        let mut numerator = self.polynomial.clone();
        reverse_bits(&mut numerator);
        numerator.iter_mut().zip(&self.remainder).for_each(|(coefficient, low)| *coefficient -= low);
        self.points.iter().fold(numerator, |numerator, point| kate_division(&numerator, *point))
    }

    fn remainder_at(&self, point: Fr) -> Fr {
        self.remainder.iter().rev().fold(Fr::ZERO, |sum, coefficient| sum * point + coefficient)
    }
}

/// `sum += factor · summand`. An empty sum is 0.
fn add_multiple(sum: &mut Vec<Fr>, summand: &[Fr], factor: Fr) {
    if sum.is_empty() {
        *sum = summand.par_iter().map(|coefficient| *coefficient * factor).collect();
    } else {
        sum.par_iter_mut().zip(summand).for_each(|(sum, coefficient)| *sum += *coefficient * factor);
    }
}

fn vanishing(points: impl Iterator<Item = Fr>, at: Fr) -> Fr {
    points.fold(Fr::ONE, |product, point| product * (at - point))
}

/// Writes the proof of all openings.
pub(super) fn prove<E: EncodedChallenge<G1Affine>, T: TranscriptWrite<G1Affine, E>>(
    committer: &Committer,
    openings: &[Opening<'_>],
    transcript: &mut T,
) -> io::Result<()> {
    let y: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let sets: Vec<_> = sets(openings).into_iter().map(|set| Combined::new(set, y)).collect();
    let v: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let size = sets.first().map_or(0, |set| set.polynomial.len());

    let quotients: Vec<_> = sets.par_iter().map(Combined::quotient).collect();
    let mut sum = vec![Fr::ZERO; size];
    let mut power = Fr::ONE;
    for quotient in &quotients {
        sum.iter_mut().zip(quotient).for_each(|(sum, coefficient)| *sum += *coefficient * power);
        power *= v;
    }
    drop(quotients);
    reverse_bits(&mut sum);
    let quotient = [sum];
    committer.coefficients(&quotient).into_iter().try_for_each(|point| transcript.write_point(point))?;
    let [quotient] = quotient;

    let u: Fr = *transcript.squeeze_challenge_scalar::<()>();
    let mut all_points: Vec<_> = sets.iter().flat_map(|set| set.points.iter().copied()).collect();
    all_points.sort_unstable();
    all_points.dedup();
    let outside = |set: &Combined| vanishing(all_points.iter().copied().filter(|point| !set.points.contains(point)), u);
    let mut linear = vec![];
    let mut power = Fr::ONE;
    let mut constant = Fr::ZERO;
    for set in &sets {
        let factor = power * outside(set);
        add_multiple(&mut linear, &set.polynomial, factor);
        constant += factor * set.remainder_at(u);
        power *= v;
    }
    add_multiple(&mut linear, &quotient, -vanishing(all_points.iter().copied(), u));
    linear[0] -= constant;
    debug_assert_eq!(value_at(&linear, u), Fr::ZERO);
    reverse_bits(&mut linear);
    // The verifier divides everything by the first set's factor.
    let scale = sets.first().and_then(|set| Option::from(outside(set).invert())).unwrap_or(Fr::ONE);
    let mut last: Vec<_> = kate_division(&linear, u).into_iter().map(|coefficient| coefficient * scale).collect();
    last.resize(size, Fr::ZERO);
    reverse_bits(&mut last);
    committer.coefficients(&[last]).into_iter().try_for_each(|point| transcript.write_point(point))
}

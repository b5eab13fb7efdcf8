//! The permutation argument: its grand products, and its constraints on a coset.
//!
//! halo2's factors are `v + beta·s + gamma` and `v + beta·delta^j·X + gamma`. Here both are divided by beta:
//! `u + s` and `u + delta^j·X`, with `u = (v + gamma) / beta`. So both sides share u, and the quotient of the products
//! stays the same.

use std::iter::successors;

use halo2curves::{
    bn256::Fr,
    ff::{BatchInvert, Field, PrimeField},
};
use rand_core_06::RngCore;
use rayon::prelude::*;

use super::{
    key::{FixedCoset, Key},
    program::{Columns, rows},
};

/// Rows per task.
const TASK: usize = 1 << 12;

/// The challenges of the argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Challenges {
    pub(super) beta: Fr,
    pub(super) gamma: Fr,
}

impl Challenges {
    /// `1/beta` and `gamma/beta`. A challenge is 0 with a probability of 2^-254.
    fn divided(self) -> (Fr, Fr) {
        let inverse = self.beta.invert().unwrap_or(Fr::ZERO);
        (inverse, self.gamma * inverse)
    }
}

/// `delta^j`: the factor that makes the labels of column j different from those of other columns.
fn delta(j: usize) -> Fr {
    Fr::DELTA.pow_vartime([j as u64])
}

/// The values of the grand products on H. Their last rows are random.
pub(super) fn products(
    key: &Key,
    columns: Columns<'_>,
    challenges: Challenges,
    rng: &mut impl RngCore,
) -> Vec<Vec<Fr>> {
    let size = key.domain.size();
    let usable = size - key.blinding;
    let mut start = Fr::ONE;
    let mut products = vec![];
    for first in (0..key.permuted.len()).step_by(key.columns_per_product) {
        let quotients = quotients(key, columns, challenges, first);
        let running = successors(Some((start, 0)), |(product, row)| Some((*product * quotients[*row], row + 1)));
        let mut product: Vec<_> = running.take(usable).map(|(product, _)| product).collect();
        start = product[usable - 1];
        product.extend((0..key.blinding).map(|_| Fr::random(&mut *rng)));
        products.push(product);
    }
    products
}

/// For each row, the quotient of the two sides' factors, of the columns that share a product.
fn quotients(key: &Key, columns: Columns<'_>, challenges: Challenges, first: usize) -> Vec<Fr> {
    let (inverse, offset) = challenges.divided();
    let range = first..key.permuted.len().min(first + key.columns_per_product);
    let mut quotients = vec![Fr::ONE; key.domain.size()];
    quotients.par_chunks_mut(TASK).enumerate().for_each(|(task, quotients)| {
        let start = task * TASK;
        let mut numerators = vec![Fr::ONE; quotients.len()];
        for j in range.clone() {
            let (kind, column) = key.permuted[j];
            let values = &columns.of(kind, column)[start..];
            let sigma = &key.sigma_values[j][start..];
            let delta = delta(j);
            for (i, (numerator, denominator)) in numerators.iter_mut().zip(&mut *quotients).enumerate() {
                let u = values[i] * inverse + offset;
                *numerator *= u + delta * key.domain.power(start + i);
                *denominator *= u + sigma[i];
            }
        }
        quotients.iter_mut().batch_invert();
        quotients.iter_mut().zip(numerators).for_each(|(quotient, numerator)| *quotient *= numerator);
    });
    quotients
}

/// The constraints of the argument, ready for one coset.
#[derive(Debug)]
pub(super) struct Constraints<'a> {
    pub(super) key: &'a Key,
    pub(super) fixed: &'a FixedCoset,
    pub(super) columns: Columns<'a>,
    /// The grand products on the coset.
    pub(super) products: &'a [Vec<Fr>],
    pub(super) challenges: Challenges,
    pub(super) shift: Fr,
    /// The factors of the constraints.
    pub(super) powers: &'a [Fr],
}

impl Constraints<'_> {
    /// The number of constraints.
    pub(super) fn count(key: &Key) -> usize {
        match key.permuted.len().div_ceil(key.columns_per_product) {
            0 => 0,
            products => 2 * products + 1,
        }
    }

    /// Adds the weighted constraints of the rows from `start` on.
    pub(super) fn add_to(&self, start: usize, sums: &mut [Fr]) {
        let (Some(head), Some(tail)) = (self.products.first(), self.products.last()) else { return };
        let (length, here) = (sums.len(), start as i64);
        let last = self.key.blinding as i64 + 1;
        let (at_first, at_end, links) = (self.powers[0], self.powers[1], &self.powers[2..1 + self.products.len()]);
        // 1 on the last usable row, and 1 on the rows before it.
        let first = rows(&self.fixed.first, here, length);
        let end = rows(&self.fixed.first, here + last, length);
        let following = rows(&self.fixed.first, here + 1, length + last as usize - 1);
        for (i, sum) in sums.iter_mut().enumerate() {
            let (head, tail) = (head[start + i], tail[start + i]);
            *sum += (Fr::ONE - head) * first[i] * at_first + (tail.square() - tail) * end[i] * at_end;
        }
        for (pair, power) in self.products.windows(2).zip(links) {
            let before = rows(&pair[0], here - last, length);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum += (pair[1][start + i] - before[i]) * first[i] * power;
            }
        }
        let active: Vec<_> =
            (0..length).map(|i| Fr::ONE - following[i..i + last as usize].iter().sum::<Fr>()).collect();
        let points: Vec<_> = (start..start + length).map(|row| self.shift * self.key.domain.power(row)).collect();
        let (inverse, offset) = self.challenges.divided();
        for (set, product) in self.products.iter().enumerate() {
            let mut left = rows(product, here + 1, length).into_owned();
            let mut right = product[start..start + length].to_vec();
            let first = set * self.key.columns_per_product;
            let end = self.key.permuted.len().min(first + self.key.columns_per_product);
            for j in first..end {
                let (kind, column) = self.key.permuted[j];
                let values = &self.columns.of(kind, column)[start..start + length];
                let sigma = &self.fixed.sigma[j][start..start + length];
                let delta = delta(j);
                let sides = left.iter_mut().zip(&mut right).zip(&points);
                for ((value, sigma), ((left, right), point)) in values.iter().zip(sigma).zip(sides) {
                    let u = value * inverse + offset;
                    *left *= u + sigma;
                    *right *= u + delta * point;
                }
            }
            let power =
                self.powers[1 + self.products.len() + set] * self.challenges.beta.pow_vartime([(end - first) as u64]);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum += (left[i] - right[i]) * active[i] * power;
            }
        }
    }
}

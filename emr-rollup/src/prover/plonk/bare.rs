//! The part of a proof that every prover of this proof system has to do: transforms and sums of points.

use halo2curves::{bn256::Fr, ff::Field};
use rand_core_06::{CryptoRng, RngCore};
use rayon::prelude::*;

use super::{
    Engine,
    domain::interpolate,
    key::{Key, on_coset},
};

impl Engine {
    /// Does the transforms and the sums of points of a proof with these advice columns, and nothing else. Random
    /// polynomials stand in for those that a proof computes. Transforms of the key's own polynomials, which the proofs after the first save, are not done.
    pub(crate) fn bare(&self, mut advice: Vec<Vec<Fr>>, mut rng: impl RngCore + CryptoRng) {
        let Self(key) = self;
        let size = key.domain.size();
        let products = key.permuted.len().div_ceil(key.columns_per_product);
        let instance = key.verifying.cs().num_instance_columns();
        let random: Vec<Vec<Fr>> =
            (0..products.max(1)).map(|_| (0..size).map(|_| Fr::random(&mut rng)).collect()).collect();
        advice.iter_mut().for_each(|column| column[size - 1] = Fr::random(&mut rng));
        let mut points = key.committer.values(&advice);
        points.extend(key.committer.values(&random[..products]));
        // The random polynomial, the quotient's pieces, and the two points of the opening.
        let pieces: Vec<_> = (0..key.cosets + 3).map(|i| random[i % random.len()].clone()).collect();
        points.extend(key.committer.coefficients(&pieces));
        std::hint::black_box(points);

        let columns = advice.into_iter().chain(random[..products].iter().cloned());
        let columns = columns.chain((0..instance).map(|_| vec![Fr::ONE; size]));
        let columns: Vec<_> = columns.collect();
        let coefficients: Vec<_> = columns.into_par_iter().map(|values| key.domain.coefficients(values)).collect();
        (0..key.cosets).for_each(|coset| transform(key, &coefficients, coset));
    }
}

fn transform(key: &Key, polynomials: &[Vec<Fr>], coset: usize) {
    let shift = key.domain.shift(coset);
    let twiddles = key.domain.coset_factors(shift);
    let mut values: Vec<_> = polynomials.par_iter().map(|polynomial| on_coset(polynomial, &twiddles)).collect();
    if let Some(sum) = values.first_mut() {
        interpolate(sum, &key.domain.coset_inverse(shift));
    }
    std::hint::black_box(values);
}

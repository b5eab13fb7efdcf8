//! A prover for halo2-axiom's keys and proofs that is made for many proofs with one key.
//!
//! It writes the same transcript as halo2-axiom's `create_proof_from_advice`, and halo2-axiom's verifier checks its proofs.
//! It follows the constraint system in the key, and knows nothing of this project's circuit. What makes it faster:
//!
//! - `key`: the key's polynomials on the cosets are kept between proofs, as far as the memory allows.
//! - `expression`, `program`: the gates become straight-line code that shares work and runs over blocks of rows.
//! - `domain`: transforms without permutations, with tables.
//! - `commit`: sums of points with affine additions that share an inversion.
//! - `quotient`: as many cosets as the degree needs. `permutation`: the grand products. `opening`: SHPLONK.
//!
//! **Zero knowledge** is halo2's: the last rows of every advice column and of every grand product are random, and so is a
//! polynomial that hides the quotient's value. All randomness is new for each proof.

#[cfg(feature = "testing")]
mod bare;
mod commit;
mod domain;
mod expression;
mod key;
mod opening;
mod permutation;
mod program;
mod quotient;
#[cfg(test)]
mod tests;

use std::io;

use halo2_proofs::{
    plonk::{ProvingKey, VerifyingKey},
    poly::kzg::commitment::ParamsKZG,
    transcript::{EncodedChallenge, TranscriptWrite},
};
use halo2curves::{
    bn256::{Bn256, Fr, G1Affine},
    ff::Field,
};
use rand_core_06::{CryptoRng, RngCore};
use rayon::prelude::*;

use domain::value_at;
use key::Key;
pub use key::KeyError;
use opening::Opening;
use permutation::Challenges;
use program::Columns;
use quotient::Witness;

/// Proves with one key.
#[derive(Debug)]
pub(super) struct Engine(Key);

impl Engine {
    /// Prepares a key.
    ///
    /// # Errors
    /// [`KeyError`] if the circuit has lookups or challenges.
    pub(super) fn new(params: &ParamsKZG<Bn256>, key: &ProvingKey<G1Affine>, memory: u64) -> Result<Self, KeyError> {
        let mut engine = Self(Key::new(params, key)?);
        engine.keep(memory);
        Ok(engine)
    }

    /// Bounds the bytes of what is kept between proofs to save time.
    pub(super) fn keep(&mut self, memory: u64) {
        self.0.keep(memory);
    }

    /// The verifying key.
    pub(super) fn verifying_key(&self) -> &VerifyingKey<G1Affine> {
        &self.0.verifying
    }

    /// Writes a proof. The last rows of the advice columns, which are for blinding, are overwritten.
    ///
    /// # Errors
    /// If the transcript cannot be written.
    ///
    /// # Panics
    /// If the columns are not as many or as long as the key says.
    pub(super) fn prove<E: EncodedChallenge<G1Affine>, T: TranscriptWrite<G1Affine, E>>(
        &self,
        instance: &[&[Fr]],
        mut advice: Vec<Vec<Fr>>,
        mut rng: impl RngCore + CryptoRng,
        transcript: &mut T,
    ) -> io::Result<()> {
        let Self(key) = self;
        let (system, size) = (key.verifying.cs(), key.domain.size());
        assert_eq!(advice.len(), system.num_advice_columns(), "advice columns");
        assert_eq!(instance.len(), system.num_instance_columns(), "instance columns");
        key.verifying.hash_into(transcript)?;
        for value in instance.iter().copied().flatten() {
            transcript.common_scalar(*value)?;
        }
        let instance: Vec<_> = instance.iter().map(|values| padded(values, size, key.blinding)).collect();

        let usable = size - key.blinding - 1;
        for cell in advice.iter_mut().flat_map(|column| &mut column[usable..]) {
            *cell = Fr::random(&mut rng);
        }
        write_points(transcript, key.committer.values(&advice))?;

        // For lookups, of which there are none.
        let _theta = transcript.squeeze_challenge_scalar::<()>();
        let beta = *transcript.squeeze_challenge_scalar::<()>();
        let gamma = *transcript.squeeze_challenge_scalar::<()>();
        let challenges = Challenges { beta, gamma };
        let columns = Columns { fixed: &key.fixed_values, advice: &advice, instance: &instance };
        let products = permutation::products(key, columns, challenges, &mut rng);
        write_points(transcript, key.committer.values(&products))?;

        let random = [blinding_polynomial(size, &mut rng)];
        write_points(transcript, key.committer.coefficients(&random))?;
        let [random] = random;

        let y = *transcript.squeeze_challenge_scalar::<()>();
        let coefficients = |columns: Vec<Vec<Fr>>| -> Vec<Vec<Fr>> {
            columns.into_par_iter().map(|values| key.domain.coefficients(values)).collect()
        };
        let (advice, instance, products) = (coefficients(advice), coefficients(instance), coefficients(products));
        let witness = Witness { advice: &advice, instance: &instance, products: &products };
        let pieces = quotient::pieces(key, witness, challenges, y);
        write_points(transcript, key.committer.coefficients(&pieces))?;

        let x = *transcript.squeeze_challenge_scalar::<()>();
        let quotient = at_power(pieces, x.pow_vartime([size as u64]));
        let at = |polynomial, rotation| Query { polynomial, point: key.domain.rotate(x, rotation) };
        let of_advice =
            system.advice_queries().iter().map(|(column, rotation)| at(&advice[column.index()], rotation.0));
        let of_fixed =
            system.fixed_queries().iter().map(|(column, rotation)| at(&key.fixed[column.index()], rotation.0));
        let last = -(key.blinding as i32 + 1);
        let linked = products.len().saturating_sub(1);
        let of_products = products.iter().enumerate().flat_map(|(i, product)| {
            [Some(0), Some(1), (i < linked).then_some(last)]
                .into_iter()
                .flatten()
                .map(move |rotation| (product, rotation))
        });

        let advice_values = opened(of_advice.collect());
        let fixed_values = opened(of_fixed.collect());
        let random_value = opened(vec![at(&random, 0)]);
        let sigma_values = opened(key.sigma.iter().map(|sigma| at(sigma, 0)).collect());
        let product_values = opened(of_products.map(|(product, rotation)| at(product, rotation)).collect());
        for values in [&advice_values, &fixed_values, &random_value, &sigma_values, &product_values] {
            values.iter().try_for_each(|opening| transcript.write_scalar(opening.value))?;
        }
        let quotient_value = opened(vec![at(&quotient, 0)]);
        // The last rows of the products are opened after the others, from the last product to the first.
        let last_point = key.domain.rotate(x, last);
        let (links, here): (Vec<_>, Vec<_>) =
            product_values.into_iter().partition(|opening| linked > 0 && opening.point == last_point);
        let openings: Vec<_> = advice_values
            .into_iter()
            .chain(here)
            .chain(links.into_iter().rev())
            .chain(fixed_values)
            .chain(sigma_values)
            .chain(quotient_value)
            .chain(random_value)
            .collect();
        opening::prove(&key.committer, &openings, transcript)
    }
}

/// The polynomial that hides the quotient's value: random in every coefficient.
fn blinding_polynomial(size: usize, rng: &mut impl RngCore) -> Vec<Fr> {
    (0..size).map(|_| Fr::random(&mut *rng)).collect()
}

/// An instance column with zeros after its values.
fn padded(values: &[Fr], size: usize, blinding: usize) -> Vec<Fr> {
    assert!(values.len() < size - blinding, "too many public inputs");
    let mut column = values.to_vec();
    column.resize(size, Fr::ZERO);
    column
}

fn write_points<E: EncodedChallenge<G1Affine>, T: TranscriptWrite<G1Affine, E>>(
    transcript: &mut T,
    points: Vec<G1Affine>,
) -> io::Result<()> {
    points.into_iter().try_for_each(|point| transcript.write_point(point))
}

/// `sum power^m · pieces[m]`.
fn at_power(pieces: Vec<Vec<Fr>>, power: Fr) -> Vec<Fr> {
    let mut highest_first = pieces.into_iter().rev();
    let mut sum = highest_first.next().unwrap_or_default();
    for piece in highest_first {
        sum.par_iter_mut().zip(piece).for_each(|(sum, coefficient)| *sum = *sum * power + coefficient);
    }
    sum
}

struct Query<'a> {
    polynomial: &'a [Fr],
    point: Fr,
}

/// The values at the points.
fn opened(queries: Vec<Query<'_>>) -> Vec<Opening<'_>> {
    let values = queries.into_par_iter();
    values
        .map(|Query { polynomial, point }| Opening { polynomial, point, value: value_at(polynomial, point) })
        .collect()
}

//! Poseidon with circomlib's parameters, as this project uses it: t = 5, x^5, 8 full and 60 partial rounds.

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use ark_r1cs_std::fields::{FieldVar, fp::FpVar};
use ark_relations::gr1cs::SynthesisError;
use light_poseidon::{PoseidonError, parameters::bn254_x5::get_poseidon_parameters};

pub(crate) const WIDTH: usize = 5;
const FULL_ROUNDS: usize = 8;
const PARTIAL_ROUNDS: usize = 60;

/// The round constants and the matrix.
#[derive(Clone, Debug)]
pub(crate) struct Poseidon {
    rounds: Vec<[Fr; WIDTH]>,
    matrix: [[Fr; WIDTH]; WIDTH],
}

/// The same number in the older version of the field.
fn convert(element: &ark_bn254_05::Fr) -> Fr {
    use ark_ff_05::{BigInteger as _, PrimeField as _};
    Fr::from_le_bytes_mod_order(&element.into_bigint().to_bytes_le())
}

impl Poseidon {
    /// circomlib's constants.
    ///
    /// # Errors
    /// If light-poseidon has none for this width.
    pub(crate) fn circomlib() -> Result<Self, PoseidonError> {
        let parameters = get_poseidon_parameters::<ark_bn254_05::Fr>(WIDTH as u8)?;
        let row = |words: &[ark_bn254_05::Fr]| -> [Fr; WIDTH] { std::array::from_fn(|i| convert(&words[i])) };
        Ok(Self {
            rounds: parameters.ark.chunks_exact(WIDTH).map(row).collect(),
            matrix: std::array::from_fn(|i| row(&parameters.mds[i])),
        })
    }

    /// The hash of four words: the first word of the permuted state.
    pub(crate) fn hash(&self, [a, b, c, d]: [Fr; 4]) -> Fr {
        self.permute([Fr::ZERO, a, b, c, d])[0]
    }

    /// The hash of five words: the fifth with the hash of the others.
    pub(crate) fn hash_five(&self, [a, b, c, d, e]: [Fr; 5]) -> Fr {
        self.hash([self.hash([a, b, c, d]), e, Fr::ZERO, Fr::ZERO])
    }

    fn permute(&self, mut state: [Fr; WIDTH]) -> [Fr; WIDTH] {
        for (round, constants) in self.rounds.iter().enumerate() {
            for (word, constant) in state.iter_mut().zip(constants) {
                *word += constant;
            }
            for word in state.iter_mut().take(boxes(round)) {
                *word = word.square().square() * *word;
            }
            state = self.matrix.map(|row| row.iter().zip(&state).map(|(factor, word)| *factor * word).sum());
        }
        state
    }

    /// [`hash`](Self::hash) as constraints.
    ///
    /// # Errors
    /// If a value is missing.
    pub(crate) fn constrain_hash(&self, [a, b, c, d]: [FpVar<Fr>; 4]) -> Result<FpVar<Fr>, SynthesisError> {
        let [first, ..] = self.constrain([FpVar::zero(), a, b, c, d])?;
        Ok(first)
    }

    /// [`hash_five`](Self::hash_five) as constraints.
    ///
    /// # Errors
    /// If a value is missing.
    pub(crate) fn constrain_hash_five(&self, [a, b, c, d, e]: [FpVar<Fr>; 5]) -> Result<FpVar<Fr>, SynthesisError> {
        let four = self.constrain_hash([a, b, c, d])?;
        self.constrain_hash([four, e, FpVar::zero(), FpVar::zero()])
    }

    /// Three constraints for each S-box. Everything else is linear and takes none.
    fn constrain(&self, mut state: [FpVar<Fr>; WIDTH]) -> Result<[FpVar<Fr>; WIDTH], SynthesisError> {
        for (round, constants) in self.rounds.iter().enumerate() {
            for (word, constant) in state.iter_mut().zip(constants) {
                *word += *constant;
            }
            for word in state.iter_mut().take(boxes(round)) {
                *word = word.square()?.square()? * &*word;
            }
            state = self
                .matrix
                .map(|row| row.iter().zip(&state).fold(FpVar::zero(), |sum, (factor, word)| sum + word * *factor));
        }
        Ok(state)
    }
}

/// How many words of a round go through the S-box.
fn boxes(round: usize) -> usize {
    let partial = FULL_ROUNDS / 2..FULL_ROUNDS / 2 + PARTIAL_ROUNDS;
    if partial.contains(&round) { 1 } else { WIDTH }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn it_is_circomlibs_poseidon() {
        use light_poseidon::PoseidonHasher as _;
        let words = [3u64, 4, 5, 6].map(ark_bn254_05::Fr::from);
        let expected = light_poseidon::Poseidon::<ark_bn254_05::Fr>::new_circom(4).unwrap().hash(&words).unwrap();
        assert_eq!(Poseidon::circomlib().unwrap().hash([3u64, 4, 5, 6].map(Fr::from)), convert(&expected));
    }
}

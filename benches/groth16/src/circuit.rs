//! A batch as R1CS: for each operation a chain of hashes, and a signature of its end.

use ark_bn254::Fr;
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ed_on_bn254::{EdwardsAffine, EdwardsConfig, EdwardsProjective, Fr as Scalar};
use ark_ff::{AdditiveGroup, BigInteger, PrimeField, UniformRand};
use ark_r1cs_std::{
    alloc::{AllocVar, AllocationMode},
    convert::ToBitsGadget,
    eq::EqGadget,
    fields::fp::FpVar,
    groups::{CurveVar, curves::twisted_edwards::AffineVar},
    prelude::Boolean,
};
use ark_relations::{
    gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, SynthesisError},
    ns,
};
use ark_std::rand::Rng;

use crate::poseidon::Poseidon;

/// A point of Baby Jubjub as constraints.
type PointVar = AffineVar<EdwardsConfig, FpVar<Fr>>;

/// The permutations of the challenge of a signature: four words, and the fifth with their hash.
const CHALLENGE: usize = 2;

/// A chain of hashes and a signature of its end.
#[derive(Clone, Debug)]
struct Operation {
    /// What each permutation hashes with the value before.
    siblings: Vec<[Fr; 3]>,
    key: EdwardsAffine,
    r: EdwardsAffine,
    s: Scalar,
}

/// Operations, each of which starts with the end of the one before.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    poseidon: Poseidon,
    start: Fr,
    operations: Vec<Operation>,
    /// The end of the last operation: the public input.
    pub(crate) end: Fr,
}

impl Batch {
    /// A valid batch of operations with so many permutations each, the challenge's included.
    pub(crate) fn random(poseidon: Poseidon, operations: usize, permutations: usize, rng: &mut impl Rng) -> Self {
        let start = Fr::rand(rng);
        let mut end = start;
        let operations = (0..operations).map(|_| {
            let siblings: Vec<_> = (CHALLENGE..permutations).map(|_| [(); 3].map(|()| Fr::rand(rng))).collect();
            end = siblings.iter().fold(end, |value, [a, b, c]| poseidon.hash([value, *a, *b, *c]));
            let (secret, nonce) = (Scalar::rand(rng), Scalar::rand(rng));
            let [key, r] = [secret, nonce].map(|scalar| (EdwardsProjective::generator() * scalar).into_affine());
            let challenge = poseidon.hash_five([r.x, r.y, key.x, key.y, end]);
            let challenge = Scalar::from_le_bytes_mod_order(&challenge.into_bigint().to_bytes_le());
            Operation { siblings, key, r, s: nonce + challenge * secret }
        });
        let operations = operations.collect();
        Self { poseidon, start, operations, end }
    }
}

impl ConstraintSynthesizer<Fr> for &Batch {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let end = FpVar::new_input(ns!(system, "end"), || Ok(self.end))?;
        let mut value = FpVar::new_witness(ns!(system, "start"), || Ok(self.start))?;
        for operation in &self.operations {
            for siblings in &operation.siblings {
                let sibling = |i: usize| FpVar::new_witness(ns!(system, "sibling"), || Ok(siblings[i]));
                value = self.poseidon.constrain_hash([value, sibling(0)?, sibling(1)?, sibling(2)?])?;
            }
            operation.constrain_signature(&system, &self.poseidon, &value)?;
        }
        value.enforce_equal(&end)
    }
}

impl Operation {
    /// `S · B = R + c · A`.
    fn constrain_signature(
        &self,
        system: &ConstraintSystemRef<Fr>,
        poseidon: &Poseidon,
        message: &FpVar<Fr>,
    ) -> Result<(), SynthesisError> {
        // On the curve. That a key has prime order is checked when it is registered.
        let point = |point: EdwardsAffine| {
            PointVar::new_variable_omit_prime_order_check(
                ns!(system, "point"),
                || Ok(point.into()),
                AllocationMode::Witness,
            )
        };
        let (key, r) = (point(self.key)?, point(self.r)?);
        let words = [r.x.clone(), r.y.clone(), key.x.clone(), key.y.clone(), message.clone()];
        let challenge = poseidon.constrain_hash_five(words)?.to_bits_le()?;
        let s: Vec<_> = (0..Scalar::MODULUS_BIT_SIZE as usize)
            .map(|bit| Boolean::new_witness(ns!(system, "s"), || Ok(self.s.into_bigint().get_bit(bit))))
            .collect::<Result<_, _>>()?;

        let mut multiples = vec![EdwardsProjective::generator()];
        for _ in 1..s.len() {
            multiples.extend(multiples.last().map(|last| last.double()));
        }
        let mut left = PointVar::zero();
        left.precomputed_base_scalar_mul_le(s.iter().zip(&multiples))?;
        let right = key.scalar_mul_le(challenge.iter())? + r;
        left.enforce_equal(&right)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use ark_ff::Field;
    use ark_relations::gr1cs::ConstraintSystem;
    use ark_std::rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn is_satisfied(batch: &Batch) -> bool {
        let system = ConstraintSystem::new_ref();
        batch.generate_constraints(system.clone()).unwrap();
        system.is_satisfied().unwrap()
    }

    #[test]
    fn only_valid_batches_satisfy_the_constraints() {
        let batch = Batch::random(Poseidon::circomlib().unwrap(), 2, 6, &mut StdRng::seed_from_u64(0));
        assert!(is_satisfied(&batch));
        let mut signature = batch.clone();
        signature.operations[1].s += Scalar::ONE;
        let mut sibling = batch.clone();
        sibling.operations[0].siblings[1][2] += Fr::ONE;
        let mut end = batch.clone();
        end.end += Fr::ONE;
        for other in [signature, sibling, end] {
            assert!(!is_satisfied(&other));
        }
    }
}

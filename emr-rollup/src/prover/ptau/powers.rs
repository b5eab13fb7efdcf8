//! Whether points are the powers of one secret.
//!
//! For random `r_i`, `A = sum r_i P_i` and `B = sum r_i P_(i+1)` are computed while the points come. If every `P_(i+1)`
//! is tau times `P_i`, then `B` is tau times `A`, and a pairing shows that. If one is not, then the pairing holds with
//! probability `2^-128`: it holds for one value of that `r_i`.

use halo2_proofs::arithmetic::best_multiexp;
use halo2curves::{
    bn256::{Bn256, Fr, G1Affine, G2Affine},
    ff::PrimeField,
    group::{Curve, Group},
    pairing::Engine,
};
use rand_chacha_03::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};
use rand_core_06::OsRng;

use super::points::Point;

/// Randomness from the operating system, so that the file's maker cannot know it.
pub(in crate::prover) fn randomness() -> ChaCha20Rng {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    ChaCha20Rng::from_seed(seed)
}

/// Whether points of G1 are powers with the tau of this point in G2. All were decoded, so they are in their groups.
pub(in crate::prover) fn are_powers(points: &[G1Affine], tau_g2: G2Affine) -> bool {
    let mut sums = Sums::new();
    sums.add(points);
    let (low, high) = sums.finish();
    Bn256::pairing(&high, &G2Affine::generator()) == Bn256::pairing(&low, &tau_g2)
}

/// The two sums.
pub(super) struct Sums<P: Point> {
    last: Option<P>,
    low: P::CurveExt,
    high: P::CurveExt,
    rng: ChaCha20Rng,
}

impl<P: Point> Sums<P> {
    pub(super) fn new() -> Self {
        let zero = P::CurveExt::identity();
        Self { last: None, low: zero, high: zero, rng: randomness() }
    }

    /// Takes the next points.
    pub(super) fn add(&mut self, points: &[P]) {
        let all: Vec<P> = self.last.into_iter().chain(points.iter().copied()).collect();
        self.last = all.last().copied();
        let Some(pairs) = all.len().checked_sub(1).filter(|pairs| *pairs > 0) else { return };
        let coefficients: Vec<Fr> = (0..pairs).map(|_| self.coefficient()).collect();
        self.low += best_multiexp(&coefficients, &all[..pairs]);
        self.high += best_multiexp(&coefficients, &all[1..]);
    }

    fn coefficient(&mut self) -> Fr {
        Fr::from_u128(u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64()))
    }

    /// `A` and `B`.
    pub(super) fn finish(self) -> (P, P) {
        (self.low.to_affine(), self.high.to_affine())
    }
}

#[cfg(test)]
mod tests {
    use halo2curves::ff::Field;

    use super::*;

    fn powers(tau: Fr, count: usize) -> Vec<G1Affine> {
        let powers = std::iter::successors(Some(Fr::ONE), |power| Some(*power * tau));
        powers.take(count).map(|power| (G1Affine::generator() * power).to_affine()).collect()
    }

    /// Also across the border between two pieces, where a power is compared with the last one of the piece before.
    #[test]
    fn every_step_counts_in_every_piece() {
        let tau = Fr::from(7);
        let tau_g2 = (G2Affine::generator() * tau).to_affine();
        let good = powers(tau, 12);
        let holds = |points: &[G1Affine], piece: usize| {
            let mut sums = Sums::new();
            points.chunks(piece).for_each(|points| sums.add(points));
            let (low, high) = sums.finish();
            Bn256::pairing(&high, &G2Affine::generator()) == Bn256::pairing(&low, &tau_g2)
        };
        for piece in [1, 2, 3, 4, 5, 12] {
            assert!(holds(&good, piece), "pieces of {piece}");
            // From place i on, all powers are those of another chain: only one step is wrong.
            for i in 1..good.len() {
                let mut other = good.clone();
                other[i..].copy_from_slice(&good[..good.len() - i]);
                assert!(!holds(&other, piece), "pieces of {piece}, step {i}");
            }
        }
        assert!(are_powers(&good, tau_g2));
        assert!(!are_powers(&good, G2Affine::generator()));
    }
}

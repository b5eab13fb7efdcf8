//! The two hashes of the last contribution, computed from the points. The response hash is BLAKE2b-512 of the challenge
//! that the contributor got, all points in compressed form, and the contributor's public key. The next challenge hash is
//! BLAKE2b-512 of the response hash and all points in plain form.
//!
//! The file also holds the state of the response's hash before the key. It is not used: a forger can copy it from a
//! real contribution, and put other points beside it.

use blake2b_simd::State;
use halo2curves::{
    bn256::{G1Affine, G2Affine},
    group::prime::PrimeCurveAffine,
};

use super::{
    CHUNK, Hash512,
    contribution::Last,
    error::PointFault,
    points::{Point, compressed, plain},
};

/// The hash of what the last contributor sent.
pub(super) struct Response {
    hash: State,
    key: Vec<u8>,
}

impl Response {
    /// The points follow, section by section.
    pub(super) fn begin(last: &Last, power: u32) -> Self {
        let mut hash = State::new();
        hash.update(&last.before.unwrap_or_else(|| first_challenge(power)).0);
        Self { hash, key: last.key.clone() }
    }

    /// Takes points in plain form. `size` is the bytes of a coordinate. On a failure, returns the first bad point's
    /// position.
    pub(super) fn points(&mut self, plain: &[u8], size: usize) -> Result<(), (u64, PointFault)> {
        self.hash.update(&compressed(plain, size)?);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Hash512 {
        self.hash.update(&self.key);
        finish(&self.hash)
    }
}

/// The hash that was computed.
pub(super) fn finish(hash: &State) -> Hash512 {
    Hash512(*hash.finalize().as_array())
}

/// The challenge of the first contributor: a file in which tau, alpha and beta are 1, after the hash of nothing.
fn first_challenge(power: u32) -> Hash512 {
    let mut hash = State::new();
    hash.update(State::new().finalize().as_bytes());
    let n = 1_u64 << power;
    let (one_1, one_2) = (generator::<G1Affine>(), generator::<G2Affine>());
    for (one, count) in [(&one_1, 2 * n - 1), (&one_2, n), (&one_1, n), (&one_1, n), (&one_2, 1)] {
        let chunk = one.repeat(count.min(CHUNK as u64) as usize);
        let mut left = count * one.len() as u64;
        while left > 0 {
            let now = left.min(chunk.len() as u64);
            hash.update(&chunk[..now as usize]);
            left -= now;
        }
    }
    finish(&hash)
}

/// The generator in plain form.
fn generator<P: Point + PrimeCurveAffine>() -> Vec<u8> {
    plain(&<P as PrimeCurveAffine>::generator().to_raw_bytes(), P::SIZE / 2).unwrap_or_default()
}

//! Changes of a valid proof. None of the results may be accepted.

use emr_rollup::{batch::PublicInputs, primitive::field::Fr};
use halo2curves::{
    bn256::Fq,
    ff::{Field, PrimeField},
};
use rand_chacha_03::{ChaCha20Rng, rand_core::RngCore};

use crate::inputs_with;

/// A proof and the values that it is for.
#[derive(Clone, PartialEq)]
pub(crate) struct Proven {
    pub(crate) public: PublicInputs,
    pub(crate) proof: Vec<u8>,
}

const POINT: usize = 64;
const WORD: usize = 32;
/// A proof begins with this many points: ten advice columns, a permutation product, the blinding polynomial, eight
/// parts of the quotient.
const POINTS: usize = 20;
/// It ends with two points. The evaluations come before them.
const OPENING: usize = 2 * POINT;

/// Makes changes of a proof.
pub(crate) struct Changes<'a> {
    pub(crate) rng: ChaCha20Rng,
    pub(crate) honest: &'a Proven,
    /// A proof of another circuit.
    pub(crate) foreign: &'a Proven,
}

impl Changes<'_> {
    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound as u64) as usize
    }

    /// The next change. It differs from the honest proof.
    pub(crate) fn next(&mut self) -> Proven {
        loop {
            let mut changed = self.honest.clone();
            match self.below(12) {
                0 => self.flip(&mut changed.proof, 1),
                1 => {
                    let bits = 2 + self.below(7);
                    self.flip(&mut changed.proof, bits);
                }
                2 => self.replace_word(&mut changed.proof),
                3 => self.swap(&mut changed.proof, WORD),
                4 => self.swap(&mut changed.proof, POINT),
                5 => changed.proof.truncate(self.below(self.honest.proof.len())),
                6 => {
                    let extra = 1 + self.below(100);
                    changed.proof.resize(self.honest.proof.len() + extra, self.rng.next_u32() as u8);
                }
                7 => changed.public = inputs_with(&changed.public, self.below(PublicInputs::COUNT)),
                8 => changed.public.z = self.random_scalar(),
                9 => self.replace_point(&mut changed.proof),
                10 => {
                    let words = self.below(changed.proof.len() / WORD);
                    changed.proof.rotate_left(WORD * words);
                }
                _ => changed = self.foreign_proof(),
            }
            if changed != *self.honest {
                return changed;
            }
        }
    }

    fn flip(&mut self, proof: &mut [u8], bits: usize) {
        for _ in 0..bits {
            let bit = self.below(8 * proof.len());
            proof[bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn random_scalar(&mut self) -> Fr {
        Fr::random(&mut self.rng)
    }

    /// Puts another value in a word: a random scalar, a number at the edge of a field, or the same value plus a
    /// modulus.
    fn replace_word(&mut self, proof: &mut [u8]) {
        let place = WORD * self.below(proof.len() / WORD);
        let word = &mut proof[place..place + WORD];
        let value = match self.below(7) {
            0 => scalar(&self.random_scalar()),
            1 => [0; WORD],
            2 => [0xff; WORD],
            3 => scalar(&-Fr::ONE),
            4 => coordinate(&-Fq::ONE),
            5 => sum(word, &modulus()),
            _ => sum(word, &sum(&coordinate(&-Fq::ONE), &scalar(&Fr::ONE))),
        };
        word.copy_from_slice(&value);
    }

    /// Exchanges two parts of the same size.
    fn swap(&mut self, proof: &mut [u8], size: usize) {
        let [a, b] = [(); 2].map(|()| size * self.below(proof.len() / size));
        for i in 0..size {
            proof.swap(a + i, b + i);
        }
    }

    /// Puts another point of the curve in the place of a point: its negation, another point of the proof, the
    /// generator, or the neutral element.
    fn replace_point(&mut self, proof: &mut [u8]) {
        let places: Vec<_> =
            (0..POINTS).map(|i| POINT * i).chain([proof.len() - OPENING, proof.len() - POINT]).collect();
        let place = places[self.below(places.len())];
        let other = places[self.below(places.len())];
        let point: [u8; POINT] = match self.below(4) {
            0 => {
                let mut y: [u8; WORD] = proof[place + WORD..place + POINT].try_into().unwrap();
                y.reverse();
                let negated = coordinate(&-Fq::from_repr(y).unwrap());
                [&proof[place..place + WORD], &negated].concat().try_into().unwrap()
            }
            1 => proof[other..other + POINT].try_into().unwrap(),
            2 => [coordinate(&Fq::ONE), coordinate(&Fq::from(2))].concat().try_into().unwrap(),
            _ => [0; POINT],
        };
        proof[place..place + POINT].copy_from_slice(&point);
    }

    /// A proof that is valid for another key, with its own values or with the honest ones.
    fn foreign_proof(&mut self) -> Proven {
        let public = if self.below(2) == 0 { self.foreign.public } else { self.honest.public };
        let mut changed = Proven { public, proof: self.foreign.proof.clone() };
        if self.below(2) == 0 {
            self.flip(&mut changed.proof, 1);
        }
        changed
    }
}

fn scalar(value: &Fr) -> [u8; WORD] {
    let mut bytes = value.to_repr();
    bytes.reverse();
    bytes
}

fn coordinate(value: &Fq) -> [u8; WORD] {
    let mut bytes = value.to_repr();
    bytes.reverse();
    bytes
}

/// The sum of two big-endian numbers, modulo 2^256.
pub(crate) fn sum(a: &[u8], b: &[u8]) -> [u8; WORD] {
    let mut result = [0; WORD];
    let mut carry = 0;
    for i in (0..WORD).rev() {
        let digit = u16::from(a[i]) + u16::from(b[i]) + carry;
        result[i] = digit as u8;
        carry = digit >> 8;
    }
    result
}

/// The scalar field's modulus.
pub(crate) fn modulus() -> [u8; WORD] {
    sum(&scalar(&-Fr::ONE), &scalar(&Fr::ONE))
}

//! Poseidon over BN254 with circomlib's parameters: t = 3, x^5, 8 full and 57 partial rounds.
//!
//! Source: Grassi et al., "Poseidon: A New Hash Function for Zero-Knowledge Proof Systems" (2019/458), whose Grain LFSR
//! yields the constants. The capacity word starts as a domain [`Tag`].

use std::sync::LazyLock;

use halo2curves::ff::{Field, PrimeField};

use crate::primitive::field::Fr;

/// Full rounds, half before and half after the partial ones.
pub const FULL_ROUNDS: usize = 8;
/// Partial rounds.
pub const PARTIAL_ROUNDS: usize = 57;
/// Words of state: one of capacity, two of rate.
pub const WIDTH: usize = 3;

/// What a hash is for. The number is the initial capacity word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// Inner node of a tree, and the state root.
    Node = 0,
    /// Identity leaf.
    Identity = 1,
    /// Medical leaf.
    Medical = 2,
    /// Grant leaf.
    Grant = 3,
    /// Record leaf.
    Record = 4,
    /// Audit head.
    AuditHead = 5,
    /// Commitment to a batch's data.
    Data = 6,
    /// Signed message.
    Message = 7,
    /// Signature challenge.
    Challenge = 8,
    /// Audit entry.
    AuditEntry = 9,
}

impl Tag {
    /// The initial capacity word.
    pub fn capacity(self) -> Fr {
        Fr::from(self as u64)
    }
}

/// The permutation's constants.
#[derive(Debug)]
pub struct Parameters {
    /// `round_constants[r][i]` is added to word i before round r.
    pub round_constants: [[Fr; WIDTH]; FULL_ROUNDS + PARTIAL_ROUNDS],
    /// The mixing matrix: new word i is `sum_j mds[i][j] · word j`.
    pub mds: [[Fr; WIDTH]; WIDTH],
}

/// Circomlib's constants, derived once.
pub static PARAMETERS: LazyLock<Parameters> = LazyLock::new(Parameters::derive);

impl Parameters {
    fn derive() -> Self {
        let mut grain = Grain::new();
        let mut round_constants = [[Fr::ZERO; WIDTH]; FULL_ROUNDS + PARTIAL_ROUNDS];
        for word in round_constants.iter_mut().flatten() {
            *word = grain.element();
        }
        let [x0, x1, x2, y0, y1, y2] = [(); 2 * WIDTH].map(|()| grain.reduced_element());
        // A Cauchy matrix; the sums are invertible for these constants, as the vectors below show.
        let mds = [x0, x1, x2].map(|x| [y0, y1, y2].map(|y| (x + y).invert().unwrap_or(Fr::ZERO)));
        Self { round_constants, mds }
    }
}

/// The self-shrinking Grain LFSR of the Poseidon paper, appendix E.
struct Grain {
    state: [bool; 80],
    head: usize,
}

impl Grain {
    fn new() -> Self {
        let mut state = [true; 80];
        let fields: [(u64, usize); 6] =
            [(1, 2), (0, 4), (254, 12), (3, 12), (FULL_ROUNDS as u64, 10), (PARTIAL_ROUNDS as u64, 10)];
        let bits = fields.iter().flat_map(|&(value, width)| (0..width).rev().map(move |i| value >> i & 1 == 1));
        for (slot, bit) in state.iter_mut().zip(bits) {
            *slot = bit;
        }
        let mut grain = Self { state, head: 0 };
        for _ in 0..160 {
            grain.step();
        }
        grain
    }

    fn step(&mut self) -> bool {
        let bit = [62, 51, 38, 23, 13, 0].iter().fold(false, |sum, i| sum ^ self.state[(self.head + i) % 80]);
        self.state[self.head] = bit;
        self.head = (self.head + 1) % 80;
        bit
    }

    fn bit(&mut self) -> bool {
        while !self.step() {
            self.step();
        }
        self.step()
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut little = [0; 32];
        for i in (0..254).rev() {
            little[i / 8] |= u8::from(self.bit()) << (i % 8);
        }
        little
    }

    fn element(&mut self) -> Fr {
        loop {
            if let Some(element) = Option::from(Fr::from_repr(self.bytes())) {
                return element;
            }
        }
    }

    fn reduced_element(&mut self) -> Fr {
        let mut bytes = self.bytes();
        bytes.reverse();
        crate::primitive::field::reduce(&bytes)
    }
}

/// `x^5`, the S-box.
#[inline]
pub fn pow5(x: Fr) -> Fr {
    let square = x.square();
    square.square() * x
}

/// `mds · words`.
#[inline]
pub fn mix(words: [Fr; WIDTH]) -> [Fr; WIDTH] {
    PARAMETERS.mds.map(|row| row[0] * words[0] + row[1] * words[1] + row[2] * words[2])
}

/// The permutation.
pub fn permute(mut state: [Fr; WIDTH]) -> [Fr; WIDTH] {
    const HALF: usize = FULL_ROUNDS / 2;
    for (round, constants) in PARAMETERS.round_constants.iter().enumerate() {
        for (word, constant) in state.iter_mut().zip(constants) {
            *word += constant;
        }
        state[0] = pow5(state[0]);
        if !(HALF..HALF + PARTIAL_ROUNDS).contains(&round) {
            state[1] = pow5(state[1]);
            state[2] = pow5(state[2]);
        }
        state = mix(state);
    }
    state
}

/// `H_tag(inputs)`: a rate-2 sponge with the tag as capacity; output is state word 0.
///
/// Arity is fixed per tag by the callers, so an odd last input is not padded.
pub fn hash(tag: Tag, inputs: &[Fr]) -> Fr {
    let mut state = [tag.capacity(), Fr::ZERO, Fr::ZERO];
    for pair in inputs.chunks(2) {
        state[1] += pair[0];
        state[2] += pair.get(1).copied().unwrap_or(Fr::ZERO);
        state = permute(state);
    }
    state[0]
}

/// `H_0(left, right)`: an inner node.
pub fn node(left: Fr, right: Fr) -> Fr {
    permute([Fr::ZERO, left, right])[0]
}

#[cfg(test)]
mod tests {
    use ark_ff::{BigInteger, PrimeField as _};
    use light_poseidon::PoseidonHasher;

    use super::*;
    use crate::primitive::field;

    fn ark(element: Fr) -> ark_bn254::Fr {
        ark_bn254::Fr::from_be_bytes_mod_order(&field::to_bytes(&element))
    }

    fn ours(element: ark_bn254::Fr) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&element.into_bigint().to_bytes_be());
        bytes
    }

    #[test]
    fn circomlib_vector() {
        assert_eq!(
            hex::encode(field::to_bytes(&node(Fr::from(1), Fr::from(2)))),
            "115cc0f5e7d690413df64c6b9662e9cf2a3617f2743245519e19607a4417189a"
        );
    }

    #[test]
    fn agrees_with_light_poseidon_for_every_tag() -> Result<(), light_poseidon::PoseidonError> {
        let mut x = Fr::from(11);
        for tag in 0..10u64 {
            let mut peer = light_poseidon::Poseidon::<ark_bn254::Fr>::with_domain_tag_circom(2, tag.into())?;
            for i in 0..20 {
                let expected = ours(peer.hash(&[ark(x), i.into()])?);
                let output = permute([Fr::from(tag), x, Fr::from(i)])[0];
                assert_eq!(field::to_bytes(&output), expected);
                x = output;
            }
        }
        Ok(())
    }

    #[test]
    fn the_sponge_chains_the_whole_state() {
        let [a, b, c] = [3, 4, 5].map(Fr::from);
        let first = permute([Tag::Record.capacity(), a, b]);
        let second = permute([first[0], first[1] + c, first[2]]);
        assert_eq!(hash(Tag::Record, &[a, b, c]), second[0]);
        assert_ne!(hash(Tag::Record, &[a, b, c]), hash(Tag::Identity, &[a, b, c]));
    }
}

//! Poseidon over BN254 with circomlib's parameters: t = 5, x^5, 8 full and 60 partial rounds.
//!
//! Source: Grassi et al., "Poseidon: A New Hash Function for Zero-Knowledge Proof Systems" (2019/458), whose Grain LFSR
//! yields the constants. The capacity word starts as a domain [`Tag`].

pub(crate) mod schedule;

use std::sync::LazyLock;

use halo2curves::ff::{Field, PrimeField};

use crate::primitive::field::Fr;

/// Full rounds, half before and half after the partial ones.
pub const FULL_ROUNDS: usize = 8;
/// Partial rounds.
pub const PARTIAL_ROUNDS: usize = 60;
/// Words of state: one of capacity, four of rate.
pub const WIDTH: usize = 5;
/// The inputs of one permutation.
pub const RATE: usize = WIDTH - 1;

/// What a hash is for. The number is the initial capacity word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// Inner node of a tree.
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
    /// State root.
    State = 10,
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
        let [x, y] = [(); 2].map(|()| [(); WIDTH].map(|()| grain.reduced_element()));
        // A Cauchy matrix. The sums are invertible for these constants, as the vectors below show.
        let mds = x.map(|x| y.map(|y| (x + y).invert().unwrap_or(Fr::ZERO)));
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
            [(1, 2), (0, 4), (254, 12), (WIDTH as u64, 12), (FULL_ROUNDS as u64, 10), (PARTIAL_ROUNDS as u64, 10)];
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
    PARAMETERS.mds.map(|row| row.iter().zip(&words).map(|(factor, word)| factor * word).sum())
}

/// The permutation.
pub fn permute(state: [Fr; WIDTH]) -> [Fr; WIDTH] {
    schedule::last(state)
}

/// `H_tag(inputs)`. The first permutation takes up to four inputs, and its state starts with the tag. Each further one takes the output of
/// the one before and up to three more inputs, under the same tag. The output is word 0 of the state.
///
/// Each tag has a fixed number of inputs, so missing ones of the last permutation are 0.
pub fn hash(tag: Tag, inputs: &[Fr]) -> Fr {
    let (first, rest) = inputs.split_at(inputs.len().min(RATE));
    let mut state = [Fr::ZERO; WIDTH];
    state[1..=first.len()].copy_from_slice(first);
    rest.chunks(RATE - 1).fold(compress(tag, state), |output, more| {
        let mut state = [Fr::ZERO; WIDTH];
        state[1] = output;
        state[2..2 + more.len()].copy_from_slice(more);
        compress(tag, state)
    })
}

fn compress(tag: Tag, mut state: [Fr; WIDTH]) -> Fr {
    state[0] = tag.capacity();
    permute(state)[0]
}

/// `H_0(children)`: an inner node of a tree.
pub fn node(children: [Fr; RATE]) -> Fr {
    hash(Tag::Node, &children)
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

    /// `poseidon([1, 2, 3, 4])` of circomlibjs 0.1.7 (`test/poseidon.js`).
    #[test]
    fn circomlib_vector() {
        assert_eq!(
            hex::encode(field::to_bytes(&node([1, 2, 3, 4].map(Fr::from)))),
            "299c867db6c1fdd79dcefa40e4510b9837e60ebb1ce0663dbaa525df65250465"
        );
    }

    #[test]
    fn agrees_with_light_poseidon_for_every_tag() -> Result<(), light_poseidon::PoseidonError> {
        let mut x = Fr::from(11);
        for tag in 0..=10u64 {
            let mut peer = light_poseidon::Poseidon::<ark_bn254::Fr>::with_domain_tag_circom(RATE, tag.into())?;
            for i in 0..20 {
                let expected = ours(peer.hash(&[ark(x), i.into(), (2 * i).into(), 7.into()])?);
                let output = permute([Fr::from(tag), x, Fr::from(i), Fr::from(2 * i), Fr::from(7)])[0];
                assert_eq!(field::to_bytes(&output), expected);
                x = output;
            }
        }
        Ok(())
    }

    #[test]
    fn more_than_four_inputs_are_a_chain() {
        let inputs: Vec<Fr> = (3..12).map(Fr::from).collect();
        let tag = Tag::Message.capacity();
        let [a, b, c, d, e, f, g, h, i] = inputs[..] else { panic!("nine inputs") };
        let first = permute([tag, a, b, c, d])[0];
        let second = permute([tag, first, e, f, g])[0];
        assert_eq!(hash(Tag::Message, &inputs[..6]), permute([tag, first, e, f, Fr::ZERO])[0]);
        assert_eq!(hash(Tag::Message, &inputs), permute([tag, second, h, i, Fr::ZERO])[0]);
        assert_eq!(hash(Tag::Grant, &inputs[..2]), permute([Tag::Grant.capacity(), a, b, Fr::ZERO, Fr::ZERO])[0]);
        assert_ne!(hash(Tag::Record, &inputs), hash(Tag::Message, &inputs));
    }
}

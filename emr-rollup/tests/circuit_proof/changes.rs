//! Changes of a valid proof. None of the results may be accepted.

use emr_rollup::{
    batch::PublicInputs,
    operation::Domain,
    primitive::field::{Fr, to_root},
};
use halo2curves::{
    bn256::Fq,
    ff::{Field, PrimeField},
};
use rand_chacha_03::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::inputs_with;
use Alter::{Both, Own};

/// A proof and the values that it is for.
#[derive(Clone, PartialEq)]
pub(crate) struct Proven {
    pub(crate) public: PublicInputs,
    pub(crate) proof: Vec<u8>,
}

/// Valid proofs, which the changes start from.
#[derive(Clone, Copy)]
pub(crate) struct Originals<'a> {
    /// A proof of the current circuit.
    pub(crate) current: &'a Proven,
    /// Two proofs of a circuit of another size. They are for the same batch.
    pub(crate) small: &'a [Proven; 2],
}

/// The key that a proof is presented to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Current,
    /// The key of the other size.
    Small,
}

/// A proof that must be refused.
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) proven: Proven,
}

const POINT: usize = 64;
const WORD: usize = 32;
/// A proof begins with this many points: ten advice columns, a permutation product, the blinding polynomial, eight
/// parts of the quotient.
const POINTS: usize = 20;
/// It ends with two points. The evaluations come before them.
const OPENING: usize = 2 * POINT;

/// How a change is made.
enum Alter {
    /// A change of the proof of the current circuit.
    Own(fn(&mut Chance, &mut Proven)),
    /// A combination of proofs, and the key that it is presented to.
    Both(fn(&mut Chance, Originals<'_>) -> (Key, Proven)),
}

/// All kinds of changes. Change `n` is of kind `n % KINDS.len()`.
const KINDS: [(&str, Alter); 17] = [
    ("one bit", Own(|chance, proven| chance.flip(&mut proven.proof, 1))),
    (
        "some bits",
        Own(|chance, proven| {
            let bits = 2 + chance.below(7);
            chance.flip(&mut proven.proof, bits);
        }),
    ),
    ("another word", Own(|chance, proven| chance.replace_word(&mut proven.proof))),
    ("another point", Own(|chance, proven| chance.replace_point(&mut proven.proof))),
    ("words exchanged", Own(|chance, proven| chance.swap(&mut proven.proof, WORD))),
    ("points exchanged", Own(|chance, proven| chance.swap(&mut proven.proof, POINT))),
    (
        "words rotated",
        Own(|chance, proven| {
            let words = chance.below(proven.proof.len() / WORD);
            proven.proof.rotate_left(WORD * words);
        }),
    ),
    ("words shuffled", Own(|chance, proven| chance.shuffle(&mut proven.proof))),
    ("truncated", Own(|chance, proven| proven.proof.truncate(chance.below(proven.proof.len())))),
    (
        "extended",
        Own(|chance, proven| {
            let extra = 1 + chance.below(100);
            proven.proof.resize(proven.proof.len() + extra, chance.0.next_u32() as u8);
        }),
    ),
    ("a word left out", Own(|chance, proven| chance.leave_out(&mut proven.proof))),
    (
        "public input plus one",
        Own(|chance, proven| proven.public = inputs_with(&proven.public, chance.below(PublicInputs::COUNT))),
    ),
    ("another public input", Own(|chance, proven| chance.replace_input(&mut proven.public))),
    ("public inputs exchanged", Own(|chance, proven| chance.swap_inputs(&mut proven.public))),
    (
        "proof of another key",
        Both(|chance, originals| (Key::Current, chance.foreign(originals.current, &originals.small[0]))),
    ),
    (
        "proof under another key",
        Both(|chance, originals| (Key::Small, chance.foreign(&originals.small[0], originals.current))),
    ),
    ("two proofs mixed", Both(|chance, originals| (Key::Small, chance.mixed(originals.small)))),
];

/// The name of a change's kind.
pub(crate) fn kind(number: u64) -> &'static str {
    KINDS[(number % KINDS.len() as u64) as usize].0
}

impl Change {
    /// A change of these proofs. It depends on nothing but them, the seed and its number.
    pub(crate) fn new(originals: Originals<'_>, seed: u64, number: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(number);
        let mut chance = Chance(rng);
        let (_, alter) = &KINDS[(number % KINDS.len() as u64) as usize];
        loop {
            let (key, proven) = match alter {
                Own(alter) => {
                    let mut proven = originals.current.clone();
                    alter(&mut chance, &mut proven);
                    (Key::Current, proven)
                }
                Both(alter) => alter(&mut chance, originals),
            };
            let unchanged = match key {
                Key::Current => proven == *originals.current,
                Key::Small => originals.small.contains(&proven),
            };
            if !unchanged {
                return Self { key, proven };
            }
        }
    }
}

/// The random choices of one change.
struct Chance(ChaCha20Rng);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    fn flip(&mut self, proof: &mut [u8], bits: usize) {
        for _ in 0..bits {
            let bit = self.below(8 * proof.len());
            proof[bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn scalar(&mut self) -> Fr {
        Fr::random(&mut self.0)
    }

    /// Puts another value in a word: a random scalar, a number at the edge of a field, or the same value plus a
    /// modulus.
    fn replace_word(&mut self, proof: &mut [u8]) {
        let place = WORD * self.below(proof.len() / WORD);
        let word = &mut proof[place..place + WORD];
        let value = match self.below(7) {
            0 => big_endian(self.scalar().to_repr()),
            1 => [0; WORD],
            2 => [0xff; WORD],
            3 => big_endian((-Fr::ONE).to_repr()),
            4 => big_endian((-Fq::ONE).to_repr()),
            5 => sum(word, &modulus()),
            _ => sum(word, &sum(&big_endian((-Fq::ONE).to_repr()), &big_endian(Fr::ONE.to_repr()))),
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

    /// Puts the words of a part of the proof in another order.
    fn shuffle(&mut self, proof: &mut [u8]) {
        let words = proof.len() / WORD;
        let first = self.below(words - 1);
        for last in (first + 1..words).rev() {
            let other = first + self.below(last - first + 1);
            for i in 0..WORD {
                proof.swap(WORD * last + i, WORD * other + i);
            }
        }
    }

    /// Leaves a word out. Half of the results have the right length, with zeros at the end.
    fn leave_out(&mut self, proof: &mut Vec<u8>) {
        let place = WORD * self.below(proof.len() / WORD);
        proof.drain(place..place + WORD);
        if self.below(2) == 0 {
            proof.extend([0; WORD]);
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
                let negated = big_endian((-Fq::from_repr(y).unwrap()).to_repr());
                [&proof[place..place + WORD], &negated].concat().try_into().unwrap()
            }
            1 => proof[other..other + POINT].try_into().unwrap(),
            2 => [big_endian(Fq::ONE.to_repr()), big_endian(Fq::from(2).to_repr())].concat().try_into().unwrap(),
            _ => [0; POINT],
        };
        proof[place..place + POINT].copy_from_slice(&point);
    }

    /// Puts a random value in the place of a public input.
    fn replace_input(&mut self, public: &mut PublicInputs) {
        let value = self.scalar();
        let number = self.0.next_u64();
        match self.below(PublicInputs::COUNT) {
            0 => {
                let mut contract = [0; 20];
                self.0.fill_bytes(&mut contract);
                public.domain = Domain::new(number >> 1, contract);
            }
            1 => public.pre = to_root(&value),
            2 => public.post = to_root(&value),
            3 => public.time = number,
            4 => public.n1 = number % 64,
            5 => public.n = number % 64,
            6 => public.commitment = value,
            7 => public.z = value,
            8 => public.y1 = value,
            _ => public.y2 = value,
        }
    }

    /// Exchanges two public inputs of the same type.
    fn swap_inputs(&mut self, public: &mut PublicInputs) {
        let PublicInputs { pre, post, time, n1, n, commitment, z, y1, y2, .. } = public;
        match self.below(6) {
            0 => std::mem::swap(pre, post),
            1 => std::mem::swap(n1, n),
            2 => std::mem::swap(time, n),
            3 => std::mem::swap(commitment, z),
            4 => std::mem::swap(y1, y2),
            _ => std::mem::swap(z, y2),
        }
    }

    /// A proof that is valid for another key: with its own values or with those of a proof of this key, and unchanged or
    /// with another bit.
    fn foreign(&mut self, own: &Proven, foreign: &Proven) -> Proven {
        let public = if self.below(2) == 0 { foreign.public } else { own.public };
        let mut changed = Proven { public, proof: foreign.proof.clone() };
        if self.below(2) == 0 {
            self.flip(&mut changed.proof, 1);
        }
        changed
    }

    /// Two valid proofs of one batch, mixed: the first words of one and the last of the other, or each word by chance.
    fn mixed(&mut self, [one, other]: &[Proven; 2]) -> Proven {
        let mut mixed = one.clone();
        let words = mixed.proof.len() / WORD;
        let border = self.below(words);
        let by_chance = self.below(2) == 0;
        for word in 0..words {
            if if by_chance { self.below(2) == 0 } else { word < border } {
                let place = WORD * word..WORD * (word + 1);
                mixed.proof[place.clone()].copy_from_slice(&other.proof[place]);
            }
        }
        mixed
    }
}

fn big_endian(mut bytes: [u8; WORD]) -> [u8; WORD] {
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
    sum(&big_endian((-Fr::ONE).to_repr()), &big_endian(Fr::ONE.to_repr()))
}

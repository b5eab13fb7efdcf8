//! A second implementation of what the contracts compute. It follows the definitions with big integers: Baby Jubjub by
//! affine addition, RSA by modular exponentiation, the settlement's values by sums of powers.

use std::sync::LazyLock;

use alloy::primitives::keccak256;
use emr_chain::{BatchContent, CurvePoint, Word, Words};
use num_bigint::BigUint;
use serde::Deserialize;
use sha2::{Digest, Sha256};

fn number(decimal: &str) -> BigUint {
    decimal.parse().expect("a constant")
}

pub fn modulus() -> BigUint {
    number("21888242871839275222246405745257275088548364400416034343698204186575808495617")
}

/// 32 bytes, big-endian.
pub fn word(value: &BigUint) -> Word {
    let bytes = value.to_bytes_be();
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(&bytes);
    word
}

pub fn integer(value: u64) -> Word {
    word(&value.into())
}

/// A point of Baby Jubjub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub x: BigUint,
    pub y: BigUint,
}

impl Point {
    pub fn neutral() -> Self {
        Self { x: 0_u8.into(), y: 1_u8.into() }
    }

    /// Circomlib's generator of the whole group, of order 8l (ERC-2494).
    pub fn generator() -> Self {
        Self {
            x: number("995203441582195749578291179787384436505546430278305826713579947235728471134"),
            y: number("5472060717959818805561601436314318772137091100104008585924551046643952123905"),
        }
    }

    /// Circomlib's Base8, eight times the generator (ERC-2494).
    pub fn base8() -> Self {
        Self {
            x: number("5299619240641551281634865583518297030282874472190772894086521144482721001553"),
            y: number("16950150798460657717958625567821834550301663161624707787222815936182638968203"),
        }
    }

    /// The prime order `l` of Base8.
    pub fn order() -> BigUint {
        number("2736030358979909402780800718157159386076813972158567259200215660948447373041")
    }

    /// `a x^2 + y^2 = 1 + d x^2 y^2`, a = 168700, d = 168696; the addition law of twisted Edwards curves, complete
    /// here.
    pub fn add(&self, other: &Self) -> Self {
        let p = modulus();
        let (a, d) = (BigUint::from(168_700_u32), BigUint::from(168_696_u32));
        let inverse = |v: BigUint| v.modpow(&(&p - 2_u8), &p);
        let xx = &self.x * &other.x % &p;
        let yy = &self.y * &other.y % &p;
        let dxxyy = &d * &xx * &yy % &p;
        let x = (&self.x * &other.y + &self.y * &other.x) * inverse((&dxxyy + 1_u8) % &p) % &p;
        let y = (yy + &p * &p - a * xx % &p) * inverse((&p + 1_u8 - dxxyy) % &p) % &p;
        Self { x, y }
    }

    pub fn times(&self, scalar: &BigUint) -> Self {
        (0..scalar.bits()).rev().fold(Self::neutral(), |sum, bit| {
            let double = sum.add(&sum);
            if scalar.bit(bit) { double.add(self) } else { double }
        })
    }

    pub fn bytes(&self) -> CurvePoint {
        CurvePoint { x: word(&self.x), y: word(&self.y) }
    }
}

/// An RSA key pair made by OpenSSL.
#[derive(Deserialize)]
pub struct RsaKey {
    pub bits: usize,
    modulus: String,
    private_exponent: String,
    signature: String,
}

#[derive(Deserialize)]
struct RsaKeys {
    message: String,
    keys: Vec<RsaKey>,
}

static RSA_KEYS: LazyLock<RsaKeys> =
    LazyLock::new(|| serde_json::from_str(include_str!("rsa.json")).expect("the fixture is JSON"));

/// The key of 2048, 3072 or 4096 bits.
pub fn rsa(bits: usize) -> &'static RsaKey {
    RSA_KEYS.keys.iter().find(|key| key.bits == bits).expect("the fixture has this size")
}

impl RsaKey {
    pub fn modulus(&self) -> Vec<u8> {
        hex::decode(&self.modulus).expect("the fixture is hexadecimal")
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2.1).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let info =
            [&hex::decode("3031300d060960864801650304020105000420").expect("a constant")[..], &Sha256::digest(message)];
        let info = info.concat();
        let length = self.bits / 8;
        let encoded = [&[0, 1], &vec![0xff; length - info.len() - 3][..], &[0], &info].concat();
        let exponent = hex::decode(&self.private_exponent).expect("the fixture is hexadecimal");
        let (exponent, modulus) = (BigUint::from_bytes_be(&exponent), BigUint::from_bytes_be(&self.modulus()));
        let signature = BigUint::from_bytes_be(&encoded).modpow(&exponent, &modulus).to_bytes_be();
        [vec![0; length - signature.len()], signature].concat()
    }
}

/// The D1 words of a Register entry (`docs/encoding.md`).
pub fn register_entry(account: u64, role: u8, org: u64, key: &Point, commitment: &BigUint) -> Words {
    let fields: [(u32, u64); 8] =
        [(8, 16), (24, account), (8, role.into()), (8, 1), (24, org), (2, 0), (16, 0), (1, 0)];
    let packed = fields.iter().fold(BigUint::ZERO, |packed, (width, value)| (packed << *width) + *value);
    [word(&packed), word(&key.x), word(&key.y), word(commitment)]
}

pub fn queue_hash(d1: &[Words]) -> [u8; 32] {
    d1.iter().fold([0; 32], |hash, entry| keccak256([&[hash], &entry[..]].concat().concat()).0)
}

/// The ten public inputs that the contract must pass to its verifier. A rollup's domain comes with the L1 and L2 slots of
/// the batch's size.
pub fn public_inputs((domain, slots): (Word, (u64, u64)), number: u64, batch: &BatchContent) -> [Word; 10] {
    let (n1, n) = (integer(batch.d1.len() as u64), integer(batch.d2.len() as u64));
    let time = integer(batch.time.get());
    let data_hash = keccak256(batch.d2.as_flattened().as_flattened()).0;
    let covered = [
        domain,
        integer(1),
        integer(slots.0),
        integer(slots.1),
        integer(number),
        *batch.pre.as_bytes(),
        *batch.post.as_bytes(),
        time,
        batch.commitment,
        n1,
        n,
        queue_hash(&batch.d1),
        data_hash,
    ];
    let z = BigUint::from_bytes_be(keccak256(covered.as_flattened()).as_slice()) % modulus();
    let evaluate = |entries: &[Words]| {
        let terms = entries.as_flattened().iter().zip(0_u32..);
        let sum: BigUint = terms.map(|(word, i)| BigUint::from_bytes_be(word) * z.modpow(&i.into(), &modulus())).sum();
        word(&(sum % modulus()))
    };
    let (y1, y2) = (evaluate(&batch.d1), evaluate(&batch.d2));
    [domain, *batch.pre.as_bytes(), *batch.post.as_bytes(), time, n1, n, batch.commitment, word(&z), y1, y2]
}

/// The hash of the calldata that the verifier must see.
pub fn verifier_calldata_hash(rollup: (Word, (u64, u64)), number: u64, batch: &BatchContent) -> [u8; 32] {
    keccak256([public_inputs(rollup, number, batch).as_flattened(), &batch.proof].concat()).0
}

/// Checks equations that hold for circomlib's constants.
#[test]
fn baby_jubjub_constants() {
    let p = modulus();
    let Point { x, y } = Point::generator();
    let (xx, yy) = (&x * &x % &p, &y * &y % &p);
    assert_eq!((168_700_u32 * &xx + &yy) % &p, (168_696_u32 * xx * yy + 1_u8) % &p);
    assert_eq!(Point::generator().times(&8_u8.into()), Point::base8());
    assert_eq!(Point::base8().times(&Point::order()), Point::neutral());
}

#[test]
fn rsa_signatures_are_those_of_openssl() {
    for key in &RSA_KEYS.keys {
        assert_eq!(hex::encode(key.sign(RSA_KEYS.message.as_bytes())), key.signature, "{} bits", key.bits);
    }
}

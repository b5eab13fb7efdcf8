//! EdDSA over Baby Jubjub with a Poseidon challenge (`docs/encoding.md`, "The signed message").

use sha2::{Digest, Sha512};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::primitive::{
    field::{self, Fr},
    jubjub::{Point, Scalar},
    poseidon::{self, Tag},
};

/// Why a key or a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The bytes are not coordinates of a point of the curve.
    #[error("not a point of the Baby Jubjub curve")]
    NotOnCurve,
    /// A public key outside the subgroup of prime order.
    #[error("the public key is not in the subgroup of prime order")]
    SmallOrder,
    /// `S` is not below the group order, or a coordinate is not below the field's modulus.
    #[error("the signature is not in canonical form")]
    NotCanonical,
    /// The equation does not hold.
    #[error("the signature does not verify under this key and message")]
    Invalid,
}

/// A rollup signing key. It is zeroized on drop, and its `Debug` output does not show it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SigningKey {
    scalar: Scalar,
    prefix: [u8; 32],
    #[zeroize(skip)]
    public: PublicKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

fn sha512(parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    Zeroizing::new(hasher.finalize().into())
}

impl SigningKey {
    /// Derives the key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let scalar = Scalar::reduce_wide(&sha512(&[b"emr/rollup/key/v1", seed]));
        let mut prefix = [0; 32];
        prefix.copy_from_slice(&sha512(&[b"emr/rollup/nonce/v1", seed])[..32]);
        Self { scalar, prefix, public: PublicKey(Point::BASE * &scalar) }
    }

    /// The verifying key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// `Q = (8^-1 mod l) · A`, which the owner submits on L1; the contract stores `8Q = A`.
    pub fn registration_point(&self) -> Point {
        self.public.0 * &Scalar::inverse_of_cofactor()
    }

    /// Signs a message element. The signature is deterministic.
    pub fn sign(&self, message: Fr) -> Signature {
        let (x, y, m) =
            (field::to_bytes(&self.public.x()), field::to_bytes(&self.public.y()), field::to_bytes(&message));
        let nonce = Zeroizing::new(Scalar::reduce_wide(&sha512(&[b"emr/rollup/r/v1", &self.prefix, &x, &y, &m])));
        let r = Point::BASE * &nonce;
        let challenge = Scalar::from_element(&challenge(r, self.public, message));
        Signature { r, s: challenge.mul_add(self.scalar, *nonce) }
    }
}

/// `H_8(R.x, R.y, A.x, A.y, message)`.
pub fn challenge(r: Point, key: PublicKey, message: Fr) -> Fr {
    poseidon::hash(Tag::Challenge, &[r.x(), r.y(), key.x(), key.y(), message])
}

/// A verifying key: a point of prime order. 64 bytes, x then y, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(Point);

impl PublicKey {
    /// Checks a point.
    ///
    /// # Errors
    /// [`SignatureError::SmallOrder`] outside the subgroup of prime order.
    pub fn new(point: Point) -> Result<Self, SignatureError> {
        point.has_prime_order().then_some(Self(point)).ok_or(SignatureError::SmallOrder)
    }

    /// Reads coordinates.
    ///
    /// # Errors
    /// [`SignatureError::NotOnCurve`] if they are not coordinates of a point. [`SignatureError::SmallOrder`] outside
    /// the subgroup of prime order.
    pub fn from_coordinates(x: Fr, y: Fr) -> Result<Self, SignatureError> {
        Self::new(Point::new(x, y).ok_or(SignatureError::NotOnCurve)?)
    }

    /// A key from a leaf under a state root: it was checked when it was registered. Checking it again takes as long as a signature.
    pub(crate) const fn under_root(point: Point) -> Self {
        Self(point)
    }

    /// The x coordinate.
    pub fn x(&self) -> Fr {
        self.0.x()
    }

    /// The y coordinate.
    pub fn y(&self) -> Fr {
        self.0.y()
    }

    /// The point.
    pub fn point(&self) -> Point {
        self.0
    }

    /// Checks `S · B = R + c · A`.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`].
    pub fn verify(&self, message: Fr, signature: &Signature) -> Result<(), SignatureError> {
        let challenge = Scalar::from_element(&challenge(signature.r, *self, message));
        let expected = signature.r + self.0 * &challenge;
        (Point::BASE * &signature.s == expected).then_some(()).ok_or(SignatureError::Invalid)
    }
}

/// A signature: R on the curve, S below the order. 96 bytes: `R.x`, `R.y`, `S`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The commitment point.
    pub r: Point,
    /// The response.
    pub s: Scalar,
}

impl Signature {
    /// The 96 bytes.
    pub fn to_bytes(&self) -> [u8; 96] {
        let mut bytes = [0; 96];
        bytes[..32].copy_from_slice(&field::to_bytes(&self.r.x()));
        bytes[32..64].copy_from_slice(&field::to_bytes(&self.r.y()));
        bytes[64..].copy_from_slice(&self.s.to_bytes());
        bytes
    }

    /// Reads 96 bytes.
    ///
    /// # Errors
    /// [`SignatureError::NotCanonical`], [`SignatureError::NotOnCurve`].
    pub fn from_bytes(bytes: &[u8; 96]) -> Result<Self, SignatureError> {
        let word = |i: usize| {
            let mut word = [0; 32];
            word.copy_from_slice(&bytes[32 * i..32 * i + 32]);
            word
        };
        let coordinate = |i| field::from_bytes(&word(i)).map_err(|_| SignatureError::NotCanonical);
        Ok(Self {
            r: Point::new(coordinate(0)?, coordinate(1)?).ok_or(SignatureError::NotOnCurve)?,
            s: Scalar::from_bytes(&word(2)).ok_or(SignatureError::NotCanonical)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use halo2curves::ff::Field;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_registration_point_is_an_eighth_of_the_key() {
        let key = SigningKey::from_seed(&[7; 32]);
        let q = key.registration_point();
        let (q2, q4) = (q + q, q + q + q + q);
        assert_ne!(q2, q4);
        assert_eq!(q4 + q4, key.public().point());
        assert!(PublicKey::new(key.public().point()).is_ok());
    }

    #[test]
    fn s_plus_the_order_is_refused() {
        let key = SigningKey::from_seed(&[1; 32]);
        let mut bytes = key.sign(Fr::ONE).to_bytes();
        let s = crypto_bigint::U256::from_be_slice(&bytes[64..]).wrapping_add(&crate::primitive::jubjub::ORDER);
        bytes[64..].copy_from_slice(s.to_be_bytes().as_ref());
        assert_eq!(Signature::from_bytes(&bytes), Err(SignatureError::NotCanonical));
    }

    #[test]
    fn signing_is_deterministic_and_debug_shows_no_secret() {
        let key = SigningKey::from_seed(&[9; 32]);
        assert_eq!(key.sign(Fr::from(5)), key.sign(Fr::from(5)));
        assert!(!format!("{key:?}").contains("prefix"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn only_the_signed_message_verifies(seed: [u8; 32], m: u64, other: u64, flip in 0usize..96) {
            let key = SigningKey::from_seed(&seed);
            let signature = key.sign(Fr::from(m));
            prop_assert_eq!(key.public().verify(Fr::from(m), &signature), Ok(()));
            prop_assert_eq!(Signature::from_bytes(&signature.to_bytes()), Ok(signature));
            if m != other {
                prop_assert!(key.public().verify(Fr::from(other), &signature).is_err());
            }
            let mut bytes = signature.to_bytes();
            bytes[flip] ^= 1;
            let accepted = Signature::from_bytes(&bytes).is_ok_and(|s| key.public().verify(Fr::from(m), &s).is_ok());
            prop_assert!(!accepted);
        }
    }
}

//! A participant's keys.

use emr_core::Role;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::{Zeroize, Zeroizing};

use crate::rsa_key::{RsaBits, RsaKeyError, RsaSecret};
use crate::{aead, random};

/// The order of secp256k1 (SEC 2, section 2.4.1), big-endian: Ethereum keys are from 1 to this minus 1.
const SECP256K1_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// Why keys or bytes are not an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The RSA key cannot be used.
    #[error(transparent)]
    Rsa(#[from] RsaKeyError),
    /// The Ethereum key is 0 or not below the group order.
    #[error("not an Ethereum private key: it must be a number from 1 to the order of secp256k1 minus 1")]
    Ethereum,
    /// The bytes do not encode an identity, or come from a newer version.
    #[error("not an identity, or one of a newer version of this program")]
    Encoding,
}

/// A participant's role and three keys. Erased from memory when dropped; `Debug` shows no secret.
#[derive(Clone)]
pub struct Identity {
    role: Role,
    rsa: RsaSecret,
    rollup_seed: Zeroizing<[u8; 32]>,
    ethereum: Zeroizing<[u8; 32]>,
    commitment_salt: Zeroizing<[u8; 32]>,
    /// The seed of the next rollup key, between the beginning of a rotation and its end.
    next_rollup_seed: Option<Zeroizing<[u8; 32]>>,
}

/// The encoding: a DAG-CBOR list of role, PKCS#8 DER of the RSA key, rollup seed, Ethereum key, commitment salt, and the next rollup seed or
/// no bytes. (It is not a map, because the encoder sorts the fields of maps in buffers that nobody erases.)
#[derive(Serialize, Deserialize)]
struct Encoded(u8, ByteBuf, ByteArray<32>, ByteArray<32>, ByteArray<32>, ByteBuf);

impl Drop for Encoded {
    fn drop(&mut self) {
        self.1.zeroize();
        for secret in [&mut self.2, &mut self.3, &mut self.4] {
            secret.as_mut_slice().zeroize();
        }
        self.5.zeroize();
    }
}

/// The salt that belongs to a participant's first rollup key.
fn first_salt(rollup_seed: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    aead::derive(rollup_seed, "emr/identity/commitment-salt/v1", b"")
}

fn is_ethereum_key(key: &[u8; 32]) -> bool {
    key.iter().any(|byte| *byte != 0) && *key < SECP256K1_ORDER
}

impl Identity {
    /// Makes an identity with new keys.
    pub fn generate(role: Role, bits: RsaBits) -> Self {
        Self::with_rsa(role, RsaSecret::generate(bits))
    }

    /// Makes an identity with an existing RSA key, and new keys otherwise.
    pub fn with_rsa(role: Role, rsa: RsaSecret) -> Self {
        let ethereum = loop {
            let key = random::secret();
            if is_ethereum_key(&key) {
                break key;
            }
        };
        let rollup_seed = random::secret();
        let commitment_salt = first_salt(&rollup_seed);
        Self { role, rsa, rollup_seed, ethereum, commitment_salt, next_rollup_seed: None }
    }

    /// The same identity with this Ethereum key, 32 bytes big-endian.
    ///
    /// # Errors
    /// Returns [`IdentityError::Ethereum`] if it is not a private key of secp256k1.
    pub fn with_ethereum(mut self, key: &[u8; 32]) -> Result<Self, IdentityError> {
        if !is_ethereum_key(key) {
            return Err(IdentityError::Ethereum);
        }
        *self.ethereum = *key;
        Ok(self)
    }

    /// The same identity with this seed of its first rollup key, 32 bytes that were generated elsewhere, and the salt that belongs to it.
    #[must_use]
    pub fn with_rollup_seed(mut self, seed: &[u8; 32]) -> Self {
        *self.rollup_seed = *seed;
        self.commitment_salt = first_salt(seed);
        self
    }

    /// The same identity with a new next rollup key, unless it has one already. The present key counts until L1 has settled the next one.
    #[must_use]
    pub fn with_next_rollup_key(mut self) -> Self {
        self.next_rollup_seed.get_or_insert_with(random::secret);
        self
    }

    /// The same identity with its next rollup key as its only one. `None` if no rotation has begun. The RSA key, the Ethereum key and the commitment
    /// salt stay, so what was encrypted to this identity and what it wrote stays readable.
    #[must_use]
    pub fn rotated(&self) -> Option<Self> {
        let rollup_seed = self.next_rollup_seed.clone()?;
        Some(Self { rollup_seed, next_rollup_seed: None, ..self.clone() })
    }

    /// The participant's role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The RSA key. It unwraps keys, and signs authorships and logins.
    pub const fn rsa(&self) -> &RsaSecret {
        &self.rsa
    }

    /// The seed of the rollup key, 32 bytes. `emr-rollup` derives the signing key from it.
    pub fn rollup_seed(&self) -> &[u8; 32] {
        &self.rollup_seed
    }

    /// The Ethereum private key, 32 bytes big-endian.
    pub fn ethereum_secret(&self) -> &[u8; 32] {
        &self.ethereum
    }

    /// The salt of the commitment to the encryption key, 32 bytes. A patient's account commits to their RSA key with
    /// this salt, so that the commitment does not identify them. It is HKDF-SHA256 of the first rollup seed, and stays the same when the
    /// rollup key changes: readers compare the salt of each record that the patient wrote with the patient's account.
    pub fn commitment_salt(&self) -> [u8; 32] {
        *self.commitment_salt
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let encoded = Encoded(
            self.role.code(),
            self.rsa.to_der().to_vec().into(),
            ByteArray::new(*self.rollup_seed),
            ByteArray::new(*self.ethereum),
            ByteArray::new(*self.commitment_salt),
            self.next_rollup_seed.as_ref().map_or_else(ByteBuf::new, |seed| seed.to_vec().into()),
        );
        // The buffer is large enough that it never moves. Moving it would leave a copy of the secrets in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
        serde_ipld_dagcbor::to_writer(&mut *bytes, &encoded).expect("plain data has a DAG-CBOR form");
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let encoded: Encoded = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| IdentityError::Encoding)?;
        let next_rollup_seed = match &encoded.5[..] {
            [] => None,
            seed => Some(Zeroizing::new(seed.try_into().map_err(|_| IdentityError::Encoding)?)),
        };
        let identity = Self {
            role: Role::from_code(encoded.0).ok_or(IdentityError::Encoding)?,
            rsa: RsaSecret::from_der(&encoded.1)?,
            rollup_seed: Zeroizing::new(*encoded.2),
            ethereum: Zeroizing::new([0; 32]),
            commitment_salt: Zeroizing::new(*encoded.4),
            next_rollup_seed,
        };
        identity.with_ethereum(&encoded.3)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("role", &self.role).field("rsa", &self.rsa).finish_non_exhaustive()
    }
}

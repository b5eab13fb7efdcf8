//! A participant's keys.

use std::sync::Arc;

use emr_core::Role;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::{Zeroize, Zeroizing};

use crate::committed_key::CommittedKey;
use crate::encryption_key::{EncryptionKey, EncryptionSecret, KeyProfile};
use crate::key_wrap::{KeyUnwrap, KeyWrap, WrappedKey};
use crate::rsa_key::{RsaBits, RsaKeyError, RsaSecret};
use crate::xwing::XWingSecret;
use crate::{DecryptionFailed, aead, random};

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

/// The longest encoding in bytes: the present, the next and all former keys, RSA of 4096 bits each.
pub(crate) const MAX_BYTES: usize = 48 * 1024;
/// The largest number of former encryption keys that an identity keeps.
pub const MAX_FORMER_KEYS: usize = 16;

/// A participant's role and keys. Erased from memory when dropped; `Debug` shows no secret.
#[derive(Clone)]
pub struct Identity {
    role: Role,
    encryption: EncryptionSecret,
    rollup_seed: Zeroizing<[u8; 32]>,
    ethereum: Zeroizing<[u8; 32]>,
    commitment_salt: Zeroizing<[u8; 32]>,
    /// The seed of the next rollup key, between the beginning of a rotation and its end.
    next_rollup_seed: Option<Zeroizing<[u8; 32]>>,
    /// The next encryption keys, if the rotation replaces them too.
    next_encryption: Option<EncryptionSecret>,
    /// Newest first.
    former: Vec<EncryptionSecret>,
}

/// Encryption keys in the encoding: PKCS#8 DER of the RSA key, and the X-Wing seed or no bytes.
#[derive(Serialize, Deserialize)]
struct EncodedPair(ByteBuf, ByteBuf);

impl EncodedPair {
    fn of(secret: &EncryptionSecret) -> Self {
        let seed = secret.xwing().map_or_else(ByteBuf::new, |xwing| xwing.seed().to_vec().into());
        Self(secret.rsa().to_der().to_vec().into(), seed)
    }

    fn decode(&self) -> Result<EncryptionSecret, IdentityError> {
        let xwing = match &self.1[..] {
            [] => None,
            seed => Some(XWingSecret::from_seed(seed.try_into().map_err(|_| IdentityError::Encoding)?)),
        };
        Ok(EncryptionSecret::new(RsaSecret::from_der(&self.0)?, xwing))
    }
}

impl Drop for EncodedPair {
    fn drop(&mut self) {
        self.0.zeroize();
        self.1.zeroize();
    }
}

/// The encoding: a DAG-CBOR list of role, encryption keys, rollup seed, Ethereum key, commitment salt, the next rollup seed or no bytes, the
/// next encryption keys (none or one), and former ones. (It is not a map, because the encoder sorts the fields of maps in buffers that nobody
/// erases.)
#[derive(Serialize, Deserialize)]
struct Encoded(
    u8,
    EncodedPair,
    ByteArray<32>,
    ByteArray<32>,
    ByteArray<32>,
    ByteBuf,
    Vec<EncodedPair>,
    Vec<EncodedPair>,
);

impl Drop for Encoded {
    fn drop(&mut self) {
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
    pub fn generate(role: Role, bits: RsaBits, profile: KeyProfile) -> Self {
        Self::with_rsa(role, RsaSecret::generate(bits), profile)
    }

    /// Makes an identity with an existing RSA key, and new keys otherwise.
    pub fn with_rsa(role: Role, rsa: RsaSecret, profile: KeyProfile) -> Self {
        Self::with_encryption(role, EncryptionSecret::with_rsa(rsa, profile))
    }

    /// Makes an identity with existing encryption keys, and new keys otherwise.
    pub fn with_encryption(role: Role, encryption: EncryptionSecret) -> Self {
        let ethereum = loop {
            let key = random::secret();
            if is_ethereum_key(&key) {
                break key;
            }
        };
        let rollup_seed = random::secret();
        let commitment_salt = first_salt(&rollup_seed);
        Self {
            role,
            encryption,
            rollup_seed,
            ethereum,
            commitment_salt,
            next_rollup_seed: None,
            next_encryption: None,
            former: Vec::new(),
        }
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

    /// The same identity with these next encryption keys, unless it has next ones already. They count, together with the next rollup key, when
    /// L1 has settled them. Until then the present ones do. Both unwrap keys.
    #[must_use]
    pub fn with_next_encryption(mut self, next: EncryptionSecret) -> Self {
        self.next_encryption.get_or_insert(next);
        self
    }

    /// The next encryption keys, if a rotation that replaces them has begun.
    pub const fn next_encryption(&self) -> Option<&EncryptionSecret> {
        self.next_encryption.as_ref()
    }

    /// The same identity with its next rollup key as its only one, and with its next encryption keys, if there are any. `None` if no rotation has
    /// begun. The Ethereum key and the commitment salt stay. The present encryption keys become former ones: what was encrypted to this
    /// identity stays readable. Beyond [`MAX_FORMER_KEYS`], the oldest are dropped.
    #[must_use]
    pub fn rotated(&self) -> Option<Self> {
        let mut rotated = Self { rollup_seed: self.next_rollup_seed.clone()?, next_rollup_seed: None, ..self.clone() };
        if let Some(next) = rotated.next_encryption.take() {
            rotated.former.insert(0, std::mem::replace(&mut rotated.encryption, next));
            rotated.former.truncate(MAX_FORMER_KEYS);
        }
        Some(rotated)
    }

    /// The participant's role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The RSA key. It unwraps keys, and signs authorships and logins.
    pub const fn rsa(&self) -> &RsaSecret {
        self.encryption.rsa()
    }

    /// The present encryption keys, private.
    pub const fn encryption(&self) -> &EncryptionSecret {
        &self.encryption
    }

    /// The present encryption key, public.
    pub fn encryption_key(&self) -> EncryptionKey {
        self.encryption.public()
    }

    /// What the participant's account commits to: the present encryption key, with the salt if they are a patient.
    pub fn committed_key(&self) -> CommittedKey {
        self.encryption_key().committed((self.role == Role::Patient).then(|| self.commitment_salt()))
    }

    /// Former encryption keys, newest first. They open what was wrapped to them.
    pub fn former(&self) -> &[EncryptionSecret] {
        &self.former
    }

    /// The seed of the rollup key, 32 bytes. `emr-rollup` derives the signing key from it.
    pub fn rollup_seed(&self) -> &[u8; 32] {
        &self.rollup_seed
    }

    /// The Ethereum private key, 32 bytes big-endian.
    pub fn ethereum_secret(&self) -> &[u8; 32] {
        &self.ethereum
    }

    /// The salt of the commitment to the encryption key, 32 bytes. A patient's account commits to their key with
    /// this salt, so that the commitment does not identify them. It is HKDF-SHA256 of the first rollup seed, and stays the same when the
    /// rollup key changes: readers compare the salt of each record that the patient wrote with the patient's account.
    pub fn commitment_salt(&self) -> [u8; 32] {
        *self.commitment_salt
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let encoded = Encoded(
            self.role.code(),
            EncodedPair::of(&self.encryption),
            ByteArray::new(*self.rollup_seed),
            ByteArray::new(*self.ethereum),
            ByteArray::new(*self.commitment_salt),
            self.next_rollup_seed.as_ref().map_or_else(ByteBuf::new, |seed| seed.to_vec().into()),
            self.next_encryption.iter().map(EncodedPair::of).collect(),
            self.former.iter().map(EncodedPair::of).collect(),
        );
        // The buffer is large enough that it never moves. Moving it would leave a copy of the secrets in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
        serde_ipld_dagcbor::to_writer(&mut *bytes, &encoded).expect("plain data has a DAG-CBOR form");
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let encoded: Encoded = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| IdentityError::Encoding)?;
        let next_rollup_seed = match &encoded.5[..] {
            [] => None,
            seed => Some(Zeroizing::new(seed.try_into().map_err(|_| IdentityError::Encoding)?)),
        };
        if encoded.6.len() > 1 || encoded.7.len() > MAX_FORMER_KEYS {
            return Err(IdentityError::Encoding);
        }
        let identity = Self {
            role: Role::from_code(encoded.0).ok_or(IdentityError::Encoding)?,
            encryption: encoded.1.decode()?,
            rollup_seed: Zeroizing::new(*encoded.2),
            ethereum: Zeroizing::new([0; 32]),
            commitment_salt: Zeroizing::new(*encoded.4),
            next_rollup_seed,
            next_encryption: encoded.6.first().map(EncodedPair::decode).transpose()?,
            former: encoded.7.iter().map(EncodedPair::decode).collect::<Result<_, _>>()?,
        };
        identity.with_ethereum(&encoded.3)
    }
}

/// Unwraps with the present encryption keys, then with the next, then with former ones.
impl KeyUnwrap for Identity {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.encryption_key())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        let all = [&self.encryption].into_iter().chain(&self.next_encryption).chain(&self.former);
        all.map(|pair| pair.unwrap_key(wrapped, context)).find(Result::is_ok).unwrap_or(Err(DecryptionFailed))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("role", &self.role)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

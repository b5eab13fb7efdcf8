//! RSA keys (RFC 8017) of 2048 to 4096 bits: OAEP for keys, PSS for authorships, PKCS#1 v1.5 signatures for the chain.
//!
//! Every private operation is blinded and checked by re-encryption. There is no PKCS#1 v1.5 *decryption*
//! (RUSTSEC-2023-0071). The back end computes; keys are made, read and written by the crate `rsa`.

use std::fmt;

use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::backend::{Backend, RsaOperations, Selected, encrypt_raep};
use crate::{DecryptionFailed, random};

/// The size of an RSA modulus in bits: 2048 to 4096, a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RsaBits(usize);

impl RsaBits {
    /// The smallest size.
    pub const MIN: Self = Self(2048);
    /// The size for new identities: 128 bits of security (SP 800-57 part 1, table 2).
    pub const DEFAULT: Self = Self(3072);
    /// The largest size.
    pub const MAX: Self = Self(4096);

    /// Checks the range.
    ///
    /// # Errors
    /// Returns [`RsaKeyError::Size`] outside 2048 to 4096, and for sizes that are not a multiple of 8.
    pub fn new(bits: usize) -> Result<Self, RsaKeyError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&bits) && bits.is_multiple_of(8) {
            Ok(Self(bits))
        } else {
            Err(RsaKeyError::Size { bits })
        }
    }

    /// The number of bits.
    pub const fn get(self) -> usize {
        self.0
    }

    /// The number of bytes, which is also the length of ciphertexts and signatures.
    pub const fn bytes(self) -> usize {
        self.0 / 8
    }
}

/// Why an RSA key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RsaKeyError {
    /// The modulus is too small, too large, or its size is not a multiple of 8 bits.
    #[error("an RSA key of {bits} bits cannot be used; make one of 2048 to 4096: openssl genrsa -out key.pem 3072")]
    Size {
        /// The size found.
        bits: usize,
    },
    /// The public exponent is not 65537.
    #[error("the RSA key's public exponent is not 65537; make a key with OpenSSL's default exponent")]
    Exponent,
    /// The PEM is protected by a passphrase.
    #[error(
        "the RSA key is encrypted, and not as PKCS#8; write it again: openssl pkcs8 -topk8 -in key.pem -out new.pem"
    )]
    Encrypted,
    /// The PEM is not a public key: a private key, a certificate, or the older form of PKCS#1.
    #[error(
        "not a public RSA key (BEGIN PUBLIC KEY); make it from the private one: openssl rsa -in key.pem -pubout -out public.pem"
    )]
    NotPublic,
    /// The PEM is protected with algorithms that this program does not take.
    #[error(
        "the RSA key is encrypted with an algorithm that this program does not take; write it again: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in key.pem -out new.pem"
    )]
    Algorithm,
    /// Deriving the key of the encrypted PEM would take far too long, or too much memory.
    #[error(
        "the encrypted RSA key asks for far more time or memory than OpenSSL's; write it again: openssl pkcs8 -topk8 -in key.pem -out new.pem"
    )]
    Cost,
    /// The passphrase of the encrypted PEM is wrong.
    #[error("wrong passphrase of the RSA key, or the file was damaged: try again")]
    WrongPassphrase,
    /// The bytes are not a PEM or DER encoding of an RSA key, or the key's numbers do not belong together.
    #[error("not an RSA key in PKCS#1 or PKCS#8 form, or a damaged one; openssl rsa -check -in key.pem says more")]
    Malformed,
}

/// A signature does not belong to this key, context and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the RSA signature does not belong to this key and message")]
pub struct BadSignature;

/// The purpose of a PSS signature. The signed bytes are the context's name, a zero byte, and the message, so that a
/// signature for one purpose is not valid for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningContext(&'static str);

impl SigningContext {
    /// The authorship of a record version.
    pub const AUTHORSHIP: Self = Self("emr/authorship/v1");
    /// The answer to a node's login challenge.
    pub const LOGIN: Self = Self("emr/login/v1");

    fn digest(self, message: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update([0]).chain_update(message).finalize().into()
    }
}

/// An RSA public key: modulus of 2048 to 4096 bits, exponent 65537.
#[derive(Clone, PartialEq, Eq)]
pub struct RsaPublic(RsaPublicKey);

/// The only public exponent, as big-endian bytes.
const EXPONENT: [u8; 3] = [1, 0, 1];
/// The longest SPKI DER in bytes. 4096 bits take 550.
const MAX_DER_BYTES: usize = 600;
/// The longest PEM of a key and the longest DER of a private key, in bytes. 4096 bits take 3.3 kB as PEM; comments may surround it.
pub(crate) const MAX_PRIVATE_BYTES: usize = 16 * 1024;

impl RsaPublic {
    fn check(key: RsaPublicKey) -> Result<Self, RsaKeyError> {
        RsaBits::new(key.n().bits() as usize)?;
        if *key.e_bytes() != EXPONENT {
            return Err(RsaKeyError::Exponent);
        }
        Ok(Self(key))
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 5280 4.1.2.7), as `openssl rsa -pubout -outform DER` writes it. Accepts
    /// only the canonical form.
    ///
    /// # Errors
    /// Returns [`RsaKeyError`] if the bytes are not such a key.
    pub fn from_der(der: &[u8]) -> Result<Self, RsaKeyError> {
        if der.len() > MAX_DER_BYTES {
            return Err(RsaKeyError::Malformed);
        }
        let key = Self::check(RsaPublicKey::from_public_key_der(der).map_err(|_| RsaKeyError::Malformed)?)?;
        if key.to_der() == der { Ok(key) } else { Err(RsaKeyError::Malformed) }
    }

    /// Reads a PEM SubjectPublicKeyInfo (RFC 7468, 13: `BEGIN PUBLIC KEY`), as `openssl rsa -pubout` writes it.
    ///
    /// # Errors
    /// Returns [`RsaKeyError`] if the text is not such a key.
    pub fn from_pem(pem: &str) -> Result<Self, RsaKeyError> {
        if pem.len() > MAX_PRIVATE_BYTES {
            return Err(RsaKeyError::Malformed);
        }
        if !pem.contains("BEGIN PUBLIC KEY") {
            return Err(RsaKeyError::NotPublic);
        }
        let key = RsaPublicKey::from_public_key_pem(pem).map_err(|_| RsaKeyError::Malformed)?;
        Self::check(key)
    }

    /// The DER SubjectPublicKeyInfo: 294 bytes at 2048 bits, 422 at 3072, 550 at 4096.
    pub fn to_der(&self) -> Vec<u8> {
        self.0.to_public_key_der().expect("an RSA public key has a DER form").into_vec()
    }

    /// The modulus, big-endian without leading zeros.
    pub fn modulus(&self) -> Vec<u8> {
        self.0.n_bytes().into_vec()
    }

    /// The public exponent, big-endian without leading zeros: `01 00 01`.
    pub fn exponent(&self) -> Vec<u8> {
        self.0.e_bytes().into_vec()
    }

    /// The size of the modulus.
    pub fn bits(&self) -> RsaBits {
        RsaBits(self.0.n().bits() as usize)
    }

    /// SHA-256 of [`Self::to_der`].
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.to_der()).into()
    }

    /// Verifies an RSA-PSS signature: SHA-256, MGF1-SHA-256, 32 bytes of salt (RFC 8017 8.1.2).
    ///
    /// # Errors
    /// Returns [`BadSignature`] for a signature by another key, for another context or of another message.
    pub fn verify_pss(&self, context: SigningContext, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        Selected::verify_pss(&self.0, &context.digest(message), signature)
    }

    /// Verifies an RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017 8.2.2). The contract does the same with modexp.
    ///
    /// # Errors
    /// Returns [`BadSignature`] for a signature by another key or of another message.
    pub fn verify_pkcs1v15(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        Selected::verify_pkcs1v15(&self.0, &Sha256::digest(message).into(), signature)
    }

    /// Encrypts a 32-byte key with RSA-OAEP, SHA-256 and MGF1-SHA-256 (RFC 8017 7.1.1); `label` is OAEP's label.
    ///
    /// Encryption repeats until the ciphertext's top bit is clear, two tries on average. Such a ciphertext is below the
    /// modulus of every key of this size, so it does not show whose key made it (RSA-RAEP: Bellare, Boldyreva, Desai,
    /// Pointcheval, "Key-Privacy in Public-Key Encryption", ASIACRYPT 2001).
    pub fn encrypt_oaep(&self, label: &[u8], key: &[u8; 32]) -> Vec<u8> {
        encrypt_raep::<Selected>(&self.0, label, key)
    }
}

/// Shows the size and the fingerprint's first 8 bytes in hex.
impl fmt::Debug for RsaPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPublic({}, {})", self.bits().get(), hex::encode(&self.fingerprint()[..8]))
    }
}

/// An RSA private key. Erased from memory when dropped.
#[derive(Clone)]
pub struct RsaSecret(<Selected as Backend>::RsaSecret);

impl RsaSecret {
    /// Generates a key. This takes about a second at 3072 bits.
    pub fn generate(bits: RsaBits) -> Self {
        let key = RsaPrivateKey::new(&mut random::system(), bits.get()).expect("the size is within bounds");
        Self(RsaOperations::new(key).expect("a new key is sound"))
    }

    fn check(key: RsaPrivateKey) -> Result<Self, RsaKeyError> {
        RsaPublic::check(key.to_public_key())?;
        let key = Self(RsaOperations::new(key).ok_or(RsaKeyError::Malformed)?);
        // The factors can satisfy every congruence without being prime. Such a key does not work, so try it.
        let probe = key.sign_checked(SigningContext("emr/import/v1"), b"").ok_or(RsaKeyError::Malformed)?;
        key.public()
            .verify_pss(SigningContext("emr/import/v1"), b"", &probe)
            .map_err(|BadSignature| RsaKeyError::Malformed)?;
        Ok(key)
    }

    /// Reads a PEM private key, PKCS#1 (`BEGIN RSA PRIVATE KEY`) or PKCS#8 (`BEGIN PRIVATE KEY`), as OpenSSL writes it.
    ///
    /// # Errors
    /// Returns [`RsaKeyError`] if it is not a key of 2048 to 4096 bits with exponent 65537.
    pub fn from_pem(pem: &str) -> Result<Self, RsaKeyError> {
        if pem.len() > MAX_PRIVATE_BYTES {
            return Err(RsaKeyError::Malformed);
        }
        if pem.contains("ENCRYPTED") {
            return Err(RsaKeyError::Encrypted);
        }
        let key = if pem.contains("BEGIN RSA PRIVATE KEY") {
            RsaPrivateKey::from_pkcs1_pem(pem).ok()
        } else {
            RsaPrivateKey::from_pkcs8_pem(pem).ok()
        };
        Self::check(key.ok_or(RsaKeyError::Malformed)?)
    }

    /// Reads a DER PKCS#8 PrivateKeyInfo (RFC 5208).
    ///
    /// # Errors
    /// The same as [`Self::from_pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, RsaKeyError> {
        if der.len() > MAX_PRIVATE_BYTES {
            return Err(RsaKeyError::Malformed);
        }
        Self::check(RsaPrivateKey::from_pkcs8_der(der).map_err(|_| RsaKeyError::Malformed)?)
    }

    /// The DER PKCS#8 PrivateKeyInfo.
    pub fn to_der(&self) -> Zeroizing<Vec<u8>> {
        self.0.key().to_pkcs8_der().expect("a two-prime key has a DER form").to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> RsaPublic {
        RsaPublic(self.0.key().to_public_key())
    }

    fn sign_checked(&self, context: SigningContext, message: &[u8]) -> Option<Vec<u8>> {
        self.0.sign_pss(&context.digest(message))
    }

    /// Signs with RSA-PSS: SHA-256, MGF1-SHA-256, 32 bytes of salt (RFC 8017 8.1.1). The signature is as long as the
    /// modulus.
    pub fn sign_pss(&self, context: SigningContext, message: &[u8]) -> Vec<u8> {
        self.sign_checked(context, message).expect("the key worked when it was read")
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017 8.2.1): the proof of possession that the contract verifies.
    /// There is no [`SigningContext`], so the message itself must state its purpose.
    pub fn sign_pkcs1v15(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign_pkcs1v15(&Sha256::digest(message).into()).expect("the key worked when it was read")
    }

    /// Decrypts a ciphertext of [`RsaPublic::encrypt_oaep`], with blinding (RFC 8017 7.1.2).
    ///
    /// # Errors
    /// Returns [`DecryptionFailed`] for every kind of failure.
    pub fn decrypt_oaep(&self, label: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        let message = self.0.decrypt_oaep(label, ciphertext)?;
        let mut key = Zeroizing::new([0; 32]);
        if message.len() != key.len() {
            return Err(DecryptionFailed);
        }
        key.copy_from_slice(&message);
        Ok(key)
    }
}

/// Shows the public half only.
impl fmt::Debug for RsaSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaSecret({:?})", self.public())
    }
}

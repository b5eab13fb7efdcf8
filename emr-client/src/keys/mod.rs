//! What a participant's secret keys do. The keys may be in memory, in a security module, or on a smart card.
//!
//! Flows use secret keys through [`Signer`] and [`Decryptor`] only. [`Identity`](emr_crypto::Identity) holds its keys
//! in memory and implements both. A device implements them too and never gives out the bytes of its keys: it signs, and
//! it unwraps the one-time keys that others wrapped to it. What those keys open (a record, the secrets of a key
//! directory) is then in this process's memory.
//!
//! The methods are not async and may take long, because a device may ask for a PIN or a fingerprint. Flows call them on
//! threads that may block.

mod ethereum;
mod software;

use std::{cell::RefCell, fmt::Debug, sync::Arc};

use alloy::primitives::{Address, B256};
use emr_core::Role;
use emr_crypto::{
    CommittedKey, DecryptionFailed, EncryptionKey, LoginMessage,
    key_wrap::{KeyUnwrap, KeyWrap, WrappedKey},
};
use emr_rollup::{
    operation::{Domain, Operation, SignatureBytes, SignedOperation},
    primitive::{
        eddsa::{PublicKey, Signature},
        jubjub::Point,
    },
};

use zeroize::Zeroizing;

pub(crate) use ethereum::{EthereumKey, HashSigner};

/// Why keys were not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The device that holds the keys does not answer.
    #[error("the device that holds the keys cannot be used ({0}): connect and unlock it, then try again")]
    Unavailable(String),
    /// The device that holds the keys refuses.
    #[error("the device that holds the keys refused ({0}): confirm it there, or use the device of this account")]
    Refused(String),
}

/// Signs as a participant. Its role and public keys never change, and no device is needed to tell them.
pub trait Signer: Debug + Send + Sync {
    /// The participant's role.
    fn role(&self) -> Role;

    /// The rollup key.
    fn rollup_key(&self) -> PublicKey;

    /// The point that is registered: the rollup key divided by 8. See
    /// [`registration_point`](emr_rollup::primitive::eddsa::SigningKey::registration_point).
    fn registration_point(&self) -> Point;

    /// The encryption key: RSA, and X-Wing unless the participant chose RSA alone.
    fn encryption_key(&self) -> EncryptionKey;

    /// The salt of the commitment to the encryption key. Only a patient's commitment has one; for others this is `None`.
    fn commitment_salt(&self) -> Option<[u8; 32]>;

    /// The encryption key as the account commits to it.
    fn committed_key(&self) -> CommittedKey {
        self.encryption_key().committed(self.commitment_salt())
    }

    /// The address of the Ethereum key.
    fn ethereum_address(&self) -> Address;

    /// Signs an operation of the rollup: EdDSA over [`Operation::message`]. It gets the whole operation, so a device
    /// can show what it signs.
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be used or refuse. The same holds for the methods below.
    fn sign_operation(&self, domain: Domain, operation: &Operation) -> Result<Signature, KeyError>;

    /// Signs the authorship of a record as its author: RSA-PSS in the context
    /// [`SigningContext::AUTHORSHIP`](emr_crypto::SigningContext::AUTHORSHIP).
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be used or refuse.
    fn sign_authorship(&self, authorship: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Signs the message that answers a node's login challenge: RSA-PSS in the context
    /// [`SigningContext::LOGIN`](emr_crypto::SigningContext::LOGIN).
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be used or refuse.
    fn sign_login(&self, message: &LoginMessage) -> Result<Vec<u8>, KeyError>;

    /// Proves possession of the RSA key at registration: RSASSA-PKCS1-v1_5 with SHA-256, which the contract checks.
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be used or refuse.
    fn sign_possession(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Signs a hash with the Ethereum key: of a transaction, or of EIP-712 data (a registration, an invitation).
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be used or refuse.
    fn sign_ethereum(&self, hash: &B256) -> Result<alloy::primitives::Signature, KeyError>;
}

/// Unwraps, as a participant, keys of directories and of records that the participant wrote.
pub trait Decryptor: Debug + Send + Sync {
    /// Unwraps a key. Returns `None` if the key was wrapped to somebody else, with another algorithm or in another
    /// context, or was altered. In an empty context it is the key of a JWE, which RSA alone unwraps.
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be used or refuse.
    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError>;
}

/// All keys of a participant. Every type that implements [`Signer`] and [`Decryptor`] implements it.
pub trait Keys: Signer + Decryptor {}

impl<T: Signer + Decryptor> Keys for T {}

/// Runs a function that uses keys on a thread that may block.
pub(crate) async fn with<T: Send + 'static>(
    keys: &Arc<dyn Keys>,
    work: impl FnOnce(&dyn Keys) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, KeyError> {
    let keys = Arc::clone(keys);
    match tokio::task::spawn_blocking(move || work(&*keys)).await {
        Ok(done) => done,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(KeyError::Unavailable("the program ends".to_owned())),
        },
    }
}

/// Runs a function that opens what was sealed to these keys. If the keys themselves fail, the error says so, and not
/// "not for these keys".
pub(crate) async fn opening<T: Send + 'static>(
    keys: &Arc<dyn Keys>,
    work: impl FnOnce(&dyn KeyUnwrap) -> T + Send + 'static,
) -> Result<T, KeyError> {
    with(keys, |keys| {
        let unwrapping = Unwrapping { keys, failure: RefCell::new(None) };
        let done = work(&unwrapping);
        unwrapping.failure.into_inner().map_or(Ok(done), Err)
    })
    .await
}

/// A participant's keys in the form that directories and envelopes take. It remembers a failure of the keys, because
/// their error type cannot hold it.
struct Unwrapping<'a> {
    keys: &'a dyn Keys,
    failure: RefCell<Option<KeyError>>,
}

impl KeyUnwrap for Unwrapping<'_> {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.keys.encryption_key())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        // A device that failed once is not asked again for the next section of a directory.
        if self.failure.borrow().is_some() {
            return Err(DecryptionFailed);
        }
        match self.keys.unwrap_key(wrapped, context) {
            Ok(key) => key.ok_or(DecryptionFailed),
            Err(error) => {
                *self.failure.borrow_mut() = Some(error);
                Err(DecryptionFailed)
            }
        }
    }
}

/// An operation with this participant's signature.
pub(crate) fn sign(
    keys: &dyn Keys,
    domain: Domain,
    operation: Operation,
    authority: Option<emr_core::GrantSlot>,
) -> Result<SignedOperation, KeyError> {
    let signature = SignatureBytes(keys.sign_operation(domain, &operation)?);
    let signed = SignedOperation { operation, authority, signature };
    // Another participant's smart card would sign too. The node must not get such a signature.
    signed
        .verify(domain, &keys.rollup_key())
        .map_err(|_| KeyError::Refused("its signature does not verify".to_owned()))?;
    Ok(signed)
}

//! What a participant's secret keys do, wherever they are: in memory, in a security module, or on a smart card.
//!
//! Flows reach secret keys through [`Signer`] and [`Decryptor`] alone. [`Identity`](emr_crypto::Identity) holds its keys in memory and implements
//! both. A device implements them too, and never gives out the bytes of its keys: it signs, and it unwraps the one-time keys that others
//! wrapped to it. What those keys open (a record, the secrets of a key directory) is then in this process's memory.
//!
//! The methods are plain, not async, and may take long: a device asks for a PIN, or a finger. Flows call them on threads that may block.

mod ethereum;
mod software;

use std::{cell::RefCell, fmt::Debug, sync::Arc};

use alloy::primitives::{Address, B256};
use emr_api::encryption::CommittedKey;
use emr_core::Role;
use emr_crypto::{
    Challenge, DecryptionFailed,
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

/// Why keys did not do what they were asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// What holds the keys does not answer.
    #[error("the device that holds the keys cannot be used ({0}): connect and unlock it, then try again")]
    Unavailable(String),
    /// What holds the keys does not do this.
    #[error("the device that holds the keys refused ({0}): confirm it there, or use the device of this account")]
    Refused(String),
}

/// Signs as a participant. What it says of itself (role, public keys) never changes and needs no device.
pub trait Signer: Debug + Send + Sync {
    /// What the participant is.
    fn role(&self) -> Role;

    /// The rollup key.
    fn rollup_key(&self) -> PublicKey;

    /// The rollup key divided by 8: what is registered. See [`registration_point`](emr_rollup::primitive::eddsa::SigningKey::registration_point).
    fn registration_point(&self) -> Point;

    /// The RSA key; a patient's with the salt of its commitment.
    fn committed_key(&self) -> CommittedKey;

    /// The address of the Ethereum key.
    fn ethereum_address(&self) -> Address;

    /// Signs an operation of the rollup: EdDSA over [`Operation::message`]. A device that shows what it signs has all of it here.
    ///
    /// # Errors
    /// [`KeyError`], here and below.
    fn sign_operation(&self, domain: Domain, operation: &Operation) -> Result<Signature, KeyError>;

    /// Signs an author's statement about a record: RSA-PSS in the context
    /// [`SigningContext::STATEMENT`](emr_crypto::SigningContext::STATEMENT).
    ///
    /// # Errors
    /// [`KeyError`].
    fn sign_statement(&self, statement: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Answers a node's login challenge: RSA-PSS in the context [`SigningContext::LOGIN`](emr_crypto::SigningContext::LOGIN).
    ///
    /// # Errors
    /// [`KeyError`].
    fn sign_login(&self, challenge: &Challenge) -> Result<Vec<u8>, KeyError>;

    /// Proves possession of the RSA key at registration: RSASSA-PKCS1-v1_5 with SHA-256, which the contract checks.
    ///
    /// # Errors
    /// [`KeyError`].
    fn sign_possession(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Signs a hash with the Ethereum key: of a transaction, or of EIP-712 data (a registration, an invitation).
    ///
    /// # Errors
    /// [`KeyError`].
    fn sign_ethereum(&self, hash: &B256) -> Result<alloy::primitives::Signature, KeyError>;
}

/// Unwraps keys as a participant: the keys of directories and of records that they wrote.
pub trait Decryptor: Debug + Send + Sync {
    /// Unwraps a key. `None` if it was wrapped to somebody else, by another algorithm or in another context, or altered.
    ///
    /// # Errors
    /// [`KeyError`] if the keys could not be used at all.
    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError>;
}

/// All keys of a participant. Everything that signs and decrypts is one.
pub trait Keys: Signer + Decryptor {}

impl<T: Signer + Decryptor> Keys for T {}

/// Runs something that uses keys on a thread that may block.
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

/// Runs something that opens what was sealed to these keys. A failure of the keys themselves is told apart from "not for these keys".
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

/// A participant's keys in the form that directories and envelopes take. Remembers a failure, which has no place in theirs.
struct Unwrapping<'a> {
    keys: &'a dyn Keys,
    failure: RefCell<Option<KeyError>>,
}

impl KeyUnwrap for Unwrapping<'_> {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.keys.committed_key().key)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        // A device that failed once is not asked for the next section of a directory.
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
    // A card of somebody else signs too. What it signed must not get as far as the node.
    signed
        .verify(domain, &keys.rollup_key())
        .map_err(|_| KeyError::Refused("its signature does not verify".to_owned()))?;
    Ok(signed)
}

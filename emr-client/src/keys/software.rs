//! Keys in this process's memory.

use alloy::{
    primitives::{Address, B256},
    signers::{SignerSync, local::PrivateKeySigner},
};
use emr_core::Role;
use emr_crypto::{
    EncryptionKey, Identity, LoginMessage, SigningContext,
    key_wrap::{Algorithm, KeyUnwrap, WrappedKey},
};
use emr_rollup::{
    operation::{Domain, Operation},
    primitive::{
        eddsa::{PublicKey, Signature, SigningKey},
        jubjub::Point,
    },
};
use zeroize::Zeroizing;

use crate::keys::{Decryptor, KeyError, Signer};

fn rollup(identity: &Identity) -> SigningKey {
    SigningKey::from_seed(identity.rollup_seed())
}

fn ethereum(identity: &Identity) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(identity.ethereum_secret())
        .expect("an identity's Ethereum key is a private key of secp256k1")
}

impl Signer for Identity {
    fn role(&self) -> Role {
        self.role()
    }

    fn rollup_key(&self) -> PublicKey {
        rollup(self).public()
    }

    fn registration_point(&self) -> Point {
        rollup(self).registration_point()
    }

    fn encryption_key(&self) -> EncryptionKey {
        self.encryption_key()
    }

    fn commitment_salt(&self) -> Option<[u8; 32]> {
        (self.role() == Role::Patient).then(|| self.commitment_salt())
    }

    fn ethereum_address(&self) -> Address {
        ethereum(self).address()
    }

    fn sign_operation(&self, domain: Domain, operation: &Operation) -> Result<Signature, KeyError> {
        Ok(rollup(self).sign(operation.message(domain)))
    }

    fn sign_authorship(&self, authorship: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.rsa().sign_pss(SigningContext::AUTHORSHIP, authorship))
    }

    fn sign_login(&self, message: &LoginMessage) -> Result<Vec<u8>, KeyError> {
        Ok(message.sign(self.rsa()))
    }

    fn sign_possession(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.rsa().sign_pkcs1v15(message))
    }

    fn sign_ethereum(&self, hash: &B256) -> Result<alloy::primitives::Signature, KeyError> {
        ethereum(self).sign_hash_sync(hash).map_err(|error| KeyError::Refused(error.to_string()))
    }
}

impl Decryptor for Identity {
    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
        // A hybrid key opens no wrap of RSA alone, except that of a JWE, which has no context. What this system wraps always has one.
        if wrapped.algorithm == Algorithm::RsaOaep256 && context.is_empty() {
            let keys = [self.encryption()].into_iter().chain(self.former());
            return Ok(keys.map(|pair| pair.rsa().unwrap_key(wrapped, b"")).find_map(Result::ok));
        }
        Ok(KeyUnwrap::unwrap_key(self, wrapped, context).ok())
    }
}

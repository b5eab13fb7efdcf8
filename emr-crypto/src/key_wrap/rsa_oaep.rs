//! RSA-OAEP (RFC 8017 7.1). The context is OAEP's label.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Algorithm, KeyUnwrap, KeyWrap, WrappedKey};
use crate::DecryptionFailed;
use crate::rsa_key::{RsaPublic, RsaSecret};

impl KeyWrap for RsaPublic {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RsaOaep256
    }

    fn public_bytes(&self) -> Vec<u8> {
        self.to_der()
    }

    fn wrap_key(&self, key: &[u8; 32], context: &[u8]) -> WrappedKey {
        WrappedKey { algorithm: Algorithm::RsaOaep256, ciphertext: self.encrypt_oaep(context, key) }
    }
}

impl KeyUnwrap for RsaSecret {
    fn recipient(&self) -> Arc<dyn KeyWrap> {
        Arc::new(self.public())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        if wrapped.algorithm != Algorithm::RsaOaep256 {
            return Err(DecryptionFailed);
        }
        self.decrypt_oaep(context, &wrapped.ciphertext)
    }
}

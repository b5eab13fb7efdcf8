//! RSA-OAEP (RFC 8017 7.1). The context is OAEP's label.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Algorithm, KeyUnwrap, KeyWrap, OaepDecrypt, WrappedKey, unwrap_with};
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
        unwrap_with(self, None, wrapped, context)
    }
}

impl OaepDecrypt for RsaSecret {
    type Error = DecryptionFailed;

    fn rsa_public(&self) -> RsaPublic {
        self.public()
    }

    fn decrypt_oaep(&self, label: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<[u8; 32]>, DecryptionFailed> {
        self.decrypt_oaep(label, ciphertext)
    }
}

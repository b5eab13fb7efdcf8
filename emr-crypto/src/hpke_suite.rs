//! Hybrid public key encryption, base mode (RFC 9180), with HKDF-SHA256 and ChaCha20-Poly1305.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::{DecryptionFailed, random};

/// Encrypts one message. Returns the encapsulated key followed by the ciphertext, or `None` if `public` is not a usable
/// key.
pub(crate) fn seal<K: Kem>(public: &[u8], info: &[u8], aad: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    let public = K::PublicKey::from_bytes(public).ok()?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        &public,
        info,
        plaintext,
        aad,
        &mut random::system(),
    )
    .ok()?;
    Some([&encapsulated.to_bytes()[..], &ciphertext].concat())
}

/// Decrypts what [`seal`] made.
pub(crate) fn open<K: Kem>(
    secret: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
    let secret = K::PrivateKey::from_bytes(secret).map_err(|_| DecryptionFailed)?;
    let (encapsulated, ciphertext) = sealed.split_at_checked(K::EncappedKey::size()).ok_or(DecryptionFailed)?;
    let encapsulated = K::EncappedKey::from_bytes(encapsulated).map_err(|_| DecryptionFailed)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        info,
        ciphertext,
        aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| DecryptionFailed)
}

/// Makes a new key pair. Private keys of both supported KEMs have 32 bytes.
pub(crate) fn generate<K: Kem>() -> (Zeroizing<[u8; 32]>, Vec<u8>) {
    let (secret, public) = K::gen_keypair_with_rng(&mut random::system());
    let mut bytes = Zeroizing::new([0; 32]);
    secret.write_exact(&mut *bytes);
    (bytes, public.to_bytes().to_vec())
}

/// The public key of a private key.
pub(crate) fn public<K: Kem>(secret: &[u8; 32]) -> Vec<u8> {
    let secret = K::PrivateKey::from_bytes(secret).expect("any 32 bytes are a private key");
    K::sk_to_pk(&secret).to_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use hpke::kem::X25519HkdfSha256;

    use super::*;

    /// RFC 9180 appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode, sequence 0.
    #[test]
    fn rfc_9180_a_2_1() -> Result<(), Box<dyn std::error::Error>> {
        let secret = hex::decode("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")?;
        let secret = <[u8; 32]>::try_from(secret.as_slice())?;
        assert_eq!(
            hex::encode(public::<X25519HkdfSha256>(&secret)),
            "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
        );
        let sealed = hex::decode(concat!(
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
        ))?;
        let opened = open::<X25519HkdfSha256>(&secret, b"Ode on a Grecian Urn", b"Count-0", &sealed)?;
        assert_eq!(&**opened, b"Beauty is truth, truth beauty");
        Ok(())
    }

    #[test]
    fn a_point_of_small_order_is_refused_as_recipient() {
        assert!(seal::<X25519HkdfSha256>(&[0; 32], b"", b"", b"key").is_none());
    }
}

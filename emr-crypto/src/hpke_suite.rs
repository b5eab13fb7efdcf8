//! Hybrid public key encryption, base mode (RFC 9180), with the KEM X-Wing (0x647a), HKDF-SHA256 and ChaCha20-Poly1305.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::xwing::{ENCAPSULATED_BYTES, XWingPublic, XWingSecret};
use crate::{DecryptionFailed, random};

/// Bytes that [`seal`] adds to a plaintext: the encapsulated key and a tag.
pub(crate) const OVERHEAD_BYTES: usize = ENCAPSULATED_BYTES + 16;

/// Secret bytes that both sides of a context can export.
pub(crate) type Exported = Zeroizing<[u8; 32]>;

/// Encrypts one message. Returns the encapsulated key followed by the ciphertext.
pub(crate) fn seal(public: &XWingPublic, info: &[u8], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal_and_export(public, info, aad, plaintext, None).0
}

/// Encrypts one message, and exports 32 secret bytes of the same context for this exporter context, if one is given.
pub(crate) fn seal_and_export(
    public: &XWingPublic,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    exporter: Option<&[u8]>,
) -> (Vec<u8>, Exported) {
    let public = <XWing as Kem>::PublicKey::from_bytes(public.as_bytes()).expect("checked when the key was read");
    let (encapsulated, mut context) = hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        info,
        &mut random::system(),
    )
    .expect("X-Wing encapsulates to every key");
    let ciphertext = context.seal(plaintext, aad).expect("the first message of a context");
    let mut exported = Zeroizing::new([0; 32]);
    if let Some(exporter) = exporter {
        context.export(exporter, &mut *exported).expect("32 bytes are within HKDF's limit");
    }
    ([&encapsulated.to_bytes()[..], &ciphertext].concat(), exported)
}

/// Decrypts what [`seal`] made.
pub(crate) fn open(
    secret: &XWingSecret,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
    open_and_export(secret, info, aad, sealed, None).map(|(plaintext, _)| plaintext)
}

/// Decrypts what [`seal_and_export`] made, and exports the same bytes.
pub(crate) fn open_and_export(
    secret: &XWingSecret,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
    exporter: Option<&[u8]>,
) -> Result<(Zeroizing<Vec<u8>>, Exported), DecryptionFailed> {
    let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES).ok_or(DecryptionFailed)?;
    let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| DecryptionFailed)?;
    let secret = <XWing as Kem>::PrivateKey::from_bytes(secret.seed()).map_err(|_| DecryptionFailed)?;
    let mut context =
        hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeR::Base, &secret, &encapsulated, info)
            .map_err(|_| DecryptionFailed)?;
    let plaintext = context.open(ciphertext, aad).map(Zeroizing::new).map_err(|_| DecryptionFailed)?;
    let mut exported = Zeroizing::new([0; 32]);
    if let Some(exporter) = exporter {
        context.export(exporter, &mut *exported).map_err(|_| DecryptionFailed)?;
    }
    Ok((plaintext, exported))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another program made the message: `tests/fixtures/hybrid.mjs`.
    #[test]
    fn a_message_of_another_implementation_opens() -> Result<(), DecryptionFailed> {
        let secret = XWingSecret::from_seed(&std::array::from_fn(|i| i as u8));
        let sealed = include_bytes!("../tests/fixtures/xwing.hpke.bin");
        let opened = open(&secret, b"emr/test", b"Count-0", sealed)?;
        assert_eq!(&**opened, b"Beauty is truth, truth beauty");
        assert_eq!(sealed.len(), OVERHEAD_BYTES + opened.len());
        assert!(open(&secret, b"emr/test", b"Count-1", sealed).is_err());
        assert!(open(&secret, b"emr/tes", b"Count-0", sealed).is_err());
        Ok(())
    }

    /// Without an exporter context nothing is exported. With one, both sides get the same bytes, and another context gives others.
    #[test]
    fn both_sides_export_the_same() -> Result<(), DecryptionFailed> {
        let secret = XWingSecret::generate();
        let (sealed, exported) = seal_and_export(&secret.public(), b"info", b"", b"x", Some(b"a"));
        let open = |exporter| open_and_export(&secret, b"info", b"", &sealed, exporter);
        assert_eq!(open(Some(&b"a"[..]))?.1, exported);
        assert_ne!(open(Some(b"b"))?.1, exported);
        assert_eq!(*open(None)?.1, [0; 32]);
        Ok(())
    }
}

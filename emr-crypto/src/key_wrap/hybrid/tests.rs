//! Attacks on hybrid wraps by people who hold one of the two private keys, and by dishonest senders.

use std::cell::Cell;

use super::*;
use crate::RsaSecret;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const KEY: [u8; 32] = [9; 32];
const CONTEXT: &[u8] = b"context";

fn rsa(pem: &str) -> Result<RsaSecret, crate::RsaKeyError> {
    RsaSecret::from_pem(pem)
}

fn doctor() -> Result<RsaSecret, crate::RsaKeyError> {
    rsa(include_str!("../../../tests/fixtures/doctor-3072.pem"))
}

/// Another key of the same size.
fn patient() -> Result<RsaSecret, crate::RsaKeyError> {
    rsa(include_str!("../../../tests/fixtures/patient-3072.pem"))
}

/// A token that counts its operations, and fails after some.
struct Token {
    key: RsaSecret,
    used: Cell<usize>,
    fails: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum TokenError {
    Decryption,
    Removed,
}

impl From<DecryptionFailed> for TokenError {
    fn from(_: DecryptionFailed) -> Self {
        Self::Decryption
    }
}

impl OaepDecrypt for Token {
    type Error = TokenError;

    fn rsa_public(&self) -> RsaPublic {
        self.key.public()
    }

    fn decrypt_oaep(&self, label: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        self.used.set(self.used.get() + 1);
        if self.fails { Err(TokenError::Removed) } else { Ok(self.key.decrypt_oaep(label, ciphertext)?) }
    }
}

/// Both keys are needed. RSA is not used before X-Wing succeeded.
#[test]
fn one_of_the_two_keys_opens_nothing() -> Outcome {
    let (xwing, other_xwing) = (XWingSecret::generate(), XWingSecret::generate());
    let wrapped = wrap(&doctor()?.public(), &xwing.public(), &KEY, CONTEXT).ciphertext;
    let token = |key, fails| Token { key, used: Cell::new(0), fails };
    let both = token(doctor()?, false);
    assert_eq!(unwrap(&both, &xwing, &wrapped, CONTEXT), Ok(Zeroizing::new(KEY)));
    assert_eq!(both.used.get(), 1);

    let rsa_alone = token(doctor()?, false);
    assert_eq!(unwrap(&rsa_alone, &other_xwing, &wrapped, CONTEXT), Err(TokenError::Decryption));
    assert_eq!(rsa_alone.used.get(), 0, "RSA is slow, and a token may ask for a PIN");
    let xwing_alone = token(patient()?, false);
    assert_eq!(unwrap(&xwing_alone, &xwing, &wrapped, CONTEXT), Err(TokenError::Decryption));
    assert_eq!(xwing_alone.used.get(), 1);
    for (context, length) in [(&b"other"[..], 1696), (b"", 1696), (CONTEXT, 1695), (CONTEXT, 1120), (CONTEXT, 0)] {
        let token = token(doctor()?, false);
        assert_eq!(unwrap(&token, &xwing, &wrapped[..length], context), Err(TokenError::Decryption));
        assert_eq!(token.used.get(), 0);
    }
    assert_eq!(unwrap(&token(doctor()?, true), &xwing, &wrapped, CONTEXT), Err(TokenError::Removed));
    Ok(())
}

/// Somebody who knows everything but one share does not get the key. They have all ciphertexts and public keys, and one private key.
#[test]
fn one_share_does_not_give_the_key() -> Outcome {
    let (rsa, xwing) = (doctor()?, XWingSecret::generate());
    let (rsa_public, xwing_public) = (rsa.public(), xwing.public());
    let wrapped = wrap(&rsa_public, &xwing_public, &KEY, CONTEXT).ciphertext;
    let (message, sealed) = wrapped.split_at(MESSAGE_BYTES);
    let (padded, s2) = hpke_suite::open_and_export(&xwing, &info(CONTEXT), b"", message, Some(SHARE))?;
    let oaep = &padded[..384];
    let s1 = rsa.decrypt_oaep(CONTEXT, oaep)?;
    let transcript = Transcript { context: CONTEXT, rsa: &rsa_public, xwing: &xwing_public, message, oaep };
    let opens = |s1: &[u8; 32], s2: &[u8; 32]| aead::open_once(&transcript.key(s1, s2), b"", sealed).is_ok();
    assert!(opens(&s1, &s2));
    let near = |share: &[u8; 32], bit: usize| {
        let mut near = *share;
        near[bit / 8] ^= 1 << (bit % 8);
        near
    };
    // RSA is broken, X-Wing is not; and the other way round. The closest guesses of the missing share give nothing.
    let guesses = [[0; 32], *s1, *s2, random::bytes()];
    for guess in guesses.into_iter().chain((0..256).map(|bit| near(&s2, bit))).filter(|guess| *guess != *s2) {
        assert!(!opens(&s1, &guess));
    }
    for guess in guesses.into_iter().chain((0..256).map(|bit| near(&s1, bit))).filter(|guess| *guess != *s1) {
        assert!(!opens(&guess, &s2));
    }
    // The key is none of the shares, and does not come from one of them alone.
    for key in [&*s1, &*s2, &transcript.key(&s1, &s1), &transcript.key(&s2, &s2), &transcript.key(&s2, &s1)] {
        assert!(aead::open_once(key, b"", sealed).is_err());
    }
    Ok(())
}

/// The key depends on every part of the transcript, and parts cannot be shifted into each other.
#[test]
fn the_key_is_bound_to_the_whole_transcript() -> Outcome {
    let (xwing, other) = (XWingSecret::generate().public(), XWingSecret::generate().public());
    let (rsa, other_rsa) = (doctor()?.public(), patient()?.public());
    let message = vec![1; MESSAGE_BYTES];
    let whole = Transcript { context: CONTEXT, rsa: &rsa, xwing: &xwing, message: &message, oaep: &[2; 384] };
    let key = |transcript: &Transcript<'_>| *transcript.key(&[3; 32], &[4; 32]);
    let mut changed = [message.clone(), message.clone()];
    changed[0][0] ^= 1;
    changed[1][MESSAGE_BYTES - 1] ^= 1;
    let mut keys: Vec<_> = vec![
        key(&whole),
        key(&Transcript { context: b"contex", ..whole }),
        key(&Transcript { rsa: &other_rsa, ..whole }),
        key(&Transcript { xwing: &other, ..whole }),
        key(&Transcript { message: &changed[0], ..whole }),
        key(&Transcript { message: &changed[1], ..whole }),
        key(&Transcript { oaep: &[2; 383], ..whole }),
    ];
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 7);
    Ok(())
}

/// Wraps of the same key to the same holder share nothing: no part of one fits the other.
#[test]
fn parts_of_two_wraps_do_not_mix() -> Outcome {
    let (rsa, xwing) = (doctor()?, XWingSecret::generate());
    let wrap = || wrap(&rsa.public(), &xwing.public(), &KEY, CONTEXT).ciphertext;
    let (a, b) = (wrap(), wrap());
    for (from, to) in [(0, 1120), (1120, MESSAGE_BYTES), (0, MESSAGE_BYTES), (MESSAGE_BYTES, HYBRID_WRAP_BYTES)] {
        let mut mixed = a.clone();
        mixed[from..to].copy_from_slice(&b[from..to]);
        assert_eq!(unwrap(&rsa, &xwing, &mixed, CONTEXT), Err(DecryptionFailed), "{from}..{to}");
    }
    Ok(())
}

/// A sender who puts something else than zeros behind the RSA ciphertext, or a ciphertext for a key of another size, is refused, even if all
/// keys are right. So nothing can be hidden in the padding.
#[test]
fn other_padding_is_refused() -> Outcome {
    let (rsa, xwing) = (doctor()?, XWingSecret::generate());
    let (public, xwing_public) = (rsa.public(), xwing.public());
    let wrap_with = |padding: &[u8]| {
        let s1 = random::secret();
        let oaep = public.encrypt_oaep(CONTEXT, &s1);
        let padded = [&oaep[..], padding].concat();
        let (message, s2) = hpke_suite::seal_and_export(&xwing_public, &info(CONTEXT), b"", &padded, Some(SHARE));
        let transcript =
            Transcript { context: CONTEXT, rsa: &public, xwing: &xwing_public, message: &message, oaep: &oaep };
        let kek = transcript.key(&s1, &s2);
        [message.clone(), aead::seal_once(&kek, b"", &KEY)].concat()
    };
    assert_eq!(unwrap(&rsa, &xwing, &wrap_with(&[0; 128]), CONTEXT), Ok(Zeroizing::new(KEY)));
    let mut ones = [[0; 128]; 2];
    ones[0][0] = 1;
    ones[1][127] = 0x80;
    for padding in [&ones[0][..], &ones[1], &[0; 127], &[0; 129], &[]] {
        assert_eq!(unwrap(&rsa, &xwing, &wrap_with(padding), CONTEXT), Err(DecryptionFailed));
    }
    let large = rsa_of_4096()?;
    let wrapped = wrap(&large.public(), &xwing_public, &KEY, CONTEXT).ciphertext;
    assert_eq!(unwrap(&rsa, &xwing, &wrapped, CONTEXT), Err(DecryptionFailed));
    assert_eq!(unwrap(&large, &xwing, &wrapped, CONTEXT), Ok(Zeroizing::new(KEY)));
    Ok(())
}

fn rsa_of_4096() -> Result<RsaSecret, crate::RsaKeyError> {
    rsa(include_str!("../../../tests/fixtures/hospital-4096.pem"))
}

/// Another program made the wrap: `tests/fixtures/hybrid.mjs`.
#[test]
fn a_wrap_of_another_implementation_opens() -> Outcome {
    let xwing = XWingSecret::from_seed(&std::array::from_fn(|i| i as u8));
    let wrapped = include_bytes!("../../../tests/fixtures/doctor-3072.hybrid.bin");
    assert_eq!(unwrap(&doctor()?, &xwing, wrapped, b"emr/test"), Ok(Zeroizing::new([0xa7; 32])));
    Ok(())
}

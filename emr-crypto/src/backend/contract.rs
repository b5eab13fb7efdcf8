//! What every back end does, checked for each pair: what one sealed, signed or encrypted, the other opens or verifies.
//! `wycheproof.rs` has vectors by others.

use aead_stream::EncryptorBE32;
use aes_gcm::{Aes256Gcm, KeyInit};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, RsaPrivateKey, RsaPublicKey};

#[cfg(feature = "aws-lc-rs")]
use super::aws_lc::AwsLc;
use super::pure::Pure;
use super::{Backend, Gcm, RsaOperations, encrypt_raep};
use crate::content::{ChunkOpener, ChunkSealer};
use crate::{DecryptionFailed, random};

pub(super) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Makes a test of each check, for each pair of back ends.
macro_rules! contract {
    ($($check:ident),* $(,)?) => {
        contract!(@pair pure, Pure, Pure, $($check),*);
        #[cfg(feature = "aws-lc-rs")]
        contract!(@pair pure_then_aws_lc, Pure, AwsLc, $($check),*);
        #[cfg(feature = "aws-lc-rs")]
        contract!(@pair aws_lc_then_pure, AwsLc, Pure, $($check),*);
        #[cfg(feature = "aws-lc-rs")]
        contract!(@pair aws_lc, AwsLc, AwsLc, $($check),*);
    };
    (@pair $pair:ident, $one:ty, $other:ty, $($check:ident),*) => {
        mod $pair {
            use super::*;

            $(#[test]
            fn $check() -> Outcome {
                super::$check::<$one, $other>()
            })*
        }
    };
}

contract!(
    gcm_seals_the_same_bytes,
    gcm_refuses_what_was_altered,
    chunks_are_those_of_stream,
    oaep_opens,
    oaep_refuses,
    raep_hides_the_key,
    signatures_verify,
    altered_signatures_do_not_verify,
    odd_keys_work,
    hostile_moduli_are_harmless,
    unsound_private_keys_do_not_sign,
);

/// Keys by OpenSSL: 2048, 3072 and 4096 bits.
fn keys() -> Result<Vec<RsaPrivateKey>, Box<dyn std::error::Error>> {
    let pkcs1 = include_str!("../../tests/fixtures/doctor-2048.pem");
    let pkcs8 =
        [include_str!("../../tests/fixtures/doctor-3072.pem"), include_str!("../../tests/fixtures/hospital-4096.pem")];
    let mut keys = vec![RsaPrivateKey::from_pkcs1_pem(pkcs1)?];
    for pem in pkcs8 {
        keys.push(RsaPrivateKey::from_pkcs8_pem(pem)?);
    }
    Ok(keys)
}

fn ready<B: Backend>(key: &RsaPrivateKey) -> Result<B::RsaSecret, &'static str> {
    RsaOperations::new(key.clone()).ok_or("the back end refuses the key")
}

fn gcm_seals_the_same_bytes<A: Backend, B: Backend>() -> Outcome {
    for (length, aad_length) in [(0, 0), (0, 5), (1, 0), (15, 16), (16, 1), (17, 300), (4096, 0), (262_144, 20)] {
        let (key, nonce) = (random::bytes(), random::bytes());
        let plaintext: Vec<u8> = (0..length).map(|byte: u32| (byte ^ byte >> 8) as u8).collect();
        let aad = vec![9; aad_length];
        let (mut one, mut other) = (plaintext.clone(), plaintext.clone());
        A::Gcm::new(&key).seal_in_place(&nonce, &aad, &mut one);
        B::Gcm::new(&key).seal_in_place(&nonce, &aad, &mut other);
        assert_eq!(one, other, "{length}");
        assert_eq!(one.len(), plaintext.len() + 16);
        B::Gcm::new(&key).open_in_place(&nonce, &aad, &mut one)?;
        assert_eq!(one, plaintext, "{length}");
    }
    Ok(())
}

fn gcm_refuses_what_was_altered<A: Backend, B: Backend>() -> Outcome {
    let (key, nonce, aad) = ([1; 32], [2; 12], [3; 20]);
    let plaintext: Vec<u8> = (0..1000_u32).map(|byte| (byte * 7) as u8).collect();
    let mut sealed = plaintext.clone();
    A::Gcm::new(&key).seal_in_place(&nonce, &aad, &mut sealed);
    let opening = B::Gcm::new(&key);
    let refuses = |gcm: &B::Gcm, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], what: &str| {
        let mut buffer = sealed.to_vec();
        assert_eq!(gcm.open_in_place(nonce, aad, &mut buffer), Err(DecryptionFailed), "{what}");
        assert!(!buffer.windows(16).any(|part| plaintext.windows(16).any(|secret| secret == part)), "{what}");
    };
    for position in (0..sealed.len()).step_by(37).chain([999, 1000, 1015]) {
        let mut altered = sealed.clone();
        altered[position] ^= 0x10;
        refuses(&opening, &nonce, &aad, &altered, &format!("byte {position}"));
    }
    for length in [0, 1, 15, 16, 17, 999, 1015] {
        refuses(&opening, &nonce, &aad, &sealed[..length], &format!("cut to {length}"));
    }
    refuses(&opening, &[0; 12], &aad, &sealed, "another nonce");
    refuses(&opening, &nonce, &aad[1..], &sealed, "other additional data");
    refuses(&opening, &nonce, b"", &sealed, "no additional data");
    refuses(&B::Gcm::new(&[0; 32]), &nonce, &aad, &sealed, "another key");
    Ok(opening.open_in_place(&nonce, &aad, &mut sealed)?)
}

/// The crate `aead-stream` makes the same chunks: STREAM with a 32-bit big-endian counter.
fn chunks_are_those_of_stream<A: Backend, B: Backend>() -> Outcome {
    const LENGTHS: [usize; 4] = [1000, 1000, 1000, 17];
    let key = random::bytes();
    let mut theirs = EncryptorBE32::from_aead(Aes256Gcm::new(&key.into()), &[0; 7].into());
    let mut sealer = ChunkSealer::<A::Gcm>::new(&key);
    let mut chunks = Vec::new();
    for length in &LENGTHS[..3] {
        let (mut chunk, mut same) = (vec![4; *length], vec![4; *length]);
        sealer.next(&mut chunk);
        theirs.encrypt_next_in_place(b"", &mut same)?;
        assert_eq!(chunk, same);
        chunks.push(chunk);
    }
    let (mut chunk, mut same) = (vec![4; LENGTHS[3]], vec![4; LENGTHS[3]]);
    sealer.last(&mut chunk);
    theirs.encrypt_last_in_place(b"", &mut same)?;
    assert_eq!(chunk, same);
    chunks.push(chunk);

    let opener = ChunkOpener::<B::Gcm>::new(&key);
    for (place, chunk) in (0..4).zip(&chunks) {
        for number in 0..5 {
            for is_last in [false, true] {
                let mut opened = chunk.clone();
                let result = opener.open(number, is_last, &mut opened);
                assert_eq!(result.is_ok(), number == place && is_last == (place == 3), "{place} as {number}");
            }
        }
    }
    Ok(())
}

fn oaep_opens<A: Backend, B: Backend>() -> Outcome {
    for key in keys()? {
        let (public, secret) = (key.to_public_key(), ready::<B>(&key)?);
        for label in [&b""[..], b"emr/test", &[0], &[7; 3000]] {
            for length in [0, 1, 32, 190] {
                let message = vec![5; length];
                let ciphertext = A::encrypt_oaep(&public, label, &message);
                assert_eq!(ciphertext.len(), key.size());
                assert_eq!(*secret.decrypt_oaep(label, &ciphertext)?, message);
            }
        }
    }
    Ok(())
}

fn oaep_refuses<A: Backend, B: Backend>() -> Outcome {
    let [key, other] =
        [&keys()?[1], &RsaPrivateKey::from_pkcs8_pem(include_str!("../../tests/fixtures/patient-3072.pem"))?];
    let secret = ready::<B>(key)?;
    let good = A::encrypt_oaep(&key.to_public_key(), b"label", &[1; 32]);
    let modulus = key.n_bytes().to_vec();
    let mut below = modulus.clone();
    below[383] -= 1;
    let mut above = modulus.clone();
    above[383] += 1;
    let mut bad = vec![
        vec![],
        vec![0; 384],
        [&[0; 383][..], &[1]].concat(),
        [&[0; 383][..], &[2]].concat(),
        below,
        modulus,
        above,
        vec![0xff; 384],
        good[1..].to_vec(),
        good[..383].to_vec(),
        [&[0], &good[..]].concat(),
        [&good[..], &[0]].concat(),
        A::encrypt_oaep(&other.to_public_key(), b"label", &[1; 32]),
        A::encrypt_oaep(&key.to_public_key(), b"", &[1; 32]),
        A::encrypt_oaep(&key.to_public_key(), b"label\0", &[1; 32]),
    ];
    for position in [0, 1, 33, 200, 383] {
        let mut altered = good.clone();
        altered[position] ^= 1;
        bad.push(altered);
    }
    for (number, ciphertext) in bad.iter().enumerate() {
        assert_eq!(secret.decrypt_oaep(b"label", ciphertext), Err(DecryptionFailed), "{number}");
    }
    assert_eq!(*secret.decrypt_oaep(b"label", &good)?, [1; 32]);
    Ok(())
}

fn raep_hides_the_key<A: Backend, B: Backend>() -> Outcome {
    let key = &keys()?[0];
    let (public, secret) = (key.to_public_key(), ready::<B>(key)?);
    let mut top_bits = 0;
    for _ in 0..64 {
        top_bits += u32::from(A::encrypt_oaep(&public, b"", &[6; 32])[0] >> 7);
        let ciphertext = encrypt_raep::<A>(&public, b"", &[6; 32]);
        assert_eq!((ciphertext.len(), ciphertext[0] >> 7), (256, 0));
        assert_eq!(*secret.decrypt_oaep(b"", &ciphertext)?, [6; 32]);
    }
    // Without repetition the bit would be set at times: the loop above can fail.
    assert_ne!(top_bits, 0);
    Ok(())
}

fn signatures_verify<A: Backend, B: Backend>() -> Outcome {
    for key in keys()? {
        let (public, one, other) = (key.to_public_key(), ready::<A>(&key)?, ready::<B>(&key)?);
        let digest = random::bytes();
        let pss = one.sign_pss(&digest).ok_or("PSS")?;
        assert_eq!(pss.len(), key.size());
        B::verify_pss(&public, &digest, &pss)?;
        assert_ne!(one.sign_pss(&digest).ok_or("PSS")?, pss, "the salt is random");
        let pkcs1 = one.sign_pkcs1v15(&digest).ok_or("PKCS#1")?;
        assert_eq!(other.sign_pkcs1v15(&digest).ok_or("PKCS#1")?, pkcs1);
        B::verify_pkcs1v15(&public, &digest, &pkcs1)?;
    }
    Ok(())
}

fn altered_signatures_do_not_verify<A: Backend, B: Backend>() -> Outcome {
    let [_, key, _] = &keys()?[..] else { return Err("three keys".into()) };
    let (public, secret, digest) = (key.to_public_key(), ready::<A>(key)?, [8; 32]);
    let [pss, pkcs1] = [secret.sign_pss(&digest), secret.sign_pkcs1v15(&digest)].map(Option::unwrap_or_default);
    let other = RsaPrivateKey::from_pkcs8_pem(include_str!("../../tests/fixtures/patient-3072.pem"))?.to_public_key();
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let changes: [(&str, Change); 6] = [
        ("one bit", |mut signature| {
            signature[200] ^= 4;
            signature
        }),
        ("shorter", |signature| signature[1..].to_vec()),
        ("longer", |signature| [&[0], &signature[..]].concat()),
        ("empty", |_| vec![]),
        ("zero", |signature| vec![0; signature.len()]),
        ("all ones", |signature| vec![0xff; signature.len()]),
    ];
    for (what, change) in changes {
        assert!(B::verify_pss(&public, &digest, &change(pss.clone())).is_err(), "PSS, {what}");
        assert!(B::verify_pkcs1v15(&public, &digest, &change(pkcs1.clone())).is_err(), "PKCS#1, {what}");
    }
    assert!(B::verify_pss(&public, &[9; 32], &pss).is_err(), "another digest");
    assert!(B::verify_pkcs1v15(&public, &[9; 32], &pkcs1).is_err(), "another digest");
    assert!(B::verify_pss(&other, &digest, &pss).is_err(), "another key");
    assert!(B::verify_pkcs1v15(&other, &digest, &pkcs1).is_err(), "another key");
    assert!(B::verify_pss(&public, &digest, &pkcs1).is_err(), "another scheme");
    assert!(B::verify_pkcs1v15(&public, &digest, &pss).is_err(), "another scheme");
    B::verify_pss(&public, &digest, &pss)?;
    Ok(B::verify_pkcs1v15(&public, &digest, &pkcs1)?)
}

/// Sizes that are no multiple of a machine word, primes in the other order, and the private exponent modulo Euler's
/// instead of Carmichael's function: all are RSA keys, which other programs make.
fn odd_keys_work<A: Backend, B: Backend>() -> Outcome {
    let [key, ..] = &keys()?[..] else { return Err("no key".into()) };
    let [p, q] = key.primes() else { return Err("two primes".into()) };
    let (n, e, d) = (key.n().as_ref().clone(), key.e().clone(), key.d().clone());
    let exchanged = RsaPrivateKey::from_components(n, e, d, vec![q.as_ref().clone(), p.as_ref().clone()])?;
    for key in [exchanged, RsaPrivateKey::new(&mut random::system(), 2056)?] {
        let (public, one, other) = (key.to_public_key(), ready::<A>(&key)?, ready::<B>(&key)?);
        let ciphertext = encrypt_raep::<A>(&public, b"label", &[1; 32]);
        assert_eq!(*other.decrypt_oaep(b"label", &ciphertext)?, [1; 32]);
        B::verify_pss(&public, &[2; 32], &one.sign_pss(&[2; 32]).ok_or("PSS")?)?;
        B::verify_pkcs1v15(&public, &[2; 32], &one.sign_pkcs1v15(&[2; 32]).ok_or("PKCS#1")?)?;
    }
    Ok(())
}

/// A malicious person publishes a modulus that is no product of two primes. Who encrypts to it learns nothing about it,
/// but goes on.
fn hostile_moduli_are_harmless<A: Backend, B: Backend>() -> Outcome {
    let bytes = |first: u8, middle: u8, last: u8| [&[first][..], &[middle; 382], &[last]].concat();
    for modulus in [bytes(0x80, 0, 1), bytes(0xff, 0xff, 0xff), bytes(0x80, 0, 3), bytes(0xaa, 0xaa, 0xab)] {
        let modulus = BoxedUint::from_be_slice(&modulus, 3072)?;
        let public = RsaPublicKey::new(modulus, BoxedUint::from(65537_u64))?;
        assert_eq!(encrypt_raep::<A>(&public, b"label", &[1; 32]).len(), 384);
        for signature in [vec![0; 384], [&[0; 383][..], &[1]].concat(), vec![0x7f; 384]] {
            let results = [A::verify_pss, B::verify_pss, A::verify_pkcs1v15, B::verify_pkcs1v15]
                .map(|verify| verify(&public, &[0; 32], &signature));
            assert!(results.iter().all(Result::is_err));
        }
    }
    // An even modulus would have no Montgomery form. It never becomes a public key.
    let even = BoxedUint::from_be_slice(&bytes(0x80, 0, 2), 3072)?;
    assert!(RsaPublicKey::new(even, BoxedUint::from(65537_u64)).is_err());
    Ok(())
}

/// A factor that is no prime satisfies every congruence of a key, but the key does not work. `RsaSecret` tries a key
/// before it accepts it.
fn unsound_private_keys_do_not_sign<A: Backend, B: Backend>() -> Outcome {
    let [composite, _, sound] = &keys()?[..] else { return Err("three keys".into()) };
    let [prime, _] = sound.primes() else { return Err("two primes".into()) };
    let key =
        RsaPrivateKey::from_p_q(composite.n().as_ref().clone(), prime.as_ref().clone(), BoxedUint::from(65537_u64))?;
    assert_eq!(A::RsaSecret::new(key.clone()).and_then(|secret| secret.sign_pss(&[1; 32])), None);
    assert_eq!(B::RsaSecret::new(key).and_then(|secret| secret.sign_pkcs1v15(&[1; 32])), None);
    Ok(())
}

//! Vectors of Project Wycheproof, which have the faults that implementations had. All that our parameters can express run
//! with every back end. The numbers of vectors are checked, so that an empty set fails.
//!
//! Not in the crate, and not possible here: RSA keys of three primes (`rsa` refuses them).

use hkdf::Hkdf;
use hpke::kem::{SharedSecret, X25519HkdfSha256};
use hpke::{Deserializable, HpkeError, Kem, Serializable};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use sha2::{Digest, Sha256};
use wycheproof::{HashFunction, Mgf, TestResult, aead, rsa_oaep, rsa_pkcs1_verify, rsa_pss_verify, xdh};

#[cfg(feature = "aws-lc-rs")]
use super::aws_lc::AwsLc;
use super::contract::Outcome;
use super::pure::Pure;
use super::{Backend, Gcm, RsaOperations};
use crate::{DecryptionFailed, RsaBits, RsaKeyError, RsaSecret};

type Counted = Result<Count, Box<dyn std::error::Error>>;

/// How many vectors ran.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    /// Opened or verified, as they must.
    accepted: usize,
    /// Refused, as they must.
    refused: usize,
    /// With a hash function that no operation here has, or a key, nonce or tag of another size, or another exponent.
    foreign: usize,
    /// Opened by one back end and refused by the other.
    differing: usize,
}

impl Count {
    /// Counts a vector that is accepted exactly if it `must` be.
    fn compare(&mut self, is_accepted: bool, must: bool, what: impl std::fmt::Debug) {
        assert_eq!(is_accepted, must, "{what:?}");
        *if must { &mut self.accepted } else { &mut self.refused } += 1;
    }
}

/// Makes a test of each check, for each back end, with the number of vectors.
macro_rules! with_each_back_end {
    ($($check:ident => $count:expr),* $(,)?) => {
        mod pure {
            use super::*;

            $(#[test]
            fn $check() -> Outcome {
                assert_eq!(super::$check::<Pure>()?, $count);
                Ok(())
            })*
        }
        #[cfg(feature = "aws-lc-rs")]
        mod aws_lc {
            use super::*;

            $(#[test]
            fn $check() -> Outcome {
                assert_eq!(super::$check::<AwsLc>()?, $count);
                Ok(())
            })*
        }
    };
}

with_each_back_end!(
    aes_gcm => Count { accepted: 39, refused: 27, foreign: 250, differing: 0 },
    oaep => Count { accepted: 77, refused: 188, foreign: 831, differing: 2 },
    pss => Count { accepted: 319, refused: 595, foreign: 2583, differing: 0 },
    pkcs1v15 => Count { accepted: 21, refused: 752, foreign: 5429, differing: 0 },
);

fn aes_gcm<B: Backend>() -> Counted {
    let mut count = Count::default();
    for group in aead::TestSet::load(aead::TestName::AesGcm)?.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            count.foreign += group.tests.len();
            continue;
        }
        for test in group.tests {
            let gcm = B::Gcm::new(test.key.as_slice().try_into()?);
            let nonce = test.nonce.as_slice().try_into()?;
            let mut buffer = [test.ct.as_slice(), &test.tag].concat();
            let opened = gcm.open_in_place(nonce, &test.aad, &mut buffer);
            count.compare(opened.is_ok(), test.result == TestResult::Valid, test.tc_id);
            if opened.is_ok() {
                assert_eq!(buffer, *test.pt, "{}", test.tc_id);
                gcm.seal_in_place(nonce, &test.aad, &mut buffer);
                assert_eq!(buffer, [test.ct.as_slice(), &test.tag].concat(), "{}", test.tc_id);
            }
        }
    }
    Ok(count)
}

/// Vectors with SHA-256 and another hash function in MGF1 must be refused.
///
/// "Acceptable" is the ciphertext 1. AWS-LC refuses it, and `rsa` opens it. Its message cannot be a key, so `RsaSecret`
/// refuses it with both.
fn oaep<B: Backend>() -> Counted {
    let mut count = Count::default();
    for name in rsa_oaep::TestName::all() {
        for group in rsa_oaep::TestSet::load(name)?.test_groups {
            let accepted = RsaSecret::from_der(&group.pkcs8);
            if group.hash != HashFunction::Sha2_256 || matches!(accepted, Err(RsaKeyError::Size { .. })) {
                count.foreign += group.tests.len();
                continue;
            }
            let checked = accepted?;
            let is_ours = group.mgf == Mgf::Mgf1 && group.mgf_hash == HashFunction::Sha2_256;
            let secret = B::RsaSecret::new(RsaPrivateKey::from_pkcs8_der(&group.pkcs8)?).ok_or("a sound key")?;
            for test in group.tests {
                if test.result == TestResult::Acceptable {
                    assert_eq!(checked.decrypt_oaep(&test.label, &test.ct), Err(DecryptionFailed));
                    count.differing += 1;
                    continue;
                }
                let opened = secret.decrypt_oaep(&test.label, &test.ct);
                let must = is_ours && test.result == TestResult::Valid;
                count.compare(opened.is_ok(), must, (name, test.tc_id));
                assert!(opened.is_err() || opened.is_ok_and(|message| *message == *test.pt), "{name:?} {}", test.tc_id);
            }
        }
    }
    Ok(count)
}

/// The key, if this project accepts it: 2048 to 4096 bits, exponent 65537.
fn public(pkcs1: &[u8]) -> Result<Option<RsaPublicKey>, rsa::pkcs1::Error> {
    let key = RsaPublicKey::from_pkcs1_der(pkcs1)?;
    let is_ours = RsaBits::new(key.n().bits() as usize).is_ok() && *key.e_bytes() == [1, 0, 1];
    Ok(is_ours.then_some(key))
}

/// Vectors with SHA-256 and another MGF or length of the salt must be refused. One of each set without salt has a salt of
/// 32 bytes after all.
fn pss<B: Backend>() -> Counted {
    let mut count = Count::default();
    for name in rsa_pss_verify::TestName::all() {
        for group in rsa_pss_verify::TestSet::load(name)?.test_groups {
            let key = public(&group.asn_key)?.filter(|_| group.hash == HashFunction::Sha2_256);
            let Some(key) = key else {
                count.foreign += group.tests.len();
                continue;
            };
            let is_ours = (group.mgf, group.mgf_hash, group.salt_size) == (Mgf::Mgf1, Some(HashFunction::Sha2_256), 32);
            for test in group.tests {
                let verified = B::verify_pss(&key, &Sha256::digest(&*test.msg).into(), &test.sig);
                let must = match test.comment.as_str() {
                    "s_len changed to 32" => !is_ours && group.mgf_hash == Some(HashFunction::Sha2_256),
                    _ => is_ours && test.result == TestResult::Valid,
                };
                count.compare(verified.is_ok(), must, (name, test.tc_id));
            }
        }
    }
    Ok(count)
}

/// "Acceptable" are signatures without the NULL of the algorithm's parameters. They must be refused: the contract
/// compares the whole padding.
fn pkcs1v15<B: Backend>() -> Counted {
    let mut count = Count::default();
    for name in rsa_pkcs1_verify::TestName::all() {
        for group in rsa_pkcs1_verify::TestSet::load(name)?.test_groups {
            let key = public(&group.asn_key)?.filter(|_| group.hash == HashFunction::Sha2_256);
            let Some(key) = key else {
                count.foreign += group.tests.len();
                continue;
            };
            for test in group.tests {
                let verified = B::verify_pkcs1v15(&key, &Sha256::digest(&*test.msg).into(), &test.sig);
                count.compare(verified.is_ok(), test.result == TestResult::Valid, (name, test.tc_id));
            }
        }
    }
    Ok(count)
}

/// The shared secret of DHKEM(X25519, HKDF-SHA256) that follows from the result of X25519 (RFC 9180 section 4.1).
fn dhkem(shared: &[u8], encapsulated: &[u8], recipient: &[u8]) -> Result<[u8; 32], hkdf::InvalidLength> {
    const SUITE: &[u8] = b"HPKE-v1KEM\x00\x20";
    let (_, extracted) = Hkdf::<Sha256>::extract(None, &[SUITE, b"eae_prk", shared].concat());
    let mut secret = [0; 32];
    extracted.expand_multi_info(&[&[0, 32], SUITE, b"shared_secret", encapsulated, recipient], &mut secret)?;
    Ok(secret)
}

/// X25519 has one implementation here, inside of HPKE. A shared secret of zeros, which a public key of small order gives,
/// must be refused (RFC 9180 section 7.1.4).
#[test]
fn x25519() -> Outcome {
    let mut count = Count::default();
    for group in xdh::TestSet::load(xdh::TestName::X25519)?.test_groups {
        for test in group.tests {
            let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&test.private_key)?;
            let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&test.public_key)?;
            let opened: Result<SharedSecret<_>, HpkeError> = X25519HkdfSha256::decap(&secret, None, &encapsulated);
            let must = test.shared_secret.iter().any(|byte| *byte != 0);
            count.compare(opened.is_ok(), must, test.tc_id);
            if let Ok(opened) = opened {
                let recipient = X25519HkdfSha256::sk_to_pk(&secret).to_bytes();
                let expected = dhkem(&test.shared_secret, &test.public_key, &recipient)?;
                assert_eq!(opened.0.as_slice(), expected, "{}", test.tc_id);
            }
        }
    }
    assert_eq!(count, Count { accepted: 487, refused: 31, foreign: 0, differing: 0 });
    Ok(())
}

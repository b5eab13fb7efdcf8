//! The commitment to encryption keys.

use emr_api::encryption::{CommittedKey, element, matches};
use emr_core::{KemHash, Role};
use emr_crypto::RsaPublic;
use emr_rollup::primitive::field;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const DOCTOR: &[u8] = include_bytes!("../../emr-crypto/tests/fixtures/doctor-3072.spki.der");

/// Computed with Python's hashlib from OpenSSL's DER file: `sha256(sha256(der) || kem hash || 07 x 32)` for patients, and
/// `sha256(0003 010001 0180 || n || kem hash)` for the others. The hash is of no second key, and SHA-256("abc").
#[test]
fn commitments_of_hashlib() -> TestResult {
    let (none, abc, salt) = (KemHash::NONE, KemHash::of(b"abc"), Some([7; 32]));
    for (kem, salt, expected) in [
        (none, salt, "0x007825eafa4236e4222a246cf6d79e72dbb57f2584dba06e4f49e863ed45b63c"),
        (abc, salt, "0x0020a88012ff594d1838d692e53a0a3c0826a8c87dd842765c225a2bee3d676f"),
        (none, None, "0x00b5cdd3d75746e4234122350701c25f29b2eea7a27cc27762fa2794d26b3db1"),
        (abc, None, "0x007cf773d1c9cbd4cb6af6648a46039a0c7da8573df1e95e80ce968f82b7ef79"),
    ] {
        let key = CommittedKey { rsa: RsaPublic::from_der(DOCTOR)?, kem, salt };
        assert_eq!(key.commitment().to_string(), expected);
        assert_eq!(format!("0x{}", hex::encode(field::to_bytes(&element(&key)))), expected);
    }
    Ok(())
}

/// Each role has one formula, and every part of it counts.
#[test]
fn a_leaf_matches_its_own_keys_only() -> TestResult {
    let key = RsaPublic::from_der(DOCTOR)?;
    for (role, salt) in [(Role::Patient, Some([7; 32])), (Role::Doctor, None), (Role::Hospital, None)] {
        let own = CommittedKey { rsa: key.clone(), kem: KemHash::of(b"abc"), salt };
        let leaf = element(&own);
        assert!(matches(&own, role, &leaf));
        let other_salt = if salt.is_some() { None } else { Some([0; 32]) };
        for other in [
            CommittedKey { kem: KemHash::NONE, ..own.clone() },
            CommittedKey { kem: KemHash::of(b"abd"), ..own.clone() },
            CommittedKey { salt: other_salt, ..own.clone() },
        ] {
            assert!(!matches(&other, role, &leaf));
            assert!(!matches(&other, role, &element(&other)) || other.salt == salt);
        }
    }
    Ok(())
}

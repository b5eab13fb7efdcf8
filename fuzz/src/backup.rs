//! A backup file, which can come from anywhere.

use emr_core::Role;
use emr_crypto::{
    Identity, KeyProfile, RsaSecret,
    backup::{BackupError, BackupKey, id_of},
};

/// The words of a key of zeros (BIP-39's first vector of 256 bits).
const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon abandon abandon abandon abandon abandon art";

pub(crate) fn check(data: &[u8]) -> bool {
    let key = BackupKey::from_words(WORDS).expect("a vector of BIP-39");
    let opened = key.open(data);
    assert_eq!(
        id_of(data).is_ok(),
        !matches!(opened, Err(BackupError::NotABackup | BackupError::Version(_) | BackupError::Length))
    );
    match opened {
        Ok(_) => true,
        // The form was accepted.
        Err(BackupError::Damaged | BackupError::OtherBackup { .. }) => true,
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let identity =
        Identity::with_rsa(Role::Doctor, RsaSecret::from_pem(crate::public_key::DOCTOR)?, KeyProfile::RsaAlone);
    Ok(vec![BackupKey::from_words(WORDS)?.seal(&identity).file().to_vec()])
}

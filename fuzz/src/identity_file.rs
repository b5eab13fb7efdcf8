//! An identity file. The cost of the passphrase is always the lowest one: what the header says of it is checked before any work.

use emr_core::Role;
use emr_crypto::{Identity, IdentityFile, IdentityFileError, RsaSecret, ScryptCost};
use secrecy::SecretString;

/// The position of log2 N.
const COST: usize = 13;

pub(crate) fn check(data: &[u8]) -> bool {
    let mut file = data.to_vec();
    if let Some(cost) = file.get_mut(COST).filter(|cost| (10..=20).contains(*cost)) {
        *cost = 10;
    }
    match IdentityFile::unseal(&file, &SecretString::from("passphrase")) {
        Ok(_) => true,
        // The decryption failed: the header was accepted.
        Err(IdentityFileError::WrongPassphrase) => true,
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let identity = Identity::with_rsa(Role::Doctor, RsaSecret::from_pem(crate::public_key::DOCTOR)?);
    Ok(vec![IdentityFile::seal(&identity, &SecretString::from("passphrase"), ScryptCost::Development)?])
}

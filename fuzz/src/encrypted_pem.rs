//! An encrypted private key, as OpenSSL writes it. Only its form is read: decrypting costs what the file asks for, up to seconds.

use emr_crypto::EncryptedPem;

const SEEDS: [&str; 2] = [
    include_str!("../../emr-crypto/tests/fixtures/encrypted-2048.pem"),
    include_str!("../../emr-crypto/tests/fixtures/encrypted-scrypt-2048.pem"),
];

pub(crate) fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match EncryptedPem::parse(text) {
        Ok(_) => true,
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    Ok(SEEDS.map(|seed| seed.as_bytes().to_vec()).to_vec())
}

//! Passcodes of links, and what a node keeps to check them.
//!
//! A passcode keeps out people who find a link. It has six digits, so it protects only as long as somebody counts the
//! guesses, and that is the node. The node never gets the key of the link's files.

use std::fmt;

use rand_core::Rng;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::random;

/// log2 of scrypt's N. With r = 8, a check takes 16 MiB and some 50 ms: a node checks guesses of strangers.
const LOG_N: u8 = 14;

/// What a node keeps of a passcode: scrypt (RFC 7914) with N = 2^14, r = 8, p = 1 over the passcode's UTF-8 bytes, 32
/// bytes. So who reads the node's disk does not read the passcode, which people use elsewhere too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasscodeVerifier {
    /// Random.
    pub salt: [u8; 16],
    /// The output of scrypt.
    pub digest: [u8; 32],
}

impl PasscodeVerifier {
    /// The longest passcode that is compared, in bytes.
    pub const LONGEST: usize = 256;

    /// The verifier of a passcode, with a new salt.
    pub fn of(passcode: &SecretString) -> Self {
        let salt = random::bytes();
        Self { salt, digest: *digest(passcode.expose_secret(), &salt) }
    }

    /// Whether this is the passcode. Takes the same time for every guess of a length.
    pub fn admits(&self, guess: &str) -> bool {
        digest(guess, &self.salt).ct_eq(&self.digest).into()
    }
}

impl fmt::Debug for PasscodeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasscodeVerifier(..)")
    }
}

fn digest(passcode: &str, salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    let params = scrypt::Params::new(LOG_N, 8, 1).expect("within bounds");
    let mut digest = Zeroizing::new([0; 32]);
    scrypt::scrypt(passcode.as_bytes(), salt, &params, &mut *digest).expect("32 bytes is a valid length");
    digest
}

/// A new passcode: six random decimal digits.
pub fn random_passcode() -> SecretString {
    const ALL: u32 = 1_000_000;
    let mut system = random::system();
    // Every passcode is equally likely: numbers from the last multiple on are drawn again.
    let number = loop {
        let drawn = system.next_u32();
        if drawn < u32::MAX - u32::MAX % ALL {
            break drawn % ALL;
        }
    };
    SecretString::from(format!("{number:06}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passcode_is_admitted() {
        let verifier = PasscodeVerifier::of(&"012345".into());
        assert!(verifier.admits("012345"));
        for wrong in ["", "12345", "0123456", "012346", "012345 ", "٠١٢٣٤٥"] {
            assert!(!verifier.admits(wrong), "{wrong}");
        }
        assert_ne!(verifier.digest, PasscodeVerifier::of(&"012345".into()).digest, "each has its salt");
        assert_eq!(format!("{verifier:?}"), "PasscodeVerifier(..)");
    }

    /// Computed with Python: `hashlib.scrypt(b"012345", salt=b"\x07" * 16, n=2**14, r=8, p=1, maxmem=2**26, dklen=32)`.
    #[test]
    fn the_digest_is_scrypt() {
        let known = "c074d8255a0579e3048027ceaff33951601675775f5c8e46a0a091e272215a75";
        assert_eq!(hex::encode(*digest("012345", &[7; 16])), known);
    }

    #[test]
    fn a_random_passcode_has_six_digits() {
        let codes: std::collections::BTreeSet<_> =
            (0..100).map(|_| random_passcode().expose_secret().to_owned()).collect();
        assert!(codes.iter().all(|code| code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit())));
        assert!(codes.len() > 90, "{codes:?}");
    }
}

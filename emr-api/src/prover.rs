//! The credential of a prover on another machine. It allows fetching jobs and submitting proofs; the node refuses it on
//! all other routes.
//!
//! Its text is `emr-prover-` and 64 hex digits, 32 random bytes. It is sent as `Authorization: Bearer`. The node keeps
//! only [`ProverCredential::digest`], so nobody can act as a prover with data from the node's disk.

use std::fmt;

use emr_rollup::primitive::keccak::keccak256;
use zeroize::Zeroizing;

/// The prefix of every credential. No login token has it.
const PREFIX: &str = "emr-prover-";
/// The length of the text in bytes.
const TEXT_BYTES: usize = PREFIX.len() + 64;

/// The text is not a prover's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a prover's credential: give the file that `emr-hospital prover add` wrote")]
pub struct NotACredential;

/// A prover's credential. It is secret, and erased from memory when dropped. The buffer cannot grow, so no copy stays
/// in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct ProverCredential(Zeroizing<[u8; TEXT_BYTES]>);

impl ProverCredential {
    /// Makes a new credential.
    pub fn generate() -> Self {
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let mut text = Zeroizing::new([0; TEXT_BYTES]);
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        hex::encode_to_slice(secret.as_slice(), digits).expect("64 digits");
        Self(text)
    }

    /// Parses a credential. Ignores white space around it.
    ///
    /// # Errors
    /// Returns [`NotACredential`] for any other text.
    pub fn parse(text: &str) -> Result<Self, NotACredential> {
        let text = text.trim();
        let digits = text.strip_prefix(PREFIX).ok_or(NotACredential)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
        let mut bytes = Zeroizing::new([0; TEXT_BYTES]);
        if text.len() != TEXT_BYTES || !is_hex {
            return Err(NotACredential);
        }
        bytes.copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// Whether a bearer token has the prefix of a prover's credential.
    pub fn is_meant(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// The text. Secret.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&*self.0).expect("ASCII")
    }

    /// The digest that the node keeps: Keccak-256 of the text, 32 bytes. The text has 256 random bits, so no slow hash
    /// is needed.
    pub fn digest(&self) -> [u8; 32] {
        keccak256(&*self.0)
    }
}

impl fmt::Debug for ProverCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProverCredential(..)")
    }
}

/// The longest name of a prover in bytes.
const MAX_NAME: usize = 40;

/// Whether a prover can have this name: 1 to 40 characters of `a-z`, `A-Z`, `0-9`, `-`, `_` and `.`, the first a letter
/// or digit. Such a name is safe in a path and on a terminal.
pub fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_credential_is_parsed() {
        let credential = ProverCredential::generate();
        let text = credential.expose().to_owned();
        assert_eq!(ProverCredential::parse(&format!(" {text}\n")), Ok(credential.clone()));
        assert!(ProverCredential::is_meant(&text));
        assert_ne!(ProverCredential::generate().digest(), credential.digest());
        assert!(!format!("{credential:?}").contains(&text[PREFIX.len()..]));
        for other in ["", PREFIX, &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(ProverCredential::parse(other), Err(NotACredential), "{other}");
        }
        assert!(!ProverCredential::is_meant(&"0".repeat(64)));
    }

    #[test]
    fn names_are_plain() {
        for good in ["gpu", "rack-7.gpu_2", "7", &"a".repeat(MAX_NAME)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "a\n", "é", "a?b", "a%2f", &"a".repeat(MAX_NAME + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}

//! One guardian's share of a backup key, as a line that people can print and type.
//!
//! The line is bech32m (BIP-350) with the prefix "emrshare", which finds every four wrong letters. It holds 44 bytes:
//!
//! ```text
//! version 1 (1) | id of the backup 8 | needed 1 | shares 1 | number 1 | value 32
//! ```

use std::fmt;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use zeroize::Zeroizing;

use super::{BackupId, ID_BYTES, Scheme};
use crate::secret::SecretBytes;

const VERSION: u8 = 1;
const PREFIX: &str = "emrshare";
const BYTES: usize = 1 + ID_BYTES + 3 + 32;
/// The letters of a line: prefix, "1", 71 letters of 5 bits each, and 6 of checksum. BIP-173 allows 90.
const LETTERS: usize = PREFIX.len() + 1 + (BYTES * 8).div_ceil(5) + 6;
/// How many letters stand together on paper.
const GROUP: usize = 4;

/// Why a line is not a share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// It does not begin like a share.
    #[error("this is not a share of a backup: a share begins with {PREFIX}1")]
    NotAShare,
    /// Letters are missing or too many.
    #[error("the share has {found} letters instead of {LETTERS}: compare it with the paper")]
    Length {
        /// Without spaces.
        found: usize,
    },
    /// A letter is wrong.
    #[error("a letter of the share is wrong, or two changed places: compare it with the paper")]
    Checksum,
    /// Another version of the program made it.
    #[error("the share is of version {0}, and this program reads version {VERSION}: use the program that made it")]
    Version(u8),
    /// The numbers in it make no sense.
    #[error("the share states numbers that no backup has: another program made it")]
    Numbers,
}

/// One share. Erased from memory when dropped; `Debug` shows no secret.
#[derive(Clone)]
pub struct KeyShare {
    id: BackupId,
    scheme: Scheme,
    number: u8,
    value: SecretBytes,
}

impl KeyShare {
    pub(super) fn new(id: BackupId, scheme: Scheme, number: u8, value: &[u8; 32]) -> Self {
        Self { id, scheme, number, value: SecretBytes::new(value) }
    }

    /// Which backup it belongs to.
    pub const fn id(&self) -> BackupId {
        self.id
    }

    /// How many shares there are, and how many are needed.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its number, from 1 on. It is the x coordinate of the polynomials.
    pub const fn number(&self) -> u8 {
        self.number
    }

    pub(super) fn value(&self) -> &[u8; 32] {
        self.value.as_bytes()
    }

    /// The line, without spaces.
    pub fn to_line(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        let numbers = [self.scheme.needed(), self.scheme.shares(), self.number];
        let parts = [&[VERSION][..], &self.id.0, &numbers, self.value()];
        let all = parts.into_iter().flatten();
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        // Large enough that it never moves.
        let mut line = Zeroizing::new(String::with_capacity(LETTERS));
        bech32::encode_to_fmt::<Bech32m, _>(&mut *line, Hrp::parse_unchecked(PREFIX), &*bytes)
            .expect("a share fits into a line of bech32m");
        line
    }

    /// The line in groups of four letters, as it is printed.
    pub fn to_groups(&self) -> Zeroizing<String> {
        let line = self.to_line();
        let mut groups = Zeroizing::new(String::with_capacity(LETTERS + LETTERS / GROUP + 1));
        for (at, letter) in line.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                groups.push(' ');
            }
            groups.push(letter);
        }
        groups
    }

    /// Reads a line, in small or capital letters, with or without spaces.
    ///
    /// # Errors
    /// Returns [`ShareError`] if it is not a share, or if it was mistyped.
    pub fn from_line(text: &str) -> Result<Self, ShareError> {
        let mut line = Zeroizing::new(String::with_capacity(LETTERS + 1));
        let mut found = 0;
        for letter in text.chars().filter(|letter| !letter.is_whitespace()) {
            found += 1;
            if found <= LETTERS {
                line.push(if letter.is_ascii() { letter.to_ascii_lowercase() } else { '?' });
            }
        }
        if !line.starts_with(PREFIX) {
            return Err(ShareError::NotAShare);
        }
        if found != LETTERS {
            return Err(ShareError::Length { found });
        }
        let checked = CheckedHrpstring::new::<Bech32m>(&line).map_err(|_| ShareError::Checksum)?;
        if checked.hrp().as_str() != PREFIX {
            return Err(ShareError::NotAShare);
        }
        let mut bytes = Zeroizing::new([0; BYTES]);
        let mut decoded = checked.byte_iter();
        bytes.iter_mut().zip(&mut decoded).for_each(|(to, from)| *to = from);
        let [version, rest @ ..] = &*bytes;
        if *version != VERSION {
            return Err(ShareError::Version(*version));
        }
        let (id, rest) = rest.split_first_chunk().ok_or(ShareError::Numbers)?;
        let ([needed, shares, number], rest) = rest.split_first_chunk().ok_or(ShareError::Numbers)?;
        let value = rest.first_chunk().ok_or(ShareError::Numbers)?;
        let scheme = Scheme::new(*needed, *shares).map_err(|_| ShareError::Numbers)?;
        if !(1..=*shares).contains(number) {
            return Err(ShareError::Numbers);
        }
        Ok(Self::new(BackupId(*id), scheme, *number, value))
    }
}

/// Shows everything but the value.
impl fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyShare({}, {} of {})", self.id, self.number, self.scheme)
    }
}

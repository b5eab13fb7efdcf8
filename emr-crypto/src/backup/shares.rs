//! The key of a backup in shares for guardians: any `needed` of them give the key, and fewer tell nothing about it.
//!
//! Shamir's scheme ("How to share a secret", Communications of the ACM, 1979), for each byte of the key, over GF(2^8) with the polynomial
//! x^8 + x^4 + x^3 + x^2 + 1. All coefficients are random, the greatest one too.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use blahaj::{Share, Sharks};
use zeroize::Zeroizing;

use super::{BackupId, BackupKey, KeyShare};
use crate::random;

/// The most shares of a backup.
const MOST: u8 = 16;

/// How many shares there are, and how many of them give the key: at least 2 of at most 16. Written like "3-of-5".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    needed: u8,
    shares: u8,
}

/// The numbers are not those of a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write how many of the shares are needed like 3-of-5: at least 2, and at most {MOST} shares")]
pub struct NotAScheme;

impl Scheme {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Returns [`NotAScheme`] unless 2 <= needed <= shares <= 16.
    pub const fn new(needed: u8, shares: u8) -> Result<Self, NotAScheme> {
        if 2 <= needed && needed <= shares && shares <= MOST { Ok(Self { needed, shares }) } else { Err(NotAScheme) }
    }

    /// How many shares give the key.
    pub const fn needed(self) -> u8 {
        self.needed
    }

    /// How many there are.
    pub const fn shares(self) -> u8 {
        self.shares
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.needed, self.shares)
    }
}

impl FromStr for Scheme {
    type Err = NotAScheme;

    fn from_str(text: &str) -> Result<Self, NotAScheme> {
        let (needed, shares) = text.split_once("-of-").ok_or(NotAScheme)?;
        let number = |text: &str| text.parse().map_err(|_| NotAScheme);
        Self::new(number(needed)?, number(shares)?)
    }
}

/// Why shares do not give a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharesError {
    /// There is no share.
    #[error("no share was given")]
    None,
    /// They belong to different backups.
    #[error(
        "the shares belong to different backups: share {number} to backup {found}, and share {first} to backup {id}"
    )]
    Mixed {
        /// The number of the first share.
        first: u8,
        /// Its backup.
        id: BackupId,
        /// The number of the share that differs.
        number: u8,
        /// Its backup.
        found: BackupId,
    },
    /// The same share is there twice.
    #[error("share {0} was given twice; each guardian has another one")]
    Twice(u8),
    /// More are needed.
    #[error("{found} shares were given, and {needed} are needed: ask another guardian")]
    TooFew {
        /// How many were given.
        found: usize,
        /// How many are needed.
        needed: u8,
    },
    /// They do not give the key, though all are well formed.
    #[error(
        "these shares do not give the key of backup {0}: at least one was made up. Give more shares than are needed; those that are false are named then"
    )]
    False(BackupId),
}

/// A key from shares.
#[derive(Debug)]
pub struct Combined {
    /// The key.
    pub key: BackupKey,
    /// The numbers of shares that were given and do not belong to this key. Their guardians have made them up, or another program damaged them.
    pub false_shares: Vec<u8>,
}

impl BackupKey {
    /// Divides the key. The shares come in the order of their numbers. A second call makes shares that do not fit the first ones, so a key is
    /// divided once.
    pub fn split(&self, scheme: Scheme) -> Vec<KeyShare> {
        let mut system = random::system();
        let dealer = Sharks(scheme.needed).dealer_rng(self.as_bytes(), &mut system);
        let shares = dealer.take(usize::from(scheme.shares)).zip(1_u8..).map(|(share, number)| {
            let bytes = Zeroizing::new(Vec::from(&share));
            let value = bytes.get(1..).and_then(<[u8]>::first_chunk).expect("a byte for each byte of the key");
            debug_assert_eq!(bytes.first(), Some(&number));
            KeyShare::new(self.id(), scheme, number, value)
        });
        shares.collect()
    }

    /// The key that enough shares give. More shares than are needed are compared with each other, so false ones are found as long as enough true
    /// ones are there.
    ///
    /// # Errors
    /// Returns [`SharesError`] if they belong to different backups, if there are too few, or if they do not give the key.
    pub fn combine(shares: &[KeyShare]) -> Result<Combined, SharesError> {
        let first = shares.first().ok_or(SharesError::None)?;
        let mut by_number = BTreeMap::new();
        for share in shares {
            if (share.id(), share.scheme()) != (first.id(), first.scheme()) {
                let (id, found) = (first.id(), share.id());
                return Err(SharesError::Mixed { first: first.number(), id, number: share.number(), found });
            }
            if by_number.insert(share.number(), share).is_some() {
                return Err(SharesError::Twice(share.number()));
            }
        }
        let (needed, found) = (usize::from(first.scheme().needed()), by_number.len());
        if found < needed {
            return Err(SharesError::TooFew { found, needed: first.scheme().needed() });
        }
        let all: Vec<&KeyShare> = by_number.into_values().collect();
        let (chosen, key) = choices(found, needed)
            .find_map(|chosen| Some((chosen, interpolated(&pick(&all, chosen)).filter(|key| key.id() == first.id())?)))
            .ok_or(SharesError::False(first.id()))?;
        // A share is true if it gives the same key in the place of another one.
        let mut partners = pick(&all, chosen);
        partners.truncate(needed - 1);
        let is_false = |share: &&KeyShare| {
            let known = partners.iter().any(|partner| partner.number() == share.number());
            let together = [&partners[..], &[*share]].concat();
            !known && interpolated(&together).is_none_or(|found| found.id() != first.id())
        };
        let false_shares = all.iter().copied().filter(is_false).map(KeyShare::number).collect();
        Ok(Combined { key, false_shares })
    }
}

/// All ways to choose `needed` of `found` things, as bits. There are at most 12,870, for 8 of 16.
fn choices(found: usize, needed: usize) -> impl Iterator<Item = u32> {
    (0..1_u32 << found).filter(move |chosen| chosen.count_ones() as usize == needed)
}

fn pick<'a>(all: &[&'a KeyShare], chosen: u32) -> Vec<&'a KeyShare> {
    all.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, share)| *share).collect()
}

/// The key on these shares' polynomials: their values at 0.
fn interpolated(shares: &[&KeyShare]) -> Option<BackupKey> {
    let points: Vec<Share> = shares
        .iter()
        .filter_map(|share| {
            let mut bytes = Zeroizing::new([0; 33]);
            bytes[0] = share.number();
            bytes[1..].copy_from_slice(share.value());
            Share::try_from(&bytes[..]).ok()
        })
        .collect();
    let needed = u8::try_from(shares.len()).ok()?;
    let bytes = Zeroizing::new(Sharks(needed).recover(&points).ok()?);
    bytes.first_chunk().filter(|_| bytes.len() == 32).map(BackupKey::from_bytes)
}

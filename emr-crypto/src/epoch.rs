//! Epoch keys: per patient and class, a key pair to which writers wrap content keys without knowing the readers.

use std::collections::BTreeMap;
use std::fmt;

use emr_core::Class;
use serde::{Deserialize, Serialize};

use crate::content::ContentKey;
use crate::secret::SecretBytes;
use crate::xwing::{XWingPublic, XWingSecret};
use crate::{DecryptionFailed, RecordContext, hpke_suite};

/// HPKE's `info` for wrapping a record's content key.
const WRAP_INFO: &[u8] = b"emr/epoch-wrap/v2";
/// Bytes of a wrapped content key: encapsulated key 1120, key 32, tag 16.
pub const EPOCH_WRAP_BYTES: usize = hpke_suite::OVERHEAD_BYTES + 32;

/// The number of a class's epoch. The first is 1. 32 bits; a number in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct KeyEpoch(u32);

/// The number was 0, which is not an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epochs are numbered from 1")]
pub struct NoEpoch;

impl TryFrom<u32> for KeyEpoch {
    type Error = NoEpoch;

    fn try_from(number: u32) -> Result<Self, NoEpoch> {
        Self::new(number).ok_or(NoEpoch)
    }
}

impl From<KeyEpoch> for u32 {
    fn from(epoch: KeyEpoch) -> Self {
        epoch.0
    }
}

impl KeyEpoch {
    /// The epoch that a new directory starts with.
    pub const FIRST: Self = Self(1);

    /// The epoch with this number; `None` for 0.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The epoch that comes `count` epochs after this one; `None` past the last number.
    pub(crate) fn after(self, count: usize) -> Option<Self> {
        self.0.checked_add(u32::try_from(count).ok()?).map(Self)
    }
}

impl fmt::Display for KeyEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn wrap_aad(context: &RecordContext, epoch: KeyEpoch) -> Vec<u8> {
    [&context.to_bytes()[..], &epoch.0.to_be_bytes()].concat()
}

/// The public half of a class's epoch key. Writers wrap content keys to it. Copies share the key's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochPublicKey {
    class: Class,
    epoch: KeyEpoch,
    key: XWingPublic,
}

impl EpochPublicKey {
    pub(crate) const fn new(class: Class, epoch: KeyEpoch, key: XWingPublic) -> Self {
        Self { class, epoch, key }
    }

    /// The class of the records that it is for.
    pub const fn class(&self) -> Class {
        self.class
    }

    /// The class's epoch.
    pub const fn epoch(&self) -> KeyEpoch {
        self.epoch
    }

    /// The X-Wing public key.
    pub const fn key(&self) -> &XWingPublic {
        &self.key
    }

    /// Wraps a content key. The result has [`EPOCH_WRAP_BYTES`] and shows neither patient nor class nor epoch.
    pub(crate) fn wrap(&self, key: &ContentKey, context: &RecordContext) -> Vec<u8> {
        hpke_suite::seal(&self.key, WRAP_INFO, &wrap_aad(context, self.epoch), key.as_bytes())
    }
}

/// The private half of a class's epoch key: the seed of an X-Wing key, 32 bytes. Erased from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EpochSecret(XWingSecret);

impl EpochSecret {
    pub(crate) fn generate() -> Self {
        Self(XWingSecret::generate())
    }

    pub(crate) const fn of(seed: SecretBytes) -> Self {
        Self(XWingSecret::of(seed))
    }

    pub(crate) const fn seed(&self) -> &SecretBytes {
        self.0.secret()
    }

    pub(crate) const fn key(&self) -> &XWingSecret {
        &self.0
    }

    pub(crate) fn public(&self, class: Class, epoch: KeyEpoch) -> EpochPublicKey {
        EpochPublicKey::new(class, epoch, self.0.public())
    }

    fn unwrap(&self, epoch: KeyEpoch, wrap: &[u8], context: &RecordContext) -> Result<ContentKey, DecryptionFailed> {
        ContentKey::from_slice(&hpke_suite::open(&self.0, WRAP_INFO, &wrap_aad(context, epoch), wrap)?)
    }
}

impl fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochSecret(..)")
    }
}

/// The private keys of consecutive epochs of a class, starting with `first`. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassKeys {
    pub(crate) first: KeyEpoch,
    pub(crate) secrets: Vec<EpochSecret>,
}

impl ClassKeys {
    /// The epochs with their secrets, in order.
    fn iter(&self) -> impl DoubleEndedIterator<Item = (KeyEpoch, &EpochSecret)> {
        let first = self.first.get();
        self.secrets.iter().enumerate().map(move |(index, secret)| (KeyEpoch(first + index as u32), secret))
    }
}

/// The epoch private keys that a reader was granted. Per class, they are a range of epochs that ends with the current
/// one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochKeyring(BTreeMap<Class, ClassKeys>);

impl EpochKeyring {
    pub(crate) fn insert(&mut self, class: Class, keys: ClassKeys) {
        self.0.insert(class, keys);
    }

    /// The first and the last epoch of `class` that the reader can read; `None` if they cannot read the class.
    pub fn epochs(&self, class: Class) -> Option<(KeyEpoch, KeyEpoch)> {
        let keys = self.0.get(&class)?;
        Some((keys.first, keys.iter().next_back()?.0))
    }

    /// The secrets of a class, newest first.
    pub(crate) fn newest_first(&self, class: Class) -> impl Iterator<Item = &EpochSecret> {
        self.0.get(&class).into_iter().flat_map(|keys| keys.secrets.iter().rev())
    }

    /// Finds the epoch that a content key was wrapped to, newest first, and unwraps it.
    ///
    /// # Errors
    /// Returns [`DecryptionFailed`] if no key of the record's class unwraps it.
    pub(crate) fn unwrap(
        &self,
        wrap: &[u8],
        context: &RecordContext,
    ) -> Result<(KeyEpoch, ContentKey), DecryptionFailed> {
        if wrap.len() != EPOCH_WRAP_BYTES {
            return Err(DecryptionFailed);
        }
        let keys = self.0.get(&context.class).ok_or(DecryptionFailed)?;
        keys.iter()
            .rev()
            .find_map(|(epoch, secret)| Some((epoch, secret.unwrap(epoch, wrap, context).ok()?)))
            .ok_or(DecryptionFailed)
    }
}

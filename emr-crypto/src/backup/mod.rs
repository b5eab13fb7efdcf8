//! Backups of an identity: a file, and the key that opens it as words on paper or as shares for guardians.
//!
//! ```text
//! magic 10 "emr-backup" | version 1 (1) | id 8 | length of sealed 4 | sealed
//! ```
//!
//! Integers are big-endian. Each backup has a new random key of 32 bytes. `id` is the first 8 bytes of HKDF-SHA256(key, "emr/backup/id/v1"), so
//! a program can tell which words and shares belong to which file. `sealed` is the AES-256-GCM encryption of the identity's bytes under
//! HKDF-SHA256(key, "emr/backup/key/v1"), with everything before it as additional data. The nonce is zero, because a key seals one file.
//!
//! No passphrase is needed to open it, so a forgotten passphrase is no loss. An RSA key does not fit into words, so the words are the key of the
//! file. The file alone tells nothing except its length: it can be kept anywhere, in several places.

mod share;
mod shares;
mod words;

use std::fmt;

use zeroize::Zeroizing;

pub use share::{KeyShare, ShareError};
pub use shares::{Combined, NotAScheme, Scheme, SharesError};
pub use words::{WORDS, WordsError};

use crate::secret::SecretBytes;
use crate::{Identity, IdentityError, aead, random};

const MAGIC: &[u8; 10] = b"emr-backup";
const VERSION: u8 = 1;
const ID_BYTES: usize = 8;
const HEADER_BYTES: usize = MAGIC.len() + 1 + ID_BYTES + 4;
/// The longest backup file that is read, in bytes: an identity with many former keys fits.
pub const MAX_BACKUP_BYTES: usize = 128 * 1024;

/// Which backup a file, words or a share belong to: 8 bytes, public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupId([u8; ID_BYTES]);

/// 16 hexadecimal digits.
impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupId({self})")
    }
}

/// Why a backup file cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file does not begin like a backup, or is far too long.
    #[error("this is not a backup of an identity; choose the file that `identity backup` wrote")]
    NotABackup,
    /// Another version of the program wrote the file.
    #[error("the backup is of version {0}, and this program reads version {VERSION}: use the program that wrote it")]
    Version(u8),
    /// The end of the file is missing, or there is something after it.
    #[error("the backup is not complete, or has something appended; take another copy of the file")]
    Length,
    /// The key belongs to another backup.
    #[error(
        "these words or shares belong to backup {key}, and the file is backup {file}: take the file or the paper that belongs to it"
    )]
    OtherBackup {
        /// The id of the key.
        key: BackupId,
        /// The id that the file states.
        file: BackupId,
    },
    /// The file was altered.
    #[error("the backup file was damaged; take another copy of it")]
    Damaged,
    /// The file was decrypted, but its content is not a usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The key of one backup: 32 random bytes, erased when dropped.
#[derive(Clone)]
pub struct BackupKey(SecretBytes);

impl BackupKey {
    /// A new key, for one backup.
    pub fn generate() -> Self {
        Self(SecretBytes::new(&random::secret()))
    }

    /// Which backup it belongs to.
    pub fn id(&self) -> BackupId {
        let derived = aead::derive(self.0.as_bytes(), "emr/backup/id/v1", b"");
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&derived[..ID_BYTES]);
        BackupId(id)
    }

    fn sealing_key(&self) -> Zeroizing<[u8; 32]> {
        aead::derive(self.0.as_bytes(), "emr/backup/key/v1", b"")
    }

    /// Encrypts an identity. Returns the bytes of the file. It takes the key, because a key must not seal a second identity.
    pub fn seal(self, identity: &Identity) -> SealedBackup {
        let plaintext = identity.to_bytes();
        let length = u32::try_from(plaintext.len() + aead::TAG_BYTES).expect("an identity is a few kilobytes");
        let mut file = [&MAGIC[..], &[VERSION], &self.id().0, &length.to_be_bytes()].concat();
        let sealed = aead::seal_once(&self.sealing_key(), &file, &plaintext);
        file.extend(sealed);
        SealedBackup { key: self, file }
    }

    /// Decrypts the bytes of a backup file.
    ///
    /// # Errors
    /// Returns [`BackupError`] if the bytes are not a complete backup file, or if the key belongs to another one.
    pub fn open(&self, file: &[u8]) -> Result<Identity, BackupError> {
        let (id, header, sealed) = parse(file)?;
        if id != self.id() {
            return Err(BackupError::OtherBackup { key: self.id(), file: id });
        }
        let plaintext = aead::open_once(&self.sealing_key(), header, sealed).map_err(|_| BackupError::Damaged)?;
        Ok(Identity::from_bytes(&plaintext)?)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SecretBytes::new(bytes))
    }
}

/// Shows the id only.
impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupKey({})", self.id())
    }
}

/// A backup that was made: the bytes of the file, and the key to print.
#[derive(Debug)]
pub struct SealedBackup {
    key: BackupKey,
    file: Vec<u8>,
}

impl SealedBackup {
    /// The bytes of the file. They are no secret.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The key, as words or as shares.
    pub const fn key(&self) -> &BackupKey {
        &self.key
    }
}

/// The id that a backup file states. It needs no key. Nothing authenticates it until the file is opened.
///
/// # Errors
/// Returns [`BackupError`] if the bytes are not a complete backup file.
pub fn id_of(file: &[u8]) -> Result<BackupId, BackupError> {
    Ok(parse(file)?.0)
}

/// The id, the header and the sealed part.
fn parse(file: &[u8]) -> Result<(BackupId, &[u8], &[u8]), BackupError> {
    if file.len() > MAX_BACKUP_BYTES {
        return Err(BackupError::NotABackup);
    }
    let rest = file.strip_prefix(MAGIC).ok_or(BackupError::NotABackup)?;
    match rest.first() {
        None => return Err(BackupError::Length),
        Some(&VERSION) => {}
        Some(version) => return Err(BackupError::Version(*version)),
    }
    let (header, sealed) = file.split_at_checked(HEADER_BYTES).ok_or(BackupError::Length)?;
    let (id, length) = header[MAGIC.len() + 1..].split_first_chunk().ok_or(BackupError::Length)?;
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    if sealed.len() != length {
        return Err(BackupError::Length);
    }
    Ok((BackupId(*id), header, sealed))
}

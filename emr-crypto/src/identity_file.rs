//! Identity files: an identity encrypted with a passphrase.
//!
//! ```text
//! magic 12 "emr-identity" | version 1 (3) | log2 N 1 | salt 32 | nonce 12 | sealed length 4 | sealed
//! ```
//!
//! Integers are big-endian. The key is scrypt (RFC 7914) of the passphrase's UTF-8 bytes and the salt, with r = 8, p =
//! 1 and 32 bytes of output. `sealed` is the AES-256-GCM encryption of the identity's DAG-CBOR, with everything before
//! it as additional data.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use emr_durable::Disk;
use secrecy::{ExposeSecret, SecretString};

use crate::scrypt_cost::{self, LogN};
use crate::{Identity, IdentityError, ScryptCost, aead, random};

const MAGIC: &[u8; 12] = b"emr-identity";
const VERSION: u8 = 3;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const HEADER_BYTES: usize = MAGIC.len() + 2 + SALT_BYTES + NONCE_BYTES + 4;
/// The longest file that is read, in bytes. An identity takes 2 to 3 kB, and as much for each former key.
const MAX_FILE_BYTES: u64 = (crate::identity::MAX_BYTES + HEADER_BYTES + aead::TAG_BYTES) as u64;

/// What to do if an identity file exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Keep the file and return an error.
    Never,
    /// Replace the file. Its keys are lost.
    Replace,
}

/// Why an identity file could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// A file with this name exists.
    #[error("{} exists already; choose another name, its keys would be lost", .0.display())]
    Exists(PathBuf),
    /// There is no such file.
    #[error("there is no identity file {}; create one with init", .0.display())]
    NotFound(PathBuf),
    /// The passphrase is empty, so it protects nothing.
    #[error("the passphrase is empty; choose one")]
    EmptyPassphrase,
    /// Others can read the file.
    #[error("{} can be read by others (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not begin like an identity file, or is far too long.
    #[error("this is not an identity file; choose another one")]
    NotAnIdentityFile,
    /// The end of the file is missing.
    #[error("the identity file is cut short; restore it from a backup")]
    Truncated,
    /// There are bytes after the end.
    #[error("the identity file has something appended; restore it from a backup")]
    TrailingBytes,
    /// Another version of the program wrote the file.
    #[error(
        "the identity file is of version {0}, and this program reads version {VERSION}: use the program that wrote it"
    )]
    Version(u8),
    /// The file asks for more or less work than this program accepts.
    #[error("the identity file asks for scrypt with N = 2^{0}, outside 2^10 to 2^20; restore it from a backup")]
    Cost(u8),
    /// The passphrase is wrong, or the file was altered.
    #[error("wrong passphrase, or the identity file was damaged")]
    WrongPassphrase,
    /// The file was decrypted, but its content is not a usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        #[source]
        source: io::Error,
    },
}

/// Reading and writing identity files.
#[derive(Debug)]
pub struct IdentityFile;

impl IdentityFile {
    /// Encrypts an identity. Returns the bytes of the file.
    ///
    /// # Errors
    /// Returns [`IdentityFileError::EmptyPassphrase`] for an empty passphrase.
    pub fn seal(
        identity: &Identity,
        passphrase: &SecretString,
        cost: ScryptCost,
    ) -> Result<Vec<u8>, IdentityFileError> {
        if passphrase.expose_secret().is_empty() {
            return Err(IdentityFileError::EmptyPassphrase);
        }
        let plaintext = identity.to_bytes();
        let (salt, nonce) = (random::bytes::<SALT_BYTES>(), random::bytes::<NONCE_BYTES>());
        let length = u32::try_from(plaintext.len() + aead::TAG_BYTES).expect("an identity has some kilobytes");
        let mut file = [&MAGIC[..], &[VERSION, cost.log_n()], &salt, &nonce, &length.to_be_bytes()].concat();
        let key = scrypt_cost::derive(passphrase.expose_secret().as_bytes(), &salt, cost.log_n());
        let sealed = aead::seal(&key, &nonce, &file, &plaintext);
        file.extend(sealed);
        Ok(file)
    }

    /// Decrypts the bytes of an identity file.
    ///
    /// # Errors
    /// Returns [`IdentityFileError`] if the bytes are not a complete identity file, or the passphrase is wrong.
    pub fn unseal(file: &[u8], passphrase: &SecretString) -> Result<Identity, IdentityFileError> {
        let known = file.len().min(MAGIC.len());
        if file[..known] != MAGIC[..known] || file.is_empty() || file.len() as u64 > MAX_FILE_BYTES {
            return Err(IdentityFileError::NotAnIdentityFile);
        }
        if let Some(version) = file.get(MAGIC.len()).filter(|version| **version != VERSION) {
            return Err(IdentityFileError::Version(*version));
        }
        let (header, sealed) = file.split_at_checked(HEADER_BYTES).ok_or(IdentityFileError::Truncated)?;
        let log_n = header[MAGIC.len() + 1];
        let (salt, rest) = header[MAGIC.len() + 2..].split_at(SALT_BYTES);
        let (nonce, length) = rest.split_first_chunk().ok_or(IdentityFileError::Truncated)?;
        let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        match sealed.len().cmp(&length) {
            std::cmp::Ordering::Less => return Err(IdentityFileError::Truncated),
            std::cmp::Ordering::Greater => return Err(IdentityFileError::TrailingBytes),
            std::cmp::Ordering::Equal => {}
        }
        let log_n = LogN::new(log_n).ok_or(IdentityFileError::Cost(log_n))?;
        let key = scrypt_cost::derive(passphrase.expose_secret().as_bytes(), salt, log_n.get());
        let plaintext = aead::open(&key, nonce, header, sealed).map_err(|_| IdentityFileError::WrongPassphrase)?;
        Ok(Identity::from_bytes(&plaintext)?)
    }

    /// The cost that a file states, without opening it. Nothing authenticates it until the file is opened.
    ///
    /// # Errors
    /// Returns [`IdentityFileError`] if the file is missing, is not an identity file of this version, or states a cost out of bounds.
    pub fn cost(path: &Path) -> Result<ScryptCost, IdentityFileError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => IdentityFileError::NotFound(path.to_owned()),
            _ => IdentityFileError::Io { path: path.to_owned(), source },
        };
        let mut start = Vec::new();
        File::open(path).map_err(failed)?.take(HEADER_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
        match start.strip_prefix(MAGIC) {
            Some([VERSION, log_n, ..]) => {
                Ok(ScryptCost::Measured(LogN::new(*log_n).ok_or(IdentityFileError::Cost(*log_n))?))
            }
            Some([VERSION] | []) => Err(IdentityFileError::Truncated),
            Some([version, ..]) => Err(IdentityFileError::Version(*version)),
            None => Err(IdentityFileError::NotAnIdentityFile),
        }
    }

    /// Writes an identity file with mode 0600. It appears completely or not at all. Once this returns, it survives a
    /// crash.
    ///
    /// # Errors
    /// Returns [`IdentityFileError::Exists`] if the file exists and `overwrite` is [`Overwrite::Never`],
    /// [`IdentityFileError::EmptyPassphrase`] for an empty passphrase, and [`IdentityFileError::Io`] if writing fails.
    pub fn create(
        path: &Path,
        identity: &Identity,
        passphrase: &SecretString,
        cost: ScryptCost,
        overwrite: Overwrite,
    ) -> Result<(), IdentityFileError> {
        Self::create_on(&Disk::default(), path, identity, passphrase, cost, overwrite)
    }

    /// The same as [`Self::create`], on a disk that a test can observe.
    ///
    /// # Errors
    /// The same as [`Self::create`].
    pub fn create_on(
        disk: &Disk,
        path: &Path,
        identity: &Identity,
        passphrase: &SecretString,
        cost: ScryptCost,
        overwrite: Overwrite,
    ) -> Result<(), IdentityFileError> {
        let failed = |source| IdentityFileError::Io { path: path.to_owned(), source };
        if overwrite == Overwrite::Never && path.try_exists().map_err(failed)? {
            return Err(IdentityFileError::Exists(path.to_owned()));
        }
        let bytes = Self::seal(identity, passphrase, cost)?;
        // The file has mode 0600 from the first byte on.
        match overwrite {
            Overwrite::Never => disk.create(path, &bytes),
            Overwrite::Replace => disk.replace(path, &bytes),
        }
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => IdentityFileError::Exists(path.to_owned()),
            _ => failed(error),
        })
    }

    /// Reads and decrypts an identity file.
    ///
    /// # Errors
    /// Returns [`IdentityFileError`] if the file is missing, readable by others or not a complete identity file, or if
    /// the passphrase is wrong.
    pub fn open(path: &Path, passphrase: &SecretString) -> Result<Identity, IdentityFileError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => IdentityFileError::NotFound(path.to_owned()),
            _ => IdentityFileError::Io { path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(failed)?;
        check_permissions(path, &file.metadata().map_err(failed)?)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::unseal(&bytes, passphrase)
    }
}

#[cfg(unix)]
fn check_permissions(path: &Path, metadata: &fs::Metadata) -> Result<(), IdentityFileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(IdentityFileError::Permissions { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_permissions(_path: &Path, _metadata: &fs::Metadata) -> Result<(), IdentityFileError> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod memory;

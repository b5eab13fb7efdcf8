#![doc = include_str!("../README.md")]

mod aead;
mod attachment;
mod backend;
pub mod backup;
mod chunks;
mod committed_key;
mod content;
mod context;
mod delegated_keys;
mod directory;
mod encrypted_pem;
mod encryption_key;
mod envelope;
mod epoch;
mod error;
mod hpke_suite;
mod identity;
mod identity_file;
mod jwe;
pub mod key_wrap;
mod login;
mod manifest;
#[cfg(all(test, target_os = "linux"))]
mod memory_search;
mod padded;
mod padme;
mod passcode;
mod patient_directory;
mod random;
mod rsa_key;
mod scrypt_cost;
mod secret;
mod xwing;

pub use attachment::{AttachmentChunks, AttachmentKey, AttachmentSealer, AttachmentSize, MAX_ATTACHMENT_BYTES};
pub use committed_key::CommittedKey;
pub use content::{CHUNK_BYTES, ContentKey};
pub use context::RecordContext;
pub use delegated_keys::{DelegatedKeys, DelegatedKeysError, HandOnError, MAX_DELEGATED_KEYS_BYTES, ReaderLinks};
pub use directory::{
    DirectoryError, DirectoryRoot, KeyDirectory, MAX_DIRECTORY_BYTES, MAX_READERS, is_directory_block,
};
pub use encrypted_pem::EncryptedPem;
pub use encryption_key::{EncryptionKey, EncryptionKeyError, EncryptionSecret, KeyProfile};
pub use envelope::{AuthoredRecord, MAX_ATTACHMENTS, MAX_RECORD_BYTES, OpenedRecord, SealedRecord, verify_authorship};
pub use epoch::{EPOCH_WRAP_BYTES, EpochKeyring, EpochPublicKey, KeyEpoch, NoEpoch};
pub use error::{DecryptionFailed, OpenError, SealError};
pub use identity::{Identity, IdentityError, MAX_FORMER_KEYS};
pub use identity_file::{IdentityFile, IdentityFileError, Overwrite};
pub use jwe::{
    GeneralJwe, GeneralJweError, JweError, JweKey, MAX_JWE_BYTES, MAX_JWE_CONTENT_BYTES, MAX_JWE_RECIPIENTS, OpenedJwe,
    open_compact, open_general, seal_compact, seal_general,
};
pub use key_wrap::{KeyUnwrap, KeyWrap};
pub use login::{LoginMessage, LoginMessageError};
pub use manifest::{Manifest, NotAManifest};
pub use padme::padded_length;
pub use passcode::{PasscodeVerifier, random_passcode};
pub use patient_directory::{GrantError, OwnDirectoryError, Past, PatientDirectory, RevokeError};
pub use rsa_key::{BadSignature, RsaBits, RsaKeyError, RsaPublic, RsaSecret, SigningContext};
pub use scrypt_cost::{LogN, ScryptCost};
pub use xwing::{NotXWingPublic, XWingPublic, XWingSecret};

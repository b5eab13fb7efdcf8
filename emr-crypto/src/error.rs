//! Errors of sealing and opening.

use cid::Cid;
use emr_core::cid::BlockMismatch;

/// A ciphertext did not open: wrong key, wrong context, or altered bytes.
///
/// All causes give this one value, so that an attacker cannot learn which step failed (Manger's attack on RSA-OAEP, RFC
/// 8017 section 7.1.2 note).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decrypted with these keys: it was sealed for someone else or for another record, or it was altered")]
pub struct DecryptionFailed;

/// Why content could not be sealed. `E` is the error of the store that takes the blocks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError<E: std::error::Error + 'static> {
    /// The content is too long.
    #[error("the content is longer than {limit} bytes; put large parts into attachments")]
    TooLarge {
        /// The largest allowed size in bytes.
        limit: u64,
    },
    /// There are more attachments than one record can have.
    #[error("the record has too many attachments; split it into several records")]
    TooManyAttachments,
    /// The signature does not belong to the authorship and the author's key.
    #[error("the record is not signed by the author it names; sign it again")]
    Authorship(#[from] crate::BadSignature),
    /// The epoch key is for another class.
    #[error("the epoch key is not one for this record's class; fetch the patient's current key directory")]
    EpochKey,
    /// The content could not be read.
    #[error("the content could not be read")]
    Read(#[source] std::io::Error),
    /// A block could not be stored.
    #[error("a block could not be stored")]
    Put(#[source] E),
}

/// Why sealed content could not be opened. `E` is the error of the source of blocks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E: std::error::Error + 'static> {
    /// A block could not be fetched.
    #[error("block {cid} could not be fetched")]
    Fetch {
        /// The block's address.
        cid: Cid,
        /// The reason.
        #[source]
        source: E,
    },
    /// The bytes are not the block that was requested.
    #[error(transparent)]
    WrongBlock(BlockMismatch),
    /// The blocks cannot be decrypted with these keys for this place.
    #[error(transparent)]
    Decryption(#[from] DecryptionFailed),
    /// The author's signature does not belong to the authorship.
    #[error("the record is not signed by the author it names")]
    Authorship(#[from] crate::BadSignature),
    /// The content has no such bytes.
    #[error("the content has {length} bytes; the range must be within them")]
    Range {
        /// The length of the content in bytes.
        length: u64,
    },
    /// The content could not be written.
    #[error("the content could not be written")]
    Write(#[source] std::io::Error),
}

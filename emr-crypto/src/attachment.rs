//! Large content that belongs to a record, such as images. Sealing and opening need constant memory.

use std::io::{Read, Write};

use cid::Cid;
use zeroize::Zeroizing;

use crate::content::{CHUNK_BYTES, ContentKey};
use crate::manifest::{MAX_LINKS, Manifest};
use crate::{DecryptionFailed, OpenError, SealError, chunks};

/// The longest attachment before padding: 3.5 GiB. Padded, it stays below the 4 GiB that a manifest can link.
pub const MAX_ATTACHMENT_BYTES: u64 = 7 << 29;

const _: () = assert!(MAX_ATTACHMENT_BYTES / 8 * 9 < (MAX_LINKS * CHUNK_BYTES) as u64);

/// Where a sealed attachment is, and the key that opens it. This is a secret, so it is stored in the record's sealed
/// part. The record itself names the manifest ([`emr_core::Attachment`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentKey {
    /// The attachment's manifest.
    pub manifest: Cid,
    /// The content key, used for this attachment only.
    pub key: ContentKey,
    /// The attachment's length in bytes, without padding.
    pub length: u64,
}

fn chunk_key(key: &ContentKey) -> Zeroizing<[u8; 32]> {
    key.derive("emr/attachment/v1", b"")
}

impl AttachmentKey {
    /// Seals all of `content` with a new key. `put` receives the blocks, the manifest last.
    ///
    /// # Errors
    /// Returns [`SealError`] if the content cannot be read, if it is longer than [`MAX_ATTACHMENT_BYTES`], or if `put`
    /// fails.
    pub fn seal<E: std::error::Error + 'static>(
        content: impl Read,
        mut put: impl FnMut(Cid, Vec<u8>) -> Result<(), E>,
    ) -> Result<Self, SealError<E>> {
        let key = ContentKey::generate();
        let (links, length) = chunks::seal(&chunk_key(&key), content, MAX_ATTACHMENT_BYTES, &mut put)?;
        let manifest = Manifest::new(links).expect("the limit keeps the links within a manifest");
        let (cid, bytes) = manifest.to_block();
        put(cid, bytes).map_err(SealError::Put)?;
        Ok(Self { manifest: cid, key, length })
    }

    /// Opens the attachment and writes it to `output`. Trust the output only if this returns `Ok`.
    ///
    /// # Errors
    /// Returns [`OpenError`] if a block cannot be fetched, is another block or does not decrypt, or if `output` fails.
    pub fn open<E: std::error::Error + 'static>(
        &self,
        mut fetch: impl FnMut(&Cid) -> Result<Vec<u8>, E>,
        output: impl Write,
    ) -> Result<(), OpenError<E>> {
        let bytes = chunks::fetch(&self.manifest, &mut fetch)?;
        let manifest = Manifest::from_bytes(&bytes).map_err(|_| DecryptionFailed)?;
        chunks::open(&chunk_key(&self.key), manifest.links(), self.length, &mut fetch, output)
    }
}

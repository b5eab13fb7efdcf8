//! Large content that belongs to a record, such as images. Sealing and opening need constant memory.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::ops::Range;

use cid::Cid;
use emr_core::cid::verify_block;
use zeroize::Zeroizing;

use crate::aead::TAG_BYTES;
use crate::chunks::{Layout, Sealing};
use crate::content::{CHUNK_BYTES, ChunkOpener, ContentKey};
use crate::manifest::{MAX_LINKS, Manifest};
use crate::{DecryptionFailed, OpenError, SealError, chunks};

/// The longest attachment before padding: 3.5 GiB. Padded, it stays below the 4 GiB that a manifest can link.
pub const MAX_ATTACHMENT_BYTES: u64 = 7 << 29;

/// A link in a manifest, in bytes: two tags, and a CID with its prefix.
const LINK_BYTES: usize = 41;

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

/// What a sealed attachment takes. It is known before anything is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentSize {
    /// Its chunks, each in a block of its own. The manifest is one more block.
    pub chunks: u64,
    /// The bytes of all its blocks, with the manifest. At most two more than they are.
    pub bytes: u64,
}

impl AttachmentSize {
    /// The size of an attachment of `length` bytes.
    pub fn of(length: u64) -> Self {
        let chunks = chunks::count(length);
        let tags = chunks.saturating_mul((TAG_BYTES + LINK_BYTES) as u64);
        Self { chunks, bytes: chunks::padded_length(length).saturating_add(tags).saturating_add(3) }
    }
}

fn chunk_key(key: &ContentKey) -> Zeroizing<[u8; 32]> {
    key.derive("emr/attachment/v1", b"")
}

/// Seals an attachment, one block after the other. Holds two chunks in memory.
///
/// The same key and content give the same blocks, so that a writer can go on with an interrupted upload. **A key must
/// never seal two contents that leave this machine**: a chunk of one and the chunk with the same number of the other
/// would be encrypted with one nonce, which shows their difference and lets others forge chunks. A caller that seals
/// again with a kept key must compare each block with the one that it kept, before it sends it (`docs/envelope.md`).
pub struct AttachmentSealer<R> {
    key: ContentKey,
    sealing: Sealing<io::Take<R>>,
    links: Vec<Cid>,
}

/// Shows no key and no content.
impl<R> std::fmt::Debug for AttachmentSealer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachmentSealer").field("blocks", &self.links.len()).finish_non_exhaustive()
    }
}

impl<R: Read> AttachmentSealer<R> {
    /// Seals all of `content` with this key.
    pub fn new(key: ContentKey, content: R) -> Self {
        let sealing = Sealing::new(&chunk_key(&key), content, MAX_ATTACHMENT_BYTES);
        Self { key, sealing, links: Vec::new() }
    }

    /// The next chunk as a block with its CID; `None` after the last.
    ///
    /// # Errors
    /// Returns [`SealError::Read`] if the content cannot be read, and [`SealError::TooLarge`] if it is longer than
    /// [`MAX_ATTACHMENT_BYTES`]. No more chunks follow then.
    pub fn next_chunk(&mut self) -> Result<Option<(Cid, Vec<u8>)>, SealError<Infallible>> {
        let next = self.sealing.next::<Infallible>()?;
        self.links.extend(next.iter().map(|(cid, _)| *cid));
        Ok(next)
    }

    /// The key of the whole attachment, and the bytes of its manifest. `None` if there are more chunks, or if a chunk
    /// could not be sealed.
    pub fn finish(self) -> Option<(AttachmentKey, Vec<u8>)> {
        let length = self.sealing.sealed()?;
        chunks::Layout::of(length, self.links.len()).ok()?;
        let (manifest, bytes) = Manifest::new(self.links)?.to_block();
        Some((AttachmentKey { manifest, key: self.key, length }, bytes))
    }
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
        let mut sealer = AttachmentSealer::new(ContentKey::generate(), content);
        while let Some((cid, bytes)) = sealer.sealing.next::<E>()? {
            sealer.links.push(cid);
            put(cid, bytes).map_err(SealError::Put)?;
        }
        let (key, manifest) = sealer.finish().expect("the limit keeps the links within a manifest");
        put(key.manifest, manifest).map_err(SealError::Put)?;
        Ok(key)
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
        let chunks = self.chunks::<E>(&chunks::fetch(&self.manifest, &mut fetch)?)?;
        chunks.write(chunks.all(), &(0..self.length), fetch, output)
    }

    /// Opens these bytes of the attachment, counted from 0, and writes them to `output`. Fetches only the chunks that
    /// hold them. Trust the output only if this returns `Ok`.
    ///
    /// # Errors
    /// Returns [`OpenError::Range`] if the attachment does not have all of these bytes, and otherwise the same errors as
    /// [`Self::open`].
    pub fn open_range<E: std::error::Error + 'static>(
        &self,
        range: Range<u64>,
        mut fetch: impl FnMut(&Cid) -> Result<Vec<u8>, E>,
        output: impl Write,
    ) -> Result<(), OpenError<E>> {
        let chunks = self.chunks::<E>(&chunks::fetch(&self.manifest, &mut fetch)?)?;
        chunks.write(chunks.holding::<E>(&range)?, &range, fetch, output)
    }

    /// Checks the bytes of the attachment's manifest, and says where its chunks are.
    ///
    /// # Errors
    /// Returns [`OpenError::WrongBlock`] if the bytes are another block, and [`OpenError::Decryption`] if they are not a
    /// manifest of exactly the chunks that follow from [`Self::length`].
    pub fn chunks<E: std::error::Error + 'static>(&self, manifest: &[u8]) -> Result<AttachmentChunks, OpenError<E>> {
        verify_block(&self.manifest, manifest).map_err(OpenError::WrongBlock)?;
        let manifest = Manifest::from_bytes(manifest).map_err(|_| DecryptionFailed)?;
        let links = manifest.links().to_vec();
        let layout = Layout::of(self.length, links.len())?;
        Ok(AttachmentChunks { opener: ChunkOpener::new(&chunk_key(&self.key)), layout, length: self.length, links })
    }
}

/// The chunks of an attachment, which open one by one and in any order. Chunks are numbered from 0.
///
/// A chunk opens only under its own number, and the last one only as the last. So a chunk that was moved, doubled or left
/// out, or that is another attachment's, does not open.
pub struct AttachmentChunks {
    opener: ChunkOpener,
    layout: Layout,
    length: u64,
    links: Vec<Cid>,
}

/// Shows no key.
impl std::fmt::Debug for AttachmentChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachmentChunks").field("length", &self.length).finish_non_exhaustive()
    }
}

impl AttachmentChunks {
    /// The numbers of all chunks. The last ones may hold nothing but padding.
    pub const fn all(&self) -> Range<u32> {
        self.layout.all()
    }

    /// The numbers of the chunks that hold these bytes of the attachment.
    ///
    /// # Errors
    /// Returns [`OpenError::Range`] if the attachment does not have all of these bytes.
    pub fn holding<E: std::error::Error + 'static>(&self, range: &Range<u64>) -> Result<Range<u32>, OpenError<E>> {
        if range.start > range.end || range.end > self.length {
            return Err(OpenError::Range { length: self.length });
        }
        Ok(self.layout.holding(range))
    }

    /// The address of a chunk; `None` if there is none with this number.
    pub fn link(&self, number: u32) -> Option<Cid> {
        self.links.get(usize::try_from(number).ok()?).copied()
    }

    /// Checks and opens the block of a chunk. Returns the bytes of `range` that it holds.
    ///
    /// # Errors
    /// Returns [`OpenError::WrongBlock`] if it is another block, and [`OpenError::Decryption`] if it does not open as
    /// this chunk.
    pub fn open<E: std::error::Error + 'static>(
        &self,
        number: u32,
        block: Vec<u8>,
        range: &Range<u64>,
    ) -> Result<Vec<u8>, OpenError<E>> {
        let link = self.link(number).ok_or(DecryptionFailed)?;
        verify_block(&link, &block).map_err(OpenError::WrongBlock)?;
        let mut content = self.layout.open(&self.opener, number, block)?;
        let start = u64::from(number) * CHUNK_BYTES as u64;
        let place = |byte: u64| {
            usize::try_from(byte.saturating_sub(start)).map_or(content.len(), |place| place.min(content.len()))
        };
        let (from, to) = (place(range.start), place(range.end));
        content.truncate(to);
        content.drain(..from.min(to));
        Ok(content)
    }

    fn write<E: std::error::Error + 'static>(
        &self,
        numbers: Range<u32>,
        range: &Range<u64>,
        mut fetch: impl FnMut(&Cid) -> Result<Vec<u8>, E>,
        mut output: impl Write,
    ) -> Result<(), OpenError<E>> {
        for number in numbers {
            let link = self.link(number).ok_or(DecryptionFailed)?;
            let block = fetch(&link).map_err(|source| OpenError::Fetch { cid: link, source })?;
            output.write_all(&self.open::<E>(number, block, range)?).map_err(OpenError::Write)?;
        }
        Ok(())
    }
}

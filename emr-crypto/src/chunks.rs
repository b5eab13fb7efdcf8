//! Turns content into sealed blocks: pads it, cuts it into chunks, and encrypts each chunk into one raw block.

use std::io::{self, Read, Write};
use std::ops::Range;

use cid::Cid;
use emr_core::Codec;
use emr_core::cid::{cid_of, verify_block};

use crate::aead::TAG_BYTES;
use crate::content::{CHUNK_BYTES, ChunkOpener, ChunkSealer, SEALED_CHUNK_BYTES};
use crate::{DecryptionFailed, OpenError, SealError, padme};

/// Content is padded to at least this many bytes.
const LEAST_PADDED_BYTES: u64 = 4096;

/// The length of content of `length` bytes with its padding.
pub(crate) fn padded_length(length: u64) -> u64 {
    padme::padded_length(length).max(LEAST_PADDED_BYTES)
}

/// The number of chunks for content of `length` bytes.
pub(crate) fn count(length: u64) -> u64 {
    padded_length(length).div_ceil(CHUNK_BYTES as u64)
}

/// Yields the content, followed by zeros as padding.
struct Padded<R> {
    content: R,
    length: u64,
    zeros: Option<u64>,
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.zeros.is_none() {
            let read = self.content.read(buffer)?;
            if read > 0 {
                self.length += read as u64;
                return Ok(read);
            }
        }
        let zeros = self.zeros.get_or_insert_with(|| padded_length(self.length) - self.length);
        let count = buffer.len().min(usize::try_from(*zeros).unwrap_or(usize::MAX));
        buffer[..count].fill(0);
        *zeros -= count as u64;
        Ok(count)
    }
}

fn read_chunk(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(SEALED_CHUNK_BYTES);
    reader.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

/// Seals content chunk by chunk. Holds two chunks in memory.
pub(crate) struct Sealing<R> {
    padded: Padded<R>,
    limit: u64,
    /// `None` after the last chunk, and after an error.
    sealer: Option<ChunkSealer>,
    /// The length of the content, when all of it is sealed.
    sealed: Option<u64>,
    /// The next chunk, once it was read.
    next: Option<Vec<u8>>,
}

impl<R: Read> Sealing<io::Take<R>> {
    /// Seals all of `content`, at most `limit` bytes.
    pub(crate) fn new(key: &[u8; 32], content: R, limit: u64) -> Self {
        // Reads up to one byte past the limit, to notice content that is too long.
        let padded = Padded { content: content.take(limit.saturating_add(1)), length: 0, zeros: None };
        Self { padded, limit, sealer: Some(ChunkSealer::new(key)), sealed: None, next: None }
    }
}

impl<R: Read> Sealing<R> {
    /// The next block with its CID; `None` after the last.
    pub(crate) fn next<E: std::error::Error + 'static>(&mut self) -> Result<Option<(Cid, Vec<u8>)>, SealError<E>> {
        let Some(mut sealer) = self.sealer.take() else { return Ok(None) };
        let mut chunk = match self.next.take() {
            Some(chunk) => chunk,
            None => read_chunk(&mut self.padded).map_err(SealError::Read)?,
        };
        let following = read_chunk(&mut self.padded).map_err(SealError::Read)?;
        if self.padded.length > self.limit {
            return Err(SealError::TooLarge { limit: self.limit });
        }
        if following.is_empty() {
            sealer.last(&mut chunk);
            chunk.shrink_to_fit();
            self.sealed = Some(self.padded.length);
        } else {
            sealer.next(&mut chunk);
            (self.sealer, self.next) = (Some(sealer), Some(following));
        }
        Ok(Some((cid_of(Codec::Raw, &chunk), chunk)))
    }

    /// The length of the content, if all of it is sealed.
    pub(crate) const fn sealed(&self) -> Option<u64> {
        self.sealed
    }
}

/// Seals all of `content`, at most `limit` bytes, and passes the blocks to `put` in order. Returns the links.
pub(crate) fn seal<E: std::error::Error + 'static>(
    key: &[u8; 32],
    content: impl Read,
    limit: u64,
    mut put: impl FnMut(Cid, Vec<u8>) -> Result<(), E>,
) -> Result<Vec<Cid>, SealError<E>> {
    let (mut links, mut sealing) = (Vec::new(), Sealing::new(key, content, limit));
    while let Some((cid, chunk)) = sealing.next::<E>()? {
        links.push(cid);
        put(cid, chunk).map_err(SealError::Put)?;
    }
    Ok(links)
}

/// Fetches a block and checks that it is the one asked for.
pub(crate) fn fetch<E: std::error::Error + 'static>(
    cid: &Cid,
    fetch: &mut impl FnMut(&Cid) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, OpenError<E>> {
    let bytes = fetch(cid).map_err(|source| OpenError::Fetch { cid: *cid, source })?;
    verify_block(cid, &bytes).map_err(OpenError::WrongBlock)?;
    Ok(bytes)
}

/// Where the bytes of content of a known length are. Chunks are numbered from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    length: u64,
    count: u32,
}

impl Layout {
    /// The layout of content that has this length and this number of blocks.
    pub(crate) fn of(length: u64, blocks: usize) -> Result<Self, DecryptionFailed> {
        match u32::try_from(blocks) {
            Ok(count) if count > 0 && self::count(length) == u64::from(count) => Ok(Self { length, count }),
            _ => Err(DecryptionFailed),
        }
    }

    /// The numbers of all chunks, padding included.
    pub(crate) const fn all(&self) -> Range<u32> {
        0..self.count
    }

    /// The numbers of the chunks that hold these bytes of the content.
    pub(crate) fn holding(&self, bytes: &Range<u64>) -> Range<u32> {
        if bytes.is_empty() {
            return 0..0;
        }
        // No chunk beyond `count`, so both numbers fit.
        let number =
            |byte: u64| u32::try_from(byte / CHUNK_BYTES as u64).map_or(self.count, |number| number.min(self.count));
        number(bytes.start)..number(bytes.end - 1).saturating_add(1).min(self.count)
    }

    /// Opens a chunk, and returns the content in it, without padding.
    pub(crate) fn open(
        &self,
        opener: &ChunkOpener,
        number: u32,
        mut chunk: Vec<u8>,
    ) -> Result<Vec<u8>, DecryptionFailed> {
        let start = u64::from(number) * CHUNK_BYTES as u64;
        let is_last = number.checked_add(1) == Some(self.count);
        let padded = if is_last { padded_length(self.length).saturating_sub(start) } else { CHUNK_BYTES as u64 };
        if number >= self.count || chunk.len() as u64 != padded.saturating_add(TAG_BYTES as u64) {
            return Err(DecryptionFailed);
        }
        opener.open(number, is_last, &mut chunk)?;
        let content = self.length.saturating_sub(start).min(CHUNK_BYTES as u64);
        let content = usize::try_from(content).map_err(|_| DecryptionFailed)?;
        if chunk.iter().skip(content).any(|byte| *byte != 0) {
            return Err(DecryptionFailed);
        }
        chunk.truncate(content);
        Ok(chunk)
    }
}

/// Opens what [`seal`] made, and writes it chunk by chunk. Each chunk is authenticated before it is written, but the
/// content is complete only if this returns `Ok`.
pub(crate) fn open<E: std::error::Error + 'static>(
    key: &[u8; 32],
    links: &[Cid],
    length: u64,
    get: &mut impl FnMut(&Cid) -> Result<Vec<u8>, E>,
    mut output: impl Write,
) -> Result<(), OpenError<E>> {
    let (layout, opener) = (Layout::of(length, links.len())?, ChunkOpener::new(key));
    for (number, link) in layout.all().zip(links) {
        let content = layout.open(&opener, number, fetch(link, get)?)?;
        output.write_all(&content).map_err(OpenError::Write)?;
    }
    Ok(())
}

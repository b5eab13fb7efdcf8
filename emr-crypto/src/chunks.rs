//! Turns content into sealed blocks: pads it, cuts it into chunks, and encrypts each chunk into one raw block.

use std::io::{self, Read, Write};

use cid::Cid;
use emr_core::Codec;
use emr_core::cid::{cid_of, verify_block};

use crate::aead::TAG_BYTES;
use crate::content::{CHUNK_BYTES, ChunkOpener, ChunkSealer, SEALED_CHUNK_BYTES};
use crate::{DecryptionFailed, OpenError, SealError, padme};

/// Content is padded to at least this many bytes.
const LEAST_PADDED_BYTES: u64 = 4096;

fn padded_length(length: u64) -> u64 {
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

/// Seals all of `content`, at most `limit` bytes, and passes the blocks to `put` in order. Holds two chunks in memory.
/// Returns the links and the length.
pub(crate) fn seal<E: std::error::Error + 'static>(
    key: &[u8; 32],
    content: impl Read,
    limit: u64,
    mut put: impl FnMut(Cid, Vec<u8>) -> Result<(), E>,
) -> Result<(Vec<Cid>, u64), SealError<E>> {
    let mut links = Vec::new();
    let mut store = |chunk: Vec<u8>| {
        let cid = cid_of(Codec::Raw, &chunk);
        links.push(cid);
        put(cid, chunk).map_err(SealError::Put)
    };
    // Reads up to one byte past the limit, to notice content that is too long.
    let mut padded = Padded { content: content.take(limit.saturating_add(1)), length: 0, zeros: None };
    let mut sealer = ChunkSealer::new(key);
    let mut chunk = read_chunk(&mut padded).map_err(SealError::Read)?;
    loop {
        if padded.length > limit {
            return Err(SealError::TooLarge { limit });
        }
        let following = read_chunk(&mut padded).map_err(SealError::Read)?;
        if following.is_empty() {
            sealer.last(&mut chunk);
            chunk.shrink_to_fit();
            store(chunk)?;
            return Ok((links, padded.length));
        }
        sealer.next(&mut chunk);
        store(chunk)?;
        chunk = following;
    }
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

/// Opens what [`seal`] made, and writes it chunk by chunk. Each chunk is authenticated before it is written, but the
/// content is complete only if this returns `Ok`.
pub(crate) fn open<E: std::error::Error + 'static>(
    key: &[u8; 32],
    links: &[Cid],
    length: u64,
    get: &mut impl FnMut(&Cid) -> Result<Vec<u8>, E>,
    mut output: impl Write,
) -> Result<(), OpenError<E>> {
    if count(length) != links.len() as u64 {
        return Err(DecryptionFailed.into());
    }
    let (last, full) = links.split_last().ok_or(DecryptionFailed)?;
    let mut opener = ChunkOpener::new(key);
    let mut left = length;
    let mut emit = |chunk: &[u8]| {
        let content = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= content as u64;
        if chunk[content..].iter().any(|byte| *byte != 0) {
            return Err(DecryptionFailed.into());
        }
        output.write_all(&chunk[..content]).map_err(OpenError::Write)
    };
    for link in full {
        let mut chunk = fetch(link, get)?;
        opener.next(&mut chunk)?;
        emit(&chunk)?;
    }
    let mut chunk = fetch(last, get)?;
    if (full.len() * CHUNK_BYTES + chunk.len()) as u64 != padded_length(length) + TAG_BYTES as u64 {
        return Err(DecryptionFailed.into());
    }
    opener.last(&mut chunk)?;
    emit(&chunk)
}

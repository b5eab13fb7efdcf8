//! Manifests: blocks that hold only links, so that IPFS nodes can pin content that they cannot read.

use cid::Cid;
use emr_core::Codec;
use emr_core::cid::{MAX_BLOCK_BYTES, cid_of};

/// The largest number of links in a manifest. At 41 bytes each, it stays below [`MAX_BLOCK_BYTES`].
pub(crate) const MAX_LINKS: usize = 16 * 1024;

/// The bytes are not a list of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a manifest: it must be a DAG-CBOR list of 1 to 16384 links")]
pub struct NotAManifest;

/// A list of links. Outsiders see nothing else of a record or an attachment.
///
/// Encoding: a DAG-CBOR list of CIDs. A record's manifest links its key wrap, its sealed part, its content chunks in
/// order, then its attachments; an attachment's manifest links its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest(Vec<Cid>);

impl Manifest {
    /// Returns `None` if there is no link or more than the limit.
    pub(crate) fn new(links: Vec<Cid>) -> Option<Self> {
        (1..=MAX_LINKS).contains(&links.len()).then_some(Self(links))
    }

    /// Decodes the canonical encoding.
    ///
    /// # Errors
    /// Returns [`NotAManifest`] if the bytes are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAManifest> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(NotAManifest);
        }
        let links = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| NotAManifest)?;
        let manifest = Self::new(links).ok_or(NotAManifest)?;
        if manifest.to_bytes() == bytes { Ok(manifest) } else { Err(NotAManifest) }
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(&self.0).expect("a list of links has a DAG-CBOR form")
    }

    /// The links, in order. To keep a record, a node must keep every block that they name and, if such a block is a
    /// manifest, every block that it links.
    pub fn links(&self) -> &[Cid] {
        &self.0
    }

    /// The manifest as a block.
    pub(crate) fn to_block(&self) -> (Cid, Vec<u8>) {
        let bytes = self.to_bytes();
        (cid_of(Codec::DagCbor, &bytes), bytes)
    }
}

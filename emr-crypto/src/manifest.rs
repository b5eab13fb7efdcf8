//! Nodes of links only, by which IPFS nodes pin what they cannot read.

use cid::Cid;
use emr_core::Codec;
use emr_core::cid::{MAX_BLOCK_BYTES, cid_of};

/// The most links of a node: with 41 bytes each it stays below [`MAX_BLOCK_BYTES`].
pub(crate) const MAX_LINKS: usize = 16 * 1024;

/// The bytes are not a list of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a manifest: it must be a DAG-CBOR list of 1 to 16384 links")]
pub struct NotAManifest;

/// A list of links, all that outsiders see of a record or an attachment.
///
/// Encoding: a DAG-CBOR list of CIDs. A record's manifest links its key wrap, its sealed part, its content chunks in
/// order, then its attachments; an attachment's manifest links its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest(Vec<Cid>);

impl Manifest {
    /// `None` with no link or more than the limit.
    pub(crate) fn new(links: Vec<Cid>) -> Option<Self> {
        (1..=MAX_LINKS).contains(&links.len()).then_some(Self(links))
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// [`NotAManifest`].
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

    /// The links, in order. Whoever keeps the record must keep all that they name, links of manifests among them
    /// included.
    pub fn links(&self) -> &[Cid] {
        &self.0
    }

    /// The manifest as a block.
    pub(crate) fn to_block(&self) -> (Cid, Vec<u8>) {
        let bytes = self.to_bytes();
        (cid_of(Codec::DagCbor, &bytes), bytes)
    }
}

//! Content addresses: CIDv1 with sha2-256 over `raw` or `dag-cbor` blocks, and nothing else.

pub use cid::Cid;
use cid::Version as CidVersion;
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// The multicodec of sha2-256.
const SHA2_256: u64 = 0x12;

/// The largest block that is stored or accepted: 1 MiB. Every IPFS implementation passes on blocks of this size
/// (Bitswap refuses blocks above 2 MiB).
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// The format of a block's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Bytes without structure: ciphertext. Multicodec 0x55.
    Raw,
    /// DAG-CBOR: manifests, key directories, batches. Multicodec 0x71.
    DagCbor,
}

impl Codec {
    /// The multicodec number.
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagCbor => 0x71,
        }
    }

    /// The codec with this multicodec number; `None` for any other number.
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0x55 => Some(Self::Raw),
            0x71 => Some(Self::DagCbor),
            _ => None,
        }
    }
}

/// A block does not match its CID, or this project does not use CIDs of that kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockMismatch {
    /// The CID is not CIDv1.
    #[error("{0} is not a CIDv1: ask the sender for the version 1 address")]
    Version(Cid),
    /// The CID's codec is neither `raw` nor `dag-cbor`.
    #[error("{cid} has codec {codec:#x}, only raw (0x55) and dag-cbor (0x71) blocks are accepted")]
    Codec {
        /// The CID.
        cid: Cid,
        /// Its multicodec.
        codec: u64,
    },
    /// The CID's hash function is not sha2-256.
    #[error("{cid} uses hash function {hash:#x}, only sha2-256 (0x12) with 32 bytes is accepted")]
    Hash {
        /// The CID.
        cid: Cid,
        /// Its multihash code.
        hash: u64,
    },
    /// The block exceeds [`MAX_BLOCK_BYTES`].
    #[error(
        "the block of {cid} has {len} bytes, more than {MAX_BLOCK_BYTES}: it cannot be one of this system's blocks"
    )]
    TooLarge {
        /// The CID.
        cid: Cid,
        /// The block's size.
        len: usize,
    },
    /// The hash of the bytes is not the one in the CID.
    #[error("the bytes received for {0} are not that block: fetch it from another node")]
    Digest(Cid),
}

/// Computes the CID of a block: CIDv1 with sha2-256.
pub fn cid_of(codec: Codec, bytes: &[u8]) -> Cid {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let hash = Multihash::wrap(SHA2_256, &digest).expect("a multihash holds 64 bytes");
    Cid::new_v1(codec.code(), hash)
}

/// The codec of a CID. Accepts only CIDv1 with sha2-256 and one of the two codecs.
///
/// # Errors
/// Returns [`BlockMismatch`] for another version, codec, hash function or digest length (identity and truncated hashes
/// included).
pub fn codec_of(cid: &Cid) -> Result<Codec, BlockMismatch> {
    if cid.version() != CidVersion::V1 {
        return Err(BlockMismatch::Version(*cid));
    }
    let hash = cid.hash();
    if hash.code() != SHA2_256 || hash.digest().len() != 32 {
        return Err(BlockMismatch::Hash { cid: *cid, hash: hash.code() });
    }
    Codec::from_code(cid.codec()).ok_or_else(|| BlockMismatch::Codec { cid: *cid, codec: cid.codec() })
}

/// Checks that `bytes` are the block that `cid` names. Every block that a node sent goes through this check.
///
/// # Errors
/// Returns [`BlockMismatch`] if the bytes are another block, if they exceed [`MAX_BLOCK_BYTES`], or if the CID is not
/// CIDv1 with sha2-256 over `raw` or `dag-cbor`.
pub fn verify_block(cid: &Cid, bytes: &[u8]) -> Result<(), BlockMismatch> {
    let codec = codec_of(cid)?;
    if bytes.len() > MAX_BLOCK_BYTES {
        return Err(BlockMismatch::TooLarge { cid: *cid, len: bytes.len() });
    }
    if cid_of(codec, bytes) != *cid {
        return Err(BlockMismatch::Digest(*cid));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ipfs block put --cid-codec raw --mhtype sha2-256` of `hello world`, and `ipfs dag put` of `{}`: both are in the
    /// multiformats and IPLD test suites.
    #[test]
    fn addresses_are_those_of_kubo() {
        assert_eq!(
            cid_of(Codec::Raw, b"hello world").to_string(),
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
        );
        assert_eq!(
            cid_of(Codec::DagCbor, &[0xa0]).to_string(),
            "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
        );
    }

    #[test]
    fn a_block_is_accepted_for_its_cid_alone() -> Result<(), Box<dyn std::error::Error>> {
        let cid = cid_of(Codec::Raw, b"block");
        assert_eq!(verify_block(&cid, b"block"), Ok(()));
        assert_eq!(verify_block(&cid, b"blocK"), Err(BlockMismatch::Digest(cid)));
        assert_eq!(verify_block(&cid, b""), Err(BlockMismatch::Digest(cid)));

        // The same digest under version 0, another codec, another hash function, a shorter digest, the identity hash.
        let v0 = Cid::new_v0(*cid.hash())?;
        assert_eq!(verify_block(&v0, b"block"), Err(BlockMismatch::Version(v0)));
        let dag_pb = Cid::new_v1(0x70, *cid.hash());
        assert_eq!(verify_block(&dag_pb, b"block"), Err(BlockMismatch::Codec { cid: dag_pb, codec: 0x70 }));
        let sha3 = Cid::new_v1(0x55, Multihash::wrap(0x16, cid.hash().digest())?);
        assert!(matches!(verify_block(&sha3, b"block"), Err(BlockMismatch::Hash { hash: 0x16, .. })));
        let short = Cid::new_v1(0x55, Multihash::wrap(0x12, &cid.hash().digest()[..4])?);
        assert!(matches!(verify_block(&short, b"block"), Err(BlockMismatch::Hash { .. })));
        let identity = Cid::new_v1(0x55, Multihash::wrap(0, b"block")?);
        assert!(matches!(verify_block(&identity, b"block"), Err(BlockMismatch::Hash { hash: 0, .. })));
        Ok(())
    }

    #[test]
    fn an_oversized_block_is_refused_though_its_hash_is_right() {
        let bytes = vec![0; MAX_BLOCK_BYTES + 1];
        let cid = cid_of(Codec::Raw, &bytes);
        assert!(matches!(verify_block(&cid, &bytes), Err(BlockMismatch::TooLarge { .. })));
        let bytes = &bytes[1..];
        assert_eq!(verify_block(&cid_of(Codec::Raw, bytes), bytes), Ok(()));
    }
}

//! Blocks and their identifiers: CIDv1 with SHA-256, of raw bytes or DAG-CBOR.

use cid::Cid;
use cid::multihash::Multihash;
use sha2::{Digest, Sha256};

/// The most bytes that a block may have: what IPFS nodes exchange without question.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// Multicodec of uninterpreted bytes.
pub(crate) const RAW: u64 = 0x55;
/// Multicodec of DAG-CBOR, whose links a node follows when it pins.
pub(crate) const DAG_CBOR: u64 = 0x71;
/// Multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

/// The identifier of a block.
pub(crate) fn cid(codec: u64, bytes: &[u8]) -> Cid {
    let hash = Multihash::wrap(SHA2_256, &Sha256::digest(bytes)).expect("a multihash holds 64 bytes");
    Cid::new_v1(codec, hash)
}

/// Whether `bytes` are the block that `cid` names. Only SHA-256 counts, at its full length, and only up to
/// [`MAX_BLOCK_BYTES`].
pub fn is_block(cid: &Cid, bytes: &[u8]) -> bool {
    bytes.len() <= MAX_BLOCK_BYTES && *cid == self::cid(cid.codec(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known identifiers: the empty raw block, and the DAG-CBOR block of an empty map, as Kubo names them.
    #[test]
    fn known_identifiers() {
        assert_eq!(cid(RAW, b"").to_string(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
        assert_eq!(cid(DAG_CBOR, b"\xa0").to_string(), "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua");
        assert!(is_block(&cid(RAW, b"a"), b"a"));
        assert!(!is_block(&cid(RAW, b"a"), b"b"));
    }

    #[test]
    fn truncated_and_foreign_hashes_are_no_names() -> Result<(), Box<dyn std::error::Error>> {
        let digest = Sha256::digest(b"a");
        for hash in
            [Multihash::wrap(SHA2_256, &digest[..20])?, Multihash::wrap(0x00, b"a")?, Multihash::wrap(0x13, &digest)?]
        {
            assert!(!is_block(&Cid::new_v1(RAW, hash), b"a"));
        }
        Ok(())
    }
}

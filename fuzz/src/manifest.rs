//! A manifest from a node.

use emr_core::Codec;
use emr_core::cid::cid_of;
use emr_crypto::Manifest;

pub(crate) fn check(data: &[u8]) -> bool {
    let Ok(manifest) = Manifest::from_bytes(data) else { return false };
    assert_eq!(manifest.to_bytes(), data, "one byte form");
    assert!((1..=16 * 1024).contains(&manifest.links().len()));
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let links = [cid_of(Codec::Raw, b"wrap"), cid_of(Codec::Raw, b"part"), cid_of(Codec::DagCbor, b"attachment")];
    Ok([1, 3].map(|count| serde_ipld_dagcbor::to_vec(&links[..count])).into_iter().collect::<Result<_, _>>()?)
}

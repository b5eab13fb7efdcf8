//! An address of a block, as bytes and as text, and a block that a node sent for it.

use emr_core::cid::{cid_of, codec_of, verify_block};
use emr_core::{Cid, Codec};

pub(crate) fn check(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).ok();
    let read = Cid::try_from(data).ok().or_else(|| text.and_then(|text| text.parse().ok()));
    let Some(cid) = read else { return false };
    match codec_of(&cid) {
        Ok(codec) => {
            // Of all blocks, only those with this hash are accepted.
            let other = cid_of(codec, data);
            assert_eq!(verify_block(&cid, data).is_ok(), other == cid);
            assert_eq!(Cid::try_from(cid.to_bytes()).ok(), Some(cid), "one byte form");
            true
        }
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let (raw, node) = (cid_of(Codec::Raw, b"a"), cid_of(Codec::DagCbor, b"b"));
    Ok(vec![raw.to_bytes(), node.to_bytes(), node.to_string().into_bytes(), Cid::new_v0(*raw.hash())?.to_bytes()])
}

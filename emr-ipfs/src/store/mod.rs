//! The backends, one file each.

mod disk;
mod kept;
mod kubo;

pub use disk::DiskStore;
pub use kubo::KuboStore;

use cid::Cid;
use emr_core::cid::{Codec, MAX_BLOCK_BYTES, cid_of};

use crate::{StoreError, dag};

/// Checks a block before it is stored, and computes its address.
fn address(codec: Codec, bytes: &[u8]) -> Result<Cid, StoreError> {
    if bytes.len() > MAX_BLOCK_BYTES {
        return Err(StoreError::TooLarge { len: bytes.len(), max: MAX_BLOCK_BYTES });
    }
    let cid = cid_of(codec, bytes);
    if codec == Codec::DagCbor {
        dag::links(&cid, bytes)?;
    }
    Ok(cid)
}

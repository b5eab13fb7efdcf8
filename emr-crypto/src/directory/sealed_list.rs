//! The owner's list of readers: who reads what, and their keys. It is sealed in blocks that only the owner's section opens.

use emr_core::AccountIndex;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::READERS_PER_BLOCK;
use crate::secret::SecretBytes;
use crate::{DecryptionFailed, aead, padded, random};

/// A block of the list is padded to at least this many bytes. A reader with the largest keys and all classes fits.
const LEAST_LIST_BYTES: usize = 2048;

/// A reader in the owner's list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListedReader {
    pub(crate) account: AccountIndex,
    pub(crate) algorithm: String,
    /// Class code and first epoch.
    pub(crate) classes: Vec<(u8, u32)>,
    pub(crate) key: ByteBuf,
}

/// Seals the list. Returns the key of each block, and the blocks.
pub(super) fn seal(readers: &[ListedReader], aad: &[u8; 32]) -> (Vec<SecretBytes>, Vec<ByteBuf>) {
    let seal = |readers: &[ListedReader]| {
        let key = SecretBytes::new(&random::secret());
        let sealed = aead::seal_once(key.as_bytes(), aad, &padded::encode(&readers, LEAST_LIST_BYTES));
        (key, ByteBuf::from(sealed))
    };
    readers.chunks(READERS_PER_BLOCK).map(seal).unzip()
}

/// Opens the blocks of the list with their keys.
pub(super) fn open(
    keys: &[SecretBytes],
    blocks: &[ByteBuf],
    aad: &[u8; 32],
) -> Result<Vec<ListedReader>, DecryptionFailed> {
    if keys.len() != blocks.len() {
        return Err(DecryptionFailed);
    }
    let mut readers = Vec::new();
    for (key, block) in keys.iter().zip(blocks) {
        let opened: Vec<ListedReader> = padded::decode(&aead::open_once(key.as_bytes(), aad, block)?)?;
        readers.extend(opened);
    }
    Ok(readers)
}

//! An honest envelope of which a node or an IPFS peer changed something: bytes of blocks, the order of the links, with new addresses to match.
//!
//! Each change takes 4 bytes of the input: the block, the position in it (2), and what is added to the byte there. A change of the last
//! block swaps two links of the manifest.

use std::collections::HashMap;
use std::sync::LazyLock;

use emr_core::cid::cid_of;
use emr_core::{AccountIndex, Cid, Class, Codec};
use emr_crypto::{
    AuthoredRecord, EncryptionKey, EpochKeyring, Manifest, OpenedRecord, PatientDirectory, RsaSecret, SealedRecord,
    SigningContext,
};

use crate::craft::{self, Open};
use crate::sealed_part::NoSuchBlock;

struct Honest {
    authored: AuthoredRecord,
    sealed: SealedRecord,
    keys: EpochKeyring,
}

static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let author = RsaSecret::from_pem(crate::public_key::DOCTOR).expect("a key");
    let directory = PatientDirectory::create(&Open);
    let authorship = b"an authorship".to_vec();
    let authored = AuthoredRecord {
        record: vec![7; 300_000],
        signature: author.sign_pss(SigningContext::AUTHORSHIP, &authorship),
        authorship,
        author: AccountIndex::new(7).expect("an account"),
        author_key: EncryptionKey::from(author.public()).committed(None),
        commitment_seed: [2; 32],
        attachments: Vec::new(),
    };
    let to = directory.published().current_public(Class::Laboratory);
    let sealed = SealedRecord::seal(&authored, &craft::context(), &to).expect("within the limits");
    Honest { authored, sealed, keys: directory.keyring() }
});

pub(crate) fn check(data: &[u8]) -> bool {
    let Honest { authored, sealed, keys } = &*HONEST;
    let (manifest, content) = sealed.blocks.split_last().expect("a manifest");
    let mut order: Vec<usize> = (0..content.len()).collect();
    let mut changed: Vec<Vec<u8>> = content.iter().map(|(_, bytes)| bytes.clone()).collect();
    for [block, high, low, add] in data.as_chunks::<4>().0 {
        let position = usize::from(u16::from_be_bytes([*high, *low]));
        match changed.get_mut(usize::from(*block)) {
            Some(bytes) => {
                // The whole of a large block is reached, and each byte of a small one.
                let at = position * bytes.len().div_ceil(1 << 16) % bytes.len();
                bytes[at] = bytes[at].wrapping_add(*add);
            }
            None => order.swap(position % content.len(), usize::from(*add) % content.len()),
        }
    }
    let honest = order.is_sorted() && changed.iter().zip(content).all(|(now, (_, before))| now == before);
    let mut blocks: HashMap<Cid, &[u8]> = changed.iter().map(|bytes| (cid_of(Codec::Raw, bytes), &bytes[..])).collect();
    let links: Vec<Cid> = order.iter().map(|index| cid_of(Codec::Raw, &changed[*index])).collect();
    let bytes = serde_ipld_dagcbor::to_vec(&links).expect("links");
    let root = cid_of(Codec::DagCbor, &bytes);
    assert!(Manifest::from_bytes(&bytes).is_ok());
    assert_eq!(honest, root == manifest.0, "only the honest blocks have the honest address");
    blocks.insert(root, &bytes);
    let fetch = |cid: &Cid| blocks.get(cid).map(|bytes| bytes.to_vec()).ok_or(NoSuchBlock);
    match OpenedRecord::open(&root, fetch, keys, &craft::context()) {
        Ok(opened) => {
            assert!(honest, "a change was not noticed");
            assert!(opened.authored == *authored);
            true
        }
        Err(error) => {
            assert!(!honest, "{error}");
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    // Nothing; a change that is taken back; a bit of each block; links in another order.
    Ok(vec![
        Vec::new(),
        vec![2, 0, 9, 1, 2, 0, 9, 255],
        vec![0, 0, 0, 1],
        vec![1, 0, 40, 128],
        vec![3, 1, 0, 1],
        vec![9, 0, 2, 3],
    ])
}

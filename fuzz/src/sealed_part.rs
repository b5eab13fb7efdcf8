//! An envelope by a dishonest writer: any plaintext in the sealed part, any content, any links to attachments.
//!
//! Parts of the input: the sealed part before padding, the record, the text of each attachment.

use std::collections::HashMap;

use emr_core::cid::cid_of;
use emr_core::{Cid, Codec};
use emr_crypto::{AuthoredRecord, RsaSecret, SigningContext, padded_length};
use serde_bytes::Bytes;

use crate::craft;

pub(crate) fn check(data: &[u8]) -> bool {
    let parts = craft::parts(data);
    let [plaintext, record, attachments @ ..] = parts.as_slice() else { return false };
    let context = craft::context();
    let mut blocks = HashMap::new();
    let mut put = |bytes: Vec<u8>| {
        let cid = cid_of(Codec::Raw, &bytes);
        blocks.insert(cid, bytes);
        cid
    };
    let part_key = craft::derive("emr/envelope/sealed-part/v2", &context.to_bytes());
    let record_key = craft::derive("emr/envelope/record/v1", &context.to_bytes());
    let mut content = record.to_vec();
    content.resize(usize::try_from(padded_length(record.len() as u64)).unwrap_or(0).max(4096), 0);
    let mut links = vec![
        put(vec![0; 1168]),
        put(craft::seal(&part_key, [0; 12], b"", &craft::padded(plaintext, 2048))),
        put(craft::seal(&record_key, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], b"", &content)),
    ];
    links.extend(attachments.iter().map(|text| cid_of(Codec::DagCbor, text)));
    let manifest = serde_ipld_dagcbor::to_vec(&links).expect("links");
    let root = cid_of(Codec::DagCbor, &manifest);
    blocks.insert(root, manifest);
    let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(NoSuchBlock);
    match AuthoredRecord::reopen(&root, fetch, &craft::content_key(), &context) {
        Ok(opened) => {
            assert!(
                content.starts_with(&opened.record) && content[opened.record.len()..].iter().all(|byte| *byte == 0)
            );
            assert_eq!(opened.attachments.len(), attachments.len());
            let (authorship, signature) = (&opened.authorship, &opened.signature);
            assert!(emr_crypto::verify_authorship(authorship, signature, &opened.author_key.rsa).is_ok());
            true
        }
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

/// The map has no such block.
#[derive(Debug, thiserror::Error)]
#[error("no such block")]
pub(crate) struct NoSuchBlock;

pub(crate) fn seeds() -> crate::Seeds {
    let author = RsaSecret::from_pem(crate::public_key::DOCTOR)?;
    let authorship: &[u8] = b"an authorship";
    let signature = author.sign_pss(SigningContext::AUTHORSHIP, authorship);
    let der = author.public().to_der();
    let image = cid_of(Codec::DagCbor, b"image");
    let seed = |attachments: &[(Cid, &Bytes, u64)], salt: Option<&Bytes>| {
        let fixed = Bytes::new(&[2; 32]);
        let fields = (
            Bytes::new(authorship),
            Bytes::new(&signature),
            7_u32,
            Bytes::new(&der),
            fixed,
            salt,
            fixed,
            fixed,
            6_u64,
            attachments,
        );
        serde_ipld_dagcbor::to_vec(&fields)
    };
    let key = Bytes::new(&[8; 32]);
    Ok(vec![
        craft::joined(&[seed(&[], None)?, b"record".to_vec()]),
        craft::joined(&[seed(&[(image, key, 5)], Some(key))?, b"record".to_vec(), b"image".to_vec()]),
    ])
}

//! Envelopes that somebody else than the author made.

use std::collections::HashMap;

use emr_core::{Class, RecordSlot, Version};

use super::*;
use crate::{EncryptionKey, PatientDirectory, RsaSecret};

fn get(blocks: Vec<(Cid, Vec<u8>)>) -> impl FnMut(&Cid) -> Result<Vec<u8>, std::io::Error> {
    let blocks: HashMap<_, _> = blocks.into_iter().collect();
    move |cid| blocks.get(cid).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

/// Anyone who has the epoch's public key can seal anything. Opening must not accept it as the author's.
#[test]
fn a_forged_authorship_does_not_open() -> Result<(), Box<dyn std::error::Error>> {
    let author = RsaSecret::from_pem(include_str!("../../tests/fixtures/doctor-3072.pem"))?;
    let patient = RsaSecret::from_pem(include_str!("../../tests/fixtures/patient-3072.pem"))?;
    let directory = PatientDirectory::create(&patient);
    let context = RecordContext {
        domain: [1; 32],
        patient: AccountIndex::new(5)?,
        slot: RecordSlot::new(0)?,
        version: Version::new(1)?,
        class: Class::Laboratory,
    };
    let mut authored = AuthoredRecord {
        record: b"record".to_vec(),
        authorship: b"forged".to_vec(),
        signature: author.sign_pss(SigningContext::AUTHORSHIP, b"authorship"),
        author: AccountIndex::new(7)?,
        author_key: EncryptionKey::from(author.public()).committed(None),
        commitment_seed: [2; 32],
        attachments: Vec::new(),
    };
    let key = directory.published().current_public(Class::Laboratory);
    assert!(matches!(SealedRecord::seal(&authored, &context, &key), Err(SealError::Authorship(_))));

    let sealed = SealedRecord::seal_unverified(&authored, &context, &key)?;
    let opened = OpenedRecord::open(&sealed.manifest, get(sealed.blocks), &directory.keyring(), &context);
    assert!(matches!(opened, Err(OpenError::Authorship(BadSignature))), "{opened:?}");

    // A signature for another context does not count.
    authored.authorship = b"authorship".to_vec();
    authored.signature = author.sign_pss(SigningContext::LOGIN, b"authorship");
    assert!(matches!(SealedRecord::seal(&authored, &context, &key), Err(SealError::Authorship(_))));
    Ok(())
}

/// A writer can claim any length. The bytes that exist bound what is assembled.
#[test]
fn claimed_lengths_are_checked() {
    for length in [MAX_RECORD_BYTES + 1, u64::MAX] {
        let links = vec![cid_of(Codec::Raw, b"")];
        let opened = chunks::open(&[0; 32], &links, length, &mut get(Vec::new()), Vec::new());
        assert!(matches!(opened, Err(OpenError::Decryption(DecryptionFailed))));
    }
}

//! Shares a FHIR record with a reader, and then revokes the access. Uses only `emr-core` and `emr-crypto`, without node
//! or chain.
//!
//! `cargo run --release --example share_and_revoke`

use std::{collections::HashMap, error::Error, io};

use cid::Cid;
use emr_core::{AccountIndex, Authorship, Class, ClassMask, Commitment, Opaque, RecordSlot, SaltSeed, Version, fhir};
use emr_crypto::{
    AuthoredRecord, Identity, KeyProfile, OpenedRecord, Past, PatientDirectory, RecordContext, RsaBits, SealedRecord,
    SigningContext,
};

const BUNDLE: &[u8] = include_bytes!("../emr-core/fixtures/synthea-bundle.json");

fn main() -> Result<(), Box<dyn Error>> {
    let patient = Identity::generate(emr_core::Role::Patient, RsaBits::DEFAULT, KeyProfile::Hybrid);
    let author = Identity::generate(emr_core::Role::Doctor, RsaBits::DEFAULT, KeyProfile::Hybrid);
    let reader = Identity::generate(emr_core::Role::Doctor, RsaBits::DEFAULT, KeyProfile::Hybrid);
    let (patient_account, author_account, reader_account) =
        (AccountIndex::new(4)?, AccountIndex::new(2)?, AccountIndex::new(3)?);

    // The patient shares their summaries with the reader.
    let mut directory = PatientDirectory::create(&patient);
    directory.grant(reader_account, reader.encryption_key(), Class::Summary.into(), Past::Included)?;

    // The author writes for a class. They need only its public key: no list of readers, and the patient need not be
    // online.
    let seal = |version: u64, previous: Option<Opaque>, directory: &PatientDirectory| -> Result<_, Box<dyn Error>> {
        let context = RecordContext {
            domain: [1; 32],
            patient: patient_account,
            slot: RecordSlot::new(0)?,
            version: Version::new(version)?,
            class: Class::Summary,
        };
        let record = fhir::import(BUNDLE)?;
        let seed = SaltSeed::new(rand::random());
        let authorship = Authorship {
            domain: context.domain,
            patient: context.patient,
            slot: context.slot,
            version: context.version,
            class: context.class,
            commitment: Commitment::of(&record, &seed).root(),
            previous,
        };
        let (authored_value, authorship) = (authorship.authored(), authorship.to_dag_cbor());
        let authored = AuthoredRecord {
            record: record.to_dag_cbor()?,
            signature: author.rsa().sign_pss(SigningContext::AUTHORSHIP, &authorship),
            authorship,
            author: author_account,
            author_key: author.committed_key(),
            commitment_seed: *seed.as_bytes(),
            attachments: Vec::new(),
        };
        let sealed = SealedRecord::seal(&authored, &context, &directory.published().current_public(Class::Summary))?;
        Ok((sealed, context, authored_value))
    };
    let open = |sealed: &SealedRecord, context: &RecordContext, directory: &PatientDirectory| {
        let blocks: HashMap<Cid, Vec<u8>> = sealed.blocks.iter().cloned().collect();
        let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(io::Error::from(io::ErrorKind::NotFound));
        let keys = directory.published().open_for(&reader).map_err(|error| error.to_string())?;
        OpenedRecord::open(&sealed.manifest, fetch, &keys, context).map_err(|error| error.to_string())
    };

    let (first, context, authored) = seal(1, None, &directory)?;
    let opened = open(&first, &context, &directory)?;
    let record = emr_core::Record::from_dag_cbor(&opened.authored.record)?;
    assert_eq!(fhir::export(&record)?, BUNDLE);
    println!("the reader opened version 1: {} bytes of FHIR, unchanged", BUNDLE.len());

    // The old keys stay valid for old versions. The next version is sealed to a key that the reader never gets.
    let before = directory.published().clone();
    directory.revoke(reader_account, ClassMask::ALL)?;
    let (second, context, _) = seal(2, Some(authored), &directory)?;
    let keys = before.open_for(&reader)?;
    let blocks: HashMap<Cid, Vec<u8>> = second.blocks.iter().cloned().collect();
    let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(io::Error::from(io::ErrorKind::NotFound));
    let refused = OpenedRecord::open(&second.manifest, fetch, &keys, &context);
    assert!(refused.is_err(), "a revoked reader opened the next version");
    println!("after the revocation, with every block and every key they ever had: {}", refused.err().ok_or("opened")?);
    Ok(())
}

//! Measures sealing and opening a record of 1 MB, with hashing, padding, signature check and key wraps. For comparison,
//! the same run encrypts the same bytes with AES-256-GCM of the `aes-gcm` crate.

#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use std::{collections::HashMap, hint::black_box, io};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, array::Array},
};
use cid::Cid;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use emr_core::{AccountIndex, Class, RecordSlot, Version};
use emr_crypto::{
    AuthoredRecord, EncryptionKey, OpenedRecord, PatientDirectory, RecordContext, RsaBits, RsaSecret, SealedRecord,
    SigningContext,
};

const BYTES: usize = 1_000_000;

fn envelope(criterion: &mut Criterion) {
    let author = RsaSecret::generate(RsaBits::DEFAULT);
    let directory = PatientDirectory::create(&RsaSecret::generate(RsaBits::DEFAULT));
    let context = RecordContext {
        domain: [1; 32],
        patient: AccountIndex::new(4).expect("an account"),
        slot: RecordSlot::new(0).expect("a slot"),
        version: Version::new(1).expect("a version"),
        class: Class::Summary,
    };
    let record: Vec<u8> = (0..BYTES).map(|i| ((i * 31) >> 3) as u8).collect();
    let authorship = b"an authorship".to_vec();
    let authored = AuthoredRecord {
        record: record.clone(),
        signature: author.sign_pss(SigningContext::AUTHORSHIP, &authorship),
        authorship,
        author: AccountIndex::new(2).expect("an account"),
        author_key: EncryptionKey::from(author.public()).committed(None),
        commitment_seed: [2; 32],
        attachments: Vec::new(),
    };
    let to = directory.published().current_public(Class::Summary);
    let keys = directory.keyring();

    let mut group = criterion.benchmark_group("1 MB record");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(30);
    group.bench_function("seal", |bencher| {
        bencher.iter(|| SealedRecord::seal(black_box(&authored), &context, &to).expect("sealed"));
    });
    let sealed = SealedRecord::seal(&authored, &context, &to).expect("sealed");
    let blocks: HashMap<Cid, Vec<u8>> = sealed.blocks.iter().cloned().collect();
    group.bench_function("open", |bencher| {
        bencher.iter(|| {
            let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(io::ErrorKind::NotFound).map_err(io::Error::from);
            OpenedRecord::open(&sealed.manifest, fetch, &keys, &context).expect("opened")
        });
    });
    let cipher = Aes256Gcm::new(&Array::from([7; 32]));
    group.bench_function("peer: AES-256-GCM alone", |bencher| {
        bencher.iter(|| cipher.encrypt(&Array::from([0; 12]), black_box(record.as_slice())).expect("encrypted"));
    });
    group.finish();
}

criterion_group!(benches, envelope);
criterion_main!(benches);

//! Prints how long each operation (seal, open, grant, ...) takes on this machine.
//!
//! `cargo run --release -p emr-crypto --example timings`

use std::collections::HashMap;
use std::time::Instant;

use emr_core::{AccountIndex, Class, ClassMask, RecordSlot, Role, Version};
use emr_crypto::{
    AuthoredRecord, EncryptionKey, Identity, IdentityFile, KeyProfile, OpenedRecord, Past, PatientDirectory,
    RecordContext, RsaBits, RsaSecret, ScryptCost, SealedRecord, SigningContext,
};
use secrecy::SecretString;

/// Runs a step `times` times and prints the median time.
fn timed<T>(what: &str, times: usize, mut step: impl FnMut() -> T) -> T {
    let mut taken = Vec::new();
    loop {
        let start = Instant::now();
        let result = step();
        taken.push(start.elapsed());
        if taken.len() == times {
            taken.sort();
            println!("{what:<44}{:>10.2} ms", taken[times / 2].as_secs_f64() * 1000.0);
            return result;
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let patient = timed("generate an RSA key of 3072 bits", 1, || RsaSecret::generate(RsaBits::DEFAULT));
    let doctor = RsaSecret::generate(RsaBits::DEFAULT);
    let message = b"a message";
    let signature = timed("sign (RSA-PSS)", 21, || doctor.sign_pss(SigningContext::AUTHORSHIP, message));
    timed("verify", 21, || doctor.public().verify_pss(SigningContext::AUTHORSHIP, message, &signature))?;
    let wrapped = timed("wrap a key (RSA-OAEP)", 21, || doctor.public().encrypt_oaep(b"", &[1; 32]));
    timed("unwrap", 21, || doctor.decrypt_oaep(b"", &wrapped))?;

    let identity = Identity::with_rsa(Role::Patient, patient.clone(), KeyProfile::Hybrid);
    let passphrase = SecretString::from("a passphrase");
    let file = timed("seal an identity file", 3, || IdentityFile::seal(&identity, &passphrase, ScryptCost::Standard))?;
    timed("open it", 3, || IdentityFile::unseal(&file, &passphrase))?;

    let mut directory = timed("create a key directory", 5, || PatientDirectory::create(&patient));
    for account in 1..=20 {
        let key = if account == 20 { doctor.public() } else { patient.public() };
        directory.grant(AccountIndex::new(account)?, key, ClassMask::ALL, Past::Included)?;
    }
    println!("a directory with 20 readers has {} bytes", directory.published().size());
    timed("revoke one of 20 readers from 16 classes", 5, || {
        directory.clone().revoke(AccountIndex::new(1)?, ClassMask::ALL).map_err(Box::<dyn std::error::Error>::from)
    })?;
    let keys = timed("find a reader's keys among 20", 5, || directory.published().open_for(&doctor))?;

    let context = RecordContext {
        domain: [1; 32],
        patient: AccountIndex::new(5)?,
        slot: RecordSlot::new(0)?,
        version: Version::new(1)?,
        class: Class::Imaging,
    };
    let authored = AuthoredRecord {
        record: (0..1_000_000_u32).map(|i| (i ^ i >> 8) as u8).collect(),
        authorship: message.to_vec(),
        signature,
        author: AccountIndex::new(7)?,
        author_key: EncryptionKey::from(doctor.public()).committed(None),
        commitment_seed: [2; 32],
        attachments: Vec::new(),
    };
    let to = directory.published().current_public(Class::Imaging);
    let sealed = timed("seal a record of 1 MB", 21, || SealedRecord::seal(&authored, &context, &to))?;
    let blocks: HashMap<_, _> = sealed.blocks.iter().cloned().collect();
    let fetch = |cid: &cid::Cid| blocks.get(cid).cloned().ok_or(std::io::Error::other("no such block"));
    timed("open it", 21, || OpenedRecord::open(&sealed.manifest, fetch, &keys, &context))?;
    Ok(())
}

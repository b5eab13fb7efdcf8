//! What the blocks of records show to somebody who has no key: the lengths of a few padded pieces, and nothing else (`docs/envelope.md`).

use std::collections::{BTreeMap, BTreeSet};

use emr_core::{Class, Codec, RecordSlot, Version, cid::codec_of};
use emr_crypto::{
    AuthoredRecord, CHUNK_BYTES, EPOCH_WRAP_BYTES, Manifest, PatientDirectory, RecordContext, SealedRecord,
    SigningContext, padded_length,
};

use crate::fixtures::{DOCTOR, HOSPITAL, OTHER_DOCTOR, PATIENT, account};

/// Bytes that AES-256-GCM adds.
const TAG: usize = 16;
/// The least content and the least sealed part.
const LEAST: [usize; 2] = [4096, 2048];
const RECORDS: u64 = 1000;

/// A random number below `end`.
fn below(end: u64) -> u64 {
    rand::random_range(0..end)
}

/// Text of a random length, mostly short, that no key and no hash contains by chance.
fn text() -> Vec<u8> {
    let most = [200, 5_000, 70_000, 700_000][below(4) as usize];
    b"the blood of Ada Lovelace ".iter().copied().cycle().take(30 + below(most) as usize).collect()
}

struct Sealed {
    authored: AuthoredRecord,
    context: RecordContext,
    sealed: SealedRecord,
}

/// A record by a doctor with a key of 2048, 3072 or 4096 bits, or by the patient, in any class.
fn sealed(directory: &PatientDirectory, record: Vec<u8>) -> Result<Sealed, Box<dyn std::error::Error>> {
    let (author, key) = [(7, &*DOCTOR), (8, &*OTHER_DOCTOR), (9, &*HOSPITAL), (5, &*PATIENT)][below(4) as usize];
    let authorship: Vec<u8> = (0..60 + below(40)).map(|_| rand::random()).collect();
    let authored = AuthoredRecord {
        record,
        signature: key.rsa().sign_pss(SigningContext::AUTHORSHIP, &authorship),
        authorship,
        author: account(author),
        author_key: key.public().committed((author == 5).then(rand::random)),
        commitment_seed: rand::random(),
        attachments: Vec::new(),
    };
    let context = RecordContext {
        domain: rand::random(),
        patient: account(1 + below(1_000_000)),
        slot: RecordSlot::new(below(1000))?,
        version: Version::new(1 + below(9))?,
        class: Class::ALL[below(16) as usize],
    };
    let to = directory.published().current_public(context.class);
    let sealed = SealedRecord::seal(&authored, &context, &to)?;
    Ok(Sealed { authored, context, sealed })
}

/// The sizes of wrap, sealed part and content, which an observer can add up.
fn shape(sealed: &SealedRecord) -> Result<[usize; 3], Box<dyn std::error::Error>> {
    let blocks: BTreeMap<_, _> = sealed.blocks.iter().map(|(cid, bytes)| (*cid, bytes)).collect();
    let manifest = Manifest::from_bytes(blocks[&sealed.manifest])?;
    let sizes: Vec<usize> = manifest.links().iter().map(|link| blocks[link].len()).collect();
    assert!(
        manifest.links().iter().all(|link| codec_of(link) == Ok(Codec::Raw)),
        "no block but the manifest has a form"
    );
    assert_eq!(blocks.len(), sizes.len() + 1, "no block that the manifest does not link");
    let [wrap, part, chunks @ ..] = &sizes[..] else { return Err("too few links".into()) };
    let (last, full) = chunks.split_last().ok_or("no content")?;
    assert!(full.iter().all(|size| *size == CHUNK_BYTES + TAG) && *last > TAG && *last <= CHUNK_BYTES + TAG);
    Ok([*wrap, *part, chunks.iter().sum::<usize>() - TAG * chunks.len()])
}

/// Whether a Padmé length that is at least `least`.
fn is_padme(length: usize, least: usize) -> bool {
    length >= least && padded_length(length as u64) == length as u64
}

fn contains(blocks: &[u8], secret: &[u8]) -> bool {
    blocks.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn a_thousand_records_show_only_padded_lengths() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PatientDirectory::create(&*PATIENT);
    let mut known = BTreeSet::new();
    for number in 0..RECORDS {
        let Sealed { authored, context, sealed } = sealed(&directory, text())?;
        let [wrap, part, content] = shape(&sealed)?;
        assert_eq!(wrap, EPOCH_WRAP_BYTES);
        assert!(is_padme(content, LEAST[0]), "{content}");
        assert!(is_padme(part - TAG, LEAST[1]), "{part}");
        // The lengths follow from that of the record alone, and not from author, class or patient.
        let longest = padded_length(authored.record.len().max(LEAST[0]) as u64);
        assert_eq!(content as u64, longest);
        assert_eq!(part, LEAST[1] + TAG, "the sealed part has one size for every author");
        assert!(sealed.blocks.iter().all(|(cid, _)| known.insert(*cid)), "no two records share a block");
        // Searching is slow, so not in each record.
        if number % 20 == 0 {
            let all: Vec<u8> = sealed.blocks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            let salt = authored.author_key.salt.unwrap_or(authored.commitment_seed);
            let modulus = authored.author_key.rsa.modulus();
            let to = directory.published().current_public(context.class);
            for secret in [
                &authored.record[..24],
                &authored.signature[..16],
                &authored.authorship[..16],
                &modulus[8..24],
                &authored.author_key.rsa.fingerprint()[..8],
                &authored.commitment_seed[..8],
                &salt[..8],
                &sealed.storage_salt[..8],
                &context.domain[..8],
                &context.to_bytes()[..],
                &to.key().as_bytes()[..16],
                &to.key().hash().as_bytes()[..8],
                sealed.manifest.hash().digest(),
            ] {
                assert!(!contains(&all, secret), "{number}");
            }
        }
    }
    Ok(())
}

/// Equal records of one author, sealed twice for one place, have no common block and no common piece.
#[test]
fn equal_records_do_not_look_equal() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PatientDirectory::create(&*PATIENT);
    let Sealed { authored, context, sealed: first } = sealed(&directory, vec![7; 300_000])?;
    let to = directory.published().current_public(context.class);
    let second = SealedRecord::seal(&authored, &context, &to)?;
    assert_eq!(shape(&first)?, shape(&second)?);
    let pieces = |sealed: &SealedRecord| -> BTreeSet<Vec<u8>> {
        // The manifests have the same form: a list of links, so only what follows the digests' heads can differ.
        let content = sealed.blocks.iter().filter(|(cid, _)| *cid != sealed.manifest);
        content.flat_map(|(_, bytes)| bytes.chunks_exact(16).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
    };
    assert!(pieces(&first).is_disjoint(&pieces(&second)));
    Ok(())
}

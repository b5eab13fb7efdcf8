use std::cell::Cell;
use std::convert::Infallible;
use std::io::Read;

use cid::Cid;
use emr_core::cid::{BlockMismatch, MAX_BLOCK_BYTES, verify_block};
use emr_core::{Class, RecordSlot, Version};
use emr_crypto::{
    AttachmentKey, AuthoredRecord, CHUNK_BYTES, ContentKey, DecryptionFailed, EPOCH_WRAP_BYTES, EpochKeyring, KeyEpoch,
    MAX_RECORD_BYTES, Manifest, OpenError, OpenedRecord, PatientDirectory, RecordContext, SealError, SealedRecord,
};
use proptest::prelude::*;

use crate::fixtures::{Blocks, DOCTOR, NoSuchBlock, PATIENT, account, authored, context};

const CLASS: Class = Class::Laboratory;

fn seal(directory: &PatientDirectory, record: Vec<u8>) -> SealedRecord {
    SealedRecord::seal(&authored(record), &context(CLASS), &directory.published().current_public(CLASS)).unwrap()
}

fn open(manifest: &Cid, blocks: &Blocks, keys: &EpochKeyring) -> Result<OpenedRecord, OpenError<NoSuchBlock>> {
    OpenedRecord::open(manifest, |cid| blocks.get(cid), keys, &context(CLASS))
}

fn is_opaque<T>(result: Result<T, OpenError<NoSuchBlock>>) -> bool {
    matches!(result, Err(OpenError::Decryption(DecryptionFailed)))
}

#[test]
fn a_sealed_record_opens() {
    let directory = PatientDirectory::create(&*PATIENT);
    for length in [0, 1, 4096, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
        let record: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let sealed = seal(&directory, record.clone());
        let opened = open(&sealed.manifest, &Blocks::of(&sealed), &directory.keyring()).unwrap();
        assert_eq!(opened.authored, authored(record).with_signature(&opened));
        assert_eq!((opened.epoch, opened.storage_salt), (KeyEpoch::FIRST, sealed.storage_salt));
        for (cid, bytes) in &sealed.blocks {
            assert!(verify_block(cid, bytes).is_ok());
        }
        assert_eq!(sealed.blocks.last().unwrap().0, sealed.manifest);
    }
}

/// The author's key comes back as it was committed: with the hash of the X-Wing key, and a patient's salt.
#[test]
fn the_authors_committed_key_travels_with_the_record() {
    let directory = PatientDirectory::create(&*PATIENT);
    for (key, salt) in [(DOCTOR.public(), None), (DOCTOR.rsa().public().into(), None), (DOCTOR.public(), Some([5; 32]))]
    {
        let mut authored = authored(b"record".to_vec());
        authored.author_key = key.committed(salt);
        let to = directory.published().current_public(CLASS);
        let sealed = SealedRecord::seal(&authored, &context(CLASS), &to).unwrap();
        let opened = open(&sealed.manifest, &Blocks::of(&sealed), &directory.keyring()).unwrap();
        assert_eq!(opened.authored.author_key, authored.author_key);
        assert_eq!(opened.authored.author_key.kem, key.kem_hash());
        // wrap, sealed part, one chunk, manifest
        let sizes: Vec<_> = sealed.blocks.iter().map(|(_, block)| block.len()).collect();
        assert_eq!(sizes[..3], [EPOCH_WRAP_BYTES, 2048 + 16, 4096 + 16]);
    }
    assert_eq!(EPOCH_WRAP_BYTES, 1168);
}

trait WithSignature {
    fn with_signature(self, opened: &OpenedRecord) -> Self;
}

impl WithSignature for emr_crypto::AuthoredRecord {
    /// PSS is randomised: takes over the signature that was checked when opening.
    fn with_signature(mut self, opened: &OpenedRecord) -> Self {
        self.signature = opened.authored.signature.clone();
        self
    }
}

/// A writer has no epoch key. They keep the content key, wrapped to themselves, and it opens in one place only.
#[test]
fn a_writer_opens_what_they_sealed() {
    let directory = PatientDirectory::create(&*PATIENT);
    let sealed = seal(&directory, b"a record".to_vec());
    let blocks = Blocks::of(&sealed);
    let wrapped = sealed.key.wrap(&DOCTOR.public(), &context(CLASS));
    let reopen = |key: &ContentKey, place| AuthoredRecord::reopen(&sealed.manifest, |cid| blocks.get(cid), key, &place);
    let key = ContentKey::unwrap(&*DOCTOR, &wrapped, &context(CLASS)).unwrap();
    assert_eq!(reopen(&key, context(CLASS)).unwrap().record, b"a record");

    let elsewhere = RecordContext { slot: RecordSlot::new(9).unwrap(), ..context(CLASS) };
    assert!(ContentKey::unwrap(&*DOCTOR, &wrapped, &elsewhere).is_err());
    assert!(ContentKey::unwrap(&*PATIENT, &wrapped, &context(CLASS)).is_err());
    assert!(is_opaque(reopen(&key, elsewhere)));
    assert!(is_opaque(reopen(&ContentKey::generate(), context(CLASS))));
}

/// A node that stores the blocks sees links, and sizes that are the same for similar records.
#[test]
fn outsiders_see_links_and_padded_sizes_only() {
    let directory = PatientDirectory::create(&*PATIENT);
    let record = b"a very recognisable plaintext".repeat(200);
    let sealed = seal(&directory, record.clone());
    let manifest = Manifest::from_bytes(&sealed.blocks.last().unwrap().1).unwrap();
    let others: Vec<_> = sealed.blocks[..sealed.blocks.len() - 1].iter().map(|(cid, _)| *cid).collect();
    assert_eq!(manifest.links(), others);
    for (_, bytes) in &sealed.blocks {
        for secret in [&b"recognisable"[..], b"an authorship", &[0xc0; 32]] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
    let sizes = |sealed: &SealedRecord| sealed.blocks.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&sealed), sizes(&seal(&directory, record[..record.len() - 100].to_vec())));
    // Sealing again changes every CID.
    let again = seal(&directory, record);
    assert!(sealed.blocks.iter().all(|(cid, _)| again.blocks.iter().all(|(other, _)| cid != other)));
}

/// If a node sends other bytes, this is noticed before they are used.
#[test]
fn blocks_are_checked_against_their_cids() {
    let directory = PatientDirectory::create(&*PATIENT);
    let keys = directory.keyring();
    let sealed = seal(&directory, vec![7; 5000]);
    for (cid, bytes) in &sealed.blocks {
        for position in (0..bytes.len()).step_by(101) {
            let mut blocks = Blocks::of(&sealed);
            blocks.0.get_mut(cid).unwrap()[position] ^= 1;
            let result = open(&sealed.manifest, &blocks, &keys);
            assert!(matches!(result, Err(OpenError::WrongBlock(BlockMismatch::Digest(wrong))) if wrong == *cid));
        }
        let mut blocks = Blocks::of(&sealed);
        blocks.0.insert(*cid, vec![0; MAX_BLOCK_BYTES + 1]);
        assert!(matches!(open(&sealed.manifest, &blocks, &keys), Err(OpenError::WrongBlock(_))));
        blocks.0.remove(cid);
        assert!(matches!(open(&sealed.manifest, &blocks, &keys), Err(OpenError::Fetch { cid: c, .. }) if c == *cid));
    }
}

/// An attacker alters a block and corrects all CIDs. The error is always the same, wherever the byte was.
#[test]
fn altered_blocks_with_correct_cids_do_not_open() {
    let directory = PatientDirectory::create(&*PATIENT);
    let keys = directory.keyring();
    let sealed = seal(&directory, vec![7; 5000]);
    let manifest = Manifest::from_bytes(&sealed.blocks.last().unwrap().1).unwrap();
    for (index, link) in manifest.links().iter().enumerate() {
        let original = Blocks::of(&sealed).get(link).unwrap();
        let step = if original.len() < 100 { 1 } else { 59 };
        for position in (0..original.len()).step_by(step).chain([original.len() - 1]) {
            let mut blocks = Blocks::of(&sealed);
            let mut altered = original.clone();
            altered[position] ^= 0x80;
            let mut links = manifest.links().to_vec();
            links[index] = blocks.put(0x55, altered);
            let root = blocks.put_manifest(&links);
            assert!(is_opaque(open(&root, &blocks, &keys)), "link {index}, byte {position}");
        }
        for length in [0, 1, original.len() - 1] {
            let mut blocks = Blocks::of(&sealed);
            let mut links = manifest.links().to_vec();
            links[index] = blocks.put(0x55, original[..length].to_vec());
            let root = blocks.put_manifest(&links);
            assert!(is_opaque(open(&root, &blocks, &keys)), "link {index}, {length} bytes");
        }
    }
}

/// Chunks cannot be dropped, doubled, swapped or added, nor taken from another sealing of the same record.
#[test]
fn rearranged_links_do_not_open() {
    let directory = PatientDirectory::create(&*PATIENT);
    let keys = directory.keyring();
    let record = vec![7; 3 * CHUNK_BYTES];
    let (sealed, other) = (seal(&directory, record.clone()), seal(&directory, record));
    let links =
        |sealed: &SealedRecord| Manifest::from_bytes(&sealed.blocks.last().unwrap().1).unwrap().links().to_vec();
    let (good, foreign) = (links(&sealed), links(&other));
    assert_eq!(good.len(), 5);
    let mut blocks = Blocks::of(&sealed);
    blocks.0.extend(Blocks::of(&other).0);

    let mut attempts: Vec<Vec<Cid>> = Vec::new();
    for i in 0..good.len() {
        let mut dropped = good.clone();
        dropped.remove(i);
        attempts.push(dropped);
        let mut doubled = good.clone();
        doubled.insert(i, good[i]);
        attempts.push(doubled);
        let mut replaced = good.clone();
        replaced[i] = foreign[i];
        attempts.push(replaced);
        for j in 0..i {
            let mut swapped = good.clone();
            swapped.swap(i, j);
            attempts.push(swapped);
        }
    }
    attempts.push(good[..1].to_vec());
    attempts.push([&good[..], &foreign[4..]].concat());
    for links in attempts {
        let root = blocks.put_manifest(&links);
        assert!(is_opaque(open(&root, &blocks, &keys)), "{links:?}");
    }
    assert!(open(&blocks.clone().put_manifest(&good), &blocks, &keys).is_ok());
}

/// Blocks of one patient, slot, version, class or chain do not open as another's, even with the right keys.
#[test]
fn a_record_opens_in_its_place_only() {
    let directory = PatientDirectory::create(&*PATIENT);
    let sealed = seal(&directory, b"record".to_vec());
    let blocks = Blocks::of(&sealed);
    let changes: [fn(&mut RecordContext); 5] = [
        |c| c.domain[31] ^= 1,
        |c| c.patient = account(6),
        |c| c.slot = RecordSlot::new(4).unwrap(),
        |c| c.version = Version::new(2).unwrap(),
        |c| c.class = Class::Genetics,
    ];
    for change in changes {
        let mut context = context(CLASS);
        change(&mut context);
        let opened = OpenedRecord::open(&sealed.manifest, |cid| blocks.get(cid), &directory.keyring(), &context);
        assert!(is_opaque(opened), "{context:?}");
    }
    let stranger = PatientDirectory::create(&*PATIENT);
    assert!(is_opaque(open(&sealed.manifest, &blocks, &stranger.keyring())));
    assert!(is_opaque(open(&sealed.manifest, &blocks, &EpochKeyring::default())));
}

/// A huge or endless DAG costs a reader one block, because only links that the sealed part accounts for are fetched.
#[test]
fn a_hostile_dag_is_not_followed() {
    let directory = PatientDirectory::create(&*PATIENT);
    let sealed = seal(&directory, b"record".to_vec());
    let mut blocks = Blocks::of(&sealed);
    let good = Manifest::from_bytes(&sealed.blocks.last().unwrap().1).unwrap().links().to_vec();
    let many = [&good[..], &vec![good[2]; 10_000]].concat();
    let root = blocks.put_manifest(&many);
    let fetched = Cell::new(0);
    let get = |cid: &Cid| {
        fetched.set(fetched.get() + 1);
        blocks.get(cid)
    };
    assert!(is_opaque(OpenedRecord::open(&root, get, &directory.keyring(), &context(CLASS))));
    assert_eq!(fetched.get(), 3);
    let empty = blocks.put_manifest(&[]);
    let too_many = blocks.put_manifest(&vec![good[2]; 16_385]);
    for root in [empty, too_many, good[0]] {
        assert!(is_opaque(open(&root, &blocks, &directory.keyring())));
    }
}

#[test]
fn the_wrong_class_and_too_long_records_are_refused() {
    let directory = PatientDirectory::create(&*PATIENT);
    let key = directory.published().current_public(Class::Genetics);
    let refused = SealedRecord::seal(&authored(vec![]), &context(CLASS), &key);
    assert!(matches!(refused, Err(SealError::EpochKey)));
    let key = directory.published().current_public(CLASS);
    let refused = SealedRecord::seal(&authored(vec![0; MAX_RECORD_BYTES as usize + 1]), &context(CLASS), &key);
    assert!(matches!(refused, Err(SealError::TooLarge { limit: MAX_RECORD_BYTES })));
}

/// Rekeying keeps the authorship and the signature, under the new epoch.
#[test]
fn rekeying_keeps_the_authorship() {
    let mut directory = PatientDirectory::create(&*PATIENT);
    let sealed = seal(&directory, b"record".to_vec());
    let opened = open(&sealed.manifest, &Blocks::of(&sealed), &directory.keyring()).unwrap();
    directory.renew(&*PATIENT).unwrap();
    let key = directory.published().current_public(CLASS);
    let resealed = SealedRecord::seal(&opened.authored, &context(CLASS), &key).unwrap();
    let reopened = open(&resealed.manifest, &Blocks::of(&resealed), &directory.keyring()).unwrap();
    assert_eq!(reopened.authored, opened.authored);
    assert_eq!(reopened.epoch, KeyEpoch::new(2).unwrap());
}

/// Yields `length` bytes without holding them.
fn content(length: u64) -> impl Read {
    std::io::repeat(0xa5).take(length)
}

#[test]
fn attachments_travel_with_their_record() {
    let directory = PatientDirectory::create(&*PATIENT);
    let mut blocks = Blocks::default();
    let length = 5 * CHUNK_BYTES as u64 + 17;
    let attachment = AttachmentKey::seal(content(length), |cid, bytes| {
        assert!(verify_block(&cid, &bytes).is_ok());
        blocks.0.insert(cid, bytes);
        Ok::<_, Infallible>(())
    })
    .unwrap();
    let mut authored = authored(b"see the image".to_vec());
    authored.attachments.push(attachment.clone());
    let sealed = SealedRecord::seal(&authored, &context(CLASS), &directory.published().current_public(CLASS)).unwrap();
    blocks.0.extend(Blocks::of(&sealed).0);

    let manifest = Manifest::from_bytes(&sealed.blocks.last().unwrap().1).unwrap();
    assert_eq!(manifest.links().last(), Some(&attachment.manifest));
    let opened = open(&sealed.manifest, &blocks, &directory.keyring()).unwrap();
    assert_eq!(opened.authored.attachments, std::slice::from_ref(&attachment));
    let mut output = Vec::new();
    opened.authored.attachments[0].open(|cid| blocks.get(cid), &mut output).unwrap();
    assert_eq!(output, vec![0xa5; length as usize]);

    // A link to another attachment in the same position is noticed.
    let mut links = manifest.links().to_vec();
    *links.last_mut().unwrap() = sealed.manifest;
    let root = blocks.put_manifest(&links);
    assert!(is_opaque(open(&root, &blocks, &directory.keyring())));
}

#[test]
fn truncated_rearranged_or_mislabelled_attachments_do_not_open() {
    let mut blocks = Blocks::default();
    let attachment = AttachmentKey::seal(content(3 * CHUNK_BYTES as u64), |cid, bytes| {
        blocks.0.insert(cid, bytes);
        Ok::<_, Infallible>(())
    })
    .unwrap();
    let good = Manifest::from_bytes(&blocks.get(&attachment.manifest).unwrap()).unwrap().links().to_vec();
    assert_eq!(good.len(), 3);
    let [a, b, c] = good[..] else { panic!("three links") };
    for links in [vec![a, b], vec![b, c], vec![a, c, b], vec![a, a, b], vec![a, a, c], vec![a, b, c, c], vec![a]] {
        let manifest = blocks.put_manifest(&links);
        for length in [attachment.length, 2 * CHUNK_BYTES as u64, 1] {
            let attempt = AttachmentKey { manifest, length, key: attachment.key.clone() };
            assert!(is_opaque(attempt.open(|cid| blocks.get(cid), Vec::new())), "{links:?} {length}");
        }
    }
    for length in [0, attachment.length - 1, attachment.length + 1, u64::MAX] {
        let attempt = AttachmentKey { length, ..attachment.clone() };
        assert!(is_opaque(attempt.open(|cid| blocks.get(cid), Vec::new())), "{length}");
    }
}

/// A failing store stops the sealing, and so does a failing reader. Both errors reach the caller.
#[test]
fn failing_stores_and_readers() {
    let failed = AttachmentKey::seal(content(10), |_, _| Err(NoSuchBlock));
    assert!(matches!(failed, Err(SealError::Put(NoSuchBlock))));
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let failed = AttachmentKey::seal(Broken, |_, _| Ok::<_, Infallible>(()));
    assert!(matches!(failed, Err(SealError::Read(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_record_round_trips(record in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        let directory = PatientDirectory::create(&*PATIENT);
        let sealed = seal(&directory, record.clone());
        let opened = open(&sealed.manifest, &Blocks::of(&sealed), &directory.keyring());
        prop_assert_eq!(opened.map(|opened| opened.authored.record).ok(), Some(record));
    }
}

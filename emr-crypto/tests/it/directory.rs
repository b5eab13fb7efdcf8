use emr_core::cid::MAX_BLOCK_BYTES;
use emr_core::{Class, ClassMask};
use emr_crypto::{
    DecryptionFailed, DirectoryRoot, EpochKeyring, KeyDirectory, KeyEpoch, KeyUnwrap, OpenedRecord, OwnDirectoryError,
    Past, PatientDirectory, RevokeError, SealedRecord,
};

use crate::fixtures::{Blocks, DOCTOR, HOSPITAL, OTHER_DOCTOR, PATIENT, account, authored, context, fetched, hybrid};

fn epoch(number: u32) -> KeyEpoch {
    KeyEpoch::new(number).unwrap()
}

fn mask(classes: &[Class]) -> ClassMask {
    classes.iter().copied().collect()
}

fn reads(keys: &EpochKeyring) -> ClassMask {
    Class::ALL.into_iter().filter(|class| keys.epochs(*class).is_some()).collect()
}

/// Whether a record sealed to the directory's current key of `class` opens with these keys.
fn can_read(keys: &EpochKeyring, directory: &KeyDirectory, class: Class) -> bool {
    let sealed = SealedRecord::seal(&authored(vec![1]), &context(class), &directory.current_public(class)).unwrap();
    let blocks = Blocks::of(&sealed);
    OpenedRecord::open(&sealed.manifest, |cid| blocks.get(cid), keys, &context(class)).is_ok()
}

#[test]
fn only_the_owner_reads_with_a_new_directory() {
    let directory = PatientDirectory::create(&*PATIENT);
    let published = fetched(&directory);
    assert_eq!(published, *directory.published());
    assert_eq!(published.cid(), directory.published().root().cid());
    assert_eq!(published.reader_count(), 0);
    for class in Class::ALL {
        let key = published.current_public(class);
        assert_eq!((key.class(), key.epoch()), (class, KeyEpoch::FIRST));
        assert!(can_read(&directory.keyring(), &published, class));
    }
    assert_eq!(published.open_for(&*DOCTOR), Err(DecryptionFailed));
    assert_eq!(published.open_for(&*PATIENT), Err(DecryptionFailed));
    let stolen = PatientDirectory::open(published, &*DOCTOR).unwrap_err();
    assert_eq!(stolen, OwnDirectoryError::Decryption(DecryptionFailed));
}

#[test]
fn readers_get_the_classes_they_were_granted() {
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(7), DOCTOR.public(), mask(&[Class::Laboratory, Class::Imaging]), Past::Included).unwrap();
    directory.grant(account(8), OTHER_DOCTOR.public(), mask(&[Class::Imaging]), Past::Included).unwrap();
    directory.grant(account(9), HOSPITAL.public(), ClassMask::ALL, Past::Included).unwrap();
    let published = fetched(&directory);
    let readers: [(&dyn KeyUnwrap, ClassMask); 3] = [
        (&*DOCTOR, mask(&[Class::Laboratory, Class::Imaging])),
        (&*OTHER_DOCTOR, mask(&[Class::Imaging])),
        (&*HOSPITAL, ClassMask::ALL),
    ];
    for (reader, classes) in readers {
        let keys = published.open_for(reader).unwrap();
        assert_eq!(reads(&keys), classes);
        for class in [Class::Laboratory, Class::Imaging, Class::Genetics] {
            assert_eq!(can_read(&keys, &published, class), classes.contains(class));
        }
    }
}

/// A revoked reader with every key they ever had cannot open records that are sealed later. The other readers can open
/// all.
#[test]
fn a_revoked_reader_cannot_open_later_records() {
    let class = Class::Laboratory;
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(7), DOCTOR.public(), ClassMask::ALL, Past::Included).unwrap();
    directory.grant(account(8), OTHER_DOCTOR.public(), class.into(), Past::Included).unwrap();
    let mut old_keys = vec![fetched(&directory).open_for(&*OTHER_DOCTOR).unwrap()];
    directory.grant(account(8), OTHER_DOCTOR.public(), Class::Imaging.into(), Past::Included).unwrap();
    old_keys.push(fetched(&directory).open_for(&*OTHER_DOCTOR).unwrap());

    assert_eq!(directory.revoke(account(8), class.into()), Ok(class.into()));
    let published = fetched(&directory);
    assert_eq!(published.current_public(class).epoch(), epoch(2));
    assert_eq!(published.current_public(Class::Imaging).epoch(), KeyEpoch::FIRST);
    old_keys.push(published.open_for(&*OTHER_DOCTOR).unwrap());
    for keys in &old_keys {
        assert!(!can_read(keys, &published, class));
    }
    assert_eq!(reads(&old_keys[2]), Class::Imaging.into());
    assert!(can_read(&old_keys[2], &published, Class::Imaging));

    let doctor = published.open_for(&*DOCTOR).unwrap();
    assert_eq!(doctor.epochs(class), Some((epoch(1), epoch(2))));
    assert!(can_read(&doctor, &published, class));
    assert!(can_read(&directory.keyring(), &published, class));

    // After all their classes are revoked, they are no longer in the directory.
    assert_eq!(directory.revoke(account(8), ClassMask::ALL), Ok(Class::Imaging.into()));
    assert_eq!(fetched(&directory).open_for(&*OTHER_DOCTOR), Err(DecryptionFailed));
    assert_eq!(directory.revoke(account(8), ClassMask::ALL), Err(RevokeError::NotAReader(account(8))));
    assert_eq!(directory.readers().collect::<Vec<_>>(), [(account(7), ClassMask::ALL)]);
}

/// A reader who was not given old epochs cannot open them, and gains nothing when others are revoked.
#[test]
fn old_epochs_are_shared_or_not() {
    let class = Class::Condition;
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(8), OTHER_DOCTOR.public(), class.into(), Past::Included).unwrap();
    let old_key = directory.published().current_public(class);
    let old = SealedRecord::seal(&authored(b"old".to_vec()), &context(class), &old_key).unwrap();
    directory.revoke(account(8), class.into()).unwrap();

    directory.grant(account(7), DOCTOR.public(), class.into(), Past::Closed).unwrap();
    directory.grant(account(9), HOSPITAL.public(), class.into(), Past::Included).unwrap();
    let opens_old = |reader: &dyn KeyUnwrap, directory: &PatientDirectory| {
        let keys = fetched(directory).open_for(reader).unwrap();
        let blocks = Blocks::of(&old);
        assert!(can_read(&keys, directory.published(), class));
        OpenedRecord::open(&old.manifest, |cid| blocks.get(cid), &keys, &context(class)).is_ok()
    };
    assert!(!opens_old(&*DOCTOR, &directory));
    assert!(opens_old(&*HOSPITAL, &directory));

    directory.revoke(account(9), class.into()).unwrap();
    assert!(!opens_old(&*DOCTOR, &directory));
    // The grant began epoch 3, the revocation epoch 4.
    assert_eq!(fetched(&directory).open_for(&*DOCTOR).unwrap().epochs(class), Some((epoch(3), epoch(4))));
    // Old epochs can be shared later. A smaller grant after that takes nothing away.
    directory.grant(account(7), DOCTOR.public(), class.into(), Past::Included).unwrap();
    assert!(opens_old(&*DOCTOR, &directory));
    directory.grant(account(7), DOCTOR.public(), class.into(), Past::Closed).unwrap();
    assert!(opens_old(&*DOCTOR, &directory));
}

/// A grant from now on closes the past by keys. A record that was written just before stays closed to the new reader,
/// with every key that they ever get, also when the class had no other reader. Existing readers keep their access.
#[test]
fn a_grant_from_now_on_closes_the_past() {
    let classes = mask(&[Class::Laboratory, Class::Imaging]);
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(8), OTHER_DOCTOR.public(), Class::Laboratory.into(), Past::Included).unwrap();
    let old: Vec<_> = classes
        .classes()
        .map(|class| {
            let key = directory.published().current_public(class);
            (class, SealedRecord::seal(&authored(b"old".to_vec()), &context(class), &key).unwrap())
        })
        .collect();
    let opens = |keys: &EpochKeyring, class, sealed: &SealedRecord| {
        let blocks = Blocks::of(sealed);
        OpenedRecord::open(&sealed.manifest, |cid| blocks.get(cid), keys, &context(class)).is_ok()
    };

    directory.grant(account(7), DOCTOR.public(), classes, Past::Closed).unwrap();
    let mut held = vec![fetched(&directory).open_for(&*DOCTOR).unwrap()];
    assert!(classes.classes().all(|class| can_read(&held[0], directory.published(), class)));
    assert_eq!(
        directory.published().current_public(Class::Genetics).epoch(),
        KeyEpoch::FIRST,
        "no other class begins an epoch"
    );
    let present = fetched(&directory).open_for(&*OTHER_DOCTOR).unwrap();
    assert_eq!(present.epochs(Class::Laboratory), Some((epoch(1), epoch(2))));
    assert!(can_read(&present, directory.published(), Class::Laboratory));

    // Later grants from now on, and revocations of others, change nothing.
    directory.grant(account(7), DOCTOR.public(), classes, Past::Closed).unwrap();
    held.push(fetched(&directory).open_for(&*DOCTOR).unwrap());
    directory.revoke(account(8), ClassMask::ALL).unwrap();
    held.push(fetched(&directory).open_for(&*DOCTOR).unwrap());
    for keys in &held {
        assert!(old.iter().all(|(class, sealed)| !opens(keys, *class, sealed)));
    }
    assert!(old.iter().all(|(class, sealed)| opens(&directory.keyring(), *class, sealed)));
}

/// A change that never took effect gives nobody access to the change that did. The patient revokes one reader, and
/// their machine dies before that is settled. Then the patient revokes the other reader from the old directory. This
/// reader had seen the first attempt.
#[test]
fn an_abandoned_change_gives_no_access() {
    let class = Class::Laboratory;
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(7), DOCTOR.public(), class.into(), Past::Included).unwrap();
    directory.grant(account(8), OTHER_DOCTOR.public(), class.into(), Past::Included).unwrap();
    let committed = fetched(&directory);
    directory.revoke(account(7), class.into()).unwrap();
    let seen = fetched(&directory).open_for(&*OTHER_DOCTOR).unwrap();
    assert_eq!(seen.epochs(class), Some((epoch(1), epoch(2))));

    let mut again = PatientDirectory::open(committed, &*PATIENT).unwrap();
    again.revoke(account(8), class.into()).unwrap();
    assert_eq!(again.published().current_public(class).epoch(), epoch(2));
    assert!(!can_read(&seen, again.published(), class));
    assert!(can_read(&fetched(&again).open_for(&*DOCTOR).unwrap(), again.published(), class));
}

/// Readers who were granted access at different times share the directory's segments, and each gets exactly their
/// epochs.
#[test]
fn readers_from_every_epoch() {
    let class = Class::Immunization;
    let mut directory = PatientDirectory::create(&*PATIENT);
    let guest = hybrid(OTHER_DOCTOR.rsa());
    let readers: Vec<_> = (1..=5).map(|number| (number, hybrid(OTHER_DOCTOR.rsa()))).collect();
    for (number, reader) in &readers {
        // Two new epochs each time: the grant's, and the revocation's.
        directory.grant(account(u64::from(*number)), reader.public(), class.into(), Past::Closed).unwrap();
        directory.grant(account(100), guest.public(), class.into(), Past::Included).unwrap();
        directory.revoke(account(100), class.into()).unwrap();
    }
    let published = fetched(&directory);
    for (number, reader) in &readers {
        let keys = published.open_for(reader).unwrap();
        assert_eq!(keys.epochs(class), Some((epoch(2 * number), epoch(11))));
        assert!(can_read(&keys, &published, class));
    }
    let reloaded = PatientDirectory::open(published, &*PATIENT).unwrap();
    assert_eq!(reloaded.keyring(), directory.keyring());
    assert_eq!(reloaded.keyring().epochs(class), Some((epoch(1), epoch(11))));
}

/// The owner needs only the published bytes and their key to continue.
#[test]
fn the_owner_reloads_and_continues() {
    let class = Class::Summary;
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(7), DOCTOR.public(), class.into(), Past::Included).unwrap();
    directory.grant(account(8), OTHER_DOCTOR.public(), class.into(), Past::Included).unwrap();
    directory.revoke(account(8), class.into()).unwrap();
    let before = directory.keyring();

    let mut reloaded = PatientDirectory::open(fetched(&directory), &*PATIENT).unwrap();
    assert_eq!(reloaded.published(), directory.published());
    assert_eq!(reloaded.keyring(), before);
    assert_eq!(reloaded.readers().collect::<Vec<_>>(), [(account(7), class.into())]);
    reloaded.grant(account(9), HOSPITAL.public(), class.into(), Past::Closed).unwrap();
    reloaded.revoke(account(9), class.into()).unwrap();
    let keys = fetched(&reloaded).open_for(&*DOCTOR).unwrap();
    assert_eq!(keys.epochs(class), Some((epoch(1), epoch(4))));
    assert!(can_read(&keys, reloaded.published(), class));
}

/// The owner's key was stolen, and the owner renews the directory. The thief has all of the old directory, but reads
/// nothing new.
#[test]
fn renewing_shuts_out_a_thief_of_the_old_key() {
    let class = Class::Summary;
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(7), DOCTOR.public(), class.into(), Past::Included).unwrap();
    let stolen = PatientDirectory::open(fetched(&directory), &*PATIENT).unwrap();
    directory.renew(&*HOSPITAL).unwrap();
    let published = fetched(&directory);
    assert!(PatientDirectory::open(published.clone(), &*PATIENT).is_err());
    assert!(!can_read(&stolen.keyring(), &published, class));
    let mut ahead = stolen.clone();
    ahead.revoke(account(7), class.into()).unwrap();
    assert_eq!(ahead.published().current_public(class).epoch(), published.current_public(class).epoch());
    assert!(!can_read(&ahead.keyring(), &published, class));

    let mut reloaded = PatientDirectory::open(published, &*HOSPITAL).unwrap();
    let old =
        SealedRecord::seal(&authored(vec![1]), &context(class), &stolen.published().current_public(class)).unwrap();
    for keys in [reloaded.keyring(), fetched(&reloaded).open_for(&*DOCTOR).unwrap()] {
        let blocks = Blocks::of(&old);
        assert!(OpenedRecord::open(&old.manifest, |cid| blocks.get(cid), &keys, &context(class)).is_ok());
        assert!(can_read(&keys, reloaded.published(), class));
    }
    reloaded.revoke(account(7), class.into()).unwrap();
    assert_eq!(reloaded.keyring().epochs(class), Some((epoch(1), epoch(3))));
    assert!(can_read(&reloaded.keyring(), reloaded.published(), class));
}

/// An attacker alters a byte of the root, and corrects its CID. Either the parser refuses it, or everyone whose section it concerns.
#[test]
fn altered_roots_do_not_open() {
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(8), OTHER_DOCTOR.public(), Class::Genetics.into(), Past::Included).unwrap();
    let root = directory.published().root();
    let bytes = root.to_bytes();
    let blocks: Vec<_> = directory.published().blocks().map(|(_, block)| block.to_vec()).collect();
    let blocks = &blocks[..blocks.len() - 1];
    let mut parsed = 0;
    for position in (0..bytes.len()).step_by(61) {
        let mut altered = bytes.to_vec();
        altered[position] ^= 1;
        let Ok(read) = DirectoryRoot::from_bytes(&altered) else { continue };
        assert_ne!(read.cid(), root.cid());
        // A link to another block.
        let Ok(read) = KeyDirectory::assemble(read, blocks.iter().cloned()) else { continue };
        parsed += 1;
        let owner = PatientDirectory::open(read.clone(), &*PATIENT).map(|_| ());
        assert_eq!(owner, Err(OwnDirectoryError::Decryption(DecryptionFailed)), "{position}");
        if let Ok(keys) = read.open_for(&*OTHER_DOCTOR) {
            // Only the owner's section was altered.
            assert_eq!(reads(&keys), Class::Genetics.into());
            let classes_are_the_same =
                Class::ALL.iter().all(|class| read.current_public(*class) == root.current_public(*class));
            assert!(classes_are_the_same, "{position}");
        }
    }
    assert!(parsed > bytes.len() / 61 / 2, "most bytes are keys and ciphertext");
    for length in (0..bytes.len()).step_by(97) {
        assert!(DirectoryRoot::from_bytes(&bytes[..length]).is_err());
    }
    assert!(DirectoryRoot::from_bytes(&vec![0; MAX_BLOCK_BYTES + 1]).is_err());
}

/// A published directory contains no part of a reader's key or fingerprint. All sections of readers with hybrid keys have the same size.
#[test]
fn readers_are_not_recognisable() {
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(7), DOCTOR.public(), ClassMask::ALL, Past::Included).unwrap();
    let all = |directory: &PatientDirectory| -> Vec<u8> {
        directory.published().blocks().flat_map(|(_, block)| block.to_vec()).collect()
    };
    let before = all(&directory);
    let key = DOCTOR.public();
    for known in [
        key.rsa().to_der(),
        key.rsa().fingerprint().to_vec(),
        key.rsa().modulus(),
        key.xwing().unwrap().as_bytes().to_vec(),
        key.kem_hash().as_bytes().to_vec(),
    ] {
        assert!(!before.windows(16).any(|window| known.windows(16).any(|part| part == window)));
    }
    // One class or all sixteen, RSA of 3072 or of 4096 bits: sections are of one size. They are in the first block.
    let section_block = |directory: &PatientDirectory| directory.published().blocks().next().unwrap().1.len();
    let one = section_block(&directory);
    directory.grant(account(9), HOSPITAL.public(), Class::Summary.into(), Past::Included).unwrap();
    assert_eq!(section_block(&directory), 2 * one - 1, "the list's head is one byte");
    directory.revoke(account(7), ClassMask::ALL).unwrap();
    assert_eq!(section_block(&directory), one);
}

/// The same directory serves readers with hybrid keys and with RSA alone. Its owner may have either.
#[test]
fn both_algorithms() {
    let reader = hybrid(OTHER_DOCTOR.rsa());
    for owner in [&*PATIENT, &*OTHER_DOCTOR] {
        let mut directory = PatientDirectory::create(owner);
        directory.grant(account(7), reader.public(), Class::Document.into(), Past::Included).unwrap();
        directory.grant(account(8), OTHER_DOCTOR.public(), Class::Imaging.into(), Past::Included).unwrap();
        let published = fetched(&directory);
        assert_eq!(reads(&published.open_for(&reader).unwrap()), Class::Document.into());
        // The same RSA key alone opens its own section only.
        assert_eq!(reads(&published.open_for(&*OTHER_DOCTOR).unwrap()), Class::Imaging.into());
        assert_eq!(PatientDirectory::open(published, owner).unwrap().readers().count(), 2);
    }
}

/// An epoch of a class takes less than 40 bytes, for any number of readers. When a segment block is full, grants are refused and the
/// directory stays unchanged, but revoking still works.
#[test]
fn size_is_bounded_and_revocation_keeps_working() {
    let reader = hybrid(OTHER_DOCTOR.rsa());
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(1), DOCTOR.public(), ClassMask::ALL, Past::Included).unwrap();
    directory.grant(account(2), reader.public(), ClassMask::ALL, Past::Closed).unwrap();
    let size = directory.published().size();
    for _ in 0..52 {
        directory.revoke(account(2), ClassMask::ALL).unwrap();
        directory.grant(account(2), reader.public(), ClassMask::ALL, Past::Closed).unwrap();
    }
    assert!(directory.published().size() < size + 2 * 52 * 16 * 40);
    let keys = fetched(&directory).open_for(&*DOCTOR).unwrap();
    assert_eq!(keys.epochs(Class::Summary), Some((epoch(1), epoch(2 * 52 + 2))));
    assert!(can_read(&keys, directory.published(), Class::Summary));
}

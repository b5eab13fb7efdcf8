//! Keys that a delegate hands on: they open for their reader, with the directory that they were made for, and for the classes of the grant.

use emr_core::{Class, ClassMask};
use emr_crypto::{
    DecryptionFailed, DelegatedKeys, EncryptionSecret, HandOnError, KeyDirectory, KeyEpoch, MAX_DELEGATED_KEYS_BYTES,
    Past, PatientDirectory,
};

use crate::fixtures::{DOCTOR, HOSPITAL, OTHER_DOCTOR, PATIENT, account, hybrid};

const DELEGATE: u64 = 7;
const READER: u64 = 8;

fn mask(classes: &[Class]) -> ClassMask {
    classes.iter().copied().collect()
}

/// A directory in which the delegate reads laboratory from the first epoch on, and imaging from the second.
fn directory() -> PatientDirectory {
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(DELEGATE), DOCTOR.public(), Class::Laboratory.into(), Past::Included).unwrap();
    directory.grant(account(DELEGATE), DOCTOR.public(), Class::Imaging.into(), Past::Closed).unwrap();
    directory
}

fn handed_on(directory: &KeyDirectory, classes: ClassMask) -> Result<DelegatedKeys, HandOnError> {
    let links = directory.links_of(&*DOCTOR).unwrap();
    DelegatedKeys::hand_on(&links, directory, classes, &OTHER_DOCTOR.public())
}

#[test]
fn the_reader_gets_what_the_delegate_has_and_no_more() {
    let directory = directory();
    let published = directory.published();
    let both = mask(&[Class::Laboratory, Class::Imaging]);
    let keys = DelegatedKeys::from_bytes(handed_on(published, both).unwrap().to_bytes()).unwrap();
    let ring = keys.open(&*OTHER_DOCTOR, published, both).unwrap();
    assert_eq!(ring, published.open_for(&*DOCTOR).unwrap());
    let second = KeyEpoch::new(2).unwrap();
    assert_eq!(ring.epochs(Class::Imaging), Some((second, second)), "the delegate cannot read the first epoch");

    // What the grant does not cover is not opened, even if the delegate handed it on.
    let narrow = keys.open(&*OTHER_DOCTOR, published, Class::Laboratory.into()).unwrap();
    assert!(narrow.epochs(Class::Imaging).is_none() && narrow.epochs(Class::Laboratory).is_some());
    assert_eq!(
        handed_on(published, mask(&[Class::Laboratory, Class::Genetics])),
        Err(HandOnError::NoKeys(Class::Genetics))
    );
    assert_eq!(handed_on(published, ClassMask::default()), Err(HandOnError::NoClass));
}

#[test]
fn they_open_for_their_reader_and_with_their_directory_only() {
    let mut directory = directory();
    let before = directory.published().clone();
    let keys = handed_on(&before, Class::Laboratory.into()).unwrap();
    let lab = Class::Laboratory.into();
    for stranger in [&*HOSPITAL, &*DOCTOR, &*PATIENT] {
        assert_eq!(keys.open(stranger, &before, lab), Err(DecryptionFailed));
    }
    // Another version of the directory has other segments, also if its epochs are the same.
    directory.grant(account(9), HOSPITAL.public(), Class::Laboratory.into(), Past::Included).unwrap();
    assert_eq!(keys.open(&*OTHER_DOCTOR, directory.published(), lab), Err(DecryptionFailed));
    directory.revoke(account(9), Class::Laboratory.into()).unwrap();
    assert_eq!(keys.open(&*OTHER_DOCTOR, directory.published(), lab), Err(DecryptionFailed));
    assert_eq!(keys.open(&*OTHER_DOCTOR, PatientDirectory::create(&*PATIENT).published(), lab), Err(DecryptionFailed));
    assert!(keys.open(&*OTHER_DOCTOR, &before, lab).is_ok());
}

/// The patient learns the reader's key, also after new epochs, and adds the reader from the delegate's first epoch on.
#[test]
fn the_patient_adds_the_reader_to_the_directory() {
    let mut directory = directory();
    let both = mask(&[Class::Laboratory, Class::Imaging]);
    let keys = handed_on(directory.published(), both).unwrap();
    directory.revoke(account(DELEGATE), Class::Laboratory.into()).unwrap();
    let key = keys.reader_key(&directory.keyring(), both).unwrap();
    assert_eq!(key, OTHER_DOCTOR.public());
    let strangers = PatientDirectory::create(&*PATIENT);
    assert_eq!(keys.reader_key(&strangers.keyring(), both), Err(DecryptionFailed));

    directory.grant_as(account(DELEGATE), account(READER), key, both).unwrap();
    let ring = directory.published().open_for(&*OTHER_DOCTOR).unwrap();
    let second = KeyEpoch::new(2).unwrap();
    assert_eq!(ring.epochs(Class::Imaging), Some((second, second)), "as the delegate");
    assert_eq!(
        ring.epochs(Class::Laboratory),
        Some((second, second)),
        "the delegate reads it no more: the current epoch"
    );
    assert_eq!(directory.published().current_public(Class::Imaging).epoch(), second, "no epoch begins");
}

#[test]
fn other_bytes_are_refused() {
    let directory = directory();
    let keys = handed_on(directory.published(), Class::Laboratory.into()).unwrap();
    let bytes = keys.to_bytes();
    for position in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[position] ^= 1;
        let lab = Class::Laboratory.into();
        let opened = DelegatedKeys::from_bytes(&changed).ok();
        let opened = opened.and_then(|keys| {
            keys.open(&*OTHER_DOCTOR, directory.published(), lab).ok()?;
            keys.reader_key(&directory.keyring(), lab).ok()
        });
        assert!(opened.is_none(), "byte {position}");
    }
    assert!(DelegatedKeys::from_bytes(&[bytes, &[0]].concat()).is_err());
    assert!(DelegatedKeys::from_bytes(directory.published().root().to_bytes()).is_err());
    assert!(bytes.len() < MAX_DELEGATED_KEYS_BYTES);
}

/// The block has one size for all readers with hybrid keys, and the part for the patient one size for all readers.
#[test]
fn sizes_do_not_show_the_rsa_key() {
    let directory = directory();
    let links = directory.published().links_of(&*DOCTOR).unwrap();
    let size = |reader: &EncryptionSecret| {
        let classes = mask(&[Class::Laboratory, Class::Imaging]);
        DelegatedKeys::hand_on(&links, directory.published(), classes, &reader.public()).unwrap().to_bytes().len()
    };
    assert_eq!(size(&HOSPITAL), size(&DOCTOR));
    assert_eq!(size(&hybrid(OTHER_DOCTOR.rsa())), size(&DOCTOR));
    assert!(size(&DOCTOR) <= MAX_DELEGATED_KEYS_BYTES, "{}", size(&DOCTOR));
    // RSA alone: the wrap is shorter, and the name of the algorithm too.
    assert_eq!(size(&DOCTOR) - size(&OTHER_DOCTOR), 1696 - 256 + 7);
    let key = handed_on(directory.published(), Class::Laboratory.into()).unwrap();
    let key = key.reader_key(&directory.keyring(), Class::Laboratory.into()).unwrap();
    assert!(key.committed(None).is_of(&OTHER_DOCTOR.public()));
}

/// A hybrid reader, and a delegate with RSA alone.
#[test]
fn both_kinds_of_keys_hand_on_and_receive() {
    let reader = hybrid(OTHER_DOCTOR.rsa());
    let mut directory = PatientDirectory::create(&*PATIENT);
    directory.grant(account(DELEGATE), OTHER_DOCTOR.public(), Class::Imaging.into(), Past::Included).unwrap();
    let published = directory.published();
    let links = published.links_of(&*OTHER_DOCTOR).unwrap();
    let keys = DelegatedKeys::hand_on(&links, published, Class::Imaging.into(), &reader.public()).unwrap();
    let ring = keys.open(&reader, published, Class::Imaging.into()).unwrap();
    assert_eq!(ring, published.open_for(&*OTHER_DOCTOR).unwrap());
    // The same RSA key without the X-Wing key opens nothing.
    assert_eq!(keys.open(&*OTHER_DOCTOR, published, Class::Imaging.into()), Err(DecryptionFailed));
    let key = keys.reader_key(&directory.keyring(), Class::Imaging.into()).unwrap();
    assert_eq!(key, reader.public());
    assert_ne!(key, OTHER_DOCTOR.public());
}

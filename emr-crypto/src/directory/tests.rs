//! Directories that a dishonest owner made.

use super::*;
use crate::{EncryptionSecret, KeyProfile, RsaSecret};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn reader() -> Outcome<EncryptionSecret> {
    let rsa = RsaSecret::from_pem(include_str!("../../tests/fixtures/doctor-2048.pem"))?;
    Ok(EncryptionSecret::with_rsa(rsa, KeyProfile::Hybrid))
}

/// A directory with these parts, as a reader gets it.
fn directory(
    current: &[EpochPublicKey; 16],
    segments: Vec<ByteBuf>,
    sections: Vec<Section>,
    owner: &EncryptionSecret,
) -> Outcome<KeyDirectory> {
    let (firsts, readers, owner) = (Vec::new(), Vec::new(), &owner.public());
    fetched(&KeyDirectory::new(NewDirectory { current: current.clone(), segments, sections, firsts, readers, owner }))
}

fn fetched(directory: &KeyDirectory) -> Outcome<KeyDirectory> {
    let root = DirectoryRoot::from_bytes(directory.root().to_bytes())?;
    Ok(KeyDirectory::assemble(root, directory.blocks.clone())?)
}

/// A dishonest owner can put anything into segments. A reader accepts only consecutive epochs that end with the
/// current key.
#[test]
fn contrived_segments_are_refused() -> Outcome {
    let epoch = |number| KeyEpoch::new(number).ok_or("0");
    let secrets: Vec<_> = (0..3).map(|_| EpochSecret::generate()).collect();
    let current = Class::ALL.map(|class| secrets[2].public(class, KeyEpoch::FIRST.after(2).unwrap_or(KeyEpoch::FIRST)));
    let aad = classes_digest(&current);
    let reader = reader()?;
    let open = |runs: &[(u32, std::ops::Range<usize>)]| -> Outcome<EpochKeyring> {
        let mut segments = Vec::new();
        let mut next = None;
        for (first, range) in runs.iter().rev() {
            let (key, sealed) = Segment::seal(epoch(*first)?, &secrets[range.clone()], next, &aad);
            next = Some((u32::try_from(segments.len())?, key));
            segments.push(sealed);
        }
        let part: ReaderPart = next.into_iter().map(|link| (Class::Imaging.code(), link)).collect();
        let section = Section::seal(SectionKind::Reader, &reader.public(), &aad, &part);
        Ok(directory(&current, segments, vec![section], &reader)?.open_for(&reader)?)
    };
    for good in [&[(1, 0..3)][..], &[(1, 0..1), (2, 1..3)], &[(2, 1..2), (3, 2..3)], &[(3, 2..3)]] {
        let keys = open(good)?;
        assert_eq!(keys.epochs(Class::Imaging), Some((epoch(good[0].0)?, epoch(3)?)));
    }
    for bad in [
        &[(1, 0..2)][..],        // ends before the current epoch
        &[(2, 0..3)],            // and after it
        &[(1, 0..1), (3, 2..3)], // has a gap
        &[(1, 0..2), (2, 1..3)], // overlaps
        &[(3, 2..3), (1, 0..3)], // goes back
        &[(1, 0..0), (1, 0..3)], // does not go on
        &[(3, 1..2)],            // another key than the published one
        &[(u32::MAX, 0..3)],     // past the last number
    ] {
        assert!(open(bad).is_err(), "{bad:?}");
    }
    Ok(())
}

/// An owner who names a class twice makes a reader walk its segments twice. A section holds 20,000 links, and a directory 4,000 segments.
#[test]
fn a_class_is_named_once() -> Outcome {
    let secret = EpochSecret::generate();
    let current = Class::ALL.map(|class| secret.public(class, KeyEpoch::FIRST));
    let aad = classes_digest(&current);
    let reader = reader()?;
    let (key, segment) = Segment::seal(KeyEpoch::FIRST, std::slice::from_ref(&secret), None, &aad);
    for (codes, opens) in [(&[3_u8, 5][..], true), (&[3, 3], false), (&[3, 5, 3], false), (&[16], false)] {
        let part: ReaderPart = codes.iter().map(|code| (*code, (0, key.clone()))).collect();
        let section = Section::seal(SectionKind::Reader, &reader.public(), &aad, &part);
        let directory = directory(&current, vec![segment.clone()], vec![section], &reader)?;
        assert_eq!(directory.open_for(&reader).is_ok(), opens, "{codes:?}");
    }
    Ok(())
}

/// A section with an unknown algorithm does not stop the other readers.
#[test]
fn a_section_of_an_unknown_algorithm_is_skipped() -> Outcome {
    let secret = EpochSecret::generate();
    let current = Class::ALL.map(|class| secret.public(class, KeyEpoch::FIRST));
    let aad = classes_digest(&current);
    let reader = reader()?;
    let (key, segment) = Segment::seal(KeyEpoch::FIRST, std::slice::from_ref(&secret), None, &aad);
    let part: ReaderPart = vec![(Class::Imaging.code(), (0, key))];
    let known = Section::seal(SectionKind::Reader, &reader.public(), &aad, &part);
    let mut unknown = known.clone();
    unknown.algorithm = "HPKE-Next".to_owned();
    let directory = |sections: &[&Section]| {
        let sections = sections.iter().map(|section| (*section).clone()).collect();
        directory(&current, vec![segment.clone()], sections, &reader)
    };
    assert!(directory(&[&unknown, &known])?.open_for(&reader)?.epochs(Class::Imaging).is_some());
    assert_eq!(directory(&[&unknown])?.open_for(&reader).err(), Some(DecryptionFailed));
    Ok(())
}

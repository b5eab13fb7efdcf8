//! Directories that a dishonest owner made.

use std::sync::Arc;

use emr_core::cid::MAX_BLOCK_BYTES;
use emr_core::{AccountIndex, ClassMask};

use super::*;
use crate::{EncryptionSecret, KeyProfile, Past, PatientDirectory, RsaSecret};

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

/// A directory of 130 readers of one class, of whom the last is `reader`, and with 17 epochs of every class: three section blocks and two
/// segment blocks.
fn large(owner: &EncryptionSecret, reader: &EncryptionSecret) -> Outcome<PatientDirectory> {
    let mut directory = PatientDirectory::create(owner);
    let other = owner.public();
    for number in 0..16 {
        directory.grant(AccountIndex::new(1000 + number)?, other.clone(), ClassMask::ALL, Past::Closed)?;
    }
    let key = |number| if number == 114 { reader.public() } else { other.clone() };
    let readers = (1..=114).map(|number| {
        Ok::<_, Box<dyn std::error::Error>>((
            AccountIndex::new(number)?,
            Arc::new(key(number)) as Arc<dyn KeyWrap>,
            Class::Imaging.into(),
        ))
    });
    directory.grant_all(readers.collect::<Result<Vec<_>, _>>()?, Past::Included)?;
    Ok(directory)
}

/// The same directory with other links and blocks. An attacker can make it, because only the owner's section covers the links.
fn forged(directory: &KeyDirectory, links: Links, blocks: Vec<Vec<u8>>) -> Result<KeyDirectory, DirectoryError> {
    let root = DirectoryRoot::new(directory.root.current(), links, directory.root.owner.clone());
    KeyDirectory::assemble(DirectoryRoot::from_bytes(root.to_bytes())?, blocks)
}

/// Encodes these sections in blocks of the given sizes, and puts them in the place of a directory's.
fn with_sections(
    directory: &KeyDirectory,
    sections: &[Section],
    sizes: &[usize],
) -> Result<KeyDirectory, DirectoryError> {
    let (mut blocks, mut links, mut rest) = (Vec::new(), directory.root.links.clone(), sections);
    links.sections.clear();
    for size in sizes {
        let (block, others) = rest.split_at(*size);
        links.sections.extend(if block.is_empty() {
            blocks.push(vec![0x80]);
            vec![cid_of(Codec::DagCbor, &[0x80])]
        } else {
            cut(block, *size, &mut blocks)
        });
        rest = others;
    }
    blocks.extend_from_slice(&directory.blocks[directory.root.links.sections.len()..]);
    forged(directory, links, blocks)
}

/// A node that lies about blocks is noticed before anything is decoded.
#[test]
fn blocks_are_those_that_the_root_links() -> Outcome {
    let (owner, reader) = (reader()?, reader()?);
    let (directory, other) = (large(&owner, &reader)?, large(&owner, &reader)?);
    let (directory, other) = (directory.published(), other.published());
    let root = || directory.root.clone();
    let good = &directory.blocks;
    let links = &directory.root.links;
    assert_eq!((links.sections.len(), links.segments.len(), links.readers.len()), (3, 2, 3));
    assert_eq!(KeyDirectory::assemble(root(), good.clone())?, *directory);

    for position in 0..good.len() {
        let mut blocks = good.clone();
        blocks[position].clone_from(&other.blocks[position]);
        assert!(matches!(KeyDirectory::assemble(root(), blocks), Err(DirectoryError::WrongBlock(_))), "another's");
        let mut blocks = good.clone();
        blocks[position].pop();
        assert!(matches!(KeyDirectory::assemble(root(), blocks), Err(DirectoryError::WrongBlock(_))), "cut short");
        let mut blocks = good.clone();
        blocks.swap(position, (position + 1) % good.len());
        assert!(matches!(KeyDirectory::assemble(root(), blocks), Err(DirectoryError::WrongBlock(_))), "another order");
        let mut blocks = good.clone();
        blocks.remove(position);
        let expected = KeyDirectory::assemble(root(), blocks);
        let is_last = position + 1 == good.len();
        assert!(matches!(
            (is_last, expected),
            (true, Err(DirectoryError::BlockCount)) | (false, Err(DirectoryError::WrongBlock(_)))
        ));
        let mut blocks = good.clone();
        blocks[position] = vec![0; MAX_BLOCK_BYTES + 1];
        assert!(matches!(KeyDirectory::assemble(root(), blocks), Err(DirectoryError::WrongBlock(_))), "too large");
    }
    let extra = [&good[..], &[good[0].clone()]].concat();
    assert_eq!(KeyDirectory::assemble(root(), extra), Err(DirectoryError::BlockCount));
    assert_eq!(KeyDirectory::assemble(root(), Vec::new()), Err(DirectoryError::BlockCount));
    // A source that never ends is left after one block too many; one with huge blocks after the first.
    assert_eq!(
        KeyDirectory::assemble(root(), good.iter().cloned().chain(std::iter::repeat_with(Vec::new))),
        Err(DirectoryError::BlockCount)
    );
    let huge = std::iter::repeat_with(|| vec![0; MAX_DIRECTORY_BYTES]);
    assert_eq!(KeyDirectory::assemble(root(), huge), Err(DirectoryError::TooLarge));
    Ok(())
}

/// Somebody rearranges sections and corrects all links. The directory has one form, and where another arrangement has this form, the owner
/// notices, and readers get what the owner gave them or nothing.
#[test]
fn rearranged_sections_are_refused() -> Outcome {
    let (owner, reader) = (reader()?, reader()?);
    let directory = large(&owner, &reader)?;
    let other = large(&owner, &reader)?;
    let directory = directory.published();
    let sections = &directory.sections;
    assert_eq!(with_sections(directory, sections, &[64, 64, 2]).as_ref(), Ok(directory));

    // Blocks in the middle that are not full, blocks that are more than full, and an empty one.
    for sizes in [&[63, 64, 3][..], &[64, 63, 3], &[65, 65], &[64, 66], &[64, 64, 1, 1], &[64, 64, 2, 0]] {
        assert_eq!(with_sections(directory, sections, sizes), Err(DirectoryError::Malformed), "{sizes:?}");
    }
    let mut reordered = sections.clone();
    reordered.swap(3, 100);
    let mut doubled = sections.clone();
    doubled.insert(7, doubled[7].clone());
    let blocks_swapped = [&sections[64..128], &sections[..64], &sections[128..]].concat();
    for (sections, sizes) in [(reordered, [64, 64, 2]), (doubled, [64, 64, 3]), (blocks_swapped, [64, 64, 2])] {
        assert_eq!(with_sections(directory, &sections, &sizes), Err(DirectoryError::Malformed));
    }

    // The right form, but a section is missing, or is another directory's. The reader's own one stays as it is.
    let own = |section: &Section| section.unwrap_key(SectionKind::Reader, &reader).is_ok();
    let expected = directory.open_for(&reader)?;
    let missing = sections.iter().position(|section| !own(section)).ok_or("others")?;
    let mut shorter = sections.clone();
    shorter.remove(missing);
    let foreign = other.published().sections.iter().find(|section| !own(section)).ok_or("others")?.clone();
    let mut with_foreign = sections.clone();
    with_foreign[missing] = foreign;
    with_foreign.sort();
    for (sections, sizes) in [(shorter, [64, 64, 1]), (with_foreign, [64, 64, 2])] {
        let changed = with_sections(directory, &sections, &sizes)?;
        assert_ne!(changed.cid(), directory.cid());
        assert_eq!(changed.open_for(&reader)?, expected);
        assert!(PatientDirectory::open(changed, &owner).is_err());
    }
    // The reader's section of another directory does not open with this one's public keys.
    let replaced =
        sections.iter().filter(|section| !own(section)).chain(other.published().sections.iter().filter(|s| own(s)));
    let mut replaced: Vec<_> = replaced.cloned().collect();
    replaced.sort();
    assert_eq!(with_sections(directory, &replaced, &[64, 64, 2])?.open_for(&reader), Err(DecryptionFailed));
    Ok(())
}

/// Changes links, and their blocks.
type Change<'a> = &'a dyn Fn(&mut Vec<Cid>, &mut Vec<Vec<u8>>);

/// Links are of their kind, there once, and not more than the limits allow. Whole blocks that are swapped, left out or taken from another
/// directory are noticed by the owner, and segments by the readers too.
#[test]
fn rearranged_links_are_refused() -> Outcome {
    let (owner, reader) = (reader()?, reader()?);
    let (directory, other) = (large(&owner, &reader)?, large(&owner, &reader)?);
    let (directory, other) = (directory.published(), other.published());
    let links = || directory.root.links.clone();
    let refused = |change: &dyn Fn(&mut Links)| {
        let mut links = links();
        change(&mut links);
        let root = DirectoryRoot::new(directory.root.current(), links, directory.root.owner.clone());
        DirectoryRoot::from_bytes(root.to_bytes()).is_err()
    };
    assert!(!refused(&|_| {}));
    let foreign = |kind: Codec, number: usize| cid_of(kind, &number.to_be_bytes());
    let raw = foreign(Codec::Raw, 0);
    let changes: [&dyn Fn(&mut Links); 9] = [
        &|links| links.sections.push(links.sections[0]),
        &|links| links.segments.push(links.segments[0]),
        &|links| links.readers.push(links.readers[2]),
        &|links| links.segments.push(links.sections[0]),
        &|links| links.sections[1] = raw,
        &|links| links.segments[1] = raw,
        &|links| links.readers[1] = raw,
        &|links| links.sections = (0..65).map(|number| foreign(Codec::DagCbor, number)).collect(),
        &|links| links.segments = (0..258).map(|number| foreign(Codec::DagCbor, number)).collect(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(refused(change), "{number}");
    }
    assert!(!refused(&|links| links.segments = (0..257).map(|number| foreign(Codec::DagCbor, number)).collect()));

    // Blocks of the list of readers, and of segments (sections: the test above).
    let expected = directory.open_for(&reader)?;
    let attempt = |change: Change<'_>, of_readers: bool| {
        let mut links = links();
        let (from, to) = if of_readers { (5, 8) } else { (3, 5) };
        let mut blocks = directory.blocks[from..to].to_vec();
        change(if of_readers { &mut links.readers } else { &mut links.segments }, &mut blocks);
        let all = [&directory.blocks[..from], &blocks, &directory.blocks[to..]].concat();
        forged(directory, links, all)
    };
    let swap = |links: &mut Vec<Cid>, blocks: &mut Vec<Vec<u8>>| {
        links.swap(0, 1);
        blocks.swap(0, 1);
    };
    let drop_last = |links: &mut Vec<Cid>, blocks: &mut Vec<Vec<u8>>| {
        links.pop();
        blocks.pop();
    };
    let readers_of_other = |links: &mut Vec<Cid>, blocks: &mut Vec<Vec<u8>>| {
        links[1] = other.root.links.readers[1];
        blocks[1].clone_from(&other.blocks[6]);
    };
    for change in [&swap as Change<'_>, &drop_last, &readers_of_other] {
        let changed = attempt(change, true)?;
        assert_eq!(changed.open_for(&reader)?, expected, "the list is the owner's");
        assert!(PatientDirectory::open(changed, &owner).is_err());
    }
    let segments_of_other = |links: &mut Vec<Cid>, blocks: &mut Vec<Vec<u8>>| {
        links.clone_from(&other.root.links.segments);
        *blocks = other.blocks[3..5].to_vec();
    };
    assert_eq!(attempt(&swap, false), Err(DirectoryError::Malformed), "the first is not full");
    let changed = attempt(&segments_of_other, false)?;
    assert_eq!(changed.open_for(&reader), Err(DecryptionFailed));
    assert!(PatientDirectory::open(changed, &owner).is_err());
    Ok(())
}

/// A block with a byte after its list, or with a longer form of a length, is refused, although its CID is right.
#[test]
fn blocks_have_one_encoding() -> Outcome {
    let owner = reader()?;
    let mut directory = PatientDirectory::create(&owner);
    directory.grant(AccountIndex::new(1)?, owner.public(), ClassMask::ALL, Past::Included)?;
    let directory = directory.published();
    let block = &directory.blocks[0];
    assert_eq!(block[0], 0x81, "a list of one");
    for changed in
        [[&block[..], &[0]].concat(), [&[0x98, 1][..], &block[1..]].concat(), vec![0x80], vec![0xa0], Vec::new()]
    {
        let mut links = directory.root.links.clone();
        links.sections = vec![cid_of(Codec::DagCbor, &changed)];
        let blocks = [&[changed][..], &directory.blocks[1..]].concat();
        assert_eq!(forged(directory, links, blocks), Err(DirectoryError::Malformed));
    }
    Ok(())
}

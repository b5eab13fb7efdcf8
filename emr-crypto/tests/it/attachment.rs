//! Attachments that are sealed again with a kept key, and parts of attachments.

use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::LazyLock;

use cid::Cid;
use emr_crypto::{
    AttachmentKey, AttachmentSealer, AttachmentSize, CHUNK_BYTES, ContentKey, DecryptionFailed, Manifest, OpenError,
    SealError,
};
use proptest::prelude::*;

use crate::fixtures::{Blocks, DOCTOR, NoSuchBlock, PATIENT};

const CHUNK: u64 = CHUNK_BYTES as u64;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|byte| (byte % 249) as u8 ^ (byte / CHUNK_BYTES) as u8).collect()
}

fn sealed(bytes: &[u8]) -> (AttachmentKey, Blocks) {
    let mut blocks = Blocks::default();
    let put = |cid, block| {
        blocks.0.insert(cid, block);
        Ok::<_, Infallible>(())
    };
    (AttachmentKey::seal(bytes, put).unwrap(), blocks)
}

fn links(attachment: &AttachmentKey, blocks: &Blocks) -> Vec<Cid> {
    Manifest::from_bytes(&blocks.get(&attachment.manifest).unwrap()).unwrap().links().to_vec()
}

fn part(attachment: &AttachmentKey, blocks: &Blocks, range: Range<u64>) -> Result<Vec<u8>, OpenError<NoSuchBlock>> {
    let mut output = Vec::new();
    attachment.open_range(range, |cid| blocks.get(cid), &mut output).map(|()| output)
}

/// Four chunks and a bit, which padding makes five.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| content(4 * CHUNK_BYTES + 99));
static SEALED: LazyLock<(AttachmentKey, Blocks)> = LazyLock::new(|| sealed(&CONTENT));

/// The size that is announced is that of the blocks, but for two bytes.
#[test]
fn the_size_is_known_before_sealing() {
    for length in [0, 1, 4096, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES + 99, 30 * CHUNK_BYTES] {
        let (attachment, blocks) = sealed(&content(length));
        let bytes: usize = blocks.0.values().map(Vec::len).sum();
        let AttachmentSize { chunks, bytes: announced } = AttachmentSize::of(length as u64);
        assert_eq!(chunks, links(&attachment, &blocks).len() as u64, "{length}");
        assert!((bytes as u64..=bytes as u64 + 2).contains(&announced), "{length}: {announced}, not {bytes}");
    }
}

#[test]
fn every_edge_of_a_range_is_that_of_the_content() {
    let (attachment, blocks) = &*SEALED;
    let end = CONTENT.len() as u64;
    let edges = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1, 4 * CHUNK, 4 * CHUNK + 1, end - 1, end];
    for from in edges {
        for to in edges.into_iter().filter(|to| from <= *to) {
            let expected = &CONTENT[from as usize..to as usize];
            assert!(part(attachment, blocks, from..to).unwrap() == expected, "{from}..{to}");
        }
    }
    #[expect(clippy::reversed_empty_ranges, reason = "it must be refused")]
    for outside in [0..end + 1, end..end + 1, end + 1..end + 1, u64::MAX - 1..u64::MAX, 5..4] {
        let refused = part(attachment, blocks, outside.clone());
        assert!(matches!(refused, Err(OpenError::Range { length }) if length == end), "{outside:?}");
    }
}

/// A part costs the manifest and the chunks that hold it.
#[test]
fn only_the_chunks_of_a_range_are_fetched() {
    let (attachment, blocks) = &*SEALED;
    let links = links(attachment, blocks);
    for (range, chunks) in [(0..1, 0..1), (CHUNK - 1..CHUNK + 1, 0..2), (2 * CHUNK..3 * CHUNK, 2..3), (7..7, 0..0)] {
        let fetched = RefCell::new(Vec::new());
        let fetch = |cid: &Cid| {
            fetched.borrow_mut().push(*cid);
            blocks.get(cid)
        };
        attachment.open_range(range.clone(), fetch, std::io::sink()).unwrap();
        assert_eq!(fetched.into_inner(), [&[attachment.manifest], &links[chunks]].concat(), "{range:?}");
    }
}

/// A node, or a writer who made the manifest, puts another chunk in the place of one that is asked for. Each lie has a manifest of its own, as if the
/// record named it.
#[test]
fn a_part_opens_from_its_own_chunks_only() {
    let (attachment, blocks) = &*SEALED;
    let mut blocks = blocks.clone();
    let (other, of_other) = sealed(&CONTENT);
    blocks.0.extend(of_other.0.clone());
    let (good, foreign) = (links(attachment, &blocks), links(&other, &blocks));
    let last = good.len() - 1;
    let changed = |change: &dyn Fn(&mut Vec<Cid>)| {
        let mut links = good.clone();
        change(&mut links);
        links
    };
    let lies: [(&str, Vec<Cid>); 7] = [
        ("moved", changed(&|links| links.swap(1, 2))),
        ("doubled", changed(&|links| links[1] = links[0])),
        ("of another attachment", changed(&|links| links[1] = foreign[1])),
        ("the last one in the middle", changed(&|links| links[1] = links[last])),
        ("left out", changed(&|links| links.retain(|link| *link != good[1]))),
        ("one more", changed(&|links| links.insert(1, links[1]))),
        ("cut off", changed(&|links| links.truncate(3))),
    ];
    for (what, links) in lies {
        let manifest = blocks.put_manifest(&links);
        for length in [attachment.length, (links.len() as u64 * CHUNK).min(attachment.length)] {
            let lie = AttachmentKey { manifest, length, ..attachment.clone() };
            let opened = part(&lie, &blocks, CHUNK..CHUNK + 10);
            let is_refused = matches!(opened, Err(OpenError::Decryption(DecryptionFailed)));
            // The chunks before the cut are what they were. What is cut off shows in the length, which the author signed.
            assert!(is_refused || what == "cut off" && length != attachment.length, "{what}, {length}");
        }
        let lie = AttachmentKey { manifest, ..attachment.clone() };
        assert!(lie.open(|cid| blocks.get(cid), std::io::sink()).is_err(), "{what}");
    }
    // The chunk that was the last one of a shorter file is not one in the middle.
    let truncated =
        AttachmentKey { manifest: blocks.put_manifest(&good[..3]), length: 3 * CHUNK, ..attachment.clone() };
    assert!(part(&truncated, &blocks, 2 * CHUNK..3 * CHUNK).is_err(), "a chunk in the middle passes for the last");
    // Other bytes for a CID are noticed before they are opened.
    let mut swapped = blocks.clone();
    let bytes = blocks.get(&good[2]).unwrap();
    swapped.0.insert(good[1], bytes);
    assert!(matches!(part(attachment, &swapped, CHUNK..CHUNK + 1), Err(OpenError::WrongBlock(_))));
    assert!(matches!(part(attachment, &Blocks::default(), 0..1), Err(OpenError::Fetch { .. })));
}

#[test]
fn empty_and_tiny_files_have_parts_too() {
    for length in [0, 1, 4095, 4096] {
        let bytes = content(length);
        let (attachment, blocks) = sealed(&bytes);
        assert_eq!(links(&attachment, &blocks).len(), 1);
        assert_eq!(part(&attachment, &blocks, 0..length as u64).unwrap(), bytes);
        assert!(part(&attachment, &blocks, 0..length as u64 + 1).is_err());
    }
}

/// The same key and content give the same blocks, which is what lets an upload go on. Another key gives others.
#[test]
fn sealing_again_gives_the_same_blocks() {
    let seal = |key: ContentKey| {
        let mut sealer = AttachmentSealer::new(key, &CONTENT[..]);
        let mut chunks = Vec::new();
        while let Some((cid, _)) = sealer.next_chunk().unwrap() {
            chunks.push(cid);
        }
        (chunks, sealer.finish().unwrap())
    };
    let key = ContentKey::generate();
    let (first, again, other) = (seal(key.clone()), seal(key), seal(ContentKey::generate()));
    assert_eq!(first, again);
    assert!(first.0.iter().zip(&other.0).all(|(one, other)| one != other));
    let ((attachment, manifest), _) = (first.1, ());
    assert_eq!(Manifest::from_bytes(&manifest).unwrap().links(), first.0);
    assert_eq!(attachment.length, CONTENT.len() as u64);
    // An attachment that is not sealed to its end has no key.
    let mut unfinished = AttachmentSealer::new(ContentKey::generate(), &CONTENT[..]);
    assert!(unfinished.next_chunk().unwrap().is_some());
    assert!(unfinished.finish().is_none());
    let mut failing = AttachmentSealer::new(ContentKey::generate(), std::fs::File::open("/").unwrap());
    assert!(matches!(failing.next_chunk(), Err(SealError::Read(_))));
    assert!(failing.finish().is_none());
}

/// The kept key opens for its writer and its request only.
#[test]
fn a_kept_key_is_bound_to_its_request() {
    let (key, request) = (ContentKey::generate(), [7; 32]);
    let wrapped = key.wrap_for_upload(&DOCTOR.public(), &request);
    assert_eq!(ContentKey::unwrap_for_upload(&*DOCTOR, &wrapped, &request), Ok(key));
    assert!(ContentKey::unwrap_for_upload(&*DOCTOR, &wrapped, &[8; 32]).is_err());
    assert!(ContentKey::unwrap_for_upload(&*PATIENT, &wrapped, &request).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_part_is_the_slice(from in 0..=4 * CHUNK + 99, length in prop_oneof![0..=5 * CHUNK, 0..100_u64]) {
        let (attachment, blocks) = &*SEALED;
        let to = (from + length).min(CONTENT.len() as u64);
        let opened = part(attachment, blocks, from..to);
        prop_assert!(opened.is_ok_and(|bytes| bytes == CONTENT[from as usize..to as usize]));
    }
}

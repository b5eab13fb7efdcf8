//! The room for key directories: no patient uses up the room of others, and a Revoke that leaves the directory as it is needs none.

use emr_core::{AccountIndex, ClassMask, Codec, cid::cid_of};
use emr_crypto::{DirectoryRoot, Past, PatientDirectory, is_directory_block};
use emr_ipfs::{Blockstore, Cid, FreeSpace};
use emr_testkit::{directories::first_directory, people::people};

use super::scene::*;
use crate::{mempool::Usage, request_error::RequestErrorKind, storage::quota::Quotas};

const MIB: u64 = 1 << 20;

/// A block of segments, as far as a node can tell: random bytes of this size in all.
fn junk_segments(size: usize) -> Vec<u8> {
    // A list of one byte string, whose length takes two bytes or four.
    let (head, rest) = match size - 4 {
        rest @ ..=0xffff => (vec![0x81, 0x59], rest),
        _ => (vec![0x81, 0x5a], size - 6),
    };
    let length = (rest as u32).to_be_bytes();
    let length = if head[1] == 0x59 { &length[2..] } else { &length[..] };
    let mut bytes = [&head[..], length].concat();
    bytes.extend((0..rest).map(|_| rand::random::<u8>()));
    assert!(is_directory_block(&bytes) && bytes.len() == size);
    bytes
}

/// The blocks of a key directory for every check of the node, the root last. Segments of random bytes make it this large.
fn junk_directory(size: usize) -> Vec<(Cid, Vec<u8>)> {
    let directory = first_directory();
    let mut blocks: Vec<_> = directory.published().blocks().map(|(cid, bytes)| (cid, bytes.to_vec())).collect();
    let [sections, segments, readers, root] = &mut blocks[..] else { panic!("another number of blocks") };
    let segments_bytes = junk_segments(size - sections.1.len() - readers.1.len() - root.1.len());
    *segments = (cid_of(Codec::DagCbor, &segments_bytes), segments_bytes);
    // The links to segments are the last field: here one link, of which the last 36 bytes are the CID.
    let kept = root.1.len() - 36;
    root.1.splice(kept.., segments.0.to_bytes());
    *root = (cid_of(Codec::DagCbor, &root.1), root.1.clone());
    let read = DirectoryRoot::from_bytes(&root.1).expect("a root");
    assert!(read.links().any(|link| *link == segments.0));
    blocks
}

/// The directory of a patient who has many readers of every class, and ended some grants before.
fn large_directory(readers: u64, epochs: usize) -> PatientDirectory {
    let mut directory = first_directory();
    let key = people().doctor.identity.encryption_key();
    let all = ClassMask::from_bits(u16::MAX);
    let reader = |number| AccountIndex::new(1000 + number).expect("an account");
    for number in 0..readers + epochs as u64 {
        directory.grant(reader(number), key.clone(), all, Past::Included).expect("room for a reader");
    }
    for number in readers..readers + epochs as u64 {
        directory.revoke(reader(number), all).expect("a reader");
    }
    directory
}

impl Scene {
    /// From now on, the block store has so much room left.
    fn leave(&self, bytes: u64) {
        self.limit(FreeSpace { bytes, blocks: u64::MAX });
    }

    fn limit(&self, left: FreeSpace) {
        self.store.limit(left);
        self.engine.space.forget();
    }

    async fn left(&self) -> Outcome<u64> {
        Ok(self.store.free_space().await?.bytes)
    }
}

/// Free accounts fill the disk with directories: each prepares many grants, which costs nothing, and ends them one by one with a directory of
/// 1 MiB. The honest patient can still end a grant with a new directory.
#[tokio::test]
async fn hostile_patients_leave_room_for_an_honest_revoke() -> Outcome {
    let hostile = OTHERS..OTHERS + 8;
    let slots = 64..104;
    let mut scene = Scene::with_patients(8, Quotas::DEFAULT).await?;
    for who in hostile.clone() {
        for slot in slots.clone() {
            scene.own_grant(who, slot).await?;
        }
        scene.settle()?;
    }
    scene.leave(300 * MIB);
    let mut without = 0;
    for who in hostile.clone() {
        for slot in slots.clone() {
            if scene.own_revoke(who, slot, Some(&junk_directory(MIB as usize))).await.is_err() {
                // The directory is refused, and the Revoke is not.
                scene.own_revoke(who, slot, None).await?;
                without += 1;
            }
        }
    }
    assert!(without > 0, "the node took every directory");
    assert!(scene.left().await? > 128 * MIB, "{} MiB are left", scene.left().await? / MIB);
    let directory = scene.revoke(64).await?;
    assert!(scene.store.has(&directory).await?);
    scene.settle()?;
    Ok(())
}

/// Much space is free. One patient still uses only a small part of it for directories.
#[tokio::test]
async fn the_directories_of_one_patient_are_bounded() -> Outcome {
    let mut scene = Scene::with_patients(1, Quotas::DEFAULT).await?;
    for slot in 64..104 {
        scene.own_grant(OTHERS, slot).await?;
    }
    scene.settle()?;
    scene.leave(100 << 30);
    let (mut taken, mut refused) = (0, Vec::new());
    for slot in 64..104 {
        match scene.own_revoke(OTHERS, slot, Some(&junk_directory(MIB as usize))).await {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(error.kind, RequestErrorKind::NoDirectoryRoom, "{error}");
                assert!(error.message.contains("end the grant without a new directory"), "{error}");
                refused.push(slot);
            }
        }
    }
    assert_eq!((taken, refused.len()), (32, 8));
    let (_, used) = scene.engine.mempool.used(&scene.principal(OTHERS))?;
    assert_eq!(used.bytes, 32 * MIB);
    // Each of these Revokes is taken if it leaves the directory as it is.
    for slot in refused {
        scene.own_revoke(OTHERS, slot, None).await?;
    }
    scene.settle()?;
    // A day later there is room again: of the directories, only the one in force is needed.
    scene.own_grant(OTHERS, 200).await?;
    scene.settle()?;
    scene.sweep().await?;
    let refused = scene.own_revoke(OTHERS, 200, Some(&junk_directory(MIB as usize))).await;
    assert_eq!(refused.map_err(|error| error.kind), Err(RequestErrorKind::NoDirectoryRoom));
    scene.pass(25);
    scene.sweep().await?;
    assert_eq!(scene.engine.mempool.used(&scene.principal(OTHERS))?.1.blocks, 4);
    scene.own_revoke(OTHERS, 200, Some(&junk_directory(MIB as usize))).await?;
    Ok(())
}

/// More patients than the disk has room for large directories of. Each takes as much as it can. Everybody, who comes last too, has the least
/// room. The reserve grows with the number of patients, so uploads stop earlier.
#[tokio::test]
async fn the_least_room_of_every_patient_is_kept_free() -> Outcome {
    let quotas = Quotas {
        directories: Usage { bytes: 4 * MIB, blocks: 1024 },
        least_directories: Usage { bytes: 128 << 10, blocks: 16 },
        least_patients: 10,
        kept_free: Usage { bytes: MIB, blocks: 0 },
        ..Quotas::DEFAULT
    };
    let others = 60;
    let mut scene = Scene::with_patients(others, quotas).await?;
    scene.leave(9 * MIB);
    for who in OTHERS..OTHERS + others {
        while scene.upload_as(who, Codec::DagCbor, &junk_segments(20 << 10), 20 << 10).await.is_ok() {}
    }
    assert!(scene.left().await? >= MIB, "{} bytes are left", scene.left().await?);
    let blocks = scene.upload(DOCTORS[0], 1, 100).await.expect_err("the disk is nearly full");
    assert!(blocks.to_string().contains("nearly full"), "{blocks}");
    scene.revoke(64).await?;
    Ok(())
}

/// Tiny directories do not use up the files of the disk.
#[tokio::test]
async fn the_number_of_directories_is_bounded_too() -> Outcome {
    let quotas = Quotas { least_directories: Usage { bytes: 512 << 10, blocks: 4 }, ..Quotas::DEFAULT };
    let scene = Scene::with_patients(1, quotas).await?;
    scene.limit(FreeSpace { bytes: 100 << 30, blocks: 9000 });
    let mut taken = 0;
    while scene.upload_as(OTHERS, Codec::DagCbor, &junk_segments(10 << 10), 10 << 10).await.is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 4);
    let blocks = scene.upload_as(DOCTORS[0], Codec::Raw, b"a block", 7).await.expect_err("few files are left");
    assert!(blocks.message.contains("nearly full"), "{blocks}");
    Ok(())
}

/// The sizes that the limits are made for. Run with `--nocapture` to see them.
#[test]
fn the_room_fits_the_directories_of_patients_with_many_readers() -> Outcome {
    let quotas = Quotas::DEFAULT;
    let (mut series, mut directory) = (0, large_directory(100, 8));
    let first = directory.published().size() as u64;
    println!("100 readers of 16 classes, in the ninth epoch: {first} bytes");
    println!("5 readers: {} bytes", large_directory(5, 8).published().size());
    // The directory in force and the next one are within the least room.
    assert!(2 * first <= quotas.least_directories.bytes, "{first}");
    // All readers lose their access on one day, one after the other.
    for number in 0..100 {
        directory.revoke(AccountIndex::new(1000 + number)?, ClassMask::from_bits(u16::MAX))?;
        series += directory.published().size() as u64;
    }
    println!("100 Revokes one after the other: {series} bytes");
    assert!(first + series <= quotas.directories.bytes, "{series}");
    Ok(())
}

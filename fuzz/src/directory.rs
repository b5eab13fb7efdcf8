//! A key directory by a dishonest owner: any sections and segments, sealed with the right keys. Its reader must end, and accept only epochs
//! that follow each other up to the published key.
//!
//! Parts of the input: the current epoch of all classes (up to 4 bytes), the section of the only reader, the owner's section, the segments.

use emr_core::Class;
use emr_crypto::{KeyDirectory, PatientDirectory};
use serde::Serialize;
use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};

use crate::craft::{self, KEY, Open, PUBLIC, SECRET};

#[derive(Serialize)]
struct Section {
    wrap: ByteBuf,
    sealed: ByteBuf,
    algorithm: &'static str,
}

#[derive(Serialize)]
struct Node {
    owner: Section,
    classes: Vec<(u32, ByteBuf)>,
    readers: Vec<Section>,
    version: u8,
    segments: Vec<ByteBuf>,
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("plain data")
}

fn section(plaintext: &[u8], aad: &[u8]) -> Section {
    let sealed = craft::seal(&KEY, [0; 12], aad, &craft::padded(plaintext, 1024)).into();
    Section { wrap: KEY.to_vec().into(), sealed, algorithm: "HPKE-X25519" }
}

/// The directory that these parts make.
fn crafted(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let [epoch, reader, owner, segments @ ..] = parts else { return None };
    let epoch = epoch.iter().take(4).fold(0_u32, |epoch, byte| epoch << 8 | u32::from(*byte));
    let classes: Vec<(u32, ByteBuf)> = Class::ALL.map(|_| (epoch, PUBLIC.to_vec().into())).into();
    let aad = Sha256::digest(encoded(&classes));
    let seal = |segment: &&[u8]| craft::seal(&KEY, [0; 12], &aad, &craft::padded(segment, 192)).into();
    let segments: Vec<ByteBuf> = segments.iter().map(seal).collect();
    let readers = vec![section(reader, &aad)];
    let owner = section(owner, &Sha256::digest(encoded(&(&classes, &segments, &readers))));
    Some(encoded(&Node { owner, classes, readers, version: 1, segments }))
}

pub(crate) fn check(data: &[u8]) -> bool {
    let Some(bytes) = crafted(&craft::parts(data)) else { return false };
    let Ok(directory) = KeyDirectory::from_bytes(&bytes) else { return false };
    let current = directory.current_public(Class::Summary).epoch();
    let read = directory.open_for(&Open);
    if let Ok(keys) = &read {
        let epochs = Class::ALL.into_iter().filter_map(|class| keys.epochs(class));
        assert!(epochs.into_iter().all(|(first, last)| first <= last && last == current));
    }
    let own = PatientDirectory::open(directory, &Open);
    if let Ok(own) = &own {
        let keys = own.keyring();
        assert!(Class::ALL.into_iter().all(|class| keys.epochs(class).is_some_and(|(first, _)| first.get() == 1)));
    }
    read.is_ok() && own.is_ok()
}

/// Three epochs in two segments; the reader reads some classes from the second segment on.
fn inputs() -> Vec<Vec<u8>> {
    let (secret, key) = (Bytes::new(&SECRET), Bytes::new(&KEY));
    let reader = encoded(&[(0_u8, (1_u32, key)), (5, (0, key))]);
    let owner = |readers: &[u8]| [&[0x82][..], &encoded(&[(0_u32, key); 16]), readers].concat();
    let two = [encoded(&(1_u32, [secret; 2], Some((1_u32, key)))), encoded(&(3_u32, [secret], ()))];
    let one = encoded(&(1_u32, [secret], ()));
    vec![
        craft::joined(&[vec![3], reader.clone(), owner(&[0x80]), two[0].clone(), two[1].clone()]),
        craft::joined(&[vec![1], encoded(&[(5_u8, (0_u32, key))]), owner(&[0x80]), one]),
    ]
}

pub(crate) fn seeds() -> crate::Seeds {
    Ok(inputs())
}

/// The same as published directories.
pub(crate) fn published() -> crate::Seeds {
    let all = inputs().iter().map(|input| crafted(&craft::parts(input))).collect::<Option<_>>();
    all.ok_or_else(|| "too few parts".into())
}

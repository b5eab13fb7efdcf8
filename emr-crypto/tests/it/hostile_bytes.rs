//! Decoding any bytes from a file or a node ends with a value or an error, never with a panic.

use emr_crypto::key_wrap::WrappedKey;
use emr_crypto::{
    DirectoryRoot, EncryptionKey, IdentityFile, KeyDirectory, LoginMessage, Manifest, PatientDirectory, RsaPublic,
    RsaSecret,
};
use proptest::prelude::*;
use secrecy::SecretString;

use crate::fixtures::{DOCTOR, PATIENT};

fn read_everything(bytes: &[u8]) {
    let _ = RsaPublic::from_der(bytes);
    let _ = RsaSecret::from_der(bytes);
    let _ = RsaSecret::from_pem(&String::from_utf8_lossy(bytes));
    let _ = IdentityFile::unseal(bytes, &SecretString::from("passphrase"));
    let _ = Manifest::from_bytes(bytes);
    let _ = LoginMessage::from_bytes(bytes);
    let _ = EncryptionKey::from_bytes(bytes);
    let _ = WrappedKey::from_bytes(bytes);
    let root = DirectoryRoot::from_bytes(bytes);
    if let Some(Ok(directory)) = root.ok().map(|root| KeyDirectory::assemble(root, [])) {
        let _ = directory.open_for(&*DOCTOR);
        let _ = PatientDirectory::open(directory, &*PATIENT);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        read_everything(&bytes);
    }

    /// Valid bytes with a few changes get further into the decoder than random bytes.
    #[test]
    fn altered_keys(changes in proptest::collection::vec((0_usize..10_000, any::<u8>()), 1..4)) {
        for good in [DOCTOR.public().to_bytes(), DOCTOR.rsa().public().to_der(), DOCTOR.rsa().to_der().to_vec()] {
            let mut bytes = good;
            for (position, byte) in &changes {
                let position = position % bytes.len();
                bytes[position] = *byte;
            }
            read_everything(&bytes);
        }
    }
}

/// Deeply nested CBOR must not overflow the stack, nor claimed lengths the memory.
#[test]
fn deeply_nested_cbor_and_huge_lengths() {
    read_everything(&[0x81; 1 << 20]);
    read_everything(&[0xa1; 1 << 20]);
    read_everything(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff");
    read_everything(b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff");
    read_everything(b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff");
}

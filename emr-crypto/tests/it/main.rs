//! Tests of `emr-crypto` through its public interface, grouped by what they attack.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attachment;
mod backup;
mod delegated_keys;
mod directory;
mod encrypted_pem;
mod envelope;
mod fixtures;
mod histories;
mod hostile_bytes;
mod identity_file;
mod jwe;
mod jwe_general;
mod jwe_libraries;
mod key_wrap;
mod login;
mod observer;
mod rsa_key;
mod xwing;

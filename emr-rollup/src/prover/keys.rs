//! The proving and verifying key of a version. They are generated once and kept on disk, in a file named by the digest
//! of their inputs.

use std::{
    io,
    path::{Path, PathBuf},
};

use halo2_proofs::{
    SerdeFormat,
    plonk::{Error, ProvingKey, VerifyingKey, keygen_pk2},
    poly::kzg::commitment::ParamsKZG,
};
use halo2curves::{
    bn256::{Bn256, G1Affine},
    group::GroupEncoding,
};

use super::setup::Setup;
use crate::{circuit::BatchCircuit, primitive::keccak::keccak256};

/// Keccak-256 of a verifying key's bytes and of tau in G2, which the verifying key of halo2 does not hold: 32 bytes, in
/// hex when displayed. So keys of different setups have different digests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest(pub [u8; 32]);

impl std::fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl KeyDigest {
    /// The digest of a key under a setup.
    pub(super) fn of(params: &ParamsKZG<Bn256>, key: &VerifyingKey<G1Affine>) -> Self {
        let tau_g2 = params.s_g2().to_bytes();
        Self(keccak256(&[&key.to_bytes(SerdeFormat::Processed)[..], tau_g2.as_ref()].concat()))
    }
}

/// The default folder for keys: `${EMR_CACHE:-~/.cache/emr}/keys`. `None` if neither `EMR_CACHE` nor a home folder is
/// known.
pub fn default_cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("EMR_CACHE").or_else(|| Some(set("HOME")?.join(".cache/emr"))).map(|cache| cache.join("keys"))
}

/// The name of a key's file. It depends on everything that decides the key: the circuit's layout and the setup.
fn file(cache: &Path, circuit: &BatchCircuit, setup: &Setup) -> PathBuf {
    let s_g2 = setup.params.s_g2().to_bytes();
    let digest = keccak256(&[&circuit.layout_digest()[..], s_g2.as_ref()].concat());
    cache.join(format!("proving-key-{}.bin", hex::encode(&digest[..16])))
}

/// Reads the proving key from the folder. `None` if it is absent or damaged.
pub(super) fn load(cache: &Path, circuit: &BatchCircuit, setup: &Setup) -> Option<ProvingKey<G1Affine>> {
    let bytes = super::cache::read(&file(cache, circuit, setup))?;
    ProvingKey::from_bytes::<BatchCircuit>(&bytes, SerdeFormat::RawBytesUnchecked, ()).ok()
}

/// Generates a proving key.
pub(super) fn generate(circuit: &BatchCircuit, setup: &Setup) -> Result<ProvingKey<G1Affine>, Error> {
    keygen_pk2(&setup.params, circuit, false)
}

/// Writes a proving key to the folder.
pub(super) fn store(cache: &Path, circuit: &BatchCircuit, setup: &Setup, key: &ProvingKey<G1Affine>) -> io::Result<()> {
    super::cache::write(&file(cache, circuit, setup), &key.to_bytes(SerdeFormat::RawBytesUnchecked))
}

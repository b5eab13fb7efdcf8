//! The structured reference string: powers of a secret. Anyone who knows the secret can forge proofs.

use std::{io, path::Path};

use halo2_proofs::{
    SerdeFormat,
    poly::{commitment::Params, kzg::commitment::ParamsKZG},
};
use halo2curves::{
    bn256::{Bn256, G2Affine},
    group::GroupEncoding,
};
use rand_chacha_03::{ChaCha20Rng, rand_core::SeedableRng};

use super::{evm::image, ptau::Ceremony};
use crate::{primitive::keccak::keccak256, setup::SetupId};

/// The origin of a setup's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// A seed that is printed in this file: **anyone can forge proofs under it.** For development chains only.
    InsecureDevelopmentSeed,
    /// A ceremony. Nobody knows the secret if one contributor forgot theirs.
    Ceremony(Box<Ceremony>),
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InsecureDevelopmentSeed => {
                f.write_str("INSECURE DEVELOPMENT SETUP: its secret is public, anyone can forge proofs")
            }
            Self::Ceremony(ceremony) => {
                write!(
                    f,
                    "setup of a ceremony with {} contributions, BLAKE2b {}",
                    ceremony.contributions, ceremony.file
                )
            }
        }
    }
}

/// The seed of the development setup. It is public on purpose.
const DEVELOPMENT_SEED: &[u8] = b"emr insecure development setup: anyone can forge proofs under this";

fn name(tau_g2: G2Affine) -> SetupId {
    SetupId(keccak256(tau_g2.to_bytes().as_ref()))
}

/// A setup for circuits of `2^k` rows.
#[derive(Debug)]
pub struct Setup {
    pub(super) params: ParamsKZG<Bn256>,
    pub(super) provenance: Provenance,
}

impl Setup {
    /// The deterministic development setup. See [`Provenance::InsecureDevelopmentSeed`].
    pub fn insecure_development(k: u32) -> Self {
        let rng = ChaCha20Rng::from_seed(keccak256(DEVELOPMENT_SEED));
        Self { params: ParamsKZG::setup(k, rng), provenance: Provenance::InsecureDevelopmentSeed }
    }

    /// Reads the development setup from a file in this folder. If the file is absent or damaged, the setup is made and
    /// written again.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be written.
    pub fn insecure_development_cached(cache: &Path, k: u32) -> io::Result<Self> {
        let path = cache.join(format!("insecure-development-setup-{k}.bin"));
        if let Some(bytes) = super::cache::read(&path)
            && let Ok(params) = ParamsKZG::<Bn256>::read_custom(&mut &bytes[..], SerdeFormat::RawBytesUnchecked)
            && params.k() == k
        {
            return Ok(Self { params, provenance: Provenance::InsecureDevelopmentSeed });
        }
        let setup = Self::insecure_development(k);
        let mut bytes = Vec::new();
        setup.params.write_custom(&mut bytes, SerdeFormat::RawBytesUnchecked)?;
        super::cache::write(&path, &bytes)?;
        Ok(setup)
    }

    /// The origin of this setup.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The name of the setup's secret.
    pub fn id(&self) -> SetupId {
        name(self.params.s_g2())
    }

    /// The name of the setup of a verifying key on L1, from the code of the key's contract. `None` if the code is no key
    /// of this format.
    pub fn of_key(code: &[u8]) -> Option<SetupId> {
        image::tau_g2(code).map(name)
    }

    /// The binary logarithm of the number of its powers.
    pub fn k(&self) -> u32 {
        self.params.k()
    }
}

//! Imports a ceremony's setup into the folder of the keys, finds it there again, and checks it again.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use halo2_proofs::{
    SerdeFormat,
    poly::{
        EvaluationDomain,
        commitment::{Blind, Params, ParamsProver},
        kzg::commitment::ParamsKZG,
    },
};
use halo2curves::{
    bn256::{Bn256, Fr, G1Affine, G2Affine},
    ff::Field,
};

#[cfg(feature = "testing")]
use rand_chacha_03::{ChaCha20Rng, rand_core::SeedableRng};

use super::{
    cache,
    ptau::{self, Ceremony, Hash512, ImportStep, PtauError},
    setup::{Provenance, Setup},
};
use crate::setup::SetupId;

/// Why a setup was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file was refused.
    #[error("{}: {source}", path.display())]
    File {
        /// The powers-of-tau file.
        path: PathBuf,
        /// The cause.
        source: PtauError,
    },
    /// The folder of the keys cannot be used.
    #[error("cannot use the key cache {}: {source}", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// An imported setup.
#[derive(Debug)]
pub struct Imported {
    /// The setup.
    pub setup: Setup,
    /// The ceremony that it comes from.
    pub ceremony: Ceremony,
}

impl Setup {
    /// Checks a powers-of-tau file, and keeps `2^k` of its powers in the folder of the keys. It also keeps the setups of the same
    /// secret for each number in `smaller` that is below `k`. If `expected` is given, the file must have this BLAKE2b hash. A setup
    /// that was imported before is replaced: what is in the folder proves nothing about the file.
    ///
    /// An import that is interrupted starts from the beginning the next time. What it leaves behind is whole.
    ///
    /// # Errors
    /// [`ImportError::File`] if the file is refused. [`ImportError::Cache`] if a setup cannot be written.
    pub fn import(
        folder: &Path,
        file: &Path,
        (k, smaller): (u32, &[u32]),
        expected: Option<Hash512>,
        mut on_progress: impl FnMut(ImportStep),
    ) -> Result<Imported, ImportError> {
        let refused = |source| ImportError::File { path: file.to_owned(), source };
        let unusable = |source| ImportError::Cache { folder: folder.to_owned(), source };
        let opened = File::open(file).map_err(|error| refused(error.into()))?;
        let powers = ptau::read(BufReader::new(opened), k, &mut on_progress).map_err(refused)?;
        let ceremony = powers.ceremony;
        // Before the work that takes longest.
        if let Some(expected) = expected.filter(|expected| *expected != ceremony.file) {
            let found = Box::new(ceremony.file);
            return Err(refused(PtauError::OtherFile { expected: Box::new(expected), found }));
        }
        let mut keep = |k: u32, g1: Vec<G1Affine>| {
            on_progress(ImportStep::Lagrange { k });
            let params = blank().from_parts(k, g1, None, G2Affine::generator(), powers.tau_g2);
            let setup = Self { params, provenance: Provenance::Ceremony(Box::new(ceremony)) };
            setup.keep(folder, &ceremony).map_err(unusable).map(|()| setup)
        };
        for smaller in smaller.iter().filter(|smaller| **smaller < k) {
            keep(*smaller, powers.g1[..1 << smaller].to_vec())?;
        }
        let setup = keep(k, powers.g1)?;
        Ok(Imported { setup, ceremony })
    }

    fn keep(&self, folder: &Path, ceremony: &Ceremony) -> io::Result<()> {
        let mut bytes = record(ceremony).to_vec();
        self.params.write_custom(&mut bytes, SerdeFormat::RawBytesUnchecked)?;
        cache::write(&path(folder, self.k(), self.id()), &bytes)
    }

    /// Keeps a setup as an import does, without a file: **its secret is known**, so its Lagrange basis is computed in a
    /// tenth of the time. For tests of what comes after an import.
    ///
    /// # Errors
    /// [`io::Error`] if the setup cannot be written.
    #[cfg(feature = "testing")]
    pub fn keep_with_known_secret(folder: &Path, k: u32) -> io::Result<SetupId> {
        let none = Hash512([0; 64]);
        let ceremony =
            Ceremony { file: none, response: None, challenge: none, contributions: 1, power: k, ceremony_power: k + 1 };
        let params = ParamsKZG::setup(k, ChaCha20Rng::from_seed([0x5e; 32]));
        let setup = Self { params, provenance: Provenance::Ceremony(Box::new(ceremony)) };
        setup.keep(folder, &ceremony)?;
        Ok(setup.id())
    }

    /// Reads a setup that was imported. `None` if it is absent or damaged, or has another name. This finds no points that
    /// somebody replaced on purpose; [`Self::is_intact`] does.
    pub fn imported(folder: &Path, k: u32, id: SetupId) -> Option<Self> {
        let bytes = cache::read(&path(folder, k, id))?;
        let (ceremony, mut params) = bytes.split_at_checked(RECORD)?;
        let ceremony = parse(ceremony.try_into().ok()?);
        // halo2's reader believes this number, and panics on a short file. The checksum shows damage, and this shows a
        // file under a wrong name.
        if params.first_chunk() != Some(&k.to_le_bytes()) || k > 28 || params.len() != size(k) {
            return None;
        }
        let (g1, g2) = params[4..].split_at(2 * (64 << k));
        if ptau::decode_all::<G1Affine>(g1).is_err() || ptau::decode_all::<G2Affine>(g2).is_err() {
            return None;
        }
        // It reads as many bytes as were checked.
        let params = ParamsKZG::<Bn256>::read_custom(&mut params, SerdeFormat::RawBytesUnchecked).ok()?;
        let setup = Self { params, provenance: Provenance::Ceremony(Box::new(ceremony)) };
        (setup.id() == id).then_some(setup)
    }

    /// Whether every point follows from tau in G2, and so from the setup's name: the powers in G1, and the Lagrange
    /// basis. It takes some seconds for 2^17 points.
    pub fn is_intact(&self) -> bool {
        let (params, n) = (&self.params, 1_usize << self.k());
        let (powers, tau_g2) = (params.get_g(), params.s_g2());
        let generators = powers.first() == Some(&G1Affine::generator()) && params.g2() == G2Affine::generator();
        if !generators || powers.len() != n || !ptau::are_powers(powers, tau_g2) {
            return false;
        }
        // Both bases give the same commitment to a random polynomial.
        let domain = EvaluationDomain::<Fr>::new(2, self.k());
        let mut rng = ptau::randomness();
        let values = domain.lagrange_from_vec((0..n).map(|_| Fr::random(&mut rng)).collect());
        let by_values = params.commit_lagrange(&values, Blind::default());
        by_values == params.commit(&domain.lagrange_to_coeff(values), Blind::default())
    }
}

/// Parameters without a meaning. halo2 makes parameters from parts only with the help of others.
fn blank() -> ParamsKZG<Bn256> {
    Setup::insecure_development(1).params
}

fn path(folder: &Path, k: u32, id: SetupId) -> PathBuf {
    folder.join(format!("ceremony-setup-{k}-{}.bin", hex::encode(id.0)))
}

/// The bytes of halo2's parameters: k, two bases, two points in G2.
const fn size(k: u32) -> usize {
    4 + 2 * (64 << k) + 2 * 128
}

/// The bytes of a ceremony's record: three hashes and three numbers. The response's hash is zeros if it is unknown.
const RECORD: usize = 3 * 64 + 3 * 4;

fn record(ceremony: &Ceremony) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let hashes = [ceremony.file, ceremony.response.unwrap_or(Hash512([0; 64])), ceremony.challenge];
    for (place, hash) in bytes.chunks_exact_mut(64).zip(hashes) {
        place.copy_from_slice(&hash.0);
    }
    let numbers = [ceremony.contributions, ceremony.power, ceremony.ceremony_power];
    for (place, number) in bytes[192..].chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn parse(bytes: &[u8; RECORD]) -> Ceremony {
    let hash = |i: usize| Hash512(std::array::from_fn(|j| bytes[64 * i + j]));
    let number = |i: usize| u32::from_le_bytes(std::array::from_fn(|j| bytes[192 + 4 * i + j]));
    Ceremony {
        file: hash(0),
        response: Some(hash(1)).filter(|hash| hash.0 != [0; 64]),
        challenge: hash(2),
        contributions: number(0),
        power: number(1),
        ceremony_power: number(2),
    }
}

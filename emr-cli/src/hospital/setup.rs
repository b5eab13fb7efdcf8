//! `setup`: takes the result of a ceremony into the folder of the keys.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use emr_rollup::{
    prover::{Ceremony, Hash512, ImportError, Prover, Setup, Stage},
    setup::SetupChoice,
    version::{CircuitSizes, CircuitVersion},
};
use serde::Serialize;

use super::site::key_cache;
use crate::{
    failure::{Exit, Failure, OrExit},
    options::Options,
    report::{Answer, Progress, print},
};

/// Options of `setup`.
#[derive(clap::Args, Clone, Debug)]
pub struct Import {
    /// The powers-of-tau file of snarkjs (.ptau)
    #[arg(long, value_name = "FILE")]
    ptau: PathBuf,
    /// Refuse a file that does not have this BLAKE2b hash; the publisher of the ceremony names it
    #[arg(long, value_name = "HASH")]
    blake2b: Option<Hash512>,
    /// Also keep what the large size needs (`deploy --large`): the file must have 2^19 powers
    #[arg(long)]
    large: bool,
}

/// The answer of `setup`.
#[derive(Debug, Serialize)]
struct Answered {
    setup: SetupChoice,
    k: u32,
    power: u32,
    ceremony_power: u32,
    blake2b: String,
    contributions: u32,
    /// `None` if the file is a part of its ceremony: its points do not show who made them.
    response_hash: Option<String>,
    /// `None` if the file is a part.
    next_challenge_hash: Option<String>,
    folder: PathBuf,
}

impl Answer for Answered {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "setup {}", self.setup)?;
        writeln!(out, "2^{} powers of 2^{}, in {}", self.k, self.ceremony_power, self.folder.display())?;
        writeln!(out, "BLAKE2b of the file      {}", self.blake2b)?;
        let (Some(response), Some(challenge)) = (&self.response_hash, &self.next_challenge_hash) else {
            return writeln!(out, "contributions            {}, says the file", self.contributions);
        };
        writeln!(out, "contribution {:<11} {response}", self.contributions)?;
        writeln!(out, "next challenge           {challenge}")
    }
}

/// Checks a powers-of-tau file and keeps its setup.
///
/// # Errors
/// Fails if the file is refused, or if the folder of the keys cannot be used.
pub async fn import(options: &Options, arguments: &Import) -> Result<(), Failure> {
    let folder = key_cache()?;
    let progress = Progress::start("reading the file");
    let (Import { ptau, blake2b, large }, keys) = (arguments.clone(), folder.clone());
    let largest = if large { CircuitVersion::V1_LARGE.k } else { CircuitVersion::V1.k };
    let smaller = powers(CircuitSizes::v1().iter());
    let imported = tokio::task::spawn_blocking(move || {
        Setup::import(&keys, &ptau, (largest, &smaller), blake2b, |step| progress.say(step.to_string()))
    })
    .await
    .or_exit(Exit::Internal)?
    .map_err(|error| {
        let exit = if matches!(error, ImportError::Cache { .. }) { Exit::Storage } else { Exit::Input };
        Failure::new(exit, error.to_string())
    })?;
    let (ceremony, id) = (imported.ceremony, imported.setup.id());
    warn(&ceremony, arguments.blake2b.is_some());
    let answer = Answered {
        setup: SetupChoice::Imported(id),
        k: imported.setup.k(),
        power: ceremony.power,
        ceremony_power: ceremony.ceremony_power,
        blake2b: ceremony.file.to_string(),
        contributions: ceremony.contributions,
        response_hash: ceremony.response.map(|hash| hash.to_string()),
        next_challenge_hash: (!ceremony.is_part()).then(|| ceremony.challenge.to_string()),
        folder,
    };
    print(&answer, options.json)
}

/// Says what nobody checked.
fn warn(ceremony: &Ceremony, compared: bool) {
    if compared {
        return;
    }
    if ceremony.is_part() {
        eprintln!(
            "warning: the file is a part of a larger ceremony, and its points do not show who made them. Compare its BLAKE2b hash with the one \
             that the ceremony's publisher names (--blake2b HASH): anyone can make a file like this, and forge proofs under it"
        );
    } else {
        eprintln!(
            "warning: compare the hash of the last contribution with the one that its contributor published, or the file's BLAKE2b hash with the \
             published one (--blake2b HASH): anyone can make a file like this, and forge proofs under it"
        );
    }
}

/// The binary logarithms of the numbers of powers that these sizes need, each once.
pub fn powers<'a>(sizes: impl Iterator<Item = &'a CircuitVersion>) -> Vec<u32> {
    sizes.map(|size| size.k).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Makes the key of a size for a deployment. Checks an imported setup again before. Returns the creation code of the key's
/// contract.
///
/// # Errors
/// Fails if the setup was not imported on this machine or was changed since, or if the key cannot be made.
pub async fn key(folder: &Path, size: CircuitVersion, setup: SetupChoice) -> Result<Vec<u8>, Failure> {
    let (folder, progress) = (folder.to_owned(), Progress::start("reading the setup"));
    tokio::task::spawn_blocking(move || {
        let say = |stage: Stage| progress.say(format!("{stage}, {}", size.slots()));
        let prover = match setup {
            SetupChoice::InsecureDevelopment => Prover::load_or_generate(&folder, size, setup, say),
            SetupChoice::Imported(id) => Prover::generate_for_deployment(&folder, size, id, say),
        };
        prover.map(|prover| prover.verifier().key_contract())
    })
    .await
    .or_exit(Exit::Internal)?
    .or_exit(Exit::Storage)
}

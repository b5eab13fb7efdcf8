//! `emr-hospital demo` takes a FHIR Bundle through the whole system. Every part is real.
//!
//! Every participant has a separate data folder, and reaches the others only through the node's HTTP, L1 and blocks.

mod actors;
mod cast;
mod next_batch;
mod outcome;
mod story;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use emr_core::{Record, fhir};
use emr_durable::Disk;
use secrecy::SecretString;
use url::Url;

use crate::{
    failure::{Exit, Failure, OrExit},
    options::Options,
    passphrase,
    records::read_fhir,
    report::print,
};

/// The demo's default Bundle. Its data are synthetic.
const BUNDLE: &[u8] = include_bytes!("../../../emr-core/fixtures/synthea-bundle.json");

/// Arguments of `demo`.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// Your own FHIR R4 Bundle instead of the synthetic one
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Keep blocks on this Kubo node (its RPC address) instead of on disk
    #[arg(long, value_name = "URL")]
    ipfs: Option<Url>,
}

/// Runs the demo. With `--data-dir`, everything is kept and the next run continues from there. Otherwise it is deleted
/// afterwards.
///
/// # Errors
/// Returns the failure of a step. No acknowledged operation is lost: the next run with the same folder continues.
pub async fn run(options: &Options, arguments: &Demo) -> Result<(), Failure> {
    if options.node.is_some() {
        return Err(Failure::new(Exit::Usage, "demo starts its own node: omit --node"));
    }
    let record = match &arguments.bundle {
        Some(file) => read_fhir(file)?,
        None => fhir::import(BUNDLE).or_exit(Exit::Internal)?,
    };
    let temporary = match options.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().or_exit(Exit::Storage)?),
    };
    let folder = match (&options.data_dir, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(Failure::new(Exit::Internal, "no folder")),
    };
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(Exit::Storage, format!("cannot make {}: {error}", folder.display())))?;
    let stage = story::Stage {
        passphrase_file: passphrase_file(&folder, options)?,
        folder,
        rpc: options.one_rpc()?,
        plain: options.plain_http(),
        ipfs: arguments.ipfs.clone(),
        json: options.json,
    };
    let outcome = stage.play(&record).await?;
    if options.json { print(&outcome, true) } else { Ok(()) }
}

/// The passphrase file of the demo's identities: the given one, or a random passphrase that is kept next to them.
fn passphrase_file(folder: &Path, options: &Options) -> Result<PathBuf, Failure> {
    if let Some(file) = &options.passphrase_file {
        return Ok(file.clone());
    }
    let file = folder.join("passphrase");
    if !file.exists() {
        let words: [u8; 16] = rand::random();
        // The passphrase is durable before an identity is encrypted with it, and only its owner can read it.
        Disk::default().replace(&file, hex::encode(words).as_bytes()).or_exit(Exit::Storage)?;
    }
    Ok(file)
}

fn read_passphrase(file: &Path) -> Result<SecretString, Failure> {
    passphrase::existing(Some(file))
}

/// The document of a record.
fn document(record: &Record) -> Result<Vec<u8>, Failure> {
    fhir::export(record).or_exit(Exit::Input)
}

/// Reads at most `limit` bytes of a file.
fn read_bounded(file: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)).or_exit(Exit::Storage)?;
    Ok(bytes)
}

//! `prover`: manages the credentials of machines that prove for a hospital.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use emr_api::{
    NewProver, ProverView,
    prover::{ProverCredential, is_name},
};
use emr_client::client::Client;
use emr_core::Role;
use emr_durable::Disk;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    failure::{Exit, Failure},
    input,
    options::Options,
    participant,
    report::{Answer, print, written},
};

/// The answer of `add`.
#[derive(Serialize)]
struct Added<'a> {
    name: &'a str,
    /// Absent if the credential was written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl Answer for Added<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        match (self.credential, &self.file) {
            (Some(credential), _) => writeln!(out, "{credential}"),
            (None, Some(file)) => writeln!(out, "the credential of {} is in {}", self.name, file.display()),
            (None, None) => Ok(()),
        }
    }
}

/// `prover add`: makes a credential, sends its digest to the node, and shows the credential once.
///
/// # Errors
/// Fails if the name is not valid, if the file exists, or if the node refuses.
pub async fn add(options: &Options, name: &str, output: Option<&Path>) -> Result<(), Failure> {
    if !is_name(name) {
        let message =
            format!("{name:?} is not a valid name for a prover: use 1 to 40 letters, digits, '-', '_' or '.'");
        return Err(Failure::new(Exit::Input, message));
    }
    let client = participant::open(options, Role::Hospital).await?;
    let credential = ProverCredential::generate();
    // Writes the file before the node knows the digest. So the node never accepts a credential that was lost.
    if let Some(path) = output {
        let line = Zeroizing::new([credential.expose(), "\n"].concat());
        // Has mode 0600, and never overwrites a file.
        Disk::default().create(path, line.as_bytes()).map_err(|error| {
            Failure::new(Exit::Storage, format!("cannot make {}: {error}; name a new file", path.display()))
        })?;
    }
    let added = tell(&client, name, &credential).await;
    if let (Err(_), Some(path)) = (&added, output) {
        // The credential is useless now, so removes the file.
        let _ = std::fs::remove_file(path);
    }
    added?;
    eprintln!(
        "anyone who has this credential can read the batches (who did what to whom) and submit proofs, but nothing else"
    );
    let shown = output.is_none().then(|| credential.expose());
    print(&Added { name, credential: shown, file: output.map(Path::to_owned) }, options.json)
}

async fn tell(client: &Client, name: &str, credential: &ProverCredential) -> Result<ProverView, Failure> {
    let new = NewProver { name: name.to_owned(), digest: credential.digest() };
    client.node().add_prover(&new).await.map_err(Failure::from)
}

#[derive(Debug, Serialize)]
struct Removed<'a> {
    removed: &'a str,
}

impl Answer for Removed<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{} can fetch no more batches; it may have kept those that it fetched before", self.removed)
    }
}

/// `prover remove`: the node refuses the prover's credential from now on.
///
/// # Errors
/// Fails if there is no such prover, or if the node refuses.
pub async fn remove(options: &Options, name: &str) -> Result<(), Failure> {
    if !is_name(name) {
        return Err(Failure::new(Exit::Input, format!("there is no prover {name:?}; `prover list` shows them")));
    }
    let client = participant::open(options, Role::Hospital).await?;
    client.node().remove_prover(name).await?;
    print(&Removed { removed: name }, options.json)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Provers(Vec<ProverView>);

impl Answer for Provers {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.0.is_empty() {
            return writeln!(out, "no prover has a credential");
        }
        self.0.iter().try_for_each(|prover| writeln!(out, "{}  {}", written(prover.added), prover.name))
    }
}

/// `prover list`.
///
/// # Errors
/// Fails if the node refuses.
pub async fn list(options: &Options) -> Result<(), Failure> {
    let client = participant::open(options, Role::Hospital).await?;
    let provers = client.node().provers().await?;
    print(&Provers(provers), options.json)
}

/// Reads a credential file.
///
/// # Errors
/// Fails if the file cannot be read, if others can read it, or if it holds no credential.
pub fn read(path: &Path) -> Result<ProverCredential, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let text = input::read_secret("the credential", path)?;
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.is_file()
        && metadata.permissions().mode() & 0o077 != 0
    {
        let path = path.display();
        return Err(Failure::new(Exit::Identity, format!("{path} can be read by others; run: chmod 600 {path}")));
    }
    ProverCredential::parse(&text).map_err(|error| Failure::new(Exit::Input, format!("{}: {error}", path.display())))
}

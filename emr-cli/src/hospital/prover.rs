//! `prover`: credentials of the machines that prove for a hospital.

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
    report::{Answer, print, written},
    session,
};

/// What `add` answers.
#[derive(Serialize)]
struct Added<'a> {
    name: &'a str,
    /// Absent if it was written to a file.
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

/// `prover add`: makes a credential here, tells the node its digest, and shows the credential once.
///
/// # Errors
/// If the name cannot be used, the file exists, or the node refuses.
pub async fn add(options: &Options, name: &str, output: Option<&Path>) -> Result<(), Failure> {
    if !is_name(name) {
        let message = format!("{name:?} is no name for a prover: use 1 to 40 letters, digits, '-', '_' or '.'");
        return Err(Failure::new(Exit::Input, message));
    }
    let client = session::open(options, Role::Hospital).await?;
    let credential = ProverCredential::generate();
    // Written before the node knows it: nothing is let in whose credential was lost.
    if let Some(path) = output {
        let line = Zeroizing::new([credential.expose(), "\n"].concat());
        // Mode 0600, and never over another file.
        Disk::default().create(path, line.as_bytes()).map_err(|error| {
            Failure::new(Exit::Storage, format!("cannot make {}: {error}; name a new file", path.display()))
        })?;
    }
    let added = tell(&client, name, &credential).await;
    if let (Err(_), Some(path)) = (&added, output) {
        // Worth nothing, so it need not stay.
        let _ = std::fs::remove_file(path);
    }
    added?;
    eprintln!(
        "whoever has this credential sees who did what to whom in the batches, and can hand in proofs; nothing else"
    );
    let shown = output.is_none().then(|| credential.expose());
    print(&Added { name, credential: shown, file: output.map(Path::to_owned) }, options.json)
}

async fn tell(client: &Client, name: &str, credential: &ProverCredential) -> Result<ProverView, Failure> {
    let new = NewProver { name: name.to_owned(), digest: hex::encode(credential.digest()) };
    client.node().add_prover(&new).await.map_err(Failure::from)
}

#[derive(Debug, Serialize)]
struct Removed<'a> {
    removed: &'a str,
}

impl Answer for Removed<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{} fetches no more jobs here; what it fetched before it may have kept", self.removed)
    }
}

/// `prover remove`: its credential is refused from now on.
///
/// # Errors
/// If there is no such prover, or the node refuses.
pub async fn remove(options: &Options, name: &str) -> Result<(), Failure> {
    if !is_name(name) {
        return Err(Failure::new(Exit::Input, format!("there is no prover {name:?}; `prover list` shows them")));
    }
    let client = session::open(options, Role::Hospital).await?;
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
/// If the node refuses.
pub async fn list(options: &Options) -> Result<(), Failure> {
    let client = session::open(options, Role::Hospital).await?;
    let provers = client.node().provers().await?;
    print(&Provers(provers), options.json)
}

/// Reads a credential file.
///
/// # Errors
/// If it cannot be read, others can read it, or it holds no credential.
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

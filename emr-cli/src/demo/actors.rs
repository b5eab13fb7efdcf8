//! The participants. Each has a folder, an identity file and a connection.

use std::path::{Path, PathBuf};

use emr_client::{client::Client, profile::Profile};
use emr_core::{PlainHttp, Role};
use emr_crypto::{Identity, KeyProfile, RsaBits, ScryptCost};

use super::read_passphrase;
use crate::failure::{Exit, Failure, OrExit, one_line};

/// A participant's folder.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) name: &'static str,
    pub(super) role: Role,
    pub(super) folder: PathBuf,
}

impl Actor {
    pub(super) fn new(folder: &Path, name: &'static str, role: Role) -> Self {
        Self { name, role, folder: folder.join(name) }
    }

    /// Makes the identity, unless an earlier run made it. Returns whether it made it.
    pub(super) fn create(&self, passphrase: &Path) -> Result<bool, Failure> {
        if self.folder.join("identity").exists() {
            return Ok(false);
        }
        let identity = Identity::generate(self.role, RsaBits::DEFAULT, KeyProfile::Hybrid);
        Profile::create(&self.folder, &identity, &read_passphrase(passphrase)?, ScryptCost::Standard)
            .map_err(|error| Failure::new(Exit::Storage, one_line(&error)))?;
        Ok(true)
    }

    /// Opens the participant's identity file.
    pub(super) fn open(&self, passphrase: &Path) -> Result<(Profile, Identity), Failure> {
        let profile = Profile::open(&self.folder).or_exit(Exit::Identity)?;
        let identity = profile.identity(&read_passphrase(passphrase)?).or_exit(Exit::Identity)?;
        Ok((profile, identity))
    }

    /// Connects to the node and the chain over HTTP. Finishes operations that an interrupted run had signed.
    pub(super) async fn connect(
        &self,
        passphrase: &Path,
        node: &str,
        rpc: &str,
        plain: PlainHttp,
    ) -> Result<Client, Failure> {
        let (profile, identity) = self.open(passphrase)?;
        let client = Client::join_with(profile, identity, node, rpc, plain).await;
        let client = client?;
        client.resume().await?;
        Ok(client)
    }
}

//! `rotate`: a new rollup key.

use std::{path::PathBuf, sync::Arc};

use emr_client::{L1Client, client::Client, keys::Keys, profile::Profile};
use emr_core::Role;
use emr_crypto::{Identity, ScryptCost};
use secrecy::SecretString;

use crate::{
    failure::{Exit, Failure},
    on_l1::{self, Change, Sent},
    options::Options,
    participant,
    report::{Progress, print, text},
};

/// The command line of `rotate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Rotate {
    /// Write the signed change to this new file; anyone with ether can send it within a day, with `emr-doctor relay FILE`
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Give the account the keys that this identity has, instead of a new one: after it took the account over (`owner`)
    #[arg(long)]
    present: bool,
}

impl Rotate {
    /// Makes a new rollup key and sends it to L1, or goes on where an earlier run stopped.
    ///
    /// # Errors
    /// Fails if the identity cannot be opened or written, if it has no account, if the Ethereum node does not answer, if there is no ether, or if
    /// the contract refuses.
    pub async fn run(&self, options: &Options, role: Role) -> Result<(), Failure> {
        let passphrase = participant::passphrase(options, role)?;
        let open = || participant::unlock(&options.data_dir(role)?, role, &passphrase);
        let (mut profile, mut identity) = open()?;
        if self.present {
            if identity.rotated().is_some() {
                let message = "an earlier `rotate` made a newer key: run `rotate` without --present";
                return Err(Failure::new(Exit::Refused, message));
            }
            let client = on_l1::connect(options, profile, identity.clone()).await?;
            return self.send(&client, Arc::new(identity), options.json).await;
        }
        let begun = identity.rotated();
        if let Some(rotated) = &begun {
            match in_force(options, profile, identity, rotated, &passphrase).await {
                Ok(true) => return text("it is in force; `rotate` again for another one"),
                Ok(false) => eprintln!("an earlier `rotate` made a key that is not in force yet: it is sent again"),
                Err(failure) => eprintln!(
                    "an earlier `rotate` made a key, and whether it is in force is not known ({failure}): it is sent again"
                ),
            }
            (profile, identity) = open()?;
        }
        let identity = identity.with_next_rollup_key();
        let next = identity.rotated().ok_or_else(|| Failure::new(Exit::Internal, "the identity has no next key"))?;
        let client = on_l1::connect(options, profile, identity.clone()).await?;
        if client.account().is_none() {
            return Err(Failure::new(
                Exit::Usage,
                "this identity has no account yet: only a registered key can be replaced",
            ));
        }
        if self.output.is_none() {
            client.require_ether().await.map_err(on_l1::without_ether)?;
        }
        if begun.is_none() {
            keep(client.profile(), &identity, &passphrase)?;
            eprintln!("the file 'identity' has a new rollup key: back it up again, an older copy does not have it");
        }
        self.send(&client, Arc::new(next), options.json).await
    }

    /// Sends the keys to L1, or signs them into a file.
    async fn send(&self, client: &L1Client, next: Arc<dyn Keys>, json: bool) -> Result<(), Failure> {
        if let Some(file) = &self.output {
            return on_l1::write(&client.sign_rotation(&next).await?, file, json);
        }
        on_l1::say_fee(client).await?;
        let progress = Progress::start("waiting for the transaction");
        let sent = client.rotate(&next).await.map_err(on_l1::without_ether)?;
        drop(progress);
        print(&Sent::of(Change::Rotation, &sent), json)
    }
}

/// Whether the settled state has the key of an earlier run. If so, the identity file has it alone from now on.
async fn in_force(
    options: &Options,
    profile: Profile,
    identity: Identity,
    rotated: &Identity,
    passphrase: &SecretString,
) -> Result<bool, Failure> {
    let client = participant::connect(options, profile, identity).await?;
    let in_force = client.has_rotated(rotated).await?;
    if in_force {
        keep(client.profile(), rotated, passphrase)?;
    }
    Ok(in_force)
}

/// Takes the new rollup key into use, if a rotation was begun and the settled state has it.
///
/// # Errors
/// Fails if the identity file cannot be written.
pub(crate) async fn finish(client: Client, rotation: Option<(Identity, SecretString)>) -> Result<Client, Failure> {
    let (Some((rotated, passphrase)), Ok(_)) = (rotation, client.account()) else { return Ok(client) };
    match client.has_rotated(&rotated).await {
        Ok(true) => {
            keep(client.profile(), &rotated, &passphrase)?;
            eprintln!("the new rollup key is in force");
            Ok(client.with_keys(rotated))
        }
        Ok(false) => Ok(client),
        // The command may not need the key. If it does, it says so.
        Err(error) => {
            eprintln!("whether the new rollup key is in force is not known: {error}");
            Ok(client)
        }
    }
}

fn keep(profile: &Profile, identity: &Identity, passphrase: &SecretString) -> Result<(), Failure> {
    let progress = Progress::start("writing the identity");
    let kept = profile.replace_identity(identity, passphrase, ScryptCost::Standard);
    drop(progress);
    kept.map_err(|error| participant::identity_failure(&error, profile.folder()))
}

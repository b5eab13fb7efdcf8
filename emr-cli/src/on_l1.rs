//! Changes of an account that go to L1, past the hospital: sent, written to a file for others to send, and relayed.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use alloy::{
    primitives::{B256, U256},
    providers::DynProvider,
};
use emr_chain::{Rollup, RollupInstance, SignedChange};
use emr_client::{ClientError, L1Client, flow::account_change::ChangeOnL1, profile::Profile};
use emr_core::Role;
use emr_crypto::Identity;
use emr_durable::Disk;
use serde::Serialize;

use crate::{
    failure::{Exit, Failure},
    input,
    options::Options,
    participant,
    report::{Answer, Progress, ether, print, written},
};

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    Revocation,
    Rotation,
    Closing,
}

impl Change {
    const fn of(signed: &SignedChange) -> Self {
        match signed {
            SignedChange::Revocation(_) => Self::Revocation,
            SignedChange::Rotation(_) => Self::Rotation,
            SignedChange::Closing(_) => Self::Closing,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Revocation => "the revocation",
            Self::Rotation => "the new rollup key",
            Self::Closing => "the end of the account",
        }
    }

    const fn without_it(self) -> &'static str {
        match self {
            Self::Revocation => "nothing is revoked yet",
            Self::Rotation => "the rollup key is still the old one",
            Self::Closing => "the account is still open",
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    change: Change,
    index: u64,
    tx_hash: B256,
    gas_used: u64,
    max_fee_wei: String,
    #[serde(skip)]
    max_fee: U256,
    /// From then on anyone can settle it.
    anyone_settles_from: String,
}

impl Sent {
    pub(crate) fn of(change: Change, sent: &ChangeOnL1) -> Self {
        let ChangeOnL1 { queued, strangers_from } = sent;
        Self {
            change,
            index: queued.index,
            tx_hash: queued.receipt.tx_hash,
            gas_used: queued.receipt.gas_used,
            max_fee_wei: queued.sent.to_string(),
            max_fee: queued.sent,
            anyone_settles_from: written(*strangers_from),
        }
    }
}

impl Answer for Sent {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let name = self.change.name();
        writeln!(out, "{name} is on L1: entry {} of the urgent queue ({})", self.index, self.tx_hash)?;
        writeln!(out, "it cost {} gas, and a fee of at most {} ether", self.gas_used, ether(self.max_fee))?;
        if !self.max_fee.is_zero() {
            writeln!(
                out,
                "what was sent above the fee is the sender's credit in the contract (`withdraw-credit` takes it back)"
            )?;
        }
        writeln!(
            out,
            "{}",
            match self.change {
                Change::Revocation => "hospitals that follow the rules serve nothing under these grants from now on",
                Change::Rotation =>
                    "what was signed with the old key and is not settled counts no more; nothing else can be signed until the entry is settled",
                Change::Closing => "what the account signed and is not settled counts no more",
            }
        )?;
        let time = &self.anyone_settles_from;
        writeln!(
            out,
            "the sequencer must settle it; if it does not, anyone can from {time} on: `emr-doctor settle-queue`"
        )?;
        writeln!(
            out,
            "{}",
            match self.change {
                Change::Revocation =>
                    "readers keep their keys for what is stored; the next command that reaches the hospital makes new ones for new records",
                Change::Rotation => "then give your new card (`whoami`) to everybody who has the old one",
                Change::Closing => "this cannot be undone",
            }
        )
    }
}

#[derive(Debug, Serialize)]
struct WrittenTo<'a> {
    change: Change,
    file: &'a Path,
    valid_until: String,
}

impl Answer for WrittenTo<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (file, until, without) = (self.file.display(), &self.valid_until, self.change.without_it());
        writeln!(out, "{without}: until {until}, anyone with ether can send it with `emr-doctor relay {file}`")
    }
}

/// Writes a signed change to a new file.
///
/// # Errors
/// Fails if the file exists or cannot be written.
pub(crate) fn write(signed: &SignedChange, file: &PathBuf, json: bool) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(signed).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    Disk::default().create(file, &text).map_err(|error| {
        Failure::new(Exit::Storage, format!("cannot make {}: {error}; name a new file", file.display()))
    })?;
    print(&WrittenTo { change: Change::of(signed), file, valid_until: written(signed.deadline()) }, json)
}

/// Warns of a fee before it is paid.
///
/// # Errors
/// Fails if the Ethereum node does not answer.
pub(crate) async fn say_fee(client: &L1Client) -> Result<(), Failure> {
    let fee = client.rollup().urgent_fee().await.map_err(ClientError::from)?;
    if !fee.is_zero() {
        eprintln!("the urgent queue is long: an entry costs up to {} ether now", ether(fee));
    }
    Ok(())
}

/// What somebody without ether can do.
pub(crate) fn without_ether(error: ClientError) -> Failure {
    match error {
        ClientError::NoEther(_) => {
            let message = format!(
                "{error}; or sign it into a file (--output FILE), which anyone with ether can send with `emr-doctor relay FILE`"
            );
            Failure::from(error).saying(message)
        }
        other => other.into(),
    }
}

/// `relay`: sends what somebody signed, and pays for it.
///
/// # Errors
/// Fails if the file holds no signed change, or if the contract refuses.
pub(crate) async fn relay(options: &Options, role: Role, file: &Path) -> Result<(), Failure> {
    let text = input::read_text("the signed change", file)?;
    let signed: SignedChange = serde_json::from_str(&text).map_err(|_| {
        let file = file.display();
        let message = format!(
            "{file} is nothing to relay: `emr-patient revoke --force --output FILE`, `rotate --output FILE` and `close --output FILE` make such files"
        );
        Failure::new(Exit::Input, message)
    })?;
    let client = open(options, role).await?;
    let progress = Progress::start("waiting for the transaction");
    let sent = client.relay(&signed).await?;
    drop(progress);
    print(&Sent::of(Change::of(&signed), &sent), options.json)
}

/// Opens the identity and connects to L1 only.
///
/// # Errors
/// Fails if there is no identity, if it has joined no node and names no rollup, or if the Ethereum node does not answer.
pub(crate) async fn open(options: &Options, role: Role) -> Result<L1Client, Failure> {
    let (profile, identity) = participant::identity(options, role)?;
    connect(options, profile, identity).await
}

/// The contract, for reading only. Asks for no passphrase.
///
/// # Errors
/// Fails like [`open`].
pub(crate) async fn read_only(options: &Options, profile: &Profile) -> Result<Rollup<DynProvider>, Failure> {
    let rpc: Vec<_> = options.rpc.iter().map(url::Url::to_string).collect();
    let named = named(options, profile)?;
    Ok(L1Client::read_only(profile, Some(named), (&rpc, options.agree), options.plain_http()).await?)
}

/// Connects to L1 only.
///
/// # Errors
/// Fails if the profile has joined no node and no rollup is named, or if the Ethereum node does not answer.
pub(crate) async fn connect(options: &Options, profile: Profile, identity: Identity) -> Result<L1Client, Failure> {
    let rpc: Vec<_> = options.rpc.iter().map(url::Url::to_string).collect();
    let named = named(options, &profile)?;
    Ok(L1Client::open(profile, identity, Some(named), (&rpc, options.agree), options.plain_http()).await?)
}

/// The rollup that is named, or that of the profile.
fn named(options: &Options, profile: &Profile) -> Result<RollupInstance, Failure> {
    let known = profile.settings().ok().map(|known| known.instance());
    #[cfg(feature = "hospital")]
    let known = match known {
        // A hospital that has deployed, or adopted a deployment, and has not served yet.
        None => crate::hospital::deployment::DeploymentFile::read(profile.folder())?
            .map(|file| RollupInstance { chain_id: file.chain_id, contract: file.contract }),
        known => known,
    };
    match (
        options.chain_id.or(known.map(|known| known.chain_id)),
        options.contract.or(known.map(|known| known.contract)),
    ) {
        (Some(chain_id), Some(contract)) => Ok(RollupInstance { chain_id, contract }),
        _ => {
            let message = "this profile has joined no hospital's node: name the rollup and an Ethereum node with --contract, --chain-id and --rpc";
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

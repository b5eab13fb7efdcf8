//! `revoke --force`, and `relay`: revocations that go to L1, past the hospital.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use alloy::primitives::{B256, U256};
use emr_chain::{Revocation, RollupInstance, SignedRevocation};
use emr_client::{ClientError, L1Client, flow::force_revoke::ForcedRevocation};
use emr_core::{GrantSlot, Role};
use emr_durable::Disk;
use serde::Serialize;

use crate::{
    failure::{Exit, Failure},
    input,
    options::Options,
    participant,
    report::{Answer, Progress, ether, print, written},
};

/// A patient's command line for a revocation on L1.
#[derive(Clone, Debug, clap::Args)]
pub struct Force {
    /// Revoke on L1, without the hospital: every grant ends, or the one in --slot. Needs ether, or --output
    #[arg(long)]
    pub force: bool,
    /// With --force: only the grant in this slot, as `grants` lists it
    #[arg(long, value_name = "SLOT", requires = "force")]
    slot: Option<GrantSlot>,
    /// With --force: write the signed revocation to this new file; anyone with ether can send it within a day, with `emr-doctor relay FILE`
    #[arg(long, short, value_name = "FILE", requires = "force")]
    output: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Forced {
    index: u64,
    tx_hash: B256,
    gas_used: u64,
    max_fee_wei: String,
    #[serde(skip)]
    max_fee: U256,
    /// From then on anyone can settle it.
    anyone_settles_from: String,
}

impl Forced {
    fn of(forced: &ForcedRevocation) -> Self {
        let ForcedRevocation { queued, strangers_from } = forced;
        Self {
            index: queued.index,
            tx_hash: queued.receipt.tx_hash,
            gas_used: queued.receipt.gas_used,
            max_fee_wei: queued.sent.to_string(),
            max_fee: queued.sent,
            anyone_settles_from: written(*strangers_from),
        }
    }
}

impl Answer for Forced {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "the revocation is on L1: entry {} of the urgent queue ({})", self.index, self.tx_hash)?;
        writeln!(out, "it cost {} gas, and a fee of at most {} ether", self.gas_used, ether(self.max_fee))?;
        if !self.max_fee.is_zero() {
            writeln!(out, "what was sent above the fee is the sender's credit in the contract (`withdrawCredit`)")?;
        }
        writeln!(out, "hospitals that follow the rules serve nothing under these grants from now on")?;
        let time = &self.anyone_settles_from;
        writeln!(
            out,
            "the sequencer must settle it; if it does not, anyone can from {time} on: `emr-doctor settle-queue`"
        )?;
        writeln!(
            out,
            "readers keep their keys for what is stored; the next command that reaches the hospital makes new ones for new records"
        )
    }
}

#[derive(Debug, Serialize)]
struct Written<'a> {
    file: &'a Path,
    valid_until: String,
}

impl Answer for Written<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (file, until) = (self.file.display(), &self.valid_until);
        writeln!(
            out,
            "nothing is revoked yet: until {until}, anyone with ether can send it with `emr-doctor relay {file}`"
        )
    }
}

impl Force {
    /// Sends or writes the revocation.
    ///
    /// # Errors
    /// Fails if the Ethereum node does not answer, if there is no ether, or if the contract refuses.
    pub async fn run(&self, options: &Options) -> Result<(), Failure> {
        let client = open(options, Role::Patient).await?;
        let revocation = Revocation { slot: self.slot, directory: None };
        if let Some(file) = &self.output {
            let signed = client.sign_revocation(revocation).await?;
            let text =
                serde_json::to_vec_pretty(&signed).map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
            Disk::default().create(file, &text).map_err(|error| {
                Failure::new(Exit::Storage, format!("cannot make {}: {error}; name a new file", file.display()))
            })?;
            return print(&Written { file, valid_until: written(signed.deadline) }, options.json);
        }
        let fee = client.rollup().urgent_fee().await.map_err(ClientError::from)?;
        if !fee.is_zero() {
            eprintln!("the urgent queue is long: an entry costs up to {} ether now", ether(fee));
        }
        let progress = Progress::start("waiting for the transaction");
        let forced = client.force_revoke(&revocation).await.map_err(|error| match error {
            ClientError::NoEther(_) => {
                let message = format!(
                    "{error}; or write the signed revocation to a file (--output FILE), which anyone with ether can send with `emr-doctor relay FILE`"
                );
                Failure::from(error).saying(message)
            }
            other => other.into(),
        })?;
        drop(progress);
        print(&Forced::of(&forced), options.json)
    }
}

/// What a patient can do if the hospital or its node takes no revocation.
pub fn offer(failure: Failure) -> Failure {
    if failure.exit() != Exit::Unavailable {
        return failure;
    }
    let message = format!("{failure}; `emr-patient revoke --force` revokes on L1, without the hospital");
    failure.saying(message)
}

/// `relay`: sends what a patient signed, and pays for it.
///
/// # Errors
/// Fails if the file holds no signed revocation, or if the contract refuses.
pub async fn relay(options: &Options, role: Role, file: &Path) -> Result<(), Failure> {
    let text = input::read_text("the revocation", file)?;
    let signed: SignedRevocation = serde_json::from_str(&text).map_err(|_| {
        let file = file.display();
        Failure::new(
            Exit::Input,
            format!("{file} is no signed revocation: `emr-patient revoke --force --output FILE` makes one"),
        )
    })?;
    let client = open(options, role).await?;
    let progress = Progress::start("waiting for the transaction");
    let forced = client.relay_revocation(&signed).await?;
    drop(progress);
    print(&Forced::of(&forced), options.json)
}

/// Opens the identity and connects to L1 only.
///
/// # Errors
/// Fails if there is no identity, if it has joined no node and names no rollup, or if the Ethereum node does not answer.
pub(crate) async fn open(options: &Options, role: Role) -> Result<L1Client, Failure> {
    let (profile, identity) = participant::identity(options, role)?;
    let rpc: Vec<_> = options.rpc.iter().map(url::Url::to_string).collect();
    let known = profile.settings().ok().map(|known| known.instance());
    let named = match (
        options.chain_id.or(known.map(|known| known.chain_id)),
        options.contract.or(known.map(|known| known.contract)),
    ) {
        (Some(chain_id), Some(contract)) => Some(RollupInstance { chain_id, contract }),
        _ => {
            let message = "this profile has joined no hospital's node: name the rollup and an Ethereum node with --contract, --chain-id and --rpc";
            return Err(Failure::new(Exit::Usage, message));
        }
    };
    Ok(L1Client::open(profile, identity, named, (&rpc, options.agree), options.plain_http()).await?)
}

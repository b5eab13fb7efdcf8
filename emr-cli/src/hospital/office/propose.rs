//! What a registrar proposes.

use std::{io::Write, path::PathBuf};

use alloy::{
    primitives::{Address, B256, U256},
    providers::DynProvider,
};
use clap::Subcommand;
use emr_chain::{Change, ProposalState, Rollup, Size};
use serde::Serialize;

use super::{refused, show};
use crate::{
    failure::{Exit, Failure, OrExit},
    hospital::fees,
    input,
    report::{Answer, written},
};

/// A change that is proposed.
#[derive(Clone, Debug, Subcommand)]
pub enum Propose {
    /// Make an account the sequencer
    Appoint {
        /// The account
        account: Address,
    },
    /// Make an account a registrar
    AddRegistrar {
        /// The account
        account: Address,
    },
    /// End the office of a registrar
    RemoveRegistrar {
        /// The account
        account: Address,
    },
    /// Make an account a guardian
    AddGuardian {
        /// The account
        account: Address,
    },
    /// End the office of a guardian
    RemoveGuardian {
        /// The account
        account: Address,
    },
    /// Change how many guardians must agree
    Threshold {
        /// How many
        guardians: u16,
    },
    /// Change the fee of a registration
    RegistrationFee {
        /// The fee in ether, at most 1
        #[arg(value_parser = fees::parse)]
        ether: U256,
    },
    /// Change what the owner of an overdue urgent entry gets of the sequencer's bond
    Forfeit {
        /// The sum in ether, at most 1
        #[arg(value_parser = fees::parse)]
        ether: U256,
    },
    /// Change how long later proposals wait
    Delay {
        /// Days, from 14 to 90
        #[arg(value_parser = clap::value_parser!(u64).range(14..=90))]
        days: u64,
    },
    /// Replace the sizes in which batches are proved, with their verifiers
    Sizes {
        /// The circuit version that they belong to
        circuit_version: u64,
        /// A JSON file with a list of `{"verifier": ADDRESS, "max_l1": N, "max_l2": N}`. The sizes that there are come first, with the
        /// same slots
        file: PathBuf,
    },
}

impl Propose {
    /// What it changes.
    ///
    /// # Errors
    /// Fails if the file of the sizes is malformed, or if a verifier is not on the chain.
    pub(super) async fn change(self, rollup: &Rollup<DynProvider>) -> Result<Change, Failure> {
        Ok(match self {
            Self::Appoint { account } => Change::Appoint(account),
            Self::AddRegistrar { account } => Change::AddRegistrar(account),
            Self::RemoveRegistrar { account } => Change::RemoveRegistrar(account),
            Self::AddGuardian { account } => Change::AddGuardian(account),
            Self::RemoveGuardian { account } => Change::RemoveGuardian(account),
            Self::Threshold { guardians } => Change::Threshold(guardians),
            Self::RegistrationFee { ether } => Change::RegistrationFee(ether),
            Self::Forfeit { ether } => Change::Forfeit(ether),
            Self::Delay { days } => Change::Delay(days * 24 * 3600),
            Self::Sizes { circuit_version, file } => {
                let text = input::read_text("the sizes", &file)?;
                let sizes: Vec<Size> = serde_json::from_str(&text).or_exit(Exit::Input)?;
                // A settled batch names its size by the position, and nodes derive the state from all of them.
                let slots = |size: &Size| (size.max_l1, size.max_l2);
                let now = refused(rollup.sizes().await)?;
                if !now.iter().map(slots).eq(sizes.iter().take(now.len()).map(slots)) {
                    let message = "batches that are settled name their size by its position: keep the slots of the sizes that there are, in their \
                                   order, and add others behind them";
                    return Err(Failure::new(Exit::Input, message));
                }
                for size in &sizes {
                    // A proposal that fails after 14 days costs 14 days.
                    if !refused(rollup.has_code(size.verifier).await)? {
                        let message = format!("there is no contract at {}: deploy the verifier first", size.verifier);
                        return Err(Failure::new(Exit::Input, message));
                    }
                }
                Change::Sizes { circuit_version, sizes }
            }
        })
    }
}

/// A proposal that was made.
#[derive(Debug, Serialize)]
pub(super) struct Proposed {
    proposal: B256,
    change: Change,
    executable_from: Option<String>,
    tx_hash: B256,
    gas_used: u64,
}

impl Proposed {
    /// Proposes a change.
    ///
    /// # Errors
    /// Fails if the contract refuses.
    pub(super) async fn new(rollup: &Rollup<DynProvider>, change: Change) -> Result<Self, Failure> {
        let (proposal, receipt) = refused(rollup.propose(&change, rand::random::<[u8; 32]>().into()).await)?;
        let executable_from = match show::proposal(rollup, proposal).await?.state {
            ProposalState::Waiting(from) => Some(written(from)),
            ProposalState::Done | ProposalState::Cancelled => None,
        };
        Ok(Self { proposal, change, executable_from, tx_hash: receipt.tx_hash, gas_used: receipt.gas_used })
    }
}

impl Answer for Proposed {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "proposal {}", self.proposal)?;
        writeln!(out, "{} ({} gas, {})", self.change, self.gas_used, self.tx_hash)?;
        let from = self.executable_from.as_deref().unwrap_or("14 days from now");
        writeln!(out, "from {from} on, anyone can run `emr-hospital office execute {}`", self.proposal)
    }
}

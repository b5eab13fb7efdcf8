//! Shows who holds the offices, and what is proposed.

use std::io::Write;

use alloy::{primitives::B256, providers::DynProvider};
use emr_chain::{Offices, Proposal, ProposalState, Rollup};
use emr_core::UnixTime;
use serde::Serialize;

use super::refused;
use crate::{
    failure::{Exit, Failure},
    report::{Answer, ether, written},
};

/// The offices and the proposals.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    offices: Offices,
    proposals: Vec<Proposal>,
}

/// Reads the offices and the proposals from L1.
///
/// # Errors
/// Fails if the Ethereum node does not answer.
pub(super) async fn read(rollup: &Rollup<DynProvider>) -> Result<Shown, Failure> {
    Ok(Shown { offices: refused(rollup.offices().await)?, proposals: refused(rollup.proposals().await)? })
}

/// The proposal with this identifier.
///
/// # Errors
/// Fails if there is none.
pub(super) async fn proposal(rollup: &Rollup<DynProvider>, id: B256) -> Result<Proposal, Failure> {
    let found = refused(rollup.proposal(id).await)?;
    found.ok_or_else(|| {
        Failure::new(Exit::Input, format!("there is no proposal {id}: `emr-hospital office show` lists them"))
    })
}

impl Answer for Shown {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Offices { sequencer, offered_to, elected, elected_from, voters, registrars, guardians, .. } = &self.offices;
        writeln!(out, "sequencer   {sequencer}")?;
        if let Some(to) = offered_to {
            writeln!(out, "            offers the office to {to}")?;
        }
        if let (Some(account), Some(from)) = (elected, elected_from) {
            writeln!(
                out,
                "            hospital {account} is elected, and can take the office from {} on",
                written(*from)
            )?;
        }
        writeln!(out, "voters      {voters} hospitals that were active 30 days ago")?;
        writeln!(
            out,
            "bond        {} ether; an overdue entry takes {}",
            ether(self.offices.bond),
            ether(self.offices.forfeit)
        )?;
        for registrar in registrars {
            writeln!(out, "registrar   {registrar}")?;
        }
        for guardian in guardians {
            writeln!(out, "guardian    {guardian}")?;
        }
        if guardians.is_empty() {
            writeln!(out, "guardians   none: nobody can halt settlement or cancel a proposal")?;
        } else {
            writeln!(out, "            {} of {} must agree", self.offices.threshold, guardians.len())?;
        }
        if let Some(halt) = &self.offices.halt {
            let is = if halt.is_on(UnixTime::now()) { "halted until" } else { "was halted until" };
            writeln!(out, "settlement  {is} {}", written(halt.until))?;
        }
        match self.offices.sizes_revision {
            0 => writeln!(out, "sizes       those of the deployment")?,
            changes => {
                let sizes = self.offices.sizes;
                writeln!(
                    out,
                    "sizes       {sizes}: changed {changes} times since the deployment; users name them with --sizes"
                )?;
            }
        }
        for Proposal { id, change, state, .. } in &self.proposals {
            let state = match state {
                ProposalState::Waiting(from) if *from <= UnixTime::now() => "can be executed".to_owned(),
                ProposalState::Waiting(from) => format!("waits until {}", written(*from)),
                ProposalState::Done => "executed".to_owned(),
                ProposalState::Cancelled => "cancelled or lapsed".to_owned(),
            };
            let change = change.as_ref().map_or_else(
                || "something that this program does not propose: look at it before you let it happen".to_owned(),
                ToString::to_string,
            );
            writeln!(out, "proposal    {id} ({state}): {change}")?;
        }
        Ok(())
    }
}

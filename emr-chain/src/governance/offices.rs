//! Who holds which office now.

use alloy::{
    primitives::{Address, U256},
    providers::Provider,
};
use emr_core::{AccountIndex, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{
    registry::{index, number},
    revert::RollupError,
    rollup::Rollup,
    sizes::SizesDigest,
};

/// A time without settlement, which guardians began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// From this second on nothing was settled.
    pub from: UnixTime,
    /// From this second on settlement goes on.
    pub until: UnixTime,
}

impl Halt {
    /// Whether nothing is settled at this time.
    pub fn is_on(&self, now: UnixTime) -> bool {
        self.from <= now && now < self.until
    }
}

/// The offices of a rollup and who holds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offices {
    /// The contract of the offices.
    pub governance: Address,
    /// The account that settles batches.
    pub sequencer: Address,
    /// The account to which the sequencer offers the office.
    pub offered_to: Option<Address>,
    /// The hospital that has the majority of the votes.
    pub elected: Option<AccountIndex>,
    /// From when on the elected hospital can take the office.
    pub elected_from: Option<UnixTime>,
    /// How many hospitals were active 30 days ago. A candidate needs the votes of more than half of them.
    pub voters: u64,
    /// Those who admit, suspend and propose.
    pub registrars: Vec<Address>,
    /// Those who halt and cancel.
    pub guardians: Vec<Address>,
    /// How many guardians must agree.
    pub threshold: u16,
    /// The last halt.
    pub halt: Option<Halt>,
    /// How often the sizes changed since the deployment.
    pub sizes_revision: u64,
    /// The sizes and verifiers as they are now.
    pub sizes: SizesDigest,
    /// The sequencer's bond, in wei.
    pub bond: U256,
    /// What the owner of an overdue urgent entry gets of it, in wei.
    pub forfeit: U256,
}

impl<P: Provider> Rollup<P> {
    /// The account that settles batches.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn sequencer(&self) -> Result<Address, RollupError> {
        Ok(self.contract().sequencer().call().await?)
    }

    /// How often the sizes changed since the deployment.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn sizes_revision(&self) -> Result<u64, RollupError> {
        Ok(self.contract().sizesRevision().call().await?)
    }

    /// Names the sizes and verifiers as they are now.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn sizes_digest(&self) -> Result<SizesDigest, RollupError> {
        let version = self.contract().circuitVersion().call().await?;
        Ok(SizesDigest::of(version.saturating_to(), &self.sizes().await?))
    }

    /// The last halt; `None` if there was none.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn last_halt(&self) -> Result<Option<Halt>, RollupError> {
        let halt = self.contract().lastHalt().call().await?;
        let (from, until) = (time(halt.from.to())?, time(halt.until.to())?);
        Ok((from.get() != 0).then_some(Halt { from, until }))
    }

    /// Who holds which office now.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn offices(&self) -> Result<Offices, RollupError> {
        let governance = self.governance();
        let sequencer = self.sequencer().await?;
        let election = governance.election().call().await?;
        let elected = index(election.candidate)?;
        let elected_from = elected.is_some().then(|| time(election.from.to())).transpose()?;
        let offered_to = governance.offerOf(sequencer).call().await?;
        let guardians = governance.guardians().call().await?;
        Ok(Offices {
            governance: *governance.address(),
            sequencer,
            offered_to: (!offered_to.is_zero()).then_some(offered_to),
            elected,
            elected_from,
            voters: governance.votes(alloy::primitives::aliases::U24::ZERO).call().await?.hospitals.saturating_to(),
            registrars: governance.registrars().call().await?,
            guardians: guardians.all,
            threshold: guardians.threshold,
            halt: self.last_halt().await?,
            sizes_revision: self.sizes_revision().await?,
            sizes: self.sizes_digest().await?,
            bond: governance.bondOf(sequencer).call().await?,
            forfeit: governance.forfeit().call().await?.to(),
        })
    }

    /// How many hospitals vote for this one.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn votes_for(&self, candidate: AccountIndex) -> Result<u64, RollupError> {
        Ok(self.governance().votes(number(candidate)).call().await?.votes_.saturating_to())
    }
}

pub(super) fn time(seconds: u64) -> Result<UnixTime, RollupError> {
    UnixTime::new(seconds.min(UnixTime::MAX)).map_err(|error| RollupError::Malformed(error.to_string()))
}

//! The emergency grants that doctors opened, as the patient sees them.

use std::collections::BTreeMap;

use emr_core::{AccountIndex, GrantSlot, Rights, UnixTime};
use emr_rollup::operation::MAX_EMERGENCY;

use crate::{
    client::Client,
    error::ClientError,
    flow::{light_check::Depth, owners::in_epoch},
    verify::{delegated::givers, emergency::OpenEmergency, light::VerifiedLeaves},
};

/// How far the patient's clock may be ahead of the time of batches, in seconds.
const CLOCK_MARGIN: u64 = 3600;

impl Client {
    /// The patient's proved leaves, and the emergency grants that hold now with their reasons. Only as much of the audit chain is read as these
    /// need: at most a day of it, and nothing if there are none.
    ///
    /// # Errors
    /// As for [`Self::own_leaves`].
    pub async fn own_leaves_with_emergencies(&self) -> Result<(VerifiedLeaves, Vec<OpenEmergency>), ClientError> {
        let (leaves, now) = (self.own_leaves().await?, UnixTime::now());
        if leaves.access(now).all(|view| view.slot >= GrantSlot::FIRST_ORDINARY) {
            return Ok((leaves, Vec::new()));
        }
        let since = UnixTime::new(now.get().saturating_sub(MAX_EMERGENCY + CLOCK_MARGIN))?;
        let (walk, entries) = self.audited(usize::MAX, Depth::Since(since)).await?;
        let leaves = walk.into_leaves();
        let emergencies = leaves.emergencies(&entries, now)?;
        Ok((leaves, emergencies))
    }

    /// The same, and the delegates who gave the grants that hold, by slot. If the patient has, or had, a delegate, the whole audit chain is read:
    /// it proves who signed each grant.
    ///
    /// # Errors
    /// As for [`Self::own_leaves`].
    pub async fn own_leaves_with_givers(
        &self,
    ) -> Result<(VerifiedLeaves, Vec<OpenEmergency>, BTreeMap<GrantSlot, AccountIndex>), ClientError> {
        if !self.profile.has_delegates() {
            let (leaves, emergencies) = self.own_leaves_with_emergencies().await?;
            let manages = |view: &emr_api::GrantView| view.grant.rights.contains(Rights::MANAGE);
            if !leaves.grants().iter().any(manages) {
                return Ok((leaves, emergencies, BTreeMap::new()));
            }
            self.profile.note_delegates()?;
        }
        let (walk, entries) = self.audited(usize::MAX, Depth::First).await?;
        let leaves = walk.finish()?.leaves().clone();
        let emergencies = leaves.emergencies(&entries, UnixTime::now())?;
        let givers = givers(&entries, self.account()?);
        Ok((leaves, emergencies, givers))
    }

    /// How many slots hold an emergency grant that was settled since the last call, ended or not. The next call does not count them again.
    ///
    /// # Errors
    /// [`ClientError`] if the node or L1 cannot be asked, the node's answer does not hold, or the profile cannot be written.
    pub async fn new_emergencies(&self) -> Result<usize, ClientError> {
        let card = self.own_card().await?;
        let (view, _) = self.patient_view(&card).await?;
        let settled = self.settled_grants(&view).await?;
        let emergencies = settled.grants.iter().filter(|view| view.grant.rights == Rights::EMERGENCY);
        let slots = emergencies.map(|view| (view.slot, view.grant.version));
        Ok(self.profile.note_emergencies(in_epoch(&card), slots)?)
    }
}

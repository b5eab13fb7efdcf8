//! The emergency grants that hold, with what the audit chain says of each. Pure.

use emr_core::{GrantSlot, Purpose, UnixTime};
use emr_rollup::{
    operation::Kind,
    state::leaf::{AuditEntry, GrantLeaf, Target},
};

use crate::verify::light::{LightError, VerifiedLeaves, name};

/// An emergency grant that holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenEmergency {
    /// Its slot.
    pub slot: GrantSlot,
    /// The grant. Its grantee is the doctor who opened it.
    pub grant: GrantLeaf,
    /// The reason and the class.
    pub purpose: Purpose,
    /// The time of the batch that settled it.
    pub opened: UnixTime,
}

impl VerifiedLeaves {
    /// The emergency grants that hold at a given time. `entries` is a proved end of the audit chain that reaches back by
    /// [`MAX_EMERGENCY`](emr_rollup::operation::MAX_EMERGENCY) at least.
    ///
    /// # Errors
    /// [`LightError::Unaccounted`] if no entry opened one of them.
    pub fn emergencies(&self, entries: &[AuditEntry], now: UnixTime) -> Result<Vec<OpenEmergency>, LightError> {
        let open = self.access(now).filter(|view| view.slot < GrantSlot::FIRST_ORDINARY);
        let found = open.map(|view| {
            let target = Target::Grant(view.slot);
            let entry =
                entries.iter().rev().find(|entry| entry.kind == Kind::BreakGlass && entry.target == target.into());
            let (entry, purpose) = entry
                .and_then(|entry| Some((entry, entry.purpose?)))
                .ok_or_else(|| LightError::Unaccounted(name(target)))?;
            Ok(OpenEmergency { slot: view.slot, grant: view.grant, purpose, opened: entry.time })
        });
        found.collect()
    }
}

//! Grants of delegates that ended: the keys that they handed on must open nothing new.
//!
//! Such keys are links into the key directory of that time. They open a class until a directory begins a later epoch of it, however many
//! directories with the same epochs came between. So the epochs decide, and not the directory in force.

use std::collections::BTreeMap;

use emr_api::{DelegatedGrant, GrantView};
use emr_core::{ClassMask, Rights};
use emr_rollup::operation::Action;

use crate::{
    client::Client,
    error::ClientError,
    flow::handed_on::{Proved, held},
    flow::own_directory::Own,
    flow::owners::owned,
    profile::CurrentEpochs,
};

impl Client {
    /// The classes whose keys delegates handed on under grants that ended, and that have no later epoch in `own.directory` since. `lasting` are the
    /// patient's grants that last.
    ///
    /// If this profile does not know the epochs of the directory that the keys lead into, they count as those of the directory in force: that one is
    /// later, so its epochs are the same or later ones. This is noted, so that it begins one epoch and not one in each run.
    ///
    /// Nothing about a delegate's grant stops the patient from revoking: what cannot be checked is left out, and the next run tries again.
    ///
    /// # Errors
    /// [`ClientError::File`] if the profile cannot be written.
    pub(super) async fn left_open(
        &self,
        own: &Own,
        lasting: &[GrantView],
        delegated: &[DelegatedGrant],
        proved: &mut Proved,
    ) -> Result<ClassMask, ClientError> {
        let patient = owned(&own.card);
        let in_force = CurrentEpochs::of(own.in_force());
        let now = CurrentEpochs::of(own.directory.published().root());
        let (mut left_open, mut unknown) = (0, BTreeMap::new());
        for grant in delegated {
            let Action::SetGrant(set) = grant.signed.operation.action else { continue };
            if !set.leaf.rights.contains(Rights::READ) || held(lasting, grant).is_some() {
                continue;
            }
            // What is settled only after the state that this run looks at may be in force.
            let Some(batch) = grant.batch.filter(|batch| *batch <= own.view.proof.batch) else { continue };
            let directory = set.directory_after;
            let known = self.profile.epochs_of(patient, directory).or_else(|| unknown.get(&directory).copied());
            let closed = now.later_than(&known.unwrap_or(in_force)).bits();
            let open = set.leaf.scope.bits() & !closed & !left_open;
            if known.is_some() && open == 0 {
                continue;
            }
            // Only then did a reader get keys, and only then is the directory one that was in force before. A node and any account together could
            // otherwise make the patient begin epochs in each run.
            if self.settled_by_delegate(grant, batch, own.view.patient, proved).await.is_err() {
                continue;
            }
            if known.is_none() {
                unknown.insert(directory, in_force);
            }
            left_open |= open;
        }
        self.profile.note_epochs(patient, &unknown)?;
        Ok(ClassMask::from_bits(left_open))
    }

    /// Notes the current epochs of the directory in force and of the one that is published next, if there is or was a delegate.
    ///
    /// # Errors
    /// [`ClientError::File`] if the profile cannot be written.
    pub(super) fn note_epochs(&self, own: &Own) -> Result<(), ClientError> {
        if !own.has_delegates() {
            return Ok(());
        }
        let mut directories =
            BTreeMap::from([(own.next().commitment, CurrentEpochs::of(own.directory.published().root()))]);
        if !own.before.is_none() {
            directories.insert(own.before, CurrentEpochs::of(own.in_force()));
        }
        Ok(self.profile.note_epochs(owned(&own.card), &directories)?)
    }
}

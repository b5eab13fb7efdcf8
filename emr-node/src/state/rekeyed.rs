//! Which ciphertext settled Rekeys replaced.

use std::{collections::BTreeMap, sync::Arc};

use emr_core::{AccountIndex, RecordSlot, Revision, Version};
use emr_rollup::{
    operation::{Action, Operation},
    plain_bytes,
    state::leaf::RecordLeaf,
};
use rpds::RedBlackTreeMapSync;

/// The newest ciphertext of every version that a settled Rekey stored again. It is derived from the settled operations, at every start and after
/// each batch. So a Rekey that L1 takes back replaces nothing. It stays right if the record gets a later version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rekeyed {
    patients: RedBlackTreeMapSync<AccountIndex, Arc<Versions>>,
}

/// The revision of the newest ciphertext of each version.
type Versions = BTreeMap<(RecordSlot, Version), Revision>;

impl Rekeyed {
    /// Adds an operation that was settled.
    pub(crate) fn settle(&mut self, operation: &Operation) {
        if let Action::Rekey(rekey) = &operation.action {
            super::change(&mut self.patients, operation.patient, |versions: &mut Versions| {
                versions.insert((rekey.slot, rekey.leaf.version), rekey.leaf.revision);
            });
        }
    }

    /// Whether a settled Rekey of the same version replaced the ciphertext that a settled operation stored. `leaf` is what that operation wrote.
    pub(crate) fn has_replaced(&self, patient: AccountIndex, slot: RecordSlot, leaf: &RecordLeaf) -> bool {
        let newest = self.patients.get(&patient).and_then(|versions| versions.get(&(slot, leaf.version)));
        newest.is_some_and(|newest| leaf.revision < *newest)
    }
}

plain_bytes! {
    Rekeyed { patients }
}

//! Records that lose their keys because a change of the key directory is returned.

use std::collections::BTreeMap;

use emr_core::AccountIndex;
use emr_rollup::operation::{Blocks, SignedOperation};

use crate::{mempool::Sequence, state::open::OpenOperations};

/// Why such a record is returned.
const REASON: &str =
    "the key directory that this record may be sealed under was returned: seal the record again and submit it again";

/// Changes of key directories that a sealing returns.
///
/// A record that was acknowledged after such a change may be sealed under an epoch of the new directory. The secret of this epoch is in that
/// directory only. If the directory never comes into force, nobody can open the record. So the record is returned too, and its author seals it
/// again. All later records on the patient are returned, also those of classes without a new epoch: the node cannot see which key a wrap uses.
#[derive(Debug, Default)]
pub(super) struct LostDirectories(BTreeMap<AccountIndex, Sequence>);

impl LostDirectories {
    /// Notes a returned operation.
    pub(super) fn note(&mut self, sequence: Sequence, signed: &SignedOperation) {
        let operation = &signed.operation;
        if operation.action.directories().is_some_and(|(before, after)| before != after) {
            let first = self.0.entry(operation.patient).or_insert(sequence);
            *first = sequence.min(*first);
        }
    }

    /// Whether an open operation's record may be sealed under a lost directory.
    pub(super) fn has_keys_of(&self, sequence: Sequence, signed: &SignedOperation) -> bool {
        let operation = &signed.operation;
        matches!(operation.action.blocks(), Blocks::Record { .. })
            && self.0.get(&operation.patient).is_some_and(|first| *first < sequence)
    }

    /// All open records that may be sealed under a lost directory, with the reason of their return. Those that this batch does not reach are
    /// among them: the next sealing no longer knows of the change.
    pub(super) fn records(&self, open: &OpenOperations) -> Vec<(Sequence, String)> {
        let on_patients = self.0.keys().flat_map(|patient| open.on_patient(*patient));
        let lost = on_patients.filter(|(sequence, open)| self.has_keys_of(*sequence, &open.signed));
        lost.map(|(sequence, _)| (sequence, REASON.to_owned())).collect()
    }
}

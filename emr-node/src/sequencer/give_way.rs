//! Which operations of delegates give way to an operation of the patient.
//!
//! A delegate acts for the patient, so the patient's own operation always goes first. If both want to write the same slot, the delegate's waiting
//! operation is dropped. If the patient changes or ends the delegate's own grant, everything that waits under that grant is dropped.

use emr_api::OperationStatus;
use emr_core::GrantSlot;
use emr_rollup::{operation::Operation, state::leaf::Target};

use crate::{
    mempool::{Acknowledged, Sequence},
    state::NodeState,
};

/// The waiting operations of delegates that cannot take effect together with this operation of the patient. An operation on which the patient
/// built another one stays, and so does one in a sealed batch.
pub(super) fn find(state: &NodeState, operation: &Operation) -> Vec<Sequence> {
    let (patient, action) = (operation.patient, &operation.action);
    let Target::Grant(slot) = action.target() else { return Vec::new() };
    if operation.signer != patient {
        return Vec::new();
    }
    let leaf = state.soft.patient(patient).and_then(|leaves| leaves.grants.get(&slot));
    // A Revoke ends every version up to the one that it names. So it needs no delegate's operation before it.
    let version = leaf.map_or(0, |leaf| leaf.version.get());
    let is_on_top = !action.rule().ends_rights && version == action.expected();
    let is_built_on = |sequence: Sequence, slot: GrantSlot| {
        state.open.on_patient(patient).any(|(later, open)| {
            let operation = &open.signed.operation;
            later > sequence && operation.signer == patient && operation.action.target() == Target::Grant(slot)
        })
    };
    let gives_way = |(sequence, open): &(Sequence, &Acknowledged)| {
        let signed = &open.signed;
        let Target::Grant(target) = signed.operation.action.target() else { return false };
        signed.operation.is_by_delegate()
            && open.status == OperationStatus::Pending
            && (target == slot && !is_on_top || signed.used_grant() == Some(slot))
            && !is_built_on(*sequence, target)
    };
    state.open.on_patient(patient).filter(gives_way).map(|(sequence, _)| sequence).collect()
}

/// Whether one of these operations writes a slot of the patient.
pub(super) fn writes(state: &NodeState, sequences: &[Sequence], slot: GrantSlot) -> bool {
    let targets = sequences.iter().filter_map(|sequence| state.open.get(*sequence));
    targets.into_iter().any(|open| open.signed.operation.action.target() == Target::Grant(slot))
}

//! A patient's part of the state, as far as the caller may see it.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use emr_api::{
    GrantView, MedicalProof, OwnGrantsView, PatientView, RecordProof, RecordSummary, RecordView, StoredAt, SubtreeView,
};
use emr_core::{AccountIndex, ClassMask, RecordSlot};
use emr_rollup::{
    operation::{DirectoryCommitment, SignedOperation},
    state::leaf::{MedicalLeaf, RecordLeaf},
    statement::IdentityFields,
};

use super::{
    Shared,
    extract::{Account, Path},
};
use crate::{mempool::Pointer, request_error::RequestError, state::NodeState};

fn no_patient(patient: AccountIndex) -> RequestError {
    RequestError::not_found(format!("account {patient} is not a patient known here: check the number"))
}

fn summary(state: &NodeState, patient: AccountIndex, slot: RecordSlot, leaf: &RecordLeaf) -> Option<RecordSummary> {
    let settled = state.settled.patient(patient).and_then(|leaves| leaves.records.get(&slot)) == Some(leaf);
    Some(RecordSummary { slot, leaf: *leaf, stored: stored_at(state, leaf)?, settled })
}

pub(super) fn stored_at(state: &NodeState, leaf: &RecordLeaf) -> Option<StoredAt> {
    match state.pointer(&leaf.stored)? {
        Pointer::Record(at) => Some(*at),
        Pointer::Directory(_) | Pointer::HandedOn(_) => None,
    }
}

/// The settled medical leaf at a patient's index, with its proof.
pub(super) fn medical_proof(state: &NodeState, patient: AccountIndex) -> MedicalProof {
    let trees = state.settled.trees();
    MedicalProof {
        batch: state.batches,
        leaf: state.settled.medical(patient),
        path: trees.medical_path(patient),
        identity_root: trees.identity_root(),
        medical_root: trees.medical_root(),
    }
}

/// The open operations that lead from the settled key directory to the soft one.
fn directory_operations(state: &NodeState, patient: AccountIndex) -> Vec<SignedOperation> {
    let mut current = state.settled.medical(patient).map_or(DirectoryCommitment::NONE, |medical| medical.key_directory);
    let mut chain = Vec::new();
    for (_, open) in state.open.on_patient(patient) {
        if let Some((before, after)) = open.signed.operation.action.directories()
            && before == current
            && after != current
        {
            current = after;
            chain.push(open.signed);
        }
    }
    chain
}

pub(super) async fn get(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<PatientView>, RequestError> {
    let now = app.engine().clock.now();
    let state = app.engine().state();
    state.may_see(account.index(), patient, now)?;
    let leaves = state.soft.patient(patient).ok_or_else(|| no_patient(patient))?;
    let identity = state.soft.identity(patient).ok_or_else(|| no_patient(patient))?;
    let medical = state.soft.medical(patient).ok_or_else(|| no_patient(patient))?;
    let grants = if account.index() == patient {
        leaves.grants.iter().map(|(slot, grant)| GrantView { slot: *slot, grant: *grant }).collect()
    } else {
        // Sends the grants as they are in the state, because the grantee signs for that.
        let live = state.live_grants(patient, account.index(), now);
        live.filter_map(|(slot, _)| Some(GrantView { slot, grant: *leaves.grants.get(&slot)? })).collect()
    };
    Ok(Json(PatientView {
        patient,
        epoch: identity.epoch,
        directory: state.directory(medical.key_directory),
        directory_commitment: medical.key_directory,
        grants,
        next_record_slot: next_slot(&leaves.records)?,
        proof: medical_proof(&state, patient),
        directory_operations: directory_operations(&state, patient),
    }))
}

/// The lowest slot that was never written.
fn next_slot(records: &BTreeMap<RecordSlot, RecordLeaf>) -> Result<RecordSlot, RequestError> {
    let taken = records.keys().zip(0..).take_while(|(slot, position)| slot.get() == *position).count();
    RecordSlot::new(taken as u64).map_err(|_| RequestError::refused("all record slots of this patient are used"))
}

pub(super) async fn records(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<Vec<RecordSummary>>, RequestError> {
    let now = app.engine().clock.now();
    let state = app.engine().state();
    state.may_see(account.index(), patient, now)?;
    let leaves = state.soft.patient(patient).ok_or_else(|| no_patient(patient))?;
    let classes = if account.index() == patient {
        ClassMask::ALL
    } else {
        let scopes = state.live_grants(patient, account.index(), now).map(|(_, grant)| grant.scope.bits());
        ClassMask::from_bits(scopes.fold(0, |mask, scope| mask | scope))
    };
    let visible = leaves.records.iter().filter(|(_, leaf)| classes.contains(leaf.class));
    Ok(Json(visible.filter_map(|(slot, leaf)| summary(&state, patient, *slot, leaf)).collect()))
}

pub(super) async fn record(
    State(app): Shared,
    account: Account,
    Path((patient, slot)): Path<(AccountIndex, RecordSlot)>,
) -> Result<Json<RecordView>, RequestError> {
    let now = app.engine().clock.now();
    let state = app.engine().state();
    if account.index() != patient {
        state.may_see(account.index(), patient, now)?;
    }
    let missing = || RequestError::not_found(format!("patient {patient} has no record in slot {slot}"));
    let leaf = state.soft.patient(patient).and_then(|leaves| leaves.records.get(&slot)).ok_or_else(missing)?;
    state.may_read_named(account.index(), patient, leaf.class, now, missing)?;
    let author = state.soft.identity(leaf.author).ok_or_else(missing)?;
    let settled = state.settled.patient(patient);
    let proof = settled.filter(|leaves| leaves.records.get(&slot) == Some(leaf)).and_then(|_| {
        let medical = state.settled.medical(patient)?;
        record_proof(&state, patient, slot, leaf.author, medical)
    });
    // If there is a proof, uses the directory that belongs to it.
    let medical = proof.as_ref().map(|proof| proof.medical).or_else(|| state.soft.medical(patient));
    let directory = medical.and_then(|medical| state.directory(medical.key_directory));
    let directory = directory.ok_or_else(|| RequestError::not_found("the patient has published no key directory"))?;
    Ok(Json(RecordView {
        slot,
        leaf: *leaf,
        stored: stored_at(&state, leaf).ok_or_else(missing)?,
        directory,
        author: IdentityFields::from(author),
        proof,
    }))
}

/// The proof from a settled record leaf to the state root.
pub(super) fn record_proof(
    state: &NodeState,
    patient: AccountIndex,
    slot: RecordSlot,
    author: AccountIndex,
    medical: MedicalLeaf,
) -> Option<RecordProof> {
    let trees = state.settled.trees();
    Some(RecordProof {
        batch: state.batches,
        record_path: trees.subtree(patient)?.records.path(slot.get() as u32),
        medical,
        medical_path: trees.medical_path(patient),
        author_path: trees.identity_path(author),
        identity_root: trees.identity_root(),
        medical_root: trees.medical_root(),
    })
}

/// All settled grants, and the patient's open operations on grants. The answer does not grow with the audit chain.
pub(super) async fn grants(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<OwnGrantsView>, RequestError> {
    if account.index() != patient {
        return Err(RequestError::forbidden("the grants of a patient are shown to that patient only"));
    }
    let state = app.engine().state();
    state.soft.patient(patient).ok_or_else(|| no_patient(patient))?;
    let settled = state.settled.patient(patient).into_iter().flat_map(|leaves| &leaves.grants);
    let pending =
        state.open.on_patient(patient).map(|(_, open)| open.signed).filter(|signed| {
            signed.operation.action.rule().counter.writes_grant() && signed.operation.signer == patient
        });
    Ok(Json(OwnGrantsView {
        batch: state.batches,
        grants: settled.map(|(slot, grant)| GrantView { slot: *slot, grant: *grant }).collect(),
        pending: pending.collect(),
    }))
}

pub(super) async fn subtree(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<SubtreeView>, RequestError> {
    if account.index() != patient {
        return Err(RequestError::forbidden("a subtree is shown to its patient only"));
    }
    let state = app.engine().state();
    let settled = &state.settled;
    let waits = || RequestError::unavailable("your registration is not settled yet: ask again when its batch is");
    let leaves = settled.patient(patient).ok_or_else(waits)?;
    let (identity, medical) = settled.identity(patient).zip(settled.medical(patient)).ok_or_else(waits)?;
    let trees = settled.trees();
    Ok(Json(SubtreeView {
        patient,
        batch: state.batches,
        identity: IdentityFields::from(identity),
        identity_path: trees.identity_path(patient),
        medical,
        medical_path: trees.medical_path(patient),
        identity_root: trees.identity_root(),
        medical_root: trees.medical_root(),
        grants: leaves.grants.iter().map(|(slot, grant)| GrantView { slot: *slot, grant: *grant }).collect(),
        records: leaves
            .records
            .iter()
            .filter_map(|(slot, leaf)| Some(RecordSummary { settled: true, ..summary(&state, patient, *slot, leaf)? }))
            .collect(),
        audit_length: leaves.audit.entries().len() as u64,
        directory: state.directory(medical.key_directory),
        pending: state.open.on_patient(patient).map(|(_, open)| open.signed).collect(),
    }))
}

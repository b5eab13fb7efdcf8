//! The settled versions of a record.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use emr_api::{AuthorProof, RecordVersionsView, RevisionView, StoredAt, VERSIONS_PAGE};
use emr_core::{AccountIndex, RecordSlot, RecordStatus, Revision};
use emr_rollup::{operation::Action, state::leaf::RecordLeaf, statement::IdentityFields};
use serde::Deserialize;

use super::{
    Shared,
    extract::{Account, Path},
    patients::{record_proof, stored_at},
};
use crate::{
    engine::Engine,
    mempool::{Acknowledged, BlockReference, MempoolError},
    request_error::RequestError,
    state::NodeState,
};

#[derive(Deserialize)]
pub(super) struct Range {
    before: u64,
}

/// The revisions before one, the newest first. The caller must be able to read the record as it is now. Of its earlier versions
/// they see those whose class they may read too.
pub(super) async fn page(
    State(app): Shared,
    account: Account,
    Path((patient, slot)): Path<(AccountIndex, RecordSlot)>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Json<RecordVersionsView>, RequestError> {
    let advice = || RequestError::malformed("say which versions: ?before=REVISION");
    let Query(Range { before }) = range.map_err(|_| advice())?;
    let before = Revision::new(before).map_err(|_| advice())?;
    let engine = app.engine();
    let (now, reader) = (engine.clock.now(), account.index());
    // A copy: the tables are read below, and the writer would wait for that.
    let state = engine.state().clone();
    state.may_see(reader, patient, now)?;
    let missing = || RequestError::not_found(format!("patient {patient} has no settled record in slot {slot}"));
    let settled = state.settled.patient(patient).and_then(|leaves| leaves.records.get(&slot)).ok_or_else(missing)?;
    let soft = state.soft.patient(patient).and_then(|leaves| leaves.records.get(&slot)).ok_or_else(missing)?;
    // The soft one counts too: whoever moves a record to another class closes it at once.
    for class in [soft.class, settled.class] {
        if !state.may_know(reader, patient, class, now) {
            return Err(missing());
        }
        state.may_read(reader, patient, class, now)?;
    }

    let operations = engine.mempool.revisions(patient, slot, before, VERSIONS_PAGE)?;
    let last = operations.last().and_then(|last| last.signed.operation.action.record());
    let is_last = operations.len() < VERSIONS_PAGE;
    let next = last.map(|(_, leaf)| leaf.revision).filter(|revision| !is_last && revision.get() > 1);
    let mut readable = BTreeMap::new();
    let mut revisions = Vec::new();
    for operation in operations {
        let Some((_, leaf)) = operation.signed.operation.action.record() else { continue };
        // The tables may be a batch ahead of this state.
        let is_here = leaf.revision <= settled.revision && state.is_current(&operation.patient);
        let class = leaf.class;
        let may_read = *readable.entry(class).or_insert_with(|| state.may_read(reader, patient, class, now).is_ok());
        if is_here && may_read {
            let is_served = reader == patient || settled.status != RecordStatus::Tombstone;
            revisions.extend(revision(engine, &state, &operation, (slot, leaf), is_served)?);
        }
    }
    let mut authors = BTreeMap::new();
    for revision in &revisions {
        let author = revision.leaf.author;
        if let Some(identity) = state.settled.identity(author) {
            let path = || state.settled.trees().identity_path(author);
            let identity = IdentityFields::from(identity);
            authors.entry(author).or_insert_with(|| AuthorProof { account: author, identity, path: path() });
        }
    }
    let medical = state.settled.medical(patient).ok_or_else(missing)?;
    let no_directory = || RequestError::not_found("the patient has published no key directory");
    Ok(Json(RecordVersionsView {
        slot,
        leaf: *settled,
        author: IdentityFields::from(state.settled.identity(settled.author).ok_or_else(missing)?),
        proof: record_proof(&state, patient, slot, settled.author, medical).ok_or_else(missing)?,
        directory: state.directory(medical.key_directory).ok_or_else(no_directory)?,
        revisions,
        authors: authors.into_values().collect(),
        next,
    }))
}

/// One revision. `None` if its batch is not in the tables any more, because L1 took it back.
fn revision(
    engine: &Engine,
    state: &NodeState,
    operation: &Acknowledged,
    (slot, leaf): (RecordSlot, RecordLeaf),
    is_served: bool,
) -> Result<Option<RevisionView>, MempoolError> {
    let signed = &operation.signed.operation;
    let emr_api::OperationStatus::Settled { batch } = operation.status else { return Ok(None) };
    let Some(record) = engine.mempool.batch(batch)? else { return Ok(None) };
    // A deletion names the blocks of the version before it.
    let is_stored = is_served && !matches!(signed.action, Action::Tombstone(_));
    let stored = match stored_at(state, &leaf).filter(|_| is_stored) {
        Some(at) if is_held(engine, signed.patient, slot, &at)? => Some(at),
        _ => None,
    };
    Ok(Some(RevisionView { kind: signed.action.kind(), signer: signed.signer, leaf, batch, time: record.time, stored }))
}

/// Whether an operation on the record still holds a manifest.
fn is_held(engine: &Engine, patient: AccountIndex, slot: RecordSlot, at: &StoredAt) -> Result<bool, MempoolError> {
    let part = |known: &BlockReference| matches!(known, BlockReference::Record { patient: of, slot: in_slot, .. } if of.account == patient && *in_slot == slot);
    Ok(engine.mempool.references(&at.manifest)?.iter().any(part))
}

//! Who uses how much of a patient's space.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use emr_api::{StorageAmount, StorageView, WriterStorage};
use emr_core::AccountIndex;

use super::{
    Shared,
    extract::{Account, Path},
};
use crate::{mempool::Usage, request_error::RequestError, storage::quota::slots_of};

fn amount(usage: Usage) -> StorageAmount {
    StorageAmount { bytes: usage.bytes, blocks: usage.blocks }
}

pub(super) async fn get(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<StorageView>, RequestError> {
    if account.index() != patient {
        return Err(RequestError::forbidden("who uses a patient's space is shown to the patient only"));
    }
    let engine = app.engine();
    let (used, directories) = engine.mempool.used(&account.0)?;
    let twice = engine.mempool.stored_twice(&account.0)?;
    let state = engine.state();
    let leaves = state.soft.patient(patient).ok_or_else(|| {
        RequestError::not_found(format!("account {patient} is not a patient known here: check the number"))
    })?;
    let authors = leaves.records.values().map(|leaf| leaf.author);
    // Records that an earlier owner of a number wrote before a reorganisation count for the patient, but not for the
    // later owner.
    let used: BTreeMap<_, _> = used
        .into_iter()
        .filter(|(writer, _)| state.is_current(writer))
        .map(|(writer, usage)| (writer.account, usage.without(twice.get(&writer).copied().unwrap_or_default())))
        .collect();
    let writers: BTreeSet<AccountIndex> = used.keys().copied().chain(authors).collect();
    let quotas = &engine.quotas;
    let writers = writers.into_iter().map(|writer| WriterStorage {
        account: writer,
        used: amount(used.get(&writer).copied().unwrap_or_default()),
        limit: amount(quotas.share(writer, patient)),
        slots: slots_of(leaves, writer) as u64,
        slot_limit: quotas.slots(writer, patient) as u64,
    });
    Ok(Json(StorageView {
        patient,
        writers: writers.collect(),
        limit: amount(quotas.patient),
        rekeyed: amount(twice.values().copied().fold(Usage::default(), Usage::and)),
        directories: amount(directories),
    }))
}

//! How much is promised: what this node can settle in time, with room that only Revokes may use.

use std::collections::BTreeMap;

pub(super) use emr_api::receipt::SETTLE_WITHIN;
use emr_rollup::operation::Operation;

use crate::{
    http::refusal::Refusal,
    mempool::{Acknowledged, Sequence},
};

/// How much work may wait, seconds: an hour is left to whatever goes wrong.
const WORK: u64 = SETTLE_WITHIN - 3600;
/// What a batch takes from sealing to settlement on a slow machine and a slow chain. Seconds.
const BATCH_SECONDS: u64 = 120;
/// How much of the work only Revokes may fill: registration is free, and whoever fills the mempool must not keep a patient
/// from ending a grant.
const FOR_REVOKES: u64 = WORK / 3;
/// How many operations of one signer.
const MAX_OPEN_PER_SIGNER: usize = 256;
/// How many Revokes of one signer beyond that, or in the room that only Revokes may use.
const MAX_REVOKES_PER_SIGNER: usize = 16;

/// How many operations can be settled in a time, at so many a batch.
const fn operations(seconds: u64, per_batch: usize) -> usize {
    (seconds / BATCH_SECONDS) as usize * per_batch
}

/// Whether another operation can be promised, with batches of `per_batch`.
///
/// # Errors
/// [`Refusal`], which passes as batches are settled.
pub(super) fn check_room(
    open: &BTreeMap<Sequence, Acknowledged>,
    operation: &Operation,
    per_batch: usize,
) -> Result<(), Refusal> {
    let (mut of_signer, mut revokes_of_signer) = (0, 0);
    for other in open.values().map(|open| &open.signed.operation).filter(|other| other.signer == operation.signer) {
        of_signer += 1;
        revokes_of_signer += usize::from(other.action.rule().ends_rights);
    }
    let ordinary = open.len() < operations(WORK - FOR_REVOKES, per_batch) && of_signer < MAX_OPEN_PER_SIGNER;
    let reserved = operation.action.rule().ends_rights
        && open.len() < operations(WORK, per_batch)
        && revokes_of_signer < MAX_REVOKES_PER_SIGNER;
    if ordinary || reserved {
        return Ok(());
    }
    Err(Refusal::unavailable("too many operations wait for a batch: try again when some are settled"))
}

//! The place that an operation gets. A patient's Revoke of a grant always has one. For all other operations the number
//! of places is limited.

use emr_api::{OperationStatus, receipt::SETTLE_WITHIN};
use emr_core::{AccountIndex, GrantSlot};
use emr_rollup::{
    operation::{Blocks, Operation, SignedOperation},
    state::{leaf::Target, ledger::Ledger},
};

use super::{give_way, promise::MARGIN};
use crate::{
    mempool::{Acknowledged, Sequence},
    request_error::RequestError,
    state::{NodeState, open::BATCH_SECONDS},
};

/// How many batches are settled in five hours. Half of their operations are ordinary, if enough urgent ones wait.
const BATCHES: usize = ((SETTLE_WITHIN - MARGIN) / BATCH_SECONDS) as usize;
/// Ordinary places. The batches of five hours hold more, but each open operation takes memory, and time at a start.
const PLACES: usize = 2_400;
/// A Revoke may be replaced only if at most this many operations are open on its patient: they are executed again.
const MAX_REPEATED: usize = 64;
/// How many times an open Revoke may be replaced. Each time costs a row of the file, and may cost a directory.
const MAX_REPLACED: u8 = 4;

/// How many ordinary places one signer may have, if `taken` of all `places` are taken. The fewer places are free, the
/// fewer one signer may have.
const fn places_of_one_signer(taken: usize, places: usize) -> usize {
    if taken < places / 2 {
        256
    } else if taken < places / 4 * 3 {
        32
    } else {
        8
    }
}

/// The kind of place that an operation gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the limited number of places.
    Ordinary,
    /// The place that is reserved for the Revoke of this grant.
    Reserved,
    /// The place of an open Revoke of the same slot. That Revoke is replaced.
    InsteadOf(Sequence),
}

/// Finds the place for an operation. `give_way` are the operations of delegates that are dropped if it is taken.
///
/// # Errors
/// [`RequestError`]; the caller may try again when batches are settled.
pub(crate) fn find(state: &NodeState, operation: &Operation, give_way: &[Sequence]) -> Result<Place, RequestError> {
    if let Some(ended) = ended(operation)
        && let Some(place) = of_revoke(state, operation, ended, give_way)
    {
        return Ok(place);
    }
    let places = PLACES.min(BATCHES * state.open.share());
    let taken = state.open.ordinary_places();
    let is_free =
        taken < places && state.open.ordinary_places_of(operation.signer) < places_of_one_signer(taken, places);
    if is_free {
        Ok(Place::Ordinary)
    } else {
        Err(RequestError::unavailable("too many operations wait for a batch: try again when some are settled"))
    }
}

/// A grant that an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    slot: GrantSlot,
    /// The highest version that ends.
    version: u64,
}

/// The grant that a patient ends on their own account. `None` for operations of others: what they sign takes no reserved place and replaces no
/// operation of the patient.
fn ended(operation: &Operation) -> Option<Ended> {
    let own = operation.signer == operation.patient;
    match operation.action.target() {
        Target::Grant(slot) if own && operation.action.rule().ends_rights => {
            Some(Ended { slot, version: operation.action.expected() })
        }
        Target::Grant(_) | Target::Record(_) => None,
    }
}

/// The place of a patient's Revoke on their own account, other than an ordinary one.
///
/// One place is reserved for each slot that holds a grant, settled or pending. A slot without a grant has no reserved
/// place: otherwise any account could take a thousand places.
fn of_revoke(state: &NodeState, operation: &Operation, revoke: Ended, give_way: &[Sequence]) -> Option<Place> {
    let open_revoke = state.open.on_patient(operation.patient).rev().find(|(_, open)| {
        open.reserved.is_some() && ended(&open.signed.operation).is_some_and(|same| same.slot == revoke.slot)
    });
    // A grant that came after the open Revoke has a reserved place for its own Revoke.
    // A delegate's grant that is dropped has none: else a delegate could make any number of places for a patient.
    let is_dropped = give_way::writes(state, give_way, revoke.slot);
    if holds_grant(&state.soft, operation.patient, revoke.slot) && !is_dropped
        || open_revoke.is_none() && holds_grant(&state.settled, operation.patient, revoke.slot)
    {
        return Some(Place::Reserved);
    }
    let (sequence, older) = open_revoke?;
    may_replace(state, sequence, older, operation, revoke).then_some(Place::InsteadOf(sequence))
}

/// Whether a Revoke may replace an open one of the same slot:
/// - it ends the same versions or more, and is valid at least as long;
/// - the open one is not sealed;
/// - no later operation on this patient may be built on the open one's directory;
/// - the limits [`MAX_REPEATED`] and [`MAX_REPLACED`] allow it.
fn may_replace(
    state: &NodeState,
    sequence: Sequence,
    older: &Acknowledged,
    operation: &Operation,
    revoke: Ended,
) -> bool {
    let Some(least) = ended(&older.signed.operation) else { return false };
    let on_patient = || state.open.on_patient(operation.patient);
    let is_enough = revoke.version >= least.version && operation.valid_until >= older.signed.operation.valid_until;
    let is_built_on = on_patient().any(|(later, open)| later > sequence && builds_on_directory(&open.signed));
    let is_cheap = on_patient().take(MAX_REPEATED + 1).count() <= MAX_REPEATED && older.replaced < MAX_REPLACED;
    let waits = older.status == OperationStatus::Pending && state.settled.patient(operation.patient).is_some();
    is_enough && !is_built_on && is_cheap && waits
}

/// Whether an operation depends on the key directory in force: its record is sealed under it, or it changes the
/// directory.
fn builds_on_directory(signed: &SignedOperation) -> bool {
    let action = &signed.operation.action;
    action.directories().is_some() || !matches!(action.blocks(), Blocks::None)
}

fn holds_grant(ledger: &Ledger, patient: AccountIndex, slot: GrantSlot) -> bool {
    let grant = ledger.patient(patient).and_then(|leaves| leaves.grants.get(&slot));
    grant.is_some_and(|grant| grant.grantee.is_some())
}

//! What is taken and what is promised: a patient's Revoke of a grant always has a place; everything else, as much as can be settled in time.

use emr_api::{OperationStatus, receipt::SETTLE_WITHIN};
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::{
    operation::{Action, Operation},
    version::CircuitVersion,
};

use super::order::{self, Queue};
use crate::{
    http::refusal::Refusal,
    mempool::{Acknowledged, Sequence},
    state::State,
};

/// What a batch takes from sealing to settlement on a slow machine and a slow chain. Seconds.
const BATCH_SECONDS: u64 = 120;
/// What every promise leaves to whatever goes wrong. Seconds.
const MARGIN: u64 = 3600;
/// How many ordinary operations wait, at half of each batch: what is settled in five hours.
const BATCHES: usize = ((SETTLE_WITHIN - MARGIN) / BATCH_SECONDS) as usize;
/// How many ordinary operations of one signer.
const MAX_OPEN_PER_SIGNER: usize = 256;

/// How many operations may wait on a patient if a Revoke is to be replaced: they are executed again.
const MAX_REPEATED: usize = 64;

/// The place that an operation gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of those that are counted.
    Ordinary,
    /// The one that is kept for the Revoke of this grant.
    Reserved,
    /// That of an open Revoke of the same slot, which ends.
    InsteadOf(Sequence),
}

/// The place for an operation.
///
/// A patient's Revoke on their own account always has one, for each slot that holds a grant, settled or pending. A slot that holds none counts
/// for nothing: otherwise any account could take a thousand places. A second Revoke of the slot takes the place of the first only if it
/// ends as much, for as long, the first is not sealed, and nothing came after it on this patient that may be built on its directory.
///
/// # Errors
/// [`Refusal`], which passes as batches are settled.
pub(crate) fn place(state: &State, operation: &Operation) -> Result<Place, Refusal> {
    if let Action::Revoke(revoke) = operation.action
        && operation.signer == operation.patient
    {
        let on_patient = || state.open.iter().filter(|(_, open)| open.signed.operation.patient == operation.patient);
        let same_slot = |open: &Acknowledged| {
            open.reserved && matches!(open.signed.operation.action, Action::Revoke(same) if same.slot == revoke.slot)
        };
        match on_patient().find(|(_, open)| same_slot(open)) {
            None if holds_grant(state, operation.patient, revoke.slot) => return Ok(Place::Reserved),
            None => {}
            Some((older, open)) => {
                let Action::Revoke(least) = open.signed.operation.action else { return full() };
                let enough =
                    revoke.expected >= least.expected && operation.valid_until >= open.signed.operation.valid_until;
                let last = on_patient().next_back().is_some_and(|(sequence, _)| sequence == older);
                let few = state.settled.patient(operation.patient).is_some()
                    && on_patient().take(MAX_REPEATED + 1).count() <= MAX_REPEATED;
                if enough && last && few && open.status == OperationStatus::Pending {
                    return Ok(Place::InsteadOf(*older));
                }
            }
        }
    }
    let ordinary = state.open.values().filter(|open| !open.reserved);
    let (mut all, mut of_signer) = (0, 0);
    for open in ordinary {
        all += 1;
        of_signer += usize::from(open.signed.operation.signer == operation.signer);
    }
    let half = order::share(state.settled.trees().version());
    if all < BATCHES * half && of_signer < MAX_OPEN_PER_SIGNER { Ok(Place::Ordinary) } else { full() }
}

fn full() -> Result<Place, Refusal> {
    Err(Refusal::unavailable("too many operations wait for a batch: try again when some are settled"))
}

/// Whether a slot holds a grant, in the settled state or in the soft one.
fn holds_grant(state: &State, patient: AccountIndex, slot: emr_core::GrantSlot) -> bool {
    [&state.settled, &state.soft].into_iter().any(|ledger| {
        let grant = ledger.patient(patient).and_then(|leaves| leaves.grants.get(&slot));
        grant.is_some_and(|grant| grant.grantee.is_some())
    })
}

/// By when an operation is settled or returned. Counts the batch in flight, the registrations that its accounts wait for, and what goes
/// first; an operation of either sort has half of each batch, whatever comes later of the other sort.
///
/// # Errors
/// [`Refusal`] if an ordinary operation cannot be settled within [`SETTLE_WITHIN`].
pub(crate) fn promise(
    state: &State,
    operation: &Operation,
    place: Place,
    acknowledged: UnixTime,
) -> Result<UnixTime, Refusal> {
    let version = state.settled.trees().version();
    let in_flight = usize::from(state.outstanding.is_some());
    let ahead = match place {
        Place::Ordinary => state.open.values().filter(|open| !open.reserved).count(),
        // Later Revokes of others may go before it, one of a patient before the second of another: twice its place.
        Place::Reserved | Place::InsteadOf(_) => 2 * Queue::of(&state.open, &state.served).turn_of(operation.patient),
    };
    let batches = in_flight + registrations(state, operation, version) + ahead / order::share(version) + 1;
    let settle_by = acknowledged.saturating_add(MARGIN + BATCH_SECONDS * batches as u64);
    if place == Place::Ordinary && settle_by > acknowledged.saturating_add(SETTLE_WITHIN) {
        return Err(Refusal::unavailable(
            "what goes first cannot be settled soon enough to promise this: try again when some of it is",
        ));
    }
    Ok(settle_by.min(operation.valid_until))
}

/// How many batches take registrations before the operation can go in: those of its accounts, and those that operations before it on the
/// same patient wait for.
fn registrations(state: &State, operation: &Operation, version: &CircuitVersion) -> usize {
    let open = state.open.values().map(|open| &open.signed.operation);
    let before = open.filter(|open| open.patient == operation.patient).map(|open| open.signer);
    let accounts: Vec<AccountIndex> = before.chain([operation.signer, operation.patient]).collect();
    let last = state.queue.iter().rposition(|queued| accounts.contains(&queued.registration.account));
    last.map_or(0, |position| position / version.max_l1 + 1)
}

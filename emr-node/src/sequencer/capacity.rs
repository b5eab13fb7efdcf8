//! What is taken and what is promised: a patient's Revoke of a grant always has a place; everything else, as much as can be settled in time.

use emr_api::{OperationStatus, receipt::SETTLE_WITHIN};
use emr_core::{AccountIndex, GrantSlot, UnixTime};
use emr_rollup::{
    operation::{Action, Blocks, Operation, SignedOperation},
    state::ledger::Ledger,
    version::CircuitVersion,
};

use super::order::{self, Along, Queue};
use crate::{
    http::refusal::Refusal,
    mempool::{Acknowledged, Sequence, Turn},
    state::State,
};

/// What a batch takes from sealing to settlement on a slow machine and a slow chain. Seconds.
pub(super) const BATCH_SECONDS: u64 = 120;
/// What every promise leaves to whatever goes wrong. Seconds.
pub(super) const MARGIN: u64 = 3600;
/// How many ordinary operations wait, at half of each batch: what is settled in five hours.
const BATCHES: usize = ((SETTLE_WITHIN - MARGIN) / BATCH_SECONDS) as usize;
/// How many operations may wait on a patient if a Revoke is to be replaced: they are executed again.
const MAX_REPEATED: usize = 64;
/// How often a Revoke that waits is replaced: each costs a row of the file, and may cost a directory.
const MAX_REPLACED: u8 = 4;

/// How many ordinary operations of one signer, when so many of `most` wait already: the fuller, the fewer.
const fn of_one_signer(waiting: usize, most: usize) -> usize {
    if waiting < most / 2 {
        256
    } else if waiting < most / 4 * 3 {
        32
    } else {
        8
    }
}

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
        let of_slot = |open: &Acknowledged| {
            open.turn.is_some()
                && matches!(open.signed.operation.action, Action::Revoke(same) if same.slot == revoke.slot)
        };
        let older = on_patient().rfind(|(_, open)| of_slot(open));
        // A grant that came after the older Revoke has a place for its own.
        if holds_grant(&state.soft, operation.patient, revoke.slot)
            || older.is_none() && holds_grant(&state.settled, operation.patient, revoke.slot)
        {
            return Ok(Place::Reserved);
        }
        if let Some((sequence, open)) = older
            && let Action::Revoke(least) = open.signed.operation.action
        {
            let enough =
                revoke.expected >= least.expected && operation.valid_until >= open.signed.operation.valid_until;
            let built_on = on_patient().any(|(later, open)| later > sequence && builds_on_directory(&open.signed));
            let few = on_patient().take(MAX_REPEATED + 1).count() <= MAX_REPEATED && open.replaced < MAX_REPLACED;
            let waits = open.status == OperationStatus::Pending && state.settled.patient(operation.patient).is_some();
            if enough && !built_on && few && waits {
                return Ok(Place::InsteadOf(*sequence));
            }
        }
    }
    let (mut all, mut of_signer) = (0, 0);
    for open in state.open.values().filter(|open| open.turn.is_none()) {
        all += 1;
        of_signer += usize::from(open.signed.operation.signer == operation.signer);
    }
    let most = BATCHES * order::share(state.settled.trees().version());
    if all < most && of_signer < of_one_signer(all, most) {
        return Ok(Place::Ordinary);
    }
    Err(Refusal::unavailable("too many operations wait for a batch: try again when some are settled"))
}

/// Whether an operation is sealed under the key directory in force, or signed on top of it.
fn builds_on_directory(signed: &SignedOperation) -> bool {
    let action = &signed.operation.action;
    action.directories().is_some() || !matches!(action.blocks(), Blocks::None)
}

fn holds_grant(ledger: &Ledger, patient: AccountIndex, slot: GrantSlot) -> bool {
    let grant = ledger.patient(patient).and_then(|leaves| leaves.grants.get(&slot));
    grant.is_some_and(|grant| grant.grantee.is_some())
}

/// When an operation goes, and by when it is settled or returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Its turn, if it has a reserved place.
    pub(crate) turn: Option<Turn>,
    /// By when.
    pub(crate) settle_by: UnixTime,
}

/// What is promised of an operation that has a place. Counts the batch in flight, the registrations that it waits for, and what goes first: an
/// operation of either sort has half of each batch, whatever comes later of the other sort.
///
/// # Errors
/// [`Refusal`] if an ordinary operation cannot be settled within [`SETTLE_WITHIN`].
pub(crate) fn promise(
    state: &State,
    signed: &SignedOperation,
    place: Place,
    acknowledged: UnixTime,
) -> Result<Promise, Refusal> {
    let operation = &signed.operation;
    let version = state.settled.trees().version();
    let before = usize::from(state.outstanding.is_some()) + registrations(state, operation, version);
    let share = order::share(version);
    let after = |seconds: u64| acknowledged.saturating_add(seconds);
    let batches = |place: usize| BATCH_SECONDS * (before + place / share + 1) as u64;
    if place == Place::Ordinary {
        let on_patient = state.open.values().filter(|open| open.signed.operation.patient == operation.patient);
        // It waits for the Revokes on its patient.
        let revokes = on_patient.filter(|open| open.turn.is_some()).map(|open| open.settle_by).max();
        let ahead = state.open.values().filter(|open| open.turn.is_none()).count();
        let settle_by = after(MARGIN + batches(ahead)).max(revokes.unwrap_or(UnixTime::ZERO));
        if settle_by > after(SETTLE_WITHIN) {
            return Err(Refusal::unavailable(
                "what goes first cannot be settled soon enough to promise this: try again when some of it is",
            ));
        }
        return Ok(Promise { turn: None, settle_by: settle_by.min(operation.valid_until) });
    }
    let queue = Queue::of(&state.open);
    let along = order::taken_along(&state.open, signed);
    let (turn, position) = turn(state, operation, queue.urgent(), along, acknowledged);
    let place = position + along.all - 1;
    // Nothing that comes later goes before the first of a patient. Before a further one it may, as far as this promise allows.
    let settle_by =
        if turn <= state.batches { after(MARGIN + batches(place)) } else { after(MARGIN + 2 * batches(place)) };
    Ok(Promise { turn: Some(turn), settle_by: settle_by.min(operation.valid_until) })
}

/// The turn of a new Revoke, and how many urgent operations go before it. What the patient signed and has to go first counts as turns: nobody
/// gets many operations into one. It goes before others only as far as what was promised of them allows; otherwise after all.
fn turn(
    state: &State,
    operation: &Operation,
    urgent: &[(Turn, (Sequence, &Acknowledged))],
    along: Along,
    now: UnixTime,
) -> (Turn, usize) {
    let of_patient = urgent.iter().filter(|(_, (_, open))| open.signed.operation.patient == operation.patient);
    let (mut own, mut last) = (along.own - 1, 0);
    for (turn, (_, open)) in of_patient {
        own += usize::from(open.signed.operation.signer == operation.patient);
        last = *turn;
    }
    let fair = (state.batches + own as u64).max(last);
    let position = urgent.partition_point(|(turn, _)| *turn <= fair);
    let share = order::share(state.settled.trees().version());
    let kept = urgent[position..].iter().enumerate().all(|(later, (_, (_, open)))| {
        let batches = 1 + (position + later + along.all) / share + usize::from(state.outstanding.is_some());
        let settled = now.saturating_add(MARGIN / 2 + BATCH_SECONDS * batches as u64);
        open.turn.is_none() || settled <= open.settle_by
    });
    match urgent.last() {
        Some((last, _)) if !kept => (*last, urgent.len()),
        _ => (fair, position),
    }
}

/// How many batches take registrations before the operation can go in: those of its accounts, and those that operations before it on the
/// same patient wait for.
fn registrations(state: &State, operation: &Operation, version: &CircuitVersion) -> usize {
    let open = state.open.values().map(|open| &open.signed.operation);
    let before = open.filter(|open| open.patient == operation.patient).map(|open| open.signer);
    let accounts: Vec<AccountIndex> = before.chain([operation.signer, operation.patient]).collect();
    let last = state.queue.iter().rposition(|queued| accounts.contains(&queued.operation.account()));
    last.map_or(0, |position| position / version.max_l1 + 1)
}

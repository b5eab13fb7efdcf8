//! Which operations are accepted, and what is promised. A patient's Revoke of a grant always has a place. Other operations are accepted as long
//! as they can be settled in time.

use emr_api::{OperationStatus, receipt::SETTLE_WITHIN};
use emr_core::{AccountIndex, GrantSlot, UnixTime};
use emr_rollup::{
    operation::{Action, Blocks, Operation, SignedOperation},
    state::ledger::Ledger,
    version::CircuitVersion,
};

use super::order::{self, Along, Queue};
use crate::{
    mempool::{Acknowledged, Sequence, Turn},
    request_error::RequestError,
    state::NodeState,
};

/// How long a batch takes from sealing to settlement, on a slow machine and a slow chain. Seconds.
pub(super) const BATCH_SECONDS: u64 = 120;
/// The reserve in every promise, in case something goes wrong. Seconds.
pub(super) const MARGIN: u64 = 3600;
/// How many batches are settled in five hours. Half of their places limit the number of waiting ordinary operations.
const BATCHES: usize = ((SETTLE_WITHIN - MARGIN) / BATCH_SECONDS) as usize;
/// A Revoke may be replaced only if at most this many operations wait on its patient: they are executed again.
const MAX_REPEATED: usize = 64;
/// How many times a waiting Revoke may be replaced. Each time costs a row of the file, and may cost a directory.
const MAX_REPLACED: u8 = 4;

/// How many ordinary operations of one signer may wait, if `waiting` of at most `most` wait already. The fuller the queue, the fewer.
const fn of_one_signer(waiting: usize, most: usize) -> usize {
    if waiting < most / 2 {
        256
    } else if waiting < most / 4 * 3 {
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

/// Finds the place for an operation.
///
/// A patient's Revoke on their own account always has a place for each slot that holds a grant, settled or pending. A slot without a grant has
/// no reserved place: otherwise any account could take a thousand places. A second Revoke of the slot may replace the first one only if:
/// - it ends the same versions or more, and is valid at least as long;
/// - the first Revoke is not sealed;
/// - no later operation on this patient may be built on the first one's directory;
/// - the limits [`MAX_REPEATED`] and [`MAX_REPLACED`] allow it.
///
/// # Errors
/// [`RequestError`]; the caller may try again when batches are settled.
pub(crate) fn place(state: &NodeState, operation: &Operation) -> Result<Place, RequestError> {
    if let Action::Revoke(revoke) = operation.action
        && operation.signer == operation.patient
    {
        let on_patient = || state.open.iter().filter(|(_, open)| open.signed.operation.patient == operation.patient);
        let of_slot = |open: &Acknowledged| {
            open.turn.is_some()
                && matches!(open.signed.operation.action, Action::Revoke(same) if same.slot == revoke.slot)
        };
        let older = on_patient().rfind(|(_, open)| of_slot(open));
        // A grant that came after the older Revoke has a reserved place for its own Revoke.
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
    Err(RequestError::unavailable("too many operations wait for a batch: try again when some are settled"))
}

/// Whether an operation depends on the key directory in force: its record is sealed under it, or it changes the directory.
fn builds_on_directory(signed: &SignedOperation) -> bool {
    let action = &signed.operation.action;
    action.directories().is_some() || !matches!(action.blocks(), Blocks::None)
}

fn holds_grant(ledger: &Ledger, patient: AccountIndex, slot: GrantSlot) -> bool {
    let grant = ledger.patient(patient).and_then(|leaves| leaves.grants.get(&slot));
    grant.is_some_and(|grant| grant.grantee.is_some())
}

/// When an operation goes into a batch, and when it is settled or returned at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Its turn, if it has a reserved place.
    pub(crate) turn: Option<Turn>,
    /// The latest time at which it is settled or returned.
    pub(crate) settle_by: UnixTime,
}

/// The promise for an operation that has a place. It counts the outstanding batch, the registrations that the operation waits for, and the
/// operations that go first. Urgent and ordinary operations each have half of every batch, so later operations of the other kind do not matter.
///
/// # Errors
/// [`RequestError`] if an ordinary operation cannot be settled within [`SETTLE_WITHIN`].
pub(crate) fn promise(
    state: &NodeState,
    signed: &SignedOperation,
    place: Place,
    acknowledged: UnixTime,
) -> Result<Promise, RequestError> {
    let operation = &signed.operation;
    let version = state.settled.trees().version();
    let before = usize::from(state.outstanding.is_some()) + registrations(state, operation, version);
    let share = order::share(version);
    let after = |seconds: u64| acknowledged.saturating_add(seconds);
    let batches = |place: usize| BATCH_SECONDS * (before + place / share + 1) as u64;
    if place == Place::Ordinary {
        let on_patient = state.open.values().filter(|open| open.signed.operation.patient == operation.patient);
        // An ordinary operation waits for the Revokes on its patient.
        let revokes = on_patient.filter(|open| open.turn.is_some()).map(|open| open.settle_by).max();
        let ahead = state.open.values().filter(|open| open.turn.is_none()).count();
        let settle_by = after(MARGIN + batches(ahead)).max(revokes.unwrap_or(UnixTime::ZERO));
        if settle_by > after(SETTLE_WITHIN) {
            return Err(RequestError::unavailable(
                "what goes first cannot be settled soon enough to promise this: try again when some of it is",
            ));
        }
        return Ok(Promise { turn: None, settle_by: settle_by.min(operation.valid_until) });
    }
    let queue = Queue::of(&state.open);
    let along = order::taken_along(&state.open, signed);
    let (turn, position) = turn(state, operation, queue.urgent(), along, acknowledged);
    let place = position + along.all - 1;
    // No later Revoke goes before a patient's first Revoke. A later Revoke may go before a patient's further Revokes, as far as their
    // promises allow.
    let settle_by =
        if turn <= state.batches { after(MARGIN + batches(place)) } else { after(MARGIN + 2 * batches(place)) };
    Ok(Promise { turn: Some(turn), settle_by: settle_by.min(operation.valid_until) })
}

/// The turn of a new Revoke, and how many urgent operations go before it. Each operation that the patient signed and that must go first
/// counts as one turn: no patient gets many operations into one turn. The Revoke goes before others only if their promises are still kept.
/// Otherwise it goes after all of them.
fn turn(
    state: &NodeState,
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

/// How many batches with registrations must come before the operation can go into a batch. It counts the registrations of the operation's
/// accounts, and those that earlier operations on the same patient wait for.
fn registrations(state: &NodeState, operation: &Operation, version: &CircuitVersion) -> usize {
    let open = state.open.values().map(|open| &open.signed.operation);
    let before = open.filter(|open| open.patient == operation.patient).map(|open| open.signer);
    let accounts: Vec<AccountIndex> = before.chain([operation.signer, operation.patient]).collect();
    let last = state.queue.iter().rposition(|queued| accounts.contains(&queued.operation.account()));
    last.map_or(0, |position| position / version.max_l1 + 1)
}

//! When an operation goes into a batch, and what its receipt promises.
//!
//! A promise counts the outstanding batch, the registrations that the operation waits for, and the operations that go
//! first. Urgent and ordinary operations each have half of every batch, so later operations of the other kind do not
//! matter.

use emr_api::receipt::SETTLE_WITHIN;
use emr_chain::QueueName;
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::operation::{Operation, SignedOperation};

use super::place::Place;
use crate::{
    mempool::{Reserved, Turn},
    request_error::RequestError,
    state::{
        NodeState,
        open::{BATCH_SECONDS, NewlyUrgent, Position},
    },
};

/// The reserve in every promise, in case something goes wrong. Seconds.
pub(crate) const MARGIN: u64 = 3600;

/// When an operation goes into a batch, and when it is settled or returned at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Its turn, if it has a reserved place.
    pub(crate) reserved: Option<Reserved>,
    /// The latest time at which it is settled or returned.
    pub(crate) settle_by: UnixTime,
}

/// The promise for an operation that has a place.
///
/// # Errors
/// [`RequestError`] if an ordinary operation cannot be settled within [`SETTLE_WITHIN`].
pub(crate) fn promise(
    state: &NodeState,
    signed: &SignedOperation,
    place: Place,
    acknowledged: UnixTime,
) -> Result<Promise, RequestError> {
    let queue = Batches {
        first: usize::from(state.outstanding.is_some())
            + queue_batches(state)
            + registration_batches(state, &signed.operation),
        share: state.open.share(),
    };
    let valid_until = signed.operation.valid_until;
    match place {
        Place::Ordinary => {
            let settle_by = ordinary(state, &signed.operation, queue, acknowledged)?;
            Ok(Promise { reserved: None, settle_by: settle_by.min(valid_until) })
        }
        Place::Reserved | Place::InsteadOf(_) => {
            let reserved = reserved(state, signed, queue, acknowledged);
            Ok(Promise { reserved: Some(reserved), settle_by: reserved.latest.min(valid_until) })
        }
    }
}

/// How operations of one kind go into batches.
#[derive(Clone, Copy, Debug)]
struct Batches {
    /// The number of batches before the first one that can take the operation.
    first: usize,
    /// How many operations of this kind a batch takes.
    share: usize,
}

impl Batches {
    /// How long it takes until an operation is settled that has `ahead` operations of its kind before it. Seconds.
    const fn seconds(self, ahead: usize) -> u64 {
        BATCH_SECONDS * (self.first + ahead / self.share + 1) as u64
    }
}

/// When an ordinary operation is settled at the latest.
fn ordinary(
    state: &NodeState,
    operation: &Operation,
    batches: Batches,
    acknowledged: UnixTime,
) -> Result<UnixTime, RequestError> {
    // It waits for the Revokes on its patient.
    let on_patient = state.open.on_patient(operation.patient);
    let revokes = on_patient.filter_map(|(_, open)| Some(open.reserved?.latest)).max().unwrap_or(UnixTime::ZERO);
    let by_place = acknowledged.saturating_add(MARGIN + batches.seconds(state.open.ordinary_places()));
    let settle_by = by_place.max(revokes);
    if settle_by > acknowledged.saturating_add(SETTLE_WITHIN) {
        return Err(RequestError::unavailable(
            "what goes first cannot be settled soon enough to promise this: try again when some of it is",
        ));
    }
    Ok(settle_by)
}

/// The turn of a Revoke with a reserved place, and when it is settled at the latest.
///
/// No later Revoke goes before a patient's first Revoke. A later Revoke may go before a patient's further Revokes, as
/// far as their promises allow: so a further Revoke gets twice the time.
fn reserved(state: &NodeState, revoke: &SignedOperation, batches: Batches, now: UnixTime) -> Reserved {
    let newly_urgent = state.open.newly_urgent(revoke);
    let turn = turn(state, revoke.operation.patient, newly_urgent, now);
    let ahead = state.open.urgent().rank(&Position::after(turn)) + newly_urgent.all - 1;
    let seconds = batches.seconds(ahead);
    let is_first = turn <= state.batches;
    Reserved { turn, latest: now.saturating_add(MARGIN + if is_first { seconds } else { 2 * seconds }) }
}

/// The turn of a new Revoke: the number of settled batches, plus one for each earlier urgent operation that the patient
/// signed. So no patient gets many operations into one turn, and no Revoke overtakes an earlier one of the same
/// patient. If this would break the promise of an operation with a later turn, the Revoke goes into the turn of the
/// last such operation instead.
fn turn(state: &NodeState, patient: AccountIndex, newly_urgent: NewlyUrgent, now: UnixTime) -> Turn {
    let (mut own, mut last_own) = (newly_urgent.own - 1, 0);
    for (sequence, position) in state.open.urgent_on(patient) {
        own += usize::from(state.open.get(sequence).is_some_and(|open| open.signed.operation.signer == patient));
        last_own = position.turn;
    }
    let fair = (state.batches + own as u64).max(last_own);
    // An operation with rank r is settled after r / share + 1 batches, and the outstanding one. With the new Revoke and
    // what it needs first before it, this must be at least half the reserve (`MARGIN`) earlier than the promised time.
    let before = usize::from(state.outstanding.is_some()) + 1;
    let earliest = i128::from(now.get()) + i128::from(MARGIN / 2) + i128::from(BATCH_SECONDS) * before as i128;
    let needed = earliest * state.open.share() as i128 + i128::from(BATCH_SECONDS) * newly_urgent.all as i128;
    let broken = state.open.urgent().last_below(needed).map(|position| position.turn);
    broken.filter(|turn| *turn > fair).unwrap_or(fair)
}

/// How many batches for the queues alone may come first, one after the other: L1 can demand it for urgent entries that are due. Registrations
/// fill at most every second batch, which `BATCH_SECONDS` holds already.
fn queue_batches(state: &NodeState) -> usize {
    let (urgent, sizes) = (state.queues.waiting(QueueName::Urgent), &state.sizes);
    if urgent > sizes.max_l1_beside(1) { urgent.div_ceil(sizes.max_l1_beside(0).max(1)) } else { 0 }
}

/// How many entries of the queues the batches of `BATCH_SECONDS` take, if so many wait: one beside operations, and the one for the queues alone
/// before it, if there is a size for that.
fn entries_at_a_time(state: &NodeState) -> usize {
    let (alone, beside) = (state.sizes.max_l1_beside(0), state.sizes.max_l1_beside(1));
    (if alone > beside { alone + beside } else { beside }).max(1)
}

/// How many batches with registrations must come before the operation can go into a batch. It counts the registrations
/// of the operation's accounts, and those that earlier operations on the same patient wait for.
fn registration_batches(state: &NodeState, operation: &Operation) -> usize {
    let signers = state.open.on_patient(operation.patient).map(|(_, open)| open.signed.operation.signer);
    let accounts = signers.chain([operation.signer, operation.patient]);
    // A settled account has no registration in the queue.
    let queued: Vec<AccountIndex> = accounts.filter(|account| state.settled.identity(*account).is_none()).collect();
    if queued.is_empty() {
        return 0;
    }
    let entries = state.queues.iter().zip(0..).filter(|(entry, _)| queued.contains(&entry.operation.account()));
    let last = entries.map(|(_, position)| position).last();
    last.map_or(0, |position: usize| position / entries_at_a_time(state) + 1)
}

//! The open operations: acknowledged, and neither settled nor returned nor replaced. They either wait for a batch or
//! are in the outstanding one.
//!
//! An *urgent* operation is a Revoke with a reserved place, or an operation that such a Revoke needs first. The index
//! answers every question about what waits without looking at all of it. The time for a new operation grows with the
//! logarithm of their number, and with the number of operations on the same patient.

mod needed;
mod ranked;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use emr_api::OperationStatus;
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::{
    operation::SignedOperation,
    version::{CircuitSizes, CircuitVersion},
};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::mempool::{Acknowledged, Sequence};
use needed::UrgentOnPatient;
pub(crate) use ranked::{Iter as RankedIter, Position, Ranked};

/// How long a batch takes from sealing to settlement, on a slow machine and a slow chain. In a flood of registrations, with the
/// batch for the queue alone that comes before it. Seconds.
pub(crate) const BATCH_SECONDS: u64 = 120;

/// The open operations, and the indexes over them. A clone shares everything with the original.
#[derive(Clone, Debug)]
pub(crate) struct OpenOperations {
    /// How many operations of each batch are urgent, if enough are. As many are ordinary.
    share: usize,
    /// In the order of acknowledgement.
    operations: RedBlackTreeMapSync<Sequence, Arc<Acknowledged>>,
    patients: RedBlackTreeMapSync<AccountIndex, Arc<OnPatient>>,
    /// The operations with an ordinary place.
    ordinary: RedBlackTreeSetSync<Sequence>,
    /// How many ordinary places each signer has.
    signers: RedBlackTreeMapSync<AccountIndex, usize>,
    urgent: Ranked,
    /// By the time that the receipt promises.
    promised: RedBlackTreeSetSync<(UnixTime, Sequence)>,
}

/// The open operations on one patient.
#[derive(Clone, Debug, Default)]
struct OnPatient {
    all: BTreeSet<Sequence>,
    urgent: BTreeMap<Sequence, Position>,
}

/// How many operations become urgent with a new Revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewlyUrgent {
    /// The number of operations, including the Revoke.
    pub(crate) all: usize,
    /// How many of them the patient signed.
    pub(crate) own: usize,
}

impl OpenOperations {
    /// No operations.
    pub(crate) fn new(sizes: &CircuitSizes) -> Self {
        // A batch of a larger size holds more, and takes longer than `BATCH_SECONDS` by as much.
        let standard = sizes.iter().filter(|size| size.k <= CircuitVersion::V1.k).map(|size| size.max_l2).max();
        Self {
            share: (standard.unwrap_or(0) / 2).max(1),
            operations: RedBlackTreeMapSync::default(),
            patients: RedBlackTreeMapSync::default(),
            ordinary: RedBlackTreeSetSync::default(),
            signers: RedBlackTreeMapSync::default(),
            urgent: Ranked::new(i128::from(BATCH_SECONDS)),
            promised: RedBlackTreeSetSync::default(),
        }
    }

    /// How many operations of each batch are urgent, and how many are ordinary, if enough of both wait.
    pub(crate) const fn share(&self) -> usize {
        self.share
    }

    pub(crate) fn len(&self) -> usize {
        self.operations.size()
    }

    pub(crate) fn get(&self, sequence: Sequence) -> Option<&Acknowledged> {
        self.operations.get(&sequence).map(Arc::as_ref)
    }

    pub(crate) fn contains(&self, sequence: Sequence) -> bool {
        self.operations.contains_key(&sequence)
    }

    /// All operations in the order of acknowledgement.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Sequence, &Acknowledged)> {
        self.operations.iter().map(|(sequence, open)| (*sequence, open.as_ref()))
    }

    /// The operations on one patient in the order of acknowledgement.
    pub(crate) fn on_patient(
        &self,
        patient: AccountIndex,
    ) -> impl DoubleEndedIterator<Item = (Sequence, &Acknowledged)> {
        let all = self.patients.get(&patient).into_iter().flat_map(|on_patient| &on_patient.all);
        all.filter_map(|sequence| Some((*sequence, self.get(*sequence)?)))
    }

    /// The operations with an ordinary place, in the order of acknowledgement.
    pub(crate) fn ordinary(&self) -> impl Iterator<Item = (Sequence, &Acknowledged)> {
        self.ordinary.iter().filter_map(|sequence| Some((*sequence, self.get(*sequence)?)))
    }

    /// How many ordinary places are taken.
    pub(crate) fn ordinary_places(&self) -> usize {
        self.ordinary.size()
    }

    /// How many ordinary places one signer has.
    pub(crate) fn ordinary_places_of(&self, signer: AccountIndex) -> usize {
        self.signers.get(&signer).copied().unwrap_or(0)
    }

    /// The urgent operations in the order in which they go into batches.
    pub(crate) fn urgent(&self) -> &Ranked {
        &self.urgent
    }

    /// The urgent operations on one patient, in the order of acknowledgement.
    pub(crate) fn urgent_on(&self, patient: AccountIndex) -> impl Iterator<Item = (Sequence, Position)> {
        let urgent = self.patients.get(&patient).into_iter().flat_map(|on_patient| &on_patient.urgent);
        urgent.map(|(sequence, position)| (*sequence, *position))
    }

    /// The operations whose promised time is before `now`, with that time.
    pub(crate) fn overdue(&self, now: UnixTime) -> impl Iterator<Item = (Sequence, UnixTime)> {
        self.promised.range(..(now, 0)).map(|(settle_by, sequence)| (*sequence, *settle_by))
    }

    /// How many operations become urgent with a new Revoke.
    pub(crate) fn newly_urgent(&self, revoke: &SignedOperation) -> NewlyUrgent {
        let patient = revoke.operation.patient;
        let mut newly = NewlyUrgent { all: 1, own: 1 };
        let Some(on_patient) = self.patients.get(&patient) else { return newly };
        let mut urgent = UrgentOnPatient::default();
        urgent.take_revoke(Sequence::MAX, 0, revoke);
        for (sequence, open) in self.on_patient(patient).rev() {
            if urgent.take(sequence, open).is_some() && !on_patient.urgent.contains_key(&sequence) {
                newly.all += 1;
                newly.own += usize::from(open.signed.operation.signer == patient);
            }
        }
        newly
    }

    /// Adds an operation.
    pub(crate) fn insert(&mut self, sequence: Sequence, open: Acknowledged) {
        self.remove(sequence);
        let operation = &open.signed.operation;
        let (patient, signer, is_reserved) = (operation.patient, operation.signer, open.reserved.is_some());
        self.promised.insert_mut((open.settle_by, sequence));
        if !is_reserved {
            self.ordinary.insert_mut(sequence);
            self.signers.insert_mut(signer, self.ordinary_places_of(signer) + 1);
        }
        self.operations.insert_mut(sequence, Arc::new(open));
        let mut is_last = true;
        super::change(&mut self.patients, patient, |on_patient| {
            is_last = on_patient.all.last().is_none_or(|last| *last < sequence);
            on_patient.all.insert(sequence);
        });
        // No Revoke needs a later operation first.
        if is_reserved || !is_last {
            self.find_urgent(patient);
        }
    }

    /// Takes an operation away.
    pub(crate) fn remove(&mut self, sequence: Sequence) -> Option<Arc<Acknowledged>> {
        let open = self.operations.get(&sequence).cloned()?;
        let operation = &open.signed.operation;
        let (patient, signer) = (operation.patient, operation.signer);
        self.operations.remove_mut(&sequence);
        self.promised.remove_mut(&(open.settle_by, sequence));
        if self.ordinary.remove_mut(&sequence) {
            match self.ordinary_places_of(signer) {
                0 | 1 => drop(self.signers.remove_mut(&signer)),
                places => self.signers.insert_mut(signer, places - 1),
            }
        }
        if let Some(on_patient) = self.patients.get_mut(&patient).map(Arc::make_mut) {
            on_patient.all.remove(&sequence);
            // Without an urgent operation, fewer others may be urgent.
            if on_patient.urgent.contains_key(&sequence) {
                self.find_urgent(patient);
            }
            if self.patients.get(&patient).is_some_and(|on_patient| on_patient.all.is_empty()) {
                self.patients.remove_mut(&patient);
            }
        }
        Some(open)
    }

    /// Changes the status of an operation that stays open.
    pub(crate) fn set_status(&mut self, sequence: Sequence, status: OperationStatus) {
        if let Some(open) = self.operations.get_mut(&sequence) {
            Arc::make_mut(open).status = status;
        }
    }

    /// Finds out which operations on a patient are urgent, after they changed.
    fn find_urgent(&mut self, patient: AccountIndex) {
        let mut urgent = UrgentOnPatient::default();
        let of = |(sequence, open)| Some((sequence, urgent.take(sequence, open)?));
        let found: BTreeMap<Sequence, Position> = self.on_patient(patient).rev().filter_map(of).collect();
        let Some(on_patient) = self.patients.get_mut(&patient) else { return };
        let before = std::mem::replace(&mut Arc::make_mut(on_patient).urgent, found.clone());
        for (sequence, position) in &before {
            if found.get(sequence) != Some(position) {
                self.urgent.remove(*position);
            }
        }
        for (sequence, position) in found {
            if before.get(&sequence) != Some(&position) {
                self.urgent.insert(position, self.limit(sequence));
            }
        }
    }

    /// Until when an urgent operation may be settled, in seconds times `share`: one rank later costs the part of a
    /// batch that one operation takes. An operation with an ordinary place goes in its ordinary order too, so its rank
    /// promises nothing.
    fn limit(&self, sequence: Sequence) -> Option<i128> {
        let reserved = self.get(sequence)?.reserved?;
        Some(i128::from(reserved.latest.get()) * self.share as i128)
    }
}

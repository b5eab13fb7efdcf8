//! The order in which open operations go into batches.
//!
//! Urgent and ordinary operations each have half of each batch. If one kind leaves places free, the other kind takes
//! them. Two operations on the same patient keep their order if the order changes their effect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use emr_core::AccountIndex;

use crate::{
    mempool::{Acknowledged, Sequence},
    state::open::{OpenOperations, RankedIter},
};

/// The open operations in the order in which they go into batches. It is found out round by round, as far as it is
/// read: a round is one batch's share of each kind.
///
/// An operation that a Revoke needs first keeps its ordinary place too. It goes when the first of the two comes: so a
/// Revoke never delays it.
#[derive(Clone, Debug)]
pub(crate) struct BatchOrder<'a> {
    open: &'a OpenOperations,
    urgent: RankedIter<'a>,
    /// The operations with an ordinary place that did not go yet.
    ordinary: Vec<(Sequence, &'a Acknowledged)>,
    gone: Gone,
    /// The rest of this round.
    round: VecDeque<(Sequence, &'a Acknowledged)>,
}

/// The urgent operations that went already, by patient.
#[derive(Clone, Debug, Default)]
struct Gone(BTreeMap<AccountIndex, BTreeSet<Sequence>>);

impl Gone {
    fn add(&mut self, sequence: Sequence, open: &Acknowledged) {
        self.0.entry(open.signed.operation.patient).or_default().insert(sequence);
    }

    fn contains(&self, patient: AccountIndex, sequence: Sequence) -> bool {
        self.0.get(&patient).is_some_and(|gone| gone.contains(&sequence))
    }
}

impl<'a> BatchOrder<'a> {
    pub(crate) fn of(open: &'a OpenOperations) -> Self {
        Self {
            open,
            urgent: open.urgent().iter(),
            ordinary: open.ordinary().collect(),
            gone: Gone::default(),
            round: VecDeque::new(),
        }
    }

    fn next_round(&mut self) {
        let urgent_wait = self.take_urgent();
        let mut taken = 0;
        let mut blocked = BTreeSet::new();
        let mut ordinary = std::mem::take(&mut self.ordinary);
        ordinary.retain(|(sequence, open)| {
            let patient = open.signed.operation.patient;
            if self.gone.contains(patient, *sequence) {
                return false;
            }
            // If an operation waits, the later ordinary operations on the same patient wait too.
            let goes = (taken < self.open.share() || !urgent_wait)
                && !blocked.contains(&patient)
                && !self.waits_for_urgent(patient, *sequence);
            if goes {
                taken += 1;
                self.gone.add(*sequence, open);
                self.round.push_back((*sequence, *open));
            } else {
                blocked.insert(patient);
            }
            !goes
        });
        self.ordinary = ordinary;
    }

    /// Takes the urgent operations of a round. Returns whether there were any.
    fn take_urgent(&mut self) -> bool {
        let mut taken = 0;
        while taken < self.open.share()
            && let Some(position) = self.urgent.next()
        {
            let Some(open) = self.open.get(position.sequence) else { continue };
            if !self.gone.contains(open.signed.operation.patient, position.sequence) {
                taken += 1;
                self.gone.add(position.sequence, open);
                self.round.push_back((position.sequence, open));
            }
        }
        taken > 0
    }

    /// Whether an urgent operation on the patient that was acknowledged before this one did not go yet.
    fn waits_for_urgent(&self, patient: AccountIndex, sequence: Sequence) -> bool {
        let first = self.open.urgent_on(patient).find(|(urgent, _)| !self.gone.contains(patient, *urgent));
        first.is_some_and(|(urgent, _)| urgent < sequence)
    }
}

impl<'a> Iterator for BatchOrder<'a> {
    type Item = (Sequence, &'a Acknowledged);

    fn next(&mut self) -> Option<Self::Item> {
        if self.round.is_empty() {
            self.next_round();
        }
        self.round.pop_front()
    }
}

#[cfg(test)]
mod tests;

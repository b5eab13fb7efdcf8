//! Accepts an operation: checks it, stores it, and promises its settlement.

use std::{sync::Arc, time::Instant};

use emr_api::{OperationStatus, Receipt, Submission, receipt};
use emr_rollup::{
    operation::{DirectoryCommitment, OperationId, SignedOperation},
    state::ledger::CheckedOperation,
};

use super::{
    give_way,
    place::{self, Place},
    promise::{self, Promise},
};
use crate::{
    engine::Engine,
    mempool::{Acknowledged, Principal, Sequence},
    request_error::RequestError,
    state::NodeState,
    state::emergency::refusal,
    state::pointers::{self, CheckedPointer},
    storage::Space,
};

/// How many times a submission is tried if the key directory changes during the checks.
const DIRECTORY_READS: usize = 4;

/// An operation that the soft state accepts.
pub(super) struct Admission {
    /// The patient's key directory in force.
    pub(super) directory: DirectoryCommitment,
    place: Place,
    /// The open operations that end if this one is taken: the Revoke whose place it takes, and operations of delegates that give way.
    ended: Vec<Sequence>,
    /// The operation, checked on the soft state. `None` if it ends others: then it is checked on the state without them.
    checked: Option<CheckedOperation>,
}

impl Engine {
    /// Accepts an operation from the account of `principal`. Checks it on the soft state, checks what it points to, stores it durably, and gives
    /// a promise. If the same operation is submitted again, the promise is the same.
    ///
    /// # Errors
    /// [`RequestError`]; it says why there is no promise.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        principal: Principal,
        submission: Submission,
    ) -> Result<Receipt, RequestError> {
        let operation = submission.signed.operation;
        if operation.signer != principal.account {
            return Err(RequestError::forbidden("an operation is submitted by its signer: log in as that account"));
        }
        let id = submission.signed.id(self.domain);
        if let Some(known) = self.mempool.operation(id)? {
            return self.promise(id, &known);
        }
        match self.take(id, principal, submission).await {
            // The same operation was submitted at the same time, and was faster.
            Err(error) => self.mempool.operation(id)?.map_or(Err(error), |known| self.promise(id, &known)),
            taken => taken,
        }
    }

    async fn take(
        self: &Arc<Self>,
        id: OperationId,
        principal: Principal,
        submission: Submission,
    ) -> Result<Receipt, RequestError> {
        // A Revoke without a new directory needs no room, so it does not wait for the disks.
        if submission.directory.is_some() || !submission.signed.operation.action.rule().ends_rights {
            Space::ask(self).await;
        }
        // Cheap checks first: no block is read for an operation that breaks a rule.
        let Admission { directory: directory_in_force, place, ended, .. } = self.admit(&submission, None)?;
        let cost = match ended.is_empty() {
            true => None,
            false => Some(self.replacements.charge(principal.account, Instant::now())?),
        };
        if cost.is_some() {
            self.try_replacement(place, ended, submission.signed).await?;
        }
        pointers::check_epoch(&submission, directory_in_force, self).await?;
        let checked = pointers::check(&submission, &principal, directory_in_force, self).await?;
        let whole = Arc::new((submission, checked));
        for _ in 0..DIRECTORY_READS {
            // The walk may have taken minutes. So the epoch is checked once more, and a record is stored only if the directory is still the same.
            let (submission, _) = &*whole;
            let admission = self.admit(submission, None)?;
            pointers::check_epoch(submission, admission.directory, self).await?;
            let handed = Arc::clone(&whole);
            let kept = self.write(move |engine| engine.keep(id, principal, &handed.0, &handed.1, admission)).await?;
            if let Some(receipt) = kept? {
                if let Some(cost) = cost {
                    cost.give_back();
                }
                self.wake.notify_one();
                return Ok(receipt);
            }
        }
        Err(RequestError::unavailable("the patient's key directory keeps changing: try again in a moment"))
    }

    /// Whether the soft state accepts an operation now. Does not repeat an `earlier` check that is still current.
    pub(super) fn admit(
        &self,
        submission: &Submission,
        earlier: Option<CheckedOperation>,
    ) -> Result<Admission, RequestError> {
        if let Some(reason) = self.replaced() {
            let advice = "a patient can also revoke on L1 (`emr-patient revoke --force`)";
            return Err(RequestError::unavailable(format!("this node takes nothing any more: {reason}; {advice}")));
        }
        let state = self.state();
        let operation = &submission.signed.operation;
        let mut ended = give_way::find(&state, operation);
        let place = place::find(&state, operation, &ended)?;
        if let Place::InsteadOf(older) = place {
            ended.push(older);
        }
        // A patient's Revoke of a grant is still accepted: the node still serves readers, and the Revoke ends their access at once.
        if place == Place::Ordinary
            && let Some(reason) = self.halt_reason()
        {
            return Err(RequestError::unavailable(format!("this node takes only Revokes at present: {reason}")));
        }
        if place == Place::Ordinary {
            self.quotas.check_space(&self.space.free(), state.soft.patient_count())?;
        }
        let checked = match &ended[..] {
            [] => {
                let now = self.clock.now();
                let earlier = earlier
                    .filter(|earlier| *earlier.signed() == submission.signed && earlier.is_current(&state.soft, now));
                state.check_emergency_terms(operation, now)?;
                state.check_delegate(&submission.signed, now)?;
                let check =
                    || state.soft.check(&submission.signed, now).map_err(|violation| refusal(operation, violation));
                let checked = earlier.map_or_else(check, Ok)?;
                // Only now is the signature checked: others must not learn which slots hold emergency grants.
                state.check_emergency_slot(operation, now)?;
                state.check_delegate_slot(&submission.signed, now)?;
                Some(checked)
            }
            // The rest is checked on the state without the operations that end. It takes time to build that state, so a forgery is refused first.
            _ => {
                let key = state.soft.identity(operation.signer).map(|identity| identity.key);
                let signed = key.is_some_and(|key| submission.signed.verify(self.domain, &key).is_ok());
                if !signed {
                    return Err(RequestError::refused("the signature is not the signer's"));
                }
                None
            }
        };
        self.quotas.check_slots(state.soft.patient(operation.patient), operation)?;
        let medical = state.soft.medical(operation.patient);
        let directory = medical.map_or(DirectoryCommitment::NONE, |medical| medical.key_directory);
        Ok(Admission { directory, place, ended, checked })
    }

    /// Whether an operation executes on the state without others. This does not run as the writer, because it takes long. Few signers may do so at
    /// once. But nobody can keep a patient waiting who takes something from a delegate: what a delegate signed must not make a first Revoke wait
    /// for the Revokes that others replace.
    async fn try_replacement(
        self: &Arc<Self>,
        place: Place,
        ended: Vec<Sequence>,
        signed: SignedOperation,
    ) -> Result<(), RequestError> {
        let _permit = match place {
            Place::InsteadOf(_) => Some(self.replacements.permit().await?),
            Place::Ordinary | Place::Reserved => None,
        };
        let engine = Arc::clone(self);
        let now = self.clock.now();
        let tried = tokio::task::spawn_blocking(move || engine.without(&ended).soft.check(&signed, now).map(drop));
        tried.await.map_err(|_| RequestError::unavailable("the node is stopping"))?.map_err(RequestError::from)
    }

    /// Admits the operation once more, stores it, and then applies it. Must run as the only writer. `None` if a record was
    /// checked against another key directory than the one in force; then nothing is stored.
    pub(super) fn keep(
        &self,
        id: OperationId,
        signer: Principal,
        submission: &Submission,
        pointer: &CheckedPointer,
        admission: Admission,
    ) -> Result<Option<Receipt>, RequestError> {
        if let Some(known) = self.mempool.operation(id)? {
            return self.promise(id, &known).map(Some);
        }
        let before = admission.directory;
        let Admission { directory, place, ended, checked } = self.admit(submission, admission.checked)?;
        if directory != before && submission.epoch.is_some() {
            return Ok(None);
        }
        let operation = &submission.signed.operation;
        let patient = {
            let state = self.state();
            let patient = state
                .principal(operation.patient)
                .filter(|patient| state.is_current(&signer) && pointer.is_on(patient, &state));
            patient
                .ok_or_else(|| RequestError::unavailable("L1 was reorganised just now: hand the operation in again"))?
        };
        pointers::check_blocks(&signer, &pointer.blocks, self)?;
        let without = (!ended.is_empty()).then(|| self.without(&ended));
        let checked = match (checked, &without) {
            (Some(checked), _) => checked,
            (None, Some(without)) => without.soft.check(&submission.signed, self.clock.now())?,
            (None, None) => self.state().soft.check(&submission.signed, self.clock.now())?,
        };
        let (signed, acknowledged) = (submission.signed, checked.time());
        let Promise { reserved, settle_by } = match &without {
            Some(without) => promise::promise(without, &signed, place, acknowledged)?,
            None => promise::promise(&self.state(), &signed, place, acknowledged)?,
        };
        let replaced = match place {
            Place::InsteadOf(older) => self.state().open.get(older).map_or(0, |older| older.replaced + 1),
            Place::Ordinary | Place::Reserved => 0,
        };
        let status = OperationStatus::Pending;
        let kept = Acknowledged { signed, signer, patient, acknowledged, settle_by, reserved, replaced, status };
        let receipt = self.promise(id, &kept)?;
        let sequence = self.mempool.acknowledge(id, &kept, pointer.pointer.as_ref(), &pointer.blocks, &ended)?;
        let mut state = self.state_mut();
        let state = &mut *state;
        if let Some(without) = without {
            *state = without;
        }
        if let Some((commitment, pointer)) = &pointer.pointer {
            state.pointers.insert_mut(*commitment, pointer.clone());
        }
        match Arc::make_mut(&mut state.soft).apply(checked) {
            Ok(_) => Arc::make_mut(&mut state.history).record(sequence, &kept, &state.soft),
            // The operation is acknowledged, so it stays open. The next sealing executes it, or returns it.
            Err(error) => tracing::error!(sequence, %error, "the soft state changed outside its writer"),
        }
        state.open.insert(sequence, kept);
        Ok(Some(receipt))
    }

    /// The state as if some open operations on one patient had never come. The grants that a Revoke of the patient ended stay ended. Only the
    /// operations on this patient are executed again.
    fn without(&self, sequences: &[Sequence]) -> NodeState {
        let mut state = self.state().clone();
        let mut of = None;
        for sequence in sequences {
            let Some(removed) = state.open.remove(*sequence) else { continue };
            let operation = &removed.signed.operation;
            of = Some(operation.patient);
            if operation.is_by_delegate() {
                Arc::make_mut(&mut state.history).give_way(operation.patient, *sequence);
            }
        }
        let Some(patient) = of else { return state };
        let settled_and_queued = state.settled_and_queued(patient);
        let soft = Arc::make_mut(&mut state.soft);
        soft.restore(patient, &settled_and_queued);
        for (_, open) in state.open.on_patient(patient) {
            // As in `NodeState::rebuild_soft`, an operation that no longer executes has no effect.
            let _ = soft.execute(&open.signed, open.acknowledged);
        }
        state
    }

    fn promise(&self, id: OperationId, kept: &Acknowledged) -> Result<Receipt, RequestError> {
        self.expect_whole()?;
        if !self.state().is_of_its_principals(kept) {
            return Err(RequestError::refused(
                "this operation was signed for an account that is somebody else's on L1 now",
            ));
        }
        match &kept.status {
            OperationStatus::Returned { reason } => {
                return Err(RequestError::refused(format!("this operation was returned: {reason}; sign a new one")));
            }
            OperationStatus::Replaced { by } => {
                let why = match kept.signed.operation.is_by_delegate() {
                    true => "of the patient goes before this one",
                    false => "took the place of this one",
                };
                return Err(RequestError::refused(format!("operation {by} {why}")));
            }
            OperationStatus::Pending | OperationStatus::Sealed { .. } | OperationStatus::Settled { .. } => {}
        }
        receipt::sign(&self.instance, &self.signer, id, kept.acknowledged, kept.settle_by)
            .map_err(|error| RequestError::unavailable(format!("the hospital's key cannot sign: {error}")))
    }
}

//! The state with the preimages of its leaves. A sequencer keeps it, executes operations on it and makes witnesses from it.

use std::{collections::BTreeMap, sync::Arc};

use emr_core::{AccountIndex, GrantSlot, RecordSlot, StateRoot, UnixTime, Uses};
use halo2curves::ff::Field;
use rpds::RedBlackTreeMapSync;

use crate::{
    batch::D2Entry,
    l1_operation::{ForcedRevoke, L1Operation, MedicalChange, RevokedGrants},
    operation::{Domain, SignedOperation, Written},
    primitive::field::Fr,
    state::{
        StateTrees, Subtree,
        audit::AuditChain,
        leaf::{AuditEntry, GrantLeaf, IdentityLeaf, LeafHash, MedicalLeaf, RecordLeaf, Target},
        tree::Path,
    },
    statement::{
        Clause, Context, EntryWitness, GrantFields, IdentityFields, OperationWitness, RecordFields, Violation,
        check_entry, check_operation, number,
    },
    version::CircuitVersion,
};

/// One patient's leaves.
#[derive(Clone, Debug, Default)]
pub struct PatientLeaves {
    /// Every grant that was ever written, but for those that an L1 operation removed.
    pub grants: BTreeMap<GrantSlot, GrantLeaf>,
    /// Every record that was ever written.
    pub records: BTreeMap<RecordSlot, RecordLeaf>,
    /// The audit chain.
    pub audit: AuditChain,
}

impl PatientLeaves {
    /// How often the grant in a slot was used; 0 for an empty slot.
    pub(crate) fn uses(&self, slot: GrantSlot) -> Uses {
        self.grants.get(&slot).map_or(Uses::ZERO, |leaf| leaf.uses)
    }

    fn revoke(&mut self, revoke: &ForcedRevoke, time: UnixTime) {
        match revoke.grants {
            RevokedGrants::Slot(slot) => drop(self.grants.remove(&slot)),
            RevokedGrants::All => self.grants.clear(),
        }
        self.audit.push(revoke.audit_entry(time));
    }
}

/// An operation that follows every rule on one state at one batch time. Its signature was verified.
///
/// Only [`Ledger::check`] makes one. [`Ledger::apply`] takes nothing else, and takes it only while the ledger is at the
/// state of the check. It cannot be cloned, so one check leads to one application at most.
///
/// ```
/// use emr_core::UnixTime;
/// use emr_rollup::{operation::SignedOperation, state::ledger::Ledger};
///
/// fn run(ledger: &mut Ledger, signed: &SignedOperation, time: UnixTime) -> Result<(), Box<dyn std::error::Error>> {
///     let checked = ledger.check(signed, time)?;
///     ledger.apply(checked)?;
///     Ok(())
/// }
/// ```
///
/// An operation that nobody checked is a type error:
///
/// ```compile_fail,E0308
/// use emr_rollup::{operation::SignedOperation, state::ledger::Ledger};
///
/// fn run(ledger: &mut Ledger, signed: SignedOperation) -> Result<(), Box<dyn std::error::Error>> {
///     ledger.apply(signed)?;
///     Ok(())
/// }
/// ```
///
/// So is a checked operation with another content:
///
/// ```compile_fail,E0451
/// use emr_rollup::{operation::SignedOperation, state::ledger::CheckedOperation};
///
/// fn replace(checked: CheckedOperation, signed: SignedOperation) -> CheckedOperation {
///     CheckedOperation { signed, ..checked }
/// }
/// ```
#[derive(Debug)]
pub struct CheckedOperation {
    signed: SignedOperation,
    domain: Domain,
    state: StateRoot,
    witness: OperationWitness,
    d2: D2Entry,
    entry: AuditEntry,
}

impl CheckedOperation {
    /// The operation.
    pub const fn signed(&self) -> &SignedOperation {
        &self.signed
    }

    /// The batch time of the check.
    pub const fn time(&self) -> UnixTime {
        self.entry.time
    }

    /// The operation's entry of D2.
    pub const fn d2(&self) -> &D2Entry {
        &self.d2
    }

    /// Whether a new check of this operation on this ledger at this time must have the same result.
    pub fn is_current(&self, ledger: &Ledger, time: UnixTime) -> bool {
        self.time() == time && self.fits(ledger).is_ok()
    }

    fn fits(&self, ledger: &Ledger) -> Result<(), ApplyError> {
        if self.domain != ledger.domain {
            return Err(ApplyError::OtherRollup);
        }
        let (checked, ledger) = (self.state, ledger.trees.root());
        if checked == ledger { Ok(()) } else { Err(ApplyError::StateMoved { checked, ledger }) }
    }
}

/// Why a ledger does not apply a checked operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The ledger is not at the state of the check.
    #[error("the operation was checked on state {checked}, but the ledger is at state {ledger}: check it again")]
    StateMoved {
        /// The state of the check.
        checked: StateRoot,
        /// The ledger's state.
        ledger: StateRoot,
    },
    /// The signature is for another rollup than the ledger's.
    #[error("the operation was checked on a ledger of another rollup: sign it for this rollup")]
    OtherRollup,
}

/// The result of an applied operation.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The witness, from which a prover makes the proof.
    pub witness: OperationWitness,
    /// The operation's entry of D2.
    pub d2: D2Entry,
    /// The operation's entry in the audit chain.
    pub entry: AuditEntry,
}

/// The state and its preimages. A clone costs nothing: it shares everything with the original. A change of a patient then
/// copies that patient's leaves, and nothing of others.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) domain: Domain,
    pub(super) trees: StateTrees,
    pub(super) patients: RedBlackTreeMapSync<AccountIndex, Arc<PatientLeaves>>,
}

impl Ledger {
    /// The state before the first batch.
    pub fn genesis(domain: Domain, version: CircuitVersion) -> Self {
        Self { domain, trees: StateTrees::genesis(version), patients: RedBlackTreeMapSync::default() }
    }

    /// The state that the data on L1 lead to, without preimages. It takes entries of the L1 queues, and executes no operation.
    pub fn of_trees(domain: Domain, trees: StateTrees) -> Self {
        Self { domain, trees, patients: RedBlackTreeMapSync::default() }
    }

    /// The rollup's domain.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The trees.
    pub fn trees(&self) -> &StateTrees {
        &self.trees
    }

    /// An account's identity.
    pub fn identity(&self, account: AccountIndex) -> Option<&IdentityLeaf> {
        self.trees.account(account)
    }

    /// A patient's leaves.
    pub fn patient(&self, account: AccountIndex) -> Option<&PatientLeaves> {
        self.patients.get(&account).map(Arc::as_ref)
    }

    /// How many accounts of patients there are.
    pub fn patient_count(&self) -> usize {
        self.patients.size()
    }

    /// A patient's medical leaf.
    pub fn medical(&self, account: AccountIndex) -> Option<MedicalLeaf> {
        self.trees.subtree(account).map(|subtree| subtree.medical_leaf())
    }

    /// Takes an entry of the L1 queue, in a batch with this time, and returns its witness. An entry that cannot take effect
    /// changes nothing.
    ///
    /// # Errors
    /// [`Violation`] if the contract never queues such an entry.
    pub fn consume(&mut self, operation: &L1Operation, time: UnixTime) -> Result<EntryWitness, Violation> {
        let account = operation.account();
        let witness = self.entry_witness(operation);
        let roots = (self.trees.identity_root(), self.trees.medical_root());
        check_entry(self.trees.version(), time.get(), roots, &witness)?;
        if self.trees.consume(operation, time) {
            match operation.medical() {
                MedicalChange::Stays => {}
                MedicalChange::Begins => self.patients.insert_mut(account, Arc::default()),
                MedicalChange::GrantsEnd(revoke) => {
                    // The account is a patient's, or the entry had no effect.
                    if let Some(leaves) = self.patients.get_mut(&account).map(Arc::make_mut) {
                        leaves.revoke(&revoke, time);
                    }
                }
            }
        }
        Ok(witness)
    }

    fn entry_witness(&self, operation: &L1Operation) -> EntryWitness {
        let (account, entry) = (operation.account(), operation.fields());
        let subtree = self.trees.subtree(account);
        let (grant, grant_path) = match (operation.medical(), subtree) {
            (MedicalChange::GrantsEnd(_), Some(subtree)) => {
                let slot = number(&entry.slot) as u32;
                (subtree.grants.get(slot), subtree.grants.path(slot))
            }
            (MedicalChange::GrantsEnd(_), None) | (MedicalChange::Stays | MedicalChange::Begins, _) => {
                (LeafHash::EMPTY, Path::zeros(self.trees.version().grant_depth))
            }
        };
        EntryWitness {
            entry,
            identity: self.identity(account).map(IdentityFields::from).unwrap_or_default(),
            identity_path: self.trees.identity_path(account),
            medical: subtree.map(Subtree::medical_leaf).unwrap_or_default(),
            medical_path: self.trees.medical_path(account),
            grant,
            grant_path,
        }
    }

    /// Copies one account's identity, and its leaves if it is a patient's, from another ledger of the same rollup, for example to undo operations on
    /// this patient only. An operation changes only one patient's subtree, so no other patient is affected. Returns `false`,
    /// and changes nothing, if that ledger has no such account.
    pub fn restore(&mut self, account: AccountIndex, from: &Self) -> bool {
        if let Some(leaves) = from.patients.get(&account) {
            self.patients.insert_mut(account, Arc::clone(leaves));
        }
        self.trees.restore(account, &from.trees)
    }

    /// Checks an operation at a batch time, and applies it. If it is refused, nothing changes.
    ///
    /// # Errors
    /// [`Violation`] with the clause that the operation breaks.
    pub fn execute(&mut self, signed: &SignedOperation, time: UnixTime) -> Result<Executed, Violation> {
        let checked = self.check(signed, time)?;
        Ok(self.write(checked))
    }

    /// Applies an operation that was checked on this state.
    ///
    /// # Errors
    /// [`ApplyError`] if the operation was checked on another state or for another rollup. Then nothing changes.
    pub fn apply(&mut self, checked: CheckedOperation) -> Result<Executed, ApplyError> {
        checked.fits(self)?;
        Ok(self.write(checked))
    }

    /// Writes an operation that was checked on this state.
    fn write(&mut self, checked: CheckedOperation) -> Executed {
        let CheckedOperation { signed, witness, d2, entry, .. } = checked;
        let operation = &signed.operation;
        self.trees.write(&d2);
        // The check found the patient.
        if let Some(leaves) = self.patients.get_mut(&operation.patient).map(Arc::make_mut) {
            match operation.action.effect(leaves) {
                Some(Written::Record(slot, leaf)) => {
                    leaves.records.insert(slot, leaf);
                }
                Some(Written::Grant(slot, leaf)) => {
                    leaves.grants.insert(slot, leaf);
                }
                // This happens only for an operation that the statement refuses.
                None => {}
            }
            leaves.audit.push(entry);
        }
        Executed { witness, d2, entry }
    }

    /// Checks an operation's signature and every rule at a batch time. Changes nothing.
    ///
    /// # Errors
    /// [`Violation`] with the clause that the operation breaks.
    pub fn check(&self, signed: &SignedOperation, time: UnixTime) -> Result<CheckedOperation, Violation> {
        let witness = self.witness(signed)?;
        let context = Context {
            version: *self.trees.version(),
            domain: self.domain.element(),
            time: time.get(),
            identity_root: self.trees.identity_root(),
        };
        let effect = check_operation(&context, self.trees.medical_root(), &witness)?;
        let operation = &signed.operation;
        let entry = AuditEntry {
            kind: operation.action.kind(),
            signer: operation.signer,
            target: operation.action.target().into(),
            purpose: operation.action.purpose(),
            time,
            new_leaf: effect.d2.leaf,
            salt: operation.salt,
        };
        let (domain, state, d2) = (self.domain, self.trees.root(), effect.d2);
        Ok(CheckedOperation { signed: *signed, domain, state, witness, d2, entry })
    }

    fn witness(&self, signed: &SignedOperation) -> Result<OperationWitness, Violation> {
        let operation = &signed.operation;
        let unknown = |clause, detail| Violation { clause, detail };
        let signer = self.identity(operation.signer).ok_or(unknown(Clause::SignerKnown, "no such signer"))?;
        let patient = self.identity(operation.patient).ok_or(unknown(Clause::PatientInOrder, "no such patient"))?;
        let no_patient = unknown(Clause::PatientInOrder, "not a patient");
        let leaves = self.patients.get(&operation.patient).ok_or(no_patient)?;
        let subtree = self.trees.subtree(operation.patient).ok_or(no_patient)?;
        let version = self.trees.version();

        let authority = signed.authority.filter(|_| operation.signer != operation.patient);
        let (authority_slot, authority_leaf, authority_path) = match authority {
            Some(slot) => {
                let leaf = leaves.grants.get(&slot).map(GrantFields::from).unwrap_or_default();
                (Fr::from(slot.get()), leaf, subtree.grants.path(slot.get() as u32))
            }
            None => (Fr::ZERO, GrantFields::default(), Path::zeros(version.grant_depth)),
        };

        let mut witness = OperationWitness {
            message: (&signed.operation).into(),
            signature: signed.into(),
            signer: signer.into(),
            signer_path: self.trees.identity_path(operation.signer),
            patient: patient.into(),
            patient_path: self.trees.identity_path(operation.patient),
            medical: subtree.medical_leaf(),
            medical_path: self.trees.medical_path(operation.patient),
            authority_slot,
            authority: authority_leaf,
            authority_path,
            old_grant: GrantFields::default(),
            new_grant: GrantFields::default(),
            old_record: RecordFields::default(),
            new_record: RecordFields::default(),
            target_path: Path::zeros(0),
        };
        match operation.action.target() {
            Target::Record(slot) => {
                witness.old_record = leaves.records.get(&slot).map(RecordFields::from).unwrap_or_default();
                witness.target_path = subtree.records.path(slot.get() as u32);
            }
            Target::Grant(slot) => {
                witness.old_grant = leaves.grants.get(&slot).map(GrantFields::from).unwrap_or_default();
                witness.target_path = subtree.grants.path(slot.get() as u32).to_depth(version.record_depth);
            }
        }
        match operation.action.effect(leaves) {
            Some(Written::Record(_, leaf)) => witness.new_record = (&leaf).into(),
            Some(Written::Grant(_, leaf)) => witness.new_grant = (&leaf).into(),
            // The new leaf stays empty, and the statement refuses it.
            None => {}
        }
        Ok(witness)
    }
}

//! An honest history with every kind of operation. The clause tests break it, one clause at a time.

use crate::{
    batch::{Batch, Open, PublicInputs},
    l1_operation::{ForcedRevoke, L1Operation, Register, RevokedGrants, RotateKey, SetStatus},
    operation::{
        Action, BreakGlass, CLIENT_VALIDITY, Domain, Operation, PutRecord, Rekey, RequestAccess, Revoke, SetGrant,
        SignedOperation, Tombstone,
    },
    primitive::{
        eddsa::SigningKey,
        field::{self, Fr},
    },
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        ledger::Ledger,
    },
    statement::BatchWitness,
    version::CircuitVersion,
};
use emr_core::{
    AccountEpoch, AccountIndex, AccountStatus, Class, ClassMask, GrantSlot, Purpose, Reason, RecordSlot, RecordStatus,
    Revision, Rights, Role, StateRoot, UnixTime, Uses, Version,
};

/// Batch time of the histories here: 2026-01-01.
pub const TIME: u64 = 1_767_225_600;

/// A version with small trees and few slots, for tests of the constraint system.
pub const SMALL: CircuitVersion =
    CircuitVersion { number: 1, account_depth: 4, grant_depth: 4, record_depth: 6, max_l1: 5, max_l2: 13, k: 15 };

/// Account of the hospital.
pub const HOSPITAL: u64 = 1;
/// Account of its doctor.
pub const DOCTOR: u64 = 2;
/// Account of a doctor without a hospital.
pub const STRANGER: u64 = 3;
/// Account of the patient.
pub const PATIENT: u64 = 4;
/// An account that is not registered.
pub const NOBODY: u64 = 5;
/// The number of a key that no account has at first.
pub const NEW_KEY: u64 = 99;

/// The account with this index.
///
/// # Panics
/// Panics if the index is out of range.
pub fn account(index: u64) -> AccountIndex {
    AccountIndex::new(index).expect("an account")
}

/// This time in Unix seconds.
///
/// # Panics
/// Panics if it is out of range.
pub fn time(seconds: u64) -> UnixTime {
    UnixTime::new(seconds).expect("a time")
}

/// The key of an account. Its seed repeats the account's index.
pub fn key(index: u64) -> SigningKey {
    SigningKey::from_seed(&[index as u8; 32])
}

/// A root that differs from this one.
pub fn another_root(root: StateRoot) -> StateRoot {
    field::to_root(&(field::of_root(&root) + Fr::one()))
}

/// The domain of every operation here.
pub fn domain() -> Domain {
    Domain::new(31337, [0x11; 20])
}

/// Hospital 1, doctor 2 of that hospital, doctor 3 without a hospital, patient 4.
pub fn registrations() -> Vec<Register> {
    let register = |index: u64, role, org: Option<u64>| Register {
        account: account(index),
        role,
        org: org.map(account),
        key: key(index).public(),
        encryption: Fr::from(1000 + index),
    };
    vec![
        register(HOSPITAL, Role::Hospital, None),
        register(DOCTOR, Role::Doctor, Some(HOSPITAL)),
        register(STRANGER, Role::Doctor, None),
        register(PATIENT, Role::Patient, None),
    ]
}

/// The lowest slot that SetGrant may use, at this version's depth.
pub fn first_slot(version: &CircuitVersion) -> u64 {
    GrantSlot::FIRST_ORDINARY.get().min(1 << (version.grant_depth - 1))
}

/// An operation on the patient, signed by an account. `authority` is the slot of the grant that allows it, if one is
/// needed.
///
/// # Panics
/// Panics if the slot is out of range.
pub fn sign(signer: u64, action: Action, authority: Option<u64>, salt: u64) -> SignedOperation {
    sign_in_epochs((signer, 1), 1, action, authority, salt)
}

/// The same as [`sign`], with the signer's epoch and the patient's.
///
/// # Panics
/// If the slot or an epoch is out of range.
pub fn sign_in_epochs(
    (signer, signer_epoch): (u64, u64),
    patient_epoch: u64,
    action: Action,
    authority: Option<u64>,
    salt: u64,
) -> SignedOperation {
    let epoch = |epoch| AccountEpoch::new(epoch).expect("an epoch");
    let operation = Operation {
        signer: account(signer),
        signer_epoch: epoch(signer_epoch),
        patient: account(PATIENT),
        patient_epoch: epoch(patient_epoch),
        valid_until: time(TIME + CLIENT_VALIDITY),
        salt: Fr::from(salt),
        action,
    };
    operation.sign(domain(), &key(signer), authority.map(|slot| GrantSlot::new(slot).expect("a slot")))
}

/// A live record with the hospital as custodian.
///
/// # Panics
/// Panics if a number is out of range.
pub fn record(class: Class, author: u64, version: u64, revision: u64) -> RecordLeaf {
    RecordLeaf {
        status: RecordStatus::Live,
        class,
        author: account(author),
        custodian: Some(account(HOSPITAL)),
        version: Version::new(version).expect("a version"),
        revision: Revision::new(revision).expect("a revision"),
        authored: Fr::from(500 + revision),
        stored: Fr::from(600 + revision),
    }
}

/// A grant that is valid during the history.
///
/// # Panics
/// Panics if the version is out of range.
pub fn grant(grantee: u64, rights: Rights, scope: ClassMask, version: u64) -> GrantLeaf {
    GrantLeaf {
        grantee: Some(account(grantee)),
        rights,
        scope,
        not_after: time(TIME + 1000),
        uses: Uses::ZERO,
        version: Version::new(version).expect("a version"),
        salt: Fr::from(700 + version),
    }
}

/// Writes a record.
///
/// # Panics
/// Panics if a number is out of range.
pub fn put(slot: u64, expected: u64, leaf: RecordLeaf) -> Action {
    Action::PutRecord(PutRecord {
        slot: RecordSlot::new(slot).expect("a slot"),
        expected: Revision::new(expected).expect("a revision"),
        leaf,
    })
}

/// Makes or replaces a grant. `before` and `after` stand for key directories.
///
/// # Panics
/// Panics if a number is out of range.
pub fn set_grant(slot: u64, leaf: GrantLeaf, before: u64, after: u64) -> Action {
    Action::SetGrant(SetGrant {
        slot: GrantSlot::new(slot).expect("a slot"),
        expected: Version::new(leaf.version.get() - 1).expect("a version"),
        leaf,
        directory_before: Fr::from(before).into(),
        directory_after: Fr::from(after).into(),
    })
}

/// Stores a record again.
///
/// # Panics
/// If a number is out of range.
pub fn rekey(slot: u64, expected: u64, leaf: RecordLeaf) -> Action {
    Action::Rekey(Rekey {
        slot: RecordSlot::new(slot).expect("a slot"),
        expected: Revision::new(expected).expect("a revision"),
        leaf,
    })
}

/// An emergency grant of a doctor for summaries, for an hour.
///
/// # Panics
/// If a number is out of range.
pub fn emergency(grantee: u64, version: u64) -> GrantLeaf {
    GrantLeaf {
        not_after: time(TIME + 3600),
        ..grant(grantee, Rights::EMERGENCY, ClassMask::from(Class::Summary), version)
    }
}

/// Takes an emergency grant.
///
/// # Panics
/// If a number is out of range.
pub fn break_glass(slot: u64, leaf: GrantLeaf) -> Action {
    Action::BreakGlass(BreakGlass {
        slot: GrantSlot::new(slot).expect("a slot"),
        expected: Version::new(leaf.version.get() - 1).expect("a version"),
        purpose: Purpose { reason: Reason::Emergency, class: Class::Summary },
        leaf,
    })
}

/// Asks for access to a class for treatment, under a version of a grant.
///
/// # Panics
/// If a number is out of range.
pub fn request(slot: u64, version: u64, uses: u64, class: Class) -> Action {
    Action::RequestAccess(RequestAccess {
        slot: GrantSlot::new(slot).expect("a slot"),
        version: Version::new(version).expect("a version"),
        expected: Uses::new(uses).expect("a count"),
        purpose: Purpose { reason: Reason::Treatment, class },
    })
}

/// Ends a grant.
///
/// # Panics
/// Panics if a number is out of range.
pub fn revoke(slot: u64, expected: u64, before: u64, after: u64) -> Action {
    Action::Revoke(Revoke {
        slot: GrantSlot::new(slot).expect("a slot"),
        expected: Version::new(expected).expect("a version"),
        leaf_salt: Fr::from(777),
        directory_before: Fr::from(before).into(),
        directory_after: Fr::from(after).into(),
    })
}

/// One operation of every kind, with a doctor who acts under their hospital's grant and one who acts under their own:
/// 0 SetGrant to the hospital, 1 SetGrant to the stranger, 2 PutRecord by the doctor, 3 PutRecord by the patient,
/// 4 PutRecord of a second version, 5 Tombstone, 6 RequestAccess, 7 Revoke, 8 Rekey by the patient to no custodian,
/// 9 BreakGlass by the stranger, 10 SetGrant that makes the stranger a delegate, 11 SetGrant by the delegate, who gives the
/// hospital's slot to the doctor, 12 Revoke of this grant by the delegate.
pub fn operations(version: &CircuitVersion) -> Vec<SignedOperation> {
    let slot = first_slot(version);
    let all = ClassMask::ALL;
    let summary = ClassMask::from(Class::Summary);
    let deleted = RecordLeaf { status: RecordStatus::Tombstone, ..record(Class::Laboratory, PATIENT, 1, 2) };
    let deleted = RecordLeaf { authored: Fr::from(501), stored: Fr::from(601), ..deleted };
    let rekeyed = RecordLeaf {
        custodian: None,
        authored: Fr::from(502),
        stored: Fr::from(603),
        ..record(Class::Encounter, DOCTOR, 2, 3)
    };
    vec![
        sign(PATIENT, set_grant(slot, grant(HOSPITAL, Rights::READ | Rights::WRITE, all, 1), 0, 91), None, 1),
        sign(PATIENT, set_grant(slot + 1, grant(STRANGER, Rights::READ, summary, 1), 91, 92), None, 2),
        sign(DOCTOR, put(0, 0, record(Class::Summary, DOCTOR, 1, 1)), Some(slot), 3),
        sign(PATIENT, put(1, 0, record(Class::Laboratory, PATIENT, 1, 1)), None, 4),
        sign(DOCTOR, put(0, 1, record(Class::Encounter, DOCTOR, 2, 2)), Some(slot), 5),
        sign(
            PATIENT,
            Action::Tombstone(Tombstone {
                slot: RecordSlot::new(1).expect("a slot"),
                expected: Revision::new(1).expect("a revision"),
                leaf: deleted,
            }),
            None,
            6,
        ),
        sign(STRANGER, request(slot + 1, 1, 0, Class::Summary), None, 7),
        sign(PATIENT, revoke(slot + 1, 1, 92, 93), None, 8),
        sign(PATIENT, rekey(0, 2, rekeyed), None, 9),
        sign(STRANGER, break_glass(0, emergency(STRANGER, 1)), None, 10),
        sign(PATIENT, set_grant(slot + 1, grant(STRANGER, Rights::READ | Rights::MANAGE, all, 3), 93, 94), None, 11),
        sign(STRANGER, set_grant(slot, grant(DOCTOR, Rights::READ, summary, 2), 94, 94), Some(slot + 1), 12),
        sign(STRANGER, revoke(slot, 2, 94, 94), Some(slot + 1), 13),
    ]
}

/// The end of grants of an account, without a new key directory.
pub fn forced_revoke(index: u64, grants: RevokedGrants) -> ForcedRevoke {
    ForcedRevoke { account: account(index), grants, directory: None }
}

/// One L1 operation of every kind but Register, for the state after [`operations`]: 0 SetStatus suspends the stranger,
/// 1 RotateKey of the doctor, 2 ForcedRevoke of the stranger's grant, with a new key directory, 3 ForcedRevoke of every
/// grant.
///
/// # Panics
/// If a slot is out of range.
pub fn changes(version: &CircuitVersion) -> Vec<L1Operation> {
    let slot = GrantSlot::new(first_slot(version) + 1).expect("a slot");
    vec![
        SetStatus { account: account(STRANGER), status: AccountStatus::Suspended }.into(),
        RotateKey { account: account(DOCTOR), key: key(NEW_KEY).public(), encryption: Fr::from(2000) }.into(),
        ForcedRevoke { directory: Some(Fr::from(95).into()), ..forced_revoke(PATIENT, RevokedGrants::Slot(slot)) }
            .into(),
        forced_revoke(PATIENT, RevokedGrants::All).into(),
    ]
}

/// L1 operations without effect: 0 a second registration of the patient, 1 SetStatus of an account that is not
/// registered, 2 ForcedRevoke of a doctor.
pub fn without_effect() -> Vec<L1Operation> {
    let thief = Register { key: key(NEW_KEY).public(), ..registrations().remove(3) };
    vec![
        thief.into(),
        SetStatus { account: account(NOBODY), status: AccountStatus::Suspended }.into(),
        forced_revoke(DOCTOR, RevokedGrants::All).into(),
    ]
}

/// A batch with every account in its state and no operation yet.
pub fn open(version: CircuitVersion) -> Batch<Open> {
    let mut batch = Batch::open(Ledger::genesis(domain(), version), 1, time(TIME));
    for registration in registrations() {
        batch.push_l1(&registration.into()).expect("a free L1 slot");
    }
    batch
}

/// The honest history, one batch per operation: 4 registrations, then [`operations`], [`changes`] and [`without_effect`].
pub fn one_by_one(version: CircuitVersion) -> Vec<(BatchWitness, PublicInputs)> {
    let mut batches = Vec::new();
    let mut seal = |batch: Batch<Open>| {
        let (sealed, next) = batch.seal();
        batches.push((sealed.witness().clone(), *sealed.public()));
        next
    };
    let one = |ledger, entry: L1Operation| {
        let mut batch = Batch::open(ledger, 1, time(TIME));
        batch.push_l1(&entry).expect("a free L1 slot");
        batch
    };
    let mut ledger = Ledger::genesis(domain(), version);
    for registration in registrations() {
        ledger = seal(one(ledger, registration.into()));
    }
    for operation in operations(&version) {
        let mut batch = Batch::open(ledger, 1, time(TIME));
        batch.push(&operation).expect("an honest operation");
        ledger = seal(batch);
    }
    for entry in changes(&version).into_iter().chain(without_effect()) {
        ledger = seal(one(ledger, entry));
    }
    batches
}

/// The witness and public inputs of the honest batch.
pub fn honest(version: CircuitVersion) -> (BatchWitness, PublicInputs) {
    let mut batch = open(version);
    for operation in operations(&version) {
        batch.push(&operation).expect("an honest operation");
    }
    let (sealed, _) = batch.seal();
    (sealed.witness().clone(), *sealed.public())
}

/// As much of the honest batch of [`honest`] as the version has slots for.
pub fn honest_part(version: CircuitVersion) -> (BatchWitness, PublicInputs) {
    let mut batch = open(version);
    for operation in operations(&version) {
        if batch.push(&operation).is_err() {
            break;
        }
    }
    let (sealed, _) = batch.seal();
    (sealed.witness().clone(), *sealed.public())
}

/// A batch of L1 operations alone: 4 registrations, [`changes`] and [`without_effect`].
pub fn honest_queue(version: CircuitVersion) -> (BatchWitness, PublicInputs) {
    let mut batch = open(version);
    for entry in changes(&version).into_iter().chain(without_effect()) {
        batch.push_l1(&entry).expect("a free L1 slot");
    }
    let (sealed, _) = batch.seal();
    (sealed.witness().clone(), *sealed.public())
}

/// The honest batch after that of [`honest`]: [`changes`], and then the patient grants again in the slot that was emptied.
pub fn honest_changes(version: CircuitVersion) -> (BatchWitness, PublicInputs) {
    let mut batch = open(version);
    for operation in operations(&version) {
        batch.push(&operation).expect("an honest operation");
    }
    let (_, ledger) = batch.seal();
    let mut batch = Batch::open(ledger, 2, time(TIME + 60));
    for change in changes(&version) {
        batch.push_l1(&change).expect("a free L1 slot");
    }
    let again = set_grant(first_slot(&version) + 1, grant(DOCTOR, Rights::READ, ClassMask::ALL, 1), 95, 96);
    batch.push(&sign_in_epochs((PATIENT, 3), 3, again, None, 14)).expect("an honest operation");
    let (sealed, _) = batch.seal();
    (sealed.witness().clone(), *sealed.public())
}

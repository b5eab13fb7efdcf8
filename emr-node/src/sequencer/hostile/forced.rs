//! Entries of the urgent queue on L1 that change accounts with open operations. The tests put them into the node's queue.

use emr_chain::PerQueue;
use emr_core::{AccountStatus, Purpose, Reason};
use emr_rollup::{
    l1_operation::{ForcedRevoke, L1Operation, RevokedGrants, RotateKey, SetStatus},
    operation::RequestAccess,
};

use super::*;
use crate::state::history::History;

fn account(number: u64) -> Test<AccountIndex> {
    Ok(AccountIndex::new(number)?)
}

fn forced(slot: u64) -> Test<L1Operation> {
    let grants = RevokedGrants::Slot(GrantSlot::new(slot)?);
    Ok(ForcedRevoke { account: account(HONEST)?, grants, directory: None }.into())
}

/// The same grant for the doctor as in the first state, with another salt.
fn granted_again(slot: u64) -> Test<Action> {
    match grant(slot, Version::ZERO)? {
        Action::SetGrant(set) => {
            Ok(Action::SetGrant(SetGrant { leaf: GrantLeaf { salt: Fr::from(10), ..set.leaf }, ..set }))
        }
        _ => Err("a SetGrant".into()),
    }
}

impl World {
    /// Puts an entry into the node's urgent queue. The node builds only the concerned accounts again; the result must be that of building
    /// everything again.
    fn queue(&self, entry: L1Operation) -> Test {
        self.engine.extend_queues(PerQueue { urgent: vec![entry], ..PerQueue::default() }, None)?;
        let mut whole = self.engine.state().clone();
        whole.rebuild_soft();
        assert_eq!(self.engine.state().soft.trees().root(), whole.soft.trees().root());
        Ok(())
    }

    /// The honest patient's grant in a slot of the soft state.
    fn held(&self, slot: u64) -> Test<Option<GrantLeaf>> {
        let (patient, slot) = (account(HONEST)?, GrantSlot::new(slot)?);
        Ok(self.engine.state().soft.patient(patient).and_then(|leaves| leaves.grants.get(&slot)).copied())
    }

    fn doctor_may_read(&self) -> Test<Result<(), RequestErrorKind>> {
        let (reader, patient) = (account(DOCTOR)?, account(HONEST)?);
        let now = self.engine.clock.now();
        Ok(self.engine.state().may_read(reader, patient, Class::Summary, now).map_err(|error| error.kind))
    }

    /// The doctor's RequestAccess under the first version of the honest patient's grant.
    fn request(&self, patient_epoch: u64, salt: u64) -> Test<SignedOperation> {
        let action = Action::RequestAccess(RequestAccess {
            slot: GrantSlot::new(FIRST)?,
            version: Version::new(1)?,
            expected: Uses::ZERO,
            purpose: Purpose { reason: Reason::Treatment, class: Class::Summary },
        });
        let operation = sign(self.domain, self.time, DOCTOR, HONEST, salt, action)?.operation;
        let operation = Operation { patient_epoch: AccountEpoch::new(patient_epoch)?, ..operation };
        Ok(operation.sign(self.domain, &key(DOCTOR), None))
    }
}

/// The replacement of an open Revoke builds the patient's state again. A grant that L1 has ended meanwhile does not come back.
#[test]
fn a_forced_revocation_stays_when_a_revoke_is_replaced() -> Test {
    let world = world(1)?;
    world.taken(world.sign(HONEST, 1, grant(FIRST + 1, Version::ZERO)?)?)?;
    world.settle()?;
    world.queue(forced(FIRST)?)?;
    assert_eq!(world.held(FIRST)?, None);
    world.taken(world.sign_in(2, HONEST, 2, revoke(FIRST + 1, 1)?)?)?;
    let newer = world.sign_in(2, HONEST, 3, revoke(FIRST + 1, 1)?)?;
    world.taken(newer)?;
    assert_eq!(world.engine.state().open.len(), 1, "the newer one replaced the older one");
    assert_eq!(world.held(FIRST)?, None);
    // The state is the same as if the older Revoke had never come. Only the audit entries have other times.
    let mut expected = Ledger::clone(&world.engine.state().settled);
    expected.consume(&forced(FIRST)?, world.engine.state().last_time).map_err(|violation| violation.to_string())?;
    let acknowledged = world.engine.mempool.operation(newer.id(world.domain))?.ok_or("kept")?.acknowledged;
    expected.execute(&newer, acknowledged).map_err(|violation| violation.to_string())?;
    assert_eq!(world.engine.state().soft.trees().root(), expected.trees().root());
    Ok(())
}

/// A doctor acted on several patients. When L1 suspends the doctor, only these patients are built again, and what the doctor did has no effect
/// any more. Registrations that wait meanwhile stay in the soft state.
#[test]
fn a_suspension_takes_back_what_the_doctor_did_on_every_patient() -> Test {
    let world = world(3)?;
    let newcomer = Register {
        account: account(100)?,
        role: Role::Patient,
        org: None,
        key: key(100).public(),
        encryption: Fr::from(100),
    };
    world.engine.extend_queues(PerQueue { ordinary: vec![newcomer.into()], ..PerQueue::default() }, None)?;
    let uses = |patient: u64| -> Test<u64> {
        let state = world.engine.state();
        let leaves = state.soft.patient(account(patient)?).ok_or("a patient")?;
        Ok(leaves.grants.get(&GrantSlot::new(FIRST)?).ok_or("a grant")?.uses.get())
    };
    let request = |patient: u64| -> Test<SignedOperation> {
        let action = world.request(1, patient)?.operation.action;
        sign(world.domain, world.time, DOCTOR, patient, patient, action)
    };
    let untouched = DOCTOR + 3;
    let patients = [HONEST, DOCTOR + 1, DOCTOR + 2];
    for patient in patients {
        world.taken(request(patient)?)?;
        assert_eq!(uses(patient)?, 1);
    }
    world.queue(forced(FIRST + 9)?)?;
    assert_eq!(uses(HONEST)?, 0, "signed for an earlier epoch of the patient");
    world.queue(SetStatus { account: account(DOCTOR)?, status: AccountStatus::Suspended }.into())?;
    for patient in patients.into_iter().chain([untouched]) {
        assert_eq!(uses(patient)?, 0);
    }
    assert!(world.engine.state().soft.trees().account(account(100)?).is_some());
    Ok(())
}

/// The tables hold blocks, shares and operations of an account under its owner. A new status, a new key and a forced revocation change the
/// identity leaf, and not the owner.
#[test]
fn the_owner_of_an_account_keeps_what_is_theirs() -> Test {
    let world = world(1)?;
    let patient = account(HONEST)?;
    let ended = world.sign(HONEST, 1, revoke(FIRST, 1)?)?;
    world.taken(ended)?;
    let (owner, first) = world.engine.state().present(patient).ok_or("an account")?;
    let entries: [L1Operation; 3] = [
        forced(FIRST + 1)?,
        RotateKey { account: patient, key: key(900).public(), encryption: Fr::from(77) }.into(),
        SetStatus { account: patient, status: AccountStatus::Closed }.into(),
    ];
    let mut leaves = vec![first];
    for entry in entries {
        world.queue(entry)?;
        let (present, leaf) = world.engine.state().present(patient).ok_or("an account")?;
        assert_eq!(present, owner);
        assert!(!leaves.contains(&leaf), "a login ends");
        leaves.push(leaf);
    }
    // After a restart, what the patient took away before is still taken away.
    let mut again = world.engine.state().clone();
    again.open = OpenOperations::new(&CircuitVersion::V1.into());
    again.add_known(world.engine.mempool.operations()?, History::default());
    let settled = again.settled.patient(patient).and_then(|leaves| leaves.grants.values().next()).copied();
    assert_eq!(again.history.left_of(patient, GrantSlot::new(FIRST)?, &settled.ok_or("a grant")?), None);
    assert_eq!(again.open.len(), 1, "the next sealing returns it");
    Ok(())
}

/// The versions of an emptied slot begin again. What the patient took away before holds for the grants of that time, and not for a new one.
/// The new grant opens nothing before it is settled, and the sessions of the old grant open nothing of the new one.
#[test]
fn a_new_grant_in_an_emptied_slot_is_neither_denied_nor_opened_by_the_past() -> Test {
    let world = world(1)?;
    let (patient, slot) = (account(HONEST)?, GrantSlot::new(FIRST)?);
    world.taken(world.request(1, 1)?)?;
    assert_eq!(world.doctor_may_read()?, Ok(()));
    let old = world.held(FIRST)?.ok_or("a grant")?;
    // The patient ends more versions than there are. (This node did not see the first state's grant, so it does not say that it was revoked.)
    world.taken(world.sign(HONEST, 2, revoke(FIRST, 7)?)?)?;
    assert_eq!(world.doctor_may_read()?, Err(RequestErrorKind::Forbidden));

    world.queue(forced(FIRST)?)?;
    world.taken(world.sign_in(2, HONEST, 3, granted_again(FIRST)?)?)?;
    let new = world.held(FIRST)?.ok_or("a grant")?;
    assert_eq!(new.version, old.version);
    let left = |grant| world.engine.state().history.left_of(patient, slot, grant);
    assert_eq!((left(&new), left(&old)), (Some(new), None));
    // L1 still has the old grant, with the same version.
    assert_eq!(world.doctor_may_read()?, Err(RequestErrorKind::Unavailable));
    world.settle()?;
    assert_eq!(world.engine.state().settled.patient(patient).ok_or("a patient")?.grants.get(&slot), Some(&new));
    assert_eq!(world.doctor_may_read()?, Err(RequestErrorKind::NoSession));
    assert!(world.submit(world.request(1, 4)?)?.is_err(), "a request of an earlier epoch");
    world.taken(world.request(2, 5)?)?;
    assert_eq!(world.doctor_may_read()?, Ok(()));

    // The same for a grant that the patient narrowed before.
    let narrowed = world.sign_in(2, HONEST, 6, grant(FIRST + 1, Version::ZERO)?)?;
    world.taken(narrowed)?;
    let Action::SetGrant(SetGrant { leaf, .. }) = grant(FIRST + 1, Version::new(1)?)? else {
        return Err("a grant".into());
    };
    let other = GrantLeaf { grantee: Some(account(DOCTOR + 1)?), ..leaf };
    let set = SetGrant {
        slot: GrantSlot::new(FIRST + 1)?,
        expected: Version::new(1)?,
        leaf: other,
        directory_before: DirectoryCommitment::NONE,
        directory_after: DirectoryCommitment::NONE,
    };
    world.taken(world.sign_in(2, HONEST, 7, Action::SetGrant(set))?)?;
    world.queue(forced(FIRST + 1)?)?;
    world.taken(world.sign_in(3, HONEST, 8, granted_again(FIRST + 1)?)?)?;
    let new = world.held(FIRST + 1)?.ok_or("a grant")?;
    let left = world.engine.state().history.left_of(patient, GrantSlot::new(FIRST + 1)?, &new);
    assert_eq!(left, Some(new));
    Ok(())
}

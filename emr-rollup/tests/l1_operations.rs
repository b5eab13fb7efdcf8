//! L1 operations on the ledger: what each kind changes, that entries without effect change nothing, and the vectors of
//! `docs/encoding.md`.
#![expect(clippy::unwrap_used, reason = "tests")]

use emr_core::{AccountEpoch, AccountStatus, Class, ClassMask, GrantSlot, Rights, Role};
use emr_rollup::{
    batch::{Batch, BatchData, Open, PushError},
    l1_operation::{ForcedRevoke, L1Operation, Register, RevokedGrants, RotateKey, SetStatus},
    operation::{Action, SignedOperation},
    primitive::field::{self, Fr},
    state::{
        StateTrees,
        leaf::{AuditEntry, AuditTarget, IdentityLeaf, LeafHash, MedicalLeaf},
        ledger::Ledger,
    },
    statement::{Clause, check_batch},
    testing::scenario::*,
    version::CircuitVersion,
};
use proptest::prelude::*;

/// Small trees, and room for many entries.
const WIDE: CircuitVersion =
    CircuitVersion { number: 1, account_depth: 4, grant_depth: 2, record_depth: 2, max_l1: 40, max_l2: 20, k: 17 };

/// The state after the honest history.
fn settled(version: CircuitVersion) -> Ledger {
    let mut batch = open(version);
    for operation in operations(&version) {
        batch.push(&operation).unwrap();
    }
    batch.seal().1
}

fn next(ledger: &Ledger) -> Batch<Open> {
    Batch::open(ledger.clone(), 2, time(TIME + 60))
}

/// The state after a batch of these entries. Both checkers of the ledger agree on it: the statement, and the derivation
/// from the batch's data.
fn after(ledger: &Ledger, entries: &[L1Operation]) -> Ledger {
    let mut batch = next(ledger);
    for entry in entries {
        batch.push_l1(entry).unwrap();
    }
    let (sealed, after) = batch.seal();
    assert_eq!(check_batch(sealed.witness(), sealed.public()), Ok(()));
    let mut trees = ledger.trees().clone();
    trees.apply(sealed.data(), sealed.time()).unwrap();
    assert_eq!((trees.root(), after.trees().root()), (sealed.public().post, sealed.public().post));
    after
}

fn refusal(batch: &mut Batch<Open>, operation: &SignedOperation) -> Clause {
    match batch.push(operation) {
        Err(PushError::Refused(violation)) => violation.clause,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn identity(ledger: &Ledger, index: u64) -> IdentityLeaf {
    ledger.identity(account(index)).unwrap().clone()
}

fn medical(ledger: &Ledger) -> MedicalLeaf {
    ledger.medical(account(PATIENT)).unwrap()
}

fn slots(ledger: &Ledger) -> Vec<u64> {
    ledger.patient(account(PATIENT)).unwrap().grants.keys().map(|slot| slot.get()).collect()
}

fn slot(number: u64) -> RevokedGrants {
    RevokedGrants::Slot(GrantSlot::new(number).unwrap())
}

fn status(index: u64, status: AccountStatus) -> L1Operation {
    SetStatus { account: account(index), status }.into()
}

#[test]
fn a_status_changes_alone_and_begins_an_epoch() {
    let before = settled(WIDE);
    let mut ledger = before.clone();
    for (epoch, to) in (2..).zip([AccountStatus::Suspended, AccountStatus::Active, AccountStatus::Closed]) {
        ledger = after(&ledger, &[status(PATIENT, to)]);
        let epoch = AccountEpoch::new(epoch).unwrap();
        assert_eq!(identity(&ledger, PATIENT), IdentityLeaf { status: to, epoch, ..identity(&before, PATIENT) });
        assert_eq!(ledger.trees().registration(account(PATIENT)), Some(before.trees().identity(account(PATIENT))));
    }
    assert_eq!(medical(&ledger), medical(&before));
    assert_eq!(identity(&ledger, DOCTOR), identity(&before, DOCTOR));
}

#[test]
fn keys_change_alone_and_begin_an_epoch() {
    let before = settled(WIDE);
    let (new, encryption) = (key(NEW_KEY).public(), Fr::from(7));
    let ledger = after(&before, &[RotateKey { account: account(DOCTOR), key: new, encryption }.into()]);
    let epoch = AccountEpoch::new(2).unwrap();
    assert_eq!(identity(&ledger, DOCTOR), IdentityLeaf { key: new, encryption, epoch, ..identity(&before, DOCTOR) });
    assert_eq!(ledger.trees().medical_root(), before.trees().medical_root());
    // The new key signs in the new epoch. The old one does not, in any epoch.
    let leaf = record(Class::Summary, DOCTOR, 1, 1);
    let signed = |epoch| sign_in_epochs((DOCTOR, epoch), 1, put(2, 0, leaf), Some(first_slot(&WIDE)), 30);
    let mut batch = next(&ledger);
    batch
        .push(&sign(
            PATIENT,
            set_grant(first_slot(&WIDE), grant(HOSPITAL, Rights::WRITE, ClassMask::ALL, 4), 94, 95),
            None,
            29,
        ))
        .unwrap();
    assert_eq!(refusal(&mut batch, &signed(1)), Clause::MessageCurrent);
    assert_eq!(refusal(&mut batch, &signed(2)), Clause::SignatureValid);
    let authority = Some(GrantSlot::new(first_slot(&WIDE)).unwrap());
    batch.push(&signed(2).operation.sign(domain(), &key(NEW_KEY), authority)).unwrap();
}

#[test]
fn a_forced_revocation_empties_a_slot_and_leaves_the_rest() {
    let before = settled(WIDE);
    let ended = first_slot(&WIDE) + 1;
    assert_eq!(slots(&before), [0, first_slot(&WIDE), ended]);
    let revoke = forced_revoke(PATIENT, slot(ended));
    let ledger = after(&before, &[revoke.into()]);
    assert_eq!(slots(&ledger), [0, first_slot(&WIDE)]);
    let (old, new) = (medical(&before), medical(&ledger));
    let entry = AuditEntry {
        kind: emr_rollup::operation::Kind::ForcedRevoke,
        signer: account(PATIENT),
        target: AuditTarget::Grant(GrantSlot::new(ended).unwrap()),
        purpose: None,
        time: time(TIME + 60),
        new_leaf: LeafHash::EMPTY,
        salt: Fr::from(0),
    };
    assert_eq!(new, MedicalLeaf { grants_root: new.grants_root, audit_head: entry.extend(old.audit_head), ..old });
    assert_ne!(new.grants_root, old.grants_root);
    let audit = &ledger.patient(account(PATIENT)).unwrap().audit;
    assert_eq!((audit.head(), audit.entries().last()), (new.audit_head, Some(&entry)));
    let epoch = AccountEpoch::new(2).unwrap();
    assert_eq!(identity(&ledger, PATIENT), IdentityLeaf { epoch, ..identity(&before, PATIENT) });
    // Again, on the empty slot: only epoch and audit chain go on.
    let again = after(&ledger, &[revoke.into()]);
    assert_eq!(identity(&again, PATIENT).epoch, AccountEpoch::new(3).unwrap());
    assert_eq!(medical(&again), MedicalLeaf { audit_head: entry.extend(new.audit_head), ..new });
}

#[test]
fn all_grants_end_at_once_with_a_new_directory() {
    let before = settled(WIDE);
    let directory = Fr::from(4711).into();
    let revoke = ForcedRevoke { directory: Some(directory), ..forced_revoke(PATIENT, RevokedGrants::All) };
    let ledger = after(&before, &[revoke.into()]);
    assert_eq!(slots(&ledger), [0; 0]);
    let (old, new) = (medical(&before), medical(&ledger));
    let grants_root = emr_rollup::state::tree::empty_root(WIDE.grant_depth);
    let audit_head = revoke.audit_entry(time(TIME + 60)).extend(old.audit_head);
    assert_eq!(new, MedicalLeaf { grants_root, audit_head, key_directory: directory, ..old });
    assert_eq!(revoke.audit_entry(time(TIME)).target, AuditTarget::AllGrants);
}

/// An emptied slot begins again at version 1. Nothing that was signed for its earlier versions comes back.
#[test]
fn an_emptied_slot_begins_again_and_nothing_old_comes_back() {
    let at = first_slot(&WIDE);
    let mut batch = open(WIDE);
    let set = |version: u64, epoch, before, after| {
        let leaf = grant(STRANGER, Rights::READ | Rights::WRITE | Rights::MANAGE, ClassMask::ALL, version);
        sign_in_epochs((PATIENT, epoch), epoch, set_grant(at, leaf, before, after), None, 10 * epoch + version)
    };
    batch.push(&set(1, 1, 0, 0)).unwrap();
    let by_stranger =
        |action: Action, authority, epoch, salt| sign_in_epochs((STRANGER, 1), epoch, action, authority, salt);
    let summary = grant(DOCTOR, Rights::READ, Class::Summary.into(), 1);
    // Signed in the first epoch, and held back.
    let withheld = [
        set(2, 1, 0, 0),
        set(1, 1, 0, 0),
        sign(PATIENT, revoke(at, 5, 0, 0), None, 40),
        by_stranger(request(at, 1, 0, Class::Summary), None, 1, 41),
        by_stranger(put(0, 0, record(Class::Summary, STRANGER, 1, 1)), Some(at), 1, 42),
        by_stranger(set_grant(at + 1, summary, 0, 0), Some(at), 1, 43),
        by_stranger(break_glass(0, emergency(STRANGER, 1)), None, 1, 44),
    ];
    let ledger = batch.seal().1;
    for entry in [forced_revoke(PATIENT, slot(at)), forced_revoke(PATIENT, RevokedGrants::All)] {
        let mut batch = next(&ledger);
        batch.push_l1(&entry.into()).unwrap();
        for old in &withheld {
            assert_eq!(refusal(&mut batch, old), Clause::MessageCurrent);
        }
        // In the new epoch the stranger has no grant.
        let late = by_stranger(request(at, 1, 0, Class::Summary), None, 2, 45);
        assert_eq!(refusal(&mut batch, &late), Clause::GrantAllows);
        // The patient grants again. The slot has the version that it had before, and the old messages stay dead.
        batch.push(&set(1, 2, 0, 0)).unwrap();
        for old in &withheld {
            assert_eq!(refusal(&mut batch, old), Clause::MessageCurrent);
        }
        batch.push(&late).unwrap();
        let (sealed, _) = batch.seal();
        assert_eq!(check_batch(sealed.witness(), sealed.public()), Ok(()));
    }
}

#[test]
fn entries_without_effect_are_consumed() {
    let before = settled(WIDE);
    let ledger = after(&before, &without_effect());
    assert_eq!(ledger.trees().root(), before.trees().root());
    for kept in [PATIENT, DOCTOR] {
        assert_eq!(identity(&ledger, kept), identity(&before, kept));
    }
    assert_eq!(ledger.identity(account(NOBODY)), None);
    assert_eq!((slots(&ledger), medical(&ledger)), (slots(&before), medical(&before)));
}

/// Any entry that the contract could queue, in trees of [`WIDE`].
fn any_entry() -> impl Strategy<Value = L1Operation> {
    let index = (1..8u64).prop_map(account);
    let key_number = 1..5u64;
    let directory = prop::option::of((0..3u64).prop_map(|directory| Fr::from(directory).into()));
    let grants = prop_oneof![(0..4u64).prop_map(slot), Just(RevokedGrants::All)];
    let role = prop::sample::select(Role::ALL);
    let status = prop::sample::select(AccountStatus::ALL);
    prop_oneof![
        2 => (index.clone(), role, prop::option::of(index.clone()), key_number.clone()).prop_map(
            |(account, role, org, number)| {
                Register { account, role, org, key: key(number).public(), encryption: Fr::from(number) }.into()
            }
        ),
        1 => (index.clone(), status).prop_map(|(account, status)| SetStatus { account, status }.into()),
        1 => (index.clone(), key_number).prop_map(|(account, number)| {
            RotateKey { account, key: key(number).public(), encryption: Fr::from(number) }.into()
        }),
        3 => (index, grants, directory)
            .prop_map(|(account, grants, directory)| ForcedRevoke { account, grants, directory }.into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No sequence of entries makes a batch impossible, and the state follows from the data alone.
    #[test]
    fn every_sequence_of_entries_is_consumed(entries in prop::collection::vec(any_entry(), 1..40), history: bool) {
        let before = if history { settled(WIDE) } else { Ledger::genesis(domain(), WIDE) };
        let ledger = after(&before, &entries);
        let mut trees = before.trees().clone();
        for entry in &entries {
            let (index, root) = (entry.account(), trees.root());
            let held = trees.account(index).cloned();
            let effect = trees.consume(entry, time(TIME + 60));
            prop_assert_eq!(effect, entry.identity(held.as_ref()).is_some());
            prop_assert_eq!(effect, trees.root() != root, "an effect shows in the root");
            let epoch = |leaf: Option<&IdentityLeaf>| leaf.map_or(0, |leaf| leaf.epoch.get());
            prop_assert_eq!(epoch(trees.account(index)), epoch(held.as_ref()) + u64::from(effect));
        }
        prop_assert_eq!(trees.root(), ledger.trees().root());
        // The preimages are those of the trees.
        for index in (1..8).map(account) {
            let value = ledger.identity(index).map_or(LeafHash::EMPTY, IdentityLeaf::hash);
            prop_assert_eq!(trees.identity(index), value);
            let patient = ledger.identity(index).is_some_and(|leaf| leaf.role == Role::Patient);
            prop_assert_eq!(ledger.patient(index).is_some(), patient);
            prop_assert_eq!(trees.medical(index) != LeafHash::EMPTY, patient);
            if let (Some(leaves), Some(subtree)) = (ledger.patient(index), trees.subtree(index)) {
                prop_assert_eq!(leaves.audit.head(), subtree.audit_head);
                let held: Vec<_> = leaves.grants.iter().map(|(slot, leaf)| (slot.get() as u32, leaf.hash())).collect();
                prop_assert_eq!(subtree.grants.leaves().collect::<Vec<_>>(), held);
            }
        }
    }
}

/// Data of L1 that no contract queues are refused, not executed.
#[test]
fn malformed_entries_are_refused() {
    let mut entry = L1Operation::from(forced_revoke(PATIENT, RevokedGrants::All)).entry();
    entry.opaque = Fr::from(1);
    let data = BatchData { d1: vec![entry], d2: Vec::new() };
    assert!(StateTrees::genesis(WIDE).apply(&data, time(TIME)).is_err());
}

#[test]
fn audit_targets_have_these_forms_in_json() {
    let grant = AuditTarget::Grant(GrantSlot::new(64).unwrap());
    assert_eq!(serde_json::to_string(&[grant, AuditTarget::AllGrants]).unwrap(), r#"[{"grant":64},"all-grants"]"#);
}

const ENCODING: &str = include_str!("../../docs/encoding.md");

/// The page has one line for each L1 operation of account 5, and one for the audit entries.
#[test]
fn the_vectors_of_the_documentation_are_right() {
    let index = account(5);
    let (new, encryption) = (key(1).public(), Fr::from(2000));
    let directory = Some(Fr::from(4711).into());
    let ordinary = slot(64);
    let operations: [(&str, L1Operation); 5] = [
        ("Register, patient", Register { account: index, role: Role::Patient, org: None, key: new, encryption }.into()),
        ("SetStatus, closed", SetStatus { account: index, status: AccountStatus::Closed }.into()),
        ("RotateKey", RotateKey { account: index, key: new, encryption }.into()),
        ("ForcedRevoke, slot 64", ForcedRevoke { account: index, grants: ordinary, directory: None }.into()),
        (
            "ForcedRevoke, all, directory 4711",
            ForcedRevoke { account: index, grants: RevokedGrants::All, directory }.into(),
        ),
    ];
    let short = |element: &Fr| {
        let text = hex::encode(field::to_bytes(element));
        let digits = text.trim_start_matches('0');
        if digits.is_empty() { "0".to_owned() } else { format!("0x{digits}") }
    };
    let mut lines = Vec::new();
    for (name, operation) in operations {
        lines.push(format!("| {name} | `{}` |", short(&operation.entry().packed)));
    }
    for (name, grants) in [("slot 64", ordinary), ("all", RevokedGrants::All)] {
        let entry = ForcedRevoke { account: index, grants, directory: None }.audit_entry(time(TIME));
        lines.push(format!("| audit entry, {name} | `{}` |", short(&entry.hash())));
    }
    lines.push(format!("| x of the key | `{}` |", short(&new.x())));
    let missing: Vec<_> = lines.into_iter().filter(|line| !ENCODING.contains(line)).collect();
    assert!(missing.is_empty(), "docs/encoding.md lacks these lines:\n{}", missing.join("\n"));
}

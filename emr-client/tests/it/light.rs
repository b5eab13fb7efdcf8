//! The light check: an honest subtree passes, and nothing can be hidden, added or changed.

use emr_api::{GrantView, SubtreeView};
use std::sync::LazyLock;

use emr_client::{
    verify::audit::AuditWalk,
    verify::light::{LightError, verify_subtree},
    verify::membership::MembershipError,
};
use emr_core::{Class, RecordStatus, Revision, Rights, UnixTime, Uses, Version};
use emr_rollup::{
    primitive::field::Fr,
    state::{
        leaf::{GrantLeaf, RecordLeaf},
        tree::Path,
    },
};

use crate::fixtures::*;

static VIEW: LazyLock<SubtreeView> = LazyLock::new(|| LIVED.subtree_view());

fn check(view: &SubtreeView) -> Result<(), LightError> {
    verify_subtree(&LIVED.expectation(), view, &LIVED.state()).map(|_| ())
}

fn after(change: impl FnOnce(&mut SubtreeView)) -> LightError {
    let mut view = VIEW.clone();
    change(&mut view);
    check(&view).expect_err("accepted")
}

#[test]
fn an_honest_subtree_passes_and_says_who_has_access() -> TestResult {
    let verified = verify_subtree(&LIVED.expectation(), &VIEW, &LIVED.state())?;
    let access: Vec<_> = verified.access(time(NOW)).map(|view| (view.slot.get(), view.grant.grantee)).collect();
    assert_eq!(access, [(64, Some(account(DOCTOR)))]);
    assert_eq!(verified.access(time(NOW + 10_001)).count(), 0);
    assert_eq!(verified.grants().len(), 2);
    assert_eq!(verified.records().len(), 3);
    assert_eq!(verified.directory().copied(), LIVED.directory_cid);
    assert_eq!(verified.state().batches(), LIVED.batches);
    Ok(())
}

#[test]
fn a_patient_to_whom_nothing_happened_yet_passes() -> TestResult {
    let world = World::new();
    let verified = verify_subtree(&world.expectation(), &world.subtree_view(), &world.state())?;
    assert_eq!((verified.grants().len(), verified.records().len(), verified.directory()), (0, 0, None));
    assert_eq!(AuditWalk::begin(verified)?.finish()?.audit_length(), 0);
    Ok(())
}

#[test]
fn no_grant_can_be_hidden_added_or_moved() {
    let grants = LightError::NotAll("grants");
    for hidden in 0..VIEW.grants.len() {
        assert_eq!(after(|v| _ = v.grants.remove(hidden)), grants);
    }
    assert_eq!(after(|v| v.grants.clear()), grants);
    let copy = VIEW.grants[0];
    assert_eq!(after(|v| v.grants.push(GrantView { slot: grant_slot(70), ..copy })), grants);
    assert_eq!(after(|v| v.grants[0].slot = grant_slot(71)), grants);
    // A harmless grant and the real grant, both in the same slot, in either order.
    let harmless = GrantView { grant: GrantLeaf { rights: Rights::NONE, ..copy.grant }, ..copy };
    let twice = LightError::Twice("grant 64".to_owned());
    assert_eq!(after(|v| v.grants.insert(0, harmless)), twice);
    assert_eq!(after(|v| v.grants.push(harmless)), twice);
}

#[test]
fn no_field_of_a_grant_can_be_changed() {
    let changes: [fn(&mut GrantLeaf); 7] = [
        |g| g.grantee = None,
        |g| g.rights = Rights::READ,
        |g| g.scope = Class::Summary.into(),
        |g| g.not_after = UnixTime::ZERO,
        |g| g.uses = Uses::new(1).expect("a count"),
        |g| g.version = Version::new(2).expect("a version"),
        |g| g.salt += Fr::one(),
    ];
    for change in changes {
        assert_eq!(after(|v| change(&mut v.grants[0].grant)), LightError::NotAll("grants"));
    }
}

#[test]
fn no_record_can_be_hidden_added_or_changed() {
    let records = LightError::NotAll("records");
    for hidden in 0..VIEW.records.len() {
        assert_eq!(after(|v| _ = v.records.remove(hidden)), records);
    }
    let copy = VIEW.records[0].clone();
    let added = emr_api::RecordSummary { slot: slot(9), ..copy.clone() };
    assert_eq!(after(|v| v.records.push(added)), records);
    assert_eq!(after(|v| v.records.push(copy)), LightError::Twice("record 0".to_owned()));
    let changes: [fn(&mut RecordLeaf); 8] = [
        |r| r.status = RecordStatus::Tombstone,
        |r| r.class = Class::Summary,
        |r| r.author = account(OTHER),
        |r| r.custodian = None,
        |r| r.version = Version::new(9).expect("a version"),
        |r| r.revision = Revision::new(9).expect("a revision"),
        |r| r.authored += Fr::one(),
        |r| r.stored += Fr::one(),
    ];
    for change in changes {
        assert_eq!(after(|v| change(&mut v.records[0].leaf)), records);
    }
    let other = VIEW.records[1].stored;
    assert_eq!(after(|v| v.records[0].stored = other), LightError::Stored(slot(0)));
}

#[test]
fn the_medical_leaf_is_the_one_on_l1() {
    let not_there = LightError::Membership(MembershipError::NotThere { leaf: "medical leaf" });
    assert_eq!(after(|v| v.medical.grants_root += Fr::one()), not_there);
    assert_eq!(after(|v| v.medical.records_root += Fr::one()), not_there);
    assert_eq!(after(|v| v.medical.audit_head += Fr::one()), not_there);
    assert_eq!(after(|v| v.medical.key_directory = Fr::from(99).into()), not_there);
    // A whole older subtree that is consistent in itself.
    let mut older = World::new();
    older.identities = LIVED.identities.clone();
    let (identity_path, medical_path) = (VIEW.identity_path.clone(), VIEW.medical_path.clone());
    let mut view = older.subtree_view();
    (view.identity, view.identity_path, view.medical_path) = (VIEW.identity, identity_path, medical_path);
    (view.identity_root, view.medical_root) = (VIEW.identity_root, VIEW.medical_root);
    assert_eq!(check(&view), Err(not_there));
}

#[test]
fn roots_and_paths_lead_to_l1() {
    let other = |error| matches!(error, LightError::Membership(MembershipError::OtherState { .. }));
    assert!(other(after(|v| v.identity_root += Fr::one())));
    assert!(other(after(|v| v.medical_root += Fr::one())));
    let mut later = LIVED.clone();
    later.put(PATIENT, 3, Class::Document, "later");
    let stale = verify_subtree(&LIVED.expectation(), &VIEW, &later.state()).map(|_| ());
    assert!(stale.is_err_and(other));
    let length = |error| matches!(error, LightError::Membership(MembershipError::PathLength { .. }));
    assert!(length(after(|v| v.medical_path = Path::new([]))));
    assert!(length(after(|v| v.identity_path = Path::new([]))));
    let bent = |path: &Path| {
        Path::new(path.siblings().map(|siblings| siblings.map(|sibling| sibling + Fr::one())).collect::<Vec<_>>())
    };
    let there = |leaf| LightError::Membership(MembershipError::NotThere { leaf });
    assert_eq!(after(|v| v.identity_path = bent(&v.identity_path)), there("identity"));
    assert_eq!(after(|v| v.medical_path = bent(&v.medical_path)), there("medical leaf"));
}

#[test]
fn the_account_is_the_patients() {
    let mut expected = LIVED.expectation();
    expected.key = LIVED.signing(OTHER).public();
    assert_eq!(verify_subtree(&expected, &VIEW, &LIVED.state()), Err(LightError::NotYou("rollup key")));
    let mut expected = LIVED.expectation();
    expected.encryption += Fr::one();
    assert_eq!(verify_subtree(&expected, &VIEW, &LIVED.state()), Err(LightError::NotYou("encryption key")));
    let mut expected = LIVED.expectation();
    expected.account = account(OTHER);
    assert_eq!(verify_subtree(&expected, &VIEW, &LIVED.state()), Err(LightError::OtherPatient(account(PATIENT))));
    // A node answers for the patient with a doctor's leaf.
    let doctors = LIVED.account_view(DOCTOR).identity;
    assert_eq!(after(|v| v.identity = doctors), LightError::NotYou("role"));
    // The node claims that the account is closed, without a proof.
    let there = LightError::Membership(MembershipError::NotThere { leaf: "identity" });
    assert_eq!(after(|v| v.identity.status = Fr::from(3)), there);
}

#[test]
fn the_directory_is_the_patients() {
    let older = World::new();
    let foreign = older.directory.published().cid();
    for directory in [None, Some(foreign)] {
        assert_eq!(after(|v| v.directory = directory), LightError::Directory);
    }
}

#[test]
fn waiting_operations_are_the_patients() {
    let mut world = LIVED.clone();
    let mut signed = world.sign_grant(66, OTHER, Rights::WRITE, Class::Summary.into());
    let mut view = VIEW.clone();
    view.pending = vec![signed];
    assert_eq!(check(&view), Ok(()));
    signed.operation.patient = account(OTHER);
    assert_eq!(after(|v| v.pending = vec![signed]), LightError::Pending);
}

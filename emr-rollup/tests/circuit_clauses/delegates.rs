//! A delegate, who holds a grant with MANAGE, and every way to take more than it gives.

use emr_core::{Class, ClassMask, Rights};
use emr_rollup::{
    batch::PublicInputs,
    operation::Action,
    primitive::field::Fr,
    state::leaf::GrantLeaf,
    statement::{BatchWitness, Clause, check_batch},
    testing::scenario::*,
};

use crate::harness::*;

const LABORATORY: ClassMask = ClassMask::from_bits(1 << 2);
const BOTH: ClassMask = ClassMask::from_bits(0b110);

/// What a case starts from, and what the delegate signs.
struct Case {
    signer: u64,
    /// The grant that the delegate acts under.
    delegate: GrantLeaf,
    /// The grant before.
    old: GrantLeaf,
    slot: u64,
    action: fn(u64) -> Action,
}

/// The stranger manages encounter and laboratory for an hour. A doctor reads laboratory.
fn honest() -> Case {
    let until = |leaf: GrantLeaf| GrantLeaf { not_after: time(TIME + 3600), ..leaf };
    Case {
        signer: STRANGER,
        delegate: until(grant(STRANGER, Rights::READ | Rights::MANAGE, BOTH, 1)),
        old: until(grant(DOCTOR, Rights::READ, LABORATORY, 1)),
        slot: first_slot(&VERSION),
        action: |slot| set(slot, |_| ()),
    }
}

/// A grant of laboratory to the hospital, changed.
fn set(slot: u64, change: fn(&mut GrantLeaf)) -> Action {
    let leaf = grant(HOSPITAL, Rights::READ | Rights::WRITE, LABORATORY, 2);
    let mut leaf = GrantLeaf { not_after: time(TIME + 3600), ..leaf };
    change(&mut leaf);
    set_grant(slot, leaf, 0, 0)
}

fn batch(case: &Case) -> (BatchWitness, PublicInputs) {
    let mut forger = forger(0);
    let authority = first_slot(&VERSION) + 1;
    forger.write_grant(PATIENT, authority, &case.delegate);
    forger.write_grant(PATIENT, case.slot, &case.old);
    push_all(&mut forger, &[sign(case.signer, (case.action)(case.slot), Some(authority), 1)]);
    forger.finish()
}

#[test]
fn a_delegate_gives_and_ends_what_they_may() {
    let revoked = Case { action: |slot| revoke(slot, 1, 0, 0), ..honest() };
    let first =
        Case { old: GrantLeaf { version: emr_core::Version::ZERO, ..empty() }, action: first_grant, ..honest() };
    for case in [honest(), revoked, first] {
        let (witness, public) = batch(&case);
        assert_eq!(check_batch(&witness, &public), Ok(()));
        assert_eq!(failures(&witness, &public), []);
    }
}

/// The leaf of a slot that was never used.
fn empty() -> GrantLeaf {
    emr_rollup::operation::revoked_leaf(emr_core::Uses::ZERO, emr_core::Version::ZERO, Fr::from(0))
}

fn first_grant(slot: u64) -> Action {
    set(slot, |leaf| leaf.version = emr_core::Version::new(1).unwrap())
}

#[test]
fn c7_a_delegate_stays_within_their_grant() {
    type Change = fn(&mut Case);
    let cases: [(&str, Change); 16] = [
        ("nobody's delegate", |case| case.delegate.grantee = Some(account(DOCTOR))),
        ("without MANAGE", |case| case.delegate.rights = Rights::READ | Rights::WRITE),
        ("expired", |case| case.delegate.not_after = time(TIME - 1)),
        ("under the hospital's grant", |case| {
            (case.signer, case.delegate.grantee) = (DOCTOR, Some(account(HOSPITAL)));
            case.action = |slot| set(slot, |leaf| leaf.grantee = Some(account(STRANGER)));
        }),
        ("gives MANAGE", |case| case.action = |slot| set(slot, |leaf| leaf.rights = Rights::READ | Rights::MANAGE)),
        ("replaces another delegate", |case| case.old.rights = Rights::READ | Rights::MANAGE),
        ("ends another delegate", |case| {
            case.old.rights = Rights::MANAGE;
            case.action = |slot| revoke(slot, 1, 0, 0);
        }),
        ("gives other classes", |case| case.action = |slot| set(slot, |leaf| leaf.scope = Class::Imaging.into())),
        ("gives one class too many", |case| {
            case.action = |slot| set(slot, |leaf| leaf.scope = ClassMask::from_bits(0b1110));
        }),
        ("gives all classes", |case| case.action = |slot| set(slot, |leaf| leaf.scope = ClassMask::ALL)),
        ("replaces a grant of other classes", |case| case.old.scope = ClassMask::from_bits(0b1100)),
        ("ends a grant of other classes", |case| {
            case.old.scope = ClassMask::from_bits(0b1100);
            case.action = |slot| revoke(slot, 1, 0, 0);
        }),
        ("for longer than their own", |case| {
            case.action = |slot| set(slot, |leaf| leaf.not_after = time(TIME + 3601));
        }),
        ("to themselves", |case| case.action = |slot| set(slot, |leaf| leaf.grantee = Some(account(STRANGER)))),
        ("to their hospital", |case| (case.signer, case.delegate.grantee) = (DOCTOR, Some(account(DOCTOR)))),
        ("ends a delegate's grant: their own", |case| {
            case.old = GrantLeaf { version: emr_core::Version::new(1).unwrap(), ..case.delegate };
            case.action = |slot| revoke(slot, 1, 0, 0);
        }),
    ];
    for (what, change) in cases {
        let mut case = honest();
        change(&mut case);
        refused_for(Clause::GrantAllows, what, batch(&case));
    }
}

#[test]
fn c8_a_delegate_names_the_version_that_they_end() {
    let ahead = Case { action: |slot| revoke(slot, u64::from(u32::MAX) - 1, 0, 0), ..honest() };
    refused_for(Clause::TargetExpected, "the last version", batch(&ahead));
}

#[test]
fn c9_a_delegate_keeps_the_directory_and_emergency_slots() {
    let given = Case { action: |slot| set_grant(slot, signed_leaf(slot), 0, 5), ..honest() };
    refused_for(Clause::NewLeafAllowed, "a directory with a grant", batch(&given));
    let ended = Case { action: |slot| revoke(slot, 1, 0, 5), ..honest() };
    refused_for(Clause::NewLeafAllowed, "a directory with a revocation", batch(&ended));
    let late = Case { action: |slot| revoke(slot, 1, 4, 5), ..honest() };
    refused_for(Clause::NewLeafAllowed, "a directory that is not in force", batch(&late));
    let emergency = Case {
        slot: 0,
        old: GrantLeaf { rights: Rights::NONE, ..honest().old },
        action: |slot| revoke(slot, 1, 0, 0),
        ..honest()
    };
    refused_for(Clause::NewLeafAllowed, "a slot of break-glass", batch(&emergency));
}

fn signed_leaf(slot: u64) -> GrantLeaf {
    let (_, leaf) = set(slot, |_| ()).signed_grant().unwrap().unwrap();
    leaf
}

//! C8 and C9: the leaf that is written.

use emr_core::{Class, ClassMask, Rights};
use emr_rollup::{
    primitive::field::Fr,
    state::leaf::GrantLeaf,
    statement::{Clause, OperationWitness},
    testing::scenario::*,
};

use crate::harness::*;

#[test]
fn c8_the_target_is_as_expected() {
    let up = |w: &mut OperationWitness| w.message.header.expected += one();
    refused_for(Clause::TargetExpected, "revision", altered(SECOND_PUT, up));
    refused_for(Clause::TargetExpected, "uses", altered(REQUEST, up));
    refused_for(Clause::TargetExpected, "target path", tampered(PATIENT_PUT, |w| w.target_path = bent(&w.target_path)));
    refused_for(Clause::TargetExpected, "grant path", tampered(SET, |w| w.target_path = bent(&w.target_path)));
    refused_for(Clause::TargetExpected, "directory", altered(SET, |w| w.message.directory_before += one()));
    let slot = first_slot(&VERSION);
    let stale = sign(PATIENT, set_grant(slot, grant(HOSPITAL, Rights::READ, ClassMask::ALL, 1), 92, 93), None, 9);
    refused_for(Clause::TargetExpected, "version", added(2, &stale));
    let ahead = sign(PATIENT, revoke(slot, 0, 92, 93), None, 9);
    refused_for(Clause::TargetExpected, "revoked below", added(2, &ahead));
    refused_for(Clause::TargetExpected, "rekey revision", altered(REKEY, up));
    let mut over = forger(0);
    over.write_grant(PATIENT, 0, &GrantLeaf { not_after: time(TIME - 1), ..emergency(DOCTOR, 1) });
    push_all(&mut over, &[sign(STRANGER, break_glass(0, emergency(STRANGER, 1)), None, 9)]);
    refused_for(Clause::TargetExpected, "emergency version", over.finish());
    let mut held = forger(0);
    held.write_grant(PATIENT, 0, &emergency(DOCTOR, 1));
    push_all(&mut held, &[sign(STRANGER, break_glass(0, emergency(STRANGER, 2)), None, 9)]);
    refused_for(Clause::TargetExpected, "an emergency grant that holds", held.finish());
    let again = record(Class::Laboratory, PATIENT, 2, 3);
    refused_for(Clause::TargetExpected, "deleted", added(6, &sign(PATIENT, put(1, 2, again), None, 9)));
}

#[test]
fn c9_only_the_allowed_fields_change() {
    // The written leaf is not the signed one.
    refused_for(Clause::NewLeafAllowed, "stored", tampered(DOCTOR_PUT, |w| w.new_record.stored += one()));
    refused_for(Clause::NewLeafAllowed, "class", tampered(PATIENT_PUT, |w| w.new_record.class += one()));
    refused_for(Clause::NewLeafAllowed, "grant salt", tampered(SET, |w| w.new_grant.salt += one()));
    refused_for(Clause::NewLeafAllowed, "rights", tampered(SET, |w| w.new_grant.rights += Fr::from(4)));
    // What is signed is not allowed.
    let resigned: [Case; 38] = [
        ("version", SECOND_PUT, |w| w.new_record.version += Fr::from(1)),
        ("revision", SECOND_PUT, |w| w.new_record.revision += Fr::from(1)),
        ("status", SECOND_PUT, |w| w.new_record.status = Fr::from(2)),
        ("author", SECOND_PUT, |w| w.new_record.author = Fr::from(STRANGER)),
        ("custodian", SECOND_PUT, |w| w.new_record.custodian = Fr::from(STRANGER)),
        ("tombstone keeps class", TOMBSTONE, |w| w.new_record.class += Fr::from(1)),
        ("tombstone keeps authored", TOMBSTONE, |w| w.new_record.authored += Fr::from(1)),
        ("tombstone keeps stored", TOMBSTONE, |w| w.new_record.stored += Fr::from(1)),
        ("tombstone status", TOMBSTONE, |w| w.new_record.status = Fr::from(1)),
        ("purpose", SET, |w| w.message.header.purpose = Fr::from(16)),
        ("tree", SET, |w| w.message.header.tree = Fr::from(2)),
        ("emergency", SET, |w| w.new_grant.rights = Fr::from(9)),
        ("to nobody", SET, |w| w.new_grant.grantee = Fr::from(0)),
        ("set version", SET, |w| w.new_grant.version += Fr::from(1)),
        ("set uses", SET, |w| w.new_grant.uses += Fr::from(1)),
        ("request keeps rights", REQUEST, |w| w.new_grant.rights += Fr::from(2)),
        ("request keeps salt", REQUEST, |w| w.new_grant.salt += Fr::from(1)),
        ("request counts once", REQUEST, |w| w.new_grant.uses += Fr::from(1)),
        ("request signs nothing else", REQUEST, |w| w.message.directory_after = Fr::from(5)),
        ("request names the version", REQUEST, |w| w.message.new_packed += Fr::from(1)),
        ("request names nothing but the version", REQUEST, |w| w.message.new_packed += Fr::from(1 << 32)),
        ("rekey keeps author", REKEY, |w| w.new_record.author = Fr::from(STRANGER)),
        ("rekey keeps class", REKEY, |w| w.new_record.class += Fr::from(1)),
        ("rekey keeps version", REKEY, |w| w.new_record.version += Fr::from(1)),
        ("rekey keeps status", REKEY, |w| w.new_record.status = Fr::from(2)),
        ("rekey keeps authored", REKEY, |w| w.new_record.authored += Fr::from(1)),
        ("rekey counts once", REKEY, |w| w.new_record.revision += Fr::from(1)),
        ("emergency for somebody else", BREAK_GLASS, |w| w.new_grant.grantee = Fr::from(DOCTOR)),
        ("emergency with READ", BREAK_GLASS, |w| w.new_grant.rights += Fr::from(1)),
        ("emergency over at once", BREAK_GLASS, |w| w.new_grant.not_after = Fr::from(TIME - 1)),
        ("emergency for too long", BREAK_GLASS, |w| w.new_grant.not_after = Fr::from(TIME + 24 * 3600 + 1)),
        ("emergency for no class", BREAK_GLASS, |w| w.new_grant.scope = Fr::from(0)),
        ("emergency for another class", BREAK_GLASS, |w| w.new_grant.scope = Fr::from(2)),
        ("emergency for all classes", BREAK_GLASS, |w| w.new_grant.scope = Fr::from(0xffff)),
        ("emergency that names another class", BREAK_GLASS, |w| w.message.header.purpose += one()),
        ("emergency without a reason", BREAK_GLASS, |w| w.message.header.purpose = Fr::from(0)),
        ("revoke clears rights", REVOKE, |w| w.new_grant.rights = Fr::from(1)),
        ("revoke keeps uses", REVOKE, |w| w.new_grant.uses = Fr::from(0)),
    ];
    for (what, i, change) in resigned {
        let case = altered(i, |w| {
            change(w);
            resign_body(w);
        });
        refused_for(Clause::NewLeafAllowed, what, case);
    }
    let reserved = set_grant(first_slot(&VERSION) - 1, grant(STRANGER, Rights::READ, ClassMask::ALL, 1), 0, 1);
    refused_for(Clause::NewLeafAllowed, "break-glass slot", added(0, &sign(PATIENT, reserved, None, 2)));
    let ordinary = break_glass(first_slot(&VERSION) + 1, emergency(STRANGER, 3));
    let ordinary = sign(STRANGER, ordinary, None, 11);
    refused_for(Clause::NewLeafAllowed, "emergency in an ordinary slot", added(REVOKE + 1, &ordinary));
    let directory = |w: &mut OperationWitness| w.message.directory_after = one();
    refused_for(Clause::NewLeafAllowed, "directory in an emergency grant", altered(BREAK_GLASS, directory));
    refused_for(Clause::NewLeafAllowed, "directory in a record operation", altered(PATIENT_PUT, directory));
}

/// Signs the fields that the witness writes.
fn resign_body(w: &mut OperationWitness) {
    let is_record = [1, 2, 3].map(Fr::from).contains(&w.message.header.kind);
    let is_request = w.message.header.kind == Fr::from(6);
    if is_record {
        w.message.new_packed = w.new_record.packed();
        (w.message.opaque_1, w.message.opaque_2) = (w.new_record.authored, w.new_record.stored);
    } else if !is_request {
        let signed = emr_rollup::statement::GrantFields { uses: Fr::from(0), ..w.new_grant };
        (w.message.new_packed, w.message.opaque_1) = (signed.packed(), w.new_grant.salt);
    }
}

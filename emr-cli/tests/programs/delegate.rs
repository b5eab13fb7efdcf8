//! A family doctor grants and revokes for a patient, with the three programs and real proofs.

use serde_json::Value;

use crate::world::*;

const UNTIL: [&str; 2] = ["--until", "2100-01-31"];

#[test]
fn a_delegate_acts_for_a_patient() -> TestResult {
    let world = World::new()?;
    let running = world.dev("hospital", "1")?;
    world.keep_card("emr-hospital", "hospital", "hospital.json")?;
    world.enrol_doctor("doctor", true)?;
    world.enrol_doctor("specialist", false)?;
    world.patient(&["init", "--rsa-bits", "2048"])?.done()?;
    let invitation = world.hospital(&["invite"])?.done()?;
    world.joining("emr-patient", "patient", &["register", "--invite", invitation.trim()])?.done()?;
    world.keep_card("emr-patient", "patient", "patient.json")?;
    let specialist = |arguments: &[&str]| world.run_in(None, "emr-doctor", "specialist", arguments);

    world.patient(&["put", BUNDLE, "--class", "laboratory"])?.done()?;
    let to_hospital = world.patient(&["delegate", "hospital.json", "--class", "laboratory"])?.failed(3)?;
    assert!(to_hospital.contains("only doctors can be delegates"), "{to_hospital}");
    let classes = ["--class", "laboratory,imaging"];
    let named = world.patient(&[&["delegate", "doctor.json", "--wait"][..], &classes, &UNTIL].concat())?.done()?;
    let says = "account 2 may read and manage laboratory, imaging until 2100-01-31T23:59:59Z";
    assert!(named.contains(says) && named.contains("settled in batch "), "{named}");

    // The specialist is no delegate, and the doctor has limits.
    let lab = ["--class", "laboratory", "--rights", "read"];
    let grant = |to: &'static str| [&["grant", to, "--for", "patient.json"][..], &lab, &UNTIL].concat();
    specialist(&grant("doctor.json"))?.failed(4)?;
    let own = world.doctor(&grant("hospital.json"))?.failed(3)?;
    assert!(own.contains("their own hospital"), "{own}");
    let all = ["grant", "specialist.json", "--for", "patient.json", "--class", "all", "--rights", "read"];
    let beyond = world.doctor(&[&all[..], &UNTIL].concat())?.failed(4)?;
    assert!(beyond.contains("does not go so far (classes)"), "{beyond}");
    let granted = world.doctor(&[&grant("specialist.json")[..], &["--wait"]].concat())?.done()?;
    assert!(granted.starts_with("granted for patient 4; the patient sees that you did it\nslot 1023: "), "{granted}");

    let read = specialist(&["get", "4/0", "--patient", "patient.json", "--output", "out.json"])?.done()?;
    assert!(read.contains("verified: "), "{read}");
    let told = world.patient(&["grants"])?;
    assert!(told.stderr.contains("your delegate, account 2, gave account 3 access"), "{told:?}");
    let grants = told.done()?;
    assert!(grants.contains("; given by your delegate, account 2"), "{grants}");
    let audit = world.patient(&["audit"])?.done()?;
    assert!(audit.contains("set-grant      by account 2 (your delegate), slot 1023"), "{audit}");

    let revoke = ["--json", "revoke", "specialist.json", "--for", "4", "--wait"];
    let revoked: Value = serde_json::from_str(&world.doctor(&revoke)?.done()?)?;
    assert_eq!((&revoked["patient"], &revoked["grantee"]), (&4.into(), &3.into()), "{revoked}");
    let refused = specialist(&["get", "4/0"])?.failed(4)?;
    assert!(refused.contains("revoked"), "{refused}");
    // The patient's program makes new keys by itself, and says so once.
    let said = world.patient(&["grants"])?;
    assert!(said.stderr.contains("new keys are on their way"), "{said:?}");
    assert!(said.done()?.contains("grants: 1"));
    assert!(!world.patient(&["records"])?.stderr.contains("new keys"));

    // The patient gives the specialist the same classes. The delegate's grant takes that place, and says so.
    let given = ["grant", "specialist.json", "--rights", "read", "--class", "laboratory", "--wait"];
    world.patient(&[&given[..], &UNTIL].concat())?.done()?;
    let granted = world.doctor(&[&grant("specialist.json")[..], &["--wait"]].concat())?.done()?;
    assert!(
        granted.contains("it takes the place of this grant of the patient or of a delegate, which ends:"),
        "{granted}"
    );
    assert_eq!(granted.matches("account 3 may read laboratory until").count(), 2, "{granted}");

    world.patient(&["revoke", "doctor.json"])?.done()?;
    world.doctor(&grant("specialist.json"))?.failed(4)?;
    running.kill()
}

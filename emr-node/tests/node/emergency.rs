//! Emergency grants: any doctor may open one, so the node limits them, and they open nothing.

use std::collections::HashSet;

use emr_api::{EmergencySlot, NodeStatus, OperationStatus, OwnGrantsView, RecordSummary, RecordView, Submission};
use emr_core::{
    AccountIndex, Class, ClassMask, GrantSlot, Purpose, Reason, Rights, UnixTime, Uses, Version, cid::Codec,
};
use emr_rollup::{
    operation::{Action, BreakGlass, DirectoryCommitment, MAX_EMERGENCY, Revoke},
    state::leaf::GrantLeaf,
};

use crate::stage::*;

/// The terms that a test changes.
#[derive(Clone, Copy)]
struct Terms {
    slot: EmergencySlot,
    grantee: AccountIndex,
    class: Class,
    scope: ClassMask,
    reason: Reason,
    hours: u64,
    signed_for: u64,
    /// How far the signed version is ahead of the next one.
    ahead: u64,
}

impl Caller {
    async fn emergency_slot(&self, patient: AccountIndex) -> Answer<EmergencySlot> {
        self.get(&format!("v1/patients/{patient}/emergency-slot")).await
    }

    fn terms(&self, slot: EmergencySlot, class: Class) -> Terms {
        let reason = Reason::Emergency;
        Terms { slot, grantee: self.account, class, scope: class.into(), reason, hours: 4, signed_for: 4, ahead: 0 }
    }

    fn break_glass(&self, patient: AccountIndex, terms: &Terms) -> Outcome<Submission> {
        let Terms { slot: EmergencySlot { slot, version }, grantee, class, scope, reason, hours, signed_for, ahead } =
            *terms;
        let leaf = GrantLeaf {
            grantee: Some(grantee),
            rights: Rights::EMERGENCY,
            scope,
            not_after: UnixTime::now().saturating_add(hours * 3600),
            uses: Uses::ZERO,
            version: Version::new(version.get() + 1 + ahead)?,
            salt: random_element(),
        };
        let purpose = Purpose { reason, class };
        let action = Action::BreakGlass(BreakGlass { slot, expected: version, purpose, leaf });
        let signed = self.sign_until(patient, action, UnixTime::now().saturating_add(signed_for * 3600));
        Ok(Submission { signed, stored: None, epoch: None, directory: None })
    }

    /// Opens an emergency grant in a slot that the node names.
    async fn opened(&self, patient: AccountIndex, class: Class) -> Outcome<Submission> {
        let slot = self.emergency_slot(patient).await?;
        let submission = self.break_glass(patient, &self.terms(slot, class))?;
        self.submit(&submission).await?;
        Ok(submission)
    }

    /// Ends the grant in a slot as the patient, and leaves the directory as it is.
    async fn end(&self, slot: GrantSlot) -> Outcome<Answer<emr_api::Receipt>> {
        let view = self.view(self.account).await?;
        let old = view.grants.iter().find(|grant| grant.slot == slot).ok_or("no such grant")?;
        let directory: DirectoryCommitment = view.directory_commitment;
        let action = Action::Revoke(Revoke {
            slot,
            expected: old.grant.version,
            leaf_salt: random_element(),
            directory_before: directory,
            directory_after: directory,
        });
        let signed = self.sign(self.account, action);
        Ok(self.submit(&Submission { signed, stored: None, epoch: None, directory: None }).await)
    }
}

const fn slot_of(submission: &Submission) -> GrantSlot {
    match submission.signed.operation.action {
        Action::BreakGlass(BreakGlass { slot, .. }) => slot,
        _ => panic!("an emergency grant"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_learns_one_free_slot_and_nobody_else_does() -> Outcome {
    let scene = World::populated().await?;
    let (doctor, stranger, patient) = (&scene.doctor, &scene.stranger, scene.accounts.patient);
    for caller in [&scene.patient, &scene.other, &scene.hospital] {
        assert_eq!(code(caller.emergency_slot(patient).await), "forbidden");
    }
    assert_eq!(code(doctor.emergency_slot(scene.accounts.hospital).await), "not-found");
    let mut free = doctor.emergency_slot(patient).await?;
    assert!(free.slot < GrantSlot::FIRST_ORDINARY && free.version == Version::ZERO, "{free:?}");
    let raw: serde_json::Value = doctor.get(&format!("v1/patients/{patient}/emergency-slot")).await?;
    let names: Vec<_> = raw.as_object().ok_or("an object")?.keys().cloned().collect();
    assert_eq!(names, ["slot", "version"], "and nothing else");

    // Another doctor's grant changes the answer only if it takes this slot. This happens once in 64 times, because the node draws an order of
    // the slots for each doctor. So the answer does not tell how many grants there are.
    let mut taken = HashSet::new();
    for class in [Class::Summary, Class::Laboratory, Class::Imaging] {
        taken.insert(slot_of(&stranger.opened(patient, class).await?));
        let answer = doctor.emergency_slot(patient).await?;
        if taken.contains(&free.slot) {
            assert!(!taken.contains(&answer.slot), "{answer:?} is taken: {taken:?}");
            free = answer;
        }
        assert_eq!(answer, free);
    }
    assert_eq!(taken.len(), 3);

    // Above the rate, the node waits.
    let mut refused = None;
    for _ in 0..30 {
        if let Err(error) = doctor.emergency_slot(patient).await {
            refused = Some(error.code);
            break;
        }
    }
    assert_eq!(refused.as_deref(), Some("too-many"));
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_grant_opens_nothing() -> Outcome {
    let scene = World::populated().await?;
    let (patient, stranger, accounts) = (&scene.patient, &scene.stranger, scene.accounts);
    let block = patient.put_block(Codec::Raw, b"ciphertext").await?;
    let record = patient.upload(&[b"ciphertext"]).await?;
    patient.submit(&patient.put_record(accounts.patient, 0, Class::Summary, &record)).await?;
    let granted = patient.grant(FIRST, accounts.doctor, Rights::READ, &[Class::Summary], next_year()).await?;
    let directory = granted.directory.ok_or("a directory")?;
    let opened = stranger.opened(accounts.patient, Class::Summary).await?;

    let records = format!("v1/patients/{}/records", accounts.patient);
    let refused = stranger.view(accounts.patient).await.expect_err("it must be refused");
    assert_eq!(refused.code, "forbidden");
    assert!(refused.message.contains("does not release keys"), "{refused}");
    assert_eq!(code(stranger.get::<Vec<RecordSummary>>(&records).await), "forbidden");
    assert_eq!(code(stranger.get::<RecordView>(&format!("{records}/0")).await), "forbidden");
    for cid in [block, record, directory] {
        assert_eq!(code(stranger.block(&cid).await), "not-found", "they do not learn that it is here");
    }
    // A use of it would be one more entry of the audit chain, for nothing.
    let request = stranger.request_access(accounts.patient, slot_of(&opened), Uses::ZERO, Class::Summary);
    let refused = stranger.submit(&request).await.expect_err("it must be refused");
    assert_eq!(refused.code, "refused");
    assert!(refused.message.contains("does not release keys"), "{refused}");
    // Another account learns nothing about the slot.
    let request = scene.doctor.request_access(accounts.patient, slot_of(&opened), Uses::ZERO, Class::Summary);
    let refused = scene.doctor.submit(&request).await.expect_err("it must be refused");
    assert!(!refused.message.contains("emergency"), "{refused}");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_demands_more_than_the_statement() -> Outcome {
    let scene = World::populated().await?;
    let (doctor, accounts) = (&scene.doctor, scene.accounts);
    let patient = accounts.patient;
    let slot = doctor.emergency_slot(patient).await?;
    let terms = doctor.terms(slot, Class::Summary);
    let other_slot = EmergencySlot { slot: GrantSlot::FIRST_ORDINARY, ..slot };
    let later = EmergencySlot { version: Version::new(7)?, ..slot };
    let too_long = MAX_EMERGENCY / 3600;
    let cases = [
        ("more than the class that it names", Terms { scope: ClassMask::ALL, ..terms }, "refused"),
        ("no class", Terms { scope: ClassMask::default(), ..terms }, "refused"),
        ("no reason", Terms { reason: Reason::None, ..terms }, "refused"),
        ("longer than a day before the batch", Terms { hours: too_long, signed_for: too_long, ..terms }, "refused"),
        ("valid longer than it holds", Terms { signed_for: 5, ..terms }, "refused"),
        ("over at once", Terms { hours: 0, ..terms }, "refused"),
        ("for somebody else", Terms { grantee: accounts.stranger, ..terms }, "refused"),
        ("a slot for the patient's grants", Terms { slot: other_slot, ..terms }, "refused"),
        ("a version that the slot does not have", Terms { slot: later, ..terms }, "stale"),
    ];
    for (why, terms, expected) in cases {
        assert_eq!(code(doctor.submit(&doctor.break_glass(patient, &terms)?).await), expected, "{why}");
    }
    for caller in [&scene.patient, &scene.other, &scene.hospital] {
        let terms = caller.terms(slot, Class::Summary);
        assert_eq!(code(caller.submit(&caller.break_glass(patient, &terms)?).await), "refused", "not a doctor");
    }
    let status: NodeStatus = doctor.get("v1/status").await?;
    assert_eq!(status.pending, 0);

    // The honest one is taken. Handed in again, it is the same. Another doctor cannot take its slot, and does not learn why.
    let submission = doctor.break_glass(patient, &terms)?;
    let receipt = doctor.submit(&submission).await?;
    assert_eq!(doctor.submit(&submission).await?, receipt);
    let held = EmergencySlot { version: Version::new(1)?, ..slot };
    let mut refusals = Vec::new();
    for slot in [held, later] {
        let terms = scene.stranger.terms(slot, Class::Summary);
        refusals.push(scene.stranger.submit(&scene.stranger.break_glass(patient, &terms)?).await.expect_err("held"));
    }
    assert_eq!(refusals[0], refusals[1]);
    // No fault of the operation makes the answers differ, so nobody counts the emergency grants by trying every slot.
    let free = scene.stranger.emergency_slot(patient).await?;
    let sound = scene.stranger.terms(slot, Class::Summary);
    for faulty in [
        Terms { ahead: 1, ..sound },
        Terms { reason: Reason::None, ..sound },
        Terms { scope: ClassMask::ALL, ..sound },
        Terms { hours: 0, ..sound },
        Terms { hours: too_long, signed_for: too_long, ..sound },
        Terms { signed_for: 5, ..sound },
        Terms { grantee: accounts.doctor, ..sound },
    ] {
        let mut refusals = Vec::new();
        for slot in [free, held, later, EmergencySlot { version: Version::new(1)?, ..free }] {
            let operation = scene.stranger.break_glass(patient, &Terms { slot, ..faulty })?;
            refusals.push(scene.stranger.submit(&operation).await.expect_err("faulty"));
        }
        assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:#?}");
    }
    // Nobody else can hand it in.
    assert_eq!(code(scene.stranger.submit(&submission).await), "forbidden");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_has_few_of_them_and_the_patient_ends_each_at_once() -> Outcome {
    let scene = World::populated().await?;
    let (doctor, patient, account) = (&scene.doctor, &scene.patient, scene.accounts.patient);
    let first = doctor.opened(account, Class::Summary).await?;
    let slot = doctor.emergency_slot(account).await?;
    assert_ne!(slot.slot, slot_of(&first));
    let again = doctor.break_glass(account, &doctor.terms(slot, Class::Summary))?;
    let refused = doctor.submit(&again).await.expect_err("one at a time for a class");
    assert!(refused.code == "refused" && refused.message.contains("you hold"), "{refused}");

    // The patient ends it before any batch. The doctor may open another one: it is on record again.
    patient.end(slot_of(&first)).await??;
    doctor.opened(account, Class::Summary).await?;
    doctor.opened(account, Class::Laboratory).await?;
    let last = doctor.opened(account, Class::Imaging).await?;
    let none_left = "within 24 hours";
    let refused = doctor.emergency_slot(account).await.expect_err("four in a day");
    assert!(refused.code == "refused" && refused.message.contains(none_left), "{refused}");
    // The same at the hand-in, and for another patient it does not count yet.
    patient.end(slot_of(&last)).await??;
    let ended = EmergencySlot { slot: slot_of(&last), version: Version::new(2)? };
    let fifth = doctor.break_glass(account, &doctor.terms(ended, Class::Medication))?;
    assert_eq!(code(doctor.submit(&fifth).await), "refused");
    doctor.opened(scene.accounts.other, Class::Summary).await?;

    // What was ended counts, also after a restart: a doctor does not fill an audit chain.
    let scene = scene.restart().await?;
    let refused = scene.doctor.emergency_slot(account).await.expect_err("four in a day");
    assert!(refused.message.contains(none_left), "{refused}");
    let id = last.signed.id(scene.world.domain());
    let status: OperationStatus = scene.doctor.get(&format!("v1/operations/{id}")).await?;
    assert_eq!(status, OperationStatus::Pending, "it goes on record although it was ended");
    let own: OwnGrantsView = scene.patient.get(&format!("v1/patients/{account}/grants")).await?;
    assert!(own.pending.iter().all(|signed| signed.operation.signer == account), "only what the patient signed");
    scene.node.shutdown().await;
    Ok(())
}

//! A document in one record for each class: what an interrupted upload leaves, and who can read what.

use emr_client::{
    ClientError,
    flow::{retrieve::ReadError, upload_parts::NewPart},
};
use emr_core::{
    Class, ClassMask, Reason, Rights,
    fhir::{self, Part},
};

use crate::scene::*;

/// A depression, its visit, and a laboratory value of that visit.
const DOCUMENT: &[u8] = br#"{"resourceType":"Bundle","type":"collection","entry":[
{"fullUrl":"urn:uuid:p","resource":{"resourceType":"Patient","id":"p","active":true}},
{"fullUrl":"urn:uuid:c","resource":{"resourceType":"Condition","id":"c","subject":{"reference":"urn:uuid:p"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10","code":"F32.1"}]}}},
{"fullUrl":"urn:uuid:e","resource":{"resourceType":"Encounter","id":"e","status":"finished","reasonReference":[{"reference":"urn:uuid:c"}]}},
{"fullUrl":"urn:uuid:o","resource":{"resourceType":"Observation","id":"o","status":"final","encounter":{"reference":"urn:uuid:e"},"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]}}}]}"#;

fn imported(parts: &[Part]) -> TestResult<Vec<NewPart>> {
    let new =
        |part: &Part| Ok(NewPart { class: part.class, record: fhir::import(&part.document)?, attachments: Vec::new() });
    parts.iter().map(new).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_laboratory_does_not_share_psychiatry() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let reader = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let secret = doctor.profile().split_secret()?;
    let split = fhir::split(DOCUMENT, &secret)?;
    let parts = imported(&split)?;
    let written = doctor.upload_parts(&card, DOCUMENT, parts.clone()).await?;
    let classes: Vec<Class> = written.parts.iter().map(|part| part.class).collect();
    assert_eq!(classes, [Class::Summary, Class::Laboratory, Class::MentalHealth]);
    patient.grant(&handed_over(&reader), &terms(Rights::READ, ClassMask::from(Class::Laboratory))).await?;
    scene.next_batch().await?;

    let (read, _) = reader.retrieve(&card, written.parts[1].slot, Some(Reason::Treatment)).await?;
    let document = fhir::export(read.unproven().record())?;
    assert_eq!(document, split[1].document);
    let document = String::from_utf8(document)?;
    assert!(document.contains("718-7") && !document.contains("F32") && !document.contains("mental"), "{document}");
    for part in [&written.parts[0], &written.parts[2]] {
        let refused = reader.retrieve(&card, part.slot, Some(Reason::Treatment)).await;
        assert!(
            matches!(
                refused,
                Err(ClientError::Read(ReadError::NotGranted { .. } | ReadError::NoSuchRecord { .. })
                    | ClientError::Node(_))
            ),
            "{refused:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_upload_writes_no_part_twice() -> TestResult {
    let scene = Scene::proving().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let secret = doctor.profile().split_secret()?;
    let parts = imported(&fhir::split(DOCUMENT, &secret)?)?;

    // The process ends after the first part, and a batch settles that part before the next run.
    let first = doctor.upload_parts(&card, DOCUMENT, parts[..1].to_vec()).await?;
    drop(doctor);
    scene.next_batch().await?;
    let doctor = scene.client(DOCTOR).await?;
    doctor.resume().await?;
    // The secret is the same in every run, and so are the parts.
    let secret = doctor.profile().split_secret()?;
    assert_eq!(imported(&fhir::split(DOCUMENT, &secret)?)?, parts);
    let all = doctor.upload_parts(&card, DOCUMENT, parts.clone()).await?;
    assert_eq!((all.parts.len(), &all.parts[0]), (3, &first.parts[0]));
    assert_eq!(doctor.upload_parts(&card, DOCUMENT, parts.clone()).await?, all);
    assert_eq!(patient.records(&card).await?.len(), 3);

    // Another version of the program finds other resources in a class: that part is written again, and the record of before is named.
    let mut moved = parts.clone();
    moved[1].record = fhir::import(br#"{"resourceType":"Basic"}"#)?;
    let other = doctor.upload_parts(&card, DOCUMENT, moved).await?;
    assert_eq!((other.parts.len(), &other.stale[..]), (3, &all.parts[1..2]));
    assert!(other.parts.iter().all(|part| part.slot != all.parts[1].slot), "{other:?}");
    doctor.part_returned(&other, other.parts[2].operation)?;
    let back = doctor.upload_parts(&card, DOCUMENT, parts.clone()).await?;
    assert_eq!((&back.parts, back.stale.len()), (&all.parts, 0));

    // A part that was returned is written again. When all is done, the same document can be written once more.
    doctor.part_returned(&all, all.parts[1].operation)?;
    let again = doctor.upload_parts(&card, DOCUMENT, parts.clone()).await?;
    assert_eq!(again.parts.len(), 3);
    doctor.parts_done(&again)?;
    scene.next_batch().await?;
    doctor.resume().await?;
    let anew = doctor.upload_parts(&card, DOCUMENT, parts.clone()).await?;
    assert!(anew.parts.iter().all(|part| all.parts.iter().all(|old| old.slot != part.slot)), "{anew:?}");
    Ok(())
}

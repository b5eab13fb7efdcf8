//! kill -9 at any point: the next start continues, and no record exists twice.

use std::{collections::BTreeSet, io::Write, time::Duration};

use emr_client::{Client, profile::Profile, verify::card::Card};
use emr_core::{Class, RecordSlot};
use emr_devnet::serve_rpc;
use emr_testkit::again::{Again, job};

use crate::scene::*;

/// Not a separate test: the next test runs it in a child process. A doctor writes record after record until the process
/// is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_writes_until_killed() -> TestResult {
    let Some(job) = job() else { return Ok(()) };
    // The data folder, node, chain and card, and the first number to write.
    let [folder, node, rpc, card, first]: [String; 5] = serde_json::from_str(&job)?;
    let profile = Profile::open(folder.as_ref())?;
    let identity = profile.identity(&PASSPHRASE.into())?;
    let doctor = Client::join(profile, identity, &node, &rpc).await?;
    let card = Card::from_json(card.as_bytes())?;
    for number in first.parse::<u64>()?.. {
        let written = doctor.upload(&card, Class::Laboratory, &record(&format!("record {number}"))).await?;
        println!("written {number} {}", written.slot);
        std::io::stdout().flush()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let rpc = serve_rpc(scene.chain.clone(), "127.0.0.1:0".parse()?).await?;
    let card = patient.card();
    let mut next = 0;
    for round in 0..12_u64 {
        let job = [
            scene.data_dir(DOCTOR).to_string_lossy().into_owned(),
            scene.node.url().to_string(),
            rpc.url().to_string(),
            card.to_json(),
            next.to_string(),
        ];
        let job = serde_json::to_string(&job)?;
        let mut child = Again::new("crash::a_doctor_writes_until_killed", job).start()?;
        let after = |written: String| -> TestResult<u64> {
            Ok(written.split_whitespace().next().ok_or("no number")?.parse::<u64>()? + 1)
        };
        for _ in 0..=round % 3 {
            next = after(child.next("written")?)?;
        }
        // The kill comes at some point of the next upload, which takes about as long as the delays of all rounds.
        std::thread::sleep(Duration::from_millis(round * 4));
        for written in child.kill("written")? {
            next = after(written)?;
        }
    }

    // The last record, which may or may not have been written, is written again.
    let doctor = scene.client(DOCTOR).await?;
    doctor.resume().await?;
    doctor.upload(&card, Class::Laboratory, &record(&format!("record {next}"))).await?;
    let records = patient.records(&card).await?;
    let mut texts = BTreeSet::new();
    for slot in 0..records.len() as u64 {
        let (read, _) = patient.retrieve(&card, RecordSlot::new(slot)?, None).await?;
        texts.insert(format!("{:?}", read.unproven().record().fields()));
    }
    assert_eq!(texts.len(), records.len(), "nothing is there twice");
    for number in 0..=next {
        let text = format!("record {number}\"");
        assert!(texts.iter().any(|fields| fields.contains(&text)), "{text} is missing of {texts:?}");
    }
    assert_eq!(records.len() as u64, next + 1);
    Ok(())
}

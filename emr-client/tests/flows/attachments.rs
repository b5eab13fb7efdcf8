//! Files beside a record: large ones, kept ones, and nodes that lie about them.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::atomic::Ordering,
    time::Duration,
};

use emr_api::OperationStatus;
use emr_client::{
    ClientError,
    flow::attach::{AttachmentContent, AttachmentSource},
    flow::next_version::EditClass,
    flow::retrieve::ReadError,
    flow::upload::WriteError,
    node::NodeError,
};
use emr_core::{Class, ClassMask, Rights, Value};
use emr_crypto::{CHUNK_BYTES, Manifest};

use crate::{
    files::{RECORD_BLOCKS, content, count_blocks, named, read, saved, upload},
    proxy::{Fault, Proxy, lie},
    scene::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_byte_for_byte_and_in_parts() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let folder = tempfile::tempdir()?;
    let contents = [content(0, 1), content(1, 2), content(3 * CHUNK_BYTES + 12_345, 3)];
    let mut files = Vec::new();
    for (number, bytes) in contents.iter().enumerate() {
        files.push(folder.path().join(format!("file-{number}.png")));
        fs::write(&files[number], bytes)?;
    }
    let written = upload(&doctor, &card, "three files", &files).await?;
    // The same request again, as after a crash, gives the same record.
    assert_eq!(upload(&doctor, &card, "three files", &files).await?, written);
    assert_eq!(patient.records(&card).await?.len(), 1);

    let record = read(&patient, &card, written.slot).await?;
    assert_eq!(record.attachments().len(), 3);
    for (number, bytes) in contents.iter().enumerate() {
        let attached = &record.attachments()[number];
        assert_eq!(attached.name.as_deref(), Some(&*format!("file-{number}.png")));
        assert_eq!((&*attached.media_type, attached.sealed.length), ("image/png", bytes.len() as u64));
        assert!(saved(&patient, &record, number, None).await? == *bytes, "file {number}");
    }
    let (chunk, long) = (CHUNK_BYTES as u64, &contents[2]);
    for range in
        [0..1, chunk - 1..chunk + 1, chunk..2 * chunk, 5..5, 3 * chunk..long.len() as u64, 0..long.len() as u64]
    {
        let part = saved(&patient, &record, 2, Some(range.clone())).await?;
        assert!(part == long[range.start as usize..range.end as usize], "{range:?}");
    }
    let outside = saved(&patient, &record, 1, Some(0..2)).await;
    assert!(matches!(&outside, Err(ClientError::Read(ReadError::NoSuchBytes { length: 1, .. }))), "{outside:?}");
    let none = saved(&patient, &record, 3, None).await;
    assert!(matches!(&none, Err(ClientError::Read(ReadError::NoAttachment { count: 3, .. }))), "{none:?}");

    // A version without them, and one that keeps one of them and has one from memory.
    let key = record.attachments()[2].sealed.clone();
    let class = EditClass::Proved;
    doctor.edit(&card, written.slot, class, &crate::scene::record("no files")).await?;
    assert!(read(&patient, &card, written.slot).await?.attachments().is_empty());
    let [kept, bytes] = [AttachmentContent::Sealed(key), AttachmentContent::Bytes(contents[2][..500].to_vec())];
    let sources = [("attachments.0", kept), ("Observation.photo", bytes)].map(|(key, content)| -> TestResult<_> {
        Ok(AttachmentSource { key: key.parse()?, media_type: "image/png".to_owned(), content })
    });
    let sources: Vec<_> = sources.into_iter().collect::<TestResult<_>>()?;
    let next = crate::scene::record("two files");
    doctor.edit_with(&card, (written.slot, class), &next, sources.clone(), &|_| {}).await?;
    let record = read(&patient, &card, written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == contents[2][..500], "keys of the document come first");
    assert!(saved(&patient, &record, 1, None).await? == *long);

    // What is given twice, or not at all, is refused before anything is sent.
    let twice = [sources[0].clone(), sources[0].clone()].to_vec();
    let refused = doctor.upload_with(&card, Class::Imaging, &next, twice, &|_| {}).await;
    assert!(matches!(refused, Err(ClientError::Write(WriteError::SameAttachment(_)))), "{refused:?}");
    let refused = doctor.upload(&card, Class::Imaging, record.record()).await;
    assert!(matches!(refused, Err(ClientError::Write(WriteError::Attachments(_)))), "{refused:?}");
    let missing = upload(&doctor, &card, "x", &[folder.path().join("none")]).await.expect_err("no file");
    assert!(missing.to_string().contains("cannot attach"), "{missing}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_no_node_takes_are_refused_before_anything_is_sent() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let sent = count_blocks(&proxy, usize::MAX);
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let folder = tempfile::tempdir()?;
    let sparse = |name: &str, size: u64| -> TestResult<PathBuf> {
        let path = folder.path().join(name);
        File::create(&path)?.set_len(size)?;
        Ok(path)
    };
    let two = [sparse("one", 1 << 30)?, sparse("two", 1 << 30)?];
    for files in [vec![sparse("large", 2017 << 20)?], two.to_vec()] {
        let (record, sources) = named("scans", &files)?;
        let refused = doctor.upload_with(&card, Class::Imaging, &record, sources, &|_| {}).await;
        assert!(
            matches!(refused, Err(ClientError::Write(WriteError::AttachmentsTooLarge { .. }))),
            "{files:?}: {refused:?}"
        );
    }
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    assert!(doctor.profile().outbox().entries().is_empty());
    Ok(())
}

/// A record that was returned keeps its attachments when it is handed in again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_handed_in_again_keeps_its_files() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    drop(doctor);
    let card = handed_over(&patient);
    let proxy = Proxy::new(scene.node.url())?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(3 * CHUNK_BYTES, 5))?;
    let doctor = scene.client_at(DOCTOR, &proxy.address).await?;
    let (mut next, mut sources) = named("a scan", std::slice::from_ref(&file))?;
    next.insert("Observation.code.text".parse()?, Value::Text("chest".to_owned()))?;
    let photo = AttachmentContent::Bytes(content(1000, 6));
    sources.push(AttachmentSource {
        key: "Observation.photo".parse()?,
        media_type: "image/png".to_owned(),
        content: photo,
    });
    let written = doctor.upload_with(&card, Class::Imaging, &next, sources, &|_| {}).await?;
    let operation = written.acknowledged.operation;
    proxy.set(lie(format!("GET /v1/operations/{operation}"), |status: &mut OperationStatus| {
        *status = OperationStatus::Returned { reason: "the grant has ended".to_owned() };
    }));
    doctor.resume().await?;
    let sent = count_blocks(&proxy, usize::MAX);
    let again = doctor.retry(&card, operation).await?;
    assert_ne!(again.record_cid, written.record_cid);
    // The small attachment is in the outbox and goes with its record. The file's blocks are at the node.
    assert_eq!(sent.load(Ordering::SeqCst), RECORD_BLOCKS + 1);
    let record = read(&patient, &card, again.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == content(1000, 6));
    assert!(saved(&patient, &record, 1, None).await? == fs::read(&file)?);
    Ok(())
}

/// A node that gives another chunk of the same attachment, or none. No file appears.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_swap_or_withhold_chunks() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(12 * CHUNK_BYTES, 5))?;
    let written = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    let manifest = {
        let record = read(&patient, &card, written.slot).await?;
        patient.node().block(&record.attachments()[0].sealed.manifest).await?
    };
    let links = Manifest::from_bytes(&manifest)?.links().to_vec();
    drop(patient);
    let proxy = Proxy::new(scene.node.url())?;
    let patient = scene.client_at(PATIENT, &proxy.address).await?;
    let record = read(&patient, &card, written.slot).await?;
    let to = folder.path().join("out");
    let [first, second] = [links[9].to_string(), links[10].to_string()];
    type Rule = Box<dyn Fn(&str) -> Option<Fault> + Send>;
    let rules: [Rule; 2] = [
        {
            let (first, second) = (first.clone(), second);
            Box::new(move |request| request.contains(&first).then(|| Fault::Request(request.replace(&first, &second))))
        },
        Box::new(move |request| request.contains(&first).then_some(Fault::LoseRequest)),
    ];
    for (rule, expected) in rules.into_iter().zip(["wrong-block", "node-unreachable"]) {
        proxy.set(move |request, answer| if answer.is_empty() { rule(request) } else { None });
        let refused = patient.save_attachment(&record, 0, None, &to, &|_| {}).await.expect_err("must be refused");
        assert_eq!(refused.code(), expected, "{refused}");
        assert!(!to.exists());
        // A part that needs no such chunk is there.
        let part = saved(&patient, &record, 0, Some(0..10)).await?;
        assert!(part == fs::read(&file)?[..10]);
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), 1, "nothing unfinished is left");
    proxy.clear();
    patient.save_attachment(&record, 0, None, &to, &|_| {}).await?;
    assert!(fs::read(&to)? == fs::read(&file)?);
    Ok(())
}

/// One account uploads without a pause. Another patient grants and revokes meanwhile: each Revoke is acknowledged, and none waits for the upload.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_keeps_no_other_patient_from_revoking() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let other = scene.registered(OTHER_PATIENT).await?;
    let card = handed_over(&patient);
    let reader = handed_over(&doctor);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(128 << 20, 5))?;
    let doctors_account = doctor.account()?;
    let uploading = tokio::spawn({
        let file = file.clone();
        async move { upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await.map_err(|error| error.to_string()) }
    });
    let mut meanwhile = 0;
    loop {
        other.grant(&reader, &terms(Rights::READ, Class::Laboratory.into())).await?;
        let revoking = other.revoke(doctors_account, ClassMask::ALL);
        // Generous: the upload of 1 GiB takes longer on any machine. A Revoke takes well under a second.
        let revoked = tokio::time::timeout(Duration::from_secs(20), revoking).await??;
        assert_eq!(revoked.changed.len(), 1);
        if uploading.is_finished() {
            break;
        }
        meanwhile += 1;
    }
    assert!(meanwhile > 0, "the upload was over before the first Revoke");
    let written = uploading.await??;
    let record = read(&patient, &handed_over(&patient), written.slot).await?;
    assert!(saved(&patient, &record, 0, None).await? == fs::read(&file)?);
    Ok(())
}

/// What a stranger, or a doctor without a grant for the class, gets of an attachment: nothing.
#[tokio::test(flavor = "multi_thread")]
async fn attachments_are_served_like_their_record() -> TestResult {
    let scene = Scene::new().await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let stranger = scene.registered(STRANGER).await?;
    let card = handed_over(&patient);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("scan.dcm");
    fs::write(&file, content(2 * CHUNK_BYTES, 5))?;
    let written = upload(&doctor, &card, "a scan", std::slice::from_ref(&file)).await?;
    let record = read(&patient, &card, written.slot).await?;
    let refused = saved(&stranger, &record, 0, None).await;
    assert!(matches!(&refused, Err(ClientError::Node(NodeError::Refused { .. }))), "{refused:?}");
    Ok(())
}

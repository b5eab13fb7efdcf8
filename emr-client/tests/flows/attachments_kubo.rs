//! A file beside a record, at a node whose blocks are on a real Kubo. Skipped on machines without Kubo (see docs/testing.md).

use std::sync::Arc;

use emr_client::{
    ClientError,
    flow::attach::{AttachmentContent, AttachmentSource},
};
use emr_core::{Class, Codec, cid::cid_of};
use emr_crypto::{CHUNK_BYTES, Manifest};
use emr_ipfs::{Blockstore, KuboStore};
use emr_testkit::part::Kubo;

use crate::scene::*;

/// 5 MiB and some bytes.
const BYTES: usize = 20 * CHUNK_BYTES + 4321;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_stored_read_in_parts_and_deleted_on_kubo() -> TestResult {
    let Some(mut kubo) = Kubo::start_or_skip()? else { return Ok(()) };
    let store = Arc::new(KuboStore::new(kubo.url())?);
    let scene = Scene::on(Arc::clone(&store) as Arc<dyn Blockstore>).await?;
    let (patient, doctor) = scene.with_a_doctor().await?;
    let card = handed_over(&patient);
    let folder = tempfile::tempdir()?;
    let (file, back) = (folder.path().join("scan.dcm"), folder.path().join("back"));
    // Bytes that repeat nowhere: otherwise a chunk in the place of another one would not be noticed.
    let content: Vec<u8> =
        (0_u64..).flat_map(|block| cid_of(Codec::Raw, &block.to_be_bytes()).to_bytes()).take(BYTES).collect();
    std::fs::write(&file, &content)?;
    let source = AttachmentSource {
        key: "attachments.0".parse()?,
        media_type: "application/dicom".to_owned(),
        content: AttachmentContent::File(file),
    };
    let written = doctor.upload_with(&card, Class::Imaging, &record("a scan"), vec![source], &|_| {}).await?;
    assert_eq!(written.acknowledged.operation, doctor.profile().outbox().entries()[0].draft().operation);

    let (read, _) = patient.retrieve(&card, written.slot, None).await?;
    let read = read.unproven();
    let chunk = CHUNK_BYTES as u64;
    for range in
        [None, Some(0..1), Some(chunk - 1..chunk + 1), Some(7 * chunk..9 * chunk), Some(20 * chunk..BYTES as u64)]
    {
        patient.save_attachment(read, 0, range.clone(), &back, &|_| {}).await?;
        let range = range.unwrap_or(0..BYTES as u64);
        assert!(std::fs::read(&back)? == content[range.start as usize..range.end as usize], "{range:?}");
    }
    // The chunks are on Kubo, each under its hash, and pinned with the record.
    let attachment = read.attachments()[0].sealed.manifest;
    let chunks = Manifest::from_bytes(&store.get(&attachment).await?)?.links().to_vec();
    assert!(chunks.len() > 20, "{}", chunks.len());
    assert!(store.pins().await?.contains(&written.record_cid));
    let pinned = store.delete(&chunks[3]).await.expect_err("a part of a pinned record");
    assert!(pinned.is_pinned(), "{pinned}");

    // A deleted record is served to its patient alone.
    let deleted = patient.delete(&card, written.slot).await?;
    assert_eq!(deleted.signed.operation.patient, written.patient);
    let refused = doctor.retrieve(&card, written.slot, None).await;
    assert!(
        matches!(
            &refused,
            Err(ClientError::Node(_) | ClientError::Read(_) | ClientError::Write(_) | ClientError::RecordProof(_))
        ),
        "{refused:?}"
    );

    // Kubo is gone: one clear error, and nothing half-written.
    kubo.kill();
    let down = patient.save_attachment(read, 0, None, &folder.path().join("none"), &|_| {}).await;
    assert!(matches!(&down, Err(error) if error.is_temporary()), "{down:?}");
    assert!(!folder.path().join("none").exists());
    Ok(())
}

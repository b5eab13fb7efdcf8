//! After a reorganisation of L1, an account's number belongs to somebody else. Nothing of the earlier owner is shown to
//! the later owner, charged to them or counted for them. All of it is there again if L1 gives the number back.

use emr_core::{Class, UnixTime};
use emr_ipfs::Blockstore;

use super::scene::*;
use crate::{
    mempool::{BlockReference, Usage},
    request_error::RequestErrorKind,
    storage::quota::Quotas,
};

const DOCTOR: u64 = DOCTORS[0];
const OTHER: u64 = DOCTORS[1];

impl Scene {
    fn may_read(&self, doctor: u64) -> Result<(), RequestErrorKind> {
        let state = self.engine.state();
        let read = state.may_read(account(doctor), account(PATIENT), Class::Summary, UnixTime::now());
        read.map_err(|error| error.kind)
    }

    /// Whether an account may get the blocks of a record or directory.
    fn may_have(&self, doctor: u64, part_of: &BlockReference) -> Result<(), RequestErrorKind> {
        let state = self.engine.state();
        state.may_have(account(doctor), part_of, UnixTime::now()).map_err(|error| error.kind)
    }

    fn is_live(&self, doctor: u64) -> bool {
        self.engine.state().live_grants(account(PATIENT), account(doctor), UnixTime::now()).next().is_some()
    }
}

#[tokio::test]
async fn a_later_owner_of_a_number_gets_nothing_of_the_earlier() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    // The earlier owner has a settled record, a doctor's session, a waiting Revoke, an upload and a waiting record.
    let blocks = scene.upload(DOCTOR, 2, 100).await?;
    let (_, cids) = scene.write(DOCTOR, 0, &blocks).await?;
    scene.request(DOCTOR).await?;
    scene.settle()?;
    assert_eq!(scene.may_read(DOCTOR), Ok(()));
    let directory = scene.revoke(65).await?;
    assert!(!scene.is_live(OTHER));
    let staged = scene.upload(PATIENT, 1, 100).await?;
    let (_, waiting) = scene.write(PATIENT, 1, &[]).await?;
    let earlier = scene.principal(PATIENT);
    let before = scene.engine.mempool.used(&earlier)?;
    let references = scene.engine.mempool.references(&cids[0])?;

    let another = scene.of_another_patient();
    let old = scene.replace_l1(another).await?;
    let later = scene.principal(PATIENT);
    assert!(later.account == earlier.account && later != earlier);
    assert_eq!(scene.engine.waiting().0, 0);
    assert_eq!(scene.engine.mempool.used(&later)?, Default::default());
    assert_eq!(scene.engine.mempool.staged(&later)?, Usage::default());
    assert_eq!(scene.engine.mempool.staged(&earlier)?.blocks, 1);
    for part_of in references {
        for who in [PATIENT, DOCTOR] {
            assert_eq!(scene.may_have(who, &part_of), Err(RequestErrorKind::NotFound), "{part_of:?}");
        }
    }
    // The later owner's grants have the same slots and versions as the earlier owner's grants.
    for (number, doctor) in (64..).zip(DOCTORS) {
        scene.grant(number, doctor).await?;
    }
    scene.settle()?;
    assert!(scene.is_live(OTHER), "the earlier owner's Revoke ends nothing of the later one's");
    assert_eq!(scene.may_read(DOCTOR), Err(RequestErrorKind::NoSession), "a session is for the grant of one patient");
    // Blocks do not go to the later owner either: neither uploads nor the blocks of a record.
    for stolen in [&staged, &blocks] {
        let refused = scene.write(PATIENT, 0, stolen).await.expect_err("must be refused");
        assert_eq!(refused.kind, RequestErrorKind::MissingBlock, "{refused}");
    }
    // The doctor's account is unchanged: the doctor can write a record with a block that they upload.
    scene.write(DOCTOR, 0, &[]).await?;
    scene.settle()?;

    scene.replace_l1(old).await?;
    assert_eq!(scene.principal(PATIENT), earlier);
    assert_eq!(scene.engine.mempool.used(&earlier)?, before);
    assert_eq!(scene.may_read(DOCTOR), Ok(()));
    assert!(!scene.is_live(OTHER));
    assert_eq!(scene.engine.waiting().0, 2, "what was acknowledged waits again");
    scene.settle()?;
    let state = scene.engine.state().clone();
    let grants = &state.settled.patient(account(PATIENT)).ok_or("the patient")?.grants;
    assert!(grants.values().any(|grant| grant.grantee.is_none()), "the Revoke is settled");
    assert!(scene.record(1).is_some() && scene.store.has(&waiting[0]).await? && scene.store.has(&directory).await?);
    Ok(())
}

/// Nobody can settle these operations any more. Their blocks are removed after the same time as the blocks of a
/// returned operation.
#[tokio::test]
async fn the_blocks_of_a_lost_account_go_after_a_month() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let blocks = scene.upload(DOCTOR, 2, 100).await?;
    let (_, cids) = scene.write(DOCTOR, 0, &blocks).await?;
    let another = scene.of_another_patient();
    scene.replace_l1(another).await?;
    scene.sweep().await?;
    scene.pass(29 * 24);
    scene.sweep().await?;
    assert!(scene.store.has(&cids[0]).await?);
    scene.pass(2 * 24);
    scene.sweep().await?;
    for cid in &cids {
        assert!(!scene.store.has(cid).await?);
    }
    Ok(())
}

//! A Rekey stores a record again. The ciphertext that it replaced goes a day after the Rekey is settled, and nothing else.

use std::collections::BTreeSet;

use emr_ipfs::{Cid, DagLimits, walk};

use super::scene::*;
use crate::{mempool::Usage, request_error::RequestErrorKind, storage::quota::Quotas};

const DOCTOR: u64 = DOCTORS[0];

impl Scene {
    /// A doctor writes a version of the record in slot 0.
    async fn version(&mut self) -> Outcome<Vec<Cid>> {
        let blocks = self.upload(DOCTOR, 2, 100).await?;
        Ok(self.write(DOCTOR, 0, &blocks).await?.1)
    }

    /// The patient stores the record in slot 0 again.
    async fn again(&mut self) -> Outcome<Vec<Cid>> {
        let blocks = self.upload(PATIENT, 2, 100).await?;
        Ok(self.rekey(0, &blocks).await?)
    }

    /// Sweeps, and checks which of these ciphertexts are there, with all their blocks and pinned, and which are gone.
    async fn holds(&mut self, there: &[&Vec<Cid>], gone: &[&Vec<Cid>]) -> Outcome {
        self.sweep().await?;
        let (stored, pins) = (self.stored()?, self.pins().await?);
        for (number, cids) in there.iter().enumerate() {
            walk(&self.store, &cids[0], &DagLimits::default()).await?;
            assert!(pins.contains(&cids[0]), "{number} of those that stay is not pinned");
        }
        for (number, cids) in gone.iter().enumerate() {
            let left: BTreeSet<_> = cids.iter().filter(|cid| stored.contains(cid)).collect();
            assert!(left.is_empty(), "{number} of those that go: {left:?}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn replaced_ciphertext_goes_a_day_after_the_rekey_is_settled() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let old = scene.version().await?;
    scene.settle()?;
    let new = scene.again().await?;
    // A Rekey that is not settled replaces nothing.
    for _ in 0..2 {
        scene.holds(&[&old, &new], &[]).await?;
        scene.pass(25);
    }
    scene.settle()?;
    scene.holds(&[&old, &new], &[]).await?;
    scene.pass(23);
    scene.holds(&[&old, &new], &[]).await?;
    // The next process derives from L1 what was replaced. It does not count the day from zero.
    scene.restart().await?;
    scene.pass(1);
    scene.holds(&[&new], &[&old]).await?;
    scene.pass(60 * 24);
    scene.holds(&[&new], &[]).await
}

/// Earlier versions stay, also if a later version is written while the old ciphertext waits for its removal.
#[tokio::test]
async fn a_later_version_keeps_neither_the_old_ciphertext_nor_removes_a_version() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let first = scene.version().await?;
    scene.settle()?;
    let second = scene.version().await?;
    let again = scene.again().await?;
    let third = scene.version().await?;
    scene.settle()?;
    scene.holds(&[&first, &second, &again, &third], &[]).await?;
    scene.restart().await?;
    scene.pass(25);
    scene.holds(&[&first, &again, &third], &[&second]).await?;
    // The newest version is stored again twice in one day.
    let [fourth, fifth] = [scene.again().await?, scene.again().await?];
    scene.settle()?;
    scene.holds(&[&first, &again, &third, &fourth, &fifth], &[]).await?;
    scene.pass(25);
    scene.holds(&[&first, &again, &fifth], &[&third, &fourth]).await?;
    scene.tombstone(0).await?;
    scene.settle()?;
    scene.holds(&[&first, &again, &fifth], &[]).await?;
    scene.pass(25);
    scene.holds(&[], &[&first, &again, &fifth]).await
}

/// L1 takes the Rekey back within a day. Then the old ciphertext is the record's only one, until the Rekey has been settled for a day again.
#[tokio::test]
async fn replaced_ciphertext_comes_back_with_a_reorganisation() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    let old = scene.version().await?;
    scene.settle()?;
    let new = scene.again().await?;
    scene.settle()?;
    scene.holds(&[&old, &new], &[]).await?;
    scene.pass(23);
    scene.holds(&[&old, &new], &[]).await?;
    scene.reorganise(1).await?;
    scene.pass(23);
    scene.holds(&[&old, &new], &[]).await?;
    scene.settle()?;
    scene.holds(&[&old, &new], &[]).await?;
    scene.pass(23);
    scene.holds(&[&old, &new], &[]).await?;
    scene.pass(2);
    scene.holds(&[&new], &[&old]).await?;

    // The Rekey is taken back, and then returned: only its own ciphertext goes, after a day.
    let newest = scene.again().await?;
    scene.settle()?;
    scene.reorganise(1).await?;
    scene.give_back_newest().await?;
    scene.holds(&[&new, &newest], &[]).await?;
    scene.pass(25);
    scene.holds(&[&new], &[&newest]).await?;
    scene.pass(60 * 24);
    scene.holds(&[&new], &[]).await
}

/// A record that was rekeyed stays in its author's share. It counts there once, also while it is stored twice.
#[tokio::test]
async fn a_rekeyed_record_stays_in_its_authors_share() -> Outcome {
    let quotas = Quotas {
        writer: Usage { bytes: 5000, blocks: 12 },
        own: Usage { bytes: 4100, blocks: 12 },
        patient: Usage { bytes: 9000, blocks: 36 },
        ..Quotas::DEFAULT
    };
    let mut scene = Scene::new(quotas).await?;
    let too_large = |refused: Result<Vec<Cid>, crate::request_error::RequestError>, what: &str| {
        let refused = refused.expect_err("must be refused");
        assert!(refused.kind == RequestErrorKind::TooLarge && refused.message.contains(what), "{refused}");
    };
    let of_doctor = scene.upload(DOCTOR, 2, 1900).await?;
    scene.write(DOCTOR, 0, &of_doctor).await?;
    let own = scene.upload(PATIENT, 2, 2000).await?;
    scene.write(PATIENT, 1, &own).await?;
    scene.settle()?;
    let used = |scene: &Scene, who| -> Outcome<u64> {
        let (used, _) = scene.engine.mempool.used(&scene.principal(PATIENT))?;
        Ok(used.get(&scene.principal(who)).map_or(0, |usage| usage.bytes))
    };
    assert_eq!([used(&scene, DOCTOR)?, used(&scene, PATIENT)?], [3883, 4083]);

    // Neither the patient's share nor the doctor's has room for the second copy.
    let parts = scene.upload(PATIENT, 2, 1900).await?;
    scene.rekey(0, &parts).await?;
    scene.settle()?;
    assert_eq!([used(&scene, DOCTOR)?, used(&scene, PATIENT)?], [2 * 3883, 4083]);
    // The doctor can write as much as before: 5000 - 3883 bytes, and not more.
    let more = scene.upload(DOCTOR, 1, 900).await?;
    scene.write(DOCTOR, 2, &more).await?;
    let too_much = scene.upload(DOCTOR, 1, 300).await?;
    too_large(scene.write(DOCTOR, 3, &too_much).await.map(|(_, cids)| cids), "account 2 would have more");
    // All copies together have a limit too, so that rekeying again and again does not fill the disk.
    let parts = scene.upload(PATIENT, 2, 1900).await?;
    scene.rekey(0, &parts).await?;
    let parts = scene.upload(PATIENT, 2, 1900).await?;
    too_large(scene.rekey(0, &parts).await, "old ciphertext counts until it is removed");
    // Which does not stop the patient from revoking.
    scene.revoke(65).await?;
    scene.settle()?;

    scene.sweep().await?;
    scene.restart().await?;
    scene.pass(25);
    scene.sweep().await?;
    assert_eq!([used(&scene, DOCTOR)?, used(&scene, PATIENT)?], [3883 + 942, 4083]);
    assert!(scene.engine.mempool.stored_twice(&scene.principal(PATIENT))?.is_empty());
    let too_much = scene.upload(DOCTOR, 1, 300).await?;
    too_large(scene.write(DOCTOR, 3, &too_much).await.map(|(_, cids)| cids), "account 2 would have more");
    let parts = scene.upload(PATIENT, 2, 1900).await?;
    scene.rekey(0, &parts).await?;
    Ok(())
}

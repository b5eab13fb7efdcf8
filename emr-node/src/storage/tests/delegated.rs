//! Keys that a delegate handed on stay as long as a state holds their grant, and go a day later.

use emr_ipfs::Cid;

use super::scene::*;
use crate::storage::quota::Quotas;

/// Ordinary slots beside those of the two doctors.
const SLOTS: [u64; 3] = [70, 71, 72];

impl Scene {
    /// Sweeps, and checks which keys are there and pinned, and which are gone.
    async fn keeps(&mut self, there: &[Cid], gone: &[Cid]) -> Outcome {
        self.sweep().await?;
        let pins = self.pins().await?;
        for (number, cid) in there.iter().enumerate() {
            assert!(self.has(cid).await? && pins.contains(cid), "{number} of those that stay");
        }
        for (number, cid) in gone.iter().enumerate() {
            assert!(!self.has(cid).await? && !pins.contains(cid), "{number} of those that go");
        }
        Ok(())
    }

    /// These keys are there until a day has passed.
    async fn go_in_a_day(&mut self, there: &[Cid], going: &[Cid]) -> Outcome {
        let all = [there, going].concat();
        self.keeps(&all, &[]).await?;
        self.pass(23);
        self.keeps(&all, &[]).await?;
        self.pass(2);
        self.keeps(there, going).await
    }
}

#[tokio::test]
async fn keys_that_were_handed_on_go_a_day_after_their_grant() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    scene.name_delegate().await?;
    scene.settle()?;
    let (ends, stays) = (scene.hand_on(SLOTS[0]).await?, scene.hand_on(SLOTS[1]).await?);
    scene.keeps(&[ends, stays], &[]).await?;
    scene.pass(25);
    scene.keeps(&[ends, stays], &[]).await?;
    scene.settle()?;
    for _ in 0..2 {
        scene.keeps(&[ends, stays], &[]).await?;
        scene.pass(60 * 24);
    }

    // The end of the grant is signed, but not settled: the settled state still holds it.
    scene.end_for_patient(SLOTS[0]).await?;
    for _ in 0..2 {
        scene.keeps(&[ends, stays], &[]).await?;
        scene.pass(25);
    }
    scene.settle()?;
    scene.go_in_a_day(&[stays], &[ends]).await?;

    // Another grant in the slot comes with other keys.
    let newer = scene.hand_on(SLOTS[1]).await?;
    scene.settle()?;
    scene.restart().await?;
    scene.go_in_a_day(&[newer], &[stays]).await?;

    // A grant that was dropped for the patient's own operation never gets into a state. A settled grant stays, also after its delegate lost that right.
    let waits = scene.hand_on(SLOTS[2]).await?;
    scene.keeps(&[newer, waits], &[]).await?;
    scene.revoke(62 + DOCTORS[0]).await?;
    scene.go_in_a_day(&[newer], &[waits]).await?;
    scene.settle()?;
    scene.pass(60 * 24);
    scene.keeps(&[newer], &[waits, stays, ends]).await
}

/// L1 loses the batch in which a grant ended. Its keys are needed again.
#[tokio::test]
async fn keys_that_were_handed_on_come_back_with_a_reorganisation() -> Outcome {
    let mut scene = Scene::new(Quotas::DEFAULT).await?;
    scene.name_delegate().await?;
    scene.settle()?;
    let keys = scene.hand_on(SLOTS[0]).await?;
    scene.settle()?;
    scene.end_for_patient(SLOTS[0]).await?;
    scene.settle()?;
    scene.keeps(&[keys], &[]).await?;
    scene.pass(12);
    scene.keeps(&[keys], &[]).await?;
    scene.reorganise(1).await?;
    scene.pass(25);
    scene.keeps(&[keys], &[]).await?;
    // The grant ends once more, and the day begins from zero.
    scene.settle()?;
    scene.go_in_a_day(&[], &[keys]).await
}

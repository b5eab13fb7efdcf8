//! What the hospital sees of links, and ends.

use emr_api::{LinkOfPatient, LinksPage};

use super::*;

fn all(scene: &Scene) -> TestResult<(Vec<LinkOfPatient>, usize)> {
    let (mut links, mut pages, mut from) = (Vec::new(), 0, None);
    loop {
        let LinksPage { links: more, next } = scene.links.store.page(from, at(0))?;
        links.extend(more);
        pages += 1;
        if next.is_none() {
            return Ok((links, pages));
        }
        from = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hospital_sees_sizes_and_counts_and_ends_links() -> TestResult {
    let scene = Scene::new()?;
    assert!(scene.links.store.page(None, at(0))?.links.is_empty(), "no link was ever made");
    let (open, locked) = (new_link(LinkAccess::Manifest, vec![file(10), file(20)])?, with_passcode()?);
    scene.make(7, &open)?;
    let number = scene.make(3, &locked)?;
    for _ in 0..2 {
        scene.manifest(&open, None, 0).await.map_err(|error| format!("{error:?}"))?;
    }
    let (links, _) = all(&scene)?;
    let shown: Vec<_> = links.iter().map(|link| (link.account.get(), link.number, link.files, link.opened)).collect();
    assert_eq!(shown, [(3, 1, 1, 0), (7, 1, 2, 2)]);
    assert_eq!(links[1].bytes, open.files.iter().map(|file| file.jwe.len() as u64).sum::<u64>());
    // Neither what opens a link, nor its content, nor who opened it.
    let LinkAccess::Passcode { salt, digest } = locked.access else { return Err("a passcode".into()) };
    let text = serde_json::to_string(&links)?;
    for secret in [open.id.to_string(), locked.id.to_string(), hex::encode(salt), hex::encode(digest)] {
        assert!(!text.contains(&secret), "{text}");
    }
    assert!(!text.contains("Dr. Ada") && !text.contains("CCCC") && !text.contains("node.example"), "{text}");

    scene.links.end_for_hospital(AccountIndex::new(3)?, number, at(0)).await?;
    assert!(is_over(&scene.manifest(&locked, Some(PASSCODE), 0).await));
    assert_eq!(scene.view(3, number, at(0))?.state, LinkState::EndedByHospital, "its patient sees who did it");
    let (links, _) = all(&scene)?;
    assert_eq!((links[0].state, links[0].bytes, links[1].state), (LinkState::EndedByHospital, 0, LinkState::Open));
    assert!(scene.manifest(&open, None, 0).await.is_ok(), "the same number of another patient is another link");
    for (account, number) in [(3, 2), (4, 1)] {
        let refused = scene.links.end_for_hospital(AccountIndex::new(account)?, number, at(0)).await;
        assert_eq!(refused.map_err(|error| error.kind), Err(RequestErrorKind::NotFound));
    }
    // What the patient ended stays ended by the patient.
    scene.links.store.end(patient(7)?, 1, at(0))?;
    scene.links.end_for_hospital(AccountIndex::new(7)?, 1, at(0)).await?;
    assert_eq!(scene.view(7, 1, at(0))?.state, LinkState::Ended);
    Ok(())
}

/// Many links are shown in pages that end with a patient: none is left out, and none is shown twice.
#[test]
fn pages_have_each_link_once() -> TestResult {
    let scene = Scene::new()?;
    let patients = LinksPage::ENOUGH as u64 / NewLink::MAX_OPEN as u64 + 2;
    for owner in 1..=patients {
        for _ in 0..NewLink::MAX_OPEN {
            scene.make(owner, &new_link(LinkAccess::Manifest, vec![file(1)])?)?;
        }
    }
    let (links, pages) = all(&scene)?;
    assert_eq!((links.len(), pages), (patients as usize * NewLink::MAX_OPEN, 2));
    assert!(links.is_sorted_by_key(|link| (link.account, link.number)));
    Ok(())
}

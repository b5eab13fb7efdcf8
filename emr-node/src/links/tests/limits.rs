//! What is refused, what is bounded, and what a damaged file stops.

use super::*;

fn kind<T>(answer: Result<T, LinksError>) -> Option<RequestErrorKind> {
    match answer {
        Err(LinksError::Refused(refusal)) => Some(refusal.kind),
        _ => None,
    }
}

#[test]
fn impossible_links_are_refused() -> TestResult {
    let scene = Scene::new()?;
    let good = new_link(LinkAccess::Manifest, vec![file(10)])?;
    let create = |new: &NewLink| -> TestResult<_> { Ok(scene.links.store.create(new, patient(1)?, PLENTY, at(0))) };
    let other = |change: &dyn Fn(&mut NewLink)| {
        let mut new = NewLink { id: UrlToken::random(), ..good.clone() };
        change(&mut new);
        new
    };
    let refused = Some(RequestErrorKind::Refused);
    for expires in [at(0), UnixTime::ZERO, at(NewLink::LONGEST + 1)] {
        assert_eq!(kind(create(&other(&|new| new.expires = expires))?), refused, "{expires}");
    }
    for files in [vec![], vec![file(1); 33]] {
        assert_eq!(kind(create(&other(&|new| new.files.clone_from(&files)))?), refused);
    }
    let two_direct = other(&|new| (new.access, new.files) = (LinkAccess::DirectFile, vec![file(1); 2]));
    assert_eq!(kind(create(&two_direct)?), refused);
    for jwe in ["", "a.b.c.d", "a.b.c.d.e.f", "a.b.c.d.<script>", "a.b.c.d.ä", "a.b.c.d.e\r\n"] {
        assert_eq!(kind(create(&other(&|new| new.files[0].jwe = jwe.to_owned()))?), refused, "{jwe}");
    }
    for media in ["", "text/html", "application/smart-health-card", "application/fhir+json; charset=x"] {
        assert_eq!(kind(create(&other(&|new| new.files[0].content_type = media.to_owned()))?), refused, "{media}");
    }
    let large = other(&|new| new.files = vec![file(NewLink::MAX_BYTES)]);
    assert_eq!(kind(create(&large)?), Some(RequestErrorKind::TooLarge));
    assert!(scene.links.store.list(patient(1)?, at(0))?.is_empty());
    Ok(())
}

/// The answer got lost, and the program sends the link again. Nobody else takes over its id.
#[test]
fn a_link_can_be_sent_again_but_not_taken() -> TestResult {
    let scene = Scene::new()?;
    let new = new_link(LinkAccess::Manifest, vec![file(10)])?;
    let number = scene.make(1, &new)?;
    let scene = scene.killed();
    assert_eq!(scene.make(1, &new)?, number);
    let changed = NewLink { files: vec![file(11)], ..new.clone() };
    let create =
        |new: &NewLink, owner| -> TestResult<_> { Ok(scene.links.store.create(new, patient(owner)?, PLENTY, at(0))) };
    assert_eq!(kind(create(&changed, 1)?), Some(RequestErrorKind::Refused));
    assert_eq!(kind(create(&new, 2)?), Some(RequestErrorKind::Refused));
    assert_eq!(scene.links.store.list(patient(1)?, at(0))?.len(), 1);
    // Sent again after its end, it stays ended.
    scene.links.store.end(patient(1)?, number, at(0))?;
    assert_eq!(scene.make(1, &new)?, number);
    assert_eq!(scene.view(1, number, at(0))?.state, LinkState::Ended);
    Ok(())
}

#[test]
fn a_patients_links_are_bounded_and_ending_always_makes_room() -> TestResult {
    let scene = Scene::new()?;
    let small = || new_link(LinkAccess::Manifest, vec![file(1)]);
    let numbers = (0..NewLink::MAX_OPEN).map(|_| scene.make(1, &small()?)).collect::<TestResult<Vec<_>>>()?;
    let create = |owner, new: &NewLink, spare| -> TestResult<_> {
        Ok(scene.links.store.create(new, patient(owner)?, spare, at(0)))
    };
    let too_many = Some(RequestErrorKind::TooLarge);
    assert_eq!(kind(create(1, &small()?, PLENTY)?), too_many);
    assert!(create(2, &small()?, PLENTY)?.is_ok(), "other patients have their own room");
    scene.links.store.end(patient(1)?, numbers[0], at(0))?;
    assert!(create(1, &small()?, PLENTY)?.is_ok());
    // Made and ended again and again: the rows are bounded too.
    for _ in 0..150 {
        let number = scene.links.store.list(patient(1)?, at(0))?.last().ok_or("a link")?.number;
        scene.links.store.end(patient(1)?, number, at(0))?;
        scene.make(1, &small()?)?;
    }
    assert_eq!(scene.links.store.list(patient(1)?, at(0))?.len(), 128);

    // Eight links of 8 MiB fill a patient's bytes.
    let large = || new_link(LinkAccess::Manifest, vec![file(NewLink::MAX_BYTES - 100)]);
    let numbers = (0..8).map(|_| scene.make(3, &large()?)).collect::<TestResult<Vec<_>>>()?;
    assert_eq!(kind(create(3, &large()?, PLENTY)?), too_many);
    // A disk that is nearly full has no room for links, and ending one works.
    assert_eq!(kind(create(4, &small()?, 0)?), Some(RequestErrorKind::Unavailable));
    scene.links.store.end(patient(3)?, numbers[0], at(0))?;
    assert!(create(3, &large()?, PLENTY)?.is_ok());
    Ok(())
}

/// Somebody opens a link a thousand times to push the real openings out of sight: the number stays.
#[test]
fn old_openings_are_counted() -> TestResult {
    let scene = Scene::new()?;
    let new = new_link(LinkAccess::Manifest, vec![file(10)])?;
    let number = scene.make(1, &new)?;
    for opening in 0..LinkView::KEPT + 5 {
        scene.links.store.note_opening(&digest_of(&new.id), &opening.to_string(), at(0))?;
    }
    let view = scene.view(1, number, at(0))?;
    assert_eq!((view.opened, view.openings.len()), (1005, LinkView::KEPT));
    let ends = [view.openings.first(), view.openings.last()].map(|end| end.map(|end| end.recipient.as_str()));
    assert_eq!(ends, [Some("5"), Some("1004")]);
    let listed = scene.links.store.list(patient(1)?, at(0))?;
    assert_eq!((listed[0].opened, listed[0].openings.len()), (1005, LinkView::SHOWN));
    Ok(())
}

/// A fault of this file stops links, and nothing else: the node starts without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_no_reason_to_stop() -> TestResult {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("links.redb"), b"not a database")?;
    let links = Scene::open(&folder);
    let new = with_passcode()?;
    let answer = links.manifest(&new.id, asks(Some(PASSCODE)), at(0)).await;
    let Err(Unopened::Refused(refused)) = answer else { return Err(format!("{answer:?}").into()) };
    assert_eq!(refused.kind, RequestErrorKind::Unavailable);
    // When its operator has removed it, the next request makes a new one.
    std::fs::remove_file(folder.path().join("links.redb"))?;
    assert!(is_over(&links.manifest(&new.id, asks(Some(PASSCODE)), at(0)).await));
    Ok(())
}

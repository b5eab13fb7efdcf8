//! One patient's links take neither the room nor the checks of other patients' links.

use std::time::{Duration, Instant};

use super::*;

/// Room for 64 MiB of all links, whatever is stored.
fn spare(scene: &Scene) -> TestResult<u64> {
    let stored = scene.links.store.write(super::super::store::stored_bytes)?;
    Ok((512 << 20) - stored)
}

fn create(scene: &Scene, owner: u64, bytes: usize) -> TestResult<Result<u32, RequestErrorKind>> {
    let new = new_link(LinkAccess::Manifest, vec![file(bytes)])?;
    match scene.links.store.create(&new, patient(owner)?, spare(scene)?, at(0)) {
        Ok(made) => Ok(Ok(made.number)),
        Err(LinksError::Refused(refusal)) => Ok(Err(refusal.kind)),
        Err(other) => Err(other.into()),
    }
}

#[test]
fn no_patient_fills_the_room_of_all() -> TestResult {
    let scene = Scene::new()?;
    let large = (8 << 20) - 100;
    // A quarter of 64 MiB: two links of 8 MiB.
    let made = (0..3).map(|_| create(&scene, 1, large)).collect::<TestResult<Vec<_>>>()?;
    assert_eq!(made, [Ok(1), Ok(2), Err(RequestErrorKind::Unavailable)]);
    // Others do the same until half is used. From there on, each has a sixteenth, 4 MiB; and from three quarters on, 1 MiB.
    let two =
        |owner| -> TestResult<_> { Ok([create(&scene, owner, large)?.is_ok(), create(&scene, owner, large)?.is_ok()]) };
    assert_eq!([two(2)?, two(3)?, two(4)?], [[true, true], [true, false], [false, false]]);
    for owner in 10..13 {
        assert_eq!(create(&scene, owner, 4 << 20)?, Err(RequestErrorKind::Unavailable));
        assert_eq!(create(&scene, owner, (4 << 20) - 100)?, Ok(1));
    }
    assert_eq!(create(&scene, 14, 1 << 20)?, Err(RequestErrorKind::Unavailable));
    // All who took much together left room for those who have little: twelve of them here.
    for owner in 20..32 {
        assert_eq!(create(&scene, owner, (1 << 20) - 100)?, Ok(1), "patient {owner}");
    }
    // Those who have much are refused small ones too, until they end one.
    assert_eq!(create(&scene, 1, 10)?, Err(RequestErrorKind::Unavailable));
    Ok(())
}

/// Somebody guesses the passcodes of all links of one patient. The link of another patient opens before they are done.
#[tokio::test(flavor = "multi_thread")]
async fn an_attack_on_one_patient_does_not_delay_the_links_of_another() -> TestResult {
    let scene = Scene::new()?;
    let mine = with_passcode()?;
    scene.make(2, &mine)?;
    let attacked = (0..NewLink::MAX_OPEN).map(|_| {
        let new = NewLink { id: UrlToken::random(), ..mine.clone() };
        scene.make(1, &new)?;
        Ok(new.id)
    });
    let attacked = attacked.collect::<TestResult<Vec<_>>>()?;
    let guesses: Vec<_> = attacked
        .into_iter()
        .map(|id| {
            let links = Arc::clone(&scene.links);
            tokio::spawn(async move { links.manifest(&id, asks(Some("999999")), at(0)).await.is_err() })
        })
        .collect();
    // All of them wait in line before the other link is opened.
    let began = Instant::now();
    while guesses.iter().filter(|guess| guess.is_finished()).count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "no guess is checked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = guesses.iter().filter(|guess| guess.is_finished()).count();
    assert!(before < NewLink::MAX_OPEN / 2, "{before} were checked already");
    scene.manifest(&mine, Some(PASSCODE), 0).await.map_err(|error| format!("{error:?}"))?;
    let meanwhile = guesses.iter().filter(|guess| guess.is_finished()).count() - before;
    assert!(meanwhile <= 6, "{meanwhile} guesses of the other patient's links were checked first");
    for guess in guesses {
        assert!(guess.await?);
    }
    Ok(())
}

//! Links as strangers and hostile patients meet them.

mod fairness;
mod limits;
mod operator;

use std::{error::Error, path::Path, sync::Arc};

use emr_api::{
    LinkAccess, LinkFile, LinkManifest, LinkOutcome, LinkState, LinkView, ManifestPlace, ManifestRequest, NewLink,
    url_token::UrlToken,
};
use emr_core::{AccountIndex, UnixTime};
use emr_crypto::PasscodeVerifier;
use emr_durable::{
    Disk,
    crash::{ALL, Journal, Survivors, Sync, no_sync},
};
use tempfile::TempDir;

use super::{
    Links, Unopened, digest_of,
    locations::SECONDS,
    manage::KEPT_SECONDS,
    openings::COMPARED_AFTER,
    store::{FILES, LinkStore, LinksError, Row},
};
use crate::{mempool::Principal, request_error::RequestErrorKind};

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

const PLENTY: u64 = 1 << 40;
const PASSCODE: &str = "012345";
const HOUR: u64 = 3600;

fn at(seconds: u64) -> UnixTime {
    UnixTime::ZERO.saturating_add(1_800_000_000 + seconds)
}

fn patient(number: u64) -> TestResult<Principal> {
    Ok(Principal { account: AccountIndex::new(number)?, identity: [number as u8; 32] })
}

fn file(bytes: usize) -> LinkFile {
    LinkFile { content_type: "application/fhir+json".to_owned(), jwe: format!("e30..{}.AAAA.BBBB", "C".repeat(bytes)) }
}

fn new_link(access: LinkAccess, files: Vec<LinkFile>) -> TestResult<NewLink> {
    let origin = "https://node.example".parse()?;
    Ok(NewLink { id: UrlToken::random(), origin, expires: at(HOUR), access, files })
}

fn with_passcode() -> TestResult<NewLink> {
    let PasscodeVerifier { salt, digest } = PasscodeVerifier::of(&PASSCODE.into());
    new_link(LinkAccess::Passcode { salt, digest }, vec![file(10)])
}

fn asks(passcode: Option<&str>) -> ManifestRequest {
    let passcode = passcode.map(str::to_owned);
    ManifestRequest { recipient: "Dr. Ada".to_owned(), passcode, embedded_length_max: None }
}

/// The links of a node, in a folder of their own.
struct Scene {
    links: Arc<Links>,
    folder: TempDir,
}

impl Scene {
    fn new() -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { links: Self::open(&folder), folder })
    }

    fn open(folder: &TempDir) -> Arc<Links> {
        Arc::new(Links::new(Disk::default(), folder.path()))
    }

    /// The process ends at this moment, and another one begins.
    fn killed(self) -> Self {
        let Self { links, folder } = self;
        drop(links);
        Self { links: Self::open(&folder), folder }
    }

    fn make(&self, owner: u64, new: &NewLink) -> TestResult<u32> {
        Ok(self.links.store.create(new, patient(owner)?, PLENTY, at(0))?.number)
    }

    fn view(&self, owner: u64, number: u32, now: UnixTime) -> TestResult<LinkView> {
        Ok(self.links.store.view(patient(owner)?, number, now)?)
    }

    async fn manifest(&self, new: &NewLink, passcode: Option<&str>, seconds: u64) -> Result<LinkManifest, Unopened> {
        self.links.manifest(&new.id, asks(passcode), at(seconds)).await
    }
}

fn is_over<T>(answer: &Result<T, Unopened>) -> bool {
    matches!(answer, Err(Unopened::NotOpen))
}

/// A hundred guesses at the same time, by the tables alone: five are allowed to be compared.
#[test]
fn five_guesses_are_compared_and_no_more() -> TestResult {
    let scene = Scene::new()?;
    let new = with_passcode()?;
    let number = scene.make(1, &new)?;
    let digest = digest_of(&new.id);
    let allowed = std::thread::scope(|scope| {
        let guess = || scene.links.store.begin_attempt(&digest, "x", at(0)).is_ok();
        let threads: Vec<_> = (0..100).map(|_| scope.spawn(guess)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|allowed| *allowed).count()
    });
    assert_eq!(allowed, Row::ATTEMPTS as usize);
    let view = scene.view(1, number, at(0))?;
    assert_eq!((view.state, view.remaining_attempts), (LinkState::WrongPasscodes, Some(0)));
    assert_eq!(view.openings.len(), 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_get_five_answers_and_close_the_link() -> TestResult {
    let scene = Scene::new()?;
    let new = with_passcode()?;
    let number = scene.make(1, &new)?;
    let guesses: Vec<_> = (0..100)
        .map(|guess| {
            let (links, id) = (Arc::clone(&scene.links), new.id);
            tokio::spawn(async move { links.manifest(&id, asks(Some(&format!("{guess:05}"))), at(0)).await })
        })
        .collect();
    let mut told = Vec::new();
    for guess in guesses {
        match guess.await? {
            Err(Unopened::Passcode { remaining }) => told.push(remaining),
            Err(Unopened::NotOpen) => {}
            Err(Unopened::Refused(refused)) => assert_eq!(refused.kind, RequestErrorKind::TooMany),
            Ok(_) => return Err("opened with a wrong passcode".into()),
        }
    }
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3, 4]);
    assert!(is_over(&scene.manifest(&new, Some(PASSCODE), 600).await), "the right one comes too late");
    // The files are gone.
    let digest = digest_of(&new.id);
    assert!(scene.links.store.file(&digest, 0, at(0)).is_err());
    assert_eq!(scene.view(1, number, at(0))?.state, LinkState::WrongPasscodes);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn right_passcodes_do_not_count_and_missing_ones_do_not_either() -> TestResult {
    let scene = Scene::new()?;
    let new = with_passcode()?;
    let number = scene.make(1, &new)?;
    for wrong in ["1", "012346", "0123450"] {
        assert!(matches!(scene.manifest(&new, Some(wrong), 0).await, Err(Unopened::Passcode { .. })));
    }
    for _ in 0..4 {
        for none in [None, Some("")] {
            let told = scene.manifest(&new, none, 0).await;
            assert!(matches!(told, Err(Unopened::Passcode { remaining: 2 })), "{told:?}");
        }
        assert!(scene.manifest(&new, Some(PASSCODE), 0).await.is_ok());
    }
    let long = "0".repeat(PasscodeVerifier::LONGEST + 1);
    assert!(matches!(scene.manifest(&new, Some(&long), 0).await, Err(Unopened::Refused(_))));
    let view = scene.view(1, number, at(0))?;
    assert_eq!((view.opened, view.remaining_attempts, view.openings.len()), (4, Some(2), 7));
    let wrong = view.openings.iter().filter(|opening| opening.outcome == LinkOutcome::WrongPasscode).count();
    assert_eq!((wrong, view.openings[0].recipient.as_str()), (3, "Dr. Ada"));
    Ok(())
}

/// The node is killed after a guess was counted, and before the guesser learned anything: again and again.
#[test]
fn a_kill_gives_no_guess_back() -> TestResult {
    let mut scene = Scene::new()?;
    let new = with_passcode()?;
    let number = scene.make(1, &new)?;
    for left in (0..5).rev() {
        let attempt = scene.links.store.begin_attempt(&digest_of(&new.id), "x", at(0))?;
        assert_eq!(attempt.row.remaining(), Some(left));
        scene = scene.killed();
        assert_eq!(scene.view(1, number, at(0))?.remaining_attempts, Some(left));
    }
    assert!(scene.links.store.begin_attempt(&digest_of(&new.id), "x", at(0)).is_err());
    Ok(())
}

/// The node is killed between the fifth guess and its comparison. The files do not stay until the link expires.
#[test]
fn a_kill_after_the_last_guess_leaves_no_files() -> TestResult {
    let scene = Scene::new()?;
    let new = with_passcode()?;
    scene.make(1, &new)?;
    let digest = digest_of(&new.id);
    let is_stored = |scene: &Scene| {
        scene.links.store.read(|transaction| Ok(transaction.open_table(FILES)?.get((digest, 0))?.is_some()))
    };
    // A right passcode as the fifth: the link goes on to its expiry.
    for _ in 0..4 {
        scene.links.store.begin_attempt(&digest, "x", at(0))?;
    }
    let right = scene.links.store.begin_attempt(&digest, "x", at(0))?;
    scene.links.store.attempt_was_right(&right, "x", at(0))?;
    assert_eq!(scene.links.store.sweep(at(COMPARED_AFTER))?, 0);
    assert!(is_stored(&scene)?);

    scene.links.store.begin_attempt(&digest, "x", at(100))?;
    let scene = scene.killed();
    assert_eq!(scene.links.store.sweep(at(100 + COMPARED_AFTER - 1))?, 0);
    assert!(is_stored(&scene)?, "the comparison may still go on");
    assert_eq!(scene.links.store.sweep(at(100 + COMPARED_AFTER))?, 1);
    assert!(!is_stored(&scene)?);
    Ok(())
}

/// The power is cut after any step. No guess comes back, and no link that was ended opens again.
#[test]
fn a_power_cut_gives_nothing_back() -> TestResult {
    let journal = Journal::new()?;
    let store = LinkStore::new(journal.disk(), journal.root());
    let (new, owner) = (with_passcode()?, patient(1)?);
    journal.begin("create");
    let number = store.create(&new, owner, PLENTY, at(0))?.number;
    // Whether it is ended, and how many guesses it counts: neither ever gets less.
    let counted = |store: &LinkStore| -> TestResult<(bool, u32)> {
        let view = store.view(owner, number, at(0))?;
        Ok((view.state == LinkState::Ended, view.openings.len() as u32))
    };
    let mut told = vec![(journal.steps(), counted(&store)?)];
    for _ in 0..2 {
        journal.begin("guess");
        store.begin_attempt(&digest_of(&new.id), "x", at(0))?;
        told.push((journal.steps(), counted(&store)?));
    }
    journal.begin("end");
    store.end(owner, number, at(0))?;
    told.push((journal.steps(), counted(&store)?));

    let check = |steps: usize, image: &Path| -> TestResult {
        let Some((_, least)) = told.iter().rev().find(|(after, _)| *after <= steps) else { return Ok(()) };
        let found = counted(&LinkStore::new(Disk::default(), image))?;
        if found >= *least { Ok(()) } else { Err(format!("{found:?}, and not {least:?}").into()) }
    };
    journal.check(&ALL, no_sync, check)?;
    for operation in ["create", "guess", "end"] {
        let left_out = |sync: &Sync| sync.operation() == operation && !sync.is_of_folder();
        let harm = journal.check(&[Survivors::Nothing, Survivors::Some(1)], left_out, check);
        assert!(harm.is_err(), "the syncs of {operation} are not needed");
    }
    Ok(())
}

/// The patient ends the link while a right passcode is being checked, as the last that is left.
#[test]
fn an_end_beats_a_passcode_that_is_being_checked() -> TestResult {
    let scene = Scene::new()?;
    let new = with_passcode()?;
    let (number, digest) = (scene.make(1, &new)?, digest_of(&new.id));
    for _ in 0..4 {
        scene.links.store.begin_attempt(&digest, "x", at(0))?;
    }
    let last = scene.links.store.begin_attempt(&digest, "x", at(0))?;
    scene.links.store.end(patient(1)?, number, at(0))?;
    let answer = scene.links.store.attempt_was_right(&last, "x", at(0));
    assert!(matches!(answer, Err(LinksError::NotOpen)), "{answer:?}");
    assert_eq!(scene.view(1, number, at(0))?.state, LinkState::Ended);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_after_the_end() -> TestResult {
    let scene = Scene::new()?;
    let (plain, other) =
        (new_link(LinkAccess::Manifest, vec![file(10)])?, new_link(LinkAccess::Manifest, vec![file(10)])?);
    let (number, _) = (scene.make(1, &plain)?, scene.make(1, &other)?);
    let located = ManifestRequest { embedded_length_max: Some(0), ..asks(None) };
    let manifest = scene.links.manifest(&plain.id, located, at(0)).await.map_err(|error| format!("{error:?}"))?;
    let ManifestPlace::Location(location) = &manifest.files[0].place else { return Err("embedded".into()) };
    let token: UrlToken = location.rsplit('/').next().ok_or("a token")?.parse()?;

    for stranger in [2, 3] {
        assert!(matches!(scene.links.store.end(patient(stranger)?, number, at(0)), Err(LinksError::NotOpen)));
        assert!(matches!(scene.links.store.view(patient(stranger)?, number, at(0)), Err(LinksError::NotOpen)));
        assert!(scene.links.store.list(patient(stranger)?, at(0))?.is_empty());
    }
    // The same account number, after a reorganisation gave it to somebody else.
    let successor = Principal { identity: [99; 32], ..patient(1)? };
    assert!(matches!(scene.links.store.end(successor, number, at(0)), Err(LinksError::NotOpen)));
    scene.links.store.end(patient(1)?, number, at(0))?;
    scene.links.store.end(patient(1)?, number, at(5))?;
    assert!(is_over(&scene.manifest(&plain, None, 0).await));
    assert!(is_over(&scene.links.located_file(&token, at(0)).await), "an address from before is over too");
    assert!(scene.manifest(&other, None, 0).await.is_ok(), "other links stay");
    let scene = scene.killed();
    assert!(is_over(&scene.manifest(&plain, None, 0).await));
    assert_eq!(scene.links.store.list(patient(1)?, at(0))?.len(), 2);
    Ok(())
}

/// The disk does not take the end of a link. Nothing of it is served all the same, and the patient learns that it failed.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_counts_before_the_disk_takes_it() -> TestResult {
    let scene = Scene::new()?;
    let new = new_link(LinkAccess::Manifest, vec![file(10)])?;
    scene.make(1, &new)?;
    scene.links.stopped().insert(digest_of(&new.id));
    assert!(is_over(&scene.manifest(&new, None, 0).await));
    scene.links.stopped().clear();
    let located = ManifestRequest { embedded_length_max: Some(0), ..asks(None) };
    let manifest = scene.links.manifest(&new.id, located, at(0)).await.map_err(|error| format!("{error:?}"))?;
    let ManifestPlace::Location(location) = &manifest.files[0].place else { return Err("embedded".into()) };
    scene.links.stopped().insert(digest_of(&new.id));
    let token: UrlToken = location.rsplit('/').next().ok_or("a token")?.parse()?;
    assert!(is_over(&scene.links.located_file(&token, at(0)).await));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_expires_and_later_goes() -> TestResult {
    let scene = Scene::new()?;
    let new = new_link(LinkAccess::Manifest, vec![file(10), file(20)])?;
    let number = scene.make(1, &new)?;
    assert!(scene.manifest(&new, None, HOUR).await.is_ok());
    assert!(is_over(&scene.manifest(&new, None, HOUR + 1).await));
    assert_eq!(scene.links.store.sweep(at(HOUR))?, 0);
    assert_eq!(scene.links.store.sweep(at(HOUR + 1))?, 1);
    assert_eq!(scene.links.store.sweep(at(HOUR + 1))?, 0);
    // Its files are gone, also for a clock that is set back. Its openings stay for a time.
    assert!(is_over(&scene.manifest(&new, None, 0).await));
    let view = scene.view(1, number, at(HOUR + 1))?;
    assert_eq!((view.state, view.opened, view.openings.len()), (LinkState::Expired, 1, 1));
    assert_eq!(scene.links.store.sweep(at(HOUR + 1 + KEPT_SECONDS))?, 1);
    assert!(scene.links.store.list(patient(1)?, at(0))?.is_empty());
    // A number is never used again.
    assert!(scene.make(1, &new_link(LinkAccess::Manifest, vec![file(1)])?)? > number);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_in_the_manifest_or_at_an_address_that_works_once() -> TestResult {
    let scene = Scene::new()?;
    let files = vec![file(10), file(1000)];
    let new = new_link(LinkAccess::Manifest, files.clone())?;
    scene.make(1, &new)?;
    let open = |most| {
        let request = ManifestRequest { embedded_length_max: most, ..asks(None) };
        let (links, id) = (Arc::clone(&scene.links), new.id);
        async move { links.manifest(&id, request, at(0)).await.map_err(|error| format!("{error:?}")) }
    };
    let whole = open(None).await?;
    for (listed, file) in whole.files.iter().zip(&files) {
        assert!(listed.place == ManifestPlace::Embedded(file.jwe.clone()));
    }
    let exactly = files[0].jwe.len() as u64;
    assert!(matches!(open(Some(exactly - 1)).await?.files[0].place, ManifestPlace::Location(_)));
    let mixed = open(Some(exactly)).await?;
    assert!(matches!(mixed.files[0].place, ManifestPlace::Embedded(_)));
    let ManifestPlace::Location(address) = &mixed.files[1].place else { return Err("too long".into()) };
    let token = address.strip_prefix("https://node.example/v1/shl-files/").ok_or("the node's address")?.parse()?;
    let bytes = scene.links.located_file(&token, at(SECONDS)).await.map_err(|error| format!("{error:?}"))?;
    assert_eq!(bytes, files[1].jwe.as_bytes());
    assert!(is_over(&scene.links.located_file(&token, at(0)).await), "it was used");
    assert!(is_over(&scene.links.located_file(&UrlToken::random(), at(0)).await));
    Ok(())
}

/// A link is opened in one way. The other way gets the answer of a link that does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn a_direct_file_has_no_manifest_and_a_manifest_is_no_file() -> TestResult {
    let scene = Scene::new()?;
    let direct = new_link(LinkAccess::DirectFile, vec![file(10)])?;
    let locked = with_passcode()?;
    let number = scene.make(1, &direct)?;
    scene.make(1, &locked)?;
    assert!(is_over(&scene.manifest(&direct, None, 0).await));
    assert!(is_over(&scene.links.direct_file(&locked.id, "x", at(0)).await), "no way around the passcode");
    let bytes = scene.links.direct_file(&direct.id, "  Dr. Ada ", at(0)).await.map_err(|error| format!("{error:?}"))?;
    assert_eq!(bytes, direct.files[0].jwe.as_bytes());
    for nobody in ["", "  "] {
        assert!(matches!(scene.links.direct_file(&direct.id, nobody, at(0)).await, Err(Unopened::Refused(_))));
    }
    let long = "ä".repeat(10_000);
    assert!(scene.links.direct_file(&direct.id, &long, at(0)).await.is_ok());
    let openings = scene.view(1, number, at(0))?.openings;
    assert_eq!((openings.len(), openings[0].recipient.as_str()), (2, "Dr. Ada"));
    assert_eq!(openings[1].recipient, "ä".repeat(200));
    Ok(())
}

//! Links of patients that open documents to anyone who has them: SMART Health Links 1.0 (HL7).
//!
//! The node keeps ciphertext. The key is in the link, which only the patient's program and the people with the link have.
//! So this is outside of the rollup: no grant, no audit entry and no proof. What the patient sees of a link's openings is
//! this node's word.
//!
//! | file | job |
//! |---|---|
//! | `store.rs` | the tables |
//! | `manage.rs` | making, listing and ending links, with their limits |
//! | `operator.rs` | what the hospital sees of the links, and ends |
//! | `openings.rs` | openings, and the count of wrong passcodes |
//! | `locations.rs` | the addresses of files, which work once |
//! | `sweep.rs` | what expired is removed |

mod locations;
mod manage;
mod openings;
mod operator;
mod store;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use emr_api::{
    LinkAccess, LinkMade, LinkManifest, LinkView, ManifestFile, ManifestPlace, ManifestRequest, NewLink, route,
    url_token::UrlToken,
};
use emr_core::UnixTime;
use emr_crypto::PasscodeVerifier;
use emr_durable::Disk;
use emr_rollup::primitive::keccak::keccak256;
use tokio::sync::Semaphore;

use crate::{
    http::limits::{KeyLocks, Permits, Rate},
    mempool::Principal,
    request_error::RequestError,
};
use locations::Locations;
use store::{Digest, LinkStore, LinksError, Row};
pub(crate) use sweep::run;

/// Openings of a link per minute. The burst is half as many.
const OPENINGS_PER_MINUTE: u32 = 60;
/// Guesses of a link that are checked, one after the other, or wait.
const GUESSES_IN_LINE: usize = 16;
/// Guesses of all links that are checked at the same time. Each takes 16 MiB.
const GUESSES_AT_ONCE: usize = 2;
/// Files up to this size are in the manifest, if the viewer names no other size. Bytes.
const EMBEDDED: u64 = 256 << 10;
/// How many characters of an opener's name are kept.
const RECIPIENT: usize = 200;
/// When to try again if a link's guesses are all in line.
const SOON: Duration = Duration::from_secs(2);

/// The name under which the tables know a token.
fn digest_of(token: &UrlToken) -> Digest {
    keccak256(token.as_bytes())
}

/// Why an opener of a link gets nothing.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The link does not exist, or is over: the same answer for all.
    NotOpen,
    /// The passcode is wrong or missing.
    Passcode {
        /// How many wrong passcodes are left.
        remaining: u32,
    },
    /// The request is not valid, there are too many, or the node cannot answer now.
    Refused(RequestError),
}

impl From<LinksError> for Unopened {
    fn from(error: LinksError) -> Self {
        match error {
            LinksError::NotOpen => Self::NotOpen,
            other => Self::Refused(other.into()),
        }
    }
}

/// The links of this node's patients.
#[derive(Debug)]
pub(crate) struct Links {
    store: LinkStore,
    locations: Mutex<Locations>,
    /// Links whose end was asked for. Nothing of them is served in this process, even if the disk does not take the end.
    stopped: Mutex<BTreeSet<Digest>>,
    rate: Rate<Digest>,
    in_line: Permits<Digest>,
    one_guess: KeyLocks<Digest>,
    one_of_owner: KeyLocks<Principal>,
    guesses: Arc<Semaphore>,
}

impl Links {
    /// The links in a node's folder. Opens no file yet.
    pub(crate) fn new(disk: Disk, folder: &Path) -> Self {
        Self {
            store: LinkStore::new(disk, folder),
            locations: Mutex::default(),
            stopped: Mutex::default(),
            rate: Rate::per_minute(OPENINGS_PER_MINUTE, 2),
            in_line: Permits::new(GUESSES_IN_LINE),
            one_guess: KeyLocks::default(),
            one_of_owner: KeyLocks::default(),
            guesses: Arc::new(Semaphore::new(GUESSES_AT_ONCE)),
        }
    }

    /// Resolves when the file of links is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.store.closed()
    }

    /// Runs blocking work to its end, even if the caller goes away.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, LinksError> + Send + 'static,
    ) -> Result<T, LinksError> {
        let links = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&links)).await;
        done.map_err(|_| LinksError::Refused(RequestError::unavailable("the node is stopping")))?
    }

    /// Makes a patient's link.
    ///
    /// # Errors
    /// [`RequestError`] if the rules, the limits or the disk forbid it.
    pub(crate) async fn create(
        self: &Arc<Self>,
        new: NewLink,
        owner: Principal,
        spare: u64,
        now: UnixTime,
    ) -> Result<LinkMade, RequestError> {
        Ok(self.blocking(move |links| links.store.create(&new, owner, spare, now)).await?)
    }

    /// A patient's links.
    ///
    /// # Errors
    /// [`RequestError`] if the file cannot be used.
    pub(crate) async fn list(self: &Arc<Self>, owner: Principal, now: UnixTime) -> Result<Vec<LinkView>, RequestError> {
        Ok(self.blocking(move |links| links.store.list(owner, now)).await?)
    }

    /// One link of a patient.
    ///
    /// # Errors
    /// `not-found` if the patient has no such link.
    pub(crate) async fn view(
        self: &Arc<Self>,
        owner: Principal,
        number: u32,
        now: UnixTime,
    ) -> Result<LinkView, RequestError> {
        Ok(self.blocking(move |links| links.store.view(owner, number, now)).await?)
    }

    /// Ends a patient's link.
    ///
    /// # Errors
    /// `not-found` if the patient has no such link. `unavailable` if the disk does not take it: then nothing is served until
    /// the node starts again, and the patient must end it again.
    pub(crate) async fn end(
        self: &Arc<Self>,
        owner: Principal,
        number: u32,
        now: UnixTime,
    ) -> Result<(), RequestError> {
        let ended = self.blocking(move |links| {
            let digest = links.store.digest(owner, number)?;
            links.stopped().insert(digest);
            links.store.end(owner, number, now)?;
            // The tables say it from now on.
            links.stopped().remove(&digest);
            Ok(())
        });
        Ok(ended.await?)
    }

    /// Opens a link: notes it, and gives its manifest.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(crate) async fn manifest(
        self: &Arc<Self>,
        id: &UrlToken,
        request: ManifestRequest,
        now: UnixTime,
    ) -> Result<LinkManifest, Unopened> {
        let recipient = recipient(&request.recipient)?;
        let digest = digest_of(id);
        let row = self.openable(digest, now).await?;
        let row = match row.access {
            LinkAccess::DirectFile => return Err(Unopened::NotOpen),
            LinkAccess::Manifest => {
                self.blocking(move |links| links.store.note_opening(&digest, &recipient, now)).await?
            }
            LinkAccess::Passcode { salt, digest: known } => {
                let Some(guess) = request.passcode.filter(|guess| !guess.is_empty()) else {
                    // No guess was made, so none is counted.
                    return Err(Unopened::Passcode { remaining: row.remaining().unwrap_or_default() });
                };
                self.guess((row.owner, digest), guess, PasscodeVerifier { salt, digest: known }, recipient, now).await?
            }
        };
        let most = request.embedded_length_max.unwrap_or(EMBEDDED);
        let read = row.clone();
        let embedded = self.blocking(move |links| links.embedded(&digest, &read, most, now)).await?;
        let mut locations = self.locations.lock().unwrap_or_else(PoisonError::into_inner);
        let files = (0..).zip(row.files.iter().zip(embedded)).map(|(index, (file, embedded))| ManifestFile {
            content_type: file.content_type.clone(),
            place: embedded.map_or_else(
                || {
                    let token = locations.make(digest, index, now);
                    ManifestPlace::Location(format!("{}{}", row.origin, route::shl_file(&token)))
                },
                ManifestPlace::Embedded,
            ),
        });
        Ok(LinkManifest { files: files.collect() })
    }

    /// Opens a link that is a direct file: notes it, and gives the file.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(crate) async fn direct_file(
        self: &Arc<Self>,
        id: &UrlToken,
        by: &str,
        now: UnixTime,
    ) -> Result<Vec<u8>, Unopened> {
        let recipient = recipient(by)?;
        let digest = digest_of(id);
        if self.openable(digest, now).await?.access != LinkAccess::DirectFile {
            return Err(Unopened::NotOpen);
        }
        let opened = self.blocking(move |links| {
            links.store.note_opening(&digest, &recipient, now)?;
            links.store.file(&digest, 0, now)
        });
        Ok(opened.await?)
    }

    /// A file of a manifest. Its address is used up.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(crate) async fn located_file(self: &Arc<Self>, token: &UrlToken, now: UnixTime) -> Result<Vec<u8>, Unopened> {
        let location = self.locations.lock().unwrap_or_else(PoisonError::into_inner).take(token, now);
        let location = location.ok_or(Unopened::NotOpen)?;
        self.expect_not_stopped(&location.link)?;
        Ok(self.blocking(move |links| links.store.file(&location.link, location.file, now)).await?)
    }

    /// A link that can be opened now, and is not opened too often. Only links that exist take memory for the count.
    async fn openable(self: &Arc<Self>, digest: Digest, now: UnixTime) -> Result<Row, Unopened> {
        self.expect_not_stopped(&digest)?;
        let row = self.blocking(move |links| links.store.open_link(&digest, now)).await?;
        let waited = self.rate.check(&digest);
        let slow = |wait| RequestError::too_many("this link is opened too often: wait", wait);
        waited.map(|()| row).map_err(|wait| Unopened::Refused(slow(wait)))
    }

    fn stopped(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_not_stopped(&self, digest: &Digest) -> Result<(), Unopened> {
        if self.stopped().contains(digest) { Err(Unopened::NotOpen) } else { Ok(()) }
    }

    /// Checks a guess. The guesses of a link are checked one after the other, so that a right one is not refused because
    /// others are being checked. Of all guesses of one patient's links, one is checked or waits for a place. So links that are under attack, however many
    /// of one patient, take one place, and the guesses of other patients' links come next.
    async fn guess(
        self: &Arc<Self>,
        (owner, digest): (Principal, Digest),
        guess: String,
        verifier: PasscodeVerifier,
        recipient: String,
        now: UnixTime,
    ) -> Result<Row, Unopened> {
        if guess.len() > PasscodeVerifier::LONGEST {
            return Err(Unopened::Refused(RequestError::malformed("the passcode is longer than any passcode")));
        }
        let place = self.in_line.take(digest);
        let place = place.ok_or_else(|| {
            Unopened::Refused(RequestError::too_many("many passcodes of this link are being checked: wait", SOON))
        })?;
        let turn = (self.one_guess.lock(digest).await, self.one_of_owner.lock(owner).await);
        let permit = Arc::clone(&self.guesses).acquire_owned().await;
        let checked = self.blocking(move |links| {
            // Held until the count is durable, even if the caller goes away.
            let _held = (place, turn, permit);
            let attempt = links.store.begin_attempt(&digest, &recipient, now)?;
            if verifier.admits(&guess) {
                return links.store.attempt_was_right(&attempt, &recipient, now).map(Ok);
            }
            links.store.attempt_was_wrong(&attempt, now)?;
            Ok(Err(attempt.row.remaining().unwrap_or_default()))
        });
        checked.await?.map_err(|remaining| Unopened::Passcode { remaining })
    }

    /// For each file its JWE, if it is not longer than `most` bytes.
    fn embedded(
        &self,
        digest: &Digest,
        row: &Row,
        most: u64,
        now: UnixTime,
    ) -> Result<Vec<Option<String>>, LinksError> {
        let read = |(index, file): (u32, &store::FileRow)| {
            if file.bytes > most {
                return Ok(None);
            }
            String::from_utf8(self.store.file(digest, index, now)?).map(Some).map_err(store::damaged)
        };
        (0..).zip(&row.files).map(read).collect()
    }

    fn forget_locations(&self, now: UnixTime) {
        self.locations.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
    }
}

/// The opener's name, as they say. It is required, and cut to [`RECIPIENT`] characters.
fn recipient(said: &str) -> Result<String, Unopened> {
    let said: String = said.trim().chars().take(RECIPIENT).collect();
    if said.is_empty() {
        return Err(Unopened::Refused(RequestError::malformed("say who opens the link: `recipient` is empty")));
    }
    Ok(said)
}

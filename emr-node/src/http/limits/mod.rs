//! Who may ask how much: by client address before a login, by account after it, and room that only Revokes use.

mod address;
mod place;
mod rate;
mod revokes;
mod turns;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use emr_core::AccountIndex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::http::{
    connections::Peer,
    refusal::Refusal,
    routes::{Account, App, Prover},
};
pub(crate) use address::ClientAddress;
pub(crate) use place::{Place, Places};
use rate::Rate;
use revokes::Revokes;
pub(crate) use turns::{Turn, Turns};

/// What a node serves at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. When all are taken, a new one takes the place of one of the address that holds most.
    pub connections: usize,
    /// Requests a second without a login, from one address; ten times as many at once.
    pub address_rate: NonZeroU32,
    /// Requests a second of one account; five times as many at once.
    pub account_rate: NonZeroU32,
    /// Registrations a minute from one address; half as many at once.
    pub relay_rate: NonZeroU32,
    /// Invitations of one doctor that the hospital pays for in a day (UTC). Its own are not counted.
    pub doctor_invites: u32,
    /// Whether a reverse proxy is in front of this node, so that the last hop of `X-Forwarded-For` says who asks. Then nobody else
    /// may reach the node's port: whoever does can name any address.
    pub behind_proxy: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            connections: 512,
            address_rate: positive(100),
            account_rate: positive(200),
            relay_rate: positive(240),
            doctor_invites: 20,
            behind_proxy: false,
        }
    }
}

/// Requests of one account, or of one address without a login, that are answered at once. Revokes are not counted.
const IN_FLIGHT: usize = 64;
/// Operations that are taken at once, beside Revokes.
const LONG: usize = 96;
/// Operations of one account that are taken at once.
const LONG_PER_ACCOUNT: usize = 8;
/// Registrations that wait to be relayed.
const RELAYS: usize = 16;
/// Registrations of one address that wait to be relayed.
const RELAYS_PER_ADDRESS: usize = 4;
/// When to come back if the queue of registrations is full.
const RELAY_LATER: Duration = Duration::from_secs(10);
/// Proofs of other machines that are verified at once.
const VERIFYING: usize = 2;
/// When to come back if a place was not free.
const SOON: Duration = Duration::from_secs(2);
/// A prover asks every two seconds.
const JOBS_PER_MINUTE: u32 = 60;
/// A proof takes many seconds; verifying one takes milliseconds.
const PROOFS_PER_MINUTE: u32 = 12;

/// Keeps count of what is asked.
#[derive(Debug)]
pub(crate) struct Limiter {
    behind_proxy: bool,
    by_address: Rate<ClientAddress>,
    by_account: Rate<AccountIndex>,
    doors: Rate<(ClientAddress, &'static str)>,
    relays: Rate<ClientAddress>,
    jobs: Rate<String>,
    proofs: Rate<String>,
    in_flight: Places<Asker>,
    long: Arc<Semaphore>,
    long_of_account: Places<AccountIndex>,
    relay_queue: Arc<Semaphore>,
    relays_of_address: Places<ClientAddress>,
    verifying: Semaphore,
    revokes: Revokes,
}

/// One of a key's places, and one of those that all share.
pub(crate) type Held<K> = (Place<K>, OwnedSemaphorePermit);

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            behind_proxy: limits.behind_proxy,
            by_address: Rate::per_second(limits.address_rate, 10),
            by_account: Rate::per_second(limits.account_rate, 5),
            doors: Rate::per_second(limits.address_rate, 10),
            relays: Rate::per_minute(limits.relay_rate.get(), 2),
            jobs: Rate::per_minute(JOBS_PER_MINUTE, 2),
            proofs: Rate::per_minute(PROOFS_PER_MINUTE, 2),
            in_flight: Places::new(IN_FLIGHT),
            long: Arc::new(Semaphore::new(LONG)),
            long_of_account: Places::new(LONG_PER_ACCOUNT),
            relay_queue: Arc::new(Semaphore::new(RELAYS)),
            relays_of_address: Places::new(RELAYS_PER_ADDRESS),
            verifying: Semaphore::new(VERIFYING),
            revokes: Revokes::new(),
        }
    }

    /// Whether a prover may fetch a job now.
    ///
    /// # Errors
    /// `too-many`.
    pub(crate) fn may_fetch_job(&self, prover: &String) -> Result<(), Refusal> {
        self.jobs.check(prover).map_err(|wait| Refusal::too_many("this prover asks too often: wait", wait))
    }

    /// Whether a prover may hand in a proof now. Verifying junk costs this machine's time.
    ///
    /// # Errors
    /// `too-many`.
    pub(crate) fn may_hand_in_proof(&self, prover: &String) -> Result<(), Refusal> {
        self.proofs.check(prover).map_err(|wait| Refusal::too_many("this prover hands in too many proofs: wait", wait))
    }

    /// Whether an address may ask for a registration now.
    ///
    /// # Errors
    /// `too-many`.
    pub(crate) fn may_relay(&self, address: ClientAddress) -> Result<(), Refusal> {
        self.relays.check(&address).map_err(|wait| {
            Refusal::too_many("too many registrations from your address: wait, or register on L1 yourself", wait)
        })
    }

    fn long_place(&self, account: AccountIndex) -> Result<Held<AccountIndex>, Refusal> {
        let own = self.long_of_account.take(account);
        let own = own.ok_or_else(|| Refusal::too_many("this account has many requests at work: wait", SOON))?;
        let global = Arc::clone(&self.long).try_acquire_owned();
        Ok((own, global.map_err(|_| Refusal::busy("this node has much to do: try again in a moment", SOON))?))
    }

    /// A place in the queue of registrations that the hospital relays.
    ///
    /// # Errors
    /// `too-many` if the address has its share; `unavailable` if the queue is full.
    pub(crate) fn relay_place(&self, address: ClientAddress) -> Result<Held<ClientAddress>, Refusal> {
        let own = self.relays_of_address.take(address);
        let own = own.ok_or_else(|| Refusal::too_many("your address has registrations at work: wait", SOON))?;
        let global = Arc::clone(&self.relay_queue).try_acquire_owned();
        Ok((own, global.map_err(|_| Refusal::busy("many registrations wait: try again later", RELAY_LATER))?))
    }

    /// Waits for a turn to verify a proof. Those who wait are bounded by [`Self::may_hand_in_proof`].
    pub(crate) async fn verify_turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.verifying.acquire().await.ok()
    }
}

/// Charges each request to its account, or to its client's address where no login is valid. Holds one of the places of that account or
/// address while the request is answered.
pub(crate) async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let limits = &app.limits;
    let asker = match charge(&app, &mut request) {
        Ok(asker) => asker,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(_place) = limits.in_flight.take(asker) else {
        return Refusal::too_many("many of your requests are at work: wait", SOON).into_response();
    };
    next.run(request).await
}

/// As [`admit`], for what a client asks before it has a token, each of it answered in a millisecond or less. Each such route has a rate that
/// no other request of the address counts against: a patient who shares an address with many others logs in to revoke.
pub(crate) async fn admit_at(door: &'static str, app: Arc<App>, mut request: Request, next: Next) -> Response {
    let address = note_address(&app, &mut request);
    match app.limits.doors.check(&(address, door)) {
        Ok(()) => next.run(request).await,
        Err(wait) => Refusal::too_many("too many requests from your address: wait", wait).into_response(),
    }
}

/// As [`admit`], for Revokes: they wait for no other request, nor count as one.
pub(crate) async fn admit_revoke(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    match charge(&app, &mut request) {
        Ok(_) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Who asks, as far as a limit is concerned: who shares an address with a hostile client shares no limit with it after the login.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    Account(AccountIndex),
    Prover(String),
    Address(ClientAddress),
}

/// Finds the client's address, and leaves it in the request.
fn note_address(app: &App, request: &mut Request) -> ClientAddress {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.address);
    let forwarded = app.limits.behind_proxy.then(|| address::forwarded(request.headers())).flatten();
    let address = forwarded.or(peer).unwrap_or(ClientAddress::UNKNOWN);
    request.extensions_mut().insert(address);
    address
}

fn charge(app: &App, request: &mut Request) -> Result<Asker, Refusal> {
    let address = note_address(app, request);
    let account = Account::of(request.headers(), app).ok().map(|account| account.index());
    let asker = match account {
        Some(account) => Asker::Account(account),
        None => Prover::name_of(request.headers(), app).map_or(Asker::Address(address), Asker::Prover),
    };
    let waited = match &asker {
        Asker::Account(account) => app.limits.by_account.check(account),
        Asker::Address(address) => app.limits.by_address.check(address),
        // Jobs and proofs have rates themselves.
        Asker::Prover(_) => Ok(()),
    };
    waited.map_err(|wait| Refusal::too_many("too many requests: wait", wait))?;
    Ok(asker)
}

/// Takes a place for an account's long request, once its body is there.
pub(crate) async fn take_long(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let place = Account::of(request.headers(), &app).and_then(|account| app.limits.long_place(account.index()));
    match place {
        Ok(_place) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Takes one of the places that only Revokes use, once the body is there.
pub(crate) async fn take_revoke(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let account = match Account::of(request.headers(), &app) {
        Ok(account) => account.index(),
        Err(refusal) => return refusal.into_response(),
    };
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| &peer.0);
    match app.limits.revokes.place(account, peer).await {
        Ok(_place) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

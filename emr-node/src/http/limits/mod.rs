//! Limits of requests: by client address before a login, by account after it, and capacity that only Revokes can use.

mod address;
mod answers;
mod key_locks;
mod permit;
mod rate;
mod revokes;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use emr_core::AccountIndex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::{
    http::{
        connections::Peer,
        routes::{Account, App, Prover},
    },
    request_error::RequestError,
};
pub(crate) use address::ClientAddress;
use answers::Answers;
pub(crate) use key_locks::{KeyLock, KeyLocks};
pub(crate) use permit::{Permit, Permits};
pub(crate) use rate::Rate;
use rate::{ADDRESSES_OF_A_SITE, AddressRate};
use revokes::Revokes;

/// The limits of a node's HTTP service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of connections. If all are taken, a new one replaces one of the address that holds the most.
    pub connections: usize,
    /// Requests per second without a login, per address. The burst is ten times as many.
    pub address_rate: NonZeroU32,
    /// Requests per second per account. The burst is five times as many.
    pub account_rate: NonZeroU32,
    /// Registrations per minute per address. The burst is half as many.
    pub relay_rate: NonZeroU32,
    /// Invitations per doctor and day (UTC) that the hospital pays for. The hospital's own invitations are not counted.
    pub doctor_invites: u32,
    /// Whether a reverse proxy is in front of this node, so that the last hop of `X-Forwarded-For` is the client. Then
    /// nobody else may reach the node's port, because they could claim any address.
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

/// Requests of one account, or of one address without a login, whose answers are made or sent at the same time. Revokes
/// are not counted.
const IN_FLIGHT: usize = 64;
/// Operations that can be processed at the same time, without Revokes.
const LONG: usize = 96;
/// Operations of one account that can be processed at the same time.
const LONG_PER_ACCOUNT: usize = 8;
/// Registrations that can wait to be relayed.
const RELAYS: usize = 16;
/// Registrations of one address that can wait to be relayed.
const RELAYS_PER_ADDRESS: usize = 4;
/// Registrations of one site that can wait to be relayed.
const RELAYS_PER_SITE: usize = 8;
/// When to try again if the queue of registrations is full.
const RELAY_LATER: Duration = Duration::from_secs(10);
/// Proofs of other machines that can be verified at the same time.
const VERIFYING: usize = 2;
/// When to try again if no permit was free.
const SOON: Duration = Duration::from_secs(2);
/// Job requests per minute and prover. A prover asks every two seconds.
const JOBS_PER_MINUTE: u32 = 60;
/// Proofs per minute and prover. Making a proof takes many seconds, and verifying it takes milliseconds.
const PROOFS_PER_MINUTE: u32 = 12;

/// Requests for the slot of an emergency grant per minute and account. The burst is half as many.
const EMERGENCIES_PER_MINUTE: u32 = 30;

/// Counts requests and enforces the limits.
#[derive(Debug)]
pub(crate) struct Limiter {
    behind_proxy: bool,
    by_address: AddressRate,
    by_account: Rate<AccountIndex>,
    doors: AddressRate<&'static str>,
    relays: AddressRate,
    jobs: Rate<String>,
    proofs: Rate<String>,
    emergencies: Rate<AccountIndex>,
    in_flight: Permits<Asker>,
    /// The same for a whole site, for requests without a login.
    in_flight_of_site: Permits<Asker>,
    long: Arc<Semaphore>,
    long_of_account: Permits<AccountIndex>,
    relay_queue: Arc<Semaphore>,
    relays_of_address: Permits<ClientAddress>,
    relays_of_site: Permits<ClientAddress>,
    verifying: Semaphore,
    revokes: Revokes,
    answers: Answers,
}

/// One of a key's permits, and one of the permits that all share.
pub(crate) type Held<K> = (Permit<K>, OwnedSemaphorePermit);

/// The permits that a request holds until its answer is sent: its account's or address's, and its site's.
type Taken = (Permit<Asker>, Option<Permit<Asker>>);

fn times(rate: NonZeroU32, many: u32) -> NonZeroU32 {
    rate.saturating_mul(NonZeroU32::new(many).unwrap_or(NonZeroU32::MIN))
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            behind_proxy: limits.behind_proxy,
            by_address: AddressRate::new(|many| Rate::per_second(times(limits.address_rate, many), 10)),
            by_account: Rate::per_second(limits.account_rate, 5),
            doors: AddressRate::new(|many| Rate::per_second(times(limits.address_rate, many), 10)),
            relays: AddressRate::new(|many| Rate::per_minute(times(limits.relay_rate, many).get(), 2)),
            jobs: Rate::per_minute(JOBS_PER_MINUTE, 2),
            proofs: Rate::per_minute(PROOFS_PER_MINUTE, 2),
            emergencies: Rate::per_minute(EMERGENCIES_PER_MINUTE, 2),
            in_flight: Permits::new(IN_FLIGHT),
            in_flight_of_site: Permits::new(IN_FLIGHT * ADDRESSES_OF_A_SITE as usize),
            long: Arc::new(Semaphore::new(LONG)),
            long_of_account: Permits::new(LONG_PER_ACCOUNT),
            relay_queue: Arc::new(Semaphore::new(RELAYS)),
            relays_of_address: Permits::new(RELAYS_PER_ADDRESS),
            relays_of_site: Permits::new(RELAYS_PER_SITE),
            verifying: Semaphore::new(VERIFYING),
            revokes: Revokes::new(),
            answers: Answers::new(),
        }
    }

    /// Counts a prover's request for a job.
    ///
    /// # Errors
    /// Returns `too-many` above the rate.
    pub(crate) fn may_fetch_job(&self, prover: &String) -> Result<(), RequestError> {
        self.jobs.check(prover).map_err(|wait| RequestError::too_many("this prover asks too often: wait", wait))
    }

    /// Counts a prover's proof. Verifying junk would cost this machine's time.
    ///
    /// # Errors
    /// Returns `too-many` above the rate.
    pub(crate) fn may_hand_in_proof(&self, prover: &String) -> Result<(), RequestError> {
        self.proofs
            .check(prover)
            .map_err(|wait| RequestError::too_many("this prover hands in too many proofs: wait", wait))
    }

    /// Counts an account's request for the slot of an emergency grant.
    ///
    /// # Errors
    /// Returns `too-many` above the rate.
    pub(crate) fn may_ask_for_emergency(&self, account: AccountIndex) -> Result<(), RequestError> {
        let waited = self.emergencies.check(&account);
        waited.map_err(|wait| RequestError::too_many("too many requests for emergency grants: wait", wait))
    }

    /// Counts an address's request for a registration.
    ///
    /// # Errors
    /// Returns `too-many` above the rate.
    pub(crate) fn may_relay(&self, address: ClientAddress) -> Result<(), RequestError> {
        self.relays.check(address, ()).map_err(|wait| {
            RequestError::too_many("too many registrations from your address: wait, or register on L1 yourself", wait)
        })
    }

    fn long_permit(&self, account: AccountIndex) -> Result<Held<AccountIndex>, RequestError> {
        let own = self.long_of_account.take(account);
        let own = own.ok_or_else(|| RequestError::too_many("this account has many requests at work: wait", SOON))?;
        let global = Arc::clone(&self.long).try_acquire_owned();
        Ok((own, global.map_err(|_| RequestError::busy("this node has much to do: try again in a moment", SOON))?))
    }

    /// Takes a permit in the queue of registrations that the hospital relays.
    ///
    /// # Errors
    /// Returns `too-many` if the address has used its share, and `unavailable` if the queue is full.
    pub(crate) fn relay_permit(
        &self,
        address: ClientAddress,
    ) -> Result<(Permit<ClientAddress>, Held<ClientAddress>), RequestError> {
        let own = self.relays_of_address.take(address).zip(self.relays_of_site.take(address.site()));
        let (own, site) =
            own.ok_or_else(|| RequestError::too_many("your address has registrations at work: wait", SOON))?;
        let global = Arc::clone(&self.relay_queue).try_acquire_owned();
        let global = global.map_err(|_| RequestError::busy("many registrations wait: try again later", RELAY_LATER))?;
        Ok((own, (site, global)))
    }

    /// Takes the permits for a request that is answered; `None` if all of the asker's are taken.
    fn answer_permit(&self, asker: &Asker) -> Option<Taken> {
        let own = self.in_flight.take(asker.clone())?;
        match asker {
            Asker::Address(_) => Some((own, Some(self.in_flight_of_site.take(asker.site())?))),
            Asker::Account(_) | Asker::Prover(_) => Some((own, None)),
        }
    }

    /// Waits for the permit to verify a proof. [`Self::may_hand_in_proof`] bounds the number of waiting requests.
    pub(crate) async fn verify_permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.verifying.acquire().await.ok()
    }
}

/// Charges each request to its account, or without a valid login to its client's address. Holds one of the permits of
/// that account or address until the answer is sent.
pub(crate) async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let limits = &app.limits;
    let asker = match charge(&app, &mut request) {
        Ok(asker) => asker,
        Err(error) => return error.into_response(),
    };
    let Some(permit) = limits.answer_permit(&asker) else {
        return RequestError::too_many("many of your requests are at work: wait", SOON).into_response();
    };
    let connection = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.clone());
    let response = next.run(request).await;
    limits.answers.hold(response, asker.site(), permit, connection).await
}

/// The same as [`admit`], for requests before a client has a token. Each is answered in about a millisecond. Each such
/// route has a separate rate, against which other requests of the address do not count. So a patient who shares an
/// address with many others can log in to revoke.
pub(crate) async fn admit_at(door: &'static str, app: Arc<App>, mut request: Request, next: Next) -> Response {
    let address = note_address(&app, &mut request);
    match app.limits.doors.check(address, door) {
        Ok(()) => next.run(request).await,
        Err(wait) => RequestError::too_many("too many requests from your address: wait", wait).into_response(),
    }
}

/// The same as [`admit`], for Revokes. They do not wait for other requests, and do not count as one.
pub(crate) async fn admit_revoke(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    match charge(&app, &mut request) {
        Ok(_) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// The account or address that a limit counts: the account after a login, else the address. So a client that shares an
/// address with a hostile client shares no limit with it after the login.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    Account(AccountIndex),
    Prover(String),
    Address(ClientAddress),
}

impl Asker {
    /// The same, with the site in place of an address.
    fn site(&self) -> Self {
        match self {
            Self::Address(address) => Self::Address(address.site()),
            other => other.clone(),
        }
    }
}

/// Finds the client's address and stores it in the request.
fn note_address(app: &App, request: &mut Request) -> ClientAddress {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.address);
    let forwarded = app.limits.behind_proxy.then(|| address::forwarded(request.headers())).flatten();
    let address = forwarded.or(peer).unwrap_or(ClientAddress::UNKNOWN);
    request.extensions_mut().insert(address);
    address
}

fn charge(app: &App, request: &mut Request) -> Result<Asker, RequestError> {
    let address = note_address(app, request);
    let account = Account::of(request.headers(), app).ok().map(|account| account.index());
    let asker = match account {
        Some(account) => Asker::Account(account),
        None => Prover::name_of(request.headers(), app).map_or(Asker::Address(address), Asker::Prover),
    };
    let waited = match &asker {
        Asker::Account(account) => app.limits.by_account.check(account),
        Asker::Address(address) => app.limits.by_address.check(*address, ()),
        // Jobs and proofs have their own rates.
        Asker::Prover(_) => Ok(()),
    };
    waited.map_err(|wait| RequestError::too_many("too many requests: wait", wait))?;
    Ok(asker)
}

/// Takes a permit for an account's long request after its body was read.
pub(crate) async fn take_long(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let permit = Account::of(request.headers(), &app).and_then(|account| app.limits.long_permit(account.index()));
    match permit {
        Ok(_permit) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Takes one of the permits that only Revokes can use, after the body was read.
pub(crate) async fn take_revoke(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let account = match Account::of(request.headers(), &app) {
        Ok(account) => account.index(),
        Err(error) => return error.into_response(),
    };
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| &peer.0);
    match app.limits.revokes.permit(account, peer).await {
        Ok(_permit) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

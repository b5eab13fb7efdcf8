//! The routes of [`emr_api::route`], with their limits.

mod accounts;
mod audit;
mod batches;
mod blocks;
mod delegates;
mod emergency;
mod extract;
mod invitations;
mod links;
mod login;
mod operations;
mod patients;
mod prover;
mod shl;
mod status;
mod storage;
mod versions;

use std::{hash::RandomState, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, post},
};
use emr_api::{NewLink, route};
use emr_core::AccountIndex;
use emr_ipfs::MAX_BLOCK_BYTES;
use tokio::sync::watch;

use crate::{
    engine::Engine,
    http::{
        limits::{Limiter, Limits, admit, admit_at, admit_revoke, take_long, take_revoke},
        login::Logins,
        origins::Origins,
        server::{TimeLimit, finish, limit_time, read_body},
    },
    links::Links,
    pipeline::Pipeline,
    request_error::RequestError,
};
pub(crate) use extract::{Account, Prover};
use invitations::Inviters;

/// The largest JSON body.
const MAX_JSON: usize = 64 << 10;
/// The largest proof that is read. Real proofs have a few kilobytes.
const MAX_PROOF: usize = 64 << 10;
/// The largest new link: its files, and their names.
const MAX_LINK: usize = NewLink::MAX_BYTES + (64 << 10);

/// The state that all routes share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) logins: Logins,
    pub(crate) limits: Limiter,
    /// The addresses of this node for which logins are valid.
    origins: Origins,
    pub(crate) links: Arc<Links>,
    inviters: Inviters,
    /// The order in which each doctor gets the slots for emergency grants.
    emergency_order: RandomState,
    /// Invitations per doctor and day that the hospital pays for.
    doctor_invites: u32,
}

type Shared = axum::extract::State<Arc<App>>;

impl App {
    pub(crate) fn new(pipeline: Arc<Pipeline>, links: Arc<Links>, limits: &Limits, origins: Origins) -> Self {
        let logins = Logins::new(pipeline.engine.domain);
        Self {
            pipeline,
            logins,
            limits: Limiter::new(limits),
            origins,
            links,
            inviters: Inviters::default(),
            emergency_order: RandomState::new(),
            doctor_invites: limits.doctor_invites,
        }
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.pipeline.engine
    }

    /// The hospital's account.
    fn hospital(&self) -> Result<AccountIndex, RequestError> {
        let hospital = self.engine().state().hospital;
        hospital.ok_or_else(|| RequestError::unavailable("this hospital is not registered yet: register it first"))
    }

    fn require_hospital(&self, account: &Account) -> Result<(), RequestError> {
        if account.index() == self.hospital()? {
            return Ok(());
        }
        Err(RequestError::forbidden("only the hospital may do this: log in as the hospital"))
    }
}

/// Every route with its limits.
pub(crate) fn router(app: Arc<App>, stopped: watch::Receiver<bool>) -> Router {
    let short = from_fn_with_state(TimeLimit::short(stopped.clone()), limit_time);
    let quick = Router::new()
        .route(route::ACCOUNT, get(accounts::get))
        .route(route::BLOCK, get(blocks::get))
        .route(route::DROPPED_BLOCKS, post(blocks::give_up))
        .route(route::OPERATION, get(operations::get))
        .route(route::PATIENT, get(patients::get))
        .route(route::SUBTREE, get(patients::subtree))
        .route(route::GRANTS, get(patients::grants))
        .route(route::DELEGATED_GRANTS, get(delegates::given))
        .route(route::MANAGED_GRANTS, get(delegates::managed))
        .route(route::EMERGENCY_SLOT, get(emergency::slot))
        .route(route::AUDIT, get(audit::page))
        .route(route::STORAGE, get(storage::get))
        .route(route::RECORDS, get(patients::records))
        .route(route::RECORD, get(patients::record))
        .route(route::VERSIONS, get(versions::page))
        .route(route::BATCH, get(batches::get))
        .route(route::PROOF_JOB, get(prover::job))
        .route(route::PROVERS, get(prover::list).post(prover::add))
        .route(route::PROVER, delete(prover::remove))
        .route(route::LINKS, get(links::list))
        .route(route::LINK, get(links::get).delete(links::end))
        .route(route::HOSPITAL_LINKS, get(links::page))
        .route(route::HOSPITAL_LINK, delete(links::end_for_hospital))
        .route(route::INVITERS, get(invitations::list))
        .route(route::INVITER, delete(invitations::end).put(invitations::resume))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(short.clone());
    let door = |door| {
        from_fn_with_state(Arc::clone(&app), move |app: State<Arc<App>>, request, next| {
            admit_at(door, app.0, request, next)
        })
    };
    let doors = Router::new()
        .route(route::STATUS, get(status::get).layer(door(route::STATUS)))
        .route(route::CHALLENGE, post(login::challenge).layer(door(route::CHALLENGE)))
        .route(route::LOGIN, post(login::login).layer(door(route::LOGIN)))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(short.clone());
    // Callers without a login are refused before the body is read.
    let login = from_fn_with_state(Arc::clone(&app), extract::require_login);
    let blocks = Router::new()
        .route(route::BLOCKS, post(blocks::put))
        .layer(DefaultBodyLimit::max(MAX_BLOCK_BYTES))
        .layer(login.clone())
        .layer(short.clone());
    let long_time = from_fn_with_state(TimeLimit::long(stopped), limit_time);
    let body = from_fn_with_state(MAX_PROOF.max(MAX_JSON), read_body);
    // A place is taken after the body was read, so slow senders take none.
    let place = from_fn_with_state(Arc::clone(&app), take_long);
    let operations = Router::new()
        .route(route::OPERATIONS, post(operations::submit))
        .route(route::SEAL, post(batches::seal))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(place.clone())
        .layer(body.clone())
        .layer(login.clone())
        .layer(long_time.clone());
    let new_links = Router::new()
        .route(route::LINKS, post(links::create))
        .layer(DefaultBodyLimit::max(MAX_LINK))
        .layer(place)
        .layer(from_fn_with_state(MAX_LINK, read_body))
        .layer(login.clone())
        .layer(short.clone());
    let shl = Router::new()
        .route(route::SHL, post(shl::manifest).get(shl::direct_file).options(shl::preflight))
        .route(route::SHL_FILE, get(shl::located_file).options(shl::preflight))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(short)
        .layer(from_fn_with_state(Arc::clone(&app), admit))
        .layer(from_fn(shl::for_all_origins));
    let open = Router::new()
        .route(route::ACCOUNTS, post(accounts::register))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .route(route::PROOF, post(prover::proof))
        .layer(DefaultBodyLimit::max(MAX_PROOF))
        .layer(body.clone())
        .layer(long_time.clone());
    let revokes = Router::new()
        .route(route::REVOKES, post(operations::revoke))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(from_fn_with_state(Arc::clone(&app), take_revoke))
        .layer(body)
        .layer(login)
        .layer(long_time)
        .layer(from_fn_with_state(Arc::clone(&app), admit_revoke));
    let ordinary = quick.merge(blocks).merge(operations).merge(new_links).merge(open);
    let ordinary = ordinary.layer(from_fn_with_state(Arc::clone(&app), admit));
    ordinary.merge(doors).merge(revokes).merge(shl).layer(from_fn(finish)).with_state(app)
}

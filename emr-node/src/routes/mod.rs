//! The paths of `emr_client::api`.

mod accounts;
mod batches;
mod blocks;
mod extract;
mod login;
mod operations;
mod patients;
mod prover;
mod status;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use emr_core::AccountIndex;
use emr_ipfs::MAX_BLOCK_BYTES;
use tokio::sync::watch;

use crate::{
    http::{TimeLimit, finish, limit_time, read_body},
    login::Logins,
    pipeline::Pipeline,
    refusal::Refusal,
    sequencer::Sequencer,
};
use accounts::Relays;
use extract::Account;

/// The largest JSON body.
const MAX_JSON: usize = 64 << 10;
/// The largest proof that is looked at; every proof has a few kilobytes.
const MAX_PROOF: usize = 64 << 10;

/// What every route works on.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) logins: Logins,
    relays: Relays,
}

type Shared = axum::extract::State<Arc<App>>;

impl App {
    pub(crate) fn new(pipeline: Arc<Pipeline>) -> Self {
        let logins = Logins::new(pipeline.sequencer.domain);
        Self { pipeline, logins, relays: Relays::default() }
    }

    fn sequencer(&self) -> &Arc<Sequencer> {
        &self.pipeline.sequencer
    }

    /// The hospital's own account.
    fn hospital(&self) -> Result<AccountIndex, Refusal> {
        let hospital = self.sequencer().state().hospital;
        hospital.ok_or_else(|| Refusal::unavailable("this hospital is not registered yet: register it first"))
    }

    fn require_hospital(&self, account: &Account) -> Result<(), Refusal> {
        if account.0 == self.hospital()? {
            return Ok(());
        }
        Err(Refusal::forbidden("only the hospital may do this: log in as the hospital"))
    }
}

/// Every route with its limits.
pub(crate) fn router(app: Arc<App>, stopped: watch::Receiver<bool>) -> Router {
    let short = from_fn_with_state(TimeLimit::short(stopped.clone()), limit_time);
    let quick = Router::new()
        .route("/v1/status", get(status::get))
        .route("/v1/accounts/{account}", get(accounts::get))
        .route("/v1/login/challenge", post(login::challenge))
        .route("/v1/login", post(login::login))
        .route("/v1/blocks/{cid}", get(blocks::get))
        .route("/v1/operations/{id}", get(operations::get))
        .route("/v1/patients/{patient}", get(patients::get))
        .route("/v1/patients/{patient}/subtree", get(patients::subtree))
        .route("/v1/patients/{patient}/records", get(patients::records))
        .route("/v1/patients/{patient}/records/{slot}", get(patients::record))
        .route("/v1/batches/{number}", get(batches::get))
        .route("/v1/prover/job", get(prover::job))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(short.clone());
    let blocks = Router::new()
        .route("/v1/blocks", post(blocks::put))
        .layer(DefaultBodyLimit::max(MAX_BLOCK_BYTES))
        // Before the body is read.
        .layer(from_fn_with_state(Arc::clone(&app), extract::require_login))
        .layer(short.clone());
    let long = Router::new()
        .route("/v1/accounts", post(accounts::register))
        .route("/v1/operations", post(operations::submit))
        .route("/v1/batches/seal", post(batches::seal))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .route("/v1/prover/jobs/{number}", post(prover::proof))
        .layer(DefaultBodyLimit::max(MAX_PROOF))
        .layer(from_fn_with_state(MAX_PROOF.max(MAX_JSON), read_body))
        .layer(from_fn_with_state(TimeLimit::long(stopped), limit_time));
    quick.merge(blocks).merge(long).layer(from_fn(finish)).with_state(app)
}

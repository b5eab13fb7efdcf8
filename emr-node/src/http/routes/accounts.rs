//! Registration for owners without ether, and what the state says of accounts.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, Bytes, U256},
    providers::Provider,
};
use axum::{Extension, extract::State};
use emr_api::{AccountView, IdentityProof, Registered, RelayRegistration};
use emr_chain::{CurvePoint, Registration, Revert, RollupError, RsaPossession, SignedRegistration};
use emr_core::{AccountIndex, Opaque, Role};
use emr_rollup::{primitive::field, state::ledger::Ledger, statement::IdentityFields};

use super::{
    App, Shared,
    extract::{Json, Path},
};
use crate::http::{limits::ClientAddress, refusal::Refusal};

/// How long a registration waits for those before it.
const RELAY_WAIT: Duration = Duration::from_secs(60);
/// When to come back after that.
const RELAY_LATER: Duration = Duration::from_secs(10);
/// How many registrations the hospital pays for in [`RELAY_WINDOW`].
const RELAYS: usize = 60;
/// See [`RELAYS`].
const RELAY_WINDOW: Duration = Duration::from_secs(60);

/// When registrations were relayed lately.
#[derive(Debug, Default)]
pub(super) struct Relays(Mutex<VecDeque<Instant>>);

impl Relays {
    fn take(&self) -> Result<(), Refusal> {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while lately.front().is_some_and(|at| at.elapsed() > RELAY_WINDOW) {
            lately.pop_front();
        }
        if lately.len() >= RELAYS {
            return Err(Refusal::unavailable(
                "this node has relayed many registrations just now: try again in a minute, or register on L1 yourself",
            ));
        }
        lately.push_back(Instant::now());
        Ok(())
    }

    /// The last one was not sent.
    fn give_back(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
    }
}

fn bytes(what: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| Refusal::malformed(format!("{what} must be hex")))
}

fn signed(relay: &RelayRegistration) -> Result<SignedRegistration, Refusal> {
    let owner: Address = relay.owner.parse().map_err(|_| Refusal::malformed("the owner must be an address"))?;
    let q = CurvePoint { x: field::to_bytes(&relay.q_x), y: field::to_bytes(&relay.q_y) };
    let key = || -> Result<RsaPossession, Refusal> {
        Ok(RsaPossession {
            modulus: bytes("the RSA modulus", &relay.rsa_modulus)?,
            signature: bytes("the RSA signature", &relay.rsa_signature)?,
        })
    };
    let registration = match relay.role {
        Role::Patient => {
            let commitment = Opaque::from_be_bytes32(field::to_bytes(&relay.encryption));
            Registration::patient(q, commitment.map_err(|error| Refusal::malformed(error.to_string()))?)
        }
        Role::Doctor => Registration::doctor(q, relay.org, key()?),
        Role::Hospital => Registration::hospital(q, key()?),
    };
    let signature: Bytes = bytes("the signature", &relay.signature)?.into();
    Ok(SignedRegistration { registration, owner, deadline: relay.deadline, signature })
}

/// What L1 says of a registration. Told by an estimate, before it costs gas.
fn refusal(error: RollupError) -> Refusal {
    match error {
        RollupError::Reverted(reason) => Refusal::refused(reason.to_string()),
        error @ RollupError::TooMuchGas { .. } => Refusal::refused(error.to_string()),
        error @ RollupError::NotMined { .. } => Refusal::unavailable(error.to_string()),
        other => {
            tracing::warn!(error = %other, "relaying a registration failed");
            Refusal::unavailable("L1 does not take the registration at present: try again later")
        }
    }
}

/// Refuses what the hospital would not pay for, without taking a turn from anybody: forgeries by this machine alone, the rest by
/// asking the Ethereum node. A contract decides itself how much gas its signature costs.
async fn worth_relaying(app: &App, signed: &SignedRegistration) -> Result<(), Refusal> {
    let rollup = &app.pipeline.follower.rollup;
    if !signed.is_signed_by_owner(rollup.instance()) {
        let forged = Revert::InvalidOwnerSignature(signed.owner);
        return Err(Refusal::refused(format!("{forged}; an owner that is a contract registers on L1 itself")));
    }
    if signed.deadline < app.sequencer().clock.now() {
        return Err(Refusal::refused(Revert::RegistrationExpired(U256::from(signed.deadline.get())).to_string()));
    }
    let code = rollup.provider().get_code_at(signed.owner).await.map_err(|error| refusal(error.into()))?;
    if !code.is_empty() {
        return Err(Refusal::refused(format!("{} is a contract: register it on L1 yourself", signed.owner)));
    }
    rollup.check_register_for(signed).await.map_err(refusal)
}

pub(super) async fn register(
    State(app): Shared,
    Extension(address): Extension<ClientAddress>,
    Json(relay): Json<RelayRegistration>,
) -> Result<axum::Json<Registered>, Refusal> {
    let signed = signed(&relay)?;
    app.limits.may_relay(address)?;
    let _place = app.limits.relay_place(address)?;
    worth_relaying(&app, &signed).await?;
    let pipeline = &app.pipeline;
    let relayed = {
        let _turn = tokio::time::timeout(RELAY_WAIT, pipeline.l1_turn.to_relay())
            .await
            .map_err(|_| Refusal::busy("L1 takes registrations slowly at present: try again later", RELAY_LATER))?;
        app.relays.take()?;
        let relayed = pipeline.follower.rollup.register_for(&signed).await;
        if matches!(relayed, Err(RollupError::Reverted(_) | RollupError::TooMuchGas { .. })) {
            app.relays.give_back();
        }
        relayed
    };
    let (account, receipt) = relayed.map_err(refusal)?;
    // So that whoever registered is known here at once. If L1 cannot be read now, the follower will.
    let _ = pipeline.follower.sync(app.sequencer()).await;
    Ok(axum::Json(Registered { account, tx_hash: receipt.tx_hash.to_string() }))
}

pub(super) async fn get(
    State(app): Shared,
    Path(account): Path<AccountIndex>,
) -> Result<axum::Json<AccountView>, Refusal> {
    let state = app.sequencer().state();
    let identity = state.soft.identity(account).ok_or_else(|| {
        Refusal::not_found(format!(
            "account {account} is not registered, or waits for the registrar: check the number, or ask the registrar"
        ))
    })?;
    let settled = state.settled.identity(account).is_some();
    Ok(axum::Json(AccountView {
        account,
        role: identity.role,
        status: identity.status,
        org: identity.org,
        epoch: identity.epoch,
        identity: IdentityFields::from(identity),
        settled,
        proof: settled.then(|| identity_proof(&state.settled, state.batches, account)),
    }))
}

fn identity_proof(settled: &Ledger, batch: u64, account: AccountIndex) -> IdentityProof {
    let trees = settled.trees();
    IdentityProof {
        batch,
        path: trees.identity_path(account),
        identity_root: trees.identity_root(),
        medical_root: trees.medical_root(),
    }
}

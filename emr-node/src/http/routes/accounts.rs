//! Registration of owners without ether, and accounts in the state.

use std::time::Duration;

use alloy::{
    primitives::{Bytes, U256},
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
    invitations,
};
use crate::{
    http::limits::ClientAddress,
    mempool::{InvitationUse, Invited},
    request_error::RequestError,
};

/// How long a registration waits for the registrations before it.
const RELAY_WAIT: Duration = Duration::from_secs(60);
/// When to try again after that.
const RELAY_LATER: Duration = Duration::from_secs(10);

fn signed(relay: RelayRegistration) -> Result<SignedRegistration, RequestError> {
    let q = CurvePoint { x: field::to_bytes(&relay.q_x), y: field::to_bytes(&relay.q_y) };
    let key = RsaPossession { modulus: relay.rsa_modulus, kem: relay.kem_hash, signature: relay.rsa_signature };
    let registration = match relay.role {
        Role::Patient => {
            let commitment = Opaque::from_be_bytes32(field::to_bytes(&relay.encryption));
            Registration::patient(q, commitment.map_err(|error| RequestError::malformed(error.to_string()))?)
        }
        Role::Doctor => Registration::doctor(q, relay.org, key),
        Role::Hospital => Registration::hospital(q, key),
    };
    let signature = Bytes::copy_from_slice(&relay.signature);
    Ok(SignedRegistration { registration, owner: relay.owner, deadline: relay.deadline, signature })
}

/// Converts L1's reason for refusing a registration. A gas estimate gives it, before the transaction costs gas.
pub(super) fn l1_failed(error: RollupError) -> RequestError {
    match error {
        RollupError::Reverted(reason) => RequestError::refused(reason.to_string()),
        error @ RollupError::TooMuchGas { .. } => RequestError::refused(error.to_string()),
        error @ RollupError::NotMined { .. } => RequestError::unavailable(error.to_string()),
        other => {
            tracing::warn!(error = %other, "relaying a registration failed");
            RequestError::unavailable("L1 does not take the registration at present: try again later")
        }
    }
}

/// Refuses registrations for which the hospital would not pay. Makes nobody else wait: detects forgeries on
/// this machine, and asks the Ethereum node about the rest. Refuses contracts, because a contract decides how much gas
/// its signature costs.
async fn worth_relaying(app: &App, signed: &SignedRegistration) -> Result<(), RequestError> {
    let rollup = &app.pipeline.follower.rollup;
    if !signed.is_signed_by_owner(rollup.instance()) {
        let forged = Revert::InvalidOwnerSignature(signed.owner);
        return Err(RequestError::refused(format!("{forged}; an owner that is a contract registers on L1 itself")));
    }
    if signed.deadline < app.engine().clock.now() {
        return Err(RequestError::refused(Revert::RegistrationExpired(U256::from(signed.deadline.get())).to_string()));
    }
    let code = rollup.provider().get_code_at(signed.owner).await.map_err(|error| l1_failed(error.into()))?;
    if !code.is_empty() {
        return Err(RequestError::refused(format!("{} is a contract: register it on L1 yourself", signed.owner)));
    }
    rollup.check_register_for(signed).await.map_err(l1_failed)
}

pub(super) async fn register(
    State(app): Shared,
    Extension(address): Extension<ClientAddress>,
    Json(relay): Json<RelayRegistration>,
) -> Result<axum::Json<Registered>, RequestError> {
    let invitation = relay.invitation;
    let signed = signed(relay)?;
    app.limits.may_relay(address)?;
    // Checked before taking a permit, so that strangers without an invitation make nobody wait.
    let asked = invitations::check(&app, invitation.as_ref(), signed.owner).await?;
    let invited = app.engine().mempool.invited(&asked, app.engine().clock.now())?;
    if let Some(registered) = registered_before(&app, invited, &asked).await? {
        return Ok(registered);
    }
    invitations::allow(invited)?;
    if let Some(invitation) = &invitation {
        invitations::check_standing(&app, invitation.inviter(), &asked).await?;
    }
    let _permit = app.limits.relay_permit(address)?;
    worth_relaying(&app, &signed).await?;
    relay_invited(&app, &signed, asked).await
}

/// Uses the invitation and sends the transaction. If L1 would refuse, the invitation stays unused. Once the use is on
/// disk, the invitation belongs to this owner. They can repeat the request, whatever happens next.
async fn relay_invited(
    app: &App,
    signed: &SignedRegistration,
    asked: InvitationUse,
) -> Result<axum::Json<Registered>, RequestError> {
    let pipeline = &app.pipeline;
    let sending = tokio::time::timeout(RELAY_WAIT, pipeline.l1_lock.to_relay());
    let sending = sending
        .await
        .map_err(|_| RequestError::busy("L1 takes registrations slowly at present: try again later", RELAY_LATER))?;
    // Another request may have registered the same owner while this one waited.
    let invited = app.engine().mempool.invited(&asked, app.engine().clock.now())?;
    if let Some(registered) = registered_before(app, invited, &asked).await? {
        return Ok(registered);
    }
    let rollup = &pipeline.follower.rollup;
    rollup.check_register_for(signed).await.map_err(l1_failed)?;
    let used = app.engine().write(move |engine| engine.mempool.use_invitation(&asked, engine.clock.now()));
    invitations::allow(used.await??)?;
    let (account, receipt) = rollup.register_for(signed).await.map_err(l1_failed)?;
    drop(sending);
    // Follows L1, so that the node knows the new account at once. If L1 cannot be read now, the follower will read it
    // later.
    let _ = pipeline.follower.sync(app.engine()).await;
    Ok(axum::Json(Registered { account, tx_hash: receipt.tx_hash }))
}

/// The account that the owner got with this invitation, if the request is a repetition.
async fn registered_before(
    app: &App,
    invited: Invited,
    asked: &InvitationUse,
) -> Result<Option<axum::Json<Registered>>, RequestError> {
    if !matches!(invited, Invited::Again | Invited::Exhausted) {
        return Ok(None);
    }
    let rollup = &app.pipeline.follower.rollup;
    let Some(account) = rollup.account_of(asked.owner).await.map_err(l1_failed)? else { return Ok(None) };
    let Some(receipt) = rollup.registration_of(account).await.map_err(l1_failed)? else { return Ok(None) };
    Ok(Some(axum::Json(Registered { account, tx_hash: receipt.tx_hash })))
}

pub(super) async fn get(
    State(app): Shared,
    Path(account): Path<AccountIndex>,
) -> Result<axum::Json<AccountView>, RequestError> {
    let state = app.engine().state();
    // What is settled can be proved. An entry that waits on L1 may change it.
    let settled = state.settled.identity(account);
    let identity = settled.or_else(|| state.soft.identity(account)).ok_or_else(|| {
        RequestError::not_found(format!(
            "account {account} is not registered, or waits for the registrar: check the number, or ask the registrar"
        ))
    })?;
    let settled = settled.is_some();
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

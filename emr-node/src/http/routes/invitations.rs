//! Checks invitations. The hospital pays for a registration if the hospital itself, or one of its doctors, signed the
//! invitation. The registrar also admits doctors of other hospitals, and doctors without a hospital. This hospital does
//! not pay for the people whom those invite.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy::{primitives::Address, providers::DynProvider};
use axum::{Json, extract::State, http::StatusCode};
use emr_api::{
    InviterView,
    form::{AddressText, As},
    invitation::Invitation,
};
use emr_chain::{Rollup, Standing};
use emr_core::{AccountIndex, AccountStatus, Role};
use serde::Deserialize;

use super::{
    App, Shared,
    extract::{Account, Path},
};
use crate::{
    mempool::{InvitationUse, Invited, Principal},
    request_error::RequestError,
};

/// Advice for people without an invitation.
const OTHER_WAY: &str = "or pay the fee on L1 yourself (register --own-ether)";

/// Checks an invitation, except whether it was used. Writes nothing. `owner` is the person who wants to register with
/// it. Forged invitations cost the Ethereum node no requests: it names the owner of a doctor's account once for many.
pub(super) async fn check(
    app: &App,
    invitation: Option<&Invitation>,
    owner: Address,
) -> Result<InvitationUse, RequestError> {
    let invitation = invitation.ok_or_else(|| {
        let ask = "ask the hospital or a doctor of it for an invitation (register --invite CODE)";
        RequestError::refused(format!("the hospital pays for registrations that it invited: {ask}, {OTHER_WAY}"))
    })?;
    let now = app.engine().clock.now();
    let refused = |error: &dyn std::fmt::Display| RequestError::refused(format!("{error}, {OTHER_WAY}"));
    invitation.check_time(now).map_err(|error| refused(&error))?;
    let (inviter, hospital) = (invitation.inviter(), app.hospital()?);
    let rollup = &app.pipeline.follower.rollup;
    let Known { owner: signer, registrant } = if inviter == hospital {
        let signer = app.engine().signer.address();
        Known { owner: signer, registrant: signer }
    } else {
        let doctor = own_doctor(app, inviter, hospital).ok_or_else(|| may_not(inviter))?;
        app.inviters.of(rollup, doctor).await?.ok_or_else(|| may_not(inviter))?
    };
    invitation.verify(rollup.instance(), signer, now).map_err(|error| refused(&error))?;
    let quota = (inviter != hospital).then_some(app.doctor_invites);
    let (nonce, expires) = (invitation.nonce(), invitation.expires());
    Ok(InvitationUse { inviter: registrant, signer, nonce, expires, owner, quota })
}

/// Checks on L1 that the inviter of a genuine invitation is admitted now, and is still the one who signed it. The
/// node's state may be behind L1, where the account may have another owner.
pub(super) async fn check_standing(
    app: &App,
    inviter: AccountIndex,
    asked: &InvitationUse,
) -> Result<(), RequestError> {
    let account = app.pipeline.follower.rollup.account(inviter).await.map_err(super::accounts::l1_failed)?;
    match account {
        Some(account) if account.standing == Standing::Admitted && account.owner == asked.signer => Ok(()),
        _ => Err(may_not(inviter)),
    }
}

fn may_not(inviter: AccountIndex) -> RequestError {
    RequestError::refused(format!(
        "account {inviter} is neither this hospital nor an active doctor of it, and cannot invite, {OTHER_WAY}"
    ))
}

/// The doctor of this hospital with this account, if they are active.
fn own_doctor(app: &App, account: AccountIndex, hospital: AccountIndex) -> Option<Principal> {
    let state = app.engine().state();
    let identity = state.soft.identity(account)?;
    let active =
        identity.role == Role::Doctor && identity.org == Some(hospital) && identity.status == AccountStatus::Active;
    if active { state.principal(account) } else { None }
}

/// How long the node relies on what L1 said about the owner of an account: if it has one, and if not. An account can get another owner.
const KNOWN: Duration = Duration::from_secs(600);
const UNKNOWN: Duration = Duration::from_secs(10);

/// Who owns an account, and who registered it.
#[derive(Clone, Copy, Debug)]
struct Known {
    owner: Address,
    registrant: Address,
}

/// The owners of the accounts of doctors who invite.
#[derive(Debug, Default)]
pub(crate) struct Inviters {
    known: Mutex<BTreeMap<Principal, (Option<Known>, Instant)>>,
    /// Only one request at a time asks L1.
    turn: tokio::sync::Mutex<()>,
}

impl Inviters {
    fn known(&self, doctor: &Principal) -> Option<Option<Known>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(doctor).filter(|(_, until)| Instant::now() < *until).map(|(known, _)| *known)
    }

    async fn of(&self, rollup: &Rollup<DynProvider>, doctor: Principal) -> Result<Option<Known>, RequestError> {
        if let Some(known) = self.known(&doctor) {
            return Ok(known);
        }
        let _turn = self.turn.lock().await;
        if let Some(known) = self.known(&doctor) {
            return Ok(known);
        }
        let account = rollup.account(doctor.account).await.map_err(super::accounts::l1_failed)?;
        let registrant = rollup.registrant_of(doctor.account).await.map_err(super::accounts::l1_failed)?;
        let found = account.zip(registrant).map(|(account, registrant)| Known { owner: account.owner, registrant });
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, until)| now < *until);
        known.insert(doctor, (found, now + if found.is_some() { KNOWN } else { UNKNOWN }));
        Ok(found)
    }
}

/// Refuses invitations that cannot be used. This includes [`Invited::Exhausted`], so the caller must look on L1 first.
pub(super) fn allow(invited: Invited) -> Result<(), RequestError> {
    let why = match invited {
        Invited::First | Invited::Again => return Ok(()),
        Invited::Used => "this invitation was used by somebody else: ask for a new one",
        Invited::Exhausted => {
            "this invitation was tried five times, and L1 took none of the registrations: ask for a new one"
        }
        Invited::OverQuota => "as many invitations of this doctor were used today as may be: try again tomorrow (UTC)",
        Invited::Ended => "the hospital takes no more invitations of this inviter: ask the hospital itself for one",
    };
    Err(RequestError::refused(format!("{why}, {OTHER_WAY}")))
}

pub(super) async fn list(State(app): Shared, account: Account) -> Result<Json<Vec<InviterView>>, RequestError> {
    app.require_hospital(&account)?;
    let inviters = app.engine().mempool.inviters(app.engine().clock.now())?;
    let view = |(address, inviter): (Address, crate::mempool::Inviter)| InviterView {
        address,
        today: inviter.today,
        ended: inviter.ended,
    };
    Ok(Json(inviters.into_iter().map(view).collect()))
}

/// An inviter's address in a path.
#[derive(Deserialize)]
pub(super) struct InviterParameter(#[serde(with = "As::<AddressText>")] Address);

pub(super) async fn end(
    State(app): Shared,
    account: Account,
    Path(InviterParameter(inviter)): Path<InviterParameter>,
) -> Result<StatusCode, RequestError> {
    app.require_hospital(&account)?;
    if inviter == app.engine().signer.address() {
        return Err(RequestError::refused("this is the hospital itself: its own invitations always count"));
    }
    let work = move |engine: &crate::engine::Engine| engine.mempool.end_inviter(inviter, engine.clock.now());
    app.engine().write(work).await??;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume(
    State(app): Shared,
    account: Account,
    Path(InviterParameter(inviter)): Path<InviterParameter>,
) -> Result<StatusCode, RequestError> {
    app.require_hospital(&account)?;
    if app.engine().write(move |engine| engine.mempool.allow_inviter(inviter)).await?? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(RequestError::not_found("this inviter was not ended: `emr-hospital inviter list` shows who was"))
    }
}

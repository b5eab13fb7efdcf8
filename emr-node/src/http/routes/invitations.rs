//! Checks invitations. The hospital pays for registrations that it or one of its own doctors invited. The registrar also admits doctors of
//! other hospitals or of none, but this hospital did not agree to pay for the people whom they invite.

use alloy::primitives::Address;
use axum::{Json, extract::State, http::StatusCode};
use emr_api::{InviterView, invitation::Invitation};
use emr_chain::Standing;
use emr_core::{AccountIndex, AccountStatus, Role};

use super::{
    App, Shared,
    extract::{Account, Path},
};
use crate::{
    mempool::{InvitationUse, Invited},
    request_error::RequestError,
};

/// Advice for people without an invitation.
const OTHER_WAY: &str = "or pay the fee on L1 yourself (register --own-ether)";

/// Checks an invitation, except whether it was used. Writes nothing. `owner` is the person who wants to register with it.
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
    // Checks time and account first. The node knows both, so it need not ask L1 about every request.
    invitation.check_time(now).map_err(|error| refused(&error))?;
    let (inviter, hospital) = (invitation.inviter(), app.hospital()?);
    let may_not = || {
        refused(&format!("account {inviter} is neither this hospital nor an active doctor of it, and cannot invite"))
    };
    if inviter != hospital && !is_own_doctor(app, inviter, hospital) {
        return Err(may_not());
    }
    let rollup = &app.pipeline.follower.rollup;
    let account = rollup.account(inviter).await.map_err(super::accounts::l1_failed)?;
    // The state may be behind L1, where a reorganisation gave the number to another owner.
    let account = account.filter(|account| account.standing == Standing::Admitted).ok_or_else(may_not)?;
    invitation.verify(rollup.instance(), account.owner, now).map_err(|error| refused(&error))?;
    let quota = (inviter != hospital).then_some(app.doctor_invites);
    let (nonce, expires) = (invitation.nonce(), invitation.expires());
    Ok(InvitationUse { inviter: account.owner, nonce, expires, owner, quota })
}

fn is_own_doctor(app: &App, account: AccountIndex, hospital: AccountIndex) -> bool {
    let state = app.engine().state();
    state.soft.identity(account).is_some_and(|identity| {
        identity.role == Role::Doctor && identity.org == Some(hospital) && identity.status == AccountStatus::Active
    })
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
        address: address.to_string(),
        today: inviter.today,
        ended: inviter.ended,
    };
    Ok(Json(inviters.into_iter().map(view).collect()))
}

fn address(text: &str) -> Result<Address, RequestError> {
    text.parse().map_err(|_| RequestError::malformed("an inviter is named by an Ethereum address"))
}

pub(super) async fn end(
    State(app): Shared,
    account: Account,
    Path(inviter): Path<String>,
) -> Result<StatusCode, RequestError> {
    app.require_hospital(&account)?;
    let inviter = address(&inviter)?;
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
    Path(inviter): Path<String>,
) -> Result<StatusCode, RequestError> {
    app.require_hospital(&account)?;
    let inviter = address(&inviter)?;
    if app.engine().write(move |engine| engine.mempool.allow_inviter(inviter)).await?? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(RequestError::not_found("this inviter was not ended: `emr-hospital inviter list` shows who was"))
    }
}

//! Checks invitations. The hospital pays for a registration if the hospital itself, or one of its doctors, signed the
//! invitation. The registrar also admits doctors of other hospitals, and doctors without a hospital. This hospital does
//! not pay for the people whom those invite.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
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
/// it. Forged invitations cost the Ethereum node few requests: it names the owner of an account once for many.
///
/// Who may invite is decided by accounts. The node's own key says nothing about that: the hospital's account may have
/// another owner, who did not take the sequencer's office.
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
    let principal = may_invite(app, inviter, hospital).ok_or_else(|| may_not(inviter))?;
    let verify = |owner: Address| invitation.verify(rollup.instance(), owner, now);
    let known = app.inviters.of(rollup, principal, |owner| verify(owner).is_ok()).await?;
    let Known { owner: signer, registrant } = known.ok_or_else(|| may_not(inviter))?;
    verify(signer).map_err(|error| refused(&error))?;
    let quota = (inviter != hospital).then_some(app.doctor_invites);
    let (nonce, expires) = (invitation.nonce(), invitation.expires());
    Ok(InvitationUse { inviter: registrant, signer, nonce, expires, owner, quota })
}

/// Checks on L1 that the inviter of a genuine invitation is admitted now, and is still the one who signed it. The
/// node's state may be behind L1, where the account may have another owner.
///
/// The node cannot know when an invitation was signed. But it can ask L1 who owns the account now. So nothing counts that a former
/// owner signed, whether before the hand-over or after it.
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

/// This hospital or the doctor of it with this account, if they are active.
fn may_invite(app: &App, account: AccountIndex, hospital: AccountIndex) -> Option<Principal> {
    let state = app.engine().state();
    let identity = state.soft.identity(account)?;
    let own = account == hospital || (identity.role == Role::Doctor && identity.org == Some(hospital));
    if own && identity.status == AccountStatus::Active { state.principal(account) } else { None }
}

/// How long the node relies on what L1 said about the owner of an account: if it has one, and if not.
const KNOWN: Duration = Duration::from_secs(600);
const UNKNOWN: Duration = Duration::from_secs(10);
/// An account can get another owner. So the node asks again if somebody else than the known owner signed, but not sooner than so long after
/// its last question about any account. Forged invitations look the same.
const AGAIN: Duration = Duration::from_secs(5);

/// Who owns an account, and who registered it.
#[derive(Clone, Copy, Debug)]
struct Known {
    owner: Address,
    registrant: Address,
}

/// The owners of the accounts that invite.
#[derive(Debug, Default)]
pub(crate) struct Inviters {
    seen: Mutex<Seen>,
    /// Only one request at a time asks L1.
    turn: tokio::sync::Mutex<()>,
}

/// What L1 said about inviters.
#[derive(Debug, Default)]
struct Seen {
    /// The owner, and how long the node relies on that.
    owners: BTreeMap<Principal, (Option<Known>, Instant)>,
    /// When a request last began to ask.
    asked: Option<Instant>,
}

impl Inviters {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the node relies on at present. `None` if it must ask.
    fn known(&self, inviter: &Principal, signed_by: &impl Fn(Address) -> bool) -> Option<Option<Known>> {
        let ((known, until), asked) = {
            let seen = self.seen();
            (seen.owners.get(inviter).copied()?, seen.asked)
        };
        let asked_now = asked.is_some_and(|asked| asked.elapsed() < AGAIN);
        let relies = Instant::now() < until && (asked_now || known.is_none_or(|known| signed_by(known.owner)));
        relies.then_some(known)
    }

    /// Who owns an inviter's account. `signed_by` says whether a person signed the invitation: if the known owner did not, the account may have
    /// another owner by now.
    async fn of(
        &self,
        rollup: &Rollup<DynProvider>,
        inviter: Principal,
        signed_by: impl Fn(Address) -> bool,
    ) -> Result<Option<Known>, RequestError> {
        if let Some(known) = self.known(&inviter, &signed_by) {
            return Ok(known);
        }
        let _turn = self.turn.lock().await;
        if let Some(known) = self.known(&inviter, &signed_by) {
            return Ok(known);
        }
        // Set before the answer, so that forged invitations do not wait for it too.
        self.seen().asked = Some(Instant::now());
        let account = rollup.account(inviter.account).await.map_err(super::accounts::l1_failed)?;
        let registrant = rollup.registrant_of(inviter.account).await.map_err(super::accounts::l1_failed)?;
        let found = account.zip(registrant).map(|(account, registrant)| Known { owner: account.owner, registrant });
        let now = Instant::now();
        let mut seen = self.seen();
        seen.owners.retain(|_, (_, until)| now < *until);
        seen.owners.insert(inviter, (found, now + if found.is_some() { KNOWN } else { UNKNOWN }));
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

/// The address that registered an inviter's account, in a path.
#[derive(Deserialize)]
pub(super) struct InviterParameter(#[serde(with = "As::<AddressText>")] Address);

/// Whether the hospital's account was registered by this address, or belongs to it now.
async fn is_hospital(app: &App, address: Address) -> Result<bool, RequestError> {
    let hospital = app.hospital()?;
    let principal = app.engine().state().principal(hospital);
    let Some(principal) = principal else { return Ok(false) };
    let known = app.inviters.of(&app.pipeline.follower.rollup, principal, |owner| owner == address).await;
    let known = known.map_err(|_| {
        RequestError::unavailable("the Ethereum node does not say whether this is the hospital itself: try again later")
    })?;
    Ok(known.is_some_and(|known| known.owner == address || known.registrant == address))
}

pub(super) async fn end(
    State(app): Shared,
    account: Account,
    Path(InviterParameter(inviter)): Path<InviterParameter>,
) -> Result<StatusCode, RequestError> {
    app.require_hospital(&account)?;
    if is_hospital(&app, inviter).await? {
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

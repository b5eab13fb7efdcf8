//! The slot for a doctor's emergency grant.

use axum::{Json, extract::State};
use emr_api::EmergencySlot;
use emr_core::AccountIndex;

use super::{
    Shared,
    extract::{Account, Path},
};
use crate::request_error::RequestError;

/// Tells a doctor a free slot and its version. They learn nothing else about the patient.
pub(super) async fn slot(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<EmergencySlot>, RequestError> {
    app.limits.may_ask_for_emergency(account.index())?;
    let now = app.engine().clock.now();
    app.engine().state().emergency_slot(account.index(), patient, now, &app.emergency_order).map(Json)
}

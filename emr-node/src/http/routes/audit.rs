//! Pages of a patient's audit chain.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use emr_api::{AUDIT_PAGE, AuditPage};
use emr_core::AccountIndex;
use serde::Deserialize;

use super::{
    Shared,
    extract::{Account, Path},
};
use crate::request_error::{RequestError, RequestErrorKind};

#[derive(Deserialize)]
pub(super) struct Range {
    end: u64,
    limit: usize,
}

/// The entries before position `end`. Positions never change: a batch that is settled meanwhile only adds entries.
pub(super) async fn page(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Json<AuditPage>, RequestError> {
    if account.index() != patient {
        return Err(RequestError::forbidden("an audit chain is shown to its patient only"));
    }
    let advice = || RequestError::malformed(format!("say which entries: ?end=POSITION&limit=1 to {AUDIT_PAGE}"));
    let Query(Range { end, limit }) = range.map_err(|_| advice())?;
    if limit == 0 {
        return Err(advice());
    }
    let state = app.engine().state();
    let waits = || RequestError::unavailable("your registration is not settled yet: ask again when its batch is");
    let chain = &state.settled.patient(patient).ok_or_else(waits)?.audit;
    let part = usize::try_from(end).ok().and_then(|end| chain.part(end, limit.min(AUDIT_PAGE)));
    let part = part.ok_or_else(|| {
        let message = format!("the settled audit chain has fewer than {end} entries: read the subtree again");
        RequestError::new(RequestErrorKind::Stale, message)
    })?;
    Ok(Json(AuditPage { first: part.first as u64, before: part.before, entries: part.entries.to_vec() }))
}

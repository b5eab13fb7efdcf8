//! The path of each route, defined once: the server's router matches the constant, and a client fills in its parameters.
//!
//! A name in braces (`{account}`) is a parameter. The function with the same name as the constant fills it in.

use alloy::primitives::Address;
use emr_core::{AccountIndex, Cid, Codec, RecordSlot, Revision};
use emr_rollup::operation::OperationId;

use crate::url_token::UrlToken;

/// `GET`: the node's status.
pub const STATUS: &str = "/v1/status";
/// `POST`: asks the node to relay a registration.
pub const ACCOUNTS: &str = "/v1/accounts";
/// `GET`: an account in the state.
pub const ACCOUNT: &str = "/v1/accounts/{account}";
/// `POST`: requests a login challenge.
pub const CHALLENGE: &str = "/v1/login/challenge";
/// `POST`: logs in.
pub const LOGIN: &str = "/v1/login";
/// `POST`: stores a block. The query `codec` is `raw` or `dag-cbor`.
pub const BLOCKS: &str = "/v1/blocks";
/// `GET`: a block.
pub const BLOCK: &str = "/v1/blocks/{cid}";
/// `POST`: gives up blocks that the caller uploaded.
pub const DROPPED_BLOCKS: &str = "/v1/dropped-blocks";
/// `POST`: submits an operation.
pub const OPERATIONS: &str = "/v1/operations";
/// `POST`: submits a Revoke. The same as [`OPERATIONS`], but with capacity that only Revokes can use.
pub const REVOKES: &str = "/v1/revokes";
/// `GET`: the status of an operation.
pub const OPERATION: &str = "/v1/operations/{id}";
/// `GET`: the data about a patient that a grantee needs to act.
pub const PATIENT: &str = "/v1/patients/{patient}";
/// `GET`: all leaves of the patient's subtree.
pub const SUBTREE: &str = "/v1/patients/{patient}/subtree";
/// `GET`: all of the patient's grants.
pub const GRANTS: &str = "/v1/patients/{patient}/grants";
/// `GET`: the grants that delegates gave: for the patient all, for a grantee their own.
pub const DELEGATED_GRANTS: &str = "/v1/patients/{patient}/delegated-grants";
/// `GET`: what a delegate needs to change the patient's grants.
pub const MANAGED_GRANTS: &str = "/v1/patients/{patient}/managed-grants";
/// `GET`: a free slot for an emergency grant of the caller, who must be a doctor.
pub const EMERGENCY_SLOT: &str = "/v1/patients/{patient}/emergency-slot";
/// `GET`: a page of the patient's audit chain; the query is `end` (the position after the page's last entry) and `limit`.
pub const AUDIT: &str = "/v1/patients/{patient}/audit";
/// `GET`: who uses how much of a patient's space.
pub const STORAGE: &str = "/v1/patients/{patient}/storage";
/// `GET`: the records that the caller may see.
pub const RECORDS: &str = "/v1/patients/{patient}/records";
/// `GET`: a record with its proof.
pub const RECORD: &str = "/v1/patients/{patient}/records/{slot}";
/// `GET`: the patient's links. `POST`: makes one.
pub const LINKS: &str = "/v1/links";
/// `GET`: a link of the patient. `DELETE`: ends it.
pub const LINK: &str = "/v1/links/{number}";
/// `GET`: the links of all patients, for the hospital; the query is `from`, an account.
pub const HOSPITAL_LINKS: &str = "/v1/hospital/links";
/// `DELETE`: ends a patient's link, for the hospital.
pub const HOSPITAL_LINK: &str = "/v1/hospital/links/{account}/{number}";
/// `POST`: a link's manifest. `GET`: a link's only file; the query is `recipient`. For anyone who has the link.
pub const SHL: &str = "/v1/shl/{id}";
/// `GET`: a file of a manifest, once.
pub const SHL_FILE: &str = "/v1/shl-files/{token}";
/// `GET`: the settled versions of a record; the query is `before`, a revision.
pub const VERSIONS: &str = "/v1/patients/{patient}/records/{slot}/versions";
/// `POST`: seals the waiting operations.
pub const SEAL: &str = "/v1/batches/seal";
/// `GET`: a batch.
pub const BATCH: &str = "/v1/batches/{number}";
/// `GET`: the provers that have a credential. `POST`: adds one.
pub const PROVERS: &str = "/v1/provers";
/// `DELETE`: ends a prover's credential.
pub const PROVER: &str = "/v1/provers/{name}";
/// `GET`: who invited today, and whose invitations were ended.
pub const INVITERS: &str = "/v1/inviters";
/// `DELETE`: ends an inviter's invitations. `PUT`: accepts them again. The address is the one that registered the inviter's account.
pub const INVITER: &str = "/v1/inviters/{address}";
/// `GET`: the batch that needs a proof.
pub const PROOF_JOB: &str = "/v1/prover/job";
/// `POST`: submits a proof.
pub const PROOF: &str = "/v1/prover/jobs/{number}";

/// Every path.
pub const ALL: [&str; 36] = [
    STATUS,
    ACCOUNTS,
    ACCOUNT,
    CHALLENGE,
    LOGIN,
    BLOCKS,
    BLOCK,
    DROPPED_BLOCKS,
    OPERATIONS,
    REVOKES,
    OPERATION,
    PATIENT,
    SUBTREE,
    GRANTS,
    DELEGATED_GRANTS,
    MANAGED_GRANTS,
    EMERGENCY_SLOT,
    AUDIT,
    STORAGE,
    RECORDS,
    RECORD,
    LINKS,
    LINK,
    HOSPITAL_LINKS,
    HOSPITAL_LINK,
    SHL,
    SHL_FILE,
    VERSIONS,
    SEAL,
    BATCH,
    PROVERS,
    PROVER,
    INVITERS,
    INVITER,
    PROOF_JOB,
    PROOF,
];

fn fill(path: &str, name: &str, value: impl ToString) -> String {
    path.replace(name, &value.to_string())
}

/// [`ACCOUNT`].
pub fn account(account: AccountIndex) -> String {
    fill(ACCOUNT, "{account}", account)
}

/// [`BLOCKS`] with its query.
pub fn blocks(codec: Codec) -> String {
    let name = match codec {
        Codec::Raw => "raw",
        Codec::DagCbor => "dag-cbor",
    };
    format!("{BLOCKS}?codec={name}")
}

/// [`BLOCK`].
pub fn block(cid: &Cid) -> String {
    fill(BLOCK, "{cid}", cid)
}

/// [`OPERATION`].
pub fn operation(id: OperationId) -> String {
    fill(OPERATION, "{id}", id)
}

/// [`PATIENT`].
pub fn patient(patient: AccountIndex) -> String {
    fill(PATIENT, "{patient}", patient)
}

/// [`SUBTREE`].
pub fn subtree(patient: AccountIndex) -> String {
    fill(SUBTREE, "{patient}", patient)
}

/// [`STORAGE`].
pub fn storage(patient: AccountIndex) -> String {
    fill(STORAGE, "{patient}", patient)
}

/// [`GRANTS`].
pub fn grants(patient: AccountIndex) -> String {
    fill(GRANTS, "{patient}", patient)
}

/// [`DELEGATED_GRANTS`].
pub fn delegated_grants(patient: AccountIndex) -> String {
    fill(DELEGATED_GRANTS, "{patient}", patient)
}

/// [`MANAGED_GRANTS`].
pub fn managed_grants(patient: AccountIndex) -> String {
    fill(MANAGED_GRANTS, "{patient}", patient)
}

/// [`EMERGENCY_SLOT`].
pub fn emergency_slot(patient: AccountIndex) -> String {
    fill(EMERGENCY_SLOT, "{patient}", patient)
}

/// [`AUDIT`] with its query.
pub fn audit(patient: AccountIndex, end: u64, limit: usize) -> String {
    format!("{}?end={end}&limit={limit}", fill(AUDIT, "{patient}", patient))
}

/// [`RECORDS`].
pub fn records(patient: AccountIndex) -> String {
    fill(RECORDS, "{patient}", patient)
}

/// [`RECORD`].
pub fn record(patient: AccountIndex, slot: RecordSlot) -> String {
    fill(&fill(RECORD, "{patient}", patient), "{slot}", slot)
}

/// [`LINK`].
pub fn link(number: u32) -> String {
    fill(LINK, "{number}", number)
}

/// [`HOSPITAL_LINKS`] with its query: all, or those from an account on.
pub fn hospital_links(from: Option<AccountIndex>) -> String {
    from.map_or_else(|| HOSPITAL_LINKS.to_owned(), |from| format!("{HOSPITAL_LINKS}?from={from}"))
}

/// [`HOSPITAL_LINK`].
pub fn hospital_link(account: AccountIndex, number: u32) -> String {
    fill(&fill(HOSPITAL_LINK, "{account}", account), "{number}", number)
}

/// [`SHL`].
pub fn shl(id: &UrlToken) -> String {
    fill(SHL, "{id}", id)
}

/// [`SHL_FILE`].
pub fn shl_file(token: &UrlToken) -> String {
    fill(SHL_FILE, "{token}", token)
}

/// [`VERSIONS`] with its query.
pub fn versions(patient: AccountIndex, slot: RecordSlot, before: Revision) -> String {
    format!("{}?before={before}", fill(&fill(VERSIONS, "{patient}", patient), "{slot}", slot))
}

/// [`BATCH`].
pub fn batch(number: u64) -> String {
    fill(BATCH, "{number}", number)
}

/// [`PROVER`]. The name must pass [`crate::prover::is_name`].
pub fn prover(name: &str) -> String {
    fill(PROVER, "{name}", name)
}

/// [`INVITER`].
pub fn inviter(address: Address) -> String {
    fill(INVITER, "{address}", address)
}

/// [`PROOF`].
pub fn proof(number: u64) -> String {
    fill(PROOF, "{number}", number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_paths_are_listed() {
        let source = include_str!("route.rs");
        let defined = source.lines().filter(|line| line.starts_with("pub const ") && line.contains(": &str = "));
        assert_eq!(defined.count(), ALL.len());
        assert_eq!(ALL.iter().collect::<std::collections::BTreeSet<_>>().len(), ALL.len());
    }
}

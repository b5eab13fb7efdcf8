//! The path of each route, written once: as the server's router matches it, and as a client fills it in.
//!
//! A constant in braces (`{account}`) is a parameter; the function of the same name fills it in.

use emr_core::{AccountIndex, Cid, Codec, RecordSlot};
use emr_rollup::operation::OperationId;

/// `GET`: what the node is and how it is doing.
pub const STATUS: &str = "/v1/status";
/// `POST`: have a registration relayed.
pub const ACCOUNTS: &str = "/v1/accounts";
/// `GET`: what the state says of an account.
pub const ACCOUNT: &str = "/v1/accounts/{account}";
/// `POST`: ask for a login challenge.
pub const CHALLENGE: &str = "/v1/login/challenge";
/// `POST`: log in.
pub const LOGIN: &str = "/v1/login";
/// `POST`: store a block; the query `codec` is `raw` or `dag-cbor`.
pub const BLOCKS: &str = "/v1/blocks";
/// `GET`: a block.
pub const BLOCK: &str = "/v1/blocks/{cid}";
/// `POST`: hand in an operation.
pub const OPERATIONS: &str = "/v1/operations";
/// `POST`: hand in a Revoke. As [`OPERATIONS`], with room that only Revokes use.
pub const REVOKES: &str = "/v1/revokes";
/// `GET`: what became of an operation.
pub const OPERATION: &str = "/v1/operations/{id}";
/// `GET`: what a grantee needs of a patient to act.
pub const PATIENT: &str = "/v1/patients/{patient}";
/// `GET`: all leaves of the patient's subtree.
pub const SUBTREE: &str = "/v1/patients/{patient}/subtree";
/// `GET`: all of the patient's grants.
pub const GRANTS: &str = "/v1/patients/{patient}/grants";
/// `GET`: a page of the patient's audit chain; the query is `end` (the position after the page's last entry) and `limit`.
pub const AUDIT: &str = "/v1/patients/{patient}/audit";
/// `GET`: who uses how much of a patient's space.
pub const STORAGE: &str = "/v1/patients/{patient}/storage";
/// `GET`: the records that the caller may know of.
pub const RECORDS: &str = "/v1/patients/{patient}/records";
/// `GET`: a record with its proof.
pub const RECORD: &str = "/v1/patients/{patient}/records/{slot}";
/// `POST`: seal what waits.
pub const SEAL: &str = "/v1/batches/seal";
/// `GET`: a batch.
pub const BATCH: &str = "/v1/batches/{number}";
/// `GET`: the provers that have a credential. `POST`: a new one.
pub const PROVERS: &str = "/v1/provers";
/// `DELETE`: end a prover's credential.
pub const PROVER: &str = "/v1/provers/{name}";
/// `GET`: who invited today, and whose invitations no longer count.
pub const INVITERS: &str = "/v1/inviters";
/// `DELETE`: an inviter's invitations no longer count. `PUT`: they count again.
pub const INVITER: &str = "/v1/inviters/{address}";
/// `GET`: the batch that wants a proof.
pub const PROOF_JOB: &str = "/v1/prover/job";
/// `POST`: hand in a proof.
pub const PROOF: &str = "/v1/prover/jobs/{number}";

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

/// [`BATCH`].
pub fn batch(number: u64) -> String {
    fill(BATCH, "{number}", number)
}

/// [`PROVER`]. The name is one that [`crate::prover::is_name`] takes.
pub fn prover(name: &str) -> String {
    fill(PROVER, "{name}", name)
}

/// [`INVITER`]. The address is hex, with `0x`.
pub fn inviter(address: &str) -> String {
    fill(INVITER, "{address}", address)
}

/// [`PROOF`].
pub fn proof(number: u64) -> String {
    fill(PROOF, "{number}", number)
}

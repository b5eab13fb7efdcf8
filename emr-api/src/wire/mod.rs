//! The node's HTTP interface: paths, requests and answers. JSON, except blocks, which are raw bytes.
//!
//! | method and path | who | body → answer |
//! |---|---|---|
//! | `GET /v1/status` | anyone | → [`NodeStatus`] |
//! | `POST /v1/accounts` | anyone with an invitation | [`RelayRegistration`] → [`Registered`] |
//! | `GET /v1/accounts/{account}` | anyone | → [`AccountView`] |
//! | `POST /v1/login/challenge` | anyone | [`LoginChallengeRequest`] → [`LoginChallenge`] |
//! | `POST /v1/login` | anyone | [`LoginRequest`] → [`LoginToken`]; the token goes into `Authorization: Bearer` |
//! | `POST /v1/blocks?codec=raw` or `dag-cbor` | an account | bytes → [`BlockPut`] |
//! | `GET /v1/blocks/{cid}` | an account that may read the record or directory of the block | → bytes |
//! | `POST /v1/dropped-blocks` | an account | [`DropBlocks`] → [`BlocksDropped`]: gives up blocks that it uploaded and that no operation refers to |
//! | `POST /v1/operations` | the signer | [`Submission`] → [`Receipt`] |
//! | `POST /v1/revokes` | the signer | [`Submission`] of a Revoke → [`Receipt`]; with capacity that only Revokes can use |
//! | `GET /v1/operations/{id}` | signer or patient | → [`OperationStatus`] |
//! | `GET /v1/patients/{patient}` | the patient, or a live grantee | → [`PatientView`] |
//! | `GET /v1/patients/{patient}/subtree` | the patient | → [`SubtreeView`](crate::SubtreeView) |
//! | `GET /v1/patients/{patient}/grants` | the patient | → [`OwnGrantsView`](crate::OwnGrantsView) |
//! | `GET /v1/patients/{patient}/delegated-grants` | the patient, or a live grantee | → `Vec<`[`DelegatedGrant`]`>`: all, or the caller's own |
//! | `GET /v1/patients/{patient}/managed-grants` | a delegate of the patient | → [`ManagedGrants`] |
//! | `GET /v1/patients/{patient}/emergency-slot` | a doctor | → [`EmergencySlot`] |
//! | `GET /v1/patients/{patient}/audit?end=N&limit=N` | the patient | → [`AuditPage`](crate::AuditPage) |
//! | `GET /v1/patients/{patient}/records` | the patient, or a live grantee | → `Vec<`[`RecordSummary`]`>`, of the classes that the caller may read |
//! | `GET /v1/patients/{patient}/records/{slot}` | the patient, or a live grantee with a session | → [`RecordView`] |
//! | `GET /v1/patients/{patient}/records/{slot}/versions?before=N` | the same | → [`RecordVersionsView`](crate::RecordVersionsView): the revisions before N, of the classes that the caller may read |
//! | `GET /v1/patients/{patient}/storage` | the patient | → [`StorageView`] |
//! | `GET /v1/links` | a patient | → `Vec<`[`LinkView`]`>`: the patient's links |
//! | `POST /v1/links` | a patient | [`NewLink`] → [`LinkMade`] |
//! | `GET /v1/links/{number}` | the patient | → [`LinkView`] |
//! | `DELETE /v1/links/{number}` | the patient | → 204: ends the link |
//! | `POST /v1/shl/{id}` | anyone with the link | [`ManifestRequest`] → [`LinkManifest`], or 401 and [`PasscodeRefused`] |
//! | `GET /v1/shl/{id}?recipient=TEXT` | anyone with a link that is a direct file | → a JWE |
//! | `GET /v1/shl-files/{token}` | anyone with an address from a manifest, once | → a JWE |
//! | `GET /v1/hospital/links?from=ACCOUNT` | the hospital | → [`LinksPage`](crate::LinksPage): the links of all patients, from this account on |
//! | `DELETE /v1/hospital/links/{account}/{number}` | the hospital | → 204: ends a patient's link |
//! | `POST /v1/batches/seal` | the hospital | → [`BatchView`]: seals what is pending now |
//! | `GET /v1/batches/{number}` | anyone | → [`BatchView`] |
//! | `GET /v1/provers` | the hospital | → `Vec<`[`ProverView`]`>` |
//! | `POST /v1/provers` | the hospital | [`NewProver`] → [`ProverView`] |
//! | `DELETE /v1/provers/{name}` | the hospital | → 204 |
//! | `GET /v1/inviters` | the hospital | → `Vec<`[`InviterView`]`>` |
//! | `DELETE /v1/inviters/{address}` | the hospital | → 204: ends the invitations of this inviter |
//! | `PUT /v1/inviters/{address}` | the hospital | → 204: accepts them again |
//! | `GET /v1/prover/job` | a prover ([`crate::prover`]), or the hospital | → [`ProofJob`], or 204 |
//! | `POST /v1/prover/jobs/{number}` | a prover, or the hospital | proof bytes → 202 |
//!
//! Every refusal has a [`Problem`] as body. With `too-many` (429), `no-room-now` and some `unavailable` (503), the header
//! `Retry-After` says after how many seconds the same request may succeed.
//!
//! One file for each topic.

mod account;
mod batch;
mod hospital;
mod link;
mod login;
mod operation;
mod patient;
mod record;
mod storage;
mod subtree;

use serde::{Deserialize, Serialize};

pub use self::{
    account::{AccountView, IdentityProof, Registered, RelayRegistration},
    batch::{BatchView, NodeHealth, NodeStatus, ProofJob, ProofProgress},
    hospital::{InviterView, NewProver, ProverView},
    link::{
        LinkAccess, LinkFile, LinkMade, LinkManifest, LinkOfPatient, LinkOpening, LinkOutcome, LinkState, LinkView,
        LinksPage, ManifestFile, ManifestPlace, ManifestRequest, NewLink, PasscodeRefused,
    },
    login::{LoginChallenge, LoginChallengeRequest, LoginRequest, LoginToken},
    operation::{NamedEpoch, OperationStatus, Receipt, StoredAt, Submission},
    patient::{DelegatedGrant, EmergencySlot, GrantView, ManagedGrants, ManagedSlot, MedicalProof, PatientView},
    record::{AuthorProof, RecordProof, RecordSummary, RecordVersionsView, RecordView, RevisionView, VERSIONS_PAGE},
    storage::{BlockPut, BlocksDropped, DropBlocks, StorageAmount, StorageView, WriterStorage},
    subtree::{AUDIT_PAGE, AuditPage, OwnGrantsView, SubtreeView},
};

/// Why a request was refused. The HTTP status gives the kind. `code` is stable, and `message` says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs: `unauthorized`, `forbidden`, `revoked`, `no-session`, `not-found`, `refused`, `stale`,
    /// `too-large`, `no-room-now`, `too-many`, `unavailable`, `malformed`.
    pub code: String,
    /// For people.
    pub message: String,
}

//! The one error of all flows, at most two enums deep.
//!
//! [`ClientError`] says what went wrong. [`ClientError::kind`] says what a caller can do. [`ClientError::code`] is a stable name for
//! programs (`docs/errors.md`). A cause that is deeper in an error of a pure check is lifted to a variant here.

mod code;

use std::convert::Infallible;

use alloy::primitives::Address;
use emr_api::receipt::ReceiptError;
use emr_chain::{
    RollupError,
    endpoint::EndpointError,
    header::{HeaderError, age::HeaderAgeError},
    nodes::NodesError,
    proof::ProofError,
};
use emr_core::{AccountIndex, OutOfRange, RecordError};
use emr_crypto::{DelegatedKeysError, DirectoryError, IdentityFileError, OwnDirectoryError, RevokeError, SealError};

use crate::{
    flow::{
        account_change::AccountChangeError, admission::AdmissionError, break_glass::EmergencyError,
        delegate::DelegateError, disclose::DisclosingError, grant::GrantError, invite::InviteError, link::LinkError,
        ownership::OwnershipError, register::RegisterError, retrieve::ReadError, settle_queue::SettleQueueError,
        upload::WriteError,
    },
    keys::KeyError,
    node::NodeError,
    profile::{FileError, Hospital, ProfileError, seen::SeenError},
    verify::{
        card::CardError, delegated::DelegationError, deployment::DeploymentError, directory::DirectoryCheckError,
        disclosed::DisclosedError, history::HistoryError, light::LightError, membership::MembershipError,
        record::RecordProofError, settled_state::SettledStateError,
    },
};

pub use code::{Code, ErrorKind};

/// Why a flow failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Profile(ProfileError),
    /// A file of the data folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The identity file cannot be used.
    #[error(transparent)]
    IdentityFile(#[from] IdentityFileError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The hospital's node did not do what was asked.
    #[error(transparent)]
    Node(NodeError),
    /// The address of the Ethereum node cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// These Ethereum nodes cannot be used together.
    #[error(transparent)]
    Nodes(NodesError),
    /// The Ethereum nodes do not agree on a block.
    #[error(transparent)]
    Header(HeaderError),
    /// The newest block is too old, or from the future.
    #[error(transparent)]
    HeaderAge(#[from] HeaderAgeError),
    /// A call of the contract failed.
    #[error(transparent)]
    Rollup(#[from] RollupError),
    /// The Ethereum node's proof of the state does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The Ethereum node shows an older state than one that was seen before.
    #[error(transparent)]
    Seen(SeenError),
    /// The contract's storage holds no state that can be used.
    #[error(transparent)]
    SettledState(SettledStateError),
    /// A card cannot be used.
    #[error(transparent)]
    Card(CardError),
    /// The node does not prove a leaf.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The address of the patient's key directory cannot be used.
    #[error(transparent)]
    Directory(DirectoryCheckError),
    /// The key directory's bytes cannot be used.
    #[error(transparent)]
    KeyDirectory(#[from] DirectoryError),
    /// What the node shows of a delegate's grants does not hold.
    #[error(transparent)]
    Delegation(DelegationError),
    /// The keys that a delegate handed on cannot be used.
    #[error(transparent)]
    DelegatedKeys(#[from] DelegatedKeysError),
    /// No delegate was named, or a delegate changed no grant.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// The patient's own key directory does not open.
    #[error(transparent)]
    OwnDirectory(#[from] OwnDirectoryError),
    /// The node's data of the patient's subtree cannot be believed.
    #[error(transparent)]
    Light(LightError),
    /// The record does not verify.
    #[error(transparent)]
    RecordProof(RecordProofError),
    /// A disclosure does not hold.
    #[error(transparent)]
    Disclosed(DisclosedError),
    /// Nothing was disclosed, or a disclosure is not confirmed.
    #[error(transparent)]
    Disclosing(#[from] DisclosingError),
    /// The list of a record's versions does not hold, or a version is not for this reader.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The node's receipt cannot be used.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// Nothing was written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Nothing was read, or no access was requested.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing was granted or revoked.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// No emergency grant was opened.
    #[error(transparent)]
    Emergency(#[from] EmergencyError),
    /// The registration failed.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// An admission failed.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// A change of the account was not sent to L1.
    #[error(transparent)]
    AccountChange(#[from] AccountChangeError),
    /// An account's owner did not change.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// Overdue entries were not settled.
    #[error(transparent)]
    SettleQueue(#[from] SettleQueueError),
    /// A change of the patient's account waits on L1.
    #[error(
        "a change of account {0} waits on L1, such as a forced revocation: try again when it is settled, within hours"
    )]
    ChangeWaits(AccountIndex),
    /// The account has another rollup key than this identity.
    #[error(
        "account {0} has another rollup key on L1 than this identity: after `rotate`, use the newest copy of the file 'identity', or rotate again. \
         If you did not rotate, somebody has your Ethereum key: revoke with `revoke --force`, and tell your hospital"
    )]
    OtherRollupKey(AccountIndex),
    /// The Ethereum key cannot pay for a transaction.
    #[error("{0} has no ether to pay for the transaction: send it some")]
    NoEther(Address),
    /// No invitation was signed.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// No link was made.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A counter is at its end.
    #[error(transparent)]
    Exhausted(#[from] OutOfRange),
    /// The node is for a chain that is not for development, and that the participant did not name.
    #[error(
        "the node is for chain {0}, which is not a development chain: if you know that your hospital proves there with the setup of a ceremony, name the chain with --chain-id {0}"
    )]
    NotADevelopmentChain(u64),
    /// The node is for a contract that the participant did not name, on a chain that is not for development.
    #[error(
        "the node is for contract {0}, and nobody but the node says that this is your hospital's: name the contract that your hospital publishes with \
         --contract, or register with an invitation, which names it"
    )]
    UnnamedContract(Address),
    /// The node is for another chain than the participant named.
    #[error(
        "your hospital's chain is {found}, not {named}, which you named: give the address of the right node (--node), or another --chain-id"
    )]
    OtherChain {
        /// The chain that the participant named.
        named: u64,
        /// The chain that the node is for.
        found: u64,
    },
    /// The node is for another contract than the participant named.
    #[error(
        "the node is for contract {found}, not {named}, which you or your invitation named: give the address of the right node (--node)"
    )]
    OtherContract {
        /// The contract that the participant named.
        named: Address,
        /// The contract that the node is for.
        found: Address,
    },
    /// The contract is not one of this program's.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The node proves with the development setup, on a chain that is not for development.
    #[error(
        "the node is for chain {0} and proves with the development setup, under which anyone can forge proofs: use another node"
    )]
    UnsafeSetup(u64),
    /// The node belongs to another hospital than before.
    #[error(
        "the node at this address now says it is hospital {now}, not {before}: if that is right, give its address once more with --node"
    )]
    OtherHospital {
        /// The hospital that the profile knows.
        before: Hospital,
        /// The hospital that the node names now.
        now: Hospital,
    },
    /// The account that the node names as its own is not a hospital's.
    #[error("account {0}, which the node says is its own, is no hospital on L1: use another node")]
    NotAHospital(AccountIndex),
    /// The node's hospital has no account yet.
    #[error("the node's hospital is not registered yet: try again when it is")]
    NoHospital,
    /// The state changed in each of several attempts.
    #[error("others keep changing the same part of the state: try again in a moment")]
    Contended,
    /// A revocation that was signed before is not in force.
    #[error("a revocation that you signed before is not in force: {reason}; revoke again")]
    RevocationLost {
        /// What the node said, or why no batch took it.
        reason: String,
    },
    /// The node says that an operation is settled, but the state on L1 does not hold it.
    #[error("the node says that batch {batch} settled this, but L1 does not hold it: use another node")]
    NotInForce {
        /// The batch that the node names.
        batch: u64,
    },
    /// A number from the node is out of range.
    #[error("the node's answer makes no sense ({0}): use another node")]
    Malformed(String),
    /// The node does not show the change of the key directory that this client signed last.
    #[error(
        "the node does not show your last change to the key directory, which is not settled yet: wait for the next batch, or use another node"
    )]
    Withheld,
}

/// Lifts a cause from inside the error of a check, so that callers find every cause in one place.
macro_rules! lift {
    ($($error:ident => $variant:ident, $($deep:ident),+;)+) => { $(
        impl From<$error> for ClientError {
            fn from(error: $error) -> Self {
                match error {
                    $($error::$deep(error) => error.into(),)+
                    other => Self::$variant(other),
                }
            }
        }
    )+ };
}

lift! {
    ProfileError => Profile, File, Identity;
    NodeError => Node, Keys;
    SeenError => Seen, File;
    NodesError => Nodes, Endpoint;
    HeaderError => Header, Proof;
    SettledStateError => SettledState, Proof, Header, Age, Seen;
    CardError => Card, Membership;
    DirectoryCheckError => Directory, Membership;
    LightError => Light, Membership;
    DelegationError => Delegation, Membership;
    RecordProofError => RecordProof, Membership;
    DisclosedError => Disclosed, Card;
}

/// Converts errors of other crates through the error of the one flow that can meet them.
macro_rules! wrap {
    ($($error:ty => $variant:ident);+ $(;)?) => { $(
        impl From<$error> for ClientError {
            fn from(error: $error) -> Self {
                Self::$variant(error.into())
            }
        }
    )+ };
}

wrap! {
    RecordError => Write;
    SealError<Infallible> => Write;
    emr_crypto::GrantError => Grant;
    RevokeError => Grant;
}

impl ClientError {
    /// The kind: what a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.entry().kind()
    }

    /// The stable name of the error, for programs. `docs/errors.md` lists all names.
    pub fn code(&self) -> &'static str {
        self.entry().as_str()
    }

    /// Whether the same call may succeed later without any change by a person.
    pub fn is_temporary(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Whether the state changed meanwhile: read it again and try again.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Node(error) if error.is_stale())
    }

    /// Whether the node has no room for a new key directory of the patient now. A change that leaves the directory as it is needs none.
    pub fn is_no_directory_room(&self) -> bool {
        matches!(self, Self::Node(error) if error.is_no_directory_room())
    }

    /// Whether the operation cannot be handed in any more: the same request gets the same answer later.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Node(error @ NodeError::Refused { .. }) => !error.is_temporary(),
            // The node lacks a file, and it is not here any more.
            Self::Write(WriteError::AttachmentChanged(_) | WriteError::AttachmentLost(_)) => true,
            _ => false,
        }
    }

    /// Whether the node's proof and L1 are at different batches.
    pub(crate) const fn is_other_state(&self) -> bool {
        matches!(self, Self::Membership(MembershipError::OtherState { .. }))
    }
}

#[cfg(test)]
mod tests {
    use emr_api::Problem;

    use super::*;

    fn refused(status: u16, code: &str) -> ClientError {
        let problem = Problem { code: code.to_owned(), message: "no".to_owned() };
        NodeError::Refused { status, problem, retry_after: None }.into()
    }

    #[test]
    fn kind_and_code_follow_from_the_cause_however_deep_it_was() {
        let other = || MembershipError::OtherState { node: 1, settled: 2 };
        let cases: [(ClientError, &str, ErrorKind); 11] = [
            (CardError::from(other()).into(), "other-state", ErrorKind::Unavailable),
            (RecordProofError::from(other()).into(), "other-state", ErrorKind::Unavailable),
            (LightError::from(MembershipError::NotThere { leaf: "x" }).into(), "not-in-state", ErrorKind::Unverified),
            (ProfileError::from(FileError::DiskFull("x".into())).into(), "disk-full", ErrorKind::Storage),
            (refused(503, "busy"), "node-busy", ErrorKind::Unavailable),
            (refused(403, "revoked"), "revoked", ErrorKind::Refused),
            (refused(409, "stale"), "stale", ErrorKind::Unavailable),
            (refused(503, "no-room-now"), "no-room-now", ErrorKind::Unavailable),
            (refused(413, "too-large"), "node-refused", ErrorKind::Refused),
            (refused(413, "no-directory-room"), "no-directory-room", ErrorKind::Unavailable),
            (refused(400, "a-new-code"), "node-refused", ErrorKind::Refused),
        ];
        for (error, code, kind) in cases {
            assert_eq!((error.code(), error.kind()), (code, kind), "{error}");
            assert_eq!(error.is_temporary(), kind == ErrorKind::Unavailable);
        }
    }
}

//! The stable names of errors, and the kind of each.

use emr_api::Problem;
use emr_chain::{
    RollupError,
    endpoint::EndpointError,
    header::{HeaderError, age::HeaderAgeError},
};
use emr_crypto::RevokeError;

use crate::{
    error::ClientError,
    flow::{
        account_change::AccountChangeError, admission::AdmissionError, break_glass::EmergencyError,
        delegate::DelegateError, disclose::DisclosingError, grant::GrantError, invite::InviteError, link::LinkError,
        ownership::OwnershipError, register::RegisterError, retrieve::ReadError, settle_queue::SettleQueueError,
        upload::WriteError,
    },
    node::NodeError,
    profile::{FileError, ProfileError, seen::SeenError},
    verify::{
        card::CardError, disclosed::DisclosedError, history::HistoryError, membership::MembershipError,
        record::RecordProofError, settled_state::SettledStateError,
    },
};

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Call differently: an option, an address or a folder is wrong.
    Usage,
    /// Give other input: a card, a document or a value is not valid.
    Input,
    /// Ask for permission: the rules do not allow this.
    Refused,
    /// Try again later: something is down, busy, or not settled yet.
    Unavailable,
    /// Use another node, and do not rely on this one's answers: something does not verify.
    Unverified,
    /// Free some space or repair the data folder.
    Storage,
    /// Check the identity file, its passphrase, or the device that holds the keys.
    Keys,
}

macro_rules! codes {
    ($($name:ident $text:literal $kind:ident $meaning:literal)+) => {
        /// The stable name of an error. New versions may add names, but existing names keep their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $name,)+
        }

        impl Code {
            /// Every code of this version.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in programs and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The kind: what a caller can do.
            pub const fn kind(self) -> ErrorKind {
                match self { $(Self::$name => ErrorKind::$kind,)+ }
            }

            /// What happened, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

codes! {
    Address "address" Usage "an address cannot be used"
    EthereumNodes "ethereum-nodes" Usage "these Ethereum nodes cannot be used together"
    NotJoined "not-joined" Usage "the profile has not joined a node yet"
    OtherDeployment "other-deployment" Usage "the profile belongs to another chain or contract"
    OtherChain "other-chain" Usage "the Ethereum node is on another chain"
    NoContract "no-contract" Usage "no rollup contract is at the address"
    OtherHospital "other-hospital" Usage "the node belongs to another hospital than before"
    NotRegistered "not-registered" Usage "this identity has no account yet"
    NotAPatient "not-a-patient" Usage "only a patient can do this"
    NotADoctor "not-a-doctor" Usage "only a doctor can do this"
    InvitationExpiry "invitation-expiry" Usage "an invitation cannot expire at that time"
    Card "card" Input "this is not a usable card"
    Record "record" Input "the record is too large or cannot be sealed"
    GrantTerms "grant-terms" Input "these rights, classes, times or grantee cannot be granted"
    LinkTerms "link-terms" Input "these records cannot be shared by a link with these terms"
    OrgForRole "org-for-role" Input "only doctors belong to a hospital"
    ClassNotProved "class-not-proved" Input "the record's class is neither stated nor proved"
    OtherClass "other-class" Input "the node lists the record in another class than the one stated"
    OtherPatient "other-patient" Input "the card is another patient's"
    AttachmentFile "attachment-file" Input "a file to attach cannot be read, or changed"
    NoAttachment "no-attachment" Input "the record has no such attachment, or the attachment no such bytes"
    NotKept "not-kept" Input "no refused record with that name is kept"
    NotReadable "not-readable" Input "a kept record cannot be opened again"
    OwnerNotRegistered "owner-not-registered" Input "the owner of a card has no account yet"
    Fields "fields" Input "these fields cannot be disclosed"
    Disclosure "disclosure" Input "this is not a disclosure"
    NodeRefused "node-refused" Refused "the node refuses permanently"
    Revoked "revoked" Refused "access was taken back"
    AccessNotRequested "access-not-requested" Refused "access has to be requested first"
    NotFound "not-found" Refused "it does not exist, or the account may not know of it"
    NotGranted "not-granted" Refused "no grant allows it"
    NoSuchRecord "no-such-record" Refused "there is no such record"
    NoSuchVersion "no-such-version" Refused "there is no such version of the record, or it is not kept any more"
    VersionClosed "version-closed" Refused "this version of the record is closed to the reader"
    RecordDeleted "record-deleted" Refused "the record was deleted"
    NotAuthor "not-author" Refused "only the author and the patient can delete a record"
    NoDirectory "no-directory" Refused "the patient has published no key directory"
    NoKeys "no-keys" Refused "the key directory holds no keys for this reader"
    NotADelegate "not-a-delegate" Refused "the patient has not named this account as a delegate for this"
    NoSuchGrant "no-such-grant" Refused "the account holds no such grant"
    Full "full" Refused "grant slots, key directory or a counter are used up"
    AccountInactive "account-inactive" Refused "the account is suspended or closed"
    RevocationLost "revocation-lost" Refused "a revocation that was signed before is not in force"
    ContractRefused "contract-refused" Refused "the contract refuses"
    OtherContract "other-contract" Unverified "the contract is not this program's, not one that began empty, or not the one that you named"
    SizesChanged "sizes-changed" Unverified "registrars changed the verifiers, and you did not say that this is right"
    UnsafeChain "unsafe-chain" Refused "on that chain anyone could forge proofs, or you did not name it or the contract there"
    NotInvited "not-invited" Refused "the hospital pays only for people with an invitation"
    CannotInvite "cannot-invite" Refused "only hospitals and their doctors can invite"
    OtherRollupKey "other-rollup-key" Refused "the account has another rollup key than this identity"
    NoEther "no-ether" Refused "the Ethereum key has no ether for a transaction"
    Takeover "takeover" Refused "a request to take an account over is void, or not yours to agree to"
    NotWaiting "not-waiting" Refused "no registration waits for a registrar"
    ChangeWaits "change-waits" Unavailable "a change of the account waits on L1"
    ProfileInUse "profile-in-use" Unavailable "the data folder is in use"
    NodeUnreachable "node-unreachable" Unavailable "the node does not answer"
    NodeBusy "node-busy" Unavailable "the node cannot do it now"
    Stale "stale" Unavailable "the state has changed"
    NoRoomNow "no-room-now" Unavailable "the node has no room now for blocks that no record refers to yet"
    NoDirectoryRoom "no-directory-room" Unavailable "the node has no room for a new key directory of the patient"
    OtherState "other-state" Unavailable "node and L1 show different batches"
    Contended "contended" Unavailable "others keep changing the same part of the state"
    NoHospital "no-hospital" Unavailable "the node's hospital is not registered yet"
    NotSettledYet "not-settled-yet" Unavailable "the account is not in the state yet"
    RecordNotSettled "record-not-settled" Unavailable "the record's newest version waits for its batch"
    L1Unreachable "l1-unreachable" Unavailable "the Ethereum node does not answer, or refuses"
    L1Old "l1-old" Unavailable "the newest block of the Ethereum node is more than 30 minutes old"
    NotMined "not-mined" Unavailable "a transaction is not mined, or failed"
    L1Incomplete "l1-incomplete" Unavailable "the Ethereum node keeps too little history"
    NodeAnswer "node-answer" Unverified "the node's answer is not valid"
    WrongBlock "wrong-block" Unverified "the node served or stored other bytes"
    LoginChallenge "login-challenge" Unverified "the node's login challenge must not be signed"
    CardForged "card-forged" Unverified "the card differs from the state"
    TakeoverForged "takeover-forged" Unverified "a request to take an account over is not that of the person whom you know"
    NotInState "not-in-state" Unverified "a leaf is not in the state that L1 holds"
    DirectoryUnproved "directory-unproved" Unverified "the key directory is not the one that the patient published"
    DirectoryDamaged "directory-damaged" Unverified "the key directory cannot be read"
    DelegationUnproved "delegation-unproved" Unverified "the node shows a delegate's grant that does not hold"
    LightCheck "light-check" Unverified "the patient's data from the node do not match L1"
    RecordUnproved "record-unproved" Unverified "the record does not open or does not verify"
    DisclosureUnproved "disclosure-unproved" Unverified "a disclosure does not hold, or its block is not in the chain"
    HistoryUnproved "history-unproved" Unverified "the list of a record's versions does not hold"
    ReceiptUnproved "receipt-unproved" Unverified "the receipt is not valid"
    L1Unproved "l1-unproved" Unverified "the Ethereum node's proof or answer does not hold"
    L1Disagrees "l1-disagrees" Unverified "the Ethereum nodes show different chains"
    L1Ahead "l1-ahead" Unverified "the newest block is ahead of this machine's clock"
    RolledBack "rolled-back" Unverified "the Ethereum node shows an older state than before"
    NotAHospital "not-a-hospital" Unverified "the account that the node names is not a hospital"
    NotInForce "not-in-force" Unverified "the node claims that something is settled, but it is not"
    Withheld "withheld" Unverified "the node does not show the patient's last change"
    NotOnL1 "not-on-l1" Unverified "the node claims a registration that L1 does not know"
    DiskFull "disk-full" Storage "no space is left"
    File "file" Storage "a file of the data folder cannot be read or written"
    FileDamaged "file-damaged" Storage "a file of the data folder is damaged"
    NoProfile "no-profile" Keys "there is no profile in the data folder"
    IdentityFile "identity-file" Keys "the identity file or its passphrase is wrong"
    KeyDevice "key-device" Keys "the device that holds the keys failed or refused"
}

impl ClientError {
    pub(super) fn entry(&self) -> Code {
        match self {
            Self::Profile(error) => profile(error),
            Self::File(error) => file(error),
            Self::IdentityFile(_) => Code::IdentityFile,
            Self::Keys(_) => Code::KeyDevice,
            Self::Node(error) => node(error),
            Self::Endpoint(EndpointError::ChainId { .. }) => Code::OtherChain,
            Self::Endpoint(EndpointError::Address(_)) => Code::Address,
            Self::Endpoint(_) => Code::L1Unreachable,
            Self::Nodes(_) => Code::EthereumNodes,
            Self::Header(HeaderError::TooFew { .. }) => Code::L1Unreachable,
            Self::Header(_) => Code::L1Disagrees,
            Self::HeaderAge(HeaderAgeError::Ahead { .. }) => Code::L1Ahead,
            Self::HeaderAge(_) => Code::L1Old,
            Self::Rollup(error) => rollup(error),
            Self::SettledState(SettledStateError::SizesChanged { .. }) => Code::SizesChanged,
            Self::Proof(_) | Self::SettledState(_) => Code::L1Unproved,
            Self::Seen(SeenError::RolledBack { .. }) => Code::RolledBack,
            Self::Seen(SeenError::File(error)) => file(error),
            Self::Card(error) => card(error),
            Self::Membership(MembershipError::OtherState { .. }) => Code::OtherState,
            Self::Membership(_) => Code::NotInState,
            Self::Directory(_) => Code::DirectoryUnproved,
            Self::Delegation(_) => Code::DelegationUnproved,
            Self::KeyDirectory(_) | Self::OwnDirectory(_) | Self::DelegatedKeys(_) => Code::DirectoryDamaged,
            Self::Light(_) => Code::LightCheck,
            Self::RecordProof(RecordProofError::NotLive { .. }) => Code::NoSuchRecord,
            Self::RecordProof(_) => Code::RecordUnproved,
            Self::Disclosed(error) => disclosed(error),
            Self::Disclosing(error) => disclosing(error),
            Self::History(error) => history(error),
            Self::Receipt(_) => Code::ReceiptUnproved,
            Self::Malformed(_) => Code::NodeAnswer,
            Self::OtherContract { .. }
            | Self::Deployment(_)
            | Self::AccountChange(AccountChangeError::OtherRollup(_)) => Code::OtherContract,
            Self::NotADevelopmentChain(_)
            | Self::UnnamedContract(_)
            | Self::OtherChain { .. }
            | Self::UnsafeSetup(_) => Code::UnsafeChain,
            Self::OtherHospital { .. } => Code::OtherHospital,
            Self::NotAHospital(_) => Code::NotAHospital,
            Self::NoHospital => Code::NoHospital,
            Self::Contended => Code::Contended,
            Self::RevocationLost { .. } => Code::RevocationLost,
            Self::NotInForce { .. } => Code::NotInForce,
            Self::Withheld => Code::Withheld,
            Self::Exhausted(_) => Code::Full,
            Self::Write(error) => write(error),
            Self::Read(error) => read(error),
            Self::Grant(error) => grant(error),
            Self::Delegate(error) => delegate(error),
            Self::Emergency(EmergencyError::NotADoctor) => Code::NotADoctor,
            Self::Emergency(_) => Code::GrantTerms,
            Self::Register(error) => register(error),
            Self::Admission(AdmissionError::NotRegistered(_)) => Code::OwnerNotRegistered,
            Self::Admission(AdmissionError::NotWaiting(_)) => Code::NotWaiting,
            Self::Admission(AdmissionError::Several { .. }) => Code::Card,
            Self::AccountChange(AccountChangeError::NotAPatient) => Code::NotAPatient,
            Self::AccountChange(AccountChangeError::NotQueued) => Code::L1Unproved,
            Self::AccountChange(AccountChangeError::Keys) => Code::Card,
            Self::OtherRollupKey(_) => Code::OtherRollupKey,
            Self::ChangeWaits(_) => Code::ChangeWaits,
            Self::NoEther(_) => Code::NoEther,
            Self::Ownership(OwnershipError::OtherRollup(_)) => Code::OtherContract,
            Self::Ownership(
                OwnershipError::Forged(_)
                | OwnershipError::OtherPerson { .. }
                | OwnershipError::OtherAccount { .. }
                | OwnershipError::NotTheirs(_),
            ) => Code::TakeoverForged,
            Self::Ownership(OwnershipError::NotDone) => Code::L1Unproved,
            Self::Ownership(_) => Code::Takeover,
            Self::SettleQueue(SettleQueueError::Sizes) => Code::OtherDeployment,
            Self::SettleQueue(SettleQueueError::Halted(_)) => Code::ContractRefused,
            Self::SettleQueue(_) => Code::L1Unproved,
            Self::Link(LinkError::NotAPatient) => Code::NotAPatient,
            Self::Link(LinkError::Address(_)) => Code::Address,
            Self::Link(_) => Code::LinkTerms,
            Self::Invite(InviteError::NotRegistered) => Code::NotRegistered,
            Self::Invite(InviteError::Role) => Code::CannotInvite,
            Self::Invite(InviteError::Expires) => Code::InvitationExpiry,
        }
    }
}

fn profile(error: &ProfileError) -> Code {
    match error {
        ProfileError::NotFound(_) => Code::NoProfile,
        ProfileError::InUse(_) => Code::ProfileInUse,
        ProfileError::NotJoined(_) => Code::NotJoined,
        ProfileError::OtherInstance { .. } => Code::OtherDeployment,
        ProfileError::Identity(_) => Code::IdentityFile,
        ProfileError::File(error) => file(error),
    }
}

const fn file(error: &FileError) -> Code {
    match error {
        FileError::DiskFull(_) => Code::DiskFull,
        FileError::Io { .. } => Code::File,
        FileError::Damaged { .. } => Code::FileDamaged,
    }
}

fn node(error: &NodeError) -> Code {
    match error {
        NodeError::Address(_) => Code::Address,
        NodeError::Unreachable { .. } => Code::NodeUnreachable,
        NodeError::Refused { .. } if error.is_no_room_now() => Code::NoRoomNow,
        NodeError::Refused { .. } if error.is_temporary() => Code::NodeBusy,
        NodeError::Refused { problem: Problem { code, .. }, .. } => match code.as_str() {
            "stale" => Code::Stale,
            "no-directory-room" => Code::NoDirectoryRoom,
            "revoked" => Code::Revoked,
            "no-session" => Code::AccessNotRequested,
            "not-found" => Code::NotFound,
            _ => Code::NodeRefused,
        },
        NodeError::Malformed { .. } | NodeError::TooLarge { .. } => Code::NodeAnswer,
        NodeError::WrongBlock(_) | NodeError::StoredElsewhere { .. } => Code::WrongBlock,
        NodeError::LoginChallenge(_) => Code::LoginChallenge,
        NodeError::Keys(_) => Code::KeyDevice,
        NodeError::NotRegistered => Code::NotRegistered,
    }
}

fn rollup(error: &RollupError) -> Code {
    match error {
        RollupError::Reverted(_) | RollupError::TooMuchGas { .. } => Code::ContractRefused,
        RollupError::Malformed(_) => Code::L1Unproved,
        RollupError::NoContract { .. } => Code::NoContract,
        RollupError::Failed(_) | RollupError::NotMined { .. } => Code::NotMined,
        RollupError::QueueEntryMissing { .. } | RollupError::BatchData { .. } => Code::L1Incomplete,
        _ => Code::L1Unreachable,
    }
}

const fn card(error: &CardError) -> Code {
    match error {
        CardError::Malformed(_) | CardError::OtherInstance { .. } | CardError::NotRegistered => Code::Card,
        CardError::Forged { .. } => Code::CardForged,
        CardError::Inactive { .. } => Code::AccountInactive,
        CardError::Membership(MembershipError::OtherState { .. }) => Code::OtherState,
        CardError::Membership(_) => Code::NotInState,
        CardError::Unknown(_) => Code::NotSettledYet,
    }
}

const fn write(error: &WriteError) -> Code {
    match error {
        WriteError::NoDirectory(_) => Code::NoDirectory,
        WriteError::NotGranted { .. } => Code::NotGranted,
        WriteError::NoSuchRecord { .. } => Code::NoSuchRecord,
        WriteError::Deleted(_) => Code::RecordDeleted,
        WriteError::NotAuthor { .. } => Code::NotAuthor,
        WriteError::NotRefused(_) => Code::NotKept,
        WriteError::NotReadable(_) => Code::NotReadable,
        WriteError::OtherPatient { .. } => Code::OtherPatient,
        WriteError::ClassNotProved(_) => Code::ClassNotProved,
        WriteError::OtherClass { .. } => Code::OtherClass,
        WriteError::AttachmentFile { .. } | WriteError::AttachmentChanged(_) | WriteError::AttachmentLost(_) => {
            Code::AttachmentFile
        }
        WriteError::NoRoomNow { .. } => Code::NoRoomNow,
        WriteError::Record(_)
        | WriteError::Seal(_)
        | WriteError::SameAttachment(_)
        | WriteError::AttachmentsTooLarge { .. }
        | WriteError::Attachments(_) => Code::Record,
    }
}

const fn read(error: &ReadError) -> Code {
    match error {
        ReadError::NotGranted { .. } => Code::NotGranted,
        ReadError::Revoked { .. } => Code::Revoked,
        ReadError::NotRequested { .. } => Code::AccessNotRequested,
        ReadError::NoSuchRecord { .. } => Code::NoSuchRecord,
        ReadError::NoKeys => Code::NoKeys,
        ReadError::NoAttachment { .. } | ReadError::NoSuchBytes { .. } => Code::NoAttachment,
        ReadError::Open { .. }
        | ReadError::TooLarge(_)
        | ReadError::Attachment { .. }
        | ReadError::Document { .. }
        | ReadError::LargeDocument { .. } => Code::RecordUnproved,
    }
}

const fn history(error: &HistoryError) -> Code {
    match error {
        HistoryError::NoSuchVersion(_) | HistoryError::NotKept(_) => Code::NoSuchVersion,
        HistoryError::Unlinked { .. } | HistoryError::Closed(_) => Code::VersionClosed,
        HistoryError::Newest
        | HistoryError::Order
        | HistoryError::Omitted(_)
        | HistoryError::Impossible(_)
        | HistoryError::Stored(_)
        | HistoryError::Audit(_)
        | HistoryError::NotPrevious(_)
        | HistoryError::Author(_) => Code::HistoryUnproved,
    }
}

const fn grant(error: &GrantError) -> Code {
    match error {
        GrantError::NotAPatient => Code::NotAPatient,
        GrantError::Rights(_) | GrantError::NoClass | GrantError::Past | GrantError::Grantee(_) => Code::GrantTerms,
        GrantError::Custodian(_) => Code::Card,
        GrantError::NoSlot | GrantError::Keys(_) => Code::Full,
        GrantError::Epoch(RevokeError::NotAReader(_)) | GrantError::NoSuchGrant(_) => Code::NoSuchGrant,
        GrantError::Epoch(_) => Code::Full,
    }
}

const fn delegate(error: &DelegateError) -> Code {
    match error {
        DelegateError::NotADelegate(_) | DelegateError::Beyond { .. } => Code::NotADelegate,
        DelegateError::Delegate(_) | DelegateError::Yourself | DelegateError::Part(_) => Code::GrantTerms,
        DelegateError::NotAPatient(_) => Code::Card,
        DelegateError::Patient => Code::NotADoctor,
        DelegateError::NoKeys | DelegateError::HandOn(_) => Code::NoKeys,
        DelegateError::NoSlot => Code::Full,
        DelegateError::Waits(_) => Code::Contended,
    }
}

const fn disclosed(error: &DisclosedError) -> Code {
    match error {
        DisclosedError::TooLarge(_) | DisclosedError::Malformed(_) => Code::Disclosure,
        DisclosedError::Broken(_) => Code::DisclosureUnproved,
        DisclosedError::Deployment(_) | DisclosedError::CircuitVersion { .. } => Code::OtherContract,
        DisclosedError::UnsafeSetup(_) => Code::UnsafeChain,
        DisclosedError::SizesChanged { .. } => Code::SizesChanged,
        DisclosedError::Card(error) => card(error),
        DisclosedError::OtherCard(_) => Code::CardForged,
    }
}

const fn disclosing(error: &DisclosingError) -> Code {
    match error {
        DisclosingError::NotAPatient => Code::NotAPatient,
        DisclosingError::NotSettled(_) => Code::RecordNotSettled,
        DisclosingError::Fields(_) | DisclosingError::TooLarge(_) => Code::Fields,
        DisclosingError::OtherBlock { .. } => Code::DisclosureUnproved,
    }
}

const fn register(error: &RegisterError) -> Code {
    match error {
        RegisterError::OrgForRole(_) => Code::OrgForRole,
        RegisterError::NotInvited => Code::NotInvited,
        RegisterError::NotOnL1(_) => Code::NotOnL1,
        RegisterError::NotYet(_) => Code::NotSettledYet,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `docs/errors.md` lists every code with its kind and meaning, and no other.
    #[test]
    fn every_code_is_documented_and_used_once() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let listed: String = Code::ALL
            .iter()
            .map(|code| format!("| `{}` | {:?} | {} |\n", code.as_str(), code.kind(), code.meaning()).to_lowercase())
            .collect();
        let documentation = include_str!("../../../docs/errors.md").to_lowercase();
        assert!(documentation.contains(&listed), "docs/errors.md needs this table:\n{listed}");
    }
}

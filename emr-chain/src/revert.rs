//! Errors of calls to the rollup contract. Each of the contract's custom errors says what to do next.

use alloy::{
    contract,
    primitives::{Address, B256, Bytes, U256},
    providers::PendingTransactionError,
    sol_types::SolInterface,
    transports::{RpcError, TransportError},
};

use crate::{
    bindings::EmrRollup::EmrRollupErrors as Abi, governance::GovernanceRefusal, ownership::OwnershipRefusal,
    queue::QueueName, submitter::SubmitError,
};

/// Reading from or writing to the rollup contract failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollupError {
    /// The contract reverted.
    #[error(transparent)]
    Reverted(#[from] Revert),
    /// The node refused, but the contract did not revert.
    #[error("the Ethereum node refused: {message} (code {code})")]
    Node {
        /// JSON-RPC error code.
        code: i64,
        /// The node's message.
        message: String,
    },
    /// The node could not be reached.
    #[error("the Ethereum node cannot be reached: {0}; check that it runs and that its address is right")]
    Unreachable(String),
    /// The node's answer is not valid.
    #[error("the Ethereum node's answer is not valid: {0}; use another node")]
    Malformed(String),
    /// There is no rollup at the address.
    #[error("there is no contract at {address} on chain {chain_id}: check the address and the chain, or deploy first")]
    NoContract {
        /// The address.
        address: Address,
        /// The node's chain.
        chain_id: u64,
    },
    /// A transaction was mined but failed, and repeating the call does not give a reason.
    #[error("transaction {0} failed without a reason; the state it depended on changed meanwhile: try again")]
    Failed(B256),
    /// A transaction was sent but not mined in time. It may be mined later.
    #[error(
        "transaction {tx_hash} was sent {seconds} s ago and is not mined: check later whether it is, before you send it again"
    )]
    NotMined {
        /// Its hash.
        tx_hash: B256,
        /// How long the caller waited.
        seconds: u64,
    },
    /// A transaction needs more gas than a block has, or than its purpose allows.
    #[error("the transaction needs {needed} gas, more than the {limit} that it may use")]
    TooMuchGas {
        /// The gas that it needs.
        needed: u64,
        /// The gas that is allowed.
        limit: u64,
    },
    /// The contract has an entry in its queue, but the node has no event for it.
    #[error(
        "the node has no event for entry {index} of the {queue} queue, because it prunes logs: use a node that keeps them"
    )]
    QueueEntryMissing {
        /// The queue.
        queue: QueueName,
        /// The position.
        index: u64,
    },
    /// The transaction of a settled batch cannot be read.
    #[error("the data of batch {number} cannot be read: {why}; use a node that keeps transactions")]
    BatchData {
        /// The batch.
        number: u64,
        /// What is wrong with the data.
        why: &'static str,
    },
    /// The account's submitter does not send.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl RollupError {
    /// The contract's reason, if it reverted.
    pub const fn revert(&self) -> Option<&Revert> {
        match self {
            Self::Reverted(revert) => Some(revert),
            _ => None,
        }
    }
}

impl From<TransportError> for RollupError {
    fn from(error: TransportError) -> Self {
        match error {
            RpcError::ErrorResp(response) => match response.as_revert_data() {
                Some(data) => Self::Reverted(Revert::decode(&data)),
                None => Self::Node { code: response.code, message: response.message.into_owned() },
            },
            RpcError::Transport(kind) => Self::Unreachable(kind.to_string()),
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl From<contract::Error> for RollupError {
    fn from(error: contract::Error) -> Self {
        match error {
            contract::Error::TransportError(error) => error.into(),
            contract::Error::PendingTransactionError(error) => error.into(),
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl From<PendingTransactionError> for RollupError {
    fn from(error: PendingTransactionError) -> Self {
        match error {
            PendingTransactionError::TransportError(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// The contract's reason for a revert, decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Revert {
    /// The owner has an account already.
    #[error("{owner} has account {account}, or registered it for whoever owns it now: use another Ethereum key")]
    AlreadyRegistered {
        /// The owner.
        owner: Address,
        /// The account.
        account: u64,
    },
    /// No account index is left.
    #[error("all account indices of this rollup are used: deploy another rollup")]
    AccountsExhausted,
    /// The registration has no role.
    #[error("the registration names no role")]
    UnknownRole,
    /// The value sent is not the fee.
    #[error("registration costs {expected} wei, not {sent}: send exactly the fee")]
    WrongFee {
        /// The fee.
        expected: U256,
        /// The value that was sent.
        sent: U256,
    },
    /// A coordinate is not below the modulus.
    #[error("the rollup key's coordinate {0:#x} is not canonical: derive the key again")]
    CoordinateNotCanonical(U256),
    /// The point is not on the curve.
    #[error("the rollup key is not a point of Baby Jubjub: derive the key again")]
    PointNotOnCurve,
    /// The point has low order.
    #[error("the rollup key has low order and could be forged: derive the key again")]
    PointOfLowOrder,
    /// The encryption commitment is out of range or not allowed.
    #[error("the encryption commitment {0:#x} is not valid: patients give one below 2^248, others none")]
    InvalidEncryptionCommitment(U256),
    /// The registration of a patient contains an RSA key.
    #[error("a patient's RSA key must not be published: register its commitment only")]
    UnexpectedRsaKey,
    /// The registration of a patient contains the hash of a second key.
    #[error("the hash of a patient's second key must not be published: register its commitment only")]
    UnexpectedKemHash,
    /// The registration names an organisation, but is not a doctor's.
    #[error("only doctors belong to an organisation: leave it out")]
    UnexpectedOrganisation,
    /// The modulus is malformed.
    #[error("the RSA key must have 2048 to 4096 bits in whole bytes: create another")]
    InvalidRsaModulus,
    /// The proof of possession does not verify.
    #[error(
        "the RSA signature does not prove possession of the key for this owner, role, second key and contract: sign again"
    )]
    InvalidRsaSignature,
    /// The account is not an admitted hospital.
    #[error("account {0} is not an admitted hospital: a registrar must admit it first")]
    NotAdmittedHospital(u64),
    /// The hospital did not endorse the doctor.
    #[error("hospital {hospital} has not endorsed {doctor}: the hospital must endorse that address first")]
    NotEndorsed {
        /// The hospital's account.
        hospital: u64,
        /// The doctor's Ethereum address.
        doctor: Address,
    },
    /// A signed registration came too late.
    #[error("what the owner signed expired at {0}: sign it again with a later deadline")]
    RegistrationExpired(U256),
    /// The owner withdrew a registration.
    #[error(
        "{0} withdrew a registration or owned another account, so no signed one counts any more: register from this address itself"
    )]
    RelayedRegistrationUsed(Address),
    /// The owner's signature does not verify.
    #[error("this is not signed by {0} for this chain and contract: sign it again")]
    InvalidOwnerSignature(Address),
    /// The account neither waits for admission nor is admitted.
    #[error("account {0} neither waits for admission nor is admitted")]
    NotPending(u64),
    /// Another registration is now waiting under the account index.
    #[error("another registration is now waiting for admission under account {0}: look at it again")]
    RegistrationChanged(u64),
    /// The account is not suspended.
    #[error("account {0} is not suspended")]
    NotSuspended(u64),
    /// The registrar has no say over patients.
    #[error("account {0} is a patient's: only they can close it")]
    PatientsAreNotSuspended(u64),
    /// The owner has no account.
    #[error("{0} has no account here: register first, or use the key of the account")]
    NotRegistered(Address),
    /// The account is not a patient's.
    #[error("account {0} is not a patient's: only patients have grants")]
    NotPatient(u64),
    /// The revocation is malformed.
    #[error("the revocation names no slot from 0 to 1023, or a directory that is out of range")]
    InvalidRevocation,
    /// The account is closed, or waits for admission.
    #[error("account {0} is closed, or waits for admission")]
    NotOpen(u64),
    /// The keys are for another role or organisation than the account's.
    #[error("role and organisation of account {0} never change: register again with another Ethereum key")]
    AnotherRole(u64),
    /// The owner's signature names another nonce than the next one.
    #[error("another signature of {owner} was used meanwhile: sign again")]
    NonceUsed {
        /// The owner.
        owner: Address,
    },
    /// An entry of this kind waits.
    #[error("entry {index} of the {queue} queue for account {account} still waits: try again when it is settled")]
    EntryWaiting {
        /// The account.
        account: u64,
        /// The queue.
        queue: QueueName,
        /// The position.
        index: u64,
    },
    /// The fee is higher than the value sent.
    #[error("the urgent queue is long, and an entry costs {fee} wei now, more than the {sent} sent: try again")]
    UrgentFeeMissing {
        /// The fee.
        fee: U256,
        /// The value that was sent.
        sent: U256,
    },
    /// The caller has no credit.
    #[error("{0} has no credit")]
    NoCredit(Address),
    /// The caller is not a registrar.
    #[error("{0} is not a registrar: use a registrar's key")]
    NotRegistrar(Address),
    /// Guardians halted settlement.
    #[error("guardians halted settlement until {until} (Unix time): nothing is settled before")]
    SettlementHalted {
        /// The end of the halt, Unix seconds.
        until: u64,
    },
    /// The contract that holds the offices refuses.
    #[error(transparent)]
    Governance(#[from] GovernanceRefusal),
    /// The reason is about an account's owner or guardians.
    #[error(transparent)]
    Ownership(#[from] OwnershipRefusal),
    /// The caller may not settle this: no urgent entry is overdue, or it takes ordinary entries while the sequencer is
    /// there.
    #[error(
        "{0} is not the sequencer: use its key, or settle urgent entries once they are overdue, and ordinary ones a day after the \
         sequencer's last batch"
    )]
    NotSequencer(Address),
    /// A caller other than the sequencer settles operations along with overdue entries.
    #[error("{0} is not the sequencer, so it may only settle overdue queue entries: leave the operations out")]
    OperationsBySequencerOnly(Address),
    /// The call came through another contract.
    #[error("{0} has code or is not the sender of the transaction: settle directly from an ordinary account")]
    NotDirectCall(Address),
    /// The calldata are not in the ABI's standard encoding.
    #[error("the calldata are not in the ABI's standard encoding: encode the call again")]
    NonStandardCalldata,
    /// The batch starts from another state root than the current one.
    #[error("the batch does not start from the current state ({0}): seal it again on this state")]
    StaleBatch(B256),
    /// The batch time is out of range.
    #[error("the batch time must be from {earliest} to {latest}: seal the batch again; check the clocks")]
    BatchTimeOutOfRange {
        /// Earliest time accepted, Unix seconds.
        earliest: u64,
        /// Latest time accepted, Unix seconds.
        latest: u64,
    },
    /// A word is not a field element.
    #[error("{0:#x} is not a field element")]
    NotCanonical(U256),
    /// The number of words in D1 or D2 is not a multiple of four.
    #[error("{0} words are not a whole number of entries with the urgent ones: an entry has four")]
    IncompleteEntry(U256),
    /// The contract has no size at the position that the batch names.
    #[error("the batch is of size {size}, and this rollup has {count} sizes: use the program that belongs to it")]
    UnknownSize {
        /// The position.
        size: U256,
        /// How many sizes there are.
        count: U256,
    },
    /// Too many queue entries.
    #[error("{supplied} queue entries do not fit: a batch of this size holds {capacity}")]
    TooManyEntries {
        /// How many were supplied.
        supplied: U256,
        /// How many fit.
        capacity: U256,
    },
    /// Too many operations.
    #[error("{supplied} operations do not fit: a batch of this size holds {capacity}")]
    TooManyOperations {
        /// How many were supplied.
        supplied: U256,
        /// How many fit.
        capacity: U256,
    },
    /// A queue entry's words are not those that were queued.
    #[error("the words of entry {index} of the {queue} queue are not those that were queued: read the queue again")]
    EntryMismatch {
        /// The queue.
        queue: QueueName,
        /// The position.
        index: u64,
    },
    /// There are more entries in the batch than in the queue.
    #[error("{supplied} entries were supplied but only {waiting} wait in the {queue} queue: read the queue again")]
    EntriesNotQueued {
        /// The queue.
        queue: QueueName,
        /// How many were supplied.
        supplied: U256,
        /// How many are waiting.
        waiting: U256,
    },
    /// The batch takes fewer queue entries than it must.
    #[error(
        "the batch takes {supplied} entries of the {queue} queue but must take {required}: seal it again with them"
    )]
    OverdueEntriesOmitted {
        /// The queue.
        queue: QueueName,
        /// How many were supplied.
        supplied: U256,
        /// How many it must take.
        required: U256,
    },
    /// The verifier rejected the proof.
    #[error("the verifier rejected the proof: prove the batch again with the keys of this deployment")]
    ProofRejected,
    /// Ether could not be sent.
    #[error("{0} does not accept ether: name another recipient")]
    TransferFailed(Address),
    /// A parameter of a deployment is out of range.
    #[error("deployment parameter {0} is out of range")]
    InvalidParameter(String),
    /// The revert data match no error of the contract.
    #[error("the contract reverted with {0}, which this version does not know: update the program")]
    Unknown(Bytes),
}

impl Revert {
    /// Decodes revert data.
    pub(crate) fn decode(data: &Bytes) -> Self {
        match Abi::abi_decode(data) {
            Ok(error) => error.into(),
            Err(_) => GovernanceRefusal::decode(data).map_or_else(|| Self::Unknown(data.clone()), Self::Governance),
        }
    }
}

impl From<Abi> for Revert {
    fn from(error: Abi) -> Self {
        let time = |time: U256| time.saturating_to::<u64>();
        // The ABI decoder accepts the codes of the contract's enum only.
        let queue = |code: u8| QueueName::from_code(code).unwrap_or(QueueName::Ordinary);
        match error {
            Abi::AlreadyRegistered(e) => Self::AlreadyRegistered { owner: e.owner, account: e.account.to() },
            Abi::AccountsExhausted(_) => Self::AccountsExhausted,
            Abi::UnknownRole(_) => Self::UnknownRole,
            Abi::WrongFee(e) => Self::WrongFee { expected: e.expected, sent: e.sent },
            Abi::CoordinateNotCanonical(e) => Self::CoordinateNotCanonical(e.coordinate),
            Abi::PointNotOnCurve(_) => Self::PointNotOnCurve,
            Abi::PointOfLowOrder(_) => Self::PointOfLowOrder,
            Abi::InvalidEncryptionCommitment(e) => Self::InvalidEncryptionCommitment(e.commitment),
            Abi::UnexpectedRsaKey(_) => Self::UnexpectedRsaKey,
            Abi::UnexpectedKemHash(_) => Self::UnexpectedKemHash,
            Abi::UnexpectedOrganisation(_) => Self::UnexpectedOrganisation,
            Abi::InvalidRsaModulus(_) => Self::InvalidRsaModulus,
            Abi::InvalidRsaSignature(_) => Self::InvalidRsaSignature,
            Abi::NotAdmittedHospital(e) => Self::NotAdmittedHospital(e.account.to()),
            Abi::NotEndorsed(e) => Self::NotEndorsed { hospital: e.hospital.to(), doctor: e.doctor },
            Abi::RegistrationExpired(e) => Self::RegistrationExpired(e.deadline),
            Abi::RelayedRegistrationUsed(e) => Self::RelayedRegistrationUsed(e.owner),
            Abi::InvalidOwnerSignature(e) => Self::InvalidOwnerSignature(e.owner),
            Abi::NotPending(e) => Self::NotPending(e.account.to()),
            Abi::RegistrationChanged(e) => Self::RegistrationChanged(e.account.to()),
            Abi::NotSuspended(e) => Self::NotSuspended(e.account.to()),
            Abi::PatientsAreNotSuspended(e) => Self::PatientsAreNotSuspended(e.account.to()),
            Abi::NotRegistered(e) => Self::NotRegistered(e.owner),
            Abi::NotPatient(e) => Self::NotPatient(e.account.to()),
            Abi::InvalidRevocation(_) => Self::InvalidRevocation,
            Abi::NotOpen(e) => Self::NotOpen(e.account.to()),
            Abi::AnotherRole(e) => Self::AnotherRole(e.account.to()),
            Abi::InvalidAccountNonce(e) => Self::NonceUsed { owner: e.account },
            Abi::EntryWaiting(e) => {
                Self::EntryWaiting { account: e.account.to(), queue: queue(e.queue), index: e.index.to() }
            }
            Abi::UrgentFeeMissing(e) => Self::UrgentFeeMissing { fee: e.fee, sent: e.sent },
            Abi::NoCredit(e) => Self::NoCredit(e.caller),
            Abi::NotRegistrar(e) => Self::NotRegistrar(e.caller),
            Abi::GovernanceRequired(e) => GovernanceRefusal::ThroughTimelockOnly(e.caller).into(),
            Abi::SettlementHalted(e) => Self::SettlementHalted { until: time(e.until) },
            Abi::HaltedBefore(e) => GovernanceRefusal::HaltedBefore { from: time(e.from) }.into(),
            Abi::NotHalted(_) => GovernanceRefusal::NotHalted.into(),
            Abi::NotSequencer(e) => Self::NotSequencer(e.caller),
            Abi::OperationsBySequencerOnly(e) => Self::OperationsBySequencerOnly(e.caller),
            Abi::NotDirectCall(e) => Self::NotDirectCall(e.caller),
            Abi::NonStandardCalldata(_) => Self::NonStandardCalldata,
            Abi::StaleBatch(e) => Self::StaleBatch(e.current.into()),
            Abi::BatchTimeOutOfRange(e) => {
                Self::BatchTimeOutOfRange { earliest: time(e.earliest), latest: time(e.latest) }
            }
            Abi::NotCanonical(e) => Self::NotCanonical(e.word),
            Abi::IncompleteEntry(e) => Self::IncompleteEntry(e.words),
            Abi::UnknownSize(e) => Self::UnknownSize { size: e.size, count: e.count },
            Abi::TooManyEntries(e) => Self::TooManyEntries { supplied: e.supplied, capacity: e.capacity },
            Abi::TooManyOperations(e) => Self::TooManyOperations { supplied: e.supplied, capacity: e.capacity },
            Abi::EntryMismatch(e) => Self::EntryMismatch { queue: queue(e.queue), index: e.index.to() },
            Abi::EntriesNotQueued(e) => {
                Self::EntriesNotQueued { queue: queue(e.queue), supplied: e.supplied, waiting: e.waiting }
            }
            Abi::OverdueEntriesOmitted(e) => {
                Self::OverdueEntriesOmitted { queue: queue(e.queue), supplied: e.supplied, required: e.required }
            }
            Abi::ProofRejected(_) => Self::ProofRejected,
            Abi::TransferFailed(e) => Self::TransferFailed(e.to),
            Abi::InvalidParameter(e) => Self::InvalidParameter(e.name),
            // OpenZeppelin's EIP712 has the last two for long names. They cannot occur with this contract's name.
            Abi::NotAdmitted(_)
            | Abi::InvalidGuardians(_)
            | Abi::OtherGuardians(_)
            | Abi::ApprovalsMissing(_)
            | Abi::NoRecovery(_)
            | Abi::RecoveryWaits(_)
            | Abi::InvalidShortString(_)
            | Abi::StringTooLong(_) => {
                OwnershipRefusal::of(&error).map_or_else(|| Self::Unknown(error.abi_encode().into()), Self::Ownership)
            }
        }
    }
}

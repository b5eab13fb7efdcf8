//! Verifies some fields of a record that a patient shows to somebody without an account: from the fields up to a block header of L1. Pure:
//! bytes in, typed result out. `docs/disclosure.md` has the format, and says what each part proves.
//!
//! ```text
//! fields ─ salts ─ nodes ─ commitment ─ authorship ─ author's signature ─ author's key ─ identity leaf ─ identity root ┐
//!                                           │ authored                                                          ├ state root
//!                                      record leaf ─ records root ─ medical leaf ──────────────── medical root ─┘      │
//! block hash ─ block header ─ L1's state root ─ the contract's account ─ its storage root ─ slot 0 ────────────────────┘
//! deployment ─ the contract's address
//! ```

mod wire;

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, keccak256},
    rpc::types::EIP1186AccountProofResponse,
};
use emr_api::RecordProof;
use emr_chain::{
    DEVELOPMENT_CHAINS, DeploymentRecord, RollupInstance, SizesDigest,
    proof::{VerifiedHeader, verify_header_rlp},
};
use emr_core::{AccountIndex, Authorship, Disclosure, Key, RecordStatus, Role, UnixTime, Value};
use emr_crypto::{CommittedKey, RsaPublic};
use emr_rollup::{
    operation::Domain,
    state::leaf::{IdentityLeaf, RecordLeaf},
};

use crate::verify::{
    card::{Card, CardError},
    deployment::{self, DeploymentError},
    membership::MembershipError,
    record::{RecordId, RecordProofError, check_authorship, check_membership},
    settled_state::{ProvedRoot, SettledState, SettledStateError},
};

/// The largest file in bytes.
pub const MAX_BYTES: usize = 8 << 20;

/// Why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosedError {
    /// There are more bytes than any such file has. Nothing was parsed.
    #[error("{0} bytes are more than a disclosure has, at most {MAX_BYTES}: check the file's name")]
    TooLarge(usize),
    /// The bytes are not such a file, or not in its canonical form.
    #[error("this is not a disclosure ({0}): ask for the file again")]
    Malformed(String),
    /// A part does not follow from the others.
    #[error("the disclosure does not hold: its {0} was changed or made up. Do not rely on it; ask for the file again")]
    Broken(&'static str),
    /// The contract is not one of this program's, or is one that could hold made-up accounts.
    #[error(
        "the disclosure's contract is not a rollup of this program that began with the empty state: do not rely on the disclosure, or use the version of \
         this program that the hospital uses"
    )]
    Deployment(DeploymentError),
    /// The contract checks proofs with the development setup, on a chain that is not for development.
    #[error(
        "the contract on chain {0} checks proofs with the development setup, under which anyone can forge them: do not rely on the disclosure"
    )]
    UnsafeSetup(u64),
    /// Registrars changed with which verifiers the contract checks proofs.
    #[error(
        "the verifiers of contract {contract} changed since its deployment: ask the hospital or the registrar, in another way, which sizes are \
         right. If it is {sizes}, name it with --sizes"
    )]
    SizesChanged {
        /// The contract.
        contract: Address,
        /// The sizes in the block of the disclosure.
        sizes: SizesDigest,
    },
    /// The contract had another circuit version in this block.
    #[error(
        "contract {contract} has circuit version {version} in this block: use the version of this program that knows it"
    )]
    CircuitVersion {
        /// The contract.
        contract: Address,
        /// Its circuit version.
        version: u64,
    },
    /// The card cannot be used, or differs.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The card belongs to somebody else.
    #[error("the card is that of account {0}, who is neither the author nor the patient of the disclosed record")]
    OtherCard(AccountIndex),
}

/// What proves a record version, without its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Chain and contract.
    pub instance: RollupInstance,
    /// What the contract was made from.
    pub deployment: DeploymentRecord,
    /// The block's hash.
    pub block: B256,
    /// The block's header in RLP.
    pub header: Vec<u8>,
    /// The contract's account, and the slots that hold the state root and the sizes (if they changed: each size too), in this block.
    pub storage: EIP1186AccountProofResponse,
    /// The paths from the record's leaf and the author's identity to the state root. `batch` is not part of the file, and 0 in a file that was
    /// read.
    pub proof: RecordProof,
    /// The record's leaf.
    pub leaf: RecordLeaf,
    /// The author's identity leaf.
    pub author: IdentityLeaf,
    /// The author's RSA key, and its salt if the author is a patient.
    pub key: CommittedKey,
    /// The bytes that the author signed.
    pub authorship: Vec<u8>,
    /// The author's signature.
    pub signature: Vec<u8>,
}

/// The content of a file: some fields of a record with everything that proves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedDisclosure {
    /// What proves the record version.
    pub evidence: Evidence,
    /// The fields, and the proof that the author committed to them.
    pub disclosure: Disclosure,
}

/// Fields that hold: an author signed them, and the contract's state held the record in a block with this header.
///
/// It does not show that the header is one of the chain's: [`confirm`](crate::flow::disclose::confirm) does. Only [`verify`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedDisclosure {
    instance: RollupInstance,
    header: VerifiedHeader,
    authorship: Authorship,
    author: AccountIndex,
    identity: IdentityLeaf,
    key: CommittedKey,
    fields: BTreeMap<Key, Value>,
    count: u32,
}

/// Whose card a card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardOf {
    /// The author's: account, role, rollup key and RSA key are those of the author's identity leaf.
    Author,
    /// The patient's, who is not the author: chain, contract and account are the same. The file does not hold the patient's keys, so the card's
    /// keys are not compared.
    Patient,
}

impl CheckedDisclosure {
    /// Chain and contract.
    pub const fn instance(&self) -> &RollupInstance {
        &self.instance
    }

    /// The header of the block in which the contract's state held the record.
    pub const fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// What the author signed: patient, slot, version and class.
    pub const fn authorship(&self) -> &Authorship {
        &self.authorship
    }

    /// The author's account.
    pub const fn author(&self) -> AccountIndex {
        self.author
    }

    /// The author's identity in that block.
    pub const fn identity(&self) -> &IdentityLeaf {
        &self.identity
    }

    /// The author's RSA key.
    pub const fn author_key(&self) -> &RsaPublic {
        &self.key.rsa
    }

    /// The disclosed fields.
    pub const fn fields(&self) -> &BTreeMap<Key, Value> {
        &self.fields
    }

    /// How many parts the record has: its fields, and its original document if there is one.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How many parts are not shown.
    pub fn hidden(&self) -> u32 {
        self.count.saturating_sub(u32::try_from(self.fields.len()).unwrap_or(u32::MAX))
    }

    /// The time of the block, as its producer set it; `None` if it is no time.
    pub fn time(&self) -> Option<UnixTime> {
        UnixTime::new(self.header.timestamp()).ok()
    }

    /// Whether the chain is one for development, which anyone can make.
    pub fn is_development_chain(&self) -> bool {
        DEVELOPMENT_CHAINS.contains(&self.instance.chain_id)
    }

    /// Compares a card, which the caller got in another way, with author and patient.
    ///
    /// # Errors
    /// [`DisclosedError::OtherCard`] if it is nobody's of the two; [`DisclosedError::Card`] if it is of another deployment, or differs.
    pub fn compare(&self, card: &Card) -> Result<CardOf, DisclosedError> {
        card.check_instance(&self.instance)?;
        let account = card.registered()?;
        let forged = |field| Err(CardError::Forged { account, field }.into());
        let (key, encryption) = card.keys()?;
        if account == self.author {
            return match () {
                () if card.role != self.identity.role => forged("role"),
                () if key != self.identity.key => forged(Card::ROLLUP_KEY),
                () if encryption.is_some_and(|key| !self.key.is_of(&key)) => forged("encryption key"),
                () => Ok(CardOf::Author),
            };
        }
        match () {
            () if account != self.authorship.patient => Err(DisclosedError::OtherCard(account)),
            () if card.role != Role::Patient => forged("role"),
            () => Ok(CardOf::Patient),
        }
    }
}

/// Which part of the file an error is about.
const fn part(error: &RecordProofError) -> &'static str {
    match error {
        RecordProofError::NotLive { .. } => "record's status",
        RecordProofError::Authorship => "authorship",
        RecordProofError::Signature => "author's signature",
        RecordProofError::Mismatch(what) => what,
        RecordProofError::Content => "content",
        RecordProofError::Attachments(_) => "attachments",
        RecordProofError::Membership(error) => match error {
            MembershipError::OtherState { .. } => "state root",
            MembershipError::PathLength { leaf, .. } | MembershipError::NotThere { leaf } => leaf,
            MembershipError::Identity { field } => field,
        },
    }
}

impl ProvedDisclosure {
    /// Checks everything. `relied_on` are sizes and verifiers that the caller relies on, if they changed since the deployment. Pure.
    ///
    /// # Errors
    /// [`DisclosedError`] if anything does not hold.
    pub fn verify(&self, relied_on: Option<SizesDigest>) -> Result<CheckedDisclosure, DisclosedError> {
        let Evidence { instance, deployment, block, header, storage, proof, leaf, author, key, authorship, signature } =
            &self.evidence;
        deployment::verify(deployment, instance).map_err(DisclosedError::Deployment)?;
        if !DEVELOPMENT_CHAINS.contains(&instance.chain_id) && deployment.has_development_keys() {
            return Err(DisclosedError::UnsafeSetup(instance.chain_id));
        }
        // The bytes, and not only what they say: a header has one form.
        if keccak256(header) != *block {
            return Err(DisclosedError::Broken("block header"));
        }
        let header = verify_header_rlp(header, *block).map_err(|_| DisclosedError::Broken("block header"))?;
        let on_l1 = |error: SettledStateError| match error {
            SettledStateError::SizesChanged { contract, sizes } => DisclosedError::SizesChanged { contract, sizes },
            SettledStateError::CircuitVersion { contract, version } => {
                DisclosedError::CircuitVersion { contract, version }
            }
            _ => DisclosedError::Broken("proof of the contract's storage"),
        };
        let proved = ProvedRoot::verify(instance, &header, storage).map_err(on_l1)?;
        // Further slots would not be checked, and could say anything.
        if storage.storage_proof.len() != ProvedRoot::SLOTS.len() + proved.size_slots().len() {
            return Err(DisclosedError::Broken("number of slots"));
        }
        proved.check_sizes((instance.contract, &header), storage, relied_on).map_err(on_l1)?;

        let named = Authorship::from_dag_cbor(authorship).map_err(|_| DisclosedError::Broken("authorship"))?;
        let domain = Domain::new(instance.chain_id, instance.contract.into_array());
        let id = RecordId { domain, patient: named.patient, slot: named.slot };
        if leaf.status != RecordStatus::Live {
            return Err(DisclosedError::Broken("record's status"));
        }
        let state = SettledState::established(proved.root(), proof.batch, UnixTime::ZERO);
        let broken = |error: RecordProofError| DisclosedError::Broken(part(&error));
        check_membership(&id, leaf, author, proof, &state).map_err(broken)?;
        let authorship = check_authorship(&id, leaf, (author, key), authorship, signature).map_err(broken)?;
        let fields = self.disclosure.verify(&authorship.commitment);
        Ok(CheckedDisclosure {
            instance: *instance,
            header,
            authorship,
            author: leaf.author,
            identity: author.clone(),
            key: key.clone(),
            fields: fields.map_err(|_| DisclosedError::Broken("list of fields"))?,
            count: self.disclosure.count,
        })
    }
}

/// Checks a file. It needs no identity and asks nobody. `relied_on` are sizes and verifiers that the caller relies on, if they changed since the
/// deployment. Pure.
///
/// # Errors
/// [`DisclosedError`] if the bytes are not such a file, or anything in it does not hold.
pub fn verify(bytes: &[u8], relied_on: Option<SizesDigest>) -> Result<CheckedDisclosure, DisclosedError> {
    ProvedDisclosure::from_bytes(bytes)?.verify(relied_on)
}

//! Disclosing: the patient writes a file that shows some fields of a record to somebody without an account. That person checks it with
//! [`verify`], and compares its block with the chain ([`confirm`]).
//!
//! [`verify`]: crate::verify::disclosed::verify

use std::collections::BTreeSet;

use alloy::{primitives::B256, rpc::types::EIP1186AccountProofResponse};
use emr_api::RecordView;
use emr_chain::{DeploymentRecord, SizesDigest, header::Finality, nodes::EthereumNodes, proof::VerifiedHeader};
use emr_core::{Commitment, Key, Record, RecordSlot, RecordStatus, Role, SaltSeed, commitment::DiscloseError};

use crate::{
    client::{Client, SettledBlocks},
    error::ClientError,
    patience::Patience,
    verify::{
        card::CheckedCard,
        deployment,
        disclosed::{self, CheckedDisclosure, Evidence, MAX_BYTES, ProvedDisclosure},
        membership::identity_leaf,
        record::{RecordId, RecordProofError, verify_record},
        settled_state::ProvedRoot,
    },
};

/// Why nothing was disclosed, or a disclosure is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosingError {
    /// Only patients disclose, and only their own records.
    #[error("only a patient can disclose records, and only their own")]
    NotAPatient,
    /// The record's newest version waits for its batch.
    #[error(
        "record {0} is not settled yet, so nobody could check a disclosure of it: wait until a batch has taken it, then disclose it again"
    )]
    NotSettled(RecordSlot),
    /// These fields cannot be disclosed.
    #[error(transparent)]
    Fields(#[from] DiscloseError),
    /// The file would be too large.
    #[error("the disclosure would have {0} bytes, the limit is {MAX_BYTES}: disclose fewer fields")]
    TooLarge(usize),
    /// The chain has another block with that number.
    #[error(
        "the chain has block {actual} at height {number}, not {shown}, which the disclosure shows: it is of another chain, of a block that was taken \
         back, or made up. Do not rely on it"
    )]
    OtherBlock {
        /// The block's number.
        number: u64,
        /// The hash of the disclosure's block.
        shown: B256,
        /// The hash of the chain's block.
        actual: B256,
    },
}

/// A settled record of the patient, with everything that proves it.
#[derive(Clone)]
pub struct Disclosable {
    record: Record,
    seed: SaltSeed,
    evidence: Evidence,
    sizes: Option<SizesDigest>,
    is_final: bool,
}

impl Disclosable {
    /// The record.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the chain cannot take back the block that proves the record. `false` also if the record changed after the newest final block.
    pub const fn is_final(&self) -> bool {
        self.is_final
    }

    /// The bytes of a file that shows these fields. They were checked as a reader will check them.
    ///
    /// # Errors
    /// [`DisclosingError`] if the record does not have such fields, or if there are too many. [`ClientError::Disclosed`] if a node sent something that a
    /// reader would not accept.
    pub fn disclose(&self, keys: &BTreeSet<Key>) -> Result<Vec<u8>, ClientError> {
        let disclosure = Commitment::of(&self.record, &self.seed).disclose(keys).map_err(DisclosingError::from)?;
        let bytes = ProvedDisclosure { evidence: self.evidence.clone(), disclosure }.to_bytes();
        if bytes.len() > MAX_BYTES {
            return Err(DisclosingError::TooLarge(bytes.len()).into());
        }
        disclosed::verify(&bytes, self.sizes)?;
        Ok(bytes)
    }
}

/// Does not show the record.
impl std::fmt::Debug for Disclosable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disclosable({} fields, block {})", self.record.fields().len(), self.evidence.block)
    }
}

impl Client {
    /// Reads one of the patient's own records, and everything that proves its settled version to somebody who has no account.
    ///
    /// The proof ends in the newest final block if the state is still the same there, and otherwise in the newest block.
    ///
    /// # Errors
    /// [`DisclosingError::NotSettled`] if the newest version waits for its batch. [`ClientError`] if something does not verify, or the node or
    /// L1 does not do its part.
    pub async fn disclosable(&self, slot: RecordSlot) -> Result<Disclosable, ClientError> {
        let patient = self.check_card(&self.card()).await?;
        if patient.role() != Role::Patient {
            return Err(DisclosingError::NotAPatient.into());
        }
        let mut patience = Patience::new();
        loop {
            let view = self.record_view(patient.account(), slot).await?;
            match self.with_evidence(&patient, &view).await {
                Err(error) if error.is_other_state() && patience.again().await => {}
                other => return other,
            }
        }
    }

    async fn with_evidence(&self, patient: &CheckedCard, view: &RecordView) -> Result<Disclosable, ClientError> {
        let id = RecordId { domain: self.domain(), patient: patient.account(), slot: view.slot };
        if view.leaf.status != RecordStatus::Live {
            return Err(RecordProofError::NotLive { slot: view.slot, status: view.leaf.status }.into());
        }
        let proof = view.proof.as_ref().ok_or(DisclosingError::NotSettled(view.slot))?;
        let opened = self.open_envelope(patient, &id, view).await?;
        let SettledBlocks { newest, last } = self.settled_blocks().await?;
        let verified = verify_record(&id, view, proof, &opened, &newest.0)?;
        let last = last.filter(|(state, _)| state.root() == newest.0.root());
        let (_, header) = last.unwrap_or(newest);
        let authored = &opened.authored;
        let evidence = Evidence {
            storage: self.storage_proof(&header).await?,
            header: self.nodes.header_rlp(&header).await?,
            block: header.hash(),
            instance: self.instance(),
            deployment: self.deployment().await?,
            proof: proof.clone(),
            leaf: view.leaf,
            author: identity_leaf(&view.author)?,
            key: authored.author_key.clone(),
            authorship: authored.authorship.clone(),
            signature: authored.signature.clone(),
        };
        Ok(Disclosable {
            record: verified.into_record(),
            seed: SaltSeed::new(authored.commitment_seed),
            evidence,
            sizes: self.sizes,
            is_final: last.is_some(),
        })
    }

    /// The proof of the slots that a reader looks at.
    async fn storage_proof(&self, header: &VerifiedHeader) -> Result<EIP1186AccountProofResponse, ClientError> {
        let instance = self.instance();
        let proof = self.nodes.proof(instance.contract, &ProvedRoot::SLOTS, header).await?;
        let sizes = ProvedRoot::verify(&instance, header, &proof).map_err(ClientError::from)?.size_slots();
        if sizes.is_empty() {
            return Ok(proof);
        }
        let slots = [&ProvedRoot::SLOTS[..], &sizes].concat();
        Ok(self.nodes.proof(instance.contract, &slots, header).await?)
    }

    /// What the contract was made from, according to the node; checked against the contract's address.
    async fn deployment(&self) -> Result<DeploymentRecord, ClientError> {
        let record = self.node.status().await?.deployment;
        deployment::verify(&record, &self.instance())?;
        Ok(record)
    }
}

/// What the Ethereum nodes say of a disclosure's block: it is in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InChain {
    /// The chain cannot take it back.
    Final,
    /// At least this many blocks follow it, as the caller asked. Nobody says that the chain cannot take it back.
    Deep(u64),
    /// The chain could still take it back. It is final later, on Ethereum after some 15 minutes.
    NotYetFinal,
    /// The chain has no finality, or the caller did not ask for it: [`Finality::Latest`], or a depth of no blocks.
    WithoutFinality,
}

/// Asks Ethereum nodes whether the block of a disclosure is in the chain. Several nodes must agree, as for everything else.
///
/// It does not say that the record's version is still the newest one: only the hospital's node and the patient know that.
///
/// # Errors
/// [`DisclosingError::OtherBlock`] if the chain has another block at this height. [`ClientError`] if the nodes are on another chain, do not agree,
/// or do not answer.
pub async fn confirm(
    checked: &CheckedDisclosure,
    nodes: &EthereumNodes,
    finality: Finality,
) -> Result<InChain, ClientError> {
    nodes.expect_chain_id(&nodes.connect(None), checked.instance().chain_id).await?;
    let (headers, shown) = (nodes.headers(), checked.header());
    let number = shown.number();
    let actual = headers.at(number).await?;
    if actual.hash() != shown.hash() {
        return Err(DisclosingError::OtherBlock { number, shown: shown.hash(), actual: actual.hash() }.into());
    }
    let (last, reached) = match finality {
        Finality::Latest | Finality::Depth(0) => return Ok(InChain::WithoutFinality),
        Finality::Depth(blocks) => (headers.newest().await?.header.number().checked_sub(blocks), InChain::Deep(blocks)),
        Finality::Finalized => (headers.finalized().await?.map(|header| header.number()), InChain::Final),
    };
    Ok(if last.is_some_and(|last| number <= last) { reached } else { InChain::NotYetFinal })
}

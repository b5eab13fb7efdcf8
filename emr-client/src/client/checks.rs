//! What the client checks against L1 before it relies on it: the state, cards, and a patient's view.

use alloy::primitives::Address;
use emr_chain::{
    QueueName, SettlementLayer,
    header::Newest,
    proof::{ProofError, VerifiedHeader, verify_storage},
    recovery_slot, waiting_recovery,
};
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::{
    batch::D1Entry,
    l1_operation::{L1Operation, Register},
    operation::{Action, CLIENT_VALIDITY, Operation},
};

use super::{Client, random_element};
use crate::{
    error::ClientError,
    patience::Patience,
    verify::card::{Card, CardError, CheckedCard, Evidence},
    verify::directory::{self, DirectoryCheckError, PublishedDirectory},
    verify::settled_state::{SettledState, SettledStateError},
};

/// How many newest blocks are tried. A reorganisation can take a block back between its header and the proof of its state.
const BLOCKS: usize = 3;

/// The settled state in two blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SettledBlocks {
    /// The newest state, and the newest block.
    pub(crate) newest: (SettledState, VerifiedHeader),
    /// The newest final state and its block; `None` if no block with the rollup is final yet.
    pub(crate) last: Option<(SettledState, VerifiedHeader)>,
}

impl Client {
    /// Reads the current state on L1 with its proof. It is never older than the newest final state that this profile
    /// has seen.
    ///
    /// # Errors
    /// Returns [`SettledStateError`] if the Ethereum nodes do not answer or do not agree, if their proof is wrong, if the
    /// newest block is too old or from the future, if the verifiers changed, or if the state is older than one that was seen.
    pub async fn settled_state(&self) -> Result<SettledState, SettledStateError> {
        Ok(self.settled_blocks().await?.newest.0)
    }

    /// The same, with its block, and with the newest final state and its block.
    pub(crate) async fn settled_blocks(&self) -> Result<SettledBlocks, SettledStateError> {
        let mut header = self.newest_header().await?;
        for _ in 1..BLOCKS {
            match self.settled_blocks_at(&header).await {
                Err(SettledStateError::Proof(error)) => header = self.newer_header(&header, error).await?,
                read => return read,
            }
        }
        self.settled_blocks_at(&header).await
    }

    async fn settled_blocks_at(&self, header: &VerifiedHeader) -> Result<SettledBlocks, SettledStateError> {
        let (headers, nodes, instance, seen) = (&*self.headers, &self.nodes, self.instance(), self.profile.seen());
        let newest = SettledState::read(nodes, &instance, header).await?;
        newest.check_sizes(nodes, (instance.contract, header), self.sizes).await?;
        let (finality, deployed_at) = (self.finality, self.rollup.deployed_at());
        let last =
            SettledState::read_final(headers, nodes, &instance, finality, (&newest, header), deployed_at).await?;
        if let Some((last, _)) = last {
            seen.note(last.batches(), last.root())?;
        }
        seen.check(newest.batches(), newest.root())?;
        Ok(SettledBlocks { newest: (newest, *header), last })
    }

    /// L1's newest block, if it is not too old.
    async fn newest_header(&self) -> Result<VerifiedHeader, SettledStateError> {
        let Newest { header, answers } = self.headers.newest().await?;
        self.age.check(header.timestamp(), &answers, UnixTime::now())?;
        Ok(header)
    }

    /// L1's newest block, after the state of `old` could not be proved.
    ///
    /// # Errors
    /// The error of the proof if `old` is still the newest block: then the proof is wrong, and the block did not go.
    async fn newer_header(&self, old: &VerifiedHeader, error: ProofError) -> Result<VerifiedHeader, SettledStateError> {
        let newest = self.newest_header().await?;
        if newest.hash() == old.hash() { Err(error.into()) } else { Ok(newest) }
    }

    /// Whether guardians agreed to give this account to somebody: to whom, and from when on. The owner can cancel until then. Proved, so that no
    /// Ethereum node hides it.
    ///
    /// # Errors
    /// The same as [`Self::settled_state`], and if this participant has no account.
    pub async fn waiting_recovery(&self) -> Result<Option<(Address, UnixTime)>, ClientError> {
        let (contract, slot) = (self.instance().contract, recovery_slot(self.account()?));
        let mut header = self.newest_header().await?;
        let mut tried = 1;
        let proof = loop {
            match self.nodes.proof(contract, &[slot], &header).await {
                Ok(proof) => break proof,
                Err(error) if tried < BLOCKS => header = self.newer_header(&header, error).await?,
                Err(error) => return Err(SettledStateError::from(error).into()),
            }
            tried += 1;
        };
        let word = verify_storage(header.state_root(), contract, slot, &proof).map_err(SettledStateError::from)?;
        Ok(waiting_recovery(word))
    }

    /// Compares a card with the state, or with the L1 queue if its account is not in the state yet. Compares its
    /// Ethereum address with the contract.
    ///
    /// # Errors
    /// Returns [`CardError`] if the card does not agree, and other errors if node or L1 cannot be read.
    pub async fn check_card(&self, card: &Card) -> Result<CheckedCard, ClientError> {
        let account = card.registered()?;
        let instance = self.instance();
        let on_l1 = self.rollup.account(account).await?.filter(|found| found.owner == card.ethereum);
        let on_l1 = on_l1.ok_or(CardError::Forged { account, field: "Ethereum address" })?;
        let mut patience = Patience::new();
        loop {
            let view = self.node.account(account).await?;
            let checked = if view.proof.is_some() {
                card.check(&instance, &view, Evidence::Settled(&self.settled_state().await?))
            } else {
                match self.queued(account).await? {
                    Some(registration) => card.check(&instance, &view, Evidence::Queued(&registration)),
                    None => Err(CardError::Unknown(account)),
                }
            };
            match checked.map_err(ClientError::from) {
                Err(error) if error.is_other_state() && patience.again().await => {}
                // A batch took the account from the queue, and the node has not seen it yet.
                Err(ClientError::Card(CardError::Unknown(_)))
                    if on_l1.standing.is_admitted() && patience.again().await => {}
                other => return other,
            }
        }
    }

    /// An account's registration in the ordinary queue, if no batch has taken it yet. The Ethereum node does not prove this.
    async fn queued(&self, account: AccountIndex) -> Result<Option<Register>, ClientError> {
        let head = self.rollup.head().await?;
        let (queue, waiting) = (QueueName::Ordinary, head.queues.ordinary.waiting());
        let entries = self.rollup.queue_entries(queue, waiting, 0).await?;
        let registration = entries.iter().filter_map(|entry| {
            match L1Operation::from_entry(&D1Entry::from_bytes(&entry.words).ok()?).ok()? {
                L1Operation::Register(registration) => Some(registration),
                L1Operation::SetStatus(_) | L1Operation::RotateKey(_) | L1Operation::ForcedRevoke(_) => None,
            }
        });
        Ok(registration.into_iter().find(|registration| registration.account == account))
    }

    /// The view that a patient or their grantee needs to act. Checks that the key directory is the patient's.
    pub(crate) async fn patient_view(
        &self,
        patient: &CheckedCard,
    ) -> Result<(emr_api::PatientView, PublishedDirectory), ClientError> {
        let mut patience = Patience::new();
        loop {
            let view = self.node.patient(patient.account()).await?;
            // The node counts an entry on L1 before it is settled. Nothing is signed for an epoch that is not proved: if the node lies, it could
            // bring that out after the patient's next forced revocation.
            if view.epoch > patient.epoch() {
                return Err(ClientError::ChangeWaits(patient.account()));
            }
            if view.epoch != patient.epoch() {
                return Err(DirectoryCheckError::Chain("the epoch is not the patient's").into());
            }
            let (state, now) = (self.settled_state().await?, UnixTime::now());
            let checked = directory::verify(&view, patient.account(), patient.key(), self.domain(), &state, now);
            match checked.map_err(ClientError::from) {
                Ok(directory) => return Ok((view, directory)),
                Err(error) if error.is_other_state() && patience.again().await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes an operation of this participant on a patient's subtree. The patient and both epochs come from checked
    /// cards, never from a node's answer. Otherwise a node could name another patient, and get a signature for that
    /// one.
    pub(crate) async fn operation(&self, patient: &CheckedCard, action: Action) -> Result<Operation, ClientError> {
        let signer = self.account()?;
        let signer_epoch = if signer == patient.account() { patient.epoch() } else { self.own_card().await?.epoch() };
        Ok(Operation {
            signer,
            signer_epoch,
            patient: patient.account(),
            patient_epoch: patient.epoch(),
            valid_until: UnixTime::now().saturating_add(CLIENT_VALIDITY),
            salt: random_element(),
            action,
        })
    }
}

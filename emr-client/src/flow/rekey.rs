//! Rekeying: a patient seals records that are under an earlier key epoch again, to the newest one.
//!
//! A revocation closes what is written after it. What was written before stays sealed to keys that the revoked reader holds. A Rekey replaces
//! this ciphertext: the node removes the old blocks a day after it is settled. A reader who kept old ciphertext still opens it.

use std::collections::BTreeMap;

use emr_api::{RecordView, StoredAt};
use emr_core::{AccountIndex, Cid, Class, ClassMask, Opaque, RecordSlot, RecordStatus, Role};
use emr_crypto::{EpochPublicKey, KeyEpoch, OpenedRecord, SealedRecord};
use emr_rollup::{
    operation::{Action, Rekey},
    primitive::field,
    state::leaf::RecordLeaf,
};

use crate::{
    client::Client,
    error::ClientError,
    flow::{
        grant::GrantError,
        own_directory::Own,
        retrieve::{Missing, ReadError},
        submit::{Acknowledged, Outgoing},
        upload::WriteError,
    },
    patience::Patience,
    verify::card::Card,
    verify::light::VerifiedLeaves,
    verify::record::{RecordId, verify_record},
};

/// How often a record is tried while others write it.
const ATTEMPTS: usize = 5;

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RekeyOutcome {
    /// It is sealed to the newest epoch of its class; a batch settles that.
    Rekeyed {
        /// The newest epoch.
        epoch: KeyEpoch,
        /// The hospital that is named as the record's custodian.
        custodian: Option<AccountIndex>,
        /// The node's promise.
        acknowledged: Box<Acknowledged>,
    },
    /// It was under the newest epoch already, and had the wanted custodian.
    Current,
    /// Its newest version, or its deletion, is not settled, so the node cannot prove it. Rekey again when its batch is settled.
    Unsettled,
}

/// A record that a rekey looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekeyed {
    /// The record's slot.
    pub slot: RecordSlot,
    /// Its class.
    pub class: Class,
    /// What became of it.
    pub outcome: RekeyOutcome,
}

impl Client {
    /// Seals every live record of these classes to the newest epoch of its class, one after the other. `told` gets each result, with the number
    /// of records that remain. After an interruption, call it again: records under the newest epoch are not written twice. With the card of a
    /// hospital, the records also get this hospital as their custodian.
    ///
    /// Only a version that is settled and verifies is sealed again, so no node can make the patient put their name under another content. The
    /// author's signature stays as it is. The result names every live record of these classes that the settled state holds, so no node can keep
    /// quiet about one.
    ///
    /// # Errors
    /// [`GrantError::NotAPatient`] if the participant is not a patient. [`GrantError::Custodian`] if the card is not a hospital's.
    /// [`ClientError`] if a record does not open or verify, or the card does not hold, or the node or L1 does not do its part.
    pub async fn rekey(
        &self,
        classes: ClassMask,
        custodian: Option<&Card>,
        mut told: impl FnMut(&Rekeyed, usize),
    ) -> Result<Vec<Rekeyed>, ClientError> {
        if self.keys.role() != Role::Patient {
            return Err(GrantError::NotAPatient.into());
        }
        let custodian = match custodian {
            Some(card) => Some(self.hospital_of(card).await?),
            None => None,
        };
        let _turn = self.turn().await;
        self.deliver_waiting().await?;
        let records = live_records(&self.own_leaves().await?, classes);
        let mut own = self.directory_without_strangers().await?;
        let mut done = Vec::new();
        for (number, (slot, class)) in records.iter().enumerate() {
            let mut attempts = 0;
            let outcome = loop {
                match self.rekey_one(&own, *slot, custodian).await {
                    Err(error) if error.is_stale() && attempts < ATTEMPTS => {
                        attempts += 1;
                        own = self.directory_without_strangers().await?;
                    }
                    other => break other?,
                }
            };
            let rekeyed = Rekeyed { slot: *slot, class: *class, outcome };
            told(&rekeyed, records.len() - number - 1);
            done.push(rekeyed);
        }
        Ok(done)
    }

    /// The hospital whose card this is.
    async fn hospital_of(&self, card: &Card) -> Result<AccountIndex, ClientError> {
        let card = self.check_card(card).await?;
        if card.role() == Role::Hospital {
            Ok(card.account())
        } else {
            Err(GrantError::Custodian(card.account()).into())
        }
    }

    /// The patient's directory in force. If it gives a reader more than the grants do, a better one is published first.
    async fn directory_without_strangers(&self) -> Result<Own, ClientError> {
        self.repair().await?;
        self.own_directory().await
    }

    async fn rekey_one(
        &self,
        own: &Own,
        slot: RecordSlot,
        custodian: Option<AccountIndex>,
    ) -> Result<RekeyOutcome, ClientError> {
        let account = own.card.account();
        let id = RecordId { domain: self.domain(), patient: account, slot };
        let mut patience = Patience::new();
        loop {
            let view = self.node.record(account, slot).await?;
            match self.rekey_view(own, &id, &view, custodian).await {
                Err(error) if error.is_other_state() && patience.again().await => {}
                other => return other,
            }
        }
    }

    async fn rekey_view(
        &self,
        own: &Own,
        id: &RecordId,
        view: &RecordView,
        custodian: Option<AccountIndex>,
    ) -> Result<RekeyOutcome, ClientError> {
        let (slot, leaf) = (id.slot, &view.leaf);
        let newest = own.directory.published().current_public(leaf.class);
        let custodian = custodian.or(leaf.custodian);
        let Some(proof) = view.proof.as_ref().filter(|_| leaf.status == RecordStatus::Live) else {
            let is_done = leaf.custodian == custodian && self.is_sealed_to(&newest, id, leaf);
            return Ok(if is_done { RekeyOutcome::Current } else { RekeyOutcome::Unsettled });
        };
        let keys = own.directory.keyring();
        let (manifest, context) = (view.stored.manifest, id.context(leaf));
        let blocks = self.fetch(slot, &manifest).await?;
        let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(Missing);
        let opened = OpenedRecord::open(&manifest, fetch, &keys, &context);
        let opened = opened.map_err(|source| ReadError::Open { slot, source })?;
        // What the node shows counts only after this. Anyone who knows a class's public key can seal something to its newest epoch.
        verify_record(id, view, proof, &opened, &self.settled_state().await?)?;
        let (at, blocks) = match (opened.epoch == newest.epoch(), leaf.custodian == custodian) {
            (true, true) => return Ok(RekeyOutcome::Current),
            (true, false) => (view.stored, Vec::new()),
            (false, _) => {
                let sealed = SealedRecord::seal(&opened.authored, &context, &newest).map_err(WriteError::from)?;
                (StoredAt { manifest: sealed.manifest, salt: sealed.storage_salt }, sealed.blocks)
            }
        };
        let stored = field::from_opaque(Opaque::stored(&at.manifest, &at.salt).as_bytes());
        let next = RecordLeaf { revision: leaf.revision.next()?, custodian, stored, ..*leaf };
        let action = Action::Rekey(Rekey { slot, expected: leaf.revision, leaf: next });
        let operation = self.operation(&own.card, action).await?;
        let outgoing = Outgoing {
            stored: Some(at),
            epoch: Some((&newest).into()),
            blocks,
            ..Outgoing::plain(&own.card, operation, None)
        };
        let acknowledged = Box::new(self.hand_in(outgoing).await?);
        Ok(RekeyOutcome::Rekeyed { epoch: newest.epoch(), custodian, acknowledged })
    }

    /// Whether the patient signed this leaf, for a record that they sealed to this epoch, and a batch has not settled it yet.
    fn is_sealed_to(&self, newest: &EpochPublicKey, id: &RecordId, leaf: &RecordLeaf) -> bool {
        self.profile.outbox().entries().iter().any(|entry| {
            let submission = &entry.draft().submission;
            let operation = &submission.signed.operation;
            operation.patient == id.patient
                && operation.action.record() == Some((id.slot, *leaf))
                && submission.epoch == Some(newest.into())
        })
    }
}

/// The live records of these classes, with their class: those that the settled state holds, and those that wait for a batch.
fn live_records(leaves: &VerifiedLeaves, classes: ClassMask) -> BTreeMap<RecordSlot, Class> {
    let waiting = leaves.pending().iter().filter_map(|signed| signed.operation.action.record());
    let settled = leaves.records().iter().map(|record| (record.slot, record.leaf));
    let live = |(_, leaf): &(RecordSlot, RecordLeaf)| leaf.status == RecordStatus::Live && classes.contains(leaf.class);
    // The settled class counts, because the node proves it.
    waiting.chain(settled).filter(live).map(|(slot, leaf)| (slot, leaf.class)).collect()
}

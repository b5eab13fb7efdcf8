//! Rekeying: a patient seals records that are under an earlier key epoch again, to the newest one.
//!
//! A revocation closes what is written after it. What was written before stays sealed to keys that the revoked reader holds. A Rekey replaces
//! this ciphertext: the node removes the old blocks a day after it is settled. A reader who kept old ciphertext still opens it.

use emr_api::{RecordView, StoredAt};
use emr_core::{Cid, Class, ClassMask, Opaque, RecordSlot, RecordStatus, Role};
use emr_crypto::{KeyEpoch, OpenedRecord, SealedRecord};
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
        /// The node's promise.
        acknowledged: Box<Acknowledged>,
    },
    /// It was under the newest epoch already.
    Current,
    /// Its newest version is not settled, so it cannot be proved to be its author's. Rekey again when its batch is settled.
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
    /// of records that remain. After an interruption, call it again: records under the newest epoch are not written twice.
    ///
    /// Only a version that is settled and verifies is sealed again, so no node can make the patient put their name under another content. The
    /// author's signature stays as it is.
    ///
    /// # Errors
    /// [`GrantError::NotAPatient`] if the participant is not a patient. [`ClientError`] if a record does not open or verify, or the node or L1
    /// does not do its part.
    pub async fn rekey(
        &self,
        classes: ClassMask,
        mut told: impl FnMut(&Rekeyed, usize),
    ) -> Result<Vec<Rekeyed>, ClientError> {
        if self.keys.role() != Role::Patient {
            return Err(GrantError::NotAPatient.into());
        }
        let _turn = self.turn().await;
        self.deliver_waiting().await?;
        let leaves = self.own_leaves().await?;
        let live = |leaf: &RecordLeaf| leaf.status == RecordStatus::Live && classes.contains(leaf.class);
        let slots: Vec<_> = leaves.records().iter().filter(|record| live(&record.leaf)).map(|r| r.slot).collect();
        let mut own = self.directory_without_strangers().await?;
        let mut done = Vec::new();
        for (number, slot) in slots.iter().enumerate() {
            let mut attempts = 0;
            let rekeyed = loop {
                match self.rekey_one(&own, *slot).await {
                    Err(error) if error.is_stale() && attempts < ATTEMPTS => {
                        attempts += 1;
                        own = self.directory_without_strangers().await?;
                    }
                    other => break other?,
                }
            };
            // The record was deleted meanwhile, or moved to another class.
            let Some(rekeyed) = rekeyed.filter(|rekeyed| classes.contains(rekeyed.class)) else { continue };
            told(&rekeyed, slots.len() - number - 1);
            done.push(rekeyed);
        }
        Ok(done)
    }

    /// The patient's directory in force. If it gives a reader more than the grants do, a better one is published first.
    async fn directory_without_strangers(&self) -> Result<Own, ClientError> {
        self.repair().await?;
        self.own_directory().await
    }

    async fn rekey_one(&self, own: &Own, slot: RecordSlot) -> Result<Option<Rekeyed>, ClientError> {
        let account = own.card.account();
        let id = RecordId { domain: self.domain(), patient: account, slot };
        let mut patience = Patience::new();
        loop {
            let view = self.node.record(account, slot).await?;
            if view.leaf.status != RecordStatus::Live {
                return Ok(None);
            }
            match self.rekey_view(own, &id, &view).await {
                Err(error) if error.is_other_state() && patience.again().await => {}
                other => return Ok(Some(Rekeyed { slot, class: view.leaf.class, outcome: other? })),
            }
        }
    }

    async fn rekey_view(&self, own: &Own, id: &RecordId, view: &RecordView) -> Result<RekeyOutcome, ClientError> {
        let (slot, leaf) = (id.slot, &view.leaf);
        let newest = own.directory.published().current_public(leaf.class);
        let keys = own.directory.keyring();
        let (manifest, context) = (view.stored.manifest, id.context(leaf));
        let blocks = self.fetch(slot, &manifest).await?;
        let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(Missing);
        let opened = OpenedRecord::open(&manifest, fetch, &keys, &context);
        let opened = opened.map_err(|source| ReadError::Open { slot, source })?;
        if opened.epoch == newest.epoch() {
            return Ok(RekeyOutcome::Current);
        }
        let Some(proof) = &view.proof else { return Ok(RekeyOutcome::Unsettled) };
        verify_record(id, view, proof, &opened, &self.settled_state().await?)?;
        let sealed = SealedRecord::seal(&opened.authored, &context, &newest).map_err(WriteError::from)?;
        let stored = field::from_opaque(Opaque::stored(&sealed.manifest, &sealed.storage_salt).as_bytes());
        let next = RecordLeaf { revision: leaf.revision.next()?, stored, ..*leaf };
        let action = Action::Rekey(Rekey { slot, expected: leaf.revision, leaf: next });
        let operation = self.operation(&own.card, action).await?;
        let outgoing = Outgoing {
            stored: Some(StoredAt { manifest: sealed.manifest, salt: sealed.storage_salt }),
            epoch: Some(newest.into()),
            blocks: sealed.blocks,
            ..Outgoing::plain(&own.card, operation, None)
        };
        let acknowledged = Box::new(self.hand_in(outgoing).await?);
        Ok(RekeyOutcome::Rekeyed { epoch: newest.epoch(), acknowledged })
    }
}

//! A record's next version: the version that it replaces, and how its class is known.
//!
//! A new version is sealed to the key of its class. If the client took the class from the node's list of records, a lying node could choose
//! to which readers the writer seals.

use emr_api::RecordSummary;
use emr_core::{AccountIndex, Class, RecordSlot, RecordStatus, UnixTime};
use emr_rollup::state::leaf::RecordLeaf;

use crate::{
    client::Client,
    error::ClientError,
    flow::upload::WriteError,
    node::NodeError,
    patience::Patience,
    verify::card::CheckedCard,
    verify::membership::identity_leaf,
    verify::record::{RecordId, check_membership},
};

/// The class of a record's next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditClass {
    /// The record's class, as the settled state or this participant's own signature proves it.
    Proved,
    /// The record's class, as the caller states it. The write is refused if the node lists the record in another class.
    Stated(Class),
    /// The record moves to this class.
    MoveTo(Class),
}

impl Client {
    /// The leaf that the next version replaces, and the next version's class.
    ///
    /// # Errors
    /// [`WriteError::ClassNotProved`] if the class is neither stated nor proved. [`WriteError::OtherClass`] if the node lists another class than
    /// the stated one.
    pub(crate) async fn next_version(
        &self,
        patient: &CheckedCard,
        slot: RecordSlot,
        class: EditClass,
    ) -> Result<(RecordLeaf, Class), ClientError> {
        let listed = self.existing(patient, slot).await?.leaf;
        match class {
            EditClass::MoveTo(class) => Ok((listed, class)),
            EditClass::Stated(stated) if stated == listed.class => Ok((listed, stated)),
            EditClass::Stated(stated) => Err(WriteError::OtherClass { slot, stated, listed: listed.class }.into()),
            EditClass::Proved => {
                let proved = match self.proved_leaf(patient, slot).await {
                    Err(ClientError::Write(WriteError::ClassNotProved(_))) => None,
                    proved => Some(proved?),
                };
                let leaf = self.newest(patient, slot, proved, listed).ok_or(WriteError::ClassNotProved(slot))?;
                Ok((leaf, leaf.class))
            }
        }
    }

    /// A record that exists and is not deleted, as the node lists it.
    pub(crate) async fn existing(&self, patient: &CheckedCard, slot: RecordSlot) -> Result<RecordSummary, ClientError> {
        let patient = patient.account();
        let records = self.node.records(patient).await?;
        let record = records.into_iter().find(|record| record.slot == slot);
        let record = record.ok_or(WriteError::NoSuchRecord { patient, slot })?;
        live(patient, slot, &record.leaf)?;
        Ok(record)
    }

    /// The newest leaf of a record that is proved or signed: the settled one, or the one that this participant signed on top of it, if the
    /// node lists that one. An earlier signature proves nothing: the record may have moved to another class since.
    fn newest(
        &self,
        patient: &CheckedCard,
        slot: RecordSlot,
        proved: Option<RecordLeaf>,
        listed: RecordLeaf,
    ) -> Option<RecordLeaf> {
        let entries = self.profile.outbox().entries();
        let signed = entries.iter().filter_map(|entry| {
            let operation = &entry.draft().submission.signed.operation;
            let of_patient =
                operation.patient == patient.account() && entry.draft().parties.patient == patient.ethereum();
            let (of, leaf) = operation.action.record().filter(|_| of_patient)?;
            (of == slot && leaf.status == RecordStatus::Live).then_some((leaf, entry))
        });
        let signed = signed.max_by_key(|(leaf, _)| leaf.revision);
        match (proved, signed) {
            (Some(proved), None) => Some(proved),
            (Some(proved), Some((leaf, _))) if leaf.revision <= proved.revision => Some(proved),
            (_, Some((leaf, entry))) if leaf == listed && !entry.has_lapsed(UnixTime::now()) => Some(leaf),
            _ => None,
        }
    }

    /// The record's leaf in the settled state, if no newer version waits.
    async fn proved_leaf(&self, patient: &CheckedCard, slot: RecordSlot) -> Result<RecordLeaf, ClientError> {
        let id = RecordId { domain: self.domain(), patient: patient.account(), slot };
        let mut patience = Patience::new();
        loop {
            let view = match self.node.record(patient.account(), slot).await {
                // The node shows a record only to those who may read it and have requested access.
                Err(NodeError::Refused { .. }) => return Err(WriteError::ClassNotProved(slot).into()),
                other => other?,
            };
            let proof = view.proof.as_ref().ok_or(WriteError::ClassNotProved(slot))?;
            let author = identity_leaf(&view.author)?;
            let state = self.settled_state().await?;
            match check_membership(&id, &view.leaf, &author, proof, &state).map_err(ClientError::from) {
                Ok(_) => {
                    live(id.patient, slot, &view.leaf)?;
                    return Ok(view.leaf);
                }
                Err(error) if error.is_other_state() && patience.again().await => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn live(patient: AccountIndex, slot: RecordSlot, leaf: &RecordLeaf) -> Result<(), WriteError> {
    match leaf.status {
        RecordStatus::Live => Ok(()),
        RecordStatus::Tombstone => Err(WriteError::Deleted(slot)),
        RecordStatus::Empty => Err(WriteError::NoSuchRecord { patient, slot }),
    }
}

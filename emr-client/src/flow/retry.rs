//! Hands in undelivered records again: a record is opened from what is kept of it, and handed in with a new operation.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use emr_core::{Cid, Record, Revision};
use emr_crypto::{AuthoredRecord, ContentKey, Manifest, RecordContext, key_wrap::WrappedKey};
use emr_rollup::operation::{Action, OperationId, PutRecord};

use crate::{
    client::Client,
    error::ClientError,
    flow::attach::SealedFiles,
    flow::next_version::EditClass,
    flow::retrieve::Missing,
    flow::upload::{Content, Place, WriteError, Written},
    keys,
    profile::outbox::Entry,
    verify::card::Card,
    verify::record::RecordId,
};

/// What is kept of a record that this participant sealed: its wrapped content key, its manifest and its blocks.
fn kept_content(entry: &Entry) -> Option<(WrappedKey, Cid, HashMap<Cid, Vec<u8>>)> {
    let draft = entry.draft();
    let wrapped = WrappedKey::from_bytes(&BASE64.decode(draft.key.as_ref()?).ok()?).ok()?;
    let manifest = draft.submission.stored?.manifest;
    let blocks = entry.blocks().collect::<Result<_, _>>().ok()?;
    Some((wrapped, manifest, blocks))
}

/// The kept blocks of an attachment; none if it is a file, whose blocks are not kept.
fn blocks_of(manifest: &Cid, blocks: &HashMap<Cid, Vec<u8>>) -> Vec<(Cid, Vec<u8>)> {
    let Some(bytes) = blocks.get(manifest) else { return Vec::new() };
    let links = Manifest::from_bytes(bytes).map(|manifest| manifest.links().to_vec()).unwrap_or_default();
    let kept = |cid: Cid| blocks.get(&cid).map(|bytes| (cid, bytes.clone()));
    links.into_iter().chain([*manifest]).filter_map(kept).collect()
}

impl Client {
    /// The operation of the same request that was refused, returned or lapsed, and is kept.
    pub(crate) fn refused_before(&self, intent: &str) -> Option<OperationId> {
        let mut refused = self.profile.outbox().refused().into_iter();
        let entry = refused.find(|entry| entry.draft().intent.as_deref() == Some(intent))?;
        Some(entry.draft().operation)
    }

    /// Hands in an undelivered record in a new operation. A new record goes to the next free slot; another version goes on top of what its
    /// slot holds now. The record is opened with the content key that its writer kept, and sealed to the class's newest epoch. The author signs
    /// the slot and the version, so neither the old signature nor the old blocks can be used again.
    ///
    /// # Errors
    /// [`WriteError::NotRefused`] if no such record is kept. [`WriteError::NotReadable`] if it cannot be opened. [`WriteError::OtherPatient`] if the
    /// card is not its patient's. Other variants as for [`Self::upload`]. The record stays kept.
    pub async fn retry(&self, patient: &Card, operation: OperationId) -> Result<Written, ClientError> {
        let patient = self.check_card(patient).await?;
        let _turn = self.turn().await;
        let mut refused = self.profile.outbox().refused().into_iter();
        let entry = refused.find(|entry| entry.draft().operation == operation);
        let entry = entry.ok_or(WriteError::NotRefused(operation))?;
        let signed = entry.draft().submission.signed.operation;
        let Action::PutRecord(PutRecord { slot, expected, leaf }) = signed.action else {
            return Err(WriteError::NotRefused(operation).into());
        };
        // The record's patient is known by the owner's address, because the account index may have changed.
        if patient.ethereum() != entry.draft().parties.patient {
            return Err(WriteError::OtherPatient { needed: signed.patient, given: patient.account() }.into());
        }
        let context = RecordId { domain: self.domain(), patient: signed.patient, slot }.context(&leaf);
        let not_readable = || WriteError::NotReadable(operation);
        let (bytes, files) = self.reopen(&entry, context).await?.ok_or_else(not_readable)?;
        let record = Record::from_dag_cbor(&bytes).map_err(|_| not_readable())?;
        let same_account = patient.account() == signed.patient;
        let place = if expected == Revision::ZERO || !same_account {
            Place::New(leaf.class)
        } else {
            Place::Over(slot, EditClass::MoveTo(leaf.class))
        };
        let intent = entry.draft().intent.clone().ok_or_else(not_readable)?;
        self.write_as(&patient, place, Content { record: &record, bytes: &bytes, files: &files }, &intent).await
    }

    /// The bytes of a record that this participant sealed, from its kept blocks, and its attachments, which stay as they are.
    async fn reopen(
        &self,
        entry: &Entry,
        context: RecordContext,
    ) -> Result<Option<(Vec<u8>, SealedFiles)>, ClientError> {
        let Some((wrapped, manifest, blocks)) = kept_content(entry) else { return Ok(None) };
        let opened = keys::opening(&self.keys, move |author| {
            let key = ContentKey::unwrap(author, &wrapped, &context).ok()?;
            let fetch = |cid: &Cid| blocks.get(cid).cloned().ok_or(Missing);
            let authored = AuthoredRecord::reopen(&manifest, fetch, &key, &context).ok()?;
            Some((authored, blocks))
        });
        let Some((authored, blocks)) = opened.await? else { return Ok(None) };
        let keys = authored.attachments;
        let blocks = keys.iter().flat_map(|key| blocks_of(&key.manifest, &blocks)).collect();
        let files = SealedFiles { keys, blocks, journals: entry.draft().journals.clone(), ..SealedFiles::default() };
        Ok(Some((authored.record, files)))
    }
}

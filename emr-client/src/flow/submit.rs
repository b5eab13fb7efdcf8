//! Handing in operations so that none is lost. An operation is kept before it is sent, sent again after a crash, and removed when it is
//! settled.

use alloy::primitives::Address;
use emr_api::receipt;
use emr_api::{NamedEpoch, Receipt, StoredAt, Submission};
use emr_core::{Cid, GrantSlot, UnixTime, cid::codec_of};
use emr_rollup::operation::{Kind, Operation, OperationId, SignedOperation};

pub use crate::flow::fate::{Fate, Resumed};
use crate::{
    client::Client,
    error::ClientError,
    flow::fate::lost_revocation,
    flow::on_l1::OnL1,
    flow::owners::Owners,
    keys::{self, Keys},
    node::NodeError,
    profile::imports::Imported,
    profile::outbox::{Entry, NewEntry, Parties, Refusal},
    verify::card::CheckedCard,
};

/// An operation that the node acknowledged: it promises to settle or return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The operation's name.
    pub operation: OperationId,
    /// The signed operation that was handed in.
    pub signed: SignedOperation,
    /// The hospital's signed receipt.
    pub receipt: Receipt,
}

/// An operation that is to be signed and handed in.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) operation: Operation,
    pub(crate) authority: Option<GrantSlot>,
    pub(crate) stored: Option<StoredAt>,
    pub(crate) epoch: Option<NamedEpoch>,
    pub(crate) directory: Option<Cid>,
    pub(crate) intent: Option<String>,
    pub(crate) blocks: Vec<(Cid, Vec<u8>)>,
    pub(crate) journals: Vec<String>,
    pub(crate) key: Option<String>,
    pub(crate) replaces: Option<OperationId>,
    /// The owner of the patient's account, from a checked card.
    pub(crate) owner: Address,
}

impl Outgoing {
    /// An operation that refers to no blocks.
    pub(crate) const fn plain(patient: &CheckedCard, operation: Operation, authority: Option<GrantSlot>) -> Self {
        Self {
            operation,
            authority,
            stored: None,
            epoch: None,
            directory: None,
            intent: None,
            blocks: Vec::new(),
            journals: Vec::new(),
            key: None,
            replaces: None,
            owner: patient.ethereum(),
        }
    }
}

/// What to do if the node does not take, at the moment, an operation that is not a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// Stop: the next operation is signed on top of it.
    Required,
    /// Continue: it stays in the outbox for the next time.
    MayWait,
}

impl Others {
    /// Applies the rule to the result for one entry. The failure of a revocation is always returned.
    fn or_waits(self, entry: &Entry, fate: Result<Fate, ClientError>) -> Result<Fate, ClientError> {
        match fate {
            Err(error) if self == Self::MayWait && !entry.kind().ends_rights() && error.is_temporary() => {
                Ok(Fate::Waiting)
            }
            fate => fate,
        }
    }
}

/// Sorts revocations before all other entries. Both groups stay in the order of signing.
fn revocations_first(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| !entry.kind().ends_rights());
    entries
}

impl Client {
    /// Signs an operation and keeps it. When this returns, the operation is on disk and was not sent yet.
    pub(crate) async fn keep(&self, outgoing: Outgoing) -> Result<Entry, ClientError> {
        let Outgoing { operation, authority, stored, epoch, directory, intent, blocks, journals, key, replaces, owner } =
            outgoing;
        let parties = Parties { signer: self.ethereum_address(), patient: owner };
        let domain = self.domain();
        let sign = move |keys: &dyn Keys| keys::sign(keys, domain, operation, authority);
        let signed = keys::with(&self.keys, sign).await?;
        let submission = Submission { signed, stored, epoch, directory };
        let operation = signed.id(domain);
        Ok(self.profile.outbox().add(NewEntry {
            operation,
            parties,
            submission,
            intent,
            blocks,
            journals,
            key,
            replaces,
        })?)
    }

    /// Uploads an operation's blocks, hands it in, and checks and keeps the receipt. It may be repeated.
    ///
    /// # Errors
    /// [`ClientError`] if the node refuses or cannot be asked, or its receipt does not hold. If the node refuses for good, the operation is
    /// removed: the caller gets the error and can ask again. An operation that replaces an earlier one is kept instead, because the caller may
    /// not have its content any more. If the node cannot be asked, the operation stays for the next run.
    pub(crate) async fn deliver(&self, entry: &Entry) -> Result<Acknowledged, ClientError> {
        let delivered = self.try_deliver(entry).await;
        if let Err(error) = &delivered
            && error.is_refusal()
        {
            match entry.draft().replaces {
                Some(_) => self.give_up(entry, error.to_string())?,
                None => self.profile.outbox().remove(entry.draft().operation)?,
            }
        }
        delivered
    }

    /// Notes that an operation of an earlier run will never take effect. A record is kept, because its writer may have it nowhere else. Any other
    /// operation is removed: the next one is made from the current state.
    fn give_up(&self, entry: &Entry, reason: String) -> Result<(), ClientError> {
        let operation = entry.draft().operation;
        match entry.kind() {
            Kind::PutRecord => {
                self.profile.outbox().refuse(operation, Refusal { time: UnixTime::now(), reason })?;
            }
            _ => self.profile.outbox().remove(operation)?,
        }
        Ok(())
    }

    /// Updates the outbox with what became of an operation.
    pub(crate) fn conclude(&self, entry: &Entry, fate: &Fate) -> Result<(), ClientError> {
        match fate {
            Fate::Acknowledged | Fate::Waiting => Ok(()),
            Fate::Settled { .. } | Fate::Replaced { .. } | Fate::InForce => {
                self.keep_import(entry)?;
                Ok(self.profile.outbox().remove(entry.draft().operation)?)
            }
            Fate::Returned { reason } => self.give_up(entry, format!("it was returned: {reason}")),
            Fate::Refused { reason } => self.give_up(entry, reason.clone()),
            Fate::Lapsed => self.give_up(entry, "no batch took it in time".to_owned()),
        }
    }

    /// Keeps that a record of an import is settled, before the outbox forgets for which request it was written.
    fn keep_import(&self, entry: &Entry) -> Result<(), ClientError> {
        let (draft, operation) = (entry.draft(), &entry.draft().submission.signed.operation);
        if let (Some(intent), Some((slot, leaf))) = (&draft.intent, operation.action.record()) {
            let (patient, version, class) = (operation.patient, leaf.version, leaf.class);
            self.profile
                .note_imported(intent, &Imported { patient, slot, version, class, operation: draft.operation })?;
        }
        Ok(())
    }

    pub(crate) async fn try_deliver(&self, entry: &Entry) -> Result<Acknowledged, ClientError> {
        let submission = &entry.draft().submission;
        for block in entry.blocks() {
            let (cid, bytes) = block?;
            self.node.put_block(codec_of(&cid).map_err(NodeError::from)?, &bytes).await?;
        }
        let receipt = match self.node.submit(submission).await {
            // The files were sent long ago, and the node removed what no record referred to. Once: the node may say so for ever.
            Err(error) if error.is_missing_block() && !entry.draft().journals.is_empty() => {
                self.send_files_again(entry).await?;
                self.node.submit(submission).await?
            }
            other => other?,
        };
        let id = submission.signed.id(self.domain());
        let longest = receipt::Longest::of(&submission.signed.operation);
        receipt::verify(&receipt, &self.instance(), self.hospital_address()?, id, longest, UnixTime::now())?;
        let operation = entry.draft().operation;
        self.profile.outbox().acknowledge(operation, &receipt)?;
        Ok(Acknowledged { operation, signed: submission.signed, receipt })
    }

    /// Signs, keeps and hands in an operation.
    pub(crate) async fn hand_in(&self, outgoing: Outgoing) -> Result<Acknowledged, ClientError> {
        let entry = self.keep(outgoing).await?;
        self.deliver(&entry).await
    }

    /// The operation that was signed before for the same request and is not settled yet. It is handed in if it was not yet.
    pub(crate) async fn continue_intent(&self, intent: &str) -> Result<Option<Acknowledged>, ClientError> {
        let Some(entry) = self.profile.outbox().find(intent, UnixTime::now()) else { return Ok(None) };
        let fate = self.fate(&entry, &mut Owners::default(), &mut OnL1::default()).await?;
        self.conclude(&entry, &fate)?;
        if fate.is_final() {
            return Ok(None);
        }
        let entries = self.profile.outbox().entries();
        let entry = entries.iter().find(|known| known.draft().operation == entry.draft().operation);
        Ok(entry.and_then(|entry| {
            let (operation, signed) = (entry.draft().operation, entry.draft().submission.signed);
            Some(Acknowledged { operation, signed, receipt: entry.receipt()?.clone() })
        }))
    }

    /// Hands in, in order, what an earlier run signed and could not hand in. New operations are signed only after that.
    ///
    /// # Errors
    /// [`ClientError::RevocationLost`], once, if the node refuses a revocation for good. The node's error if it does not take an operation now.
    pub(crate) async fn deliver_waiting(&self) -> Result<(), ClientError> {
        lost_revocation(&self.redeliver(Others::Required).await?)
    }

    /// Like [`Self::deliver_waiting`], for use before what must not wait: a revocation, or breaking the glass. An operation that the node does not
    /// take now stays in the outbox, unless it is a revocation: the node may have places for revocations only. A record with files stays too.
    pub(crate) async fn deliver_revocations(&self) -> Result<(), ClientError> {
        lost_revocation(&self.redeliver(Others::MayWait).await?)
    }

    /// Hands in what was signed and not acknowledged, revocations first. A record that is refused for good is kept; other operations are
    /// removed.
    pub(crate) async fn redeliver(&self, others: Others) -> Result<Vec<Resumed>, ClientError> {
        let now = UnixTime::now();
        let waiting = |entry: &Entry| entry.receipt().is_none() && !entry.has_lapsed(now);
        // The node reads all blocks of a record before it acknowledges it, and files may have to be sent again. No Revoke waits for that, and no
        // emergency.
        let may_wait = |entry: &Entry| {
            others == Others::MayWait && !entry.kind().ends_rights() && !entry.draft().journals.is_empty()
        };
        let (mut redelivered, mut owners) = (Vec::new(), Owners::default());
        for entry in revocations_first(self.profile.outbox().entries()).into_iter().filter(waiting) {
            if may_wait(&entry) {
                continue;
            }
            let fate = others.or_waits(&entry, self.delivery(&entry, &mut owners).await)?;
            self.conclude(&entry, &fate)?;
            redelivered.push(Resumed::of(&entry, fate));
        }
        Ok(redelivered)
    }

    /// Continues everything that earlier runs signed: hands in what was not acknowledged, asks what became of the rest, and removes what
    /// is settled. A record with files that was not acknowledged waits for the next call that writes or reads. Records that were refused, returned or lapsed are kept: see [`Outbox::refused`](crate::profile::outbox::Outbox::refused). Call
    /// this at every start; a patient also calls [`Self::repair_directory`] after it. A newest block that is too old does not stop it: what was
    /// settled stays settled, and a revocation must not wait.
    ///
    /// # Errors
    /// [`ClientError`] if the node cannot be asked. Nothing is lost then.
    pub async fn resume(&self) -> Result<Vec<Resumed>, ClientError> {
        let _turn = self.turn().await;
        self.for_revoking().see_to_all().await
    }

    /// Does [`Self::resume`] within the caller's turn.
    pub(crate) async fn see_to_all(&self) -> Result<Vec<Resumed>, ClientError> {
        self.refresh_account().await?;
        let (mut resumed, mut owners, mut on_l1) = (Vec::new(), Owners::default(), OnL1::default());
        let now = UnixTime::now();
        for entry in revocations_first(self.profile.outbox().entries()) {
            // Programs do this before they revoke or break the glass, and the files may have to be sent again. The next flow that writes or reads
            // hands in what has files.
            let fate = match entry.receipt() {
                None if !entry.draft().journals.is_empty() && !entry.has_lapsed(now) => Fate::Waiting,
                _ => Others::MayWait.or_waits(&entry, self.fate(&entry, &mut owners, &mut on_l1).await)?,
            };
            self.conclude(&entry, &fate)?;
            resumed.push(Resumed::of(&entry, fate));
        }
        Ok(resumed)
    }
}

//! Handing in operations so that none is lost: kept before it is sent, sent again after a crash, forgotten when settled.

use alloy::primitives::Address;
use emr_api::receipt;
use emr_api::{OperationStatus, Receipt, StoredAt, Submission};
use emr_core::{Cid, GrantSlot, UnixTime, cid::codec_of};
use emr_crypto::Epoch;
use emr_rollup::operation::{Action, Kind, Operation, OperationId, SignedOperation};

pub use crate::flow::fate::{Fate, Resumed};
use crate::{
    client::Client,
    error::ClientError,
    flow::fate::{lost_revocation, other_owner},
    flow::owners::{Owners, Owning},
    keys::{self, Keys},
    node::NodeError,
    profile::outbox::{Entry, NewEntry, Parties, Refusal},
    verify::card::CheckedCard,
};

/// How often a node may say that something is settled which the state on L1 does not hold: it may be ahead for a moment.
const UNPROVEN: usize = 10;

/// An operation that the node promised to settle or return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// What it is called.
    pub operation: OperationId,
    /// What was handed in.
    pub signed: SignedOperation,
    /// The promise, signed by the hospital.
    pub receipt: Receipt,
}

/// An operation on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) operation: Operation,
    pub(crate) authority: Option<GrantSlot>,
    pub(crate) stored: Option<StoredAt>,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) directory: Option<Cid>,
    pub(crate) intent: Option<String>,
    pub(crate) blocks: Vec<(Cid, Vec<u8>)>,
    pub(crate) key: Option<String>,
    pub(crate) replaces: Option<OperationId>,
    /// The owner of the patient's account, by a checked card.
    pub(crate) owner: Address,
}

impl Outgoing {
    /// An operation that points to nothing.
    pub(crate) const fn plain(patient: &CheckedCard, operation: Operation, authority: Option<GrantSlot>) -> Self {
        Self {
            operation,
            authority,
            stored: None,
            epoch: None,
            directory: None,
            intent: None,
            blocks: Vec::new(),
            key: None,
            replaces: None,
            owner: patient.ethereum(),
        }
    }
}

impl Client {
    /// Signs an operation and keeps it. It is on disk, and nowhere else yet, when this returns.
    pub(crate) async fn keep(&self, outgoing: Outgoing) -> Result<Entry, ClientError> {
        let Outgoing { operation, authority, stored, epoch, directory, intent, blocks, key, replaces, owner } =
            outgoing;
        let parties = Parties { signer: self.ethereum_address(), patient: owner };
        let domain = self.domain();
        let sign = move |keys: &dyn Keys| keys::sign(keys, domain, operation, authority);
        let signed = keys::with(&self.keys, sign).await?;
        let directory = directory.map(|cid| cid.to_string());
        let submission = Submission { signed, stored, epoch, directory };
        let operation = signed.id(domain);
        Ok(self.profile.outbox().add(NewEntry { operation, parties, submission, intent, blocks, key, replaces })?)
    }

    /// Uploads an operation's blocks, hands it in, and checks and keeps the promise. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`ClientError`]. If the node refuses for good, the operation is forgotten: who asked for it is told, and can ask again. One that
    /// stands for an earlier one, which nobody has at hand any more, is kept. If the node cannot be asked, it stays for the next time.
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

    /// An operation of an earlier run came to nothing. A record is kept, since its writer may have it nowhere else; anything else is
    /// forgotten, since what comes next is made from the state as it is.
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

    /// Takes note of what became of an operation.
    fn conclude(&self, entry: &Entry, fate: &Fate) -> Result<(), ClientError> {
        match fate {
            Fate::Acknowledged | Fate::Waiting => Ok(()),
            Fate::Settled { .. } | Fate::Replaced { .. } => {
                Ok(self.profile.outbox().remove(entry.draft().operation)?)
            }
            Fate::Returned { reason } => self.give_up(entry, format!("it was returned: {reason}")),
            Fate::Refused { reason } => self.give_up(entry, reason.clone()),
            Fate::Lapsed => self.give_up(entry, "no batch took it in time".to_owned()),
        }
    }

    async fn try_deliver(&self, entry: &Entry) -> Result<Acknowledged, ClientError> {
        let submission = &entry.draft().submission;
        for block in entry.blocks() {
            let (cid, bytes) = block?;
            self.node.put_block(codec_of(&cid).map_err(NodeError::from)?, &bytes).await?;
        }
        let receipt = self.node.submit(submission).await?;
        let id = submission.signed.id(self.domain());
        let longest = receipt::Longest::of(&submission.signed.operation);
        receipt::verify(&receipt, &self.instance(), self.hospital_address()?, id, longest, UnixTime::now())?;
        let operation = entry.draft().operation;
        self.profile.outbox().acknowledge(operation, &receipt)?;
        Ok(Acknowledged { operation, signed: submission.signed, receipt })
    }

    /// Keeps and hands in.
    pub(crate) async fn hand_in(&self, outgoing: Outgoing) -> Result<Acknowledged, ClientError> {
        let entry = self.keep(outgoing).await?;
        self.deliver(&entry).await
    }

    /// The operation that was signed before for the same request and is not settled yet, handed in if it was not.
    pub(crate) async fn continue_intent(&self, intent: &str) -> Result<Option<Acknowledged>, ClientError> {
        let Some(entry) = self.profile.outbox().find(intent, UnixTime::now()) else { return Ok(None) };
        let fate = self.fate(&entry, &mut Owners::default()).await?;
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

    /// Hands in what an earlier run signed and could not hand in, in order, before anything new is signed on top of it.
    ///
    /// # Errors
    /// [`ClientError::RevocationLost`], once, if the node refuses a revocation for good.
    pub(crate) async fn deliver_waiting(&self) -> Result<(), ClientError> {
        lost_revocation(&self.redeliver().await?)
    }

    /// Hands in what was signed and not acknowledged. A record that is refused for good is kept, other operations are forgotten.
    pub(crate) async fn redeliver(&self) -> Result<Vec<Resumed>, ClientError> {
        let now = UnixTime::now();
        let waiting = |entry: &Entry| entry.receipt().is_none() && !entry.has_lapsed(now);
        let (mut redelivered, mut owners) = (Vec::new(), Owners::default());
        for entry in self.profile.outbox().entries().into_iter().filter(waiting) {
            let fate = self.delivery(&entry, &mut owners).await?;
            self.conclude(&entry, &fate)?;
            redelivered.push(Resumed::of(&entry, fate));
        }
        Ok(redelivered)
    }

    /// Sees to everything that former runs signed: hands in what was not acknowledged, asks after what was, and forgets what
    /// is settled. Records that came to nothing are kept: see [`Outbox::refused`](crate::profile::outbox::Outbox::refused). To be called
    /// at every start, by a patient with [`Self::repair_directory`] after it.
    ///
    /// # Errors
    /// [`ClientError`] if the node cannot be asked; nothing is lost then.
    pub async fn resume(&self) -> Result<Vec<Resumed>, ClientError> {
        let _turn = self.turn().await;
        self.see_to_all().await
    }

    /// [`Self::resume`] within the caller's turn.
    pub(crate) async fn see_to_all(&self) -> Result<Vec<Resumed>, ClientError> {
        self.refresh_account().await?;
        let (mut resumed, mut owners) = (Vec::new(), Owners::default());
        for entry in self.profile.outbox().entries() {
            let fate = self.fate(&entry, &mut owners).await?;
            self.conclude(&entry, &fate)?;
            resumed.push(Resumed::of(&entry, fate));
        }
        Ok(resumed)
    }

    async fn fate(&self, entry: &Entry, owners: &mut Owners) -> Result<Fate, ClientError> {
        let lapsed = entry.has_lapsed(UnixTime::now());
        match owners.of(self, entry).await? {
            Owning::Same => {}
            Owning::Other(account) => return Ok(other_owner(account)),
            // Registrations that a reorganisation took back come again, often with the same index.
            Owning::Nobody => return Ok(if lapsed { Fate::Lapsed } else { Fate::Waiting }),
        }
        if entry.receipt().is_some() {
            let id = entry.draft().submission.signed.id(self.domain());
            match self.node.operation(id).await {
                Ok(OperationStatus::Settled { batch }) => {
                    // Of what she granted and revoked the state itself is asked: a revocation is not forgotten on a node's word.
                    let settled = !self.is_hers(entry) || self.is_in_force(&entry.draft().submission.signed).await?;
                    return Ok(if settled { Fate::Settled { batch } } else { Fate::Waiting });
                }
                Ok(OperationStatus::Returned { reason }) => return Ok(Fate::Returned { reason }),
                // It stays until the state holds what it did, or more: the newer one may come to nothing.
                Ok(OperationStatus::Replaced { by }) if self.takes_place_of(by, entry) => {
                    let settled = self.is_in_force(&entry.draft().submission.signed).await?;
                    return Ok(if settled { Fate::Replaced { by } } else { Fate::Waiting });
                }
                // Nobody else can have signed what takes its place.
                Ok(OperationStatus::Replaced { by }) => {
                    let reason =
                        format!("the node says that operation {by} took its place, which you did not sign after it");
                    return Ok(Fate::Returned { reason });
                }
                Ok(OperationStatus::Pending | OperationStatus::Sealed { .. }) => return Ok(Fate::Waiting),
                // The node lost what it had promised to keep: hand it in again.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if lapsed {
            return Ok(Fate::Lapsed);
        }
        self.delivery(entry, owners).await
    }

    /// What comes of handing in an operation of an earlier run.
    async fn delivery(&self, entry: &Entry, owners: &mut Owners) -> Result<Fate, ClientError> {
        match owners.of(self, entry).await? {
            Owning::Same => {}
            Owning::Other(account) => return Ok(other_owner(account)),
            Owning::Nobody => return Ok(Fate::Waiting),
        }
        match self.try_deliver(entry).await {
            Ok(_) => Ok(Fate::Acknowledged),
            Err(error) if error.is_refusal() => Ok(Fate::Refused { reason: error.to_string() }),
            Err(error) => Err(error),
        }
    }

    /// Whether this participant is the patient whose subtree an operation changes.
    fn is_hers(&self, entry: &Entry) -> bool {
        let operation = &entry.draft().submission.signed.operation;
        operation.signer == operation.patient
    }

    /// Whether an operation that this participant signed after another one ends the same grant, at least as far and as long. The entries
    /// are in the order of their signing, so that no operation takes the place of itself, nor two that of each other.
    fn takes_place_of(&self, newer: OperationId, older: &Entry) -> bool {
        let later =
            self.profile.outbox().entries().into_iter().skip_while(|entry| entry.draft() != older.draft()).skip(1);
        let Some(newer) = later.into_iter().find(|entry| entry.draft().operation == newer) else { return false };
        let [newer, older] = [&newer, older].map(|entry| entry.draft().submission.signed.operation);
        match (newer.action, older.action) {
            (Action::Revoke(newest), Action::Revoke(oldest)) => {
                (newer.patient, newest.slot) == (older.patient, oldest.slot)
                    && newest.expected >= oldest.expected
                    && newer.valid_until >= older.valid_until
            }
            _ => false,
        }
    }

    /// Waits until an operation is settled or returned, asking every `interval`.
    ///
    /// # Errors
    /// [`ClientError::NotInForce`] if the node says that a grant or revocation is settled and the state on L1 does not hold it;
    /// [`ClientError`].
    pub async fn wait_for(
        &self,
        operation: OperationId,
        interval: std::time::Duration,
    ) -> Result<OperationStatus, ClientError> {
        let mut id = operation;
        let mut unproven = 0;
        loop {
            let status = self.node.operation(id).await?;
            if let OperationStatus::Replaced { by } = &status {
                let entries = self.profile.outbox().entries();
                let older = entries.iter().find(|entry| entry.draft().operation == id).cloned();
                let follows = older.as_ref().is_some_and(|older| self.takes_place_of(*by, older));
                if !follows {
                    return Ok(OperationStatus::Returned {
                        reason: "an operation that you did not sign after it took its place".to_owned(),
                    });
                }
                id = *by;
                tokio::time::sleep(interval).await;
                continue;
            }
            let known = self.profile.outbox().entries().into_iter().find(|entry| entry.draft().operation == id);
            let hers = known.as_ref().filter(|entry| self.is_hers(entry)).map(|entry| entry.draft().submission.signed);
            match (&status, hers) {
                (OperationStatus::Settled { batch }, Some(signed)) if !self.is_in_force(&signed).await? => {
                    unproven += 1;
                    if unproven == UNPROVEN {
                        return Err(ClientError::NotInForce { batch: *batch });
                    }
                }
                (OperationStatus::Settled { batch }, _) => {
                    if let Some(entry) = &known {
                        self.conclude(entry, &Fate::Settled { batch: *batch })?;
                    }
                    return Ok(status);
                }
                (OperationStatus::Returned { reason }, _) => {
                    if let Some(entry) = &known {
                        self.conclude(entry, &Fate::Returned { reason: reason.clone() })?;
                    }
                    return Ok(status);
                }
                _ => {}
            }
            tokio::time::sleep(interval).await;
        }
    }
}

//! What became of operations that were signed.

use std::time::Duration;

use emr_api::OperationStatus;
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::operation::{Action, Kind, OperationId};

use crate::{
    client::Client,
    error::ClientError,
    flow::on_l1::OnL1,
    flow::owners::{Owners, Owning},
    profile::outbox::Entry,
};

/// How often the node may say that an operation is settled while the state on L1 does not hold it: the node may be ahead for a moment.
const UNPROVEN: usize = 10;

/// What became of an operation that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The node had not acknowledged it before, and acknowledged it now.
    Acknowledged,
    /// It waits for a batch.
    Waiting,
    /// It is in force.
    Settled {
        /// The batch that settled it.
        batch: u64,
    },
    /// A newer Revoke by this participant took its place.
    Replaced {
        /// The newer Revoke.
        by: OperationId,
    },
    /// The state on L1 holds the effect of this revocation, or of a later change of the same grant, although the node says otherwise.
    InForce,
    /// The node returned it.
    Returned {
        /// The reason.
        reason: String,
    },
    /// The node refused it.
    Refused {
        /// The reason.
        reason: String,
    },
    /// It can no longer take effect.
    Lapsed,
}

/// An operation that has no effect this long after its validity ended never has one, in seconds. L1 takes a batch up to an hour after its time,
/// and finalizes it within minutes.
const LATEST_EFFECT: u64 = 3 * 3600;

impl Fate {
    /// The fate of an acknowledged operation that has no effect on L1 yet. The node may say that it waits as long as it likes; a revocation that
    /// the patient relies on must not wait for ever.
    pub(crate) fn without_effect(valid_until: UnixTime, now: UnixTime) -> Self {
        if valid_until.saturating_add(LATEST_EFFECT) < now { Self::Lapsed } else { Self::Waiting }
    }

    /// Whether the operation will never take effect.
    const fn is_lost(&self) -> bool {
        matches!(self, Self::Returned { .. } | Self::Refused { .. } | Self::Lapsed)
    }

    /// Whether nothing more will happen to the operation.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Acknowledged | Self::Waiting)
    }
}

/// An operation that an earlier run signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The operation's name.
    pub operation: OperationId,
    /// Its kind.
    pub kind: Kind,
    /// The patient whose subtree it changes.
    pub patient: AccountIndex,
    /// What became of it.
    pub fate: Fate,
}

impl Resumed {
    pub(crate) fn of(entry: &Entry, fate: Fate) -> Self {
        let draft = entry.draft();
        let operation = &draft.submission.signed.operation;
        Self { operation: draft.operation, kind: entry.kind(), patient: operation.patient, fate }
    }
}

impl Client {
    /// What became of an operation. Hands it in if the node does not have it.
    ///
    /// # Errors
    /// [`ClientError`] if the node or L1 cannot be asked.
    pub(crate) async fn fate(&self, entry: &Entry, owners: &mut Owners, on_l1: &mut OnL1) -> Result<Fate, ClientError> {
        let lapsed = entry.has_lapsed(UnixTime::now());
        match owners.of(self, entry).await? {
            Owning::Same => {}
            Owning::Other(account) => return Ok(other_owner(account)),
            // Registrations that a reorganisation undid are mined again, often with the same index.
            Owning::Nobody => return Ok(if lapsed { Fate::Lapsed } else { Fate::Waiting }),
        }
        let valid_until = entry.draft().submission.signed.operation.valid_until;
        let waiting = || Fate::without_effect(valid_until, UnixTime::now());
        if entry.receipt().is_some() {
            let id = entry.draft().submission.signed.id(self.domain());
            let fate = match self.node.operation(id).await {
                // L1 decides: a node's claim is no reason to remove a revocation, or a record with its blocks.
                Ok(OperationStatus::Settled { batch }) => {
                    match self.is_settled(&entry.draft().submission.signed, batch, on_l1).await? {
                        true => return Ok(Fate::Settled { batch }),
                        false => waiting(),
                    }
                }
                Ok(OperationStatus::Returned { reason }) => Fate::Returned { reason },
                Ok(OperationStatus::Replaced { by }) => match self.takes_place_of(by, entry) {
                    // The entry stays until the state holds its effect or more, because the newer Revoke may still fail.
                    true if self.is_in_force(&entry.draft().submission.signed).await? => {
                        return Ok(Fate::Replaced { by });
                    }
                    true => waiting(),
                    false => gave_way(by, Some(entry)),
                },
                Ok(OperationStatus::Pending | OperationStatus::Sealed { .. }) => waiting(),
                // The node lost an operation that it had promised to keep. Hand it in again.
                Err(error) if error.is_not_found() && !lapsed => return self.delivery(entry, owners).await,
                Err(error) if error.is_not_found() => Fate::Lapsed,
                Err(error) => return Err(error.into()),
            };
            return self.unless_in_force(entry, fate).await;
        }
        if lapsed {
            return self.unless_in_force(entry, Fate::Lapsed).await;
        }
        self.delivery(entry, owners).await
    }

    /// Asks L1 before a revocation is called lost. It may be in force: a newer Revoke that took its place is settled and left the outbox, or the
    /// node does not say the truth.
    async fn unless_in_force(&self, entry: &Entry, fate: Fate) -> Result<Fate, ClientError> {
        let signed = &entry.draft().submission.signed;
        let own = signed.operation.signer == signed.operation.patient;
        if fate.is_lost() && own && entry.kind().ends_rights() && self.is_in_force(signed).await? {
            return Ok(Fate::InForce);
        }
        Ok(fate)
    }

    /// Hands in an operation of an earlier run and tells what became of it.
    pub(crate) async fn delivery(&self, entry: &Entry, owners: &mut Owners) -> Result<Fate, ClientError> {
        match owners.of(self, entry).await? {
            Owning::Same => {}
            Owning::Other(account) => return Ok(other_owner(account)),
            Owning::Nobody => return Ok(Fate::Waiting),
        }
        match self.try_deliver(entry).await {
            Ok(_) => Ok(Fate::Acknowledged),
            Err(error) if error.is_refusal() => {
                self.unless_in_force(entry, Fate::Refused { reason: error.to_string() }).await
            }
            Err(error) => Err(error),
        }
    }

    /// Whether `newer` is an operation that this participant signed after `older` and that ends the same grant, at least as far and as long. The
    /// entries are in the order of signing, so an operation cannot take its own place, and two cannot take each other's.
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

    /// Waits until nothing more will happen to an operation, asking every `interval`. If newer Revokes take its place one after the other, waits
    /// for the last of them. A newest block that is too old does not stop it.
    ///
    /// # Errors
    /// [`ClientError::NotInForce`] if the node says that it is settled and L1 does not hold it.
    /// Other variants if the node or L1 cannot be asked.
    pub async fn wait_for(&self, operation: OperationId, interval: Duration) -> Result<Fate, ClientError> {
        self.for_revoking().wait_on_any_block(operation, interval).await
    }

    async fn wait_on_any_block(&self, operation: OperationId, interval: Duration) -> Result<Fate, ClientError> {
        let (mut id, mut unproven) = (operation, 0);
        // The operations whose place a newer one took, with the newer one.
        let mut replaced: Vec<(Entry, OperationId)> = Vec::new();
        loop {
            let status = self.node.operation(id).await?;
            let is_replaced = matches!(status, OperationStatus::Replaced { .. });
            let known = self.profile.outbox().entries().into_iter().find(|entry| entry.draft().operation == id);
            let fate = match status {
                OperationStatus::Settled { batch } => {
                    let settled = match &known {
                        Some(entry) => {
                            let signed = &entry.draft().submission.signed;
                            self.is_settled(signed, batch, &mut OnL1::default()).await?
                        }
                        None => true,
                    };
                    unproven += usize::from(!settled);
                    if unproven == UNPROVEN {
                        return Err(ClientError::NotInForce { batch });
                    }
                    settled.then_some(Fate::Settled { batch })
                }
                OperationStatus::Replaced { by } => match known.as_ref().filter(|older| self.takes_place_of(by, older))
                {
                    Some(older) => {
                        replaced.push((older.clone(), by));
                        id = by;
                        None
                    }
                    None => Some(gave_way(by, known.as_ref())),
                },
                OperationStatus::Returned { reason } => Some(Fate::Returned { reason }),
                OperationStatus::Pending | OperationStatus::Sealed { .. } => None,
            };
            if let Some(mut fate) = fate {
                if let Some(entry) = &known {
                    fate = self.unless_in_force(entry, fate).await?;
                    // A loss that only a false replacement tells stays in the outbox: the next command asks again, and reports it.
                    if !(is_replaced && fate.is_lost()) {
                        self.conclude(entry, &fate)?;
                    }
                }
                if !fate.is_lost() {
                    for (older, by) in replaced {
                        self.conclude(&older, &Fate::Replaced { by })?;
                    }
                }
                return Ok(fate);
            }
            tokio::time::sleep(interval).await;
        }
    }
}

/// The fate of an operation in whose place another one went, as the node says. A delegate's operation gives way to the patient's. Any other one
/// gives way only to what this participant signed after it.
fn gave_way(by: OperationId, entry: Option<&Entry>) -> Fate {
    let by_delegate = entry.is_some_and(|entry| entry.draft().submission.signed.operation.is_by_delegate());
    let reason = match by_delegate {
        true => format!("the node says that the patient's own operation {by} went before it"),
        false => format!("the node says that operation {by} took its place, which you did not sign after it"),
    };
    Fate::Returned { reason }
}

/// An error if a revocation was returned or refused or has lapsed. It is an error and not a value, so that no caller
/// can overlook it.
pub(crate) fn lost_revocation(resumed: &[Resumed]) -> Result<(), ClientError> {
    let lost = resumed.iter().filter(|resumed| resumed.kind.ends_rights()).find_map(|resumed| match &resumed.fate {
        Fate::Returned { reason } | Fate::Refused { reason } => Some(reason.clone()),
        Fate::Lapsed => Some("no batch took it in time".to_owned()),
        _ => None,
    });
    lost.map_or(Ok(()), |reason| Err(ClientError::RevocationLost { reason }))
}

/// The fate of an operation that names an account which has another owner now.
pub(crate) fn other_owner(account: AccountIndex) -> Fate {
    Fate::Refused {
        reason: format!(
            "account {account} has another owner now, for whom this was not signed: ask for the new card, and do it again for the account that it was meant for"
        ),
    }
}

#[cfg(test)]
mod tests {
    use emr_core::OutOfRange;

    use super::*;

    /// A node that acknowledged a revocation, and never settles it, cannot call it waiting for ever: the patient learns that it is lost.
    #[test]
    fn a_revocation_without_effect_is_lost_when_its_time_is_over() -> Result<(), OutOfRange> {
        let valid_until = UnixTime::new(1_000_000)?;
        for (now, lost) in [(999_999, false), (1_000_001, false), (1_010_800, false), (1_010_801, true)] {
            let fate = Fate::without_effect(valid_until, UnixTime::new(now)?);
            let (operation, patient) = (OperationId::from_bytes([1; 32]), AccountIndex::new(4)?);
            let resumed = Resumed { operation, kind: Kind::Revoke, patient, fate };
            assert_eq!(lost_revocation(&[resumed]).is_err(), lost, "{now}");
        }
        Ok(())
    }
}

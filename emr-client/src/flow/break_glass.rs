//! Breaking the glass: a doctor opens an emergency grant, without the patient. It stays in the patient's audit chain.
//!
//! The grant opens no records in this version, because nobody releases the patient's keys to the doctor. It is a record that nobody can delete:
//! who opened it, when, until when, for which class and why.

use emr_api::EmergencySlot;
use emr_core::{AccountIndex, Class, GrantSlot, Purpose, Reason, Rights, Role, UnixTime, Uses};
use emr_rollup::{
    operation::{Action, BreakGlass, Operation},
    state::leaf::GrantLeaf,
};

use crate::{
    client::{Client, random_element},
    error::ClientError,
    flow::submit::{Acknowledged, Outgoing},
    verify::card::{Card, CheckedCard},
};

/// How often a grant is tried while others take the slots. Each try signs another slot or version, so a lying node gets at most this many
/// emergency grants with the same terms.
const ATTEMPTS: usize = 3;

/// Why no emergency grant was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmergencyError {
    /// The participant is not a doctor.
    #[error("only a doctor can break the glass: use the doctor's data folder")]
    NotADoctor,
    /// The card is not a patient's.
    #[error("account {0} is not a patient: give the patient's card")]
    NotAPatient(AccountIndex),
    /// The time is too long or zero.
    #[error("an emergency grant holds for 1 to {max} hours, not {0}: choose another time", max = EmergencyTerms::MAX_HOURS)]
    Hours(u64),
}

/// The terms of an emergency grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmergencyTerms {
    /// The class. The audit entry names it.
    pub class: Class,
    /// Why. The patient sees it.
    pub reason: Reason,
    /// For how many hours it holds, [`Self::MAX_HOURS`] at most.
    pub hours: u64,
}

impl EmergencyTerms {
    /// The longest time. The statement allows 24 hours from the time of the batch, which may be half an hour before now.
    pub const MAX_HOURS: u64 = 23;

    /// The name of the request, so that a repeated call after an interruption signs nothing new.
    fn intent(&self, patient: &CheckedCard) -> String {
        let Self { class, reason, hours } = self;
        format!("break-glass {} {class} {reason} {hours}", patient.ethereum())
    }
}

/// An emergency grant that the node acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// The patient.
    pub patient: AccountIndex,
    /// The grant's slot.
    pub slot: GrantSlot,
    /// The grant.
    pub grant: GrantLeaf,
    /// The reason and the class that the audit entry names.
    pub purpose: Purpose,
    /// The node's promise.
    pub acknowledged: Acknowledged,
}

impl Emergency {
    fn of(acknowledged: Acknowledged) -> Option<Self> {
        let operation = &acknowledged.signed.operation;
        let Action::BreakGlass(BreakGlass { slot, purpose, leaf, .. }) = operation.action else { return None };
        Some(Self { patient: operation.patient, slot, grant: leaf, purpose, acknowledged })
    }
}

impl Client {
    /// Opens an emergency grant for a patient. The patient sees it, and it cannot be deleted. It opens no records in this version.
    ///
    /// Only the slot and its version come from the node. If the node names a slot that is not free, the statement refuses the grant.
    ///
    /// # Errors
    /// [`EmergencyError`] if these terms are not possible. [`ClientError`] if the card does not hold, the node refuses, or node or L1 does not do
    /// its part.
    pub async fn break_glass(&self, patient: &Card, terms: &EmergencyTerms) -> Result<Emergency, ClientError> {
        if self.keys.role() != Role::Doctor {
            return Err(EmergencyError::NotADoctor.into());
        }
        if !(1..=EmergencyTerms::MAX_HOURS).contains(&terms.hours) {
            return Err(EmergencyError::Hours(terms.hours).into());
        }
        let patient = self.check_card(patient).await?;
        if patient.role() != Role::Patient {
            return Err(EmergencyError::NotAPatient(patient.account()).into());
        }
        let _turn = self.turn().await;
        // Not what has files: an emergency does not wait until they are sent again.
        self.deliver_revocations().await?;
        let intent = terms.intent(&patient);
        if let Some(earlier) = self.continue_intent(&intent).await?.and_then(Emergency::of) {
            return Ok(earlier);
        }
        let purpose = Purpose { reason: terms.reason, class: terms.class };
        let until = UnixTime::now().saturating_add(terms.hours * 3600);
        for _ in 0..ATTEMPTS {
            match self.try_break_glass(&patient, purpose, until, &intent).await {
                Err(error) if error.is_stale() => {}
                other => return other,
            }
        }
        Err(ClientError::Contended)
    }

    async fn try_break_glass(
        &self,
        patient: &CheckedCard,
        purpose: Purpose,
        until: UnixTime,
        intent: &str,
    ) -> Result<Emergency, ClientError> {
        let EmergencySlot { slot, version: expected } = self.node.emergency_slot(patient.account()).await?;
        let leaf = GrantLeaf {
            grantee: Some(self.account()?),
            rights: Rights::EMERGENCY,
            scope: purpose.class.into(),
            not_after: until,
            uses: Uses::ZERO,
            version: expected.next().map_err(|error| ClientError::Malformed(error.to_string()))?,
            salt: random_element(),
        };
        let action = Action::BreakGlass(BreakGlass { slot, expected, purpose, leaf });
        // What the node holds back can take effect only as long as the grant would hold.
        let operation = Operation { valid_until: until, ..self.operation(patient, action).await? };
        let plain = Outgoing::plain(patient, operation, None);
        let acknowledged = self.hand_in(Outgoing { intent: Some(intent.to_owned()), ..plain }).await?;
        let grant = leaf;
        Ok(Emergency { patient: patient.account(), slot, grant, purpose, acknowledged })
    }
}

//! Requesting access: the use of a READ grant, recorded in the patient's audit chain.

use emr_core::{AccountIndex, Class, GrantSlot, Purpose, Reason, Rights, UnixTime};
use emr_rollup::operation::{Action, RequestAccess};

use crate::{
    client::Client,
    error::ClientError,
    flow::retrieve::ReadError,
    flow::submit::{Acknowledged, Outgoing},
    verify::card::{Card, CheckedCard},
};

/// How often a request is tried while others use the same grant.
const ATTEMPTS: usize = 5;

/// A request that the node acknowledged. The node now serves records of this class for at most a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The patient whose records may be read.
    pub patient: AccountIndex,
    /// The slot of the grant that was used.
    pub slot: GrantSlot,
    /// The reason and the class.
    pub purpose: Purpose,
    /// The node's promise.
    pub acknowledged: Acknowledged,
}

impl Client {
    /// Requests access to a class of a patient's records.
    ///
    /// # Errors
    /// [`ReadError::NotGranted`] if no grant allows it. [`ClientError`] if the card does not hold, or the node or L1 does not do its part.
    pub async fn request(&self, patient: &Card, class: Class, reason: Reason) -> Result<Requested, ClientError> {
        let patient = self.check_card(patient).await?;
        let _turn = self.turn().await;
        self.deliver_waiting().await?;
        self.request_checked(&patient, class, reason).await
    }

    /// Requests access within the caller's turn.
    pub(crate) async fn request_checked(
        &self,
        patient: &CheckedCard,
        class: Class,
        reason: Reason,
    ) -> Result<Requested, ClientError> {
        let purpose = Purpose { reason, class };
        for _ in 0..ATTEMPTS {
            match self.try_request(patient, purpose).await {
                Err(error) if error.is_stale() => {}
                other => return other,
            }
        }
        Err(ClientError::Contended)
    }

    async fn try_request(&self, patient: &CheckedCard, purpose: Purpose) -> Result<Requested, ClientError> {
        let account = self.account()?;
        let org = self.node.account(account).await?.org;
        let view = self.node.patient(patient.account()).await?;
        let now = UnixTime::now();
        let allows = |grant: &emr_rollup::state::leaf::GrantLeaf| {
            grant.is_live_for(account, org, now)
                && grant.rights.contains(Rights::READ)
                && grant.scope.contains(purpose.class)
        };
        let grants = view.grants.iter().filter(|view| allows(&view.grant));
        // A doctor's own grant comes before the organisation's, because only it carries keys wrapped to the doctor.
        let grant = grants.max_by_key(|view| (view.grant.grantee == Some(account), view.grant.not_after));
        let grant = grant.ok_or(ReadError::NotGranted { patient: patient.account(), class: purpose.class })?;
        let slot = grant.slot;
        let action = Action::RequestAccess(RequestAccess {
            slot,
            version: grant.grant.version,
            expected: grant.grant.uses,
            purpose,
        });
        let operation = self.operation(patient, action).await?;
        let acknowledged = self.hand_in(Outgoing::plain(patient, operation, None)).await?;
        Ok(Requested { patient: patient.account(), slot, purpose, acknowledged })
    }
}

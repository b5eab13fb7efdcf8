//! Admission: the registrar compares the card that a doctor or hospital shows in person with the registration that waits on L1, and
//! admits exactly that registration.

use alloy::{primitives::Address, providers::DynProvider};
use emr_api::encryption::CommittedKey;
use emr_chain::{L1Receipt, PendingRegistration, Rollup, RollupInstance};
use emr_core::AccountIndex;
use emr_rollup::primitive::field;

use crate::{
    error::ClientError,
    verify::card::{Card, CardError},
};

/// Why a registration was neither admitted nor held back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The card's owner never registered.
    #[error("{0} has not registered yet: its owner runs `register` first")]
    NotRegistered(Address),
    /// The account does not wait for a registrar.
    #[error(
        "account {0} does not wait for a registrar: it is admitted already, held back, or a patient's, who needs no admission"
    )]
    NotWaiting(AccountIndex),
}

impl Card {
    /// Compares the card with a registration that waits on L1: account, owner, role, rollup key and RSA key must be the same. Pure.
    ///
    /// # Errors
    /// [`CardError::Forged`] if something differs; it names the field. [`CardError::OtherInstance`] if the card is of another deployment.
    /// [`CardError::Malformed`] if its keys cannot be decoded.
    pub fn check_pending(&self, instance: &RollupInstance, waiting: &PendingRegistration) -> Result<(), CardError> {
        self.check_instance(instance)?;
        let (key, rsa) = self.keys()?;
        let shown = rsa.map(|key| CommittedKey { key, salt: None }.commitment());
        let checks = [
            ("account", self.account.is_none_or(|account| account == waiting.account)),
            ("Ethereum address", self.ethereum == waiting.owner),
            ("role", self.role == waiting.role),
            ("rollup key", (field::to_bytes(&key.x()), field::to_bytes(&key.y())) == (waiting.key.x, waiting.key.y)),
            ("RSA key", shown == Some(waiting.commitment)),
        ];
        let differs = checks.into_iter().find(|(_, same)| !same);
        differs.map_or(Ok(()), |(field, _)| Err(CardError::Forged { account: waiting.account, field }))
    }
}

/// As a registrar, admits the doctor or hospital whose card this is. The card may have been made before the registration.
///
/// The Ethereum node's answer is compared with the card. The contract admits the registration that was compared or nothing, so neither the
/// Ethereum node nor a reorganisation can put in other keys.
///
/// # Errors
/// [`AdmissionError`] if nothing of this card's owner waits. [`CardError`] if the card and the registration differ. Other variants if L1
/// cannot be asked or refuses.
pub async fn admit(
    registrar: &Rollup<DynProvider>,
    card: &Card,
) -> Result<(PendingRegistration, L1Receipt), ClientError> {
    let account = registered_account(registrar, card).await?;
    let waiting = registrar.pending(account).await?.ok_or(AdmissionError::NotWaiting(account))?;
    card.check_pending(registrar.instance(), &waiting)?;
    let receipt = registrar.admit(&waiting).await?;
    Ok((waiting, receipt))
}

/// As a registrar, suspends the account of this card's owner, or holds its registration back.
///
/// # Errors
/// [`AdmissionError`] if the card's owner never registered. Other variants if L1 cannot be asked or refuses.
pub async fn suspend(registrar: &Rollup<DynProvider>, card: &Card) -> Result<(AccountIndex, L1Receipt), ClientError> {
    let account = account_of_card(registrar, card).await?;
    Ok((account, registrar.suspend(account).await?))
}

/// As a registrar, ends a suspension, or no longer holds a registration back.
///
/// # Errors
/// [`AdmissionError`] if the card's owner never registered. Other variants if L1 cannot be asked or refuses.
pub async fn reinstate(registrar: &Rollup<DynProvider>, card: &Card) -> Result<(AccountIndex, L1Receipt), ClientError> {
    let account = account_of_card(registrar, card).await?;
    Ok((account, registrar.reinstate(account).await?))
}

/// The account of a card, from L1, also if it has another owner since: nobody escapes a registrar by handing the account to another key.
///
/// # Errors
/// [`AdmissionError`] if the card's owner never registered. [`CardError::OtherInstance`]. Other variants if L1 cannot be asked.
pub async fn account_of_card(rollup: &Rollup<DynProvider>, card: &Card) -> Result<AccountIndex, ClientError> {
    card.check_instance(rollup.instance())?;
    match card.account {
        Some(account) if rollup.registrant_of(account).await? == Some(card.ethereum) => Ok(account),
        _ => registered_account(rollup, card).await,
    }
}

/// The account of a card's owner, from L1.
async fn registered_account(rollup: &Rollup<DynProvider>, card: &Card) -> Result<AccountIndex, ClientError> {
    let account = rollup.account_of(card.ethereum).await?;
    Ok(account.ok_or(AdmissionError::NotRegistered(card.ethereum))?)
}

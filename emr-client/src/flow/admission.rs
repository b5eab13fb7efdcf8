//! Admission: the registrar compares the card that a doctor or hospital shows in person with the registration that waits on L1, and
//! admits exactly that registration.

use alloy::{primitives::Address, providers::DynProvider};
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
    /// The card's address owned several accounts, and the card does not say which of them it is of.
    #[error(
        "{owner} owned the accounts {} and owns none of them now: name the one that you mean by its number", listed(.accounts)
    )]
    Several {
        /// The card's address.
        owner: Address,
        /// The accounts of the card's role.
        accounts: Vec<AccountIndex>,
    },
}

fn listed(accounts: &[AccountIndex]) -> String {
    accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Card {
    /// Compares the card with a registration that waits on L1: account, owner, role, rollup key and encryption key must be the same. Pure.
    ///
    /// # Errors
    /// [`CardError::Forged`] if something differs; it names the field. [`CardError::OtherInstance`] if the card is of another deployment.
    /// [`CardError::Malformed`] if its keys cannot be decoded.
    pub fn check_pending(&self, instance: &RollupInstance, waiting: &PendingRegistration) -> Result<(), CardError> {
        self.check_instance(instance)?;
        let (key, encryption) = self.keys()?;
        let shown = encryption.map(|key| key.committed(None).commitment());
        let checks = [
            ("account", self.account.is_none_or(|account| account == waiting.account)),
            ("Ethereum address", self.ethereum == waiting.owner),
            ("role", self.role == waiting.role),
            ("rollup key", (field::to_bytes(&key.x()), field::to_bytes(&key.y())) == (waiting.key.x, waiting.key.y)),
            ("encryption key", shown == Some(waiting.commitment)),
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
/// As [`account_of_card`]. Other variants if L1 refuses.
pub async fn suspend(registrar: &Rollup<DynProvider>, card: &Card) -> Result<(AccountIndex, L1Receipt), ClientError> {
    let account = account_of_card(registrar, card).await?;
    Ok((account, registrar.suspend(account).await?))
}

/// As a registrar, ends a suspension, or no longer holds a registration back.
///
/// # Errors
/// As [`account_of_card`]. Other variants if L1 refuses.
pub async fn reinstate(registrar: &Rollup<DynProvider>, card: &Card) -> Result<(AccountIndex, L1Receipt), ClientError> {
    let account = account_of_card(registrar, card).await?;
    Ok((account, registrar.reinstate(account).await?))
}

/// The account of a card, from L1, also if it has another owner since: nobody escapes a registrar by handing the account to another key.
///
/// A card without an account number is of the account that its owner has now, if there is one of the card's role, and otherwise of the one that
/// they had. The contract's storage shows an account's present owner and who registered it; who owned it between is in its events
/// ([`Rollup::owners_of`]).
///
/// # Errors
/// [`AdmissionError`] if the card's owner has no account and never had one, or had several. [`CardError::OtherInstance`]. Other variants if L1
/// cannot be asked.
pub async fn account_of_card(rollup: &Rollup<DynProvider>, card: &Card) -> Result<AccountIndex, ClientError> {
    card.check_instance(rollup.instance())?;
    let owner = card.ethereum;
    if let Some(account) = card.account
        && (rollup.registrant_of(account).await? == Some(owner) || rollup.owners_of(account).await?.contains(&owner))
    {
        return Ok(account);
    }
    if let Some(account) = rollup.account_of(owner).await?
        && has_role(rollup, account, card).await?
    {
        return Ok(account);
    }
    let mut before = Vec::new();
    for account in rollup.accounts_given_away_by(owner).await? {
        if has_role(rollup, account, card).await? {
            before.push(account);
        }
    }
    match (before.first().copied(), before.len()) {
        (Some(account), 1) => Ok(account),
        (None, _) => Err(AdmissionError::NotRegistered(owner).into()),
        _ => Err(AdmissionError::Several { owner, accounts: before }.into()),
    }
}

/// Whether an account is of a card's role. One address can have had accounts of several roles, one after the other.
async fn has_role(rollup: &Rollup<DynProvider>, account: AccountIndex, card: &Card) -> Result<bool, ClientError> {
    Ok(rollup.account(account).await?.is_some_and(|found| found.role == card.role))
}

/// The account that a card's owner has now, from L1.
async fn registered_account(rollup: &Rollup<DynProvider>, card: &Card) -> Result<AccountIndex, ClientError> {
    let account = rollup.account_of(card.ethereum).await?;
    Ok(account.ok_or(AdmissionError::NotRegistered(card.ethereum))?)
}

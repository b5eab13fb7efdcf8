//! Cards: participants give them to each other to be granted access, to be written for, and to be endorsed.

use alloy::primitives::Address;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use emr_api::{AccountView, encryption};
use emr_chain::RollupInstance;
use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Role, excerpt};
use emr_crypto::{EncryptionKey, RsaPublic, XWingPublic};
use emr_rollup::{
    l1_operation::Register,
    primitive::{
        eddsa::PublicKey,
        field::{Fr, hex_element},
    },
    state::leaf::IdentityLeaf,
};
use serde::{Deserialize, Serialize};

use crate::{
    keys::Signer,
    verify::membership::{MembershipError, StateRoots, identity_leaf},
    verify::settled_state::SettledState,
};

/// The largest card file, in bytes: more than twice what a card with a 4096-bit key needs.
const MAX_BYTES: usize = 8192;

/// Why a card cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The bytes are not a card.
    #[error("this is not a card ({0}): ask its owner for what `whoami --json` prints")]
    Malformed(String),
    /// The card belongs to another deployment.
    #[error(
        "the card is for contract {card} on chain {card_chain}, but this is {here} on chain {here_chain}: ask for a card of this one"
    )]
    OtherInstance {
        /// The card's contract.
        card: Address,
        /// The card's chain.
        card_chain: u64,
        /// This contract.
        here: Address,
        /// This chain.
        here_chain: u64,
    },
    /// The card's owner had no account when it was made.
    #[error("the card's owner was not registered when it was made: ask for a new card after registration")]
    NotRegistered,
    /// The card differs from the state.
    #[error(
        "the card is not that of account {account}: its {field} differs from the state. Do not use it; ask its owner in person. Who made a new rollup key (`rotate`) has a new card"
    )]
    Forged {
        /// The account that the card names.
        account: AccountIndex,
        /// The field that differs.
        field: &'static str,
    },
    /// The account is not active.
    #[error("account {account} is {status}: nothing can be granted to it, or written for it")]
    Inactive {
        /// The account.
        account: AccountIndex,
        /// The account's status.
        status: AccountStatus,
    },
    /// The node's proof does not hold.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The node does not prove the account, and the L1 queue does not hold it either.
    #[error(
        "account {0} is neither in the settled state nor in the queue on L1: wait until it is admitted, then try again"
    )]
    Unknown(AccountIndex),
}

/// What a participant shows others. Its content is public, except that it links a person to an account: a patient's
/// card tells the patient's account.
///
/// It is JSON of at most 8192 bytes. A card proves nothing: it is compared with the state before it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The owner's role.
    pub role: Role,
    /// The owner's account, once it has one.
    pub account: Option<AccountIndex>,
    /// The owner's Ethereum address.
    pub ethereum: Address,
    /// The rollup key's x coordinate.
    #[serde(with = "hex_element")]
    pub key_x: Fr,
    /// The rollup key's y coordinate.
    #[serde(with = "hex_element")]
    pub key_y: Fr,
    /// The RSA public key of a doctor or hospital: SubjectPublicKeyInfo in base64. A patient's card has none, because
    /// the key would identify the patient elsewhere.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rsa: Option<String>,
    /// The X-Wing public key beside the RSA key, 1216 bytes in base64. A doctor or hospital that chose RSA alone has none, and neither has a
    /// patient's card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub xwing: Option<String>,
    /// The chain id.
    pub chain_id: u64,
    /// The rollup contract.
    pub contract: Address,
}

/// What a card is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Evidence<'a> {
    /// The settled state: the node's answer must prove the account in it.
    Settled(&'a SettledState),
    /// The account's entry in the L1 queue, for an account that no batch has taken yet.
    Queued(&'a Register),
}

/// A card that agrees with the state. Only [`Card::check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCard {
    account: AccountIndex,
    ethereum: Address,
    leaf: IdentityLeaf,
    encryption: Option<EncryptionKey>,
    settled: bool,
}

impl Card {
    /// The field of [`CardError::Forged`] if the rollup key is not the account's.
    pub(crate) const ROLLUP_KEY: &str = "rollup key";

    /// The card of the participant with these keys.
    pub fn of(keys: &(impl Signer + ?Sized), instance: &RollupInstance, account: Option<AccountIndex>) -> Self {
        let key = keys.rollup_key();
        let shown = (keys.role() != Role::Patient).then(|| keys.encryption_key());
        let xwing = shown.as_ref().and_then(EncryptionKey::xwing);
        Self {
            role: keys.role(),
            account,
            ethereum: keys.ethereum_address(),
            key_x: key.x(),
            key_y: key.y(),
            rsa: shown.as_ref().map(|key| BASE64.encode(key.rsa().to_der())),
            xwing: xwing.map(|key| BASE64.encode(key.as_bytes())),
            chain_id: instance.chain_id,
            contract: instance.contract,
        }
    }

    /// Reads a card.
    ///
    /// # Errors
    /// [`CardError::Malformed`] if the bytes are not a card.
    pub fn from_json(json: &[u8]) -> Result<Self, CardError> {
        if json.len() > MAX_BYTES {
            return Err(CardError::Malformed(format!("{} bytes, more than {MAX_BYTES}", json.len())));
        }
        let card: Self =
            serde_json::from_slice(json).map_err(|error| CardError::Malformed(excerpt(&error.to_string(), 150)))?;
        card.keys()?;
        Ok(card)
    }

    /// The card as JSON, on several lines.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data has a JSON form")
    }

    /// The account that the card names.
    ///
    /// # Errors
    /// [`CardError::NotRegistered`] if it names none.
    pub fn registered(&self) -> Result<AccountIndex, CardError> {
        self.account.ok_or(CardError::NotRegistered)
    }

    /// The keys, decoded.
    pub(crate) fn keys(&self) -> Result<(PublicKey, Option<EncryptionKey>), CardError> {
        let key = PublicKey::from_coordinates(self.key_x, self.key_y)
            .map_err(|error| CardError::Malformed(error.to_string()))?;
        if self.rsa.is_some() == (self.role == Role::Patient) {
            return Err(CardError::Malformed("doctors and hospitals show an RSA key, patients none".to_owned()));
        }
        let bytes = |text: &String| BASE64.decode(text).map_err(|error| CardError::Malformed(error.to_string()));
        let Some(rsa) = &self.rsa else {
            return match self.xwing {
                None => Ok((key, None)),
                Some(_) => Err(CardError::Malformed("it shows an X-Wing key without an RSA key".to_owned())),
            };
        };
        let rsa = RsaPublic::from_der(&bytes(rsa)?).map_err(|error| CardError::Malformed(error.to_string()))?;
        let xwing = self.xwing.as_ref().map(|text| {
            XWingPublic::from_bytes(&bytes(text)?).map_err(|error| CardError::Malformed(error.to_string()))
        });
        Ok((key, Some(EncryptionKey::new(rsa, xwing.transpose()?))))
    }

    /// Checks that the card belongs to this deployment.
    ///
    /// # Errors
    /// [`CardError::OtherInstance`] if it belongs to another one.
    pub fn check_instance(&self, instance: &RollupInstance) -> Result<(), CardError> {
        if (self.contract, self.chain_id) == (instance.contract, instance.chain_id) {
            return Ok(());
        }
        Err(CardError::OtherInstance {
            card: self.contract,
            card_chain: self.chain_id,
            here: instance.contract,
            here_chain: instance.chain_id,
        })
    }

    /// Compares the card with the state: role, rollup key and encryption key must be those of the account. So a forged card
    /// cannot redirect a grant, and neither can a node that supports the forgery: the identity is proved, or is in the
    /// L1 queue.
    ///
    /// # Errors
    /// [`CardError`] if the card differs from the evidence or belongs to another deployment, or the account is not
    /// active.
    pub fn check(
        &self,
        instance: &RollupInstance,
        view: &AccountView,
        evidence: Evidence<'_>,
    ) -> Result<CheckedCard, CardError> {
        let account = self.registered()?;
        self.check_instance(instance)?;
        let (key, encryption) = self.keys()?;
        let forged = |field| CardError::Forged { account, field };
        if view.account != account {
            return Err(forged("account"));
        }
        let leaf = match evidence {
            Evidence::Settled(state) => {
                let leaf = identity_leaf(&view.identity)?;
                let proof = view.proof.as_ref().ok_or(CardError::Unknown(account))?;
                StateRoots::of(state, proof.identity_root, proof.medical_root, proof.batch)?.check_identity(
                    account,
                    &leaf,
                    &proof.path,
                )?;
                leaf
            }
            Evidence::Queued(registration) if registration.account == account => registration.identity(),
            Evidence::Queued(_) => return Err(CardError::Unknown(account)),
        };
        if leaf.role != self.role {
            return Err(forged("role"));
        }
        if leaf.key != key {
            return Err(forged(Self::ROLLUP_KEY));
        }
        let is_committed = |key: &EncryptionKey| encryption::matches(&key.committed(None), leaf.role, &leaf.encryption);
        if encryption.as_ref().is_some_and(|key| !is_committed(key)) {
            return Err(forged("encryption key"));
        }
        if leaf.status != AccountStatus::Active {
            return Err(CardError::Inactive { account, status: leaf.status });
        }
        let settled = matches!(evidence, Evidence::Settled(_));
        Ok(CheckedCard { account, ethereum: self.ethereum, leaf, encryption, settled })
    }
}

impl CheckedCard {
    /// The account.
    pub const fn account(&self) -> AccountIndex {
        self.account
    }

    /// The Ethereum address that the card names. The state does not hold it; the contract does.
    pub const fn ethereum(&self) -> Address {
        self.ethereum
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.leaf.role
    }

    /// The hospital that the account belongs to.
    pub const fn org(&self) -> Option<AccountIndex> {
        self.leaf.org
    }

    /// The account's epoch.
    pub const fn epoch(&self) -> AccountEpoch {
        self.leaf.epoch
    }

    /// The rollup key, which signs the account's operations.
    pub const fn key(&self) -> &PublicKey {
        &self.leaf.key
    }

    /// The encryption key of a doctor or hospital. A patient's card has none.
    pub const fn encryption_key(&self) -> Option<&EncryptionKey> {
        self.encryption.as_ref()
    }

    /// Whether the account is in the settled state, or still in the L1 queue.
    pub const fn is_settled(&self) -> bool {
        self.settled
    }
}

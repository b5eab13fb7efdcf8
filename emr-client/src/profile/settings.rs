//! The settings of a profile: its node, deployment, hospital and account.

use std::fmt;

use alloy::primitives::Address;
use emr_chain::RollupInstance;
use emr_core::AccountIndex;
use serde::{Deserialize, Serialize};

/// A hospital. The owner identifies it, because the account index can get another owner when L1 reorganises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hospital {
    /// Its account.
    pub account: AccountIndex,
    /// The Ethereum address that owns the account.
    pub owner: Address,
}

impl fmt::Display for Hospital {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.account, self.owner)
    }
}

/// A participant's node, chain, contract, hospital and account. Kept as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The node's address.
    pub node: String,
    /// The Ethereum nodes' addresses.
    pub rpc: Vec<String>,
    /// How many of these nodes must agree; `None` for more than half of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<usize>,
    /// The chain id.
    pub chain_id: u64,
    /// The rollup contract.
    pub contract: Address,
    /// The block of its deployment, as the node said. Events are read from there. A lie hides events, which is noticed: the state then
    /// has another root.
    pub deployed_at: u64,
    /// The hospital that runs the node, once it is known. Logins are valid for it only, and it signs receipts.
    pub hospital: Option<Hospital>,
    /// The participant's account, once registered.
    pub account: Option<AccountIndex>,
}

impl Settings {
    /// Chain and contract.
    pub const fn instance(&self) -> RollupInstance {
        RollupInstance { chain_id: self.chain_id, contract: self.contract }
    }
}

//! What a profile remembers of where it belongs.

use std::fmt;

use alloy::primitives::Address;
use emr_chain::RollupInstance;
use emr_core::AccountIndex;
use serde::{Deserialize, Serialize};

/// A hospital. It is its owner: the account index can get another one when L1 reorganises.
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

/// Where a participant's node, chain and contract are. JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The node's address.
    pub node: String,
    /// The Ethereum node's address.
    pub rpc: String,
    /// The chain.
    pub chain_id: u64,
    /// The rollup contract.
    pub contract: Address,
    /// The hospital that runs the node, once known: logins are for it alone, and it signs receipts.
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

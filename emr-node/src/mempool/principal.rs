//! The owner of an account. A reorganisation of L1 may give an account's number to somebody else.

use emr_core::AccountIndex;
use serde::{Deserialize, Serialize};

use super::{MempoolError, damaged};

/// A principal as part of a table key: the account as 4 bytes, big-endian, then the identity.
pub(crate) type PrincipalRow = [u8; 36];

/// Stands for no principal: account 0 is never assigned.
pub(super) const NOBODY: PrincipalRow = [0; 36];
/// Greater than or equal to the row of every principal.
pub(super) const LAST: PrincipalRow = [u8::MAX; 36];

/// An account together with the identity leaf of its registration. The node's tables use this as a key. A new status, key or epoch does not
/// change it. A reorganisation of L1 may give the
/// account's number to somebody else: the new owner sees nothing of the earlier principal. If L1 gives the number back,
/// everything is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Principal {
    /// The account.
    pub account: AccountIndex,
    /// Hash of the identity leaf that its registration wrote: 32 bytes, little-endian, like all field elements. It covers the signing key and the
    /// encryption key. One of the two keys is not enough: somebody else may have registered a copy of it.
    #[serde(with = "hex::serde")]
    pub identity: [u8; 32],
}

impl Principal {
    pub(crate) fn row(&self) -> PrincipalRow {
        let mut row = NOBODY;
        row[..4].copy_from_slice(&(self.account.get() as u32).to_be_bytes());
        row[4..].copy_from_slice(&self.identity);
        row
    }

    pub(super) fn from_row(row: PrincipalRow) -> Result<Self, MempoolError> {
        let [a, b, c, d, identity @ ..] = row;
        let account = AccountIndex::new(u32::from_be_bytes([a, b, c, d]).into()).map_err(damaged)?;
        Ok(Self { account, identity })
    }
}

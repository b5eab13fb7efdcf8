//! The kinds of operation: their codes, names and rules.

use serde::{Deserialize, Serialize};

use super::{PutRecord, RequestAccess, Revoke, Rule, SetGrant, Tombstone};
use crate::l1_operation::{L1Rule, Register};

/// The kinds of operation that batches hold. 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Kind {
    /// No operation: the slot of the batch is unused.
    Noop = 0,
    /// Writes a record's next version.
    PutRecord = 1,
    /// Deletes a record.
    Tombstone = 2,
    /// Writes a grant.
    SetGrant = 4,
    /// Ends a grant.
    Revoke = 5,
    /// Records the use of a grant.
    RequestAccess = 6,
    /// Admits an account; comes through the L1 queue.
    Register = 16,
}

impl Kind {
    /// The kinds that accounts sign. The circuit has one flag for each, in this order.
    pub const L2: [Self; 5] = [Self::PutRecord, Self::Tombstone, Self::SetGrant, Self::Revoke, Self::RequestAccess];

    /// The kinds that come through the L1 queue. The circuit has one flag for each, in this order.
    pub const L1: [Self; 1] = [Self::Register];

    /// The code in packed fields.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind's name in text and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::PutRecord => "put-record",
            Self::Tombstone => "tombstone",
            Self::SetGrant => "set-grant",
            Self::Revoke => "revoke",
            Self::RequestAccess => "request-access",
            Self::Register => "register",
        }
    }

    /// The rules of an L2 kind, or `None` for an unused slot and for kinds of the L1 queue.
    pub const fn rule(self) -> Option<&'static Rule> {
        match self {
            Self::PutRecord => Some(&PutRecord::RULE),
            Self::Tombstone => Some(&Tombstone::RULE),
            Self::SetGrant => Some(&SetGrant::RULE),
            Self::Revoke => Some(&Revoke::RULE),
            Self::RequestAccess => Some(&RequestAccess::RULE),
            Self::Noop | Self::Register => None,
        }
    }

    /// The rules of an L1 kind, or `None` for an unused slot and for kinds that accounts sign.
    pub const fn l1_rule(self) -> Option<&'static L1Rule> {
        match self {
            Self::Register => Some(&Register::RULE),
            Self::Noop | Self::PutRecord | Self::Tombstone | Self::SetGrant | Self::Revoke | Self::RequestAccess => {
                None
            }
        }
    }

    /// Whether operations of this kind end rights, as [`Rule::ends_rights`] says.
    pub fn ends_rights(self) -> bool {
        self.rule().is_some_and(|rule| rule.ends_rights)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        let all = [Kind::Noop].into_iter().chain(Kind::L1).chain(Kind::L2);
        for kind in all {
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.name().into()));
            assert_eq!(kind.rule().is_some(), Kind::L2.contains(&kind), "{kind}");
            assert_eq!(kind.l1_rule().is_some(), Kind::L1.contains(&kind), "{kind}");
        }
    }
}

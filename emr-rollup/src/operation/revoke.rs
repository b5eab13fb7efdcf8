//! Revoke: ends the grant that a slot holds.

use emr_core::{ClassMask, GrantSlot, OutOfRange, Rights, UnixTime, Uses, Version};
use serde::{Deserialize, Serialize};

use super::{
    Authority, Blocks, Body, Counter, DirectoryCommitment, DirectoryRule, Rule, Signed, SignerRule, TakenAway, Written,
};
use crate::{
    primitive::field::{Fr, hex_element},
    state::{
        leaf::{GrantLeaf, Target, Tree},
        ledger::PatientLeaves,
    },
    statement::{Clause, GrantFields, LeafChange, Violation, require},
};

/// Ends the grant that a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// The grant's slot.
    pub slot: GrantSlot,
    /// The highest version that the patient ever signed for the slot. It must be at least the version in the state.
    pub expected: Version,
    /// The salt of the cleared leaf.
    #[serde(with = "hex_element")]
    pub leaf_salt: Fr,
    /// The directory is replaced only if this one is in force. The rights end in any case.
    pub directory_before: DirectoryCommitment,
    /// The key directory after the operation.
    pub directory_after: DirectoryCommitment,
}

impl Revoke {
    /// The rules of this kind.
    pub const RULE: Rule = Rule {
        tree: Tree::Grants,
        signer: SignerRule::PatientOrDelegate,
        counter: Counter::VersionAtMost,
        directory: DirectoryRule::ReplacedIfCurrent,
        authority: Authority::ManageUnlessOwn,
        has_purpose: false,
        ends_rights: true,
        check,
    };
}

impl Signed for Revoke {
    fn target(&self) -> Target {
        Target::Grant(self.slot)
    }

    fn expected(&self) -> u64 {
        self.expected.get()
    }

    fn body(&self) -> Body {
        // An `expected` at the maximum has no next version; the statement refuses it.
        let version = self.expected.next().unwrap_or(Version::ZERO);
        let leaf = revoked_leaf(Uses::ZERO, version, self.leaf_salt);
        Body {
            directory_before: self.directory_before.element(),
            directory_after: self.directory_after.element(),
            ..Body::grant(&leaf)
        }
    }

    fn blocks(&self) -> Blocks {
        Blocks::Directory { before: self.directory_before, after: self.directory_after }
    }

    fn grant(&self) -> Result<Option<(GrantSlot, GrantLeaf)>, OutOfRange> {
        Ok(Some((self.slot, revoked_leaf(Uses::ZERO, self.expected.next()?, self.leaf_salt))))
    }

    fn takes_away(&self) -> Option<TakenAway> {
        Some(TakenAway::Grant { slot: self.slot, version: self.expected })
    }

    fn effect(&self, before: &PatientLeaves) -> Option<Written> {
        let version = self.expected.next().ok()?;
        Some(Written::Grant(self.slot, revoked_leaf(before.uses(self.slot), version, self.leaf_salt)))
    }
}

/// The leaf that a Revoke leaves in a slot.
pub fn revoked_leaf(uses: Uses, version: Version, salt: Fr) -> GrantLeaf {
    GrantLeaf {
        grantee: None,
        rights: Rights::NONE,
        scope: ClassMask::default(),
        not_after: UnixTime::ZERO,
        uses,
        version,
        salt,
    }
}

fn check(change: &LeafChange<'_>) -> Result<(), Violation> {
    change.check_grant_is_signed()?;
    let new = &change.witness.new_grant;
    let cleared = GrantFields { uses: new.uses, version: new.version, salt: new.salt, ..GrantFields::default() };
    require(*new == cleared, Clause::NewLeafAllowed, "a revoked slot is cleared")
}

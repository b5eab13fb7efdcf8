//! SetGrant: writes a grant.

use emr_core::{GrantSlot, OutOfRange, Rights, Uses, Version};
use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use super::{
    Authority, Blocks, Body, Counter, DirectoryCommitment, DirectoryRule, Rule, Signed, SignerRule, TakenAway, Written,
};
use crate::{
    primitive::field::Fr,
    state::{
        leaf::{GrantLeaf, Target, Tree},
        ledger::PatientLeaves,
    },
    statement::{Clause, LeafChange, Violation, number, require},
};

/// Writes a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetGrant {
    /// The grant's slot: [`GrantSlot::FIRST_ORDINARY`] or higher.
    pub slot: GrantSlot,
    /// The version that it replaces, or 0 for an empty slot.
    pub expected: Version,
    /// The leaf after the operation, with `uses` 0. The state keeps its own count of uses.
    pub leaf: GrantLeaf,
    /// The key directory in force.
    pub directory_before: DirectoryCommitment,
    /// The key directory after the operation.
    pub directory_after: DirectoryCommitment,
}

impl SetGrant {
    /// The rules of this kind.
    pub const RULE: Rule = Rule {
        tree: Tree::Grants,
        signer: SignerRule::PatientOrDelegate,
        counter: Counter::Version,
        directory: DirectoryRule::Replaced,
        authority: Authority::ManageUnlessOwn,
        has_purpose: false,
        ends_rights: false,
        check,
    };
}

impl Signed for SetGrant {
    fn target(&self) -> Target {
        Target::Grant(self.slot)
    }

    fn expected(&self) -> u64 {
        self.expected.get()
    }

    fn body(&self) -> Body {
        let signed = GrantLeaf { uses: Uses::ZERO, ..self.leaf };
        Body {
            directory_before: self.directory_before.element(),
            directory_after: self.directory_after.element(),
            ..Body::grant(&signed)
        }
    }

    fn blocks(&self) -> Blocks {
        Blocks::Directory { before: self.directory_before, after: self.directory_after }
    }

    fn grant(&self) -> Result<Option<(GrantSlot, GrantLeaf)>, OutOfRange> {
        Ok(Some((self.slot, self.leaf)))
    }

    fn takes_away(&self) -> Option<TakenAway> {
        Some(TakenAway::Beyond { slot: self.slot, version: self.expected, leaf: self.leaf })
    }

    fn effect(&self, before: &PatientLeaves) -> Option<Written> {
        Some(Written::Grant(self.slot, GrantLeaf { uses: before.uses(self.slot), ..self.leaf }))
    }
}

fn check(change: &LeafChange<'_>) -> Result<(), Violation> {
    change.check_grant_is_signed()?;
    let new = &change.witness.new_grant;
    require(new.grantee != Fr::ZERO, Clause::NewLeafAllowed, "granted to somebody")?;
    require(number(&new.rights) < u64::from(Rights::EMERGENCY.bits()), Clause::NewLeafAllowed, "no emergency right")?;
    let first = change.version.first_ordinary_grant();
    require(
        number(&change.witness.message.header.slot) >= first,
        Clause::NewLeafAllowed,
        "a slot that is not for break-glass",
    )
}

//! RequestAccess: records that the signer uses a grant to read.

use emr_core::{GrantSlot, Purpose, Rights, Uses, Version};
use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use super::{Authority, Body, Counter, DirectoryRule, Rule, Signed, SignerRule, Written};
use crate::{
    primitive::field::Fr,
    state::{
        leaf::{GrantLeaf, Target, Tree},
        ledger::PatientLeaves,
    },
    statement::{Clause, GrantFields, LeafChange, Violation, require},
};

/// Records that the signer uses a grant to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestAccess {
    /// The grant's slot.
    pub slot: GrantSlot,
    /// The grant's version. A request that is withheld does not count under a later grant to the same reader.
    pub version: Version,
    /// The use count that it replaces.
    pub expected: Uses,
    /// The reason and the class.
    pub purpose: Purpose,
}

impl RequestAccess {
    /// The rules of this kind.
    pub const RULE: Rule = Rule {
        tree: Tree::Grants,
        signer: SignerRule::Grantee,
        counter: Counter::Uses,
        directory: DirectoryRule::Stays,
        authority: Authority::Target(Rights::READ.union(Rights::EMERGENCY)),
        has_purpose: true,
        ends_rights: false,
        check,
    };
}

impl Signed for RequestAccess {
    fn target(&self) -> Target {
        Target::Grant(self.slot)
    }

    fn expected(&self) -> u64 {
        self.expected.get()
    }

    fn purpose(&self) -> Option<Purpose> {
        Some(self.purpose)
    }

    fn body(&self) -> Body {
        Body { new_packed: Fr::from(self.version.get()), ..Body::default() }
    }

    fn effect(&self, before: &PatientLeaves) -> Option<Written> {
        let leaf = before.grants.get(&self.slot)?;
        Some(Written::Grant(self.slot, GrantLeaf { uses: leaf.uses.next().ok()?, ..*leaf }))
    }
}

fn check(change: &LeafChange<'_>) -> Result<(), Violation> {
    let (old, new, message) = (&change.witness.old_grant, &change.witness.new_grant, &change.witness.message);
    let body = Body {
        new_packed: message.new_packed,
        opaque_1: message.opaque_1,
        opaque_2: message.opaque_2,
        directory_before: message.directory_before,
        directory_after: message.directory_after,
    };
    let signed = Body { new_packed: new.version, ..Body::default() };
    require(body == signed, Clause::NewLeafAllowed, "the grant's version, and nothing else, is signed")?;
    let used = GrantFields { uses: old.uses + Fr::ONE, ..*old };
    require(*new == used, Clause::NewLeafAllowed, "a request changes the use count only")
}

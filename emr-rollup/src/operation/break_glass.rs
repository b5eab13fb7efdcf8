//! BreakGlass: a doctor gives themselves an emergency grant, which the patient sees in their audit chain.

use emr_core::{GrantSlot, OutOfRange, Purpose, Reason, Rights, Uses, Version};
use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use super::{Authority, Body, Counter, DirectoryRule, Rule, Signed, SignerRule, Written};
use crate::{
    primitive::field::Fr,
    state::{
        leaf::{GrantLeaf, Target, Tree},
        ledger::PatientLeaves,
    },
    statement::{Clause, LeafChange, Violation, number, require},
};

/// The longest time that an emergency grant holds, in seconds: `not_after` is at most the batch's time plus this.
pub const MAX_EMERGENCY: u64 = 24 * 3600;

/// Gives the signer an emergency grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    /// The grant's slot: below [`GrantSlot::FIRST_ORDINARY`]. No grant in it holds any more.
    pub slot: GrantSlot,
    /// The version that it replaces, or 0 for an empty slot.
    pub expected: Version,
    /// The reason, which is not [`Reason::None`](emr_core::Reason::None), and the class that the grant covers.
    pub purpose: Purpose,
    /// The leaf after the operation, with `uses` 0: the signer's, with EMERGENCY only, for the named class only, for at most
    /// [`MAX_EMERGENCY`]. The state keeps its own count of uses.
    pub leaf: GrantLeaf,
}

impl BreakGlass {
    /// The rules of this kind.
    pub const RULE: Rule = Rule {
        tree: Tree::Grants,
        signer: SignerRule::Doctor,
        counter: Counter::Version,
        directory: DirectoryRule::Stays,
        authority: Authority::None,
        has_purpose: true,
        ends_rights: false,
        check,
    };
}

impl Signed for BreakGlass {
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
        Body::grant(&GrantLeaf { uses: Uses::ZERO, ..self.leaf })
    }

    fn grant(&self) -> Result<Option<(GrantSlot, GrantLeaf)>, OutOfRange> {
        Ok(Some((self.slot, self.leaf)))
    }

    fn effect(&self, before: &PatientLeaves) -> Option<Written> {
        Some(Written::Grant(self.slot, GrantLeaf { uses: before.uses(self.slot), ..self.leaf }))
    }
}

fn check(change: &LeafChange<'_>) -> Result<(), Violation> {
    change.check_grant_is_signed()?;
    let (old, new, message) = (&change.witness.old_grant, &change.witness.new_grant, &change.witness.message);
    let no_directory = message.directory_before == Fr::ZERO && message.directory_after == Fr::ZERO;
    require(no_directory, Clause::NewLeafAllowed, "no directory in an emergency grant")?;
    let over = old.rights == Fr::ZERO || number(&old.not_after) < change.time;
    require(over, Clause::TargetExpected, "the grant in the slot still holds")?;
    let refuse = |holds, detail| require(holds, Clause::NewLeafAllowed, detail);
    let first = change.version.first_ordinary_grant();
    refuse(number(&message.header.slot) < first, "a slot for break-glass")?;
    refuse(new.grantee == message.header.signer, "an emergency grant is for its signer")?;
    refuse(new.rights == Fr::from(u64::from(Rights::EMERGENCY.bits())), "the emergency right alone")?;
    refuse(change.time <= number(&new.not_after), "an emergency grant that is over at once")?;
    refuse(number(&new.not_after) <= change.time + MAX_EMERGENCY, "an emergency grant for at most a day")?;
    // The audit entry names one class, and it must tell everything.
    let purpose = number(&message.header.purpose);
    refuse(number(&new.scope) == 1 << (purpose & 15), "exactly the class that an emergency grant names")?;
    refuse(purpose >> 4 != u64::from(Reason::None.code()), "a reason for an emergency grant")
}

//! Rekey: stores a record's ciphertext under new keys, or with another hospital. Its content and author stay.

use emr_core::{RecordSlot, RecordStatus, Revision};
use serde::{Deserialize, Serialize};

use super::{Authority, Blocks, Body, Counter, DirectoryRule, Rule, Signed, SignerRule, Written};
use crate::{
    state::{
        leaf::{RecordLeaf, Target, Tree},
        ledger::PatientLeaves,
    },
    statement::{Clause, LeafChange, RecordFields, Violation, is_code, require},
};

/// Stores a record's ciphertext under new keys, or with another hospital.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rekey {
    /// The record's slot.
    pub slot: RecordSlot,
    /// The revision that it replaces. A revision is used once, so an old Rekey cannot bring old ciphertext back.
    pub expected: Revision,
    /// The leaf after the operation: another `stored` or custodian, and the next revision; everything else is as before.
    pub leaf: RecordLeaf,
}

impl Rekey {
    /// The rules of this kind.
    pub const RULE: Rule = Rule {
        tree: Tree::Records,
        signer: SignerRule::Patient,
        counter: Counter::Revision,
        directory: DirectoryRule::Stays,
        authority: Authority::None,
        has_purpose: false,
        ends_rights: false,
        check,
    };
}

impl Signed for Rekey {
    fn target(&self) -> Target {
        Target::Record(self.slot)
    }

    fn expected(&self) -> u64 {
        self.expected.get()
    }

    fn body(&self) -> Body {
        Body::record(&self.leaf)
    }

    fn blocks(&self) -> Blocks {
        Blocks::Record { slot: self.slot, leaf: self.leaf }
    }

    fn record(&self) -> Option<(RecordSlot, RecordLeaf)> {
        Some((self.slot, self.leaf))
    }

    fn effect(&self, _: &PatientLeaves) -> Option<Written> {
        Some(Written::Record(self.slot, self.leaf))
    }
}

fn check(change: &LeafChange<'_>) -> Result<(), Violation> {
    change.check_record_is_signed()?;
    let (old, new) = (&change.witness.old_record, &change.witness.new_record);
    require(is_code(&old.status, RecordStatus::Live.code()), Clause::TargetExpected, "a live record")?;
    let kept = RecordFields { custodian: new.custodian, stored: new.stored, revision: new.revision, ..*old };
    require(*new == kept, Clause::NewLeafAllowed, "a rekey changes storage and custodian only")
}

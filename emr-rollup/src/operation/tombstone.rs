//! Tombstone: deletes a record permanently.

use emr_core::{RecordSlot, RecordStatus, Revision, Rights};
use serde::{Deserialize, Serialize};

use super::{Authority, Body, Counter, DirectoryRule, Rule, Signed, SignerRule, Written};
use crate::{
    state::{
        leaf::{RecordLeaf, Target, Tree},
        ledger::PatientLeaves,
    },
    statement::{Clause, LeafChange, RecordFields, Violation, is_code, require},
};

/// Deletes a record permanently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The record's slot.
    pub slot: RecordSlot,
    /// The revision that it replaces.
    pub expected: Revision,
    /// The leaf after the operation: status tombstone and the next revision; everything else is as before.
    pub leaf: RecordLeaf,
}

impl Tombstone {
    /// The rules of this kind.
    pub const RULE: Rule = Rule {
        tree: Tree::Records,
        signer: SignerRule::PatientOrAuthor,
        counter: Counter::Revision,
        directory: DirectoryRule::Stays,
        authority: Authority::UnlessOwn(Rights::WRITE),
        has_purpose: false,
        ends_rights: false,
        check,
    };
}

impl Signed for Tombstone {
    fn target(&self) -> Target {
        Target::Record(self.slot)
    }

    fn expected(&self) -> u64 {
        self.expected.get()
    }

    fn body(&self) -> Body {
        Body::record(&self.leaf)
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
    let status = u64::from(RecordStatus::Tombstone.code()).into();
    let kept = RecordFields { status, revision: new.revision, ..*old };
    require(*new == kept, Clause::NewLeafAllowed, "a tombstone keeps everything else")
}

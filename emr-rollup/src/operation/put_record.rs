//! PutRecord: writes a record's next version.

use emr_core::{RecordSlot, RecordStatus, Revision, Rights};
use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use super::{Authority, Blocks, Body, Counter, DirectoryRule, Rule, Signed, SignerRule, Written};
use crate::{
    primitive::field::Fr,
    state::{
        leaf::{RecordLeaf, Target, Tree},
        ledger::PatientLeaves,
    },
    statement::{Clause, LeafChange, Violation, is_code, require},
};

/// Writes a record's next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRecord {
    /// The record's slot.
    pub slot: RecordSlot,
    /// The revision that it replaces, or 0 for an empty slot.
    pub expected: Revision,
    /// The record's leaf after the operation.
    pub leaf: RecordLeaf,
}

impl PutRecord {
    /// The rules of this kind.
    pub const RULE: Rule = Rule {
        tree: Tree::Records,
        signer: SignerRule::PatientOrDoctor,
        counter: Counter::Revision,
        directory: DirectoryRule::Stays,
        authority: Authority::UnlessOwn(Rights::WRITE),
        has_purpose: false,
        ends_rights: false,
        check,
    };
}

impl Signed for PutRecord {
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
    require(
        !is_code(&old.status, RecordStatus::Tombstone.code()),
        Clause::TargetExpected,
        "a deleted record stays deleted",
    )?;
    require(is_code(&new.status, RecordStatus::Live.code()), Clause::NewLeafAllowed, "live")?;
    require(new.version == old.version + Fr::ONE, Clause::NewLeafAllowed, "version + 1")?;
    require(new.author == change.witness.message.header.signer, Clause::NewLeafAllowed, "the author is the signer")?;
    require(old.is_empty() || new.custodian == old.custodian, Clause::NewLeafAllowed, "the custodian stays")
}

//! What each kind of L1 operation does, as one row of a table. The statement, the circuit and the ledger read it.
//!
//! L1 operations are total: where a row says that an entry has no effect, the entry is consumed and changes nothing.

/// One row: the rules of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Rule {
    /// When it takes effect.
    pub account: AccountRule,
    /// The identity leaf after.
    pub identity: IdentityRule,
    /// The medical leaf after.
    pub medical: MedicalRule,
}

/// When an entry takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountRule {
    /// The account has no identity leaf yet.
    Fresh,
}

/// The identity leaf after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityRule {
    /// Role, status, organisation and keys as queued, in the first epoch.
    AsQueued,
}

/// The medical leaf after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MedicalRule {
    /// The leaf over an empty subtree for a patient; none for anyone else.
    EmptyForPatient,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Kind;

    /// The circuit reads when an entry takes effect. What it then writes is the same for every kind so far: a kind with
    /// another rule needs its constraints in `circuit/entry.rs`, and then its place here.
    #[test]
    fn the_circuit_has_the_rules_of_every_kind() {
        for kind in Kind::L1 {
            let rule = kind.l1_rule().expect("a row");
            let (account, identity) = (AccountRule::Fresh, IdentityRule::AsQueued);
            assert_eq!(*rule, L1Rule { account, identity, medical: MedicalRule::EmptyForPatient }, "{kind}");
        }
    }
}

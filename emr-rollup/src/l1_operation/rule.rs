//! What each kind of L1 operation does, as one row of a table. The statement, the circuit and the ledger read it.
//!
//! L1 operations are total: where a row says that an entry has no effect, the entry is consumed and changes nothing.
//! Every entry that takes effect begins a new epoch of its account. So no entry takes effect in the last epoch.

/// One row: the rules of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Rule {
    /// When it takes effect.
    pub account: AccountRule,
    /// The account's role and organisation after.
    pub profile: Part,
    /// The account's status after.
    pub status: Part,
    /// The account's rollup key and encryption commitment after.
    pub keys: Part,
    /// The medical leaf after.
    pub medical: MedicalRule,
}

/// When an entry takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountRule {
    /// The account has no identity leaf yet.
    Fresh,
    /// The account is registered.
    Registered,
    /// The account is registered as a patient.
    Patient,
}

/// A part of the identity leaf after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// As queued.
    Queued,
    /// As before.
    Stays,
}

/// The medical leaf after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MedicalRule {
    /// The leaf over an empty subtree for a patient; none for anyone else.
    EmptyForPatient,
    /// As before.
    Stays,
    /// The grant in the queued slot, or every grant, is removed. The audit chain has one more entry. The key directory is
    /// replaced if the entry says so. The records stay.
    GrantsEnd,
}

impl Part {
    /// The queued value, or the one before.
    pub(crate) fn of<T>(self, queued: T, before: T) -> T {
        match self {
            Self::Queued => queued,
            Self::Stays => before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Kind;

    /// The circuit relies on this: it selects between these leaves with flags of which at most one is set, and reads the
    /// medical leaf of patients only.
    #[test]
    fn medical_leaves_begin_with_a_registration_and_change_for_patients_only() {
        for kind in Kind::L1 {
            let rule = kind.l1_rule().expect("a row");
            let account = match rule.medical {
                MedicalRule::EmptyForPatient => rule.account == AccountRule::Fresh,
                MedicalRule::GrantsEnd => rule.account == AccountRule::Patient,
                MedicalRule::Stays => rule.account != AccountRule::Fresh,
            };
            assert!(account, "{kind}");
        }
    }

    /// Nothing of a fresh account can stay.
    #[test]
    fn a_registration_queues_the_whole_leaf() {
        for kind in Kind::L1 {
            let rule = kind.l1_rule().expect("a row");
            let queued = [rule.profile, rule.status, rule.keys].iter().all(|part| *part == Part::Queued);
            assert_eq!(queued, rule.account == AccountRule::Fresh, "{kind}");
        }
    }
}

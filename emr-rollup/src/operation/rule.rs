//! The table of rules: one row says what a kind of L2 operation may do. The statement, the circuit, the ledger and the node read it.

use emr_core::Rights;

use crate::{
    state::leaf::Tree,
    statement::{LeafChange, Violation},
};

/// One row: the rules of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The tree of the leaf that it writes.
    pub tree: Tree,
    /// Who may sign it.
    pub signer: SignerRule,
    /// The counter that `expected` is compared with.
    pub counter: Counter,
    /// Whether it replaces the key directory.
    pub directory: DirectoryRule,
    /// The grant that it needs.
    pub authority: Authority,
    /// Whether it has a purpose.
    pub has_purpose: bool,
    /// Whether it ends rights. The node then processes it before other operations and reserves a place for it.
    pub ends_rights: bool,
    /// What the kind demands of the leaf before and after (clauses C8 and C9), in addition to the rest of the row.
    pub(crate) check: fn(&LeafChange<'_>) -> Result<(), Violation>,
}

/// Who may sign an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerRule {
    /// Only the patient.
    Patient,
    /// The patient, or a doctor.
    PatientOrDoctor,
    /// The patient, or the doctor who wrote the record.
    PatientOrAuthor,
    /// The patient, or a delegate: an account that holds a grant with MANAGE.
    PatientOrDelegate,
    /// The account that the grant names, or a doctor of the hospital that it names.
    Grantee,
    /// Any doctor.
    Doctor,
}

impl SignerRule {
    /// Whether a doctor may sign in the patient's place, under a grant.
    pub const fn admits_doctors(self) -> bool {
        match self {
            Self::PatientOrDoctor | Self::PatientOrAuthor => true,
            Self::Patient | Self::PatientOrDelegate | Self::Grantee | Self::Doctor => false,
        }
    }
}

/// The counter that `expected` is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Equal to the record's revision.
    Revision,
    /// Equal to the grant's version.
    Version,
    /// At least the grant's version.
    VersionAtMost,
    /// Equal to the grant's number of uses.
    Uses,
}

/// Whether an operation replaces the key directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryRule {
    /// It is not replaced.
    Stays,
    /// It is replaced, and `directory_before` must be in force.
    Replaced,
    /// It is replaced only if `directory_before` is in force. The rest of the operation takes effect in any case.
    ReplacedIfCurrent,
}

impl Counter {
    /// Whether the operation writes a grant's next version. It then signs the whole grant.
    pub const fn writes_grant(self) -> bool {
        match self {
            Self::Version | Self::VersionAtMost => true,
            Self::Revision | Self::Uses => false,
        }
    }
}

impl DirectoryRule {
    /// Whether the operation signs two directories.
    pub const fn is_signed(self) -> bool {
        match self {
            Self::Replaced | Self::ReplacedIfCurrent => true,
            Self::Stays => false,
        }
    }
}

/// The grant that an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// None.
    None,
    /// If the signer is not the patient: a live grant with one of these rights for the classes before and after.
    UnlessOwn(Rights),
    /// If the signer is not the patient: a live grant to the signer themself with MANAGE. It bounds the grant that is written or ended
    /// (`statement/manage.rs`).
    ManageUnlessOwn,
    /// The grant that it writes. It must be live and have one of these rights for the class of the purpose.
    Target(Rights),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Kind;

    /// The circuit has one wire for both properties: it constrains the role of the signers who need a grant.
    #[test]
    fn doctors_act_under_a_grant() {
        for kind in Kind::L2 {
            let rule = kind.rule().expect("a row");
            let needs_grant = matches!(rule.authority, Authority::UnlessOwn(_));
            assert_eq!(rule.signer.admits_doctors(), needs_grant, "{kind}");
        }
    }

    /// The circuit has one wire for both properties here too, and names the two kinds.
    #[test]
    fn delegates_manage_grants() {
        for kind in Kind::L2 {
            let rule = kind.rule().expect("a row");
            let delegates = [Kind::SetGrant, Kind::Revoke].contains(&kind);
            assert_eq!(delegates, rule.signer == SignerRule::PatientOrDelegate, "{kind}");
            assert_eq!(delegates, rule.authority == Authority::ManageUnlessOwn, "{kind}");
            assert!(!delegates || rule.tree == Tree::Grants && rule.counter.writes_grant(), "{kind}");
        }
    }

    #[test]
    fn counters_are_those_of_the_tree() {
        for kind in Kind::L2 {
            let rule = kind.rule().expect("a row");
            let tree = match rule.counter {
                Counter::Revision => Tree::Records,
                Counter::Version | Counter::VersionAtMost | Counter::Uses => Tree::Grants,
            };
            assert_eq!(rule.tree, tree, "{kind}");
        }
    }
}

//! The medical leaf of an L1 slot. It begins with a patient's registration. A forced revocation removes grants, extends the
//! audit chain, and may replace the key directory.

use emr_core::Role;

use super::queued::QueuedWires;
use crate::{
    circuit::{
        builder::Wire,
        demand::{Demand, EntryTree, Moment},
        gadget::constrained::{Bit, Ranged},
        leaf::{MedicalWires, PathName},
        scope::Section,
    },
    l1_operation::MedicalRule,
    layout,
    primitive::poseidon::Tag,
    state::tree::empty_root,
    statement::{EntryWitness, empty_medical},
    version::CircuitVersion,
};

const GRANT: PathName = PathName { turn: "grant turn", sibling: "grant sibling" };

/// The roots of the grants tree with the queued slot as the prover says it is, and with an empty slot.
pub(super) struct GrantsWires {
    before: Wire,
    after: Wire,
}

/// The values of the medical leaf.
pub(super) struct MedicalLeaves {
    pub(super) before: Wire,
    pub(super) after: Wire,
}

impl Section<'_> {
    /// The roots of the grants tree, and the position of the grant.
    pub(super) fn grants_after(
        &mut self,
        version: &CircuitVersion,
        witness: &EntryWitness,
    ) -> (GrantsWires, Ranged<{ layout::SLOT }>) {
        let tree = EntryTree::Grants;
        let leaf = self.hint("grant leaf", witness.grant.element());
        let place = (&witness.entry.slot, leaf);
        let mut scope = self.under(Demand::EntryTurns(tree, Moment::Before));
        let (path, before) = scope.path(GRANT, &witness.grant_path, place, version.grant_depth);
        let position = self.under(Demand::EntrySlot).compose(path.turns());
        let mut scope = self.under(Demand::EntryTurns(tree, Moment::After));
        let empty = scope.zero();
        let after = scope.climb(&path, empty).root();
        (GrantsWires { before: before.root(), after }, position)
    }

    /// The medical leaf before and after. A patient's leaf is opened; anyone else's value is 0.
    pub(super) fn medical_leaves(
        &mut self,
        (version, time): (&CircuitVersion, Ranged<{ layout::TIME }>),
        queued: &mut QueuedWires,
        (takes_effect, patient): (Bit, Bit),
        witness: &EntryWitness,
        grants: &GrantsWires,
    ) -> MedicalLeaves {
        let medical = self.medical(&witness.medical);
        let mut scope = self.under(Demand::EntryMedical);
        let hash = scope.medical_hash(&medical);
        let before = scope.zero_unless(patient, hash);

        // The rule wants a patient, so the leaf that is opened counts.
        let ends = self.kinds_where(&mut queued.kinds, |rule| rule.medical == MedicalRule::GrantsEnd);
        let ends = self.under(Demand::EntryMedical).within_and(ends, takes_effect);
        self.under(Demand::EntryRoot(EntryTree::Grants)).assert_equal_if(ends, grants.before, medical.grants_root);
        let next = self.without_grants((version, time), queued, &medical, grants);

        let begins = self.kinds_where(&mut queued.kinds, |rule| rule.medical == MedicalRule::EmptyForPatient);
        let new_patient = self.is_role(Demand::EntryIsPatient, "inverse for a patient", queued.role, Role::Patient);
        let mut scope = self.under(Demand::EntryMedical);
        let begins = scope.within_and(begins, takes_effect);
        let begins = scope.within_and(begins, new_patient);
        let empty_subtree = scope.constant(empty_medical(version).hash().element());
        let hash = scope.medical_hash(&next);
        let after = scope.select(ends, hash, before);
        let after = scope.select(begins, empty_subtree, after);
        MedicalLeaves { before, after }
    }

    /// The medical leaf after a forced revocation.
    fn without_grants(
        &mut self,
        (version, time): (&CircuitVersion, Ranged<{ layout::TIME }>),
        queued: &QueuedWires,
        medical: &MedicalWires,
        grants: &GrantsWires,
    ) -> MedicalWires {
        let mut scope = self.under(Demand::EntryMedical);
        let no_grants = scope.constant(empty_root(version.grant_depth));
        let grants_root = scope.select(queued.tree, grants.after, no_grants);
        let key_directory = scope.select(queued.replace_directory, queued.opaque, medical.key_directory);
        let mut scope = self.under(Demand::EntryAudit);
        // Everything in the entry is public on L1, so it has no salt. No leaf is left.
        let (zero, purpose) = (scope.zero(), scope.constant_in_range::<{ layout::PURPOSE }>(0));
        let fields = [
            queued.kind.into(),
            queued.account.into(),
            queued.tree.into(),
            queued.slot.into(),
            purpose.into(),
            time.into(),
        ];
        let packed = scope.pack(&layout::AUDIT_ENTRY, fields);
        let entry = scope.hash(Tag::AuditEntry, &[packed.into(), zero, zero]);
        let audit_head = scope.hash(Tag::AuditHead, &[medical.audit_head, entry]);
        MedicalWires { grants_root, records_root: medical.records_root, audit_head, key_directory }
    }
}

//! One L1 slot: C14.

use emr_core::{AccountEpoch, Role};
use halo2curves::ff::Field;

use super::{
    builder::{Builder, Wire},
    leaf::{PathName, PathWires},
};
use crate::{
    layout,
    operation::Kind,
    primitive::{field::Fr, poseidon::Tag},
    state::{leaf::MedicalLeaf, tree::empty_root},
    statement::{Clause, RegistrationWitness},
    version::CircuitVersion,
};

const ACCOUNT: PathName = PathName { bit: "account bit", sibling: "identity sibling" };

/// What a slot leaves.
pub(super) struct Admission {
    pub(super) active: Wire,
    /// Identity and medical root.
    pub(super) roots: [Wire; 2],
    pub(super) d1: [Wire; 4],
}

impl Builder {
    /// A slot: admits the account, or consumes an entry without effect, or is unused.
    pub(super) fn registration(
        &mut self,
        version: &CircuitVersion,
        roots: [Wire; 2],
        witness: &RegistrationWitness,
    ) -> Admission {
        let entry = &witness.entry;
        let fields = self.hints("entry", entry.packed_fields());
        let [kind, account, role, status, org, tree, slot, replace] = fields;
        self.clause(Clause::C14, "kind");
        let register = Fr::from(u64::from(Kind::Register.code()));
        let active = self.hint("used", Fr::from(u64::from(entry.kind == register)));
        self.assert_bit(active);
        self.assert_linear(&[(register, active)], Fr::ZERO, kind);
        self.clause(Clause::C19, "packed field of an L1 operation");
        self.assert_ranges(&[
            (role, layout::ROLE),
            (status, layout::STATUS),
            (org, layout::ACCOUNT),
            (tree, layout::TREE),
            (slot, layout::SLOT),
        ]);
        self.assert_bit(replace);
        let packed = self.pack(&layout::L1_ENTRY, fields);
        let [key_x, key_y, opaque] = self.hints("entry", [entry.key_x, entry.key_y, entry.opaque]);
        let d1 = [packed, key_x, key_y, opaque];
        self.clause(Clause::C14, "data beyond n1");
        for word in d1 {
            self.assert_zero_unless(active, word);
        }

        let identity_path = self.path(ACCOUNT, &witness.identity_path, &entry.account, version.account_depth);
        let medical_path = self.path_along("medical sibling", &witness.medical_path, identity_path.bits.clone());
        self.clause(Clause::C14, "account");
        let position = self.recompose(&identity_path.bits);
        self.assert_equal(position, account);

        let old = self.hints("old leaf", [witness.old_identity, witness.old_medical]);
        self.clause(Clause::C14, "a medical leaf without an identity");
        let fresh = self.is_zero("inverse for a fresh account", old[0]);
        let admitted = self.mul(active, fresh);
        self.assert_product_zero(admitted, old[1]);
        self.clause(Clause::C14, "leaves written");
        let epoch = self.constant(Fr::from(AccountEpoch::FIRST.get()));
        let packed = self.pack(&layout::IDENTITY, [role, status, org, epoch]);
        let identity = self.hash(Tag::Identity, &[packed, key_x, key_y, opaque]);
        let identity = self.select(admitted, identity, old[0]);
        let not_patient = self.linear(&[(Fr::ONE, role)], -Fr::from(u64::from(Role::Patient.code())));
        let patient = self.is_zero("inverse for a patient", not_patient);
        let registers = self.mul(admitted, patient);
        let empty_subtree = MedicalLeaf {
            grants_root: empty_root(version.grant_depth),
            records_root: empty_root(version.record_depth),
            audit_head: Fr::ZERO,
            key_directory: Fr::ZERO,
        };
        let empty_subtree = self.constant(empty_subtree.hash());
        let medical = self.select(registers, empty_subtree, old[1]);

        let identity = self.replace_leaf(active, &identity_path, roots[0], [old[0], identity], "identity");
        let medical = self.replace_leaf(active, &medical_path, roots[1], [old[1], medical], "medical");
        Admission { active, roots: [identity, medical], d1 }
    }

    /// The root after replacing a leaf that lies under the root before.
    fn replace_leaf(
        &mut self,
        active: Wire,
        path: &PathWires,
        root: Wire,
        [before, after]: [Wire; 2],
        tree: &'static str,
    ) -> Wire {
        self.clause(Clause::C14, tree);
        let old_root = path.root(self, before);
        self.assert_equal_if(active, old_root, root);
        let new_root = path.root(self, after);
        self.select(active, new_root, root)
    }
}

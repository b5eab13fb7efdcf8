//! One L1 slot: C14.

use emr_core::{AccountEpoch, Role};
use halo2curves::ff::Field as _;

use super::{
    builder::{Builder, Wire},
    gadget::{
        constrained::Bit,
        path::{MerklePath, Nodes},
    },
    leaf::PathName,
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
    pub(super) active: Bit,
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
        let active = self.at_most_one([active], &[]).any();
        let kind = self.chosen::<{ layout::KIND }>(&[(Kind::Register.code(), active)], kind);
        self.clause(Clause::C19, "packed field of an L1 operation");
        let (role, status) = (self.range::<{ layout::ROLE }>(role), self.range::<{ layout::STATUS }>(status));
        let org = self.range::<{ layout::ACCOUNT }>(org);
        let (tree, slot) = (self.range::<{ layout::TREE }>(tree), self.range::<{ layout::SLOT }>(slot));
        let replace = self.assert_bit(replace);
        let (account, account_shown) = self.promise::<{ layout::ACCOUNT }>(account);
        let packed = [
            kind.into(),
            account.into(),
            role.into(),
            status.into(),
            org.into(),
            tree.into(),
            slot.into(),
            replace.into(),
        ];
        let packed = self.pack(&layout::L1_ENTRY, packed).into();
        let [key_x, key_y, opaque] = self.hints("entry", [entry.key_x, entry.key_y, entry.opaque]);
        let d1 = [packed, key_x, key_y, opaque];
        self.clause(Clause::C14, "data beyond n1");
        for word in d1 {
            self.assert_zero_unless(active, word);
        }

        let old = self.hints("old leaf", [witness.old_identity, witness.old_medical]);
        self.clause(Clause::C14, "identity");
        let place = (&entry.account, old[0]);
        let (identity_path, identity_nodes) = self.path(ACCOUNT, &witness.identity_path, place, version.account_depth);
        let medical_path = self.path_along("medical sibling", &witness.medical_path, &identity_path);
        self.clause(Clause::C14, "account");
        let position = self.recompose(identity_path.turns());
        self.keep(account_shown, position);

        self.clause(Clause::C14, "a medical leaf without an identity");
        let fresh = self.is_zero("inverse for a fresh account", old[0]);
        let admitted = self.and(active, fresh);
        self.assert_zero_if(admitted, old[1]);
        self.clause(Clause::C14, "leaves written");
        let epoch = self.constant_in_range::<{ layout::EPOCH }>(AccountEpoch::FIRST.get());
        let packed = self.pack(&layout::IDENTITY, [role.into(), status.into(), org.into(), epoch.into()]);
        let identity = self.hash(Tag::Identity, &[packed.into(), key_x, key_y, opaque]);
        let identity = self.select(admitted, identity, old[0]);
        let not_patient = self.linear(&[(Fr::ONE, role.into())], -Fr::from(u64::from(Role::Patient.code())));
        let patient = self.is_zero("inverse for a patient", not_patient);
        let registers = self.and(admitted, patient);
        let empty_subtree = MedicalLeaf {
            grants_root: empty_root(version.grant_depth),
            records_root: empty_root(version.record_depth),
            audit_head: Fr::ZERO,
            key_directory: Fr::ZERO,
        };
        let empty_subtree = self.constant(empty_subtree.hash());
        let medical = self.select(registers, empty_subtree, old[1]);

        let identity = self.replace_leaf(active, (&identity_path, identity_nodes), roots[0], identity, "identity");
        self.clause(Clause::C14, "medical");
        let medical_nodes = self.climb(&medical_path, old[1]);
        let medical = self.replace_leaf(active, (&medical_path, medical_nodes), roots[1], medical, "medical");
        Admission { active: active.into(), roots: [identity, medical], d1 }
    }

    /// The root after replacing a leaf that lies under the root before.
    fn replace_leaf(
        &mut self,
        active: impl Into<Bit>,
        (path, before): (&MerklePath, Nodes),
        root: Wire,
        after: Wire,
        tree: &'static str,
    ) -> Wire {
        let active = active.into();
        self.clause(Clause::C14, tree);
        self.assert_equal_if(active, before.root(), root);
        let new_root = self.climb(path, after).root();
        self.select(active, new_root, root)
    }
}

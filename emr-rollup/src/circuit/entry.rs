//! One L1 slot: the entry takes effect as queued.

use emr_core::{AccountEpoch, Role};
use halo2curves::ff::Field as _;

use super::{
    builder::Wire,
    demand::{AccountTree, Demand, Field, Moment},
    gadget::{
        constrained::{Bit, Ranged},
        one_hot::{OneHot, Set},
        path::{MerklePath, Nodes},
    },
    leaf::PathName,
    scope::Section,
};
use crate::{
    l1_operation::{AccountRule, L1Rule},
    layout,
    operation::Kind,
    primitive::{field::Fr, poseidon::Tag},
    statement::{EntryWitness, empty_medical},
    version::CircuitVersion,
};

const ACCOUNT: PathName = PathName { bit: "account bit", sibling: "identity sibling" };

/// The result of an L1 slot.
pub(super) struct EntryOutcome {
    pub(super) active: Bit,
    /// The identity root and the medical root after the slot.
    pub(super) roots: [Wire; 2],
    pub(super) d1: [Wire; 4],
}

/// The set of L1 kinds whose rules satisfy a condition.
fn kinds_where(says: impl Fn(&L1Rule) -> bool) -> Set {
    let says = |kind: Kind| kind.l1_rule().is_some_and(&says);
    Kind::L1.into_iter().enumerate().map(|(i, kind)| Set::from(says(kind)) << i).sum()
}

impl Section<'_> {
    /// Lays out an L1 slot. It registers the account, takes an entry without effect, or is unused.
    pub(super) fn entry(&mut self, version: &CircuitVersion, roots: [Wire; 2], witness: &EntryWitness) -> EntryOutcome {
        let entry = &witness.entry;
        let fields = self.hints("entry", entry.packed_fields());
        let [kind, account, role, status, org, tree, slot, replace] = fields;
        let (mut kinds, kind) = self.entry_kind(&entry.kind, kind);
        let active = kinds.any();
        let role = self.under(Demand::EntryField(Field::Role)).range::<{ layout::ROLE }>(role);
        let status = self.under(Demand::EntryField(Field::Status)).range::<{ layout::STATUS }>(status);
        let org = self.under(Demand::EntryField(Field::Org)).range::<{ layout::ACCOUNT }>(org);
        let tree = self.under(Demand::EntryField(Field::Tree)).range::<{ layout::TREE }>(tree);
        let slot = self.under(Demand::EntryField(Field::Slot)).range::<{ layout::SLOT }>(slot);
        let replace = self.under(Demand::EntryField(Field::ReplaceDirectory)).assert_bit(replace);
        // The path below shows the account's range.
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
        let packed = self.under(Demand::EntryKind).pack(&layout::L1_ENTRY, packed).into();
        let [key_x, key_y, opaque] = self.hints("entry", [entry.key_x, entry.key_y, entry.opaque]);
        let d1 = [packed, key_x, key_y, opaque];
        for (i, word) in (0..).zip(d1) {
            self.under(Demand::UnusedEntry(i)).assert_zero_unless(active, word);
        }

        let old = self.hints("old leaf", [witness.old_identity.element(), witness.old_medical.element()]);
        let place = (&entry.account, old[0]);
        let mut scope = self.under(Demand::EntryTurns(AccountTree::Identity, Moment::Before));
        let (identity_path, identity_nodes) = scope.path(ACCOUNT, &witness.identity_path, place, version.account_depth);
        let medical_path = scope.path_along("medical sibling", &witness.medical_path, &identity_path);
        let mut scope = self.under(Demand::EntryAccount);
        let position = scope.recompose(identity_path.turns());
        scope.keep(account_shown, position);

        let fresh = self.under(Demand::AccountIsFresh).is_zero("inverse for a fresh account", old[0]);
        let mut scope = self.under(Demand::NoMedicalLeaf);
        let of_fresh = scope.any_of(&mut kinds, kinds_where(|rule| rule.account == AccountRule::Fresh));
        let admitted = scope.and(of_fresh, fresh);
        scope.assert_zero_if(admitted, old[1]);
        let mut scope = self.under(Demand::RegisteredLeaves);
        let epoch = scope.constant_in_range::<{ layout::EPOCH }>(AccountEpoch::FIRST.get());
        let packed = scope.pack(&layout::IDENTITY, [role.into(), status.into(), org.into(), epoch.into()]);
        let identity = scope.hash(Tag::Identity, &[packed.into(), key_x, key_y, opaque]);
        let identity = scope.select(admitted, identity, old[0]);
        let mut scope = self.under(Demand::EntryIsPatient);
        let not_patient = scope.linear(&[(Fr::ONE, role.into())], -Fr::from(u64::from(Role::Patient.code())));
        let patient = scope.is_zero("inverse for a patient", not_patient);
        let mut scope = self.under(Demand::RegisteredLeaves);
        let registers = scope.and(admitted, patient);
        let empty_subtree = scope.constant(empty_medical(version).hash().element());
        let medical = scope.select(registers, empty_subtree, old[1]);

        let tree = AccountTree::Identity;
        let identity = self.replace_leaf(active, (&identity_path, identity_nodes), roots[0], identity, tree);
        let tree = AccountTree::Medical;
        let medical_nodes = self.under(Demand::EntryTurns(tree, Moment::Before)).climb(&medical_path, old[1]);
        let medical = self.replace_leaf(active, (&medical_path, medical_nodes), roots[1], medical, tree);
        EntryOutcome { active: active.into(), roots: [identity, medical], d1 }
    }

    /// The kind of the entry, and its code. In an unused L1 slot no flag is set.
    fn entry_kind(&mut self, code: &Fr, kind: Wire) -> (OneHot<{ Kind::L1.len() }>, Ranged<{ layout::KIND }>) {
        let kinds = Kind::L1;
        let flags =
            self.hints("used", kinds.map(|kind| Fr::from(u64::from(*code == Fr::from(u64::from(kind.code()))))));
        let flags: [Bit; Kind::L1.len()] =
            std::array::from_fn(|i| self.under(Demand::EntryKindFlag(kinds[i])).assert_bit(flags[i]));
        let mut scope = self.under(Demand::EntryKind);
        let flags = scope.at_most_one(flags, &[]);
        let codes: Vec<_> = kinds.into_iter().enumerate().map(|(i, kind)| (kind.code(), flags.flag(i))).collect();
        let kind = scope.chosen(&codes, kind);
        (flags, kind)
    }

    /// Constrains the old leaf to be under `root`, and returns the root with the new leaf.
    fn replace_leaf(
        &mut self,
        active: impl Into<Bit>,
        (path, before): (&MerklePath, Nodes),
        root: Wire,
        after: Wire,
        tree: AccountTree,
    ) -> Wire {
        let active = active.into();
        self.under(Demand::EntryRoot(tree)).assert_equal_if(active, before.root(), root);
        let new_root = self.under(Demand::EntryTurns(tree, Moment::After)).climb(path, after).root();
        self.under(Demand::EntryRoot(tree)).select(active, new_root, root)
    }
}

//! One L1 slot: the entry takes effect as queued, or changes nothing.

mod medical;
mod queued;

use emr_core::Role;
use halo2curves::ff::Field as _;

use self::queued::{EntryKinds, QueuedWires};
use super::{
    builder::Wire,
    demand::{Content, Demand, EntryTree, Leaf, Moment},
    gadget::{
        constrained::{Bit, Ranged},
        path::{MerklePath, Nodes},
    },
    leaf::{IdentityWires, PathName},
    scope::Section,
};
use crate::{
    l1_operation::{AccountRule, Part},
    layout,
    primitive::{field::Fr, poseidon::Tag},
    statement::EntryWitness,
    version::CircuitVersion,
};

const ACCOUNT: PathName = PathName { turn: "account turn", sibling: "identity sibling" };

/// The result of an L1 slot.
pub(super) struct EntryOutcome {
    pub(super) active: Bit,
    /// The identity root and the medical root after the slot.
    pub(super) roots: [Wire; 2],
    pub(super) d1: [Wire; 4],
}

/// The account before the entry.
struct AccountWires {
    identity: IdentityWires,
    /// The value of the identity leaf.
    leaf: Wire,
    /// Whether the account is not registered yet.
    fresh: Bit,
    /// Whether the account is a patient's. An account that is not registered has role 0.
    patient: Bit,
}

impl Section<'_> {
    /// Lays out an L1 slot. It takes an entry, with or without effect, or is unused.
    pub(super) fn entry(
        &mut self,
        (version, time): (&CircuitVersion, Ranged<{ layout::TIME }>),
        roots: [Wire; 2],
        witness: &EntryWitness,
    ) -> EntryOutcome {
        let (mut queued, promises) = self.queued(&witness.entry);
        let active = queued.kinds.any();
        let account = self.account_before(witness);

        let place = (&witness.entry.account, account.leaf);
        let mut scope = self.under(Demand::EntryTurns(EntryTree::Identity, Moment::Before));
        let (identity_path, identity_nodes) = scope.path(ACCOUNT, &witness.identity_path, place, version.account_depth);
        let medical_path = scope.path_along("medical sibling", &witness.medical_path, &identity_path);
        let mut scope = self.under(Demand::EntryAccount);
        let position = scope.compose(identity_path.turns());
        scope.keep(promises.account, position);

        let (takes_effect, epoch) = self.takes_effect(&mut queued.kinds, &account);
        let identity = self.identity_after(&mut queued, &account, epoch);
        let identity = self.under(Demand::EntryIdentity).select(takes_effect, identity, account.leaf);
        let (grants, slot) = self.grants_after(version, witness);
        self.under(Demand::EntrySlot).keep(promises.slot, slot);
        let effect = (takes_effect, account.patient);
        let medical = self.medical_leaves((version, time), &mut queued, effect, witness, &grants);

        let tree = EntryTree::Identity;
        let identity = self.replace_leaf(active, (&identity_path, identity_nodes), roots[0], identity, tree);
        let tree = EntryTree::Medical;
        let medical_nodes = self.under(Demand::EntryTurns(tree, Moment::Before)).climb(&medical_path, medical.before);
        let medical = self.replace_leaf(active, (&medical_path, medical_nodes), roots[1], medical.after, tree);
        EntryOutcome { active: active.into(), roots: [identity, medical], d1: queued.d1 }
    }

    fn account_before(&mut self, witness: &EntryWitness) -> AccountWires {
        let identity = self.identity(Leaf::Account, &witness.identity);
        let contents = [
            (Content::Packed, identity.packed.into()),
            (Content::First, identity.key[0]),
            (Content::Second, identity.key[1]),
            (Content::Third, identity.encryption),
        ];
        let (leaf, fresh) = self.slot_value(Leaf::Account, identity.epoch, identity.hash, &contents);
        let inverse = "inverse for a patient's account";
        let patient = self.is_role(Demand::AccountIsPatient, inverse, identity.role, Role::Patient);
        AccountWires { identity, leaf, fresh, patient }
    }

    /// Whether a role is this one.
    fn is_role(&mut self, demand: Demand, inverse: &'static str, role: Ranged<{ layout::ROLE }>, wanted: Role) -> Bit {
        let mut scope = self.under(demand);
        let difference = scope.linear(&[(Fr::ONE, role.into())], -Fr::from(u64::from(wanted.code())));
        scope.is_zero(inverse, difference)
    }

    /// Whether the entry takes effect, and the account's epoch after it.
    fn takes_effect(&mut self, kinds: &mut EntryKinds, account: &AccountWires) -> (Bit, Ranged<{ layout::EPOCH }>) {
        let [fresh, registered, patients] = [AccountRule::Fresh, AccountRule::Registered, AccountRule::Patient]
            .map(|of| self.kinds_where(kinds, |rule| rule.account == of));
        let mut scope = self.under(Demand::TakesEffect);
        let fresh = scope.within_and(fresh, account.fresh);
        let registered = scope.within_and_not(registered, account.fresh);
        let patients = scope.within_and(patients, account.patient);
        let others = scope.either(registered, patients);
        let allowed = scope.either(fresh, others);
        let mut scope = self.under(Demand::LastEpoch);
        scope.count_if("inverse for the last epoch", allowed, account.identity.epoch)
    }

    /// The value of the identity leaf after an entry that takes effect.
    fn identity_after(
        &mut self,
        queued: &mut QueuedWires,
        account: &AccountWires,
        epoch: Ranged<{ layout::EPOCH }>,
    ) -> Wire {
        let kinds = &mut queued.kinds;
        let profile = self.kinds_where(kinds, |rule| rule.profile == Part::Queued);
        let statuses = self.kinds_where(kinds, |rule| rule.status == Part::Queued);
        let keys = self.kinds_where(kinds, |rule| rule.keys == Part::Queued);
        let before = &account.identity;
        let mut scope = self.under(Demand::EntryIdentity);
        let role = scope.select_in_range(profile, queued.role, before.role);
        let org = scope.select_in_range(profile, queued.org, before.org);
        let status = scope.select_in_range(statuses, queued.status, before.status);
        let [key_x, key_y, encryption] =
            [(queued.key[0], before.key[0]), (queued.key[1], before.key[1]), (queued.opaque, before.encryption)]
                .map(|(queued, before)| scope.select(keys, queued, before));
        let packed = scope.pack(&layout::IDENTITY, [role.into(), status.into(), org.into(), epoch.into()]);
        scope.hash(Tag::Identity, &[packed.into(), key_x, key_y, encryption])
    }

    /// Constrains the old leaf to be under `root`, and returns the root with the new leaf.
    fn replace_leaf(
        &mut self,
        active: impl Into<Bit>,
        (path, before): (&MerklePath, Nodes),
        root: Wire,
        after: Wire,
        tree: EntryTree,
    ) -> Wire {
        let active = active.into();
        self.under(Demand::EntryRoot(tree)).assert_equal_if(active, before.root(), root);
        let new_root = self.under(Demand::EntryTurns(tree, Moment::After)).climb(path, after).root();
        self.under(Demand::EntryRoot(tree)).select(active, new_root, root)
    }
}

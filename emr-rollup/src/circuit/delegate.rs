//! Constrains what a delegate does with a patient's grants to be within the delegate's own grant.

use super::{
    demand::{Demand, Moment},
    gadget::{constrained::Ranged, one_hot::Within},
    leaf::{GrantWires, IdentityWires},
    message::{BodyWires, HeaderWires},
    scope::Section,
    target::TargetWires,
};
use crate::{
    layout::{self, SCOPE},
    primitive::field::Fr,
    statement::MANAGED,
    version::CircuitVersion,
};
use halo2curves::ff::Field as _;

/// The flags of an operation by which a delegate manages grants.
#[derive(Clone, Copy, Debug)]
pub(super) struct DelegateWires {
    /// Whether a delegate sets a grant.
    pub(super) sets: Within,
    /// Whether a delegate revokes a grant.
    pub(super) revokes: Within,
    /// Whether a delegate does either.
    pub(super) manages: Within,
}

impl Section<'_> {
    /// Constrains the grant before and after to be within the delegate's, and the key directory to stay.
    pub(super) fn assert_delegate(
        &mut self,
        version: &CircuitVersion,
        delegate: DelegateWires,
        (header, body): (&HeaderWires, &BodyWires),
        (signer, authority): (&IdentityWires, &GrantWires),
        target: &TargetWires,
    ) {
        let DelegateWires { sets, revokes, manages } = delegate;
        let (old, new) = (&target.old_grant, &target.new_grant);
        self.under(Demand::DelegateIsGrantee).assert_equal_if(manages, authority.grantee, header.signer);
        for (moment, rights) in [(Moment::Before, old.rights), (Moment::After, new.rights)] {
            let mut scope = self.under(Demand::ManagedRights(moment));
            let highest = scope.constant_in_range::<{ layout::ASSIGNED_RIGHTS }>(u64::from(MANAGED.bits()));
            scope.assert_at_least_if::<{ layout::ASSIGNED_RIGHTS }, _, _>(manages, highest, rights);
        }
        let mut scope = self.under(Demand::ManagedUntil);
        scope.assert_at_least_if::<{ layout::TIME }, _, _>(manages, authority.not_after, new.not_after);
        self.assert_managed_classes(
            manages,
            authority.scope,
            [(Moment::Before, old.scope), (Moment::After, new.scope)],
        );

        let mut scope = self.under(Demand::GrantsToSelf);
        let [from_signer, from_org] = [header.signer.into(), signer.org.into()]
            .map(|other| scope.linear(&[(Fr::ONE, new.grantee.into()), (-Fr::ONE, other)], Fr::ZERO));
        let distance = scope.mul(from_signer, from_org);
        let to_self = scope.is_zero("inverse for a grant to others", distance);
        self.under(Demand::NotToSelf).assert_zero_if(sets, to_self);

        // `OrdinarySlot` and `Expected` say the same of a SetGrant.
        let mut scope = self.under(Demand::ManagedSlot);
        let first = scope.constant_in_range::<{ layout::SLOT }>(version.first_ordinary_grant());
        scope.assert_at_least_if::<{ layout::SLOT }, _, _>(revokes, header.slot, first);
        self.under(Demand::ManagedVersion).assert_equal_if(revokes, old.version, header.expected);
        let mut scope = self.under(Demand::ManagedDirectory);
        scope.assert_equal_if(manages, body.directory_after, body.directory_before);
    }

    /// Constrains both masks of classes to be within the delegate's, class by class.
    fn assert_managed_classes(
        &mut self,
        manages: Within,
        delegate: Ranged<SCOPE>,
        parts: [(Moment, Ranged<SCOPE>); 2],
    ) {
        let spelled = |mask: u64| std::array::from_fn(|class| Fr::from(mask >> class & 1));
        let mask = self.integer(delegate);
        let classes: [_; SCOPE as usize] = self.hints("delegate class", spelled(mask));
        let classes: [_; SCOPE as usize] =
            std::array::from_fn(|i| self.under(Demand::DelegateClass(i as u32)).assert_bit(classes[i]));
        let mut scope = self.under(Demand::DelegateClasses);
        scope.spell::<SCOPE>(&classes.map(Into::into), delegate);
        for (moment, part) in parts {
            // Without a delegate, these are the classes in both masks, and the sum is compared with nothing.
            let both = self.integer(part) & mask;
            let managed: [_; SCOPE as usize] = self.hints("managed class", spelled(both));
            let managed: [_; SCOPE as usize] = std::array::from_fn(|i| {
                self.under(Demand::ManagedClass(moment, i as u32)).assert_bit_below(managed[i], classes[i])
            });
            let mut scope = self.under(Demand::ManagedClasses(moment));
            let sum = scope.compose::<SCOPE>(&managed);
            scope.assert_equal_if(manages, part, sum);
        }
    }
}

//! Constrains that a grant in the state allows the signer to act.

use emr_core::{Class, Reason};
use halo2curves::ff::Field as _;

use super::{
    builder::Wire,
    demand::{Covered, Demand, RightBit},
    gadget::{
        constrained::{Bit, Promise, Ranged},
        generic::Generic,
        one_hot::Within,
    },
    leaf::{GrantWires, IdentityWires, RecordWires},
    message::HeaderWires,
    scope::Section,
};
use crate::{layout, primitive::field::Fr};

/// What has to be allowed, and the grants that can allow it.
pub(super) struct Claim<'a> {
    /// Whether the operation uses the grant that it writes.
    pub(super) request: Within,
    /// Whether the operation is a BreakGlass.
    pub(super) emergency: Within,
    /// Whether the operation names a class in its purpose: it is one of these two.
    pub(super) has_purpose: Within,
    pub(super) header: &'a HeaderWires,
    /// The promise that the header's purpose is in range. [`Section::assert_authority`] keeps it.
    pub(super) purpose: Promise<{ layout::PURPOSE }>,
    pub(super) signer: &'a IdentityWires,
    /// Whether a doctor writes a record for the patient.
    pub(super) writes: Within,
    /// Whether a delegate manages grants for the patient.
    pub(super) manages: Within,
    pub(super) grants_root: Wire,
    pub(super) time: Ranged<{ layout::TIME }>,
    /// The grant that allows a doctor to write, or a delegate to manage grants.
    pub(super) authority: &'a GrantWires,
    /// The root that its path leads to.
    pub(super) authority_root: Wire,
    /// The grant that RequestAccess uses.
    pub(super) target: &'a GrantWires,
    /// The grant that BreakGlass writes.
    pub(super) new_grant: &'a GrantWires,
    pub(super) old_record: &'a RecordWires,
    pub(super) old_record_empty: Bit,
    pub(super) new_record: &'a RecordWires,
}

// All reasons of three bits and all classes of four bits are assigned, so the circuit does not check which ones exist.
const _: () = assert!(Reason::ALL.len() == 8 && Class::ALL.len() == 16);
// A purpose without a reason is a class alone.
const _: () = assert!(Reason::None.code() == 0);

impl Section<'_> {
    /// Constrains that a write for the patient, a delegate's operation, and a RequestAccess are covered by a live grant, and that a
    /// BreakGlass has a reason and covers the class that it names.
    pub(super) fn assert_authority(&mut self, claim: Claim<'_>) {
        let Claim { request, header, writes, manages, authority, target, .. } = claim;
        let mut scope = self.under(Demand::AuthorityRoot);
        let by_others = scope.either(writes, manages);
        scope.assert_equal_if(by_others, claim.authority_root, claim.grants_root);

        let mut scope = self.under(Demand::WhichGrant);
        let needed = scope.either(by_others, request);
        let grantee = scope.select_in_range(request, target.grantee, authority.grantee);
        let rights = scope.select_in_range(request, target.rights, authority.rights);
        let classes = scope.select_in_range(request, target.scope, authority.scope);
        let not_after = scope.select_in_range(request, target.not_after, authority.not_after);

        let nobody = self.under(Demand::GranteeIsNobody).is_zero("inverse for a grantee", grantee);
        self.under(Demand::GranteeIsSomebody).assert_zero_if(needed, nobody);
        let mut scope = self.under(Demand::GranteeIsSigner);
        let from_signer = scope.linear(&[(Fr::ONE, grantee.into()), (-Fr::ONE, header.signer.into())], Fr::ZERO);
        let from_org = scope.linear(&[(Fr::ONE, grantee.into()), (-Fr::ONE, claim.signer.org.into())], Fr::ZERO);
        let stranger = scope.mul(from_signer, from_org);
        scope.assert_zero_if(needed, stranger);

        let mut scope = self.under(Demand::GrantNotExpired);
        scope.assert_at_least_if::<{ layout::TIME }, _, _>(needed, not_after, claim.time);

        let [read, write, manage, emergency] = self.rights(rights);
        self.under(Demand::MayWrite).assert_zero_unless(write, writes);
        self.under(Demand::MayManage).assert_zero_unless(manage, manages);
        let mut scope = self.under(Demand::MayRead);
        let asked = scope.and_not(request, read);
        scope.assert_zero_unless(emergency, asked);

        let value = self.integer(header.purpose);
        // purpose = 64·high + 16·low + class: a reason of three bits.
        let [reason_high, reason_low, asked_class] =
            self.hints("purpose", [value >> 6 & 1, value >> 4 & 3, value & 15].map(Fr::from));
        let reason_high = self.under(Demand::PurposeReasonHigh).assert_bit(reason_high);
        let reason_low = self.under(Demand::PurposeReasonLow).range::<2>(reason_low);
        let asked_class = self.under(Demand::PurposeClass).range::<{ layout::CLASS }>(asked_class);
        let mut scope = self.under(Demand::PurposeSpelled);
        let purpose = scope.spell(&[asked_class.into(), reason_low.into(), reason_high.into()], header.purpose);
        scope.keep(claim.purpose, purpose);
        let mut scope = self.under(Demand::EmergencyReason);
        let first = scope.constant_in_range::<{ layout::PURPOSE }>(1 << layout::CLASS);
        scope.assert_at_least_if::<{ layout::PURPOSE }, _, _>(claim.emergency, header.purpose, first);

        // `assert_delegate` compares a delegate's classes.
        let classed = self.under(Demand::WhichGrant).either(writes, request);
        let new_class = claim.new_record.class;
        let mut scope = self.under(Demand::WhichClass(Covered::Old));
        let old_class = scope.select_in_range(claim.old_record_empty, new_class, claim.old_record.class);
        let [named, _] = [(Covered::New, new_class), (Covered::Old, old_class)].map(|(which, class)| {
            let class = self.under(Demand::WhichClass(which)).select_in_range(claim.has_purpose, asked_class, class);
            let (covered, mask) = self.covers(which, classes, class);
            self.under(Demand::InScope(which)).assert_zero_unless(covered, classed);
            mask
        });
        self.under(Demand::EmergencyClass).assert_equal_if(claim.emergency, claim.new_grant.scope, named);
    }

    /// The bits READ, WRITE, MANAGE and EMERGENCY of eight bits of rights.
    fn rights(&mut self, rights: Ranged<{ layout::RIGHTS }>) -> [Bit; 4] {
        let value = self.integer(rights);
        let bits = RightBit::ALL.map(|right| Fr::from(u64::from(value & u64::from(right.rights().bits()) != 0)));
        let bits = self.hints("right", bits);
        let assigned: [_; layout::ASSIGNED_RIGHTS as usize] =
            std::array::from_fn(|i| self.under(Demand::Right(RightBit::ALL[i])).assert_bit(bits[i]));
        let rest = self.hint("right", Fr::from(value >> 4 & 15));
        let rest = self.under(Demand::RightsRest).range::<{ layout::RIGHTS - layout::ASSIGNED_RIGHTS }>(rest);
        let [read, write, manage, emergency] = assigned.map(Into::into);
        let digits = [read, write, manage, emergency, rest.into()];
        self.under(Demand::RightsSpelled).spell::<{ layout::RIGHTS }>(&digits, rights);
        assigned
    }

    /// Bit `class` of a 16-bit mask, and the mask with this bit alone.
    fn covers(
        &mut self,
        which: Covered,
        classes: Ranged<{ layout::SCOPE }>,
        class: Ranged<{ layout::CLASS }>,
    ) -> (Bit, Wire) {
        let (mask, place) = (self.integer(classes), self.integer(class) & 15);
        // power = 2^class
        let bits = self.hints("class bit", [0, 1, 2, 3].map(|i| Fr::from(place >> i & 1)));
        let bits: [Bit; 4] = std::array::from_fn(|i| self.under(Demand::ClassBit(which, i as u32)).assert_bit(bits[i]));
        let mut scope = self.under(Demand::ClassSpelled(which));
        scope.spell::<{ layout::CLASS }>(&bits.map(Into::into), class);
        let halves = [(bits[0], bits[1], [1, 3, 3]), (bits[2], bits[3], [15, 255, 15 * 255])].map(|(l, r, factors)| {
            scope.generic(Generic {
                l: Some(l.into()),
                r: Some(r.into()),
                factors: factors.map(Fr::from),
                constant: Fr::ONE,
                ..Generic::default()
            })
        });
        let power = scope.mul(halves[0], halves[1]);
        // classes = low + power·(bit + 2·high) with low < power
        let [low, bit, high] = self
            .hints("scope", [mask & ((1 << place) - 1), mask >> place & 1, mask >> place >> 1 & 0xffff].map(Fr::from));
        let bit = self.under(Demand::ScopeBit(which)).assert_bit(bit);
        let mut scope = self.under(Demand::ScopeBelowBit(which));
        let rest = scope.linear(&[(Fr::ONE, power), (-Fr::ONE, low)], -Fr::ONE);
        let low = self.under(Demand::ScopeBelow(which)).range::<{ layout::SCOPE }>(low);
        self.under(Demand::ScopeBelowBit(which)).range::<{ layout::SCOPE }>(rest);
        let high = self.under(Demand::ScopeAbove(which)).range::<{ layout::SCOPE }>(high);
        let mut scope = self.under(Demand::ScopeSpelled(which));
        let upper = scope.linear(&[(Fr::ONE, bit.into()), (Fr::from(2), high.into())], Fr::ZERO);
        let product = Generic {
            l: Some(power),
            r: Some(upper),
            factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
            addend: Some(low.into()),
            ..Generic::default()
        };
        scope.assert_generic(product, classes.into());
        (bit, power)
    }
}

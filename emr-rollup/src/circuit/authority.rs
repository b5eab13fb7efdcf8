//! What allows a signer to act: C6 and C7.

use emr_core::{Class, Reason, Rights};
use halo2curves::ff::Field as _;

use super::{
    builder::{Builder, Generic, Wire},
    gadget::{
        constrained::{Bit, Field, Promise, Ranged},
        one_hot::Within,
    },
    leaf::{GrantWires, IdentityWires, RecordWires},
    message::HeaderWires,
};
use crate::{layout, primitive::field::Fr, statement::Clause};

/// What a grant is asked for.
pub(super) struct Demand<'a> {
    /// Whether the operation uses the grant that it writes.
    pub(super) request: Within,
    pub(super) header: &'a HeaderWires,
    /// That the header's purpose is in range is shown here.
    pub(super) purpose: Promise<{ layout::PURPOSE }>,
    pub(super) signer: &'a IdentityWires,
    /// Whether a record is written by somebody other than the patient.
    pub(super) delegated: Within,
    pub(super) grants_root: Wire,
    pub(super) time: Ranged<{ layout::TIME }>,
    /// The grant that allows a doctor to write.
    pub(super) authority: &'a GrantWires,
    /// The root above it.
    pub(super) authority_root: Wire,
    /// The grant that RequestAccess uses.
    pub(super) target: &'a GrantWires,
    pub(super) old_record: &'a RecordWires,
    pub(super) old_record_empty: Bit,
    pub(super) new_record: &'a RecordWires,
}

// Every reason of three bits and every class of four is assigned: the circuit need not know which are.
const _: () = assert!(Reason::ALL.len() == 8 && Class::ALL.len() == 16);

impl Builder {
    /// Constrains that a delegated write, and a RequestAccess, are covered by a live grant.
    pub(super) fn assert_authority(&mut self, demand: Demand<'_>) {
        let Demand { request, header, delegated, authority, target, .. } = demand;
        self.clause(Clause::C6, "grant under the grants root");
        self.assert_equal_if(delegated, demand.authority_root, demand.grants_root);

        self.clause(Clause::C7, "which grant");
        let needed = self.either(delegated, request);
        let grantee = self.select_in_range(request, target.grantee, authority.grantee);
        let rights = self.select_in_range(request, target.rights, authority.rights);
        let scope = self.select_in_range(request, target.scope, authority.scope);
        let not_after = self.select_in_range(request, target.not_after, authority.not_after);

        self.clause(Clause::C7, "granted to somebody else");
        self.assert_nonzero_if("inverse for a grantee", needed, grantee);
        let from_signer = self.linear(&[(Fr::ONE, grantee.into()), (-Fr::ONE, header.signer.into())], Fr::ZERO);
        let from_org = self.linear(&[(Fr::ONE, grantee.into()), (-Fr::ONE, demand.signer.org.into())], Fr::ZERO);
        let stranger = self.mul(from_signer, from_org);
        self.assert_zero_if(needed, stranger);

        self.clause(Clause::C7, "grant expired");
        self.assert_at_least_if::<{ layout::TIME }, _, _>(needed, not_after, demand.time);

        self.clause(Clause::C7, "rights");
        let [read, write, emergency] = self.rights(rights);
        self.assert_zero_unless(write, delegated);
        let asked = self.and_not(request, read);
        self.assert_zero_unless(emergency, asked);

        self.clause(Clause::C19, "purpose");
        let value = self.integer(header.purpose);
        // purpose = 64·high + 16·low + class: a reason of three bits.
        let [reason_high, reason_low, asked_class] =
            self.hints("purpose", [value >> 6 & 1, value >> 4 & 3, value & 15].map(Fr::from));
        let reason_high = self.assert_bit(reason_high);
        let (reason_low, asked_class) = (self.range::<2>(reason_low), self.range::<{ layout::CLASS }>(asked_class));
        let purpose = self.spell(&[asked_class.into(), reason_low.into(), reason_high.into()], header.purpose);
        self.keep(demand.purpose, purpose);

        self.clause(Clause::C7, "class out of scope");
        let new_class = demand.new_record.class;
        let old_class = self.select_in_range(demand.old_record_empty, new_class, demand.old_record.class);
        for class in [new_class, old_class] {
            let class = self.select_in_range(request, asked_class, class);
            let covered = self.covers(scope, class);
            self.assert_zero_unless(covered, needed);
        }
    }

    /// The bits READ, WRITE and EMERGENCY of eight bits of rights.
    fn rights(&mut self, rights: Ranged<{ layout::RIGHTS }>) -> [Bit; 3] {
        let value = self.integer(rights);
        let bit = |right: Rights| Fr::from(u64::from(value & u64::from(right.bits()) != 0));
        let bits = self.hints("right", [Rights::READ, Rights::WRITE, Rights::MANAGE, Rights::EMERGENCY].map(bit));
        let [read, write, manage, emergency] = bits.map(|bit| self.assert_bit(bit));
        let rest = self.hint("right", Fr::from(value >> 4 & 15));
        let rest = self.range::<{ layout::RIGHTS - layout::ASSIGNED_RIGHTS }>(rest);
        let digits = [read.into(), write.into(), manage.into(), emergency.into(), rest.into()];
        self.spell::<{ layout::RIGHTS }>(&digits, rights);
        [read, write, emergency]
    }

    /// Bit `class` of a 16-bit mask, for a class below 16. For a class of four bits.
    fn covers(&mut self, scope: Ranged<{ layout::SCOPE }>, class: Ranged<{ layout::CLASS }>) -> Bit {
        let (mask, place) = (self.integer(scope), self.integer(class) & 15);
        // power = 2^class
        let bits = self.hints("class bit", [0, 1, 2, 3].map(|i| Fr::from(place >> i & 1)));
        let bits = bits.map(|bit| self.assert_bit(bit));
        self.spell::<{ layout::CLASS }>(&bits.map(Field::from), class);
        let halves = [(bits[0], bits[1], [1, 3, 3]), (bits[2], bits[3], [15, 255, 15 * 255])].map(|(l, r, factors)| {
            self.generic(Generic {
                l: Some(l.into()),
                r: Some(r.into()),
                factors: factors.map(Fr::from),
                constant: Fr::ONE,
                ..Generic::default()
            })
        });
        let power = self.mul(halves[0], halves[1]);
        // scope = low + power·(bit + 2·high) with low < power
        let [low, bit, high] = self
            .hints("scope", [mask & ((1 << place) - 1), mask >> place & 1, mask >> place >> 1 & 0xffff].map(Fr::from));
        let bit = self.assert_bit(bit);
        let rest = self.linear(&[(Fr::ONE, power), (-Fr::ONE, low)], -Fr::ONE);
        let [low, _, high] = [low, rest, high].map(|wire| self.range::<{ layout::SCOPE }>(wire));
        let upper = self.linear(&[(Fr::ONE, bit.into()), (Fr::from(2), high.into())], Fr::ZERO);
        let product = Generic {
            l: Some(power),
            r: Some(upper),
            factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
            addend: Some(low.into()),
            ..Generic::default()
        };
        self.assert_generic(product, scope.into());
        bit
    }
}

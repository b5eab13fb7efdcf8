//! What allows a signer to act: C6 and C7.

use emr_core::{Class, Reason, Rights};
use halo2curves::ff::Field;

use super::{
    builder::{Builder, Generic, Wire},
    leaf::{GrantWires, IdentityWires, PathWires, RecordWires},
    message::MessageWires,
};
use crate::{
    layout,
    primitive::field::{Fr, to_u64},
    statement::Clause,
};

/// What a grant is asked for.
pub(super) struct Demand<'a> {
    /// Whether the operation uses the grant that it writes.
    pub(super) request: Wire,
    pub(super) message: &'a MessageWires,
    pub(super) signer: &'a IdentityWires,
    /// Whether a record is written by somebody other than the patient.
    pub(super) delegated: Wire,
    pub(super) grants_root: Wire,
    pub(super) time: Wire,
    /// The grant that allows a doctor to write.
    pub(super) authority: &'a GrantWires,
    pub(super) authority_path: &'a PathWires,
    /// The grant that RequestAccess uses.
    pub(super) target: &'a GrantWires,
    pub(super) old_record: &'a RecordWires,
    pub(super) old_record_empty: Wire,
    pub(super) new_record: &'a RecordWires,
}

// Every reason of three bits and every class of four is assigned: the circuit need not know which are.
const _: () = assert!(Reason::ALL.len() == 8 && Class::ALL.len() == 16);

impl Builder {
    /// Constrains that a delegated write, and a RequestAccess, are covered by a live grant.
    pub(super) fn assert_authority(&mut self, demand: &Demand<'_>) {
        let Demand { request, message, delegated, authority, target, .. } = *demand;
        self.clause(Clause::C6, "grant under the grants root");
        let root = demand.authority_path.root(self, authority.hash);
        self.assert_equal_if(delegated, root, demand.grants_root);

        self.clause(Clause::C7, "which grant");
        let needed = self.linear(&[(Fr::ONE, delegated), (Fr::ONE, request)], Fr::ZERO);
        let [grantee, rights, scope, not_after] = [
            (target.grantee, authority.grantee),
            (target.rights, authority.rights),
            (target.scope, authority.scope),
            (target.not_after, authority.not_after),
        ]
        .map(|(used, allowing)| self.select(request, used, allowing));

        self.clause(Clause::C7, "granted to somebody else");
        self.assert_nonzero_if("inverse for a grantee", needed, grantee);
        let from_signer = self.linear(&[(Fr::ONE, grantee), (-Fr::ONE, message.signer)], Fr::ZERO);
        let from_org = self.linear(&[(Fr::ONE, grantee), (-Fr::ONE, demand.signer.org)], Fr::ZERO);
        let stranger = self.mul(from_signer, from_org);
        self.assert_product_zero(needed, stranger);

        self.clause(Clause::C7, "grant expired");
        let left = self.gated_difference(needed, not_after, demand.time);
        self.assert_range(left, layout::TIME);

        self.clause(Clause::C7, "rights");
        let [read, write, emergency] = self.rights(rights);
        self.assert_zero_unless(write, delegated);
        let asked = self.and_not(request, read);
        self.assert_zero_unless(emergency, asked);

        self.clause(Clause::C19, "purpose");
        let value = to_u64(&self.value(message.purpose)).unwrap_or(0);
        // purpose = 64·high + 16·low + class: a reason of three bits.
        let [reason_high, reason_low, asked_class] =
            self.hints("purpose", [value >> 6 & 1, value >> 4 & 3, value & 15].map(Fr::from));
        self.assert_bit(reason_high);
        self.assert_ranges(&[(reason_low, 2), (asked_class, layout::CLASS)]);
        let terms = [(64, reason_high), (16, reason_low), (1, asked_class)].map(|(f, wire)| (Fr::from(f), wire));
        self.assert_linear(&terms, Fr::ZERO, message.purpose);

        self.clause(Clause::C7, "class out of scope");
        let new_class = demand.new_record.class;
        let old_class = self.select(demand.old_record_empty, new_class, demand.old_record.class);
        for class in [new_class, old_class] {
            let class = self.select(request, asked_class, class);
            let covered = self.covers(scope, class);
            self.assert_zero_unless(covered, needed);
        }
    }

    /// The bits READ, WRITE and EMERGENCY of eight bits of rights.
    fn rights(&mut self, rights: Wire) -> [Wire; 3] {
        let value = to_u64(&self.value(rights)).unwrap_or(0);
        let bit = |right: Rights| Fr::from(u64::from(value & u64::from(right.bits()) != 0));
        let [read, write, manage, emergency] =
            self.hints("right", [Rights::READ, Rights::WRITE, Rights::MANAGE, Rights::EMERGENCY].map(bit));
        for bit in [read, write, manage, emergency] {
            self.assert_bit(bit);
        }
        let rest = self.hint("right", Fr::from(value >> 4 & 15));
        self.assert_range(rest, layout::RIGHTS - layout::ASSIGNED_RIGHTS);
        let terms =
            [(1, read), (2, write), (4, manage), (8, emergency), (16, rest)].map(|(f, wire)| (Fr::from(f), wire));
        self.assert_linear(&terms, Fr::ZERO, rights);
        [read, write, emergency]
    }

    /// Bit `class` of a 16-bit mask, for a class below 16. Constrains nothing else of the two.
    fn covers(&mut self, scope: Wire, class: Wire) -> Wire {
        let (mask, place) = [scope, class].map(|wire| to_u64(&self.value(wire)).unwrap_or(0)).into();
        let place = place & 15;
        // power = 2^class
        let bits = self.hints("class bit", [0, 1, 2, 3].map(|i| Fr::from(place >> i & 1)));
        for bit in bits {
            self.assert_bit(bit);
        }
        let terms = [1, 2, 4, 8].map(Fr::from).into_iter().zip(bits).collect::<Vec<_>>();
        self.assert_linear(&terms, Fr::ZERO, class);
        let halves = [(bits[0], bits[1], [1, 3, 3]), (bits[2], bits[3], [15, 255, 15 * 255])].map(|(l, r, factors)| {
            self.generic(Generic {
                l: Some(l),
                r: Some(r),
                factors: factors.map(Fr::from),
                constant: Fr::ONE,
                ..Generic::default()
            })
        });
        let power = self.mul(halves[0], halves[1]);
        // scope = low + power·(bit + 2·high) with low < power
        let [low, bit, high] = self
            .hints("scope", [mask & ((1 << place) - 1), mask >> place & 1, mask >> place >> 1 & 0xffff].map(Fr::from));
        self.assert_bit(bit);
        let rest = self.linear(&[(Fr::ONE, power), (-Fr::ONE, low)], -Fr::ONE);
        self.assert_ranges(&[low, rest, high].map(|wire| (wire, layout::SCOPE)));
        let upper = self.linear(&[(Fr::ONE, bit), (Fr::from(2), high)], Fr::ZERO);
        let product = Generic {
            l: Some(power),
            r: Some(upper),
            factors: [Fr::ZERO, Fr::ZERO, Fr::ONE],
            addend: Some(low),
            ..Generic::default()
        };
        self.assert_generic(product, scope);
        bit
    }
}

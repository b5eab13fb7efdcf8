//! The leaf that an operation writes. The old value is the expected one, the new value is one that the rules allow, and
//! the root of its tree follows.

use emr_core::{RecordStatus, Rights};
use halo2curves::ff::Field as _;

use super::{
    builder::Wire,
    demand::{Content, Demand, Leaf, Moment},
    gadget::{
        constrained::{Bit, Ranged},
        path::{MerklePath, Nodes},
    },
    leaf::{GrantWires, MedicalWires, RecordWires},
    message::{BodyWires, HeaderWires, KindWires},
    scope::Section,
};
use crate::{
    layout,
    operation::{Counter, DirectoryRule, Kind, MAX_EMERGENCY},
    primitive::field::Fr,
    state::leaf::Tree,
    statement::{GrantFields, RecordFields},
    version::CircuitVersion,
};

/// The target before and after, read as a grant and as a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetWires {
    pub(super) old_grant: GrantWires,
    pub(super) new_grant: GrantWires,
    pub(super) old_record: RecordWires,
    pub(super) old_record_empty: Bit,
    pub(super) new_record: RecordWires,
    /// The value of the leaf before.
    pub(super) old_leaf: Wire,
    /// The value of the leaf after.
    pub(super) new_leaf: Wire,
}

/// The roots of the patient's two trees after the operation.
pub(super) struct Roots {
    pub(super) grants: Wire,
    pub(super) records: Wire,
}

/// Bits of the longest emergency grant: `2^18 > 1 day`.
const EMERGENCY_BITS: u32 = 18;
const _: () = assert!(MAX_EMERGENCY < 1 << EMERGENCY_BITS);

fn record_status(status: RecordStatus) -> Fr {
    Fr::from(u64::from(status.code()))
}

impl Section<'_> {
    /// Lays out the target's leaves, before and after.
    pub(super) fn target(
        &mut self,
        kind: &KindWires,
        grants: [&GrantFields; 2],
        records: [&RecordFields; 2],
    ) -> TargetWires {
        let [old, new] = grants;
        let (old_grant, new_grant) = (self.grant(Leaf::OldGrant, old), self.grant(Leaf::NewGrant, new));
        let [old, new] = records;
        let (old_record, new_record) = (self.record(Leaf::OldRecord, old), self.record(Leaf::NewRecord, new));
        let contents = [(Content::Packed, old_grant.packed.into()), (Content::First, old_grant.salt)];
        let (grant_value, _) = self.slot_value(Leaf::OldGrant, old_grant.version, old_grant.hash, &contents);
        let contents = [
            (Content::Packed, old_record.packed.into()),
            (Content::First, old_record.authored),
            (Content::Second, old_record.stored),
        ];
        let (record_value, old_record_empty) =
            self.slot_value(Leaf::OldRecord, old_record.revision, old_record.hash, &contents);
        let mut scope = self.under(Demand::LeafOfKind);
        let old_leaf = scope.either_of((kind.record, record_value), (kind.grant, grant_value));
        // Counters only grow, so the new leaf is never empty. In an unused L2 slot it is 0.
        let new_leaf = scope.either_of((kind.record, new_record.hash), (kind.grant, new_grant.hash));
        TargetWires { old_grant, new_grant, old_record, old_record_empty, new_record, old_leaf, new_leaf }
    }

    /// Constrains the counters, the status and the directory to be the expected ones.
    pub(super) fn assert_expected(
        &mut self,
        kind: &mut KindWires,
        (header, body): (&HeaderWires, &BodyWires),
        target: &TargetWires,
        directory: Wire,
        time: Ranged<{ layout::TIME }>,
    ) {
        let TargetWires { old_grant, old_record, .. } = target;
        let equal = [
            (Counter::Revision, old_record.revision),
            (Counter::Version, old_grant.version),
            (Counter::Uses, old_grant.uses),
        ];
        for (counter, before) in equal {
            let kinds = self.kind_where(kind, |rule| rule.counter == counter);
            self.under(Demand::Expected(counter)).assert_equal_if(kinds, before, header.expected);
        }
        let at_most = self.kind_where(kind, |rule| rule.counter == Counter::VersionAtMost);
        let mut scope = self.under(Demand::Expected(Counter::VersionAtMost));
        scope.assert_at_least_if::<{ layout::COUNTER }, _, _>(at_most, header.expected, old_grant.version);
        let status = old_record.status;
        let mut scope = self.under(Demand::NotDeleted);
        let deleted = scope.mul_complement(status, status);
        scope.assert_zero_if(kind.is(Kind::PutRecord), deleted);
        let live = record_status(RecordStatus::Live);
        let stays = self.kind_among(kind, &[Kind::Tombstone, Kind::Rekey]);
        self.under(Demand::StillLive).assert_constant_if(stays, status, live);
        let void = self.under(Demand::GrantIsVoid).is_zero("inverse for a grant without rights", old_grant.rights);
        let mut scope = self.under(Demand::GrantIsOver);
        let held = scope.and_not(kind.is(Kind::BreakGlass), void);
        scope.assert_more_if::<{ layout::TIME }, _, _>(held, time, old_grant.not_after);
        let replaced = self.kind_where(kind, |rule| rule.directory == DirectoryRule::Replaced);
        self.under(Demand::DirectoryInForce).assert_equal_if(replaced, body.directory_before, directory);
    }

    /// Constrains the signed values to be written, and everything else to stay.
    pub(super) fn assert_new_fields(
        &mut self,
        (version, time): (&CircuitVersion, Ranged<{ layout::TIME }>),
        kind: &mut KindWires,
        (header, body): (&HeaderWires, &BodyWires),
        target: &TargetWires,
    ) {
        let TargetWires { new_grant, new_record, .. } = target;
        let mut scope = self.under(Demand::Signed(Content::Packed));
        let zero = scope.zero();
        let uses_factor = layout::GRANT.unit(layout::GRANT_USES);
        let signed_grant =
            scope.linear(&[(Fr::ONE, new_grant.packed.into()), (-uses_factor, new_grant.uses.into())], Fr::ZERO);
        for (content, signed, record, grant) in [
            (Content::Packed, body.new_packed, new_record.packed.into(), signed_grant),
            (Content::First, body.opaque_1, new_record.authored, new_grant.salt),
            (Content::Second, body.opaque_2, new_record.stored, zero),
        ] {
            let mut scope = self.under(Demand::Signed(content));
            let written = scope.either_of((kind.record, record), (kind.writes_grant, grant));
            let written = match content {
                Content::Packed => scope.mul_add(kind.is(Kind::RequestAccess), new_grant.version, written),
                Content::First | Content::Second | Content::Third => written,
            };
            scope.assert_equal(signed, written);
        }
        for (moment, directory) in [(Moment::Before, body.directory_before), (Moment::After, body.directory_after)] {
            self.under(Demand::NoDirectory(moment)).assert_zero_unless(kind.directory, directory);
        }
        let has_purpose = self.kind_where(kind, |rule| rule.has_purpose);
        self.under(Demand::NoPurpose).assert_zero_unless(has_purpose, header.purpose);
        self.assert_new_record(kind, header, target);
        self.assert_new_grant(version, kind, header, target, signed_grant);
        self.assert_emergency(version, time, kind, header, target);
    }

    fn assert_new_record(&mut self, kind: &mut KindWires, header: &HeaderWires, target: &TargetWires) {
        let (old, new) = (&target.old_record, &target.new_record);
        let [put, tombstone, rekey] = [Kind::PutRecord, Kind::Tombstone, Kind::Rekey].map(|one| kind.is(one));
        let live = self.kind_among(kind, &[Kind::PutRecord, Kind::Rekey]);
        let stays = self.kind_among(kind, &[Kind::Tombstone, Kind::Rekey]);
        let next = [(Fr::ONE, old.revision.into()), (Fr::ONE, kind.record.into())];
        self.under(Demand::NextRevision).assert_linear(&next, Fr::ZERO, new.revision);
        let next = [(Fr::ONE, old.version.into()), (Fr::ONE, put.into())];
        self.under(Demand::NextVersion).assert_linear(&next, Fr::ZERO, new.version);
        let statuses = [(RecordStatus::Live, live), (RecordStatus::Tombstone, tombstone)]
            .map(|(status, flag)| (record_status(status), flag.into()));
        self.under(Demand::NextStatus).assert_linear(&statuses, Fr::ZERO, new.status);
        self.under(Demand::AuthorIsSigner).assert_equal_if(put, new.author, header.signer);
        let mut scope = self.under(Demand::CustodianStays);
        let kept = scope.and_not(put, target.old_record_empty);
        scope.assert_equal_if(kept, new.custodian, old.custodian);
        // Status + 1, revision + 1.
        let step = layout::RECORD.unit(layout::RECORD_STATUS) + layout::RECORD.unit(layout::RECORD_REVISION);
        let mut scope = self.under(Demand::TombstoneKeeps(Content::Packed));
        scope.assert_steps_if(tombstone, [old.packed, new.packed], step);
        self.under(Demand::StatementStays).assert_equal_if(stays, new.authored, old.authored);
        self.under(Demand::TombstoneKeeps(Content::Second)).assert_equal_if(tombstone, new.stored, old.stored);
        // The packings without the custodian: fields in range, so they are equal field by field.
        let mut scope = self.under(Demand::RekeyKeeps);
        let custodian = layout::RECORD.unit(layout::RECORD_CUSTODIAN);
        let [before, after] =
            [(old, layout::RECORD.unit(layout::RECORD_REVISION)), (new, Fr::ZERO)].map(|(leaf, step)| {
                scope.linear(&[(Fr::ONE, leaf.packed.into()), (-custodian, leaf.custodian.into())], step)
            });
        scope.assert_equal_if(rekey, after, before);
    }

    /// `signed` is the packing of the new grant, with 0 uses.
    fn assert_new_grant(
        &mut self,
        version: &CircuitVersion,
        kind: &KindWires,
        header: &HeaderWires,
        target: &TargetWires,
        signed: Wire,
    ) {
        let (old, new) = (&target.old_grant, &target.new_grant);
        let [set, revoke, request] = [Kind::SetGrant, Kind::Revoke, Kind::RequestAccess].map(|one| kind.is(one));
        let next = [(Fr::ONE, old.uses.into()), (Fr::ONE, request.into())];
        self.under(Demand::NextUses).assert_linear(&next, Fr::ZERO, new.uses);
        let mut scope = self.under(Demand::NextGrantVersion);
        let next = scope.linear(&[(Fr::ONE, header.expected.into())], Fr::ONE);
        scope.assert_equal_if(kind.writes_grant, new.version, next);
        let one_use = layout::GRANT.unit(layout::GRANT_USES);
        let mut scope = self.under(Demand::RequestKeeps(Content::Packed));
        scope.assert_steps_if(request, [old.packed, new.packed], one_use);
        self.under(Demand::RequestKeeps(Content::First)).assert_equal_if(request, new.salt, old.salt);
        self.under(Demand::RevokedIsCleared).assert_equal_if(revoke, signed, new.version);
        let nobody = self.under(Demand::NewGranteeIsNobody).is_zero("inverse for a grant to nobody", new.grantee);
        self.under(Demand::NewGranteeIsSomebody).assert_zero_if(set, nobody);
        const ASSIGNED: u32 = layout::ASSIGNED_RIGHTS;
        let mut scope = self.under(Demand::OrdinaryRights);
        let highest = scope.constant_in_range::<ASSIGNED>(u64::from(Rights::EMERGENCY.bits()) - 1);
        scope.assert_at_least_if::<ASSIGNED, _, _>(set, highest, new.rights);
        let mut scope = self.under(Demand::OrdinarySlot);
        let first = scope.constant_in_range::<{ layout::SLOT }>(version.first_ordinary_grant());
        scope.assert_at_least_if::<{ layout::SLOT }, _, _>(set, header.slot, first);
    }

    /// An emergency grant is its signer's, in a slot for it, and holds for a day at most.
    fn assert_emergency(
        &mut self,
        version: &CircuitVersion,
        time: Ranged<{ layout::TIME }>,
        kind: &KindWires,
        header: &HeaderWires,
        target: &TargetWires,
    ) {
        let (emergency, new) = (kind.is(Kind::BreakGlass), &target.new_grant);
        let mut scope = self.under(Demand::EmergencySlot);
        let last = scope.constant_in_range::<{ layout::SLOT }>(version.first_ordinary_grant() - 1);
        scope.assert_at_least_if::<{ layout::SLOT }, _, _>(emergency, last, header.slot);
        self.under(Demand::EmergencyGrantee).assert_equal_if(emergency, new.grantee, header.signer);
        let right = Fr::from(u64::from(Rights::EMERGENCY.bits()));
        self.under(Demand::EmergencyRight).assert_constant_if(emergency, new.rights, right);
        let mut scope = self.under(Demand::EmergencyHolds);
        let left = scope.assert_at_least_if::<EMERGENCY_BITS, _, _>(emergency, new.not_after, time);
        self.under(Demand::EmergencyEnds).assert_at_most_if(emergency, left, MAX_EMERGENCY);
    }

    /// The leaf before lies under its root, and the root after follows by the same path.
    ///
    /// The path has the depth of the records tree. The root of the grants tree is the node at the depth of that tree.
    pub(super) fn replace_target(
        &mut self,
        version: &CircuitVersion,
        kind: &KindWires,
        target: &TargetWires,
        medical: &MedicalWires,
        (path, before): (&MerklePath, &Nodes),
    ) -> Roots {
        let (grants, records) = (before.at(version.grant_depth), before.at(version.record_depth));
        self.under(Demand::TargetRoot(Tree::Grants)).assert_equal_if(kind.grant, grants, medical.grants_root);
        self.under(Demand::TargetRoot(Tree::Records)).assert_equal_if(kind.record, records, medical.records_root);
        let mut scope = self.under(Demand::SlotBeyondTree);
        let beyond = scope.compose::<{ layout::SLOT }>(path.turns_above(version.grant_depth));
        scope.assert_zero_if(kind.grant, beyond);
        let after = self.under(Demand::TargetTurns(Moment::After)).climb(path, target.new_leaf);
        let (grants, records) = (after.at(version.grant_depth), after.at(version.record_depth));
        let mut scope = self.under(Demand::SubtreeRoots);
        Roots {
            grants: scope.select(kind.grant, grants, medical.grants_root),
            records: scope.select(kind.record, records, medical.records_root),
        }
    }
}

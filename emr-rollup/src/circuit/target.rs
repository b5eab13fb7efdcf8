//! The leaf that an operation writes. The old value is the expected one, the new value is one that the rules allow, and
//! the root of its tree follows.

use emr_core::{RecordStatus, Rights};
use halo2curves::ff::Field as _;

use super::{
    builder::Wire,
    demand::{Content, Demand, Leaf, Moment},
    gadget::{
        constrained::Bit,
        path::{MerklePath, Nodes},
    },
    leaf::{GrantWires, MedicalWires, RecordWires},
    message::{BodyWires, HeaderWires, KindWires},
    scope::Section,
};
use crate::{
    layout,
    operation::{Counter, DirectoryRule, Kind},
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
        self.under(Demand::StillLive).assert_constant_if(kind.is(Kind::Tombstone), status, live);
        let replaced = self.kind_where(kind, |rule| rule.directory == DirectoryRule::Replaced);
        self.under(Demand::DirectoryInForce).assert_equal_if(replaced, body.directory_before, directory);
    }

    /// Constrains the signed values to be written, and everything else to stay.
    pub(super) fn assert_new_fields(
        &mut self,
        version: &CircuitVersion,
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
            let written = scope.either_of((kind.record, record), (kind.directory, grant));
            scope.assert_equal(signed, written);
        }
        for (moment, directory) in [(Moment::Before, body.directory_before), (Moment::After, body.directory_after)] {
            self.under(Demand::NoDirectory(moment)).assert_zero_unless(kind.directory, directory);
        }
        let has_purpose = self.kind_where(kind, |rule| rule.has_purpose);
        self.under(Demand::NoPurpose).assert_zero_unless(has_purpose, header.purpose);
        self.assert_new_record(kind, header, target);
        self.assert_new_grant(version, kind, header, target, signed_grant);
    }

    fn assert_new_record(&mut self, kind: &KindWires, header: &HeaderWires, target: &TargetWires) {
        let (old, new) = (&target.old_record, &target.new_record);
        let [put, tombstone] = [Kind::PutRecord, Kind::Tombstone].map(|one| kind.is(one));
        let next = [(Fr::ONE, old.revision.into()), (Fr::ONE, kind.record.into())];
        self.under(Demand::NextRevision).assert_linear(&next, Fr::ZERO, new.revision);
        let next = [(Fr::ONE, old.version.into()), (Fr::ONE, put.into())];
        self.under(Demand::NextVersion).assert_linear(&next, Fr::ZERO, new.version);
        let statuses = [(RecordStatus::Live, put), (RecordStatus::Tombstone, tombstone)]
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
        self.under(Demand::TombstoneKeeps(Content::First)).assert_equal_if(tombstone, new.authored, old.authored);
        self.under(Demand::TombstoneKeeps(Content::Second)).assert_equal_if(tombstone, new.stored, old.stored);
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
        scope.assert_equal_if(kind.directory, new.version, next);
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

    /// Constrains the old leaf to be under its root, and computes the new root by the same path.
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
        let beyond = scope.recompose::<{ layout::SLOT }>(&path.turns()[version.grant_depth..]);
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

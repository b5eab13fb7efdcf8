//! The leaf that an operation writes: C8, C9 and C10.

use emr_core::{RecordStatus, Rights};
use halo2curves::ff::Field as _;

use super::{
    builder::{Builder, Wire},
    gadget::{
        constrained::Bit,
        path::{MerklePath, Nodes},
    },
    leaf::{GrantWires, MedicalWires, RecordWires},
    message::{BodyWires, HeaderWires, KindWires},
};
use crate::{
    layout,
    operation::{Counter, DirectoryRule, Kind},
    primitive::field::Fr,
    statement::{Clause, GrantFields, RecordFields},
    version::CircuitVersion,
};

/// The target before and after, under both readings.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetWires {
    pub(super) old_grant: GrantWires,
    pub(super) new_grant: GrantWires,
    pub(super) old_record: RecordWires,
    pub(super) old_record_empty: Bit,
    pub(super) new_record: RecordWires,
    /// The leaf value before.
    pub(super) old_leaf: Wire,
    /// The leaf value after.
    pub(super) new_leaf: Wire,
}

/// The roots of the subtree after.
pub(super) struct Roots {
    pub(super) grants: Wire,
    pub(super) records: Wire,
}

fn record_status(status: RecordStatus) -> Fr {
    Fr::from(u64::from(status.code()))
}

impl Builder {
    /// The target's leaves, before and after.
    pub(super) fn target(
        &mut self,
        kind: &KindWires,
        grants: [&GrantFields; 2],
        records: [&RecordFields; 2],
    ) -> TargetWires {
        let [old, new] = grants;
        let (old_grant, new_grant) = (self.grant("old grant", old), self.grant("new grant", new));
        let [old, new] = records;
        let (old_record, new_record) = (self.record("old record", old), self.record("new record", new));
        let (grant_value, _) = self.slot_value(
            "inverse for an empty grant",
            old_grant.version,
            old_grant.hash,
            &[old_grant.packed.into(), old_grant.salt],
        );
        let contents = [old_record.packed.into(), old_record.authored, old_record.stored];
        let (record_value, old_record_empty) =
            self.slot_value("inverse for an empty record", old_record.revision, old_record.hash, &contents);
        self.clause(Clause::C8, "leaf of this kind");
        let old_leaf = self.either_of((kind.record, record_value), (kind.grant, grant_value));
        // Counters only grow, so the new leaf is never empty; it is 0 in a padding slot.
        let new_leaf = self.either_of((kind.record, new_record.hash), (kind.grant, new_grant.hash));
        TargetWires { old_grant, new_grant, old_record, old_record_empty, new_record, old_leaf, new_leaf }
    }

    /// C8: the counters, the status, the directory.
    pub(super) fn assert_expected(
        &mut self,
        kind: &mut KindWires,
        (header, body): (&HeaderWires, &BodyWires),
        target: &TargetWires,
        directory: Wire,
    ) {
        let TargetWires { old_grant, old_record, .. } = target;
        self.clause(Clause::C8, "expected counter");
        let revision = self.kind_where(kind, |rule| rule.counter == Counter::Revision);
        self.assert_equal_if(revision, old_record.revision, header.expected);
        let version = self.kind_where(kind, |rule| rule.counter == Counter::Version);
        self.assert_equal_if(version, old_grant.version, header.expected);
        let uses = self.kind_where(kind, |rule| rule.counter == Counter::Uses);
        self.assert_equal_if(uses, old_grant.uses, header.expected);
        let at_most = self.kind_where(kind, |rule| rule.counter == Counter::VersionAtMost);
        self.assert_at_least_if::<{ layout::COUNTER }, _, _>(at_most, header.expected, old_grant.version);
        self.clause(Clause::C8, "status before");
        let status = old_record.status;
        let deleted = self.mul_complement(status, status);
        self.assert_zero_if(kind.is(Kind::PutRecord), deleted);
        self.assert_constant_if(kind.is(Kind::Tombstone), status, record_status(RecordStatus::Live));
        self.clause(Clause::C8, "key directory in force");
        let replaced = self.kind_where(kind, |rule| rule.directory == DirectoryRule::Replaced);
        self.assert_equal_if(replaced, body.directory_before, directory);
    }

    /// C9: what is signed is what is written, and nothing else changes.
    pub(super) fn assert_new_fields(
        &mut self,
        version: &CircuitVersion,
        kind: &mut KindWires,
        (header, body): (&HeaderWires, &BodyWires),
        target: &TargetWires,
    ) {
        let TargetWires { old_grant, new_grant, old_record, new_record, .. } = target;
        let [put, tombstone] = [Kind::PutRecord, Kind::Tombstone].map(|one| kind.is(one));
        let [set, revoke, request] = [Kind::SetGrant, Kind::Revoke, Kind::RequestAccess].map(|one| kind.is(one));
        let zero = self.zero();
        self.clause(Clause::C9, "new fields as signed");
        let uses_factor = layout::GRANT.unit(layout::GRANT_USES);
        let signed_grant =
            self.linear(&[(Fr::ONE, new_grant.packed.into()), (-uses_factor, new_grant.uses.into())], Fr::ZERO);
        for (signed, record, grant) in [
            (body.new_packed, new_record.packed.into(), signed_grant),
            (body.opaque_1, new_record.authored, new_grant.salt),
            (body.opaque_2, new_record.stored, zero),
        ] {
            let written = self.either_of((kind.record, record), (kind.directory, grant));
            self.assert_equal(signed, written);
        }
        self.assert_zero_unless(kind.directory, body.directory_before);
        self.assert_zero_unless(kind.directory, body.directory_after);
        let has_purpose = self.kind_where(kind, |rule| rule.has_purpose);
        self.assert_zero_unless(has_purpose, header.purpose);

        self.clause(Clause::C9, "record counters and status");
        let next = [(Fr::ONE, old_record.revision.into()), (Fr::ONE, kind.record.into())];
        self.assert_linear(&next, Fr::ZERO, new_record.revision);
        let next = [(Fr::ONE, old_record.version.into()), (Fr::ONE, put.into())];
        self.assert_linear(&next, Fr::ZERO, new_record.version);
        let statuses = [(RecordStatus::Live, put), (RecordStatus::Tombstone, tombstone)];
        self.assert_linear(
            &statuses.map(|(status, flag)| (record_status(status), flag.into())),
            Fr::ZERO,
            new_record.status,
        );
        self.clause(Clause::C9, "author and custodian");
        self.assert_equal_if(put, new_record.author, header.signer);
        let kept = self.and_not(put, target.old_record_empty);
        self.assert_equal_if(kept, new_record.custodian, old_record.custodian);
        self.clause(Clause::C9, "a tombstone keeps everything else");
        // Status + 1, revision + 1.
        let step = layout::RECORD.unit(layout::RECORD_STATUS) + layout::RECORD.unit(layout::RECORD_REVISION);
        self.assert_steps_if(tombstone, [old_record.packed, new_record.packed], step);
        self.assert_equal_if(tombstone, new_record.authored, old_record.authored);
        self.assert_equal_if(tombstone, new_record.stored, old_record.stored);

        self.clause(Clause::C9, "grant counters");
        let next = [(Fr::ONE, old_grant.uses.into()), (Fr::ONE, request.into())];
        self.assert_linear(&next, Fr::ZERO, new_grant.uses);
        let next = self.linear(&[(Fr::ONE, header.expected.into())], Fr::ONE);
        self.assert_equal_if(kind.directory, new_grant.version, next);
        self.clause(Clause::C9, "a request changes the use count only");
        self.assert_steps_if(request, [old_grant.packed, new_grant.packed], uses_factor);
        self.assert_equal_if(request, new_grant.salt, old_grant.salt);
        self.clause(Clause::C9, "a revoked slot is cleared");
        self.assert_equal_if(revoke, signed_grant, new_grant.version);
        self.clause(Clause::C9, "an ordinary grant");
        self.assert_nonzero_if("inverse for a grant to nobody", set, new_grant.grantee);
        const ASSIGNED: u32 = layout::ASSIGNED_RIGHTS;
        let highest = self.constant_in_range::<ASSIGNED>(u64::from(Rights::EMERGENCY.bits()) - 1);
        self.assert_at_least_if::<ASSIGNED, _, _>(set, highest, new_grant.rights);
        let first = self.constant_in_range::<{ layout::SLOT }>(version.first_ordinary_grant());
        self.assert_at_least_if::<{ layout::SLOT }, _, _>(set, header.slot, first);
    }

    /// C8 and C10: the leaf before lies under its root, and the root after follows by the same path.
    ///
    /// The path has the records tree's depth; the grants tree's root is the node at its own depth.
    pub(super) fn replace_target(
        &mut self,
        version: &CircuitVersion,
        kind: &KindWires,
        target: &TargetWires,
        medical: &MedicalWires,
        (path, before): (&MerklePath, &Nodes),
    ) -> Roots {
        self.clause(Clause::C8, "target under its root");
        let (grants, records) = (before.at(version.grant_depth), before.at(version.record_depth));
        self.assert_equal_if(kind.grant, grants, medical.grants_root);
        self.assert_equal_if(kind.record, records, medical.records_root);
        self.clause(Clause::C19, "slot beyond the tree");
        let beyond = self.recompose::<{ layout::SLOT }>(&path.turns()[version.grant_depth..]);
        self.assert_zero_if(kind.grant, beyond);
        self.clause(Clause::C10, "root after");
        let after = self.climb(path, target.new_leaf);
        let (grants, records) = (after.at(version.grant_depth), after.at(version.record_depth));
        Roots {
            grants: self.select(kind.grant, grants, medical.grants_root),
            records: self.select(kind.record, records, medical.records_root),
        }
    }
}

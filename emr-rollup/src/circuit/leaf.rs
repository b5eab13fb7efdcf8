//! Leaves: their fields, packings and hashes.

use super::{
    builder::{Builder, Wire},
    gadget::{
        constrained::{Bit, Packed, Ranged},
        path::{MerklePath, Nodes},
    },
};
use crate::{
    layout,
    primitive::{field::Fr, poseidon::Tag},
    state::{leaf::MedicalLeaf, tree::Path},
    statement::{Clause, GrantFields, IdentityFields, RecordFields},
};

/// An identity leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdentityWires {
    pub(super) role: Ranged<{ layout::ROLE }>,
    pub(super) status: Ranged<{ layout::STATUS }>,
    pub(super) org: Ranged<{ layout::ACCOUNT }>,
    pub(super) epoch: Ranged<{ layout::EPOCH }>,
    pub(super) key: [Wire; 2],
    pub(super) hash: Wire,
}

/// A grant leaf. `hash` is `H_3` of the fields, whether or not the slot is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrantWires {
    pub(super) grantee: Ranged<{ layout::ACCOUNT }>,
    pub(super) rights: Ranged<{ layout::RIGHTS }>,
    pub(super) scope: Ranged<{ layout::SCOPE }>,
    pub(super) not_after: Ranged<{ layout::TIME }>,
    pub(super) uses: Ranged<{ layout::COUNTER }>,
    pub(super) version: Ranged<{ layout::COUNTER }>,
    pub(super) salt: Wire,
    pub(super) packed: Packed,
    pub(super) hash: Wire,
}

/// A record leaf. `hash` is `H_4` of the fields, whether or not the slot is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordWires {
    pub(super) status: Ranged<{ layout::STATUS }>,
    pub(super) class: Ranged<{ layout::CLASS }>,
    pub(super) author: Ranged<{ layout::ACCOUNT }>,
    pub(super) custodian: Ranged<{ layout::ACCOUNT }>,
    pub(super) version: Ranged<{ layout::COUNTER }>,
    pub(super) revision: Ranged<{ layout::COUNTER }>,
    pub(super) authored: Wire,
    pub(super) stored: Wire,
    pub(super) packed: Packed,
    pub(super) hash: Wire,
}

/// A medical leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct MedicalWires {
    pub(super) grants_root: Wire,
    pub(super) records_root: Wire,
    pub(super) audit_head: Wire,
    pub(super) key_directory: Wire,
}

impl Builder {
    /// An identity leaf.
    pub(super) fn identity(&mut self, name: &'static str, leaf: &IdentityFields) -> IdentityWires {
        let [role, status, org, epoch] = self.hints(name, leaf.packed_fields());
        self.clause(Clause::C19, "packed field");
        let (role, status, org, epoch) = (self.range(role), self.range(status), self.range(org), self.range(epoch));
        let packed = self.pack(&layout::IDENTITY, [role.into(), status.into(), org.into(), epoch.into()]);
        let key = self.hints(name, [leaf.key_x, leaf.key_y]);
        let encryption = self.hint(name, leaf.encryption);
        let hash = self.hash(Tag::Identity, &[packed.into(), key[0], key[1], encryption]);
        IdentityWires { role, status, org, epoch, key, hash }
    }

    /// A grant leaf.
    pub(super) fn grant(&mut self, name: &'static str, leaf: &GrantFields) -> GrantWires {
        let [grantee, rights, scope, not_after, uses, version] = self.hints(name, leaf.packed_fields());
        self.clause(Clause::C19, "packed field");
        let (grantee, rights, scope) = (self.range(grantee), self.range(rights), self.range(scope));
        let (not_after, uses, version) = (self.range(not_after), self.range(uses), self.range(version));
        let fields = [grantee.into(), rights.into(), scope.into(), not_after.into(), uses.into(), version.into()];
        let packed = self.pack(&layout::GRANT, fields);
        let salt = self.hint(name, leaf.salt);
        let hash = self.hash(Tag::Grant, &[packed.into(), salt]);
        GrantWires { grantee, rights, scope, not_after, uses, version, salt, packed, hash }
    }

    /// A record leaf.
    pub(super) fn record(&mut self, name: &'static str, leaf: &RecordFields) -> RecordWires {
        let [status, class, author, custodian, version, revision] = self.hints(name, leaf.packed_fields());
        self.clause(Clause::C19, "packed field");
        let (status, class, author) = (self.range(status), self.range(class), self.range(author));
        let (custodian, version, revision) = (self.range(custodian), self.range(version), self.range(revision));
        let fields = [status.into(), class.into(), author.into(), custodian.into(), version.into(), revision.into()];
        let packed = self.pack(&layout::RECORD, fields);
        let [authored, stored] = self.hints(name, [leaf.authored, leaf.stored]);
        let hash = self.hash(Tag::Record, &[packed.into(), authored, stored]);
        RecordWires { status, class, author, custodian, version, revision, authored, stored, packed, hash }
    }

    /// A medical leaf.
    pub(super) fn medical(&mut self, leaf: &MedicalLeaf) -> MedicalWires {
        let [grants_root, records_root] = self.hints("medical", [leaf.grants_root, leaf.records_root]);
        let [audit_head, key_directory] = self.hints("medical", [leaf.audit_head, leaf.key_directory]);
        MedicalWires { grants_root, records_root, audit_head, key_directory }
    }

    /// `H_2` of a medical leaf.
    pub(super) fn medical_hash(&mut self, leaf: &MedicalWires) -> Wire {
        self.hash(Tag::Medical, &[leaf.grants_root, leaf.records_root, leaf.audit_head, leaf.key_directory])
    }

    /// Constrains what an empty slot holds: if `counter` is 0, the packing and the opaque values are 0.
    ///
    /// Gives the leaf value, 0 for an empty slot, and the bit.
    pub(super) fn slot_value(
        &mut self,
        inverse: &'static str,
        counter: Ranged<{ layout::COUNTER }>,
        hash: Wire,
        contents: &[Wire],
    ) -> (Wire, Bit) {
        self.clause(Clause::C19, "an empty slot holds nothing");
        let empty = self.is_zero(inverse, counter);
        for wire in contents {
            self.assert_zero_if(empty, *wire);
        }
        (self.zero_if(empty, hash), empty)
    }
}

/// What the hints of a path are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathName {
    pub(super) bit: &'static str,
    pub(super) sibling: &'static str,
}

impl Builder {
    /// The path of a leaf at the low `depth` bits of a position, and the nodes on it.
    pub(super) fn path(
        &mut self,
        name: PathName,
        path: &Path,
        (position, leaf): (&Fr, Wire),
        depth: usize,
    ) -> (MerklePath, Nodes) {
        let bytes = crate::primitive::field::to_bytes(position);
        let turn = |i: usize| Fr::from(u64::from(bytes[31 - i / 8] >> (i % 8) & 1));
        let turns = (0..depth).map(|i| self.hint(name.bit, turn(i))).collect();
        let siblings = self.siblings(name.sibling, path, depth);
        self.first_climb(leaf, siblings, turns)
    }

    /// A path that turns as another does.
    pub(super) fn path_along(&mut self, sibling: &'static str, path: &Path, other: &MerklePath) -> MerklePath {
        let siblings = self.siblings(sibling, path, other.turns().len());
        other.with_siblings(siblings)
    }

    fn siblings(&mut self, name: &'static str, path: &Path, depth: usize) -> Vec<Wire> {
        let values = path.siblings().chain(std::iter::repeat(Fr::zero())).take(depth);
        values.map(|value| self.hint(name, value)).collect()
    }
}

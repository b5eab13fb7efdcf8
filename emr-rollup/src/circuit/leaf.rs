//! Leaves: their fields, packings and hashes.

use super::{
    builder::Wire,
    demand::{Content, Demand, Field, Leaf},
    gadget::{
        constrained::{Bit, Packed, Ranged},
        path::{MerklePath, Nodes},
    },
    scope::{Scope, Section},
};
use crate::{
    layout,
    primitive::{field::Fr, poseidon::Tag},
    state::{
        leaf::MedicalLeaf,
        tree::{ARITY, LEVEL_BITS, Path, levels},
    },
    statement::{GrantFields, IdentityFields, RecordFields},
};

/// An identity leaf. `hash` is `H_1` of the fields, even if the account is not registered.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdentityWires {
    pub(super) role: Ranged<{ layout::ROLE }>,
    pub(super) status: Ranged<{ layout::STATUS }>,
    pub(super) org: Ranged<{ layout::ACCOUNT }>,
    pub(super) epoch: Ranged<{ layout::EPOCH }>,
    pub(super) key: [Wire; 2],
    pub(super) encryption: Wire,
    pub(super) packed: Packed,
    pub(super) hash: Wire,
}

/// A grant leaf. `hash` is `H_3` of the fields, even if the slot is empty.
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

/// A record leaf. `hash` is `H_4` of the fields, even if the slot is empty.
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

impl Section<'_> {
    fn leaf_field<const BITS: u32>(&mut self, leaf: Leaf, field: Field, wire: Wire) -> Ranged<BITS> {
        self.under(Demand::LeafField(leaf, field)).range(wire)
    }

    /// An identity leaf.
    pub(super) fn identity(&mut self, leaf: Leaf, fields: &IdentityFields) -> IdentityWires {
        let [role, status, org, epoch] = self.hints(leaf.hint(), fields.packed_fields());
        let (role, status) = (self.leaf_field(leaf, Field::Role, role), self.leaf_field(leaf, Field::Status, status));
        let (org, epoch) = (self.leaf_field(leaf, Field::Org, org), self.leaf_field(leaf, Field::AccountEpoch, epoch));
        let key = self.hints(leaf.hint(), [fields.key_x, fields.key_y]);
        let encryption = self.hint(leaf.hint(), fields.encryption);
        let mut scope = self.under(Demand::LeafHash(leaf));
        let packed = scope.pack(&layout::IDENTITY, [role.into(), status.into(), org.into(), epoch.into()]);
        let hash = scope.hash(Tag::Identity, &[packed.into(), key[0], key[1], encryption]);
        IdentityWires { role, status, org, epoch, key, encryption, packed, hash }
    }

    /// A grant leaf.
    pub(super) fn grant(&mut self, leaf: Leaf, fields: &GrantFields) -> GrantWires {
        let [grantee, rights, scope, not_after, uses, version] = self.hints(leaf.hint(), fields.packed_fields());
        let grantee = self.leaf_field(leaf, Field::Grantee, grantee);
        let rights = self.leaf_field(leaf, Field::Rights, rights);
        let scope = self.leaf_field(leaf, Field::Scope, scope);
        let not_after = self.leaf_field(leaf, Field::NotAfter, not_after);
        let uses = self.leaf_field(leaf, Field::Uses, uses);
        let version = self.leaf_field(leaf, Field::Version, version);
        let salt = self.hint(leaf.hint(), fields.salt);
        let mut hashing = self.under(Demand::LeafHash(leaf));
        let fields = [grantee.into(), rights.into(), scope.into(), not_after.into(), uses.into(), version.into()];
        let packed = hashing.pack(&layout::GRANT, fields);
        let hash = hashing.hash(Tag::Grant, &[packed.into(), salt]);
        GrantWires { grantee, rights, scope, not_after, uses, version, salt, packed, hash }
    }

    /// A record leaf.
    pub(super) fn record(&mut self, leaf: Leaf, fields: &RecordFields) -> RecordWires {
        let [status, class, author, custodian, version, revision] = self.hints(leaf.hint(), fields.packed_fields());
        let status = self.leaf_field(leaf, Field::Status, status);
        let class = self.leaf_field(leaf, Field::Class, class);
        let author = self.leaf_field(leaf, Field::Author, author);
        let custodian = self.leaf_field(leaf, Field::Custodian, custodian);
        let version = self.leaf_field(leaf, Field::Version, version);
        let revision = self.leaf_field(leaf, Field::Revision, revision);
        let [authored, stored] = self.hints(leaf.hint(), [fields.authored, fields.stored]);
        let mut hashing = self.under(Demand::LeafHash(leaf));
        let fields = [status.into(), class.into(), author.into(), custodian.into(), version.into(), revision.into()];
        let packed = hashing.pack(&layout::RECORD, fields);
        let hash = hashing.hash(Tag::Record, &[packed.into(), authored, stored]);
        RecordWires { status, class, author, custodian, version, revision, authored, stored, packed, hash }
    }

    /// A medical leaf.
    pub(super) fn medical(&mut self, leaf: &MedicalLeaf) -> MedicalWires {
        let [grants_root, records_root] = self.hints("medical", [leaf.grants_root, leaf.records_root]);
        let [audit_head, key_directory] = self.hints("medical", [leaf.audit_head, leaf.key_directory.element()]);
        MedicalWires { grants_root, records_root, audit_head, key_directory }
    }

    /// Constrains an empty leaf to hold nothing: if `counter` is 0, the packing and the opaque values are 0. An account's
    /// counter is its epoch.
    ///
    /// Returns the leaf value, which is 0 for an empty leaf, and whether it is empty.
    pub(super) fn slot_value(
        &mut self,
        leaf: Leaf,
        counter: Ranged<{ layout::COUNTER }>,
        hash: Wire,
        contents: &[(Content, Wire)],
    ) -> (Wire, Bit) {
        let inverse = match leaf {
            Leaf::OldRecord | Leaf::NewRecord => "inverse for an empty record",
            Leaf::OldGrant | Leaf::NewGrant | Leaf::Authority => "inverse for an empty grant",
            Leaf::Account | Leaf::Signer | Leaf::Patient => "inverse for a fresh account",
        };
        let empty = self.under(Demand::SlotIsEmpty(leaf)).is_zero(inverse, counter);
        for (content, wire) in contents {
            self.under(Demand::EmptyHolds(leaf, *content)).assert_zero_if(empty, *wire);
        }
        (self.under(Demand::SlotIsEmpty(leaf)).zero_if(empty, hash), empty)
    }
}

impl Leaf {
    /// The name of the hints of this leaf's fields.
    const fn hint(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Signer => "signer",
            Self::Patient => "patient",
            Self::Authority => "authority",
            Self::OldGrant => "old grant",
            Self::NewGrant => "new grant",
            Self::OldRecord => "old record",
            Self::NewRecord => "new record",
        }
    }
}

/// The names of a path's hints.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathName {
    pub(super) turn: &'static str,
    pub(super) sibling: &'static str,
}

impl Scope<'_> {
    /// `H_2` of a medical leaf.
    pub(super) fn medical_hash(&mut self, leaf: &MedicalWires) -> Wire {
        self.hash(Tag::Medical, &[leaf.grants_root, leaf.records_root, leaf.audit_head, leaf.key_directory])
    }

    /// The path of a leaf at the low `depth` bits of a position, and the nodes on it.
    pub(super) fn path(
        &mut self,
        name: PathName,
        path: &Path,
        (position, leaf): (&Fr, Wire),
        depth: usize,
    ) -> (MerklePath, Nodes) {
        let position = crate::primitive::field::to_bytes(position);
        let turn = |level: usize| Fr::from(u64::from(position[31 - level / 4] >> (2 * (level % 4)) & 3));
        let turns = (0..levels(depth)).map(|level| self.hint(name.turn, turn(level))).collect();
        let siblings = self.siblings(name.sibling, path, depth);
        self.first_climb(leaf, siblings, turns)
    }

    /// A path with its own siblings, and with the turns of another path.
    pub(super) fn path_along(&mut self, sibling: &'static str, path: &Path, other: &MerklePath) -> MerklePath {
        let siblings = self.siblings(sibling, path, LEVEL_BITS * other.turns().len());
        other.with_siblings(siblings)
    }

    fn siblings(&mut self, name: &'static str, path: &Path, depth: usize) -> Vec<[Wire; ARITY - 1]> {
        let path = path.to_depth(depth);
        path.siblings().map(|siblings| siblings.map(|value| self.hint(name, value))).collect()
    }
}

//! Leaves: their fields, packings and hashes.

use super::builder::{Builder, Wire};
use crate::{
    layout,
    primitive::{field::Fr, poseidon::Tag},
    state::leaf::MedicalLeaf,
    statement::{Clause, GrantFields, IdentityFields, RecordFields},
};

/// An identity leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdentityWires {
    pub(super) role: Wire,
    pub(super) status: Wire,
    pub(super) org: Wire,
    pub(super) epoch: Wire,
    pub(super) key: [Wire; 2],
    pub(super) hash: Wire,
}

/// A grant leaf. `hash` is `H_3` of the fields, whether or not the slot is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrantWires {
    pub(super) grantee: Wire,
    pub(super) rights: Wire,
    pub(super) scope: Wire,
    pub(super) not_after: Wire,
    pub(super) uses: Wire,
    pub(super) version: Wire,
    pub(super) salt: Wire,
    pub(super) packed: Wire,
    pub(super) hash: Wire,
}

/// A record leaf. `hash` is `H_4` of the fields, whether or not the slot is empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordWires {
    pub(super) status: Wire,
    pub(super) class: Wire,
    pub(super) author: Wire,
    pub(super) custodian: Wire,
    pub(super) version: Wire,
    pub(super) revision: Wire,
    pub(super) authored: Wire,
    pub(super) stored: Wire,
    pub(super) packed: Wire,
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
    /// An identity leaf, its fields in range.
    pub(super) fn identity(&mut self, name: &'static str, leaf: &IdentityFields) -> IdentityWires {
        let fields = self.hints(name, leaf.packed_fields());
        let packed = self.pack_checked(&layout::IDENTITY, fields);
        let [role, status, org, epoch] = fields;
        let key = self.hints(name, [leaf.key_x, leaf.key_y]);
        let encryption = self.hint(name, leaf.encryption);
        let hash = self.hash(Tag::Identity, &[packed, key[0], key[1], encryption]);
        IdentityWires { role, status, org, epoch, key, hash }
    }

    /// A grant leaf, its fields in range.
    pub(super) fn grant(&mut self, name: &'static str, leaf: &GrantFields) -> GrantWires {
        let fields = self.hints(name, leaf.packed_fields());
        let packed = self.pack_checked(&layout::GRANT, fields);
        let [grantee, rights, scope, not_after, uses, version] = fields;
        let salt = self.hint(name, leaf.salt);
        let hash = self.hash(Tag::Grant, &[packed, salt]);
        GrantWires { grantee, rights, scope, not_after, uses, version, salt, packed, hash }
    }

    /// A record leaf, its fields in range.
    pub(super) fn record(&mut self, name: &'static str, leaf: &RecordFields) -> RecordWires {
        let fields = self.hints(name, leaf.packed_fields());
        let packed = self.pack_checked(&layout::RECORD, fields);
        let [status, class, author, custodian, version, revision] = fields;
        let [authored, stored] = self.hints(name, [leaf.authored, leaf.stored]);
        let hash = self.hash(Tag::Record, &[packed, authored, stored]);
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
        counter: Wire,
        hash: Wire,
        contents: &[Wire],
    ) -> (Wire, Wire) {
        self.clause(Clause::C19, "an empty slot holds nothing");
        let empty = self.is_zero(inverse, counter);
        for wire in contents {
            self.assert_product_zero(empty, *wire);
        }
        (self.and_not(hash, empty), empty)
    }
}

/// What the hints of a path are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathName {
    pub(super) bit: &'static str,
    pub(super) sibling: &'static str,
}

/// A Merkle path: siblings and directions, lowest first.
#[derive(Clone, Debug)]
pub(super) struct PathWires {
    pub(super) siblings: Vec<Wire>,
    pub(super) bits: Vec<Wire>,
}

impl PathWires {
    /// The root above a leaf.
    pub(super) fn root(&self, builder: &mut Builder, leaf: Wire) -> Wire {
        self.nodes(builder, leaf).last().copied().unwrap_or(leaf)
    }

    /// Every node above a leaf.
    pub(super) fn nodes(&self, builder: &mut Builder, leaf: Wire) -> Vec<Wire> {
        builder.climb(leaf, &self.siblings, &self.bits)
    }
}

impl Builder {
    /// A path of `depth` levels for the low bits of a position.
    pub(super) fn path(
        &mut self,
        name: PathName,
        path: &crate::state::tree::Path,
        position: &Fr,
        depth: usize,
    ) -> PathWires {
        let bits = self.bits(name.bit, position, depth);
        self.path_along(name.sibling, path, bits)
    }

    /// A path that turns as another does.
    pub(super) fn path_along(
        &mut self,
        sibling: &'static str,
        path: &crate::state::tree::Path,
        bits: Vec<Wire>,
    ) -> PathWires {
        let values = path.siblings().chain(std::iter::repeat(Fr::zero())).take(bits.len());
        let siblings = values.map(|value| self.hint(sibling, value)).collect();
        PathWires { siblings, bits }
    }

    /// Hints of the low bits of an element, least significant first. A path constrains them to be bits.
    fn bits(&mut self, name: &'static str, element: &Fr, count: usize) -> Vec<Wire> {
        let bytes = crate::primitive::field::to_bytes(element);
        (0..count).map(|i| self.hint(name, Fr::from(u64::from(bytes[31 - i / 8] >> (i % 8) & 1)))).collect()
    }
}

//! Leaves, headers and entries as raw field elements: packed fields, which may be out of range, and opaque values.

use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use super::{Clause, Violation};
use crate::{
    layout,
    primitive::{
        field::{self, Fr, hex_element},
        poseidon::{self, Tag},
    },
    state::leaf::{GrantLeaf, IdentityLeaf, LeafHash, MedicalLeaf, RecordLeaf, index_or_zero},
};

macro_rules! fields {
    ($(#[$meta:meta])* $name:ident: $layout:ident { $($(#[$fmeta:meta])* $field:ident,)+ } opaque { $($(#[$ometa:meta])* $opaque:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$fmeta])* #[serde(with = "hex_element")] pub $field: Fr,)+
            $($(#[$ometa])* #[serde(with = "hex_element")] pub $opaque: Fr,)*
        }

        impl $name {
            /// Widths of the packed fields in bits, in packing order.
            pub const WIDTHS: &'static [u32] = &layout::$layout.widths;

            /// The packed fields, in packing order.
            pub fn packed_fields(&self) -> [Fr; Self::WIDTHS.len()] {
                [$(self.$field),+]
            }

            /// The packing, whether or not the fields are in range.
            pub fn packed(&self) -> Fr {
                layout::$layout.pack_elements(self.packed_fields())
            }

            /// Checks every packed field's range (clause C19).
            pub(super) fn check_ranges(&self) -> Result<(), Violation> {
                let fits = self.packed_fields().iter().zip(Self::WIDTHS).all(|(field, width)| {
                    field::to_u64(field).is_some_and(|value| value >> width == 0)
                });
                super::require(fits, Clause::InRange, stringify!($name))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: Fr::ZERO,)+ $($opaque: Fr::ZERO,)* }
            }
        }
    };
}

fields!(
    /// An identity leaf.
    IdentityFields: IDENTITY {
        /// Role code.
        role,
        /// Status code.
        status,
        /// The organisation's account, or 0.
        org,
        /// Epoch.
        epoch,
    } opaque {
        /// The key's x coordinate.
        key_x,
        /// The key's y coordinate.
        key_y,
        /// Encryption key commitment.
        encryption,
    }
);

fields!(
    /// A grant leaf; all zeros for an empty slot.
    GrantFields: GRANT {
        /// Account, or 0.
        grantee,
        /// Mask of rights.
        rights,
        /// Mask of classes.
        scope,
        /// The last second at which the grant holds.
        not_after,
        /// Use count.
        uses,
        /// Version; 0 means that the slot is empty.
        version,
    } opaque {
        /// Salt.
        salt,
    }
);

fields!(
    /// A record leaf; all zeros for an empty slot.
    RecordFields: RECORD {
        /// Status code.
        status,
        /// Class code.
        class,
        /// Author's account.
        author,
        /// Custodian's account, or 0.
        custodian,
        /// Version.
        version,
        /// Revision; 0 means that the slot is empty.
        revision,
    } opaque {
        /// Hash of the authorship.
        authored,
        /// Storage commitment.
        stored,
    }
);

fields!(
    /// The header of a signed message; all zeros for an unused L2 slot.
    Header: HEADER {
        /// Kind code.
        kind,
        /// Signer's account.
        signer,
        /// Signer's epoch.
        signer_epoch,
        /// Patient's account.
        patient,
        /// Patient's epoch.
        patient_epoch,
        /// Tree code.
        tree,
        /// Slot.
        slot,
        /// Expected counter.
        expected,
        /// Purpose byte.
        purpose,
        /// The last batch time at which the operation may take effect.
        valid_until,
    } opaque {}
);

fields!(
    /// An entry of the L1 queue; all zeros for an unused L1 slot.
    EntryFields: L1_ENTRY {
        /// Kind code.
        kind,
        /// Account.
        account,
        /// Role code.
        role,
        /// Status code.
        status,
        /// The organisation's account, or 0.
        org,
        /// Tree code.
        tree,
        /// Slot.
        slot,
        /// Whether `opaque` replaces the key directory.
        replace_directory,
    } opaque {
        /// The key's x coordinate.
        key_x,
        /// The key's y coordinate.
        key_y,
        /// Encryption key commitment, or the commitment to a key directory.
        opaque,
    }
);

impl IdentityFields {
    /// Whether the account was never registered. Only the statement for L1 operations reads such accounts.
    pub fn is_empty(&self) -> bool {
        self.epoch == Fr::ZERO
    }

    /// The leaf value of a registered account.
    pub fn hash(&self) -> LeafHash {
        poseidon::hash(Tag::Identity, &[self.packed(), self.key_x, self.key_y, self.encryption]).into()
    }
}

impl GrantFields {
    /// Whether the slot was never written.
    pub fn is_empty(&self) -> bool {
        self.version == Fr::ZERO
    }

    /// The leaf value: 0 for an empty slot.
    pub fn hash(&self) -> LeafHash {
        if self.is_empty() {
            return LeafHash::EMPTY;
        }
        poseidon::hash(Tag::Grant, &[self.packed(), self.salt]).into()
    }
}

impl RecordFields {
    /// Whether the slot was never written.
    pub fn is_empty(&self) -> bool {
        self.revision == Fr::ZERO
    }

    /// The leaf value: 0 for an empty slot.
    pub fn hash(&self) -> LeafHash {
        if self.is_empty() {
            return LeafHash::EMPTY;
        }
        poseidon::hash(Tag::Record, &[self.packed(), self.authored, self.stored]).into()
    }
}

impl EntryFields {
    /// The entry of D1.
    pub fn entry(&self) -> crate::batch::D1Entry {
        crate::batch::D1Entry { packed: self.packed(), key_x: self.key_x, key_y: self.key_y, opaque: self.opaque }
    }
}

/// A medical leaf: the four roots need no range.
pub type MedicalFields = MedicalLeaf;

impl From<&IdentityLeaf> for IdentityFields {
    fn from(leaf: &IdentityLeaf) -> Self {
        Self {
            role: u64::from(leaf.role.code()).into(),
            status: u64::from(leaf.status.code()).into(),
            org: index_or_zero(leaf.org).into(),
            epoch: leaf.epoch.get().into(),
            key_x: leaf.key.x(),
            key_y: leaf.key.y(),
            encryption: leaf.encryption,
        }
    }
}

impl From<&GrantLeaf> for GrantFields {
    fn from(leaf: &GrantLeaf) -> Self {
        Self {
            grantee: index_or_zero(leaf.grantee).into(),
            rights: u64::from(leaf.rights.bits()).into(),
            scope: u64::from(leaf.scope.bits()).into(),
            not_after: leaf.not_after.get().into(),
            uses: leaf.uses.get().into(),
            version: leaf.version.get().into(),
            salt: leaf.salt,
        }
    }
}

impl From<&RecordLeaf> for RecordFields {
    fn from(leaf: &RecordLeaf) -> Self {
        Self {
            status: u64::from(leaf.status.code()).into(),
            class: u64::from(leaf.class.code()).into(),
            author: leaf.author.get().into(),
            custodian: index_or_zero(leaf.custodian).into(),
            version: leaf.version.get().into(),
            revision: leaf.revision.get().into(),
            authored: leaf.authored,
            stored: leaf.stored,
        }
    }
}

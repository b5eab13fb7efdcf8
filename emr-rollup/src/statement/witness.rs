//! The witness: raw field elements, as the circuit assigns them.

use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use super::{Clause, Violation};
use crate::{
    layout,
    operation::{Body, SignedOperation},
    primitive::{
        field::{self, Fr, hex_element},
        poseidon::{self, Tag},
    },
    state::{
        leaf::{GrantLeaf, IdentityLeaf, MedicalLeaf, RecordLeaf, index_or_zero},
        tree::Path,
    },
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
        /// Key abscissa.
        key_x,
        /// Key ordinate.
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
        /// Mask.
        rights,
        /// Mask of classes.
        scope,
        /// Last second.
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
        /// Statement commitment.
        authored,
        /// Storage commitment.
        stored,
    }
);

fields!(
    /// The header of a signed message; all zeros for padding.
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
        /// Last batch time.
        valid_until,
    } opaque {}
);

fields!(
    /// An entry of the L1 queue; all zeros for an unused slot.
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
        /// Key abscissa.
        key_x,
        /// Key ordinate.
        key_y,
        /// Encryption key commitment, or a key directory.
        opaque,
    }
);

impl IdentityFields {
    /// The leaf value.
    pub fn hash(&self) -> Fr {
        poseidon::hash(Tag::Identity, &[self.packed(), self.key_x, self.key_y, self.encryption])
    }
}

impl GrantFields {
    /// Whether the slot was never written.
    pub fn is_empty(&self) -> bool {
        self.version == Fr::ZERO
    }

    /// The leaf value: 0 for an empty slot.
    pub fn hash(&self) -> Fr {
        if self.is_empty() { Fr::ZERO } else { poseidon::hash(Tag::Grant, &[self.packed(), self.salt]) }
    }
}

impl RecordFields {
    /// Whether the slot was never written.
    pub fn is_empty(&self) -> bool {
        self.revision == Fr::ZERO
    }

    /// The leaf value: 0 for an empty slot.
    pub fn hash(&self) -> Fr {
        if self.is_empty() {
            Fr::ZERO
        } else {
            poseidon::hash(Tag::Record, &[self.packed(), self.authored, self.stored])
        }
    }
}

impl EntryFields {
    /// The four words of D1.
    pub fn words(&self) -> crate::batch::Words {
        [self.packed(), self.key_x, self.key_y, self.opaque]
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

/// A signed message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The header's fields.
    pub header: Header,
    /// `new_packed`.
    #[serde(with = "hex_element")]
    pub new_packed: Fr,
    /// `opaque_1`.
    #[serde(with = "hex_element")]
    pub opaque_1: Fr,
    /// `opaque_2`.
    #[serde(with = "hex_element")]
    pub opaque_2: Fr,
    /// `directory_before`.
    #[serde(with = "hex_element")]
    pub directory_before: Fr,
    /// `directory_after`.
    #[serde(with = "hex_element")]
    pub directory_after: Fr,
    /// Salt of the audit entry.
    #[serde(with = "hex_element")]
    pub salt: Fr,
}

impl Message {
    /// The element that is signed.
    pub fn hash(&self, domain: Fr) -> Fr {
        poseidon::hash(
            Tag::Message,
            &[
                domain,
                self.header.packed(),
                self.new_packed,
                self.opaque_1,
                self.opaque_2,
                self.directory_before,
                self.directory_after,
                self.salt,
            ],
        )
    }
}

impl From<&SignedOperation> for Message {
    fn from(signed: &SignedOperation) -> Self {
        let operation = &signed.operation;
        let target = operation.action.target();
        let Body { new_packed, opaque_1, opaque_2, directory_before, directory_after } = operation.action.body();
        let header = Header {
            kind: u64::from(operation.action.kind().code()).into(),
            signer: operation.signer.get().into(),
            signer_epoch: operation.signer_epoch.get().into(),
            patient: operation.patient.get().into(),
            patient_epoch: operation.patient_epoch.get().into(),
            tree: (target.tree() as u64).into(),
            slot: target.slot().into(),
            expected: operation.action.expected().into(),
            purpose: operation.action.purpose().map_or(0, |purpose| u64::from(purpose.code())).into(),
            valid_until: operation.valid_until.get().into(),
        };
        Self { header, new_packed, opaque_1, opaque_2, directory_before, directory_after, salt: operation.salt }
    }
}

/// A signature, canonical or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureFields {
    /// Abscissa of R.
    #[serde(with = "hex_element")]
    pub r_x: Fr,
    /// Ordinate of R.
    #[serde(with = "hex_element")]
    pub r_y: Fr,
    /// S as an integer below p.
    #[serde(with = "hex_element")]
    pub s: Fr,
}

impl From<&SignedOperation> for SignatureFields {
    fn from(signed: &SignedOperation) -> Self {
        let signature = &signed.signature.0;
        Self { r_x: signature.r.x(), r_y: signature.r.y(), s: field::reduce(&signature.s.to_bytes()) }
    }
}

/// One L2 operation with everything it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationWitness {
    /// What was signed.
    pub message: Message,
    /// The signature.
    pub signature: SignatureFields,
    /// The signer's identity.
    pub signer: IdentityFields,
    /// Its path in the identity tree.
    pub signer_path: Path,
    /// The patient's identity.
    pub patient: IdentityFields,
    /// Its path in the identity tree.
    pub patient_path: Path,
    /// The patient's medical leaf before.
    pub medical: MedicalFields,
    /// Its path in the medical tree.
    pub medical_path: Path,
    /// Slot of the grant that allows a doctor to write; 0 where none is needed.
    #[serde(with = "hex_element")]
    pub authority_slot: Fr,
    /// That grant; zeros where none is needed.
    pub authority: GrantFields,
    /// Its path in the grants tree; zeros where none is needed.
    pub authority_path: Path,
    /// The target before, if it is a grant; else zeros.
    pub old_grant: GrantFields,
    /// The target after, if it is a grant; else zeros.
    pub new_grant: GrantFields,
    /// The target before, if it is a record; else zeros.
    pub old_record: RecordFields,
    /// The target after, if it is a record; else zeros.
    pub new_record: RecordFields,
    /// The target's path: of the records tree's depth, zeros above the root of the grants tree.
    pub target_path: Path,
}

/// One L1 operation with everything it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationWitness {
    /// The entry, as queued.
    pub entry: EntryFields,
    /// The identity leaf value before.
    #[serde(with = "hex_element")]
    pub old_identity: Fr,
    /// Its path.
    pub identity_path: Path,
    /// The medical leaf value before.
    #[serde(with = "hex_element")]
    pub old_medical: Fr,
    /// Its path.
    pub medical_path: Path,
}

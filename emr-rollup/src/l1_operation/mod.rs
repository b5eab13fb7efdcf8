//! Operations that come through the queue on L1. They have no rollup signature, because the contract checked them. They are total: an entry
//! that cannot take effect is consumed and changes nothing. Each kind has one file with its data, its row in the table of rules, its fields in
//! D1, and the leaf that it writes.

mod register;
mod rule;

use emr_core::AccountIndex;

pub use self::{
    register::Register,
    rule::{AccountRule, IdentityRule, L1Rule, MedicalRule},
};
use crate::{
    batch::D1Entry, layout, operation::Kind, primitive::eddsa::SignatureError, state::leaf::IdentityLeaf,
    statement::EntryFields,
};

/// Why an entry is not an L1 operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// No kind of L1 operation has this code.
    #[error("the entry has the kind {0}, which no L1 operation has")]
    Kind(u64),
    /// A field has a value that the contract never queues.
    #[error("the packed fields are not those of a {0}")]
    Fields(Kind),
    /// The key is not a valid public key.
    #[error(transparent)]
    Key(#[from] SignatureError),
}

/// Makes [`L1Operation`] and its dispatch from the list of kinds.
macro_rules! l1_operations {
    ($($(#[$meta:meta])* $kind:ident,)+) => {
        /// An entry of the L1 queue.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum L1Operation {
            $($(#[$meta])* $kind($kind),)+
        }

        impl L1Operation {
            /// The operation's kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// The rules of this kind.
            pub const fn rule(&self) -> &'static L1Rule {
                match self {
                    $(Self::$kind(_) => &$kind::RULE,)+
                }
            }

            fn queued(&self) -> &dyn Queued {
                match self {
                    $(Self::$kind(operation) => operation,)+
                }
            }

            fn decode(entry: &D1Entry) -> Result<Self, EntryError> {
                let fields = layout::L1_ENTRY.unpack(&entry.packed).ok_or(EntryError::Kind(u64::MAX))?;
                match fields[0] {
                    $(code if code == Kind::$kind.code() as u64 => $kind::decode(fields, entry).map(Self::$kind),)+
                    code => Err(EntryError::Kind(code)),
                }
            }
        }

        $(impl From<$kind> for L1Operation {
            fn from(operation: $kind) -> Self {
                Self::$kind(operation)
            }
        })+
    };
}

l1_operations! {
    /// Admits an account.
    Register,
}

/// What every kind of L1 operation provides.
trait Queued {
    fn account(&self) -> AccountIndex;
    fn fields(&self) -> EntryFields;
    fn identity(&self) -> IdentityLeaf;
}

impl L1Operation {
    /// The account that the entry changes.
    pub fn account(&self) -> AccountIndex {
        self.queued().account()
    }

    /// The entry's fields.
    pub fn fields(&self) -> EntryFields {
        self.queued().fields()
    }

    /// The operation's entry of D1.
    pub fn entry(&self) -> D1Entry {
        self.fields().entry()
    }

    /// The identity leaf after the operation, if it takes effect.
    pub fn identity(&self) -> IdentityLeaf {
        self.queued().identity()
    }

    /// Reads an entry of D1.
    ///
    /// # Errors
    /// [`EntryError`] if the contract would not queue this entry for any kind.
    pub fn from_entry(entry: &D1Entry) -> Result<Self, EntryError> {
        let operation = Self::decode(entry)?;
        if operation.entry() == *entry { Ok(operation) } else { Err(EntryError::Fields(operation.kind())) }
    }
}

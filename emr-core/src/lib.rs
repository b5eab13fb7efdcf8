#![doc = include_str!("../README.md")]

mod address;
mod authorship;
pub mod cid;
mod class;
pub mod codec;
pub mod commitment;
pub mod conformance;
#[cfg(feature = "dicom")]
pub mod dicom;
pub mod diff;
mod excerpt;
pub mod fhir;
mod kem_hash;
mod key;
pub mod key_pattern;
mod opaque;
mod original;
mod quantity;
mod record;
mod standing;
mod state_root;
mod value;

pub use address::{AddressError, HttpAddress, Origin, PlainHttp};
pub use authorship::{Authorship, AuthorshipError};
pub use cid::{Cid, Codec};
pub use class::{Class, ClassMask, UnknownName};
pub use codec::CodecError;
pub use commitment::{Commitment, CommitmentRoot, Disclosure, SaltSeed};
pub use excerpt::{excerpt, is_harmless, on_one_line};
pub use kem_hash::{KemHash, NotKemHash};
pub use key::{Key, KeyError};
pub use key_pattern::KeyPattern;
pub use opaque::{NotOpaque, Opaque};
pub use original::{BadCuts, Cut, OriginalDocument};
pub use quantity::{AccountEpoch, AccountIndex, GrantSlot, OutOfRange, RecordSlot, Revision, UnixTime, Uses, Version};
pub use record::{Record, RecordError};
pub use standing::{AccountStatus, Purpose, Reason, RecordStatus, Rights, Role};
pub use state_root::{NotStateRoot, StateRoot};
pub use value::{Attachment, Code, DateTime, Decimal, Quantity, Value, ValueError};

#![doc = include_str!("../README.md")]

mod class;
mod quantity;
mod standing;

pub use class::{Class, ClassMask, UnknownName};
pub use quantity::{AccountEpoch, AccountIndex, GrantSlot, OutOfRange, RecordSlot, Revision, UnixTime, Uses, Version};
pub use standing::{AccountStatus, Purpose, Reason, RecordStatus, Rights, Role};

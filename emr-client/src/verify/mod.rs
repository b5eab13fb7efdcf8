//! What a participant checks. These functions are pure: bytes in, typed result out, no I/O. Only [`settled_state`] also
//! reads from L1 what it proves.

pub mod attached;
pub mod audit;
pub mod card;
pub mod delegated;
pub mod deployment;
pub mod directory;
pub mod disclosed;
pub mod emergency;
pub mod history;
pub mod light;
pub mod membership;
pub mod record;
pub mod settled_state;

//! Reads and writes Ethereum.

pub(crate) mod clock;
pub(crate) mod follow;
pub(crate) mod lock;
pub(crate) mod read;
pub(crate) mod settle;

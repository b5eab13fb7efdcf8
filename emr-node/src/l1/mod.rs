//! Ethereum, as the node sees and uses it.

pub(crate) mod clock;
pub(crate) mod follow;
pub(crate) mod lock;
pub(crate) mod settle;

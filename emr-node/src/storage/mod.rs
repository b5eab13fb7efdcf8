//! What the block store keeps, for how long, and which account is charged for it.

mod in_use;
mod notes;
pub(crate) mod quota;
mod space;
pub(crate) mod staging;
mod sweep;
mod sweep_time;
#[cfg(test)]
mod tests;

pub(crate) use in_use::{InUse, Use};
pub(crate) use notes::Notes;
pub(crate) use space::Space;
pub(crate) use sweep::run;
pub(crate) use sweep_time::SweepTime;

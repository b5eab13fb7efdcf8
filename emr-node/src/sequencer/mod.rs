//! What a sequencer does: it accepts operations, puts them in order, and seals them into batches.

#[cfg(test)]
mod hostile;
mod lost_directories;
mod order;
mod place;
mod promise;
mod replacements;
mod seal;
mod take;
mod walks;

pub(crate) use replacements::Replacements;
pub(crate) use seal::{BEFORE_NOW, SealError};
pub(crate) use walks::Walks;

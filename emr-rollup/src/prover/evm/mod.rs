//! The key of the EVM verifier.

mod graph;
mod opening;
mod plonk;
mod program;
mod regroup;
mod schedule;

pub(super) mod image;

//! The key of the verifier contract. `plonk` and `opening` write the equations of a proof as a `graph`, `regroup` makes
//! them cheaper, `program` and `schedule` choose instructions and their order, `image` writes the bytes.

mod graph;
mod opening;
mod plonk;
mod program;
mod regroup;
mod schedule;

pub(super) mod image;

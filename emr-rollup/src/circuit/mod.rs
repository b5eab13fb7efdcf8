//! The statement as a halo2 circuit.
//!
//! `config` has columns and gates; `builder` fills a table from gadgets that know wires only, `hints` is where values that no
//! gate computes come in. `scope` says what rows are for: gadgets are methods of a scope, and a scope is opened for one `demand`, which
//! has a clause. `gadget` is arithmetic without meaning. On it stand the meanings: `leaf`, `message`, `authority`, `target`, and the
//! L1 and L2 slots, `entry` and `operation`. `batch` puts them together.

mod authority;
mod batch;
mod builder;
mod config;
mod demand;
mod diagnosis;
mod entry;
mod gadget;
mod hints;
mod leaf;
#[cfg(test)]
mod lies;
mod message;
mod operation;
mod origin;
mod scope;
mod table;
mod target;

pub use batch::BatchCircuit;
pub use config::Config;
pub use demand::{
    AccountTree, Axis, Content, Covered, Demand, Field, Half, Leaf, Moment, Party, PublicInput, RightBit, Scalar,
};
pub use diagnosis::{Diagnosis, Failure};
pub use origin::{Origin, Part};
pub use table::CellId;

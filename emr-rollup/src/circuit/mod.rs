//! The statement as a halo2 circuit.
//!
//! - `config`: columns, selectors and gates.
//! - `builder`: fills the table. `hints`: the values that no gate computes come in here.
//! - `scope`: the purpose of rows. Gadgets are methods of a scope. A scope is opened for one `demand`, and a demand
//!   belongs to a clause.
//! - `gadget`: arithmetic without meaning. Gadgets place wires in rows. Everything below works on wires only.
//! - `leaf`, `message`, `authority`, `delegate`, `target`: the parts of an operation.
//! - `entry`: one L1 slot. `operation`: one L2 slot. `batch`: all slots, the data and the public inputs.

mod authority;
mod batch;
mod builder;
mod config;
mod delegate;
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
    Axis, Content, Covered, Demand, EntryTree, Field, Half, Leaf, Moment, Party, PublicInput, RightBit, Scalar,
};
pub use diagnosis::{Diagnosis, Failure};
pub use origin::{Origin, Part};
pub use table::CellId;

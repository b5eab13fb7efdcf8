//! What circuits are made of, without any meaning for medical records: arithmetic, bits, ranges, packings, paths, and the three large
//! ones, Poseidon (with its round schedule and queued hashes), Baby Jubjub and EdDSA. `constrained` has the types of wires that are
//! constrained to be bits or in range; only gadgets make them.

pub(in crate::circuit) mod arithmetic;
pub(in crate::circuit) mod bit;
pub(in crate::circuit) mod constrained;
pub(in crate::circuit) mod eddsa;
pub(in crate::circuit) mod generic;
pub(in crate::circuit) mod hashing;
pub(in crate::circuit) mod jubjub;
pub(in crate::circuit) mod one_hot;
pub(in crate::circuit) mod packing;
pub(in crate::circuit) mod path;
pub(in crate::circuit) mod poseidon;
pub(in crate::circuit) mod range;
pub(in crate::circuit) mod schedule;

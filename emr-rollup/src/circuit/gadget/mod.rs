//! The building blocks of the circuit, without any meaning for medical records: arithmetic, bits, ranges, packings,
//! paths, and three large gadgets: Poseidon (with queued hashes), Baby Jubjub and EdDSA.
//! `constrained` has the types of wires that are constrained to be bits or in range. Only gadgets make them.

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

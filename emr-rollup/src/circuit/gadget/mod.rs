//! What circuits are made of, without any meaning for medical records: arithmetic, ranges, packings, and the three large ones,
//! Poseidon (with its round schedule and queued hashes), Baby Jubjub and EdDSA.

pub(in crate::circuit) mod arithmetic;
pub(in crate::circuit) mod eddsa;
pub(in crate::circuit) mod hashing;
pub(in crate::circuit) mod jubjub;
pub(in crate::circuit) mod packing;
pub(in crate::circuit) mod poseidon;
pub(in crate::circuit) mod range;
pub(in crate::circuit) mod schedule;

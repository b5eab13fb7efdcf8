//! Keys, proofs and their verification: halo2 with KZG on BN254 (SHPLONK openings, Keccak transcript), so that the EVM can
//! verify.

mod cache;
mod evm;
mod import;
mod keys;
#[cfg(feature = "testing")]
mod peer;
mod plonk;
mod prove;
mod provers;
mod ptau;
mod setup;
mod solidity;
mod verify;

pub use import::{ImportError, Imported};
pub use keys::{KeyDigest, default_cache};
#[cfg(feature = "testing")]
pub use peer::Halo2Axiom;
pub use plonk::KeyError;
pub use prove::{Prover, ProverError, Stage};
pub use provers::Provers;
pub use ptau::{Ceremony, Hash512, ImportStep, NotAHash, PointFault, PtauError};
pub use setup::{Provenance, Setup};
pub use solidity::calldata;
pub use verify::{Verifier, VerifyError};

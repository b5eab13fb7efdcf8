//! The statement for a whole batch: L1 operations, then L2 operations. Each is checked under the roots that the one
//! before gave.

use serde::{Deserialize, Serialize};

use super::{Clause, Context, EntryWitness, OperationWitness, Violation, check_entry, check_operation, require};
use crate::{
    batch::{BatchData, PublicInputs},
    primitive::field::{Fr, hex_element},
    state::state_root,
    version::CircuitVersion,
};

/// Everything that a prover needs of a batch. It is secret, because it tells who did what to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchWitness {
    /// The circuit version.
    pub version: CircuitVersion,
    /// The identity root before the batch.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root before the batch.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
    /// The L1 operations.
    pub entries: Vec<EntryWitness>,
    /// The L2 operations, without unused slots.
    pub operations: Vec<OperationWitness>,
}

/// Checks a batch against its public inputs.
///
/// This checks everything that the circuit proves. The contract checks that `z` is the right challenge.
///
/// # Errors
/// [`Violation`] with the first clause that the batch breaks.
pub fn check_batch(witness: &BatchWitness, public: &PublicInputs) -> Result<(), Violation> {
    let version = &witness.version;
    require(
        witness.entries.len() <= version.max_l1 && witness.operations.len() <= version.max_l2,
        Clause::PublicInputs,
        "more operations than L1 or L2 slots",
    )?;
    require(public.n1 == witness.entries.len() as u64, Clause::L1AsQueued, "n1")?;
    require(public.n == witness.operations.len() as u64, Clause::PublicInputs, "n")?;
    let (mut identity_root, mut medical_root) = (witness.identity_root, witness.medical_root);
    require(state_root(identity_root, medical_root) == public.pre, Clause::RootsChain, "pre root")?;
    let mut data = BatchData::default();
    for entry in &witness.entries {
        let effect = check_entry(version, public.time, (identity_root, medical_root), entry)?;
        (identity_root, medical_root) = (effect.identity_root, effect.medical_root);
        data.d1.push(effect.d1);
    }
    let context = Context { version: *version, domain: public.domain.element(), time: public.time, identity_root };
    for operation in &witness.operations {
        let effect = check_operation(&context, medical_root, operation)?;
        medical_root = effect.medical_root;
        data.d2.push(effect.d2);
    }
    require(state_root(identity_root, medical_root) == public.post, Clause::RootsChain, "post root")?;
    require(data.commitment(version) == public.commitment, Clause::DataCommitment, "commitment")?;
    require(data.y1(public.z) == public.y1, Clause::PublicInputs, "y1")?;
    require(data.y2(public.z) == public.y2, Clause::PublicInputs, "y2")
}

//! A batch's life: `Batch<Open>` takes operations, `Batch<Sealed>` has its public inputs, `Batch<Proven>` has its proof.

use emr_core::UnixTime;

use crate::{
    l1_operation::L1Operation,
    operation::SignedOperation,
    state::{
        ledger::{Executed, Ledger},
        state_root,
    },
    statement::{BatchWitness, Violation},
};

mod data;
mod entry;
mod public_inputs;

pub use data::BatchData;
pub use entry::{D1Entry, D2Entry};
pub use public_inputs::PublicInputs;

/// Turns a sealed batch into a proof.
pub trait Prover {
    /// Why no proof came of it.
    type Error;

    /// Proves the statement for a witness and its public inputs.
    ///
    /// # Errors
    /// Implementations say.
    fn prove(&self, witness: &BatchWitness, public: &PublicInputs) -> Result<Vec<u8>, Self::Error>;
}

/// A batch cannot take another operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// All slots are used.
    #[error("the batch is full")]
    Full,
    /// The operation breaks a clause.
    #[error(transparent)]
    Refused(#[from] Violation),
}

/// Takes operations.
#[derive(Debug)]
pub struct Open {
    ledger: Ledger,
    witness: BatchWitness,
}

/// Waits for a proof.
#[derive(Debug)]
pub struct Sealed {
    public: PublicInputs,
    witness: BatchWitness,
}

/// May be settled.
#[derive(Debug)]
pub struct Proven {
    public: PublicInputs,
    proof: Vec<u8>,
}

/// A batch in one of its stages.
#[derive(Debug)]
pub struct Batch<Stage> {
    number: u64,
    time: UnixTime,
    data: BatchData,
    stage: Stage,
}

impl<Stage> Batch<Stage> {
    /// Its number on L1; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its time.
    pub fn time(&self) -> UnixTime {
        self.time
    }

    /// Its data.
    pub fn data(&self) -> &BatchData {
        &self.data
    }
}

impl Batch<Open> {
    /// Opens a batch on a state.
    pub fn open(ledger: Ledger, number: u64, time: UnixTime) -> Self {
        let witness = BatchWitness {
            version: *ledger.trees().version(),
            identity_root: ledger.trees().identity_root(),
            medical_root: ledger.trees().medical_root(),
            entries: Vec::new(),
            operations: Vec::new(),
        };
        Self { number, time, data: BatchData::default(), stage: Open { ledger, witness } }
    }

    /// Takes the next entry of the L1 queue. L1 operations come before all others.
    ///
    /// # Errors
    /// [`PushError::Full`] without a free L1 slot or after the first L2 operation.
    pub fn push_l1(&mut self, operation: &L1Operation) -> Result<(), PushError> {
        let Open { ledger, witness } = &mut self.stage;
        if witness.entries.len() == witness.version.max_l1 || !witness.operations.is_empty() {
            return Err(PushError::Full);
        }
        witness.entries.push(ledger.consume(operation)?);
        self.data.d1.push(operation.entry());
        Ok(())
    }

    /// Executes and takes an operation.
    ///
    /// # Errors
    /// [`PushError`]; the batch is then as it was.
    pub fn push(&mut self, operation: &SignedOperation) -> Result<(), PushError> {
        let Open { ledger, witness } = &mut self.stage;
        if witness.operations.len() == witness.version.max_l2 {
            return Err(PushError::Full);
        }
        let Executed { witness: slot, d2, .. } = ledger.execute(operation, self.time)?;
        witness.operations.push(slot);
        self.data.d2.push(d2);
        Ok(())
    }

    /// How many operations it holds, of both kinds.
    pub fn len(&self) -> usize {
        self.data.d1.len() + self.data.d2.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the batch; also gives the state after it.
    pub fn seal(self) -> (Batch<Sealed>, Ledger) {
        let Self { number, time, data, stage: Open { ledger, witness } } = self;
        let pre = state_root(witness.identity_root, witness.medical_root);
        let roots = (pre, ledger.trees().root());
        let public = PublicInputs::derive(&witness.version, ledger.domain(), number, roots, time.get(), &data);
        (Batch { number, time, data, stage: Sealed { public, witness } }, ledger)
    }
}

impl Batch<Sealed> {
    /// The values that the proof will be verified against.
    pub fn public(&self) -> &PublicInputs {
        &self.stage.public
    }

    /// What a prover needs.
    pub fn witness(&self) -> &BatchWitness {
        &self.stage.witness
    }

    /// Takes a proof made elsewhere. Whoever takes it verifies it.
    pub fn with_proof(self, proof: Vec<u8>) -> Batch<Proven> {
        let Self { number, time, data, stage: Sealed { public, .. } } = self;
        Batch { number, time, data, stage: Proven { public, proof } }
    }

    /// Proves it.
    ///
    /// # Errors
    /// Those of the prover, with the batch to try again.
    pub fn prove<P: Prover>(self, prover: &P) -> Result<Batch<Proven>, (Box<Self>, P::Error)> {
        match prover.prove(self.witness(), self.public()) {
            Ok(proof) => Ok(self.with_proof(proof)),
            Err(error) => Err((Box::new(self), error)),
        }
    }
}

impl Batch<Proven> {
    /// The values that the proof is verified against.
    pub fn public(&self) -> &PublicInputs {
        &self.stage.public
    }

    /// The proof.
    pub fn proof(&self) -> &[u8] {
        &self.stage.proof
    }
}

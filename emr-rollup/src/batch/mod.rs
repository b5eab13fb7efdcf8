//! The stages of a batch: `Batch<Open>` takes operations, `Batch<Sealed>` has its public inputs, `Batch<Proven>` has
//! its proof.

use emr_core::UnixTime;

use crate::{
    l1_operation::L1Operation,
    operation::SignedOperation,
    state::{
        ledger::{Executed, Ledger},
        state_root,
    },
    statement::{BatchWitness, Violation},
    version::{CircuitSizes, CircuitVersion},
};

mod data;
mod entry;
mod public_inputs;

pub use data::BatchData;
pub use entry::{D1Entry, D2Entry};
pub use public_inputs::PublicInputs;

/// Makes the proof of a sealed batch.
pub trait Prover {
    /// Why no proof was made.
    type Error;

    /// Proves the statement for a witness and its public inputs.
    ///
    /// # Errors
    /// Each implementation defines its errors.
    fn prove(&self, witness: &BatchWitness, public: &PublicInputs) -> Result<Vec<u8>, Self::Error>;
}

/// Why a batch does not take an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// No size has another slot for it.
    #[error("the batch is full")]
    Full,
    /// The operation breaks a clause.
    #[error(transparent)]
    Refused(#[from] Violation),
}

/// The stage in which a batch takes operations.
#[derive(Debug)]
pub struct Open {
    ledger: Ledger,
    sizes: CircuitSizes,
    witness: BatchWitness,
}

/// The stage in which a batch waits for its proof.
#[derive(Debug)]
pub struct Sealed {
    public: PublicInputs,
    witness: BatchWitness,
}

/// The stage in which a batch can be settled.
#[derive(Debug)]
pub struct Proven {
    size: CircuitVersion,
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
    /// The batch's number on L1. The first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The batch's time.
    pub fn time(&self) -> UnixTime {
        self.time
    }

    /// The batch's data.
    pub fn data(&self) -> &BatchData {
        &self.data
    }
}

impl Batch<Open> {
    /// Opens a batch on a state. It is proved in the size of the ledger's version, if no others are given.
    pub fn open(ledger: Ledger, number: u64, time: UnixTime) -> Self {
        let witness = BatchWitness {
            version: *ledger.trees().version(),
            identity_root: ledger.trees().identity_root(),
            medical_root: ledger.trees().medical_root(),
            entries: Vec::new(),
            operations: Vec::new(),
        };
        let sizes = CircuitSizes::from(witness.version);
        Self { number, time, data: BatchData::default(), stage: Open { ledger, sizes, witness } }
    }

    /// The sizes in which the batch can be proved, of which it takes the smallest.
    ///
    /// # Panics
    /// If they are of another circuit version than the ledger.
    #[must_use]
    pub fn in_sizes(mut self, sizes: CircuitSizes) -> Self {
        assert!(sizes.any().proves_the_same_as(&self.stage.witness.version), "sizes of another circuit version");
        self.stage.sizes = sizes;
        self
    }

    /// Whether a size holds one more L1 or L2 operation, as this says.
    fn has_room(&self, (l1, l2): (usize, usize)) -> bool {
        self.stage.sizes.smallest_for(self.data.d1.len() + l1, self.data.d2.len() + l2).is_some()
    }

    /// Takes the next entry of the L1 queue. L1 operations come before all L2 operations.
    ///
    /// # Errors
    /// [`PushError::Full`] if no L1 slot is free or the batch has an L2 operation already.
    pub fn push_l1(&mut self, operation: &L1Operation) -> Result<(), PushError> {
        if !self.data.d2.is_empty() || !self.has_room((1, 0)) {
            return Err(PushError::Full);
        }
        let time = self.time;
        let Open { ledger, witness, .. } = &mut self.stage;
        witness.entries.push(ledger.consume(operation, time)?);
        self.data.d1.push(operation.entry());
        Ok(())
    }

    /// Executes and takes an operation.
    ///
    /// # Errors
    /// [`PushError`] if no L2 slot is free or the operation breaks a clause. The batch is then unchanged.
    pub fn push(&mut self, operation: &SignedOperation) -> Result<(), PushError> {
        if !self.has_room((0, 1)) {
            return Err(PushError::Full);
        }
        let Open { ledger, witness, .. } = &mut self.stage;
        let Executed { witness: executed, d2, .. } = ledger.execute(operation, self.time)?;
        witness.operations.push(executed);
        self.data.d2.push(d2);
        Ok(())
    }

    /// The number of L1 and L2 operations together.
    pub fn len(&self) -> usize {
        self.data.d1.len() + self.data.d2.len()
    }

    /// Whether the batch holds no operation.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the batch. Returns it, in the smallest size that holds it, and the state after it.
    pub fn seal(self) -> (Batch<Sealed>, Ledger) {
        let Self { number, time, data, stage: Open { ledger, sizes, mut witness } } = self;
        if let Some(size) = sizes.smallest_for(data.d1.len(), data.d2.len()) {
            witness.version = *size;
        }
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

    /// The witness, from which a prover makes the proof.
    pub fn witness(&self) -> &BatchWitness {
        &self.stage.witness
    }

    /// Adds a proof that was made elsewhere. This does not verify the proof: the caller has to.
    pub fn with_proof(self, proof: Vec<u8>) -> Batch<Proven> {
        let Self { number, time, data, stage: Sealed { public, witness } } = self;
        Batch { number, time, data, stage: Proven { size: witness.version, public, proof } }
    }

    /// Proves the batch with this prover.
    ///
    /// # Errors
    /// The prover's error, with the batch, so that the caller can try again.
    pub fn prove<P: Prover>(self, prover: &P) -> Result<Batch<Proven>, (Box<Self>, P::Error)> {
        match prover.prove(self.witness(), self.public()) {
            Ok(proof) => Ok(self.with_proof(proof)),
            Err(error) => Err((Box::new(self), error)),
        }
    }
}

impl Batch<Proven> {
    /// The size that it was proved in.
    pub fn size(&self) -> &CircuitVersion {
        &self.stage.size
    }

    /// The values that the proof is verified against.
    pub fn public(&self) -> &PublicInputs {
        &self.stage.public
    }

    /// The proof.
    pub fn proof(&self) -> &[u8] {
        &self.stage.proof
    }
}

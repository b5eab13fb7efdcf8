//! Whether a node can work with the contract that it finds, and why it does not start otherwise.

use std::{net::SocketAddr, sync::Arc};

use alloy::primitives::{Address, keccak256};
use emr_chain::{Parameters, RollupError, endpoint::EndpointError, submitter::SubmitError};
use emr_rollup::{
    prover::{Prover, ProverError},
    version::CircuitSizes,
};

use crate::{l1::follow::FollowError, mempool::MempoolError, node::NodeConfig, pipeline::prove::ProverConfig};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// L1 cannot be reached, or is another chain.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The contract cannot be read, or is not there.
    #[error(transparent)]
    Rollup(#[from] RollupError),
    /// The deployment's record is wrong.
    #[error("the deployment's record fits no contract: restore it from a backup")]
    NoContract,
    /// The contract is for another circuit.
    #[error(
        "the contract is for circuit version {version}{}, which this program does not know: use the program that belongs \
         to the deployment",
        size.map(|(max_l1, max_l2)| format!(" with {max_l1} + {max_l2} slots")).unwrap_or_default()
    )]
    OtherCircuit {
        /// The contract's version.
        version: u64,
        /// The numbers of L1 and L2 slots of its first unknown size. `None` if the version itself is unknown.
        size: Option<(u64, u64)>,
    },
    /// Registrars changed the verifiers since the deployment.
    #[error(
        "registrars gave the size of {} + {} slots a verifier, {verifier}, that is not this program's with the key of this node's setup: use the version \
         of the program, and the setup, that belong to it",
        slots.0, slots.1
    )]
    OtherVerifiers {
        /// The verifier.
        verifier: Address,
        /// The numbers of L1 and L2 slots.
        slots: (u64, u64),
    },
    /// The key of a verifier that came after the deployment cannot be made.
    #[error(transparent)]
    Keys(#[from] ProverError),
    /// The contract's sequencer has another key.
    #[error(
        "the contract's sequencer is {sequencer}, this hospital is {hospital}: use the sequencer's key, or take the office (`emr-hospital office take`)"
    )]
    NotSequencer {
        /// The contract's sequencer.
        sequencer: Address,
        /// This node's key.
        hospital: Address,
    },
    /// The mempool file cannot be used.
    #[error(transparent)]
    Mempool(#[from] MempoolError),
    /// The record of the hospital's transactions cannot be used.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The state cannot be derived from L1.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The node stopped while it started.
    #[error("the node stopped while it started")]
    Stopped,
}

/// The sizes of the contract, which this program must know. Its sequencer must be this hospital.
pub(crate) fn parameters(parameters: &Parameters, hospital: Address) -> Result<Arc<CircuitSizes>, StartError> {
    let Parameters { circuit_version: version, sequencer, .. } = *parameters;
    let other = |size| StartError::OtherCircuit { version, size };
    let known = CircuitSizes::v1_all();
    if version != u64::from(known.any().number) {
        return Err(other(None));
    }
    let sizes = parameters.sizes.iter().map(|size| {
        let slots = (size.max_l1, size.max_l2);
        known.with_slots(slots.0, slots.1).copied().ok_or_else(|| other(Some(slots)))
    });
    let sizes = CircuitSizes::new(sizes.collect::<Result<_, _>>()?).map_err(|_| other(None))?;
    if sizes.max_l2_beside(1) == 0 {
        // No batch would take operations.
        return Err(other(None));
    }
    if sequencer != hospital {
        return Err(StartError::NotSequencer { sequencer, hospital });
    }
    Ok(Arc::new(sizes))
}

/// Whether this node has the key of each verifier, with this program's code: that of the deployment, or, for a size that registrars added or
/// changed, the key that it makes from its setup, which takes minutes the first time.
pub(crate) async fn verifiers(
    parameters: &Parameters,
    sizes: &CircuitSizes,
    config: &NodeConfig,
) -> Result<(), StartError> {
    let record = &config.deployment;
    for (on_l1, size) in parameters.sizes.iter().zip(sizes.iter()) {
        let slots = (on_l1.max_l1, on_l1.max_l2);
        let deployed = record.sizes.iter().filter(|known| (known.max_l1, known.max_l2) == slots);
        if deployed.into_iter().any(|known| record.verifier_with(known.key) == on_l1.verifier) {
            continue;
        }
        let (ProverConfig { cache, setup, .. }, size) = (config.prover.clone(), *size);
        let made = tokio::task::spawn_blocking(move || {
            let said = |stage| tracing::info!(%stage, slots = %size.slots(), "the key of a verifier that came after the deployment");
            Prover::load_or_generate(&cache, size, setup, said).map(|prover| prover.verifier().key_contract())
        });
        let key = made.await.map_err(|_| StartError::Stopped)??;
        if record.verifier_with(keccak256(key)) != on_l1.verifier {
            return Err(StartError::OtherVerifiers { verifier: on_l1.verifier, slots });
        }
    }
    Ok(())
}

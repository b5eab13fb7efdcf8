//! Deployment: on development chains, and with the keys of a ceremony on a chain that the operator names.
//!
//! Anyone can forge proofs under the development setup. So [`deploy`] refuses every chain that is not a development
//! chain. The caller of [`deploy_on_named_chain`] says that the verifier belongs to a ceremony's keys; this crate
//! cannot check it.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::{SolConstructor, SolValue},
};
use emr_core::StateRoot;

use crate::{
    bindings::{EmrRollup, IEmrRollup, Verifier, VerifyingKey},
    revert::RollupError,
    rollup::Rollup,
    transaction::{L1Receipt, MINED_WITHIN, TRANSACTION_GAS_CAP, mined},
};

/// Chains where deployment is allowed: anvil's and Hardhat's 31337, geth's `--dev` 1337.
pub const DEVELOPMENT_CHAINS: [u64; 2] = [31337, 1337];

/// The largest size of a contract's code in bytes (EIP-170).
const CODE_SIZE_LIMIT: usize = 24_576;

/// Deployment failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The chain is not a development chain.
    #[error(
        "chain {0} is not a development chain ({DEVELOPMENT_CHAINS:?}), and anyone can forge proofs under the development \
         setup: deploy to a development chain, or with the setup of a ceremony"
    )]
    NotADevelopmentChain(u64),
    /// The chain is not the one that the operator named.
    #[error(
        "this is chain {found}, not chain {named}: give the Ethereum node of the chain that you named, or name this one"
    )]
    OtherChain {
        /// The chain that the operator named.
        named: u64,
        /// The chain of the Ethereum node.
        found: u64,
    },
    /// The chain accepted code that is too large for a real chain.
    #[error("the code of {contract} has {size} bytes; Ethereum allows {CODE_SIZE_LIMIT} (EIP-170)")]
    CodeTooLarge {
        /// The contract.
        contract: &'static str,
        /// The size of its code in bytes.
        size: usize,
    },
    /// The transaction created no contract.
    #[error("creating {0} gave no contract: check that its code is complete")]
    NotCreated(&'static str),
    /// The node failed, or the contract refused.
    #[error(transparent)]
    Rollup(#[from] RollupError),
}

/// The contracts that check proofs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierCode {
    /// Creation code of the verifying key's contract.
    pub key: Bytes,
    /// Creation code of the verifier. Its argument is the address of the key's contract.
    pub verifier: Bytes,
}

impl VerifierCode {
    /// The verifier with the key of the current circuit.
    pub fn current() -> Self {
        Self { key: VerifyingKey::BYTECODE.clone(), verifier: Verifier::BYTECODE.clone() }
    }
}

/// The parameters of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The contracts that check proofs.
    pub verifier_code: VerifierCode,
    /// The circuit version that the verifier belongs to.
    pub circuit_version: u64,
    /// Queue entries per batch.
    pub max_l1: u64,
    /// L2 operations per batch.
    pub max_l2: u64,
    /// State root of the empty state, `H_10(E_24, E_24)`.
    pub genesis: StateRoot,
    /// The account that settles batches.
    pub sequencer: Address,
    /// The account that admits doctors and hospitals.
    pub registrar: Address,
    /// Cost of a registration in wei.
    pub registration_fee: U256,
}

/// A new deployment.
#[derive(Clone, Debug)]
pub struct Deployed<P> {
    /// The rollup.
    pub rollup: Rollup<P>,
    /// The verifier's address.
    pub verifier: Address,
    /// The receipt of the creation of the verifier's key.
    pub key_receipt: L1Receipt,
    /// The receipt of the verifier's creation.
    pub verifier_receipt: L1Receipt,
    /// The receipt of the rollup's creation.
    pub rollup_receipt: L1Receipt,
}

impl<P> Deployed<P> {
    /// The gas of the whole deployment.
    pub fn gas_used(&self) -> u64 {
        self.key_receipt.gas_used + self.verifier_receipt.gas_used + self.rollup_receipt.gas_used
    }
}

/// Deploys the verifier with its key, and the rollup, on a development chain. The provider's default signer pays.
///
/// # Errors
/// Returns [`DeployError::NotADevelopmentChain`] before it sends anything, and another [`DeployError`] if a creation
/// fails.
pub async fn deploy<P: Provider>(provider: P, deployment: &Deployment) -> Result<Deployed<P>, DeployError> {
    let chain_id = provider.get_chain_id().await.map_err(RollupError::from)?;
    if !DEVELOPMENT_CHAINS.contains(&chain_id) {
        return Err(DeployError::NotADevelopmentChain(chain_id));
    }
    create_both(provider, deployment).await
}

/// Deploys verifier and rollup on the chain that the operator named. Only for a verifier of a ceremony's keys. The
/// provider's default signer pays.
///
/// # Errors
/// Returns [`DeployError::OtherChain`] before it sends anything, and another [`DeployError`] if a creation fails.
pub async fn deploy_on_named_chain<P: Provider>(
    provider: P,
    deployment: &Deployment,
    named: u64,
) -> Result<Deployed<P>, DeployError> {
    let found = provider.get_chain_id().await.map_err(RollupError::from)?;
    if found != named {
        return Err(DeployError::OtherChain { named, found });
    }
    create_both(provider, deployment).await
}

async fn create_both<P: Provider>(provider: P, deployment: &Deployment) -> Result<Deployed<P>, DeployError> {
    let VerifierCode { key, verifier } = &deployment.verifier_code;
    let (key, key_receipt) = create(&provider, "the verifying key", key.clone()).await?;
    let verifier: Bytes = [verifier, &key.abi_encode()[..]].concat().into();
    let (verifier, verifier_receipt) = create(&provider, "the verifier", verifier).await?;
    let parameters = IEmrRollup::Parameters {
        verifier,
        circuitVersion: U256::from(deployment.circuit_version),
        maxL1: U256::from(deployment.max_l1),
        maxL2: U256::from(deployment.max_l2),
        genesis: U256::from_be_bytes(*deployment.genesis.as_bytes()),
        sequencer: deployment.sequencer,
        registrar: deployment.registrar,
        registrationFee: deployment.registration_fee,
    };
    let arguments = EmrRollup::constructorCall { parameters }.abi_encode();
    let code: Bytes = [&EmrRollup::BYTECODE[..], &arguments].concat().into();
    let (address, rollup_receipt) = create(&provider, "the rollup", code).await?;
    let rollup = Rollup::attach(provider, address, rollup_receipt.block_number).await?;
    Ok(Deployed { rollup, verifier, key_receipt, verifier_receipt, rollup_receipt })
}

/// Creates a contract, and checks that its code exists and is not larger than Ethereum allows.
async fn create<P: Provider>(
    provider: &P,
    contract: &'static str,
    code: Bytes,
) -> Result<(Address, L1Receipt), DeployError> {
    let request = TransactionRequest::default().with_deploy_code(code);
    let receipt = mine(provider, request).await?;
    let address = receipt.contract_address.filter(|_| receipt.status()).ok_or(DeployError::NotCreated(contract))?;
    let size = provider.get_code_at(address).await.map_err(RollupError::from)?.len();
    match size {
        0 => Err(DeployError::NotCreated(contract)),
        1..=CODE_SIZE_LIMIT => Ok((address, L1Receipt::of(&receipt))),
        _ => Err(DeployError::CodeTooLarge { contract, size }),
    }
}

async fn mine<P: Provider>(provider: &P, request: TransactionRequest) -> Result<TransactionReceipt, RollupError> {
    // An estimate needs a sender only if the constructor reads it. These constructors do not.
    let needed = provider.estimate_gas(request.clone()).await?;
    if needed > TRANSACTION_GAS_CAP {
        return Err(RollupError::TooMuchGas { needed, limit: TRANSACTION_GAS_CAP });
    }
    let pending = provider.send_transaction(request.with_gas_limit(needed)).await?;
    mined(pending, MINED_WITHIN).await
}

//! Deployment: on development chains, and with the keys of a ceremony on a chain that the operator names.
//!
//! Anyone can forge proofs under the development setup. So [`deploy`] refuses every chain that is not a development
//! chain. The caller of [`deploy_on_named_chain`] says that the verifier belongs to a ceremony's keys; this crate
//! cannot check it.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256, aliases::U48, keccak256},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::{SolConstructor, SolValue},
};
use emr_core::StateRoot;

use crate::{
    bindings::{
        EmrRollup, IEmrRollup, ISettlement, Verifier, VerifyingKeyQueue, VerifyingKeySmall, VerifyingKeyStandard,
    },
    revert::RollupError,
    rollup::Rollup,
    transaction::{L1Receipt, MINED_WITHIN, TRANSACTION_GAS_CAP, mined},
};

/// Chains where deployment is allowed: anvil's and Hardhat's 31337, geth's `--dev` 1337.
pub const DEVELOPMENT_CHAINS: [u64; 2] = [31337, 1337];

/// The largest size of a contract's code in bytes (EIP-170).
const CODE_SIZE_LIMIT: usize = 24_576;

/// The bytes of a key's creation code before the code that it returns.
const KEY_PREFIX: usize = 10;

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
    /// A size has more slots than the contract can hold.
    #[error("a size of {max_l1} + {max_l2} slots is too large: give numbers below 2^48")]
    SizeTooLarge {
        /// Its L1 slots.
        max_l1: u64,
        /// Its L2 slots.
        max_l2: u64,
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

/// The contracts that check the proofs of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierCode {
    /// Creation code of the verifying key's contract.
    pub key: Bytes,
    /// Creation code of the verifier. Its argument is the address of the key's contract.
    pub verifier: Bytes,
}

impl VerifierCode {
    /// The verifier with a key. `key` is the creation code of the key's contract.
    pub fn with_key(key: Bytes) -> Self {
        Self { key, verifier: Verifier::BYTECODE.clone() }
    }

    /// Keccak-256 of the code that the key's contract has: what its creation code, of ten bytes and this code, returns.
    pub fn key_hash(&self) -> B256 {
        keccak256(self.key.get(KEY_PREFIX..).unwrap_or_default())
    }

    /// The verifiers with the development keys of the current circuit, in the order of `CircuitSizes::v1` of `emr-rollup`: small,
    /// standard, for the queue.
    pub fn development() -> [Self; 3] {
        [&VerifyingKeySmall::BYTECODE, &VerifyingKeyStandard::BYTECODE, &VerifyingKeyQueue::BYTECODE]
            .map(|key| Self::with_key(key.clone()))
    }
}

/// A size in which batches are proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeDeployment {
    /// The contracts that check its proofs.
    pub verifier_code: VerifierCode,
    /// Queue entries per batch.
    pub max_l1: u64,
    /// L2 operations per batch.
    pub max_l2: u64,
}

/// The parameters of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The sizes in which batches are proved: 1 to 8.
    pub sizes: Vec<SizeDeployment>,
    /// The circuit version that the sizes belong to.
    pub circuit_version: u64,
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
    /// The verifiers, in the order of the sizes.
    pub verifiers: Vec<DeployedVerifier>,
    /// The receipt of the rollup's creation.
    pub rollup_receipt: L1Receipt,
}

/// The verifier of a size.
#[derive(Clone, Debug)]
pub struct DeployedVerifier {
    /// Its address.
    pub address: Address,
    /// The receipt of the creation of its key.
    pub key_receipt: L1Receipt,
    /// The receipt of its creation.
    pub receipt: L1Receipt,
}

impl<P> Deployed<P> {
    /// The gas of the whole deployment.
    pub fn gas_used(&self) -> u64 {
        let verifiers = self.verifiers.iter().map(|verifier| verifier.key_receipt.gas_used + verifier.receipt.gas_used);
        self.rollup_receipt.gas_used + verifiers.sum::<u64>()
    }
}

/// Deploys the verifiers with their keys, and the rollup, on a development chain. The provider's default signer pays.
///
/// # Errors
/// Returns [`DeployError::NotADevelopmentChain`] before it sends anything, and another [`DeployError`] if a creation
/// fails.
pub async fn deploy<P: Provider>(provider: P, deployment: &Deployment) -> Result<Deployed<P>, DeployError> {
    let chain_id = provider.get_chain_id().await.map_err(RollupError::from)?;
    if !DEVELOPMENT_CHAINS.contains(&chain_id) {
        return Err(DeployError::NotADevelopmentChain(chain_id));
    }
    create(provider, deployment).await
}

/// Deploys verifiers and rollup on the chain that the operator named. Only for verifiers of a ceremony's keys. The
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
    create(provider, deployment).await
}

async fn create<P: Provider>(provider: P, deployment: &Deployment) -> Result<Deployed<P>, DeployError> {
    // Before anything is paid for.
    let slots = deployment.sizes.iter().map(slots).collect::<Result<Vec<_>, _>>()?;
    let (mut verifiers, mut sizes) = (Vec::new(), Vec::new());
    for (size, (max_l1, max_l2)) in deployment.sizes.iter().zip(slots) {
        let VerifierCode { key, verifier } = &size.verifier_code;
        let (key, key_receipt) = create_contract(&provider, "the verifying key", key.clone()).await?;
        let code: Bytes = [&verifier[..], &key.abi_encode()].concat().into();
        let (address, receipt) = create_contract(&provider, "the verifier", code).await?;
        sizes.push(ISettlement::Size { verifier: address, maxL1: max_l1, maxL2: max_l2 });
        verifiers.push(DeployedVerifier { address, key_receipt, receipt });
    }
    let parameters = IEmrRollup::Parameters {
        sizes,
        circuitVersion: U256::from(deployment.circuit_version),
        genesis: U256::from_be_bytes(*deployment.genesis.as_bytes()),
        sequencer: deployment.sequencer,
        registrar: deployment.registrar,
        registrationFee: deployment.registration_fee,
    };
    let arguments = EmrRollup::constructorCall { parameters }.abi_encode();
    let code: Bytes = [&EmrRollup::BYTECODE[..], &arguments].concat().into();
    let (address, rollup_receipt) = create_contract(&provider, "the rollup", code).await?;
    let rollup = Rollup::attach(provider, address, rollup_receipt.block_number).await?;
    Ok(Deployed { rollup, verifiers, rollup_receipt })
}

/// The numbers of slots as the contract holds them.
fn slots(size: &SizeDeployment) -> Result<(U48, U48), DeployError> {
    let number = |slots: u64| U48::checked_from_limbs_slice(&[slots]);
    let too_large = DeployError::SizeTooLarge { max_l1: size.max_l1, max_l2: size.max_l2 };
    number(size.max_l1).zip(number(size.max_l2)).ok_or(too_large)
}

/// Creates a contract, and checks that its code exists and is not larger than Ethereum allows.
async fn create_contract<P: Provider>(
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

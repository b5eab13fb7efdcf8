//! Deployment: on development chains, and with the keys of a ceremony on a chain that the operator names. Everything is created
//! by a [`factory`], so that the rollup's address commits to what it was made from ([`DeploymentRecord`]).
//!
//! Anyone can forge proofs under the development setup. So [`deploy`] refuses every chain that is not a development
//! chain. The caller of [`deploy_on_named_chain`] says that the verifier belongs to a ceremony's keys; this crate
//! cannot check it.

pub mod factory;
mod record;

use std::ops::Range;

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use emr_core::StateRoot;

pub use record::{DeploymentRecord, Officers, SizeRecord};

use crate::{
    bindings::{Verifier, VerifyingKeyQueue, VerifyingKeySmall, VerifyingKeyStandard},
    revert::RollupError,
    rollup::Rollup,
    transaction::{L1Receipt, MINED_WITHIN, TRANSACTION_GAS_CAP, mined},
};

/// Chains where deployment is allowed: anvil's and Hardhat's 31337, geth's `--dev` 1337.
pub const DEVELOPMENT_CHAINS: [u64; 2] = [31337, 1337];

/// The largest size of a contract's code in bytes (EIP-170).
const CODE_SIZE_LIMIT: usize = 24_576;
/// The largest creation code of a contract, with the constructor's arguments, in bytes (EIP-3860).
const CREATION_CODE_LIMIT: usize = 49_152;

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
    /// The rollup's constructor gets more than fits beside its code.
    #[error(
        "with these sizes and officers the rollup's creation code has {0} bytes; Ethereum allows {CREATION_CODE_LIMIT} (EIP-3860): name fewer \
         registrars and guardians now, and add the others through a proposal"
    )]
    CreationCodeTooLarge(usize),
    /// The chain accepted code that is too large for a real chain.
    #[error("the code of {contract} has {size} bytes; Ethereum allows {CODE_SIZE_LIMIT} (EIP-170)")]
    CodeTooLarge {
        /// The contract.
        contract: &'static str,
        /// The size of its code in bytes.
        size: usize,
    },
    /// The transaction created no contract.
    #[error("creating {0} gave no contract: try again; if it fails again, its code is not complete")]
    NotCreated(&'static str),
    /// The factory of an interrupted deployment is not there.
    #[error(
        "there is no factory at {0}: give the Ethereum node of this deployment, or begin another one in another folder if it was reset"
    )]
    NoFactory(Address),
    /// A transaction that creates the contract waits too long.
    #[error("a transaction that creates {0} waits in the Ethereum node: try again when it is mined")]
    Waits(&'static str),
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

    /// Keccak-256 of the key's creation code, as in [`SizeRecord::key`].
    pub fn key_hash(&self) -> B256 {
        keccak256(&self.key)
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
    /// The contract that creates the others; see [`factory::find_or_create`]. Without one, it is found or created.
    pub factory: Option<Address>,
    /// Makes the address of the rollup differ from that of others with the same parameters.
    pub salt: B256,
    /// A block at which the rollup was not on the chain yet: the newest one when this deployment was begun.
    pub begun_at: u64,
    /// The sizes in which batches are proved: 1 to 8.
    pub sizes: Vec<SizeDeployment>,
    /// The circuit version that the sizes belong to.
    pub circuit_version: u64,
    /// State root of the empty state, `H_10(E_24, E_24)`.
    pub genesis: StateRoot,
    /// The account that settles batches.
    pub sequencer: Address,
    /// Who holds the other offices.
    pub officers: Officers,
    /// Cost of a registration in wei.
    pub registration_fee: U256,
}

impl Deployment {
    /// What this deployment leaves on the chain, if `factory` creates it.
    pub fn record(&self, factory: Address) -> DeploymentRecord {
        let size = |size: &SizeDeployment| SizeRecord {
            key: size.verifier_code.key_hash(),
            max_l1: size.max_l1,
            max_l2: size.max_l2,
        };
        DeploymentRecord {
            factory,
            salt: self.salt,
            sizes: self.sizes.iter().map(size).collect(),
            circuit_version: self.circuit_version,
            genesis: self.genesis,
            sequencer: self.sequencer,
            officers: self.officers.clone(),
            registration_fee: self.registration_fee,
        }
    }
}

/// A deployment on the chain.
#[derive(Clone, Debug)]
pub struct Deployed<P> {
    /// The rollup.
    pub rollup: Rollup<P>,
    /// What it was made from.
    pub record: DeploymentRecord,
    /// The verifiers, in the order of the sizes.
    pub verifiers: Vec<Address>,
    /// The receipts of what was created now, in order. What was there before is not created again.
    pub receipts: Vec<L1Receipt>,
}

impl<P> Deployed<P> {
    /// The gas of everything that was created now.
    pub fn gas_used(&self) -> u64 {
        self.receipts.iter().map(|receipt| receipt.gas_used).sum()
    }
}

/// Deploys the verifiers with their keys, and the rollup, on a development chain. The provider's default signer pays.
/// A deployment that was interrupted goes on if it is repeated with the same factory: what is on the chain already is
/// not created again.
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
    let too_large = |size: &&SizeDeployment| size.max_l1.max(size.max_l2) >> 48 != 0;
    if let Some(SizeDeployment { max_l1, max_l2, .. }) = deployment.sizes.iter().find(too_large) {
        return Err(DeployError::SizeTooLarge { max_l1: *max_l1, max_l2: *max_l2 });
    }
    // The length does not depend on the addresses.
    let anywhere = vec![Address::ZERO; deployment.sizes.len()];
    let length = record::rollup_code(&deployment.record(Address::ZERO), &anywhere).map_or(0, |code| code.len());
    if length > CREATION_CODE_LIMIT {
        return Err(DeployError::CreationCodeTooLarge(length));
    }
    let mut receipts = Vec::new();
    let factory = match deployment.factory {
        Some(factory) if factory::is_factory(&provider, factory).await? => factory,
        Some(factory) => return Err(DeployError::NoFactory(factory)),
        None => {
            let (factory, receipt) = factory::find_or_create(&provider).await?;
            receipts.extend(receipt);
            factory
        }
    };
    let mut contract = async |name, salt, code: Bytes| {
        let (address, receipt) = factory::create(&provider, factory, name, salt, &code).await?;
        receipts.extend(receipt);
        Ok::<_, DeployError>((address, receipt))
    };
    let mut verifiers = Vec::new();
    for VerifierCode { key, verifier } in deployment.sizes.iter().map(|size| &size.verifier_code) {
        let (key, _) = contract("the verifying key", B256::ZERO, key.clone()).await?;
        let code = record::verifier_code(verifier, key).into();
        verifiers.push(contract("the verifier", B256::ZERO, code).await?.0);
    }
    let record = deployment.record(factory);
    let code = record::rollup_code(&record, &verifiers).unwrap_or_default();
    let (address, created) = contract("the rollup", deployment.salt, code.into()).await?;
    let created_at = match created {
        Some(receipt) => receipt.block_number,
        None => {
            let newest = provider.get_block_number().await.map_err(RollupError::from)?;
            created_at(&provider, address, deployment.begun_at..newest).await
        }
    };
    let rollup = Rollup::attach(provider, address, created_at).await?;
    Ok(Deployed { rollup, record, verifiers, receipts })
}

/// The block in which a contract was created: after the first of these blocks, and at the latest in the last one. If the node has forgotten
/// the states in between, it is an earlier block, from which reading events takes longer.
pub(crate) async fn created_at<P: Provider>(provider: &P, contract: Address, blocks: Range<u64>) -> u64 {
    let Range { start: mut absent, end: mut present } = blocks;
    while present.saturating_sub(absent) > 1 {
        let at = absent.midpoint(present);
        match provider.get_code_at(contract).block_id(at.into()).await {
            Ok(code) if !code.is_empty() => present = at,
            Ok(_) => absent = at,
            Err(_) => return absent,
        }
    }
    present
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

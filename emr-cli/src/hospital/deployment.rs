//! The deployment of the rollup that a hospital runs.

use std::{fs, path::Path};

use alloy::{
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256, utils::format_ether},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use emr_chain::{DeployError, Deployment, VerifierCode, deploy, endpoint::Endpoint};
use emr_client::ClientError;
use emr_durable::Disk;
use emr_rollup::{state::StateTrees, version::CircuitVersion};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure, OrExit};

/// More than a deployment and some batches cost: 1 ether, in wei.
const ENOUGH: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// The address of the rollup. Stored as `deployment.json` in the hospital's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentFile {
    /// The chain.
    pub chain_id: u64,
    /// The rollup contract.
    pub contract: Address,
    /// The verifier contract.
    pub verifier: Address,
    /// The block of its deployment.
    pub deployed_at: u64,
    /// Gas that deploying both contracts used; 0 if it was not deployed from here.
    pub gas_used: u64,
}

impl DeploymentFile {
    const NAME: &'static str = "deployment.json";

    /// Reads the file from a hospital's folder; `None` if there is no such file.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(Self::NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::new(Exit::Storage, format!("cannot read {}: {error}", path.display()))),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let advice = "restore it from a backup";
            Failure::new(Exit::Input, format!("{} is damaged ({error}): {advice}", path.display()))
        })
    }

    fn write(&self, folder: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).or_exit(Exit::Internal)?;
        Disk::default().replace(&folder.join(Self::NAME), &text).or_exit(Exit::Storage)
    }

    /// Deploys verifier and rollup to a development chain. The hospital pays, and becomes sequencer and registrar. The fee is in wei.
    ///
    /// # Errors
    /// Fails if the chain is not for development, or refuses.
    pub async fn deploy(
        folder: &Path,
        endpoint: &Endpoint,
        hospital: &PrivateKeySigner,
        registration_fee: U256,
    ) -> Result<Self, Failure> {
        let provider = endpoint.connect(Some(hospital.clone())).or_exit(Exit::Unavailable)?;
        let chain_id = chain_id(endpoint, &provider).await?;
        if !emr_chain::DEVELOPMENT_CHAINS.contains(&chain_id) {
            return Err(DeployError::NotADevelopmentChain(chain_id)).or_exit(Exit::Refused);
        }
        fund(&provider, hospital.address()).await?;
        let version = CircuitVersion::V1;
        let deployment = Deployment {
            verifier_code: VerifierCode::current(),
            circuit_version: version.number.into(),
            max_l1: version.max_l1 as u64,
            max_l2: version.max_l2 as u64,
            genesis: StateTrees::genesis(version).root(),
            sequencer: hospital.address(),
            registrar: hospital.address(),
            registration_fee,
        };
        let deployed = deploy(provider, &deployment).await.or_exit(Exit::Unavailable)?;
        let file = Self {
            chain_id,
            contract: deployed.rollup.instance().contract,
            verifier: deployed.verifier,
            deployed_at: deployed.rollup_receipt.block_number,
            gas_used: deployed.gas_used(),
        };
        file.write(folder)?;
        Ok(file)
    }
}

/// The chain that a provider is on.
///
/// # Errors
/// Fails if the chain cannot be reached.
pub async fn chain_id(endpoint: &Endpoint, provider: &DynProvider) -> Result<u64, Failure> {
    provider.get_chain_id().await.map_err(|error| {
        let advice = "check the address, and that the node is running";
        Failure::new(Exit::Unavailable, format!("no Ethereum node answers at {endpoint} ({error}): {advice}"))
    })
}

/// Makes sure that an address has enough ether. On a development node with unlocked accounts, takes it from the first of them.
async fn fund(provider: &DynProvider, address: Address) -> Result<(), Failure> {
    let balance = provider.get_balance(address).await.or_exit(Exit::Unavailable)?;
    if balance >= ENOUGH {
        return Ok(());
    }
    let accounts = provider.get_accounts().await.unwrap_or_default();
    let poor = || {
        let has = format_ether(balance);
        Failure::new(
            Exit::Refused,
            format!("{address} has {has} ether, deploying needs 1: send it some, then try again"),
        )
    };
    let from = accounts.first().copied().ok_or_else(poor)?;
    // The node signs this transaction, because the provider's signer has no ether.
    let request = TransactionRequest::default().with_from(from).with_to(address).with_value(ENOUGH * U256::from(10));
    let hash: alloy::primitives::B256 =
        provider.client().request("eth_sendTransaction", (request,)).await.map_err(|_| poor())?;
    for _ in 0..200 {
        if provider.get_transaction_receipt(hash).await.or_exit(Exit::Unavailable)?.is_some() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Err(poor())
}

/// Checks that there is a contract at the deployment's address.
///
/// # Errors
/// Fails if the chain cannot be reached, is another one, or has no code there.
pub async fn check(endpoint: &Endpoint, deployment: &DeploymentFile) -> Result<(), Failure> {
    let provider = endpoint.connect(None).map_err(ClientError::from)?;
    endpoint.expect_chain_id(&provider, deployment.chain_id).await.map_err(ClientError::from)?;
    let code: Bytes = provider
        .get_code_at(deployment.contract)
        .block_id(BlockNumberOrTag::Latest.into())
        .await
        .or_exit(Exit::Unavailable)?;
    if code.is_empty() {
        let (contract, chain) = (deployment.contract, deployment.chain_id);
        let message = format!(
            "there is no rollup at {contract} on chain {chain}: the Ethereum node was reset, or is another one; give --rpc the one of \
             this deployment"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(())
}

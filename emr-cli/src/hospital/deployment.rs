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
use emr_chain::{
    DEVELOPMENT_CHAINS, DeployError, Deployment, Rollup, VerifierCode, bindings, deploy, deploy_on_named_chain,
    endpoint::Endpoint,
};
use emr_client::ClientError;
use emr_durable::Disk;
use emr_rollup::{
    prover::{ProverError, Setup},
    setup::SetupChoice,
    state::StateTrees,
    version::CircuitVersion,
};
use serde::{Deserialize, Serialize};

use super::{setup, site::key_cache};
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
    /// The setup that the verifier was made from.
    pub setup: SetupChoice,
    /// The block of its deployment.
    pub deployed_at: u64,
    /// Gas that deploying both contracts used; 0 if it was not deployed from here.
    pub gas_used: u64,
}

/// The setup of a deployment, and its chain.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The setup that the keys are made from.
    pub setup: SetupChoice,
    /// The chain that the operator named. The setup of a ceremony needs it.
    pub chain_id: Option<u64>,
}

impl Target {
    /// Any development chain, under the development setup.
    pub const DEVELOPMENT: Self = Self { setup: SetupChoice::InsecureDevelopment, chain_id: None };

    /// Whether this is the chain that the operator meant, and whether the setup may be used there.
    fn allow(&self, chain_id: u64) -> Result<(), Failure> {
        let refused = match (self.setup, self.chain_id) {
            (SetupChoice::InsecureDevelopment, _) if !DEVELOPMENT_CHAINS.contains(&chain_id) => {
                DeployError::NotADevelopmentChain(chain_id)
            }
            (SetupChoice::Imported(_), None) => {
                return Err(Failure::new(Exit::Usage, "--setup needs --chain-id: name the chain that you mean"));
            }
            (_, Some(named)) if named != chain_id => DeployError::OtherChain { named, found: chain_id },
            _ => return Ok(()),
        };
        Err(refused).or_exit(Exit::Refused)
    }

    /// The verifier with its key. This program carries the key of the development setup, and makes the others.
    async fn verifier_code(&self) -> Result<VerifierCode, Failure> {
        match self.setup {
            SetupChoice::InsecureDevelopment => Ok(VerifierCode::current()),
            SetupChoice::Imported(id) => {
                let key = setup::keys(&key_cache()?, id).await?.verifier().key_contract().into();
                Ok(VerifierCode { key, verifier: bindings::Verifier::BYTECODE.clone() })
            }
        }
    }
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

    /// Deploys verifier and rollup. The hospital pays, and becomes sequencer and registrar. The fee is in wei.
    ///
    /// # Errors
    /// Fails if this is another chain than the target's, if the keys cannot be made, or if the chain refuses.
    pub async fn deploy(
        folder: &Path,
        endpoint: &Endpoint,
        hospital: &PrivateKeySigner,
        registration_fee: U256,
        target: Target,
    ) -> Result<Self, Failure> {
        let provider = endpoint.connect(Some(hospital.clone())).or_exit(Exit::Unavailable)?;
        let chain_id = chain_id(endpoint, &provider).await?;
        target.allow(chain_id)?;
        fund(&provider, hospital.address()).await?;
        let version = CircuitVersion::V1;
        let deployment = Deployment {
            verifier_code: target.verifier_code().await?,
            circuit_version: version.number.into(),
            max_l1: version.max_l1 as u64,
            max_l2: version.max_l2 as u64,
            genesis: StateTrees::genesis(version).root(),
            sequencer: hospital.address(),
            registrar: hospital.address(),
            registration_fee,
        };
        let deployed = match target.setup {
            SetupChoice::InsecureDevelopment => deploy(provider, &deployment).await,
            SetupChoice::Imported(_) => deploy_on_named_chain(provider, &deployment, chain_id).await,
        };
        let deployed = deployed.or_exit(Exit::Unavailable)?;
        let file = Self {
            chain_id,
            contract: deployed.rollup.instance().contract,
            verifier: deployed.verifier,
            setup: target.setup,
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

/// Makes sure that an address has enough ether. On a development node with unlocked accounts, takes it from the first
/// of them.
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

/// Checks that the setup is allowed on the deployment's chain, that this is the chain that the operator named, if they
/// did, that there is a contract at its address, and that its verifier has a key of this setup.
///
/// # Errors
/// Fails if the chain cannot be reached, is another one, has no code there, or has another key.
pub async fn check(endpoint: &Endpoint, deployment: &DeploymentFile, named: Option<u64>) -> Result<(), Failure> {
    // `deploy` writes no file with the development setup and a real chain. Somebody changed it.
    let chain_id = named.or(Some(deployment.chain_id));
    Target { setup: deployment.setup, chain_id }.allow(deployment.chain_id)?;
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
    check_key(provider, deployment).await
}

/// Compares the verifying key on the chain with the deployment's setup, so that no proof is made in vain.
async fn check_key(provider: DynProvider, deployment: &DeploymentFile) -> Result<(), Failure> {
    let contract = deployment.contract;
    let rollup = Rollup::attach(provider, contract, deployment.deployed_at).await.map_err(ClientError::from)?;
    let code = rollup.verifying_key().await.map_err(ClientError::from)?;
    let message = match deployment.setup {
        // The creation code of this program's key ends with the key.
        SetupChoice::InsecureDevelopment if code.is_empty() || !VerifierCode::current().key.ends_with(&code) => {
            format!(
                "the rollup at {contract} does not have the development key of this program: use the version of the program that deployed it, or deploy \
             again from another --data-dir"
            )
        }
        SetupChoice::Imported(id) if Setup::of_key(&code) != Some(id) => {
            let found = Setup::of_key(&code)
                .map_or_else(|| "another kind of key".to_owned(), |id| format!("a key of setup {id}"));
            format!(
                "the rollup at {contract} has {found}, and deployment.json names setup {id}: restore deployment.json from a backup"
            )
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Exit::Usage, message))
}

/// Checks that the setup of a ceremony is in the folder of the keys. Otherwise only the first batch would miss it.
///
/// # Errors
/// Fails if it is absent or damaged.
pub async fn check_setup(deployment: &DeploymentFile) -> Result<(), Failure> {
    let SetupChoice::Imported(id) = deployment.setup else { return Ok(()) };
    let (folder, k) = (key_cache()?, CircuitVersion::V1.k);
    let keys = folder.clone();
    match tokio::task::spawn_blocking(move || Setup::imported(&keys, k, id).is_some()).await.or_exit(Exit::Internal)? {
        true => Ok(()),
        false => Err(ProverError::NoSetup { id, k, folder }).or_exit(Exit::Storage),
    }
}

#[cfg(test)]
mod tests {
    use emr_rollup::setup::SetupId;

    use super::*;

    #[test]
    fn a_deployment_is_for_the_chain_that_was_named_and_that_its_setup_allows() {
        let (one, other) = (DEVELOPMENT_CHAINS[0], DEVELOPMENT_CHAINS[1]);
        let development = |chain_id| Target { chain_id, ..Target::DEVELOPMENT };
        let ceremony = |chain_id| Target { setup: SetupChoice::Imported(SetupId([7; 32])), chain_id };
        let allowed = [
            (development(None), one),
            (development(None), other),
            (development(Some(one)), one),
            (ceremony(Some(11_155_111)), 11_155_111),
            (ceremony(Some(one)), one),
        ];
        for (target, chain_id) in allowed {
            assert!(target.allow(chain_id).is_ok(), "{target:?} on {chain_id}");
        }
        let refused = [
            // The operator's word does not make a real chain safe for the development setup.
            (development(None), 1, "chain 1 is not a development chain"),
            (development(Some(1)), 1, "chain 1 is not a development chain"),
            (development(Some(one)), other, "not chain 31337"),
            (ceremony(Some(11_155_111)), 1, "this is chain 1, not chain 11155111"),
            (ceremony(Some(11_155_111)), one, "not chain 11155111"),
            (ceremony(None), 1, "--setup needs --chain-id"),
            (ceremony(None), one, "--setup needs --chain-id"),
        ];
        for (target, chain_id, expected) in refused {
            let failure = target.allow(chain_id).expect_err("another chain").to_string();
            assert!(failure.contains(expected), "{target:?} on {chain_id}: {failure}");
        }
    }

    /// A file that `deploy` would not write: the development setup on a real chain. It is refused before anything is
    /// sent.
    #[tokio::test]
    async fn the_development_setup_is_not_served_on_a_real_chain() -> Result<(), Box<dyn std::error::Error>> {
        let mut file = DeploymentFile {
            chain_id: 11_155_111,
            contract: Address::ZERO,
            verifier: Address::ZERO,
            setup: SetupChoice::InsecureDevelopment,
            deployed_at: 0,
            gas_used: 0,
        };
        let nobody = Endpoint::http("http://127.0.0.1:1", emr_core::PlainHttp::ThisMachine)?;
        let refused = check(&nobody, &file, None).await.expect_err("the development setup");
        assert_eq!(refused.exit(), Exit::Refused);
        file.setup = SetupChoice::Imported(SetupId([7; 32]));
        let unreachable = check(&nobody, &file, None).await.expect_err("no node");
        assert_eq!(unreachable.exit(), Exit::Unavailable);
        let other = check(&nobody, &file, Some(1)).await.expect_err("the operator named another chain");
        assert_eq!(other.exit(), Exit::Refused);
        // The file keeps the setup.
        let text = serde_json::to_string(&file)?;
        assert_eq!(serde_json::from_str::<DeploymentFile>(&text)?, file);
        assert!(serde_json::from_str::<DeploymentFile>(&text.replace("0x0707", "0x07")).is_err());
        Ok(())
    }
}

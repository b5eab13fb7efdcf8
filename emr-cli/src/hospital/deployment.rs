//! The deployment of the rollup that a hospital runs.

use std::{fs, path::Path};

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, U256, utils::format_ether},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use emr_chain::{
    DEVELOPMENT_CHAINS, DeployError, Deployment, DeploymentRecord, Officers, SizeDeployment, VerifierCode, deploy,
    deploy_on_named_chain, endpoint::Endpoint, factory,
};
use emr_durable::Disk;
use emr_rollup::{
    setup::SetupChoice,
    state::StateTrees,
    version::{CircuitSizes, CircuitVersion},
};
use serde::{Deserialize, Serialize};

use super::{office, setup, site::key_cache};
use crate::{
    failure::{Exit, Failure, OrExit},
    report::ether,
};

/// More than a deployment and some batches cost: 1 ether, in wei.
const ENOUGH: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// The rollup of a hospital. Stored as `deployment.json` in the hospital's folder, before anything of it is on the chain:
/// a deployment that was interrupted goes on with the same addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentFile {
    /// The chain.
    pub chain_id: u64,
    /// The rollup contract. It follows from the record.
    pub contract: Address,
    /// What it was made from.
    pub record: DeploymentRecord,
    /// The setup that the verifiers were made from.
    pub setup: SetupChoice,
    /// The newest block when the deployment was begun.
    pub begun_at: u64,
    /// The block of its deployment; `None` while it is not deployed.
    pub deployed_at: Option<u64>,
    /// Gas that deploying the contracts used, without what was on the chain already.
    pub gas_used: u64,
}

/// The setup of a deployment, and its chain.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The setup that the keys are made from.
    pub setup: SetupChoice,
    /// The chain that the operator named. The setup of a ceremony needs it.
    pub chain_id: Option<u64>,
    /// Whether the rollup also gets the large size.
    pub large: bool,
}

impl Target {
    /// Any development chain, under the development setup.
    pub const DEVELOPMENT: Self = Self { setup: SetupChoice::InsecureDevelopment, chain_id: None, large: false };

    /// Whether this is the chain that the operator meant, and whether the setup may be used there.
    pub(super) fn allow(&self, chain_id: u64) -> Result<(), Failure> {
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

    /// The sizes of the rollup.
    fn sizes(&self) -> CircuitSizes {
        if self.large { CircuitSizes::v1_all() } else { CircuitSizes::v1() }
    }

    /// The sizes with their verifiers.
    async fn deployed_sizes(&self) -> Result<Vec<SizeDeployment>, Failure> {
        let mut sizes = Vec::new();
        for (position, size) in self.sizes().iter().enumerate() {
            let verifier_code = self.verifier_code(position, *size).await?;
            let (max_l1, max_l2) = (size.max_l1 as u64, size.max_l2 as u64);
            sizes.push(SizeDeployment { verifier_code, max_l1, max_l2 });
        }
        Ok(sizes)
    }

    /// The verifier of a size with its key. This program carries most keys of the development setup, and makes the others.
    async fn verifier_code(&self, position: usize, size: CircuitVersion) -> Result<VerifierCode, Failure> {
        let carried = VerifierCode::development();
        match self.setup {
            SetupChoice::InsecureDevelopment if position < carried.len() => Ok(carried[position].clone()),
            setup => Ok(VerifierCode::with_key(setup::key(&key_cache()?, size, setup).await?.into())),
        }
    }
}

impl DeploymentFile {
    pub(super) const NAME: &'static str = "deployment.json";

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
            let advice = "restore it from a backup; if another version of this program wrote it, use that version, or deploy again from another --data-dir";
            Failure::new(Exit::Input, format!("{} is damaged ({error}): {advice}", path.display()))
        })
    }

    fn write(&self, folder: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).or_exit(Exit::Internal)?;
        Disk::default().replace(&folder.join(Self::NAME), &text).or_exit(Exit::Storage)
    }

    /// Deploys verifiers and rollup. The hospital pays, and becomes the sequencer. The fee is in wei. If the folder has
    /// an interrupted deployment, goes on with it.
    ///
    /// # Errors
    /// Fails if this is another chain than the target's, if the keys cannot be made, if the chain refuses, or if the
    /// interrupted deployment was another one.
    pub async fn deploy(
        folder: &Path,
        endpoint: &Endpoint,
        hospital: &PrivateKeySigner,
        registration_fee: U256,
        officers: Officers,
        target: Target,
    ) -> Result<Self, Failure> {
        let provider = endpoint.connect(Some(hospital.clone())).or_exit(Exit::Unavailable)?;
        let chain_id = chain_id(endpoint, &provider).await?;
        target.allow(chain_id)?;
        let begun = Self::read(folder)?;
        // What remains of an interrupted deployment costs less, and some ether is spent already.
        fund(&provider, hospital.address(), if begun.is_none() { ENOUGH } else { U256::ONE }).await?;
        let version = CircuitVersion::V1;
        let mut deployment = Deployment {
            factory: None,
            salt: rand::random::<[u8; 32]>().into(),
            begun_at: 0,
            sizes: target.deployed_sizes().await?,
            circuit_version: version.number.into(),
            genesis: StateTrees::genesis(version).root(),
            sequencer: hospital.address(),
            officers,
            registration_fee,
        };
        let mut file = match begun {
            Some(begun) => {
                (deployment.factory, deployment.salt) = (Some(begun.record.factory), begun.record.salt);
                deployment.begun_at = begun.begun_at;
                begun.require(&deployment.record(begun.record.factory), chain_id, target.setup)?;
                begun
            }
            None => Self::begin(folder, &provider, chain_id, &mut deployment, target.setup).await?,
        };
        let deployed = match target.setup {
            SetupChoice::InsecureDevelopment => deploy(provider, &deployment).await,
            SetupChoice::Imported(_) => deploy_on_named_chain(provider, &deployment, chain_id).await,
        };
        let deployed = deployed.or_exit(Exit::Unavailable)?;
        file.deployed_at = Some(deployed.rollup.deployed_at());
        file.gas_used += deployed.gas_used();
        file.write(folder)?;
        Ok(file)
    }

    /// Chooses the addresses, and writes them down. Creates the factory if the chain has none.
    async fn begin(
        folder: &Path,
        provider: &DynProvider,
        chain_id: u64,
        deployment: &mut Deployment,
        setup: SetupChoice,
    ) -> Result<Self, Failure> {
        let (factory, receipt) = factory::find_or_create(provider).await.or_exit(Exit::Unavailable)?;
        deployment.factory = Some(factory);
        deployment.begun_at = provider.get_block_number().await.or_exit(Exit::Unavailable)?;
        let record = deployment.record(factory);
        let contract =
            record.contract().ok_or_else(|| Failure::new(Exit::Internal, "the sizes have too many slots"))?;
        let gas_used = receipt.map_or(0, |receipt| receipt.gas_used);
        let begun_at = deployment.begun_at;
        let file = Self { chain_id, contract, record, setup, begun_at, deployed_at: None, gas_used };
        file.write(folder)?;
        Ok(file)
    }

    /// Refuses to go on with a deployment that was begun with other options, or by another version of the program.
    fn require(&self, record: &DeploymentRecord, chain_id: u64, setup: SetupChoice) -> Result<(), Failure> {
        if (&self.record, self.chain_id, self.setup) == (record, chain_id, setup)
            && record.contract() == Some(self.contract)
        {
            return Ok(());
        }
        let Self { contract, chain_id, .. } = self;
        let (fee, officers) = (ether(self.record.registration_fee), office::options(&self.record.officers));
        let large = if self.record.sizes.len() > CircuitSizes::v1().iter().count() { " --large" } else { "" };
        let setup = match self.setup {
            SetupChoice::InsecureDevelopment => String::new(),
            setup @ SetupChoice::Imported(_) => format!(" --setup {setup} --chain-id {chain_id}"),
        };
        let message = format!(
            "the deployment of {contract} on chain {chain_id} was interrupted, and began with other options: repeat `deploy --registration-fee \
             {fee}{officers}{large}{setup}` with the version of the program that began it, or give another --data-dir"
        );
        Err(Failure::new(Exit::Usage, message))
    }

    /// Whether the rollup is on the chain. A reorganisation can take it back: then `deploy` puts it there again.
    ///
    /// # Errors
    /// Fails if the chain cannot be reached.
    pub async fn is_there(&self, endpoint: &Endpoint) -> Result<bool, Failure> {
        let provider = endpoint.connect(None).or_exit(Exit::Unavailable)?;
        let on_this_chain = chain_id(endpoint, &provider).await? == self.chain_id;
        let code = provider.get_code_at(self.contract).await.or_exit(Exit::Unavailable)?;
        Ok(self.deployed_at.is_some() && (!on_this_chain || !code.is_empty()))
    }

    /// The block of the deployment.
    ///
    /// # Errors
    /// Fails if the deployment was interrupted.
    pub fn deployed_at(&self) -> Result<u64, Failure> {
        self.deployed_at.ok_or_else(|| {
            let message =
                format!("the deployment of {} was interrupted: run `emr-hospital deploy` again", self.contract);
            Failure::new(Exit::Usage, message)
        })
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

/// Makes sure that an address has at least this much ether. On a development node with unlocked accounts, takes it from the first
/// of them.
async fn fund(provider: &DynProvider, address: Address, least: U256) -> Result<(), Failure> {
    let balance = provider.get_balance(address).await.or_exit(Exit::Unavailable)?;
    if balance >= least {
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

#[cfg(test)]
mod tests {
    use emr_rollup::setup::SetupId;

    use super::*;

    #[test]
    fn a_deployment_is_for_the_chain_that_was_named_and_that_its_setup_allows() {
        let (one, other) = (DEVELOPMENT_CHAINS[0], DEVELOPMENT_CHAINS[1]);
        let development = |chain_id| Target { chain_id, ..Target::DEVELOPMENT };
        let ceremony = |chain_id| Target { setup: SetupChoice::Imported(SetupId([7; 32])), chain_id, large: false };
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
}

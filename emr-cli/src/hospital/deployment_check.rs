//! Checks a deployment against the chain and this machine, before anything is served or proved.

use alloy::{
    eips::BlockNumberOrTag,
    primitives::Bytes,
    providers::{DynProvider, Provider},
};
use emr_chain::{Rollup, RollupInstance, VerifierCode, endpoint::Endpoint};
use emr_client::{ClientError, verify};
use emr_rollup::{
    prover::{ProverError, Setup},
    setup::SetupChoice,
    version::CircuitSizes,
};

use super::{
    deployment::{DeploymentFile, Target},
    setup,
    site::key_cache,
};
use crate::failure::{Exit, Failure, OrExit};

/// Checks that the setup is allowed on the deployment's chain, that this is the chain that the operator named, if they
/// did, that there is a contract at its address, and that it was made from this program's contracts and the deployment's keys.
///
/// # Errors
/// Fails if the chain cannot be reached, is another one, has no code there, or has another key.
pub(super) async fn check(endpoint: &Endpoint, deployment: &DeploymentFile, named: Option<u64>) -> Result<(), Failure> {
    // `deploy` writes no file with the development setup and a real chain. Somebody changed it.
    let chain_id = named.or(Some(deployment.chain_id));
    Target { setup: deployment.setup, chain_id, large: false }.allow(deployment.chain_id)?;
    deployment.deployed_at()?;
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
    check_keys(provider, deployment).await
}

/// Compares what the contract was made from with this program and with the setup of the deployment, so that no proof is made in
/// vain. A size that is rarely used is compared too: its key must not turn out to be another one when the queue is
/// overdue.
async fn check_keys(provider: DynProvider, deployment: &DeploymentFile) -> Result<(), Failure> {
    let DeploymentFile { chain_id, contract, ref record, .. } = *deployment;
    if verify::deployment::verify(record, &RollupInstance { chain_id, contract }).is_err() {
        let message = format!(
            "deployment.json does not give {contract} with the contracts of this program: use the version of the program that deployed it, or \
             restore deployment.json from a backup"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let carried = VerifierCode::development().map(|code| code.key_hash());
    if deployment.setup == SetupChoice::InsecureDevelopment
        && !record.sizes.iter().zip(carried).all(|(size, carried)| size.key == carried)
    {
        let message = format!(
            "the rollup at {contract} does not have the development keys of this program: use the version of the program that deployed it, or \
             deploy again from another --data-dir"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let rollup = Rollup::attach(provider, contract, deployment.deployed_at()?).await.map_err(ClientError::from)?;
    for code in rollup.verifying_keys().await.map_err(ClientError::from)? {
        check_setup_of(deployment, &code)?;
    }
    Ok(())
}

/// Compares the setup of a key, whose contract has this code, with that of the deployment.
fn check_setup_of(deployment: &DeploymentFile, code: &Bytes) -> Result<(), Failure> {
    let SetupChoice::Imported(id) = deployment.setup else { return Ok(()) };
    let found = match Setup::of_key(code) {
        Some(found) if found == id => return Ok(()),
        Some(found) => format!("a key of setup {found}"),
        None => "another kind of key".to_owned(),
    };
    let contract = deployment.contract;
    let message = format!(
        "the rollup at {contract} has {found}, and deployment.json names setup {id}: restore deployment.json from a backup"
    );
    Err(Failure::new(Exit::Usage, message))
}

/// Checks that the setup of a ceremony is in the folder of the keys. Otherwise only the first batch would miss it.
///
/// # Errors
/// Fails if it is absent or damaged.
pub(super) async fn check_setup(deployment: &DeploymentFile) -> Result<(), Failure> {
    let SetupChoice::Imported(id) = deployment.setup else { return Ok(()) };
    let folder = key_cache()?;
    let known = CircuitSizes::v1_all();
    let sizes = deployment.record.sizes.iter().filter_map(|size| known.with_slots(size.max_l1, size.max_l2));
    for k in setup::powers(sizes) {
        let keys = folder.clone();
        let found = tokio::task::spawn_blocking(move || Setup::imported(&keys, k, id).is_some());
        if !found.await.or_exit(Exit::Internal)? {
            return Err(ProverError::NoSetup { id, k, folder }).or_exit(Exit::Storage);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256};
    use emr_chain::{DeploymentRecord, Officers};
    use emr_core::StateRoot;
    use emr_rollup::setup::SetupId;

    use super::*;

    /// A file that `deploy` would not write: the development setup on a real chain. It is refused before anything is
    /// sent.
    #[tokio::test]
    async fn the_development_setup_is_not_served_on_a_real_chain() -> Result<(), Box<dyn std::error::Error>> {
        let mut file = DeploymentFile {
            chain_id: 11_155_111,
            contract: Address::ZERO,
            record: DeploymentRecord {
                factory: Address::ZERO,
                salt: B256::ZERO,
                sizes: Vec::new(),
                circuit_version: 1,
                genesis: StateRoot::from_bytes([1; 32])?,
                sequencer: Address::ZERO,
                officers: Officers::registrar(Address::ZERO),
                registration_fee: U256::ZERO,
            },
            setup: SetupChoice::InsecureDevelopment,
            begun_at: 0,
            deployed_at: Some(0),
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

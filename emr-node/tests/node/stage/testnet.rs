//! The contracts on a real Ethereum node: on anvil, whose state can be set back and whose mining can be stopped, or on geth.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, U256},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
};
use emr_chain::{Deployed, DeploymentRecord, Rollup, deploy, endpoint::Endpoint};
use emr_core::{AccountIndex, Role, UnixTime};
use emr_node::{Node, NodeConfig, RunningNode};
use emr_rollup::operation::Domain;
use emr_testkit::{
    chain,
    node::{admit, config, deployment},
    part::Anvil,
    people::{Person, people, registrar},
};
use tempfile::TempDir;

use super::{Outcome, caller::Caller};

/// The contracts on an Ethereum node, a registered hospital, and a folder for its node.
#[derive(Debug)]
pub(crate) struct Testnet {
    pub(crate) rollup: Rollup<DynProvider>,
    pub(crate) hospital: AccountIndex,
    record: DeploymentRecord,
    endpoint: Endpoint,
    folder: TempDir,
    _l1: chain::Node,
}

impl Testnet {
    /// Starts anvil and deploys. Returns `None` if anvil is missing and may be skipped.
    pub(crate) async fn new() -> Outcome<Option<Self>> {
        Self::since(UnixTime::now()).await
    }

    /// The same, with this time in the first block.
    pub(crate) async fn since(genesis: UnixTime) -> Outcome<Option<Self>> {
        let genesis = genesis.get().to_string();
        let arguments = ["--chain-id", "31337", "--timestamp", genesis.as_str()];
        let Some(anvil) = Anvil::start_or_skip(&arguments)? else { return Ok(None) };
        let l1 = chain::Node::Anvil(anvil);
        let provider = l1.endpoint()?.connect(None)?;
        for address in people().all().map(Person::address).into_iter().chain([registrar().address()]) {
            set_balance(&provider, address).await?;
        }
        Ok(Some(Self::on(l1).await?))
    }

    /// The same on geth, which makes a block each second, as a chain does that does not wait for transactions.
    pub(crate) async fn geth() -> Outcome<Option<Self>> {
        let Some(l1) = chain::Node::geth(&["--dev.period", "1"])? else { return Ok(None) };
        // Its genesis gives ether to the first four people, and it has no method that gives more.
        let provider = l1.endpoint()?.connect(Some(people().hospital.ethereum.clone()))?;
        for address in [people().other.address(), registrar().address()] {
            let hundred_ether = U256::from(10).pow(U256::from(20));
            let transfer = TransactionRequest::default().with_to(address).with_value(hundred_ether);
            provider.send_transaction(transfer).await?.get_receipt().await?;
        }
        Ok(Some(Self::on(l1).await?))
    }

    /// Deploys, and registers the hospital. Everybody must have ether.
    async fn on(l1: chain::Node) -> Outcome<Self> {
        let endpoint = l1.endpoint()?;
        let provider = endpoint.connect(Some(people().hospital.ethereum.clone()))?;
        let Deployed { rollup, record, .. } = deploy(provider, &deployment()).await?;
        let hospital = register(&endpoint, &rollup, &people().hospital).await?;
        Ok(Self { rollup, record, hospital, endpoint, folder: tempfile::tempdir()?, _l1: l1 })
    }

    pub(crate) fn config(&self) -> Outcome<NodeConfig> {
        config(self.endpoint.clone(), &self.rollup, &self.record, self.folder.path())
    }

    pub(crate) async fn start(&self) -> Outcome<RunningNode> {
        Ok(Node::start(self.config()?).await?)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn domain(&self) -> Domain {
        let instance = self.rollup.instance();
        Domain::new(instance.chain_id, instance.contract.into_array())
    }

    /// Registers somebody. The registrar admits them if their role needs it.
    pub(crate) async fn register(&self, person: &Person) -> Outcome<AccountIndex> {
        register(&self.endpoint, &self.rollup, person).await
    }

    /// The hospital, logged in.
    pub(crate) async fn operator(&self, node: &RunningNode) -> Outcome<Caller> {
        Caller::log_in(node.url().clone(), self.domain(), &people().hospital, self.hospital).await
    }

    /// Calls one of anvil's own methods.
    pub(crate) async fn anvil<T: alloy::rpc::json_rpc::RpcRecv>(
        &self,
        method: &'static str,
        parameters: impl alloy::rpc::json_rpc::RpcSend + 'static,
    ) -> Outcome<T> {
        Ok(self.rollup.provider().raw_request(method.into(), parameters).await?)
    }
}

async fn set_balance(provider: &DynProvider, address: Address) -> Outcome {
    let thousand_ether = "0x3635c9adc5dea00000";
    Ok(provider.raw_request("anvil_setBalance".into(), (address, thousand_ether)).await?)
}

async fn register(endpoint: &Endpoint, rollup: &Rollup<DynProvider>, person: &Person) -> Outcome<AccountIndex> {
    let attach = async |signer| {
        let provider = endpoint.connect(Some(signer))?;
        Outcome::Ok(Rollup::attach(provider, rollup.instance().contract, rollup.deployed_at()).await?)
    };
    let own = attach(person.ethereum.clone()).await?;
    let (account, _) = own.register(&person.registration(rollup.instance(), None)).await?;
    if person.identity.role() != Role::Patient {
        admit(&attach(registrar()).await?, account).await?;
    }
    Ok(account)
}

//! Connections that the participants of one process share. A hospital system can have hundreds of doctors in one
//! process.

use alloy::primitives::Address;
use emr_chain::{endpoint::Endpoint, nodes::EthereumNodes};
use emr_core::{HttpAddress, PlainHttp};

use crate::{
    error::ClientError,
    node::{NodeClient, NodeError},
};

/// Connections to a hospital's node and to Ethereum nodes. Participants that join with the same value, or with a
/// clone of it, share these connections. Each participant has its own login.
#[derive(Clone, Debug)]
pub struct Connections {
    node: NodeClient,
    nodes: EthereumNodes,
    /// The Ethereum nodes' addresses, as a profile remembers them.
    rpc: Vec<String>,
    /// How many of them must agree, if the participant said it.
    agree: Option<usize>,
    /// The chain that the participant named.
    chain: Option<u64>,
    /// The contract that the participant named.
    contract: Option<Address>,
}

impl Connections {
    /// Connections to these addresses. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`] if an address cannot be used.
    pub fn new(node: &str, rpc: &str, plain: PlainHttp) -> Result<Self, ClientError> {
        Self::several(node, &[rpc.to_owned()], None, plain)
    }

    /// The same with several Ethereum nodes, of which `agree` must agree: see [`EthereumNodes::of`].
    ///
    /// # Errors
    /// [`ClientError`] if an address cannot be used, or these nodes cannot be used together.
    pub fn several(node: &str, rpc: &[String], agree: Option<usize>, plain: PlainHttp) -> Result<Self, ClientError> {
        let address = HttpAddress::parse(node, plain).map_err(NodeError::from)?;
        let endpoints: Vec<_> = rpc.iter().map(|address| Endpoint::http(address, plain)).collect::<Result<_, _>>()?;
        let nodes = EthereumNodes::of(&endpoints, agree)?;
        Ok(Self { node: NodeClient::at(address)?, nodes, rpc: rpc.to_vec(), agree, chain: None, contract: None })
    }

    /// Connections to a node, and to Ethereum over any endpoint, for example a chain in this process. A profile
    /// remembers only the endpoint's name.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn over(node: &str, endpoint: &Endpoint) -> Result<Self, ClientError> {
        Self::over_several(node, std::slice::from_ref(endpoint), None)
    }

    /// The same with several endpoints, of which `agree` must agree.
    ///
    /// # Errors
    /// As for [`Self::several`].
    pub fn over_several(node: &str, endpoints: &[Endpoint], agree: Option<usize>) -> Result<Self, ClientError> {
        let nodes = EthereumNodes::of(endpoints, agree)?;
        let rpc = endpoints.iter().map(Endpoint::to_string).collect();
        Ok(Self { node: NodeClient::new(node)?, nodes, rpc, agree, chain: None, contract: None })
    }

    /// Accepts only a node for this chain, which need not be a development chain. A participant names a real chain if
    /// they trust that their hospital proves there with the setup of a ceremony: a client cannot check that. The profile
    /// remembers the chain when it joins.
    #[must_use]
    pub fn on_chain(self, chain_id: Option<u64>) -> Self {
        Self { chain: chain_id, ..self }
    }

    /// Accepts only a node for this contract. Its address commits to what it does and to the keys of its proofs
    /// ([`DeploymentRecord`](emr_chain::DeploymentRecord)). The participant has it from their hospital: an invitation names it.
    #[must_use]
    pub fn at_contract(self, contract: Option<Address>) -> Self {
        Self { contract, ..self }
    }

    pub(crate) const fn chain(&self) -> Option<u64> {
        self.chain
    }

    pub(crate) const fn contract(&self) -> Option<Address> {
        self.contract
    }

    /// A client of the node for one more participant.
    pub(crate) fn node(&self) -> NodeClient {
        self.node.for_another()
    }

    pub(crate) const fn nodes(&self) -> &EthereumNodes {
        &self.nodes
    }

    pub(crate) fn rpc(&self) -> &[String] {
        &self.rpc
    }

    pub(crate) const fn agree(&self) -> Option<usize> {
        self.agree
    }
}

//! Connections that the participants of one process share. A hospital system can have hundreds of doctors in one
//! process.

use emr_chain::endpoint::Endpoint;
use emr_core::{HttpAddress, PlainHttp};

use crate::{
    error::ClientError,
    node::{NodeClient, NodeError},
};

/// Connections to a hospital's node and to an Ethereum node. Participants that join with the same value, or with a
/// clone of it, share these connections. Each participant has its own login.
#[derive(Clone, Debug)]
pub struct Connections {
    node: NodeClient,
    endpoint: Endpoint,
    /// The Ethereum node's address, as a profile remembers it.
    rpc: String,
    /// The chain that the participant named.
    chain: Option<u64>,
}

impl Connections {
    /// Connections to these addresses. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`] if an address cannot be used.
    pub fn new(node: &str, rpc: &str, plain: PlainHttp) -> Result<Self, ClientError> {
        let address = HttpAddress::parse(node, plain).map_err(NodeError::from)?;
        let endpoint = Endpoint::http(rpc, plain)?.pooled()?;
        Ok(Self { node: NodeClient::at(address)?, endpoint, rpc: rpc.to_owned(), chain: None })
    }

    /// Connections to a node, and to Ethereum over any endpoint, for example a chain in this process. A profile
    /// remembers only the endpoint's name.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn over(node: &str, endpoint: &Endpoint) -> Result<Self, ClientError> {
        Ok(Self { node: NodeClient::new(node)?, endpoint: endpoint.pooled()?, rpc: endpoint.to_string(), chain: None })
    }

    /// Accepts only a node for this chain, which need not be a development chain. A participant names a real chain if
    /// they trust that their hospital proves there with the setup of a ceremony: a client cannot check that. The profile
    /// remembers the chain when it joins.
    #[must_use]
    pub fn on_chain(self, chain_id: Option<u64>) -> Self {
        Self { chain: chain_id, ..self }
    }

    pub(crate) const fn chain(&self) -> Option<u64> {
        self.chain
    }

    /// A client of the node for one more participant.
    pub(crate) fn node(&self) -> NodeClient {
        self.node.for_another()
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn rpc(&self) -> &str {
        &self.rpc
    }
}

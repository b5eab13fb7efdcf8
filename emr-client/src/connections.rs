//! Connections that the participants of one process share: a hospital system has hundreds of doctors.

use emr_chain::endpoint::Endpoint;
use emr_core::{HttpAddress, PlainHttp};

use crate::{
    error::ClientError,
    node::{NodeClient, NodeError},
};

/// Connections to a hospital's node and to an Ethereum node. Participants that join with the same value, or with clones of it, share them; each
/// logs in for itself.
#[derive(Clone, Debug)]
pub struct Connections {
    node: NodeClient,
    endpoint: Endpoint,
    /// What a profile remembers of the Ethereum node.
    rpc: String,
}

impl Connections {
    /// Connections to these addresses. Nothing is sent yet.
    ///
    /// # Errors
    /// If an address cannot be used.
    pub fn new(node: &str, rpc: &str, plain: PlainHttp) -> Result<Self, ClientError> {
        let address = HttpAddress::parse(node, plain).map_err(NodeError::from)?;
        let endpoint = Endpoint::http(rpc, plain)?.pooled()?;
        Ok(Self { node: NodeClient::at(address)?, endpoint, rpc: rpc.to_owned() })
    }

    /// Connections to a node, and to Ethereum over any endpoint, such as a chain in this process. A profile remembers only the endpoint's name.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn over(node: &str, endpoint: &Endpoint) -> Result<Self, ClientError> {
        Ok(Self { node: NodeClient::new(node)?, endpoint: endpoint.pooled()?, rpc: endpoint.to_string() })
    }

    /// The node, for one more participant.
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

//! Where the Ethereum chain is, and a provider for it: the same code runs on a chain in this process and on any node.

use std::{fmt, str::FromStr, time::Duration};

use alloy::{
    network::EthereumWallet,
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::client::RpcClient,
    signers::local::PrivateKeySigner,
    transports::{BoxTransport, IntoBoxTransport, TransportError},
};
use emr_core::{AddressError, HttpAddress, PlainHttp};

use crate::http::HttpTransport;

/// How often a transaction is looked for: on this machine, and elsewhere (blocks come every 12 s on mainnet).
const POLL_HERE: Duration = Duration::from_millis(50);
const POLL_ELSEWHERE: Duration = Duration::from_secs(2);

/// An Ethereum chain that can be talked to.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A node's JSON-RPC address, `http` or `https`.
    Http(HttpAddress),
    /// A chain in this process, reached by its transport. It is trusted as this process is.
    InProcess(BoxTransport),
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address is not one to use.
    #[error("the Ethereum node's address cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The HTTP client could not be set up.
    #[error("no HTTP client could be set up: {0}")]
    Client(String),
    /// Nothing answered as an Ethereum node would.
    #[error("no Ethereum node answers at {endpoint} ({reason}): check the address, and that the node is running")]
    Unreachable {
        /// The endpoint, without secrets.
        endpoint: String,
        /// What happened.
        reason: String,
    },
    /// The node is on another chain.
    #[error("{endpoint} is chain {actual}, but chain {expected} is needed: point to a node of chain {expected}")]
    ChainId {
        /// The endpoint, without secrets.
        endpoint: String,
        /// The chain that is needed.
        expected: u64,
        /// The chain the node is on.
        actual: u64,
    },
}

impl Endpoint {
    /// A chain in this process, such as `emr_devnet::EmbeddedChain`, by its alloy transport.
    pub fn in_process(transport: impl IntoBoxTransport) -> Self {
        Self::InProcess(BoxTransport::new(transport))
    }

    /// The Ethereum node at an address.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Address`] if it is none, or plain http is not allowed there.
    pub fn http(address: &str, plain: PlainHttp) -> Result<Self, EndpointError> {
        Ok(Self::Http(HttpAddress::parse(address, plain)?))
    }

    /// A provider for this endpoint. With a signer it fills in gas, fees, nonce and chain id, and signs.
    ///
    /// Nothing is sent yet: whether the endpoint can be reached shows at [`Self::expect_chain_id`] or the first call.
    /// The nonce of each transaction is asked from the node, so send from one account one at a time.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be set up.
    pub fn connect(&self, signer: Option<PrivateKeySigner>) -> Result<DynProvider, EndpointError> {
        self.connect_with(signer.map(EthereumWallet::from))
    }

    /// The same with any wallet, such as one whose key is in a device.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub fn connect_with(&self, wallet: Option<EthereumWallet>) -> Result<DynProvider, EndpointError> {
        let (transport, here) = match self {
            Self::Http(address) => {
                let transport = HttpTransport::new(address);
                let transport = transport.map_err(|error| EndpointError::Client(error.to_string()))?;
                (BoxTransport::new(transport), address.is_this_machine())
            }
            Self::InProcess(transport) => (transport.clone(), true),
        };
        let poll = if here { POLL_HERE } else { POLL_ELSEWHERE };
        let client = RpcClient::new(transport, here).with_poll_interval(poll);
        let builder = ProviderBuilder::default().with_gas_estimation().with_simple_nonce_management().fetch_chain_id();
        Ok(match wallet {
            Some(wallet) => builder.wallet(wallet).connect_client(client).erased(),
            None => builder.connect_client(client).erased(),
        })
    }

    /// Asks `provider`, which is connected to this endpoint, which chain it is on, and insists on `expected`.
    ///
    /// # Errors
    ///
    /// If it cannot be reached or is on another chain.
    pub async fn expect_chain_id(&self, provider: &DynProvider, expected: u64) -> Result<(), EndpointError> {
        let actual = provider
            .get_chain_id()
            .await
            .map_err(|error| EndpointError::Unreachable { endpoint: self.to_string(), reason: reason(&error) })?;
        if actual == expected {
            return Ok(());
        }
        Err(EndpointError::ChainId { endpoint: self.to_string(), expected, actual })
    }
}

/// The innermost cause: the outer ones only say that a request failed.
fn reason(error: &TransportError) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// As [`Endpoint::http`] with [`PlainHttp::ThisMachine`].
impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(address: &str) -> Result<Self, EndpointError> {
        Self::http(address, PlainHttp::ThisMachine)
    }
}

/// Shows where the endpoint is; path, query and user name of a URL can hold keys and are left out.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => address.fmt(f),
            Self::InProcess(_) => f.write_str("the chain in this process"),
        }
    }
}

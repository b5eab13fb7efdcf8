//! The address of an Ethereum chain, and a provider for it. The same code works with a chain in this process and with
//! any node.

use std::{fmt, str::FromStr, time::Duration};

use alloy::{
    network::EthereumWallet,
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::client::RpcClient,
    signers::local::PrivateKeySigner,
    transports::{BoxTransport, IntoBoxTransport, TransportError},
};
use emr_core::{AddressError, HttpAddress, PlainHttp};
use url::Url;

use crate::http::HttpTransport;

/// How often a provider asks whether a transaction is mined: on this machine, and elsewhere (mainnet makes a block
/// every 12 s).
const POLL_HERE: Duration = Duration::from_millis(50);
const POLL_ELSEWHERE: Duration = Duration::from_secs(2);

/// How to reach an Ethereum chain.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A node's JSON-RPC address, `http` or `https`.
    Http(HttpAddress),
    /// The same node. All providers of this endpoint and of its clones share connections.
    Pooled {
        /// The address.
        address: HttpAddress,
        /// The connections.
        transport: BoxTransport,
    },
    /// The transport of a chain in this process. The chain is trusted like the process itself.
    InProcess(BoxTransport),
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address is invalid or not allowed.
    #[error("the Ethereum node's address cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The HTTP client could not be set up.
    #[error("no HTTP client could be set up: {0}")]
    Client(String),
    /// There is no Ethereum node at the address, or it does not answer.
    #[error("no Ethereum node answers at {endpoint} ({reason}): check the address, and that the node is running")]
    Unreachable {
        /// The endpoint, without secrets.
        endpoint: String,
        /// The cause.
        reason: String,
    },
    /// The node is on another chain.
    #[error("{endpoint} is chain {actual}, but chain {expected} is needed: point to a node of chain {expected}")]
    ChainId {
        /// The endpoint, without secrets.
        endpoint: String,
        /// The chain that is needed.
        expected: u64,
        /// The node's chain.
        actual: u64,
    },
}

impl Endpoint {
    /// An endpoint for a chain in this process, such as `emr_devnet::EmbeddedChain`, from its alloy transport.
    pub fn in_process(transport: impl IntoBoxTransport) -> Self {
        Self::InProcess(BoxTransport::new(transport))
    }

    /// An endpoint for the Ethereum node at an address.
    ///
    /// # Errors
    ///
    /// Returns [`EndpointError::Address`] if the text is not an HTTP address, or if plain http is not allowed there.
    pub fn http(address: &str, plain: PlainHttp) -> Result<Self, EndpointError> {
        Ok(Self::Http(HttpAddress::parse(address, plain)?))
    }

    /// The same endpoint, but its providers share connections.
    ///
    /// # Errors
    ///
    /// Returns an error if no HTTP client can be set up.
    pub fn pooled(&self) -> Result<Self, EndpointError> {
        match self {
            Self::Http(address) => Ok(Self::Pooled { address: address.clone(), transport: http(address)? }),
            Self::Pooled { .. } | Self::InProcess(_) => Ok(self.clone()),
        }
    }

    /// Whether the chain is on this machine.
    pub fn is_this_machine(&self) -> bool {
        match self {
            Self::Http(address) | Self::Pooled { address, .. } => address.is_this_machine(),
            Self::InProcess(_) => true,
        }
    }

    /// Makes a provider for this endpoint. With a signer, it fills in gas, fees, nonce and chain id, and signs.
    ///
    /// This sends nothing yet. [`Self::expect_chain_id`] or the first call shows whether the endpoint can be reached.
    /// The provider asks the node for the nonce of each transaction, so send only one transaction at a time from an
    /// account.
    ///
    /// # Errors
    ///
    /// Returns [`EndpointError::Client`] if no HTTP client can be set up.
    pub fn connect(&self, signer: Option<PrivateKeySigner>) -> Result<DynProvider, EndpointError> {
        self.connect_with(signer.map(EthereumWallet::from))
    }

    /// The same as [`Self::connect`] with any wallet, for example with a key in a hardware device.
    ///
    /// # Errors
    ///
    /// The same as [`Self::connect`].
    pub fn connect_with(&self, wallet: Option<EthereumWallet>) -> Result<DynProvider, EndpointError> {
        Ok(Self::provider(self.transport()?, self.is_this_machine(), wallet))
    }

    /// The transport, with its own connections unless the endpoint is pooled.
    pub(crate) fn transport(&self) -> Result<BoxTransport, EndpointError> {
        match self {
            Self::Http(address) => http(address),
            Self::Pooled { transport, .. } | Self::InProcess(transport) => Ok(transport.clone()),
        }
    }

    /// The address; `None` for a chain in this process.
    pub(crate) fn url(&self) -> Option<&Url> {
        match self {
            Self::Http(address) | Self::Pooled { address, .. } => Some(address.url()),
            Self::InProcess(_) => None,
        }
    }

    /// Makes a provider over a transport. `here` says whether the chain is on this machine.
    pub(crate) fn provider(transport: BoxTransport, here: bool, wallet: Option<EthereumWallet>) -> DynProvider {
        let poll = if here { POLL_HERE } else { POLL_ELSEWHERE };
        let client = RpcClient::new(transport, here).with_poll_interval(poll);
        let builder = ProviderBuilder::default().with_gas_estimation().with_simple_nonce_management().fetch_chain_id();
        match wallet {
            Some(wallet) => builder.wallet(wallet).connect_client(client).erased(),
            None => builder.connect_client(client).erased(),
        }
    }

    /// Checks that `provider`, which is connected to this endpoint, is on the chain `expected`.
    ///
    /// # Errors
    ///
    /// Fails if the node cannot be reached, or if it is on another chain.
    pub async fn expect_chain_id(&self, provider: &DynProvider, expected: u64) -> Result<(), EndpointError> {
        expect_chain_id(provider, &self.to_string(), expected).await
    }
}

/// Checks the chain of a provider. `endpoint` names it in errors.
pub(crate) async fn expect_chain_id(
    provider: &DynProvider,
    endpoint: &str,
    expected: u64,
) -> Result<(), EndpointError> {
    let endpoint = endpoint.to_owned();
    match provider.get_chain_id().await {
        Err(error) => Err(EndpointError::Unreachable { endpoint, reason: reason(&error) }),
        Ok(actual) if actual != expected => Err(EndpointError::ChainId { endpoint, expected, actual }),
        Ok(_) => Ok(()),
    }
}

fn http(address: &HttpAddress) -> Result<BoxTransport, EndpointError> {
    let transport = HttpTransport::new(address).map_err(|error| EndpointError::Client(error.to_string()))?;
    Ok(BoxTransport::new(transport))
}

/// The innermost cause. The outer causes only say that a request failed.
fn reason(error: &TransportError) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// The same as [`Endpoint::http`] with [`PlainHttp::ThisMachine`].
impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(address: &str) -> Result<Self, EndpointError> {
        Self::http(address, PlainHttp::ThisMachine)
    }
}

/// Shows the endpoint without path, query and user name, because these can hold keys.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) | Self::Pooled { address, .. } => address.fmt(f),
            Self::InProcess(_) => f.write_str("the chain in this process"),
        }
    }
}

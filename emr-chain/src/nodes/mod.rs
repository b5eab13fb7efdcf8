//! The Ethereum nodes that a client asks: one, or several of which none is trusted alone.

mod transport;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::{
    eips::BlockId,
    network::EthereumWallet,
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider},
    rlp,
    rpc::types::EIP1186AccountProofResponse,
    transports::BoxTransport,
};

use crate::{
    endpoint::{Endpoint, EndpointError, expect_chain_id},
    header::{Agreement, Answers, HeaderSource, OneNode, Said},
    proof::{ProofError, VerifiedHeader, verify_header_rlp, verify_storage},
};
use transport::AnyOf;

/// How long one of several nodes is waited for. The others can answer in its place.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why these nodes cannot be used together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodesError {
    /// No node was named.
    #[error("no Ethereum node is named: name one with --rpc")]
    None,
    /// A node was named twice. It would count twice.
    #[error("the Ethereum node {0} is named twice: name each node once")]
    Twice(String),
    /// Too few nodes would decide, or more than there are.
    #[error(
        "{agree} of {nodes} Ethereum nodes cannot decide: --agree must be more than half of the nodes, so that two groups of nodes cannot \
         both decide, and not more than there are"
    )]
    Agree {
        /// How many must agree.
        agree: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A node's address cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// A node did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer in {} s", PATIENCE.as_secs())]
pub(crate) struct Late;

/// One of the nodes.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    name: String,
    transport: BoxTransport,
    provider: DynProvider,
}

impl Member {
    /// Its address without secrets, for errors.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn provider(&self) -> &DynProvider {
        &self.provider
    }

    pub(crate) fn transport(&self) -> BoxTransport {
        self.transport.clone()
    }

    /// Waits for an answer of this node, which others can replace.
    pub(crate) async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Late> {
        tokio::time::timeout(PATIENCE, answer).await.map_err(|_| Late)
    }
}

/// The Ethereum nodes of a client. Clones share connections, and what is known about the nodes.
#[derive(Clone, Debug)]
pub struct EthereumNodes {
    members: Arc<[Member]>,
    agree: usize,
    here: bool,
    /// The nodes in the order in which they are asked for what one node can answer.
    order: Arc<Mutex<Vec<usize>>>,
}

impl EthereumNodes {
    /// These nodes, of which `agree` must agree. Without a number, more than half of them. A single node is believed when it
    /// says which block is the newest.
    ///
    /// # Errors
    /// Returns [`NodesError`] if no node is named, one is named twice, or half of the nodes or less would decide.
    pub fn of(endpoints: &[Endpoint], agree: Option<usize>) -> Result<Self, NodesError> {
        let nodes = endpoints.len();
        if nodes == 0 {
            return Err(NodesError::None);
        }
        let agree = agree.unwrap_or(nodes / 2 + 1);
        if agree <= nodes / 2 || agree > nodes {
            return Err(NodesError::Agree { agree, nodes });
        }
        for (at, endpoint) in endpoints.iter().enumerate() {
            if endpoint.url().is_some() && endpoints[..at].iter().any(|before| before.url() == endpoint.url()) {
                return Err(NodesError::Twice(endpoint.to_string()));
            }
        }
        let member = |endpoint: &Endpoint| -> Result<Member, EndpointError> {
            let pooled = endpoint.pooled()?;
            let (transport, provider) = (pooled.transport()?, pooled.connect(None)?);
            Ok(Member { name: endpoint.to_string(), transport, provider })
        };
        Ok(Self {
            members: endpoints.iter().map(member).collect::<Result<_, _>>()?,
            agree,
            here: endpoints.iter().all(Endpoint::is_this_machine),
            order: Arc::new(Mutex::new((0..nodes).collect())),
        })
    }

    /// Who says which block is the newest.
    pub fn headers(&self) -> Arc<dyn HeaderSource> {
        match &*self.members {
            [only] => Arc::new(OneNode::new(only.name.clone(), only.provider.clone())),
            _ => Arc::new(Agreement::new(self.clone())),
        }
    }

    /// A provider for everything that is not proved. With several nodes, calls of contracts need the same answer of
    /// `agree` nodes, transactions go to all nodes, and everything else is answered by the first node that can, beginning
    /// with those that agreed last.
    pub fn connect(&self, wallet: Option<EthereumWallet>) -> DynProvider {
        let transport = match &*self.members {
            [only] => only.transport(),
            _ => BoxTransport::new(AnyOf::new(self.clone())),
        };
        Endpoint::provider(transport, self.here, wallet)
    }

    /// Checks that `provider`, which is connected to these nodes, is on the chain `expected`.
    ///
    /// # Errors
    /// Returns [`EndpointError`] if too few nodes can be reached, or they are on another chain.
    pub async fn expect_chain_id(&self, provider: &DynProvider, expected: u64) -> Result<(), EndpointError> {
        let names: Vec<_> = self.members.iter().map(Member::name).collect();
        expect_chain_id(provider, &names.join(", "), expected).await
    }

    /// Storage slots of a contract in a block, with their proofs, which are checked. The nodes are asked one after the
    /// other, until one proves them.
    ///
    /// # Errors
    /// Returns [`ProofError`] if no node proves them.
    pub async fn proof(
        &self,
        contract: Address,
        slots: &[U256],
        header: &VerifiedHeader,
    ) -> Result<EIP1186AccountProofResponse, ProofError> {
        if let [only] = &*self.members {
            return proof(only, contract, slots, header).await;
        }
        let mut answers = Answers::default();
        for node in self.order() {
            let member = &self.members[node];
            let reason = match member.in_time(proof(member, contract, slots, header)).await {
                Ok(Ok(proof)) => return Ok(proof),
                Ok(Err(error)) => error.to_string(),
                Err(late) => late.to_string(),
            };
            self.put_last(node);
            answers.0.push((member.name.clone(), Said::Nothing(reason)));
        }
        Err(ProofError::NoNode { number: header.number(), answers })
    }

    /// The header of a block in RLP. Its hash is checked, so any node can give it. The nodes are asked one after the other.
    ///
    /// # Errors
    /// Returns [`ProofError`] if no node gives it.
    pub async fn header_rlp(&self, header: &VerifiedHeader) -> Result<Vec<u8>, ProofError> {
        let mut last = ProofError::UnknownBlock(BlockId::hash(header.hash()));
        for node in self.order() {
            let member = &self.members[node];
            match member.in_time(header_rlp(member, header)).await {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(error)) => last = error,
                Err(_) => {}
            }
            self.put_last(node);
        }
        Err(last)
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many nodes must agree.
    pub const fn agree(&self) -> usize {
        self.agree
    }

    pub(crate) fn order(&self) -> Vec<usize> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks these nodes before all others from now on.
    pub(crate) fn prefer(&self, nodes: &[usize]) {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).sort_by_key(|node| !nodes.contains(node));
    }

    /// Asks this node after all others from now on.
    pub(crate) fn put_last(&self, last: usize) {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).sort_by_key(|node| *node == last);
    }
}

async fn proof(
    member: &Member,
    contract: Address,
    slots: &[U256],
    header: &VerifiedHeader,
) -> Result<EIP1186AccountProofResponse, ProofError> {
    let keys = slots.iter().copied().map(B256::from).collect();
    let proof = member.provider.get_proof(contract, keys).block_id(BlockId::number(header.number())).await?;
    for slot in slots {
        verify_storage(header.state_root(), contract, *slot, &proof)?;
    }
    Ok(proof)
}

async fn header_rlp(member: &Member, header: &VerifiedHeader) -> Result<Vec<u8>, ProofError> {
    let at = BlockId::hash(header.hash());
    let block = member.provider.get_block(at).await?.ok_or(ProofError::UnknownBlock(at))?;
    let bytes = rlp::encode(&block.header.inner);
    verify_header_rlp(&bytes, header.hash())?;
    Ok(bytes)
}

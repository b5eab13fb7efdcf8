//! The header source that believes one Ethereum node.

use alloy::{eips::BlockId, providers::DynProvider};
use async_trait::async_trait;

use super::{Answers, HeaderError, HeaderSource, Newest, Said};
use crate::proof::{ProofError, VerifiedHeader, fetch_header};

/// One Ethereum node. It is believed when it says which block is the newest.
#[derive(Clone, Debug)]
pub struct OneNode {
    name: String,
    provider: DynProvider,
}

impl OneNode {
    /// A node, with the name that errors give it.
    pub const fn new(name: String, provider: DynProvider) -> Self {
        Self { name, provider }
    }
}

#[async_trait]
impl HeaderSource for OneNode {
    async fn newest(&self) -> Result<Newest, HeaderError> {
        let header = fetch_header(&self.provider, BlockId::latest()).await?;
        Ok(Newest { header, answers: Answers(vec![(self.name.clone(), Said::block(&header))]) })
    }

    async fn finalized(&self) -> Result<Option<VerifiedHeader>, HeaderError> {
        match fetch_header(&self.provider, BlockId::finalized()).await {
            Ok(header) => Ok(Some(header)),
            Err(ProofError::UnknownBlock(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn at(&self, number: u64) -> Result<VerifiedHeader, HeaderError> {
        Ok(fetch_header(&self.provider, BlockId::number(number)).await?)
    }
}

//! Which block is the chain's newest. Everything else that a client reads is proved against this block's header
//! ([`crate::proof`]), so this is what a client must get from somebody.
//!
//! | source | whom it believes |
//! |---|---|
//! | [`OneNode`] | one Ethereum node |
//! | [`Agreement`] | any `agree` of several Ethereum nodes, if they give the same block hash |
//!
//! A source that follows Ethereum's sync committees would believe no node. It is one more implementation of
//! [`HeaderSource`]. Until it exists, run Helios beside the client and name its address as the Ethereum node.
//!
//! Sources only say which block is the newest. How old it may be is a separate question: see [`age`].

pub mod age;
mod agreement;
mod finality;
mod one;
mod several;

use std::fmt;

use alloy::primitives::B256;
use async_trait::async_trait;
use emr_core::UnixTime;

use crate::proof::{ProofError, VerifiedHeader};
use age::Age;

pub use finality::Finality;
pub use one::OneNode;
pub use several::Agreement;

/// Tells which blocks are the chain's newest and newest final ones.
#[async_trait]
pub trait HeaderSource: fmt::Debug + Send + Sync {
    /// The newest block. It may be old: see [`age`].
    ///
    /// # Errors
    /// Returns [`HeaderError`] if no source that is believed names a block.
    async fn newest(&self) -> Result<Newest, HeaderError>;

    /// The newest block that the chain's consensus has finalized; `None` if no block is final yet.
    ///
    /// # Errors
    /// The same as [`Self::newest`].
    async fn finalized(&self) -> Result<Option<VerifiedHeader>, HeaderError>;

    /// The block with this number in the chain that ends with the newest block.
    ///
    /// # Errors
    /// The same as [`Self::newest`].
    async fn at(&self, number: u64) -> Result<VerifiedHeader, HeaderError>;
}

/// The newest block, and what each Ethereum node said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The block's header.
    pub header: VerifiedHeader,
    /// The answers that it follows from.
    pub answers: Answers,
}

/// What an Ethereum node said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It named this block.
    Block {
        /// The number.
        number: u64,
        /// The hash.
        hash: B256,
        /// The block's age by this machine's clock when the answer came.
        age: Age,
    },
    /// It has no such block.
    NoBlock,
    /// It gave no answer that can be used, for this reason.
    Nothing(String),
}

impl Said {
    pub(crate) fn block(header: &VerifiedHeader) -> Self {
        let age = Age::of(header.timestamp(), UnixTime::now());
        Self::Block { number: header.number(), hash: header.hash(), age }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block { number, hash, age } => write!(f, "block {number} ({hash}, {age})"),
            Self::NoBlock => f.write_str("no such block"),
            Self::Nothing(reason) => f.write_str(reason),
        }
    }
}

/// What each Ethereum node said, with the node's address. Addresses show no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Answers(pub Vec<(String, Said)>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (node, said)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{node}: {said}")?;
        }
        Ok(())
    }
}

/// Why no block can be taken for the newest one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The only Ethereum node gives no header, or a wrong one.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Too few of several Ethereum nodes name a block.
    #[error(
        "too few Ethereum nodes name the newest block, {agree} are needed ({answers}): check the addresses and that the nodes run, or name \
         other nodes with --rpc"
    )]
    TooFew {
        /// How many must agree.
        agree: usize,
        /// What each node said.
        answers: Answers,
    },
    /// Enough of several Ethereum nodes name a block, but not the same one.
    #[error(
        "the Ethereum nodes show different chains, and no block is the same on {agree} of them ({answers}): try again in a minute; if it \
         stays so, some of them lie or are on another chain: name other nodes with --rpc"
    )]
    Disagree {
        /// How many must agree.
        agree: usize,
        /// What each node said.
        answers: Answers,
    },
}

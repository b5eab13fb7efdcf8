//! Which blocks L1 cannot take back any more.

use std::{fmt, str::FromStr};

use crate::deploy::DEVELOPMENT_CHAINS;

/// Which blocks count as final. A client remembers no state of a later block, so that it can go on after a reorganisation; a hospital's node serves
/// nothing under a grant of a later block, so that no reorganisation takes the grant back after the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// The newest block that the chain's consensus has finalized, and all before it.
    Finalized,
    /// Every block. For development chains: they finalize nothing.
    Latest,
    /// The block this many blocks before the newest one, and all before it.
    Depth(u64),
}

impl Finality {
    /// The default for a chain.
    pub fn of_chain(chain_id: u64) -> Self {
        if DEVELOPMENT_CHAINS.contains(&chain_id) { Self::Latest } else { Self::Finalized }
    }
}

impl fmt::Display for Finality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finalized => f.write_str("finalized"),
            Self::Latest => f.write_str("latest"),
            Self::Depth(blocks) => write!(f, "{blocks}"),
        }
    }
}

impl FromStr for Finality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "finalized" => Ok(Self::Finalized),
            "latest" => Ok(Self::Latest),
            blocks => blocks
                .parse()
                .map(Self::Depth)
                .map_err(|_| "write finalized, latest, or a number of blocks, for example 64".to_owned()),
        }
    }
}

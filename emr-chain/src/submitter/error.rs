//! Why a submitter does not send.

use std::{io, path::PathBuf};

use alloy::primitives::Address;

use super::fees::gwei;

/// A submitter cannot send, or must not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The fees on L1 are above the limit.
    #[error(
        "the base fee on L1 is {} gwei per gas, and the limit is {} gwei: it goes on when the fee falls; to pay more, start again with a \
         higher --max-fee-gwei",
        gwei(*base),
        gwei(*limit)
    )]
    FeeLimit {
        /// The base fee of the next block, in wei per gas.
        base: u128,
        /// The limit, in wei per gas.
        limit: u128,
    },
    /// The Ethereum node has another transaction with the next nonce, and does not replace it for what the account pays at most.
    #[error(
        "the Ethereum node has another transaction of {account} with nonce {nonce}, or wants higher fees, and the limit is {} gwei per gas: \
         wait until the other program that uses this key is done, or start again with a higher --max-fee-gwei",
        gwei(*limit)
    )]
    NonceHeld {
        /// The account.
        account: Address,
        /// The nonce.
        nonce: u64,
        /// The limit, in wei per gas.
        limit: u128,
    },
    /// The Ethereum node said of several transactions of the same call that they were lost or failed.
    #[error(
        "the Ethereum node says that the last transactions of this call were lost or failed, one after the other, and the next nonce of \
         {account} is {nonce}: compare the account with another Ethereum node, and use one that is honest and this key in one program \
         only; then remove {} and start again",
        path.display()
    )]
    NoncesLost {
        /// The account.
        account: Address,
        /// The next nonce, as the Ethereum node says.
        nonce: u64,
        /// The file of the record.
        path: PathBuf,
    },
    /// Another program used the nonce.
    #[error(
        "another program sends transactions of {0} at the same time: use this key in one program only, and try again"
    )]
    NonceUsed(Address),
    /// The file of the record cannot be read or written.
    #[error("{}: {source}; nothing was sent", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file of the record is not one.
    #[error("{} is damaged ({reason}): see whether a transaction of this account still waits, then remove the file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file of the record is of another account or chain.
    #[error("{} is of account {account} on chain {chain_id}: use the folder that belongs to this account and chain", path.display())]
    Another {
        /// The file.
        path: PathBuf,
        /// Its account.
        account: Address,
        /// Its chain.
        chain_id: u64,
    },
    /// The program is stopping.
    #[error("the program is stopping")]
    Stopping,
}

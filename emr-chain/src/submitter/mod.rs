//! Sends the transactions of one Ethereum account, one nonce at a time, until each is mined.
//!
//! | what happens | what the submitter does |
//! |---|---|
//! | the fee is too low | it sends the same nonce again with fees that are an eighth higher, up to a limit |
//! | the connection drops | it looks for the transaction before it sends anything else |
//! | the Ethereum node forgets its pool, or L1 is reorganised | it sends the same transaction again |
//! | this program ends between sending and the receipt | the next start reads the record and goes on with the same nonce |
//! | the call is no longer wanted | it takes the nonce back with a transfer of nothing to itself |
//! | another program uses the nonce | it goes on with the next one, a few times at most |
//!
//! The record is on disk before the Ethereum node gets a transaction. So there are never two transactions with the same
//! purpose and different nonces, unless the Ethereum node says that the first one is lost or failed. An Ethereum node that
//! lies can make the account pay for some calls that revert. That a call has its effect only once is up to the contract.

mod drive;
mod error;
mod fees;
mod record;
mod refusal;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{DynProvider, Provider},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
};
use emr_durable::Disk;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};

use crate::revert::RollupError;
pub use drive::Turn;
pub use error::SubmitError;
use record::{Record, RecordFile};

/// How fast a submitter acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How often it looks whether a transaction is mined.
    pub poll: Duration,
    /// After how long it sends the same transaction again, because the Ethereum node may have lost it.
    pub again: Duration,
    /// After how long it raises the fees.
    pub raise: Duration,
    /// How many blocks without the transaction must have come before it raises the fees. If L1 makes no blocks, a higher fee does not help.
    pub raise_blocks: u64,
}

impl Pace {
    /// For a chain with a block every 12 s.
    pub const MAINNET: Self = Self {
        poll: Duration::from_secs(2),
        again: Duration::from_secs(12),
        raise: Duration::from_secs(36),
        raise_blocks: 3,
    };
    /// For an Ethereum node on this machine, which can be asked more often. It may be a development chain.
    pub const THIS_MACHINE: Self = Self {
        poll: Duration::from_millis(50),
        again: Duration::from_secs(2),
        raise: Duration::from_secs(2),
        raise_blocks: 3,
    };
}

/// What a submitter needs.
#[derive(Clone, Debug)]
pub struct SubmitterConfig {
    /// The chain.
    pub provider: DynProvider,
    /// Its chain id.
    pub chain_id: u64,
    /// The account's key.
    pub signer: PrivateKeySigner,
    /// The file of the record. Its folder must exist.
    pub record: PathBuf,
    /// The most that the account pays per gas, in wei. Without it, ten times the usual base fee, and at least
    /// [`Submitter::LEAST_DEFAULT_LIMIT`].
    pub max_fee: Option<u128>,
    /// How fast it acts.
    pub pace: Pace,
}

/// A call that an account sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The contract.
    pub to: Address,
    /// The ether that comes with the call, in wei.
    pub value: U256,
    /// The calldata.
    pub input: Bytes,
}

impl Order {
    /// What the call is for: the contract and the calldata. The same call with another value has the same purpose.
    pub fn purpose(&self) -> B256 {
        keccak256([self.to.as_slice(), &self.input].concat())
    }
}

/// What became of the nonce of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is not known, or one of the transactions still waits.
    Open,
    /// One of the transactions was mined.
    Mined,
    /// None of the transactions can be mined any more, as the Ethereum node says.
    Lost,
}

/// What the submitter saw since it signed the newest transaction.
#[derive(Clone, Debug, Default)]
struct Looks {
    /// How often in a row the Ethereum node's nonce did not fit the record.
    odd: u32,
    /// How often in a row the nonce was free while it was to be taken back.
    free: u32,
    /// When the newest transaction was last sent.
    sent: Option<Instant>,
    /// When the fees were chosen, and the next block then.
    chosen: Option<(Instant, u64)>,
    /// The Ethereum node has another transaction with this nonce and higher fees, or wants higher fees for any.
    underpriced: bool,
    /// Why it is not known whether the Ethereum node got the transaction.
    unsent: Option<String>,
}

/// The record, and what is known about it.
#[derive(Debug)]
struct State {
    record: Option<Record>,
    fate: Fate,
    /// Whether the record may differ from its file.
    unsaved: bool,
    /// How often the record changed.
    version: u64,
    looks: Looks,
}

/// Sends the transactions of one account. Nothing else should use the account's key at the same time.
pub struct Submitter {
    config: SubmitterConfig,
    file: Arc<RecordFile>,
    state: Arc<Mutex<State>>,
}

/// Does not show the configuration, because it holds the key.
impl fmt::Debug for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitter").field("account", &self.account()).finish_non_exhaustive()
    }
}

impl Submitter {
    /// Without a configured limit, the limit is at least this: 50 gwei, in wei. It is ten times the median base fee of the last 1,000
    /// blocks if that is more.
    pub const LEAST_DEFAULT_LIMIT: u128 = fees::LEAST_DEFAULT_LIMIT;

    /// Reads the record of an earlier run, if there is one. Sends nothing yet.
    ///
    /// # Errors
    /// Returns [`SubmitError`] if the record cannot be read, is damaged, or is of another chain or account.
    pub fn open(disk: Disk, config: SubmitterConfig) -> Result<Self, SubmitError> {
        let file = RecordFile::new(disk, config.record.clone());
        let record = file.read(config.chain_id, config.signer.address())?;
        let state = State { record, fate: Fate::Open, unsaved: false, version: 0, looks: Looks::default() };
        Ok(Self { config, file: Arc::new(file), state: Arc::new(Mutex::new(state)) })
    }

    /// The account.
    pub const fn account(&self) -> Address {
        self.config.signer.address()
    }

    /// Waits until it may send. In the turn, each call waits until `patience` after now for its transaction to be mined.
    pub async fn turn(&self, patience: Duration) -> Turn<'_> {
        Turn::new(self, Arc::clone(&self.state).lock_owned().await, patience)
    }

    /// Takes one step to take the nonce back, if a call with such calldata still waits. Does nothing if somebody has the turn.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the Ethereum node fails, or if a higher fee would be above the limit.
    pub async fn withdraw(&self, unwanted: impl Fn(&[u8]) -> bool + Send) -> Result<(), RollupError> {
        let Ok(state) = Arc::clone(&self.state).try_lock_owned() else { return Ok(()) };
        let waits = state.fate == Fate::Open
            && state.record.as_ref().is_some_and(|record| record.purpose().is_none() || unwanted(record.input()));
        if waits { Turn::new(self, state, Duration::ZERO).withdraw_step().await } else { Ok(()) }
    }

    /// The hashes of the transactions with the newest nonce, oldest first.
    pub async fn sent(&self) -> Vec<B256> {
        let state = self.state.lock().await;
        state.record.iter().flat_map(|record| record.sent()).map(|sent| sent.hash).collect()
    }

    /// How many transactions of the account are mined, or also wait.
    async fn count(&self, at: BlockId) -> Result<u64, RollupError> {
        Ok(self.config.provider.get_transaction_count(self.account()).block_id(at).await?)
    }

    /// The receipt of a transaction of this account.
    async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, RollupError> {
        let Some(receipt) = self.config.provider.get_transaction_receipt(hash).await? else { return Ok(None) };
        if receipt.transaction_hash != hash || receipt.from != self.account() || receipt.block_number.is_none() {
            return Err(RollupError::Malformed(format!("the receipt of {hash} is another transaction's")));
        }
        Ok(Some(receipt))
    }
}

type Held = OwnedMutexGuard<State>;

//! The chain of blocks. Each transaction makes one block, with one durable write.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use alloy::{
    consensus::{
        EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom,
        Sealable, Sealed, TxEnvelope, TxReceipt, TxType, proofs, transaction::SignerRecoverable,
    },
    eips::{
        BlockId, BlockNumberOrTag,
        eip1559::{BaseFeeParams, calc_next_block_base_fee},
        eip2718::Decodable2718,
        eip7685::EMPTY_REQUESTS_HASH,
    },
    primitives::{B256, keccak256},
};

use crate::{
    ChainConfig,
    evm::{self, View},
    failure::RpcFailure,
    store::{KEPT_STATES, Store, StoreError, StoredBlock},
    world_state::{AccountHead, Changes, WorldState},
};

/// Gas limit of every block.
const BLOCK_GAS_LIMIT: u64 = 30_000_000;
/// Base fee of the first block in wei, as on mainnet and anvil.
const INITIAL_BASE_FEE: u64 = 1_000_000_000;
/// The largest transaction accepted, in bytes, as in geth's pool.
const MAX_TRANSACTION_SIZE: usize = 128 << 10;

/// A block and the state after it.
#[derive(Debug)]
pub(crate) struct Tip {
    pub(crate) header: Sealed<Header>,
    pub(crate) state: WorldState,
}

/// The whole chain. Reads run in parallel. Blocks are made one at a time.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) chain_id: u64,
    pub(crate) store: Store,
    /// The newest blocks with their states, newest last. Never empty.
    pub(crate) recent: RwLock<VecDeque<Arc<Tip>>>,
    /// Seconds by which the chain's clock was moved ahead.
    pub(crate) clock_offset: AtomicU64,
    /// Seconds by which it was behind the machine's before that.
    clock_behind: u64,
    /// The base fee that was asked for the next block, in wei; 0 if none was.
    pub(crate) next_base_fee: AtomicU64,
    /// Locked while a block is made.
    pub(crate) making: Mutex<()>,
}

/// Why a chain could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file could not be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder holds a chain with another id.
    #[error("the folder holds chain {found}, not chain {wanted}: use another folder, or ask for chain {found}")]
    ChainId {
        /// The id of the chain in the folder.
        found: u64,
        /// The requested id.
        wanted: u64,
    },
}

impl Chain {
    pub(crate) fn open(store: Store, config: &ChainConfig) -> Result<Self, OpenError> {
        let (recent, clock_offset) = match store.load()? {
            Some(loaded) if loaded.chain_id != config.chain_id => {
                return Err(OpenError::ChainId { found: loaded.chain_id, wanted: config.chain_id });
            }
            Some(loaded) => {
                let tips = loaded.recent.into_iter().map(|(header, state)| Arc::new(Tip { header, state }));
                (tips.collect(), loaded.clock_offset)
            }
            None => (VecDeque::from([Arc::new(genesis(&store, config)?)]), 0),
        };
        Ok(Self {
            chain_id: config.chain_id,
            store,
            recent: RwLock::new(recent),
            clock_offset: AtomicU64::new(clock_offset),
            clock_behind: config.clock_behind,
            next_base_fee: AtomicU64::new(0),
            making: Mutex::new(()),
        })
    }

    /// The newest block.
    pub(crate) fn tip(&self) -> Result<Arc<Tip>, RpcFailure> {
        self.recent
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .back()
            .cloned()
            .ok_or_else(|| RpcFailure::new(-32603, "the chain has no block"))
    }

    /// The block `id` with its state. The chain keeps the states of the newest 128 blocks only.
    pub(crate) fn state_at(&self, id: BlockId) -> Result<Arc<Tip>, RpcFailure> {
        let tip = self.tip()?;
        let Some(number) = self.number_of(id)? else { return Err(unknown_block(id)) };
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().rev().find(|tip| tip.header.number == number).cloned();
        found.ok_or_else(|| {
            RpcFailure::refused(if number > tip.header.number {
                format!("block {number} does not exist yet: the newest is {}", tip.header.number)
            } else {
                format!("the state of block {number} is no longer kept: ask for one of the newest {KEPT_STATES}")
            })
        })
    }

    /// The block number of `id`; `None` for a hash that is not on the chain. `pending`, `safe` and `finalized` mean the
    /// newest block, because this chain takes blocks back only if a test asks for it.
    pub(crate) fn number_of(&self, id: BlockId) -> Result<Option<u64>, RpcFailure> {
        Ok(match id {
            BlockId::Hash(hash) => self.store.number_of_block(&hash.block_hash)?,
            BlockId::Number(BlockNumberOrTag::Number(number)) => Some(number),
            BlockId::Number(BlockNumberOrTag::Earliest) => Some(0),
            BlockId::Number(_) => Some(self.tip()?.header.number),
        })
    }

    /// The block `id`, if it exists.
    pub(crate) fn block(&self, id: BlockId) -> Result<Option<StoredBlock>, RpcFailure> {
        match self.number_of(id)? {
            Some(number) => Ok(self.store.block(number)?),
            None => Ok(None),
        }
    }

    /// The header for a call at `id`. For the newest block it is the header of the next block, so that a simulation has
    /// the same time as a transaction that is sent now.
    pub(crate) fn call_header(&self, id: BlockId, tip: &Tip) -> Header {
        match id {
            BlockId::Number(BlockNumberOrTag::Number(_) | BlockNumberOrTag::Earliest) | BlockId::Hash(_) => {
                tip.header.inner().clone()
            }
            BlockId::Number(_) => self.next_header(&tip.header),
        }
    }

    /// The EVM's view of a block's state.
    pub(crate) fn view<'a>(&'a self, state: &'a WorldState) -> View<'a> {
        View { chain_id: self.chain_id, state, store: &self.store }
    }

    /// Base fee of the next block, in wei.
    pub(crate) fn next_base_fee(&self) -> Result<u64, RpcFailure> {
        Ok(self.base_fee_after(&self.tip()?.header))
    }

    fn base_fee_after(&self, parent: &Header) -> u64 {
        match self.next_base_fee.load(Ordering::Relaxed) {
            0 => next_base_fee(parent),
            asked => asked,
        }
    }

    /// Executes a signed transaction in a new block. When this returns, the block is on disk.
    pub(crate) fn submit(&self, raw: &[u8]) -> Result<B256, RpcFailure> {
        if raw.len() > MAX_TRANSACTION_SIZE {
            let size = raw.len();
            return Err(RpcFailure::refused(format!("oversized data: {size} bytes, limit {MAX_TRANSACTION_SIZE}")));
        }
        let transaction = TxEnvelope::decode_2718_exact(raw)
            .map_err(|error| RpcFailure::invalid_params(format!("not a signed transaction: {error}")))?;
        if !matches!(transaction.tx_type(), TxType::Legacy | TxType::Eip2930 | TxType::Eip1559) {
            return Err(RpcFailure::refused("transaction type not supported: send type 0, 1 or 2"));
        }
        match alloy::consensus::Transaction::chain_id(&transaction) {
            None => return Err(RpcFailure::refused("only replay-protected (EIP-155) transactions are accepted")),
            Some(id) if id != self.chain_id => {
                let wanted = self.chain_id;
                return Err(RpcFailure::refused(format!("invalid chain id for signer: have {id} want {wanted}")));
            }
            Some(_) => {}
        }
        let sender = transaction
            .recover_signer()
            .map_err(|_| RpcFailure::refused("invalid sender: the signature is not valid"))?;

        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.store.number_of_transaction(transaction.tx_hash())?.is_some() {
            return Err(RpcFailure::refused("already known: this transaction is in a block"));
        }
        let parent = self.tip()?;
        let header = self.next_header(&parent.header);
        let outcome = evm::execute(self.view(&parent.state), &header, &transaction, sender)?;
        let gas_used = outcome.result.tx_gas_used();
        let receipt = ReceiptEnvelope::from_typed(
            transaction.tx_type(),
            ReceiptWithBloom::from(Receipt {
                status: Eip658Value::Eip658(outcome.result.is_success()),
                cumulative_gas_used: gas_used,
                logs: outcome.result.into_logs(),
            }),
        );
        let hash = *transaction.tx_hash();
        let header = Header { gas_used, ..header };
        self.seal(&parent, header, Some((transaction, receipt)), &Changes::of(outcome.state))?;
        Ok(hash)
    }

    /// Makes a block without a transaction.
    pub(crate) fn mine_empty(&self) -> Result<(), RpcFailure> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = self.tip()?;
        let header = self.next_header(&parent.header);
        self.seal(&parent, header, None, &Changes::default())
    }

    /// The header of the block after `parent`, without the fields that depend on execution.
    pub(crate) fn next_header(&self, parent: &Sealed<Header>) -> Header {
        let clock = now().saturating_add(self.clock_offset.load(Ordering::Relaxed)).saturating_sub(self.clock_behind);
        Header {
            parent_hash: parent.hash(),
            number: parent.number + 1,
            timestamp: clock.max(parent.timestamp + 1),
            base_fee_per_gas: Some(self.base_fee_after(parent)),
            // There is no beacon chain, so this is not random: everyone knows the value in advance, but it differs per
            // block.
            mix_hash: keccak256(parent.hash()),
            ..blank_header()
        }
    }

    /// Completes a block, writes it and makes it the newest. The caller holds `making`.
    pub(crate) fn seal(
        &self,
        parent: &Tip,
        mut header: Header,
        transaction: Option<(TxEnvelope, ReceiptEnvelope)>,
        changes: &Changes,
    ) -> Result<(), RpcFailure> {
        let mut state = parent.state.clone();
        state.apply(changes, |hash| self.store.code(hash))?;
        header.state_root = state.root();
        if let Some((transaction, receipt)) = &transaction {
            header.transactions_root = proofs::calculate_transaction_root(std::slice::from_ref(transaction));
            header.receipts_root = proofs::calculate_receipt_root(std::slice::from_ref(receipt));
            header.logs_bloom = receipt.bloom();
        }
        let block = StoredBlock { header: header.seal_slow(), transaction };
        self.store.append(&block, changes, &parent.state.undo(changes))?;
        self.next_base_fee.store(0, Ordering::Relaxed);

        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(Arc::new(Tip { header: block.header, state }));
        while recent.len() as u64 > KEPT_STATES {
            recent.pop_front();
        }
        Ok(())
    }
}

pub(crate) fn unknown_block(id: BlockId) -> RpcFailure {
    RpcFailure::refused(format!("block {id} is not on this chain"))
}

fn genesis(store: &Store, config: &ChainConfig) -> Result<Tip, StoreError> {
    let changes = Changes {
        accounts: config
            .prefunded
            .iter()
            .filter(|(_, balance)| !balance.is_zero())
            .map(|(address, balance)| (*address, Some(AccountHead::with_balance(*balance))))
            .collect(),
        ..Changes::default()
    };
    let mut state = WorldState::default();
    state.apply(&changes, |hash| store.code(hash))?;
    let header = Header {
        state_root: state.root(),
        timestamp: now().saturating_sub(config.clock_behind),
        base_fee_per_gas: Some(INITIAL_BASE_FEE),
        ..blank_header()
    };
    let block = StoredBlock { header: header.seal_slow(), transaction: None };
    store.create(config.chain_id, &block, &changes)?;
    Ok(Tip { header: block.header, state })
}

/// The header of a block without transactions, withdrawals, blobs or requests. It has all fields of mainnet's headers.
fn blank_header() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        gas_limit: BLOCK_GAS_LIMIT,
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Base fee of the block after `header`, in wei (EIP-1559).
pub(crate) fn next_base_fee(header: &Header) -> u64 {
    let base_fee = header.base_fee_per_gas.unwrap_or_default();
    calc_next_block_base_fee(header.gas_used, header.gas_limit, base_fee, BaseFeeParams::ethereum())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|elapsed| elapsed.as_secs()).unwrap_or_default()
}

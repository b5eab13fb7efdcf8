//! Blocks, transactions, receipts and logs in the form of JSON-RPC.

use alloy::{
    consensus::{
        Transaction as _,
        transaction::{Recovered, TransactionMeta},
    },
    network::TransactionResponse,
    primitives::U256,
    rlp::Encodable,
    rpc::types::{Block, BlockTransactions, Header, Log, Transaction, TransactionReceipt},
};

use crate::store::StoredBlock;

/// The block's transaction, if it has one.
pub(crate) fn transaction(block: &StoredBlock) -> Option<Transaction> {
    let (signed, _) = block.transaction.as_ref()?;
    // The signature was checked before the block was made.
    let sender = alloy::consensus::transaction::SignerRecoverable::recover_signer(signed).ok()?;
    Some(Transaction {
        effective_gas_price: Some(signed.effective_gas_price(block.header.base_fee_per_gas)),
        inner: Recovered::new_unchecked(signed.clone(), sender),
        block_hash: Some(block.header.hash()),
        block_number: Some(block.header.number),
        block_timestamp: Some(block.header.timestamp),
        transaction_index: Some(0),
    })
}

/// The receipt of the block's transaction.
pub(crate) fn receipt(block: &StoredBlock) -> Option<TransactionReceipt> {
    let (signed, receipt) = block.transaction.as_ref()?;
    let transaction = transaction(block)?;
    let mut logs = logs(block).into_iter();
    let contract = signed.kind().is_create().then(|| transaction.from().create(signed.nonce()));
    Some(TransactionReceipt {
        // Replaces the logs one by one, in order. The JSON-RPC form only adds the position of a log.
        inner: receipt.clone().map_logs(|log| logs.next().unwrap_or(Log { inner: log, ..Log::default() })),
        transaction_hash: *signed.tx_hash(),
        transaction_index: Some(0),
        block_hash: Some(block.header.hash()),
        block_number: Some(block.header.number),
        gas_used: receipt.cumulative_gas_used(),
        effective_gas_price: signed.effective_gas_price(block.header.base_fee_per_gas),
        blob_gas_used: None,
        blob_gas_price: None,
        from: transaction.from(),
        to: signed.to(),
        contract_address: contract,
    })
}

/// The logs of the block.
pub(crate) fn logs(block: &StoredBlock) -> Vec<Log> {
    let Some((signed, receipt)) = &block.transaction else { return Vec::new() };
    let meta = TransactionMeta {
        tx_hash: *signed.tx_hash(),
        index: 0,
        block_hash: block.header.hash(),
        block_number: block.header.number,
        base_fee: block.header.base_fee_per_gas,
        excess_blob_gas: block.header.excess_blob_gas,
        timestamp: block.header.timestamp,
    };
    Log::collect_for_receipt(0, meta, receipt.logs().iter().cloned())
}

/// The block, with its transaction in full or as a hash.
pub(crate) fn block(block: &StoredBlock, full: bool) -> Block {
    let transactions = if full {
        BlockTransactions::Full(transaction(block).into_iter().collect())
    } else {
        BlockTransactions::Hashes(block.transaction.iter().map(|(signed, _)| *signed.tx_hash()).collect())
    };
    let size = U256::from(block.header.inner().length());
    Block {
        header: Header::from_sealed(block.header.clone()).with_size(Some(size)),
        uncles: Vec::new(),
        transactions,
        withdrawals: Some(Default::default()),
    }
}

/// How much the block's transaction paid above the base fee, in wei per gas. 0 without a transaction.
pub(crate) fn priority_fee(block: &StoredBlock) -> u128 {
    let base_fee = block.header.base_fee_per_gas;
    let Some((signed, _)) = &block.transaction else { return 0 };
    signed.effective_gas_price(base_fee).saturating_sub(u128::from(base_fee.unwrap_or_default()))
}

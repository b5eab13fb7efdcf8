//! The JSON-RPC methods.
//!
//! Parameters are parsed strictly, every answer is bounded in size, and the results use alloy's response types.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U64, U256},
    rpc::types::{FeeHistory, Filter, FilterBlockOption, Log, TransactionRequest},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue, value::to_raw_value};

use crate::{
    chain::{Chain, unknown_block},
    evm,
    failure::RpcFailure,
    view,
};

/// The priority fee that is suggested to wallets, in wei. The chain accepts any.
const PRIORITY_FEE: u128 = 1_000_000_000;
/// The largest number of blocks that one `eth_getLogs` scans.
const MAX_LOG_BLOCKS: u64 = 10_000;
/// The largest number of logs that one `eth_getLogs` returns.
const MAX_LOGS: usize = 10_000;
/// The largest number of addresses, and of values of one topic, in one `eth_getLogs`, as in geth.
const MAX_LOG_CHOICES: usize = 1_000;
/// The largest number of blocks in one `eth_feeHistory`.
const MAX_FEE_BLOCKS: u64 = 1_024;
/// The largest number of percentiles in one `eth_feeHistory`.
const MAX_PERCENTILES: usize = 100;
/// The largest number of slots in one `eth_getProof`.
const MAX_PROOF_SLOTS: usize = 1_024;

/// Positional parameters, taken one by one.
struct Params(std::vec::IntoIter<Value>);

impl Params {
    fn parse(raw: Option<&RawValue>) -> Result<Self, RpcFailure> {
        let values: Vec<Value> = match raw {
            None => Vec::new(),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| RpcFailure::invalid_params("parameters must be an array"))?,
        };
        Ok(Self(values.into_iter()))
    }

    fn next<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, RpcFailure> {
        self.optional(name)?.ok_or_else(|| RpcFailure::invalid_params(format!("{name} is missing")))
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, RpcFailure> {
        match self.0.next() {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| RpcFailure::invalid_params(format!("{name}: {error}"))),
        }
    }

    fn block(&mut self) -> Result<BlockId, RpcFailure> {
        Ok(self.optional("block")?.unwrap_or_else(BlockId::latest))
    }
}

/// Answers one request.
pub(crate) fn answer(chain: &Chain, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, RpcFailure> {
    let mut params = Params::parse(params)?;
    let p = &mut params;
    match method {
        "web3_clientVersion" => json(concat!("emr-chain/", env!("CARGO_PKG_VERSION"))),
        "net_version" => json(chain.chain_id.to_string()),
        "eth_chainId" => json(U64::from(chain.chain_id)),
        "eth_syncing" => json(false),
        "eth_accounts" => json::<[Address; 0]>([]),
        "eth_blockNumber" => json(U64::from(chain.tip()?.header.number)),
        "eth_gasPrice" => json(U256::from(PRIORITY_FEE + u128::from(chain.next_base_fee()?))),
        "eth_maxPriorityFeePerGas" => json(U256::from(PRIORITY_FEE)),
        "eth_feeHistory" => fee_history(chain, p),
        "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" => account(chain, method, p),
        "eth_getStorageAt" => {
            let (address, slot): (Address, U256) = (p.next("address")?, p.next("slot")?);
            json(B256::from(chain.state_at(p.block()?)?.state.slot(&address, slot)))
        }
        "eth_getProof" => proof(chain, p),
        "eth_call" => {
            let request: TransactionRequest = p.next("transaction")?;
            let id = p.block()?;
            let tip = chain.state_at(id)?;
            json(evm::output(evm::call(chain.view(&tip.state), &chain.call_header(id, &tip), &request)?)?)
        }
        "eth_estimateGas" => {
            let request: TransactionRequest = p.next("transaction")?;
            let id = p.block()?;
            let tip = chain.state_at(id)?;
            let gas = evm::estimate_gas(chain.view(&tip.state), &chain.call_header(id, &tip), &request)?;
            json(U64::from(gas))
        }
        "eth_sendRawTransaction" => {
            let raw: Bytes = p.next("transaction")?;
            json(chain.submit(&raw)?)
        }
        "eth_getTransactionByHash" => transaction(chain, p, |block| view::transaction(block).map(json)),
        "eth_getTransactionReceipt" => transaction(chain, p, |block| view::receipt(block).map(json)),
        "eth_getBlockByHash" => {
            let id = BlockId::hash(p.next("hash")?);
            block(chain, id, p)
        }
        "eth_getBlockByNumber" => {
            let id = BlockId::Number(p.next("number")?);
            block(chain, id, p)
        }
        "eth_getLogs" => json(logs(chain, &p.next("filter")?)?),
        "evm_increaseTime" => {
            let seconds: Value = p.next("seconds")?;
            json(chain.advance_clock(number(&seconds, "seconds")?)?)
        }
        "evm_mine" => {
            chain.mine_empty()?;
            json("0x0")
        }
        "evm_snapshot" => json(chain.tip()?.header.hash()),
        "evm_revert" => json(chain.take_back_to(p.next("snapshot")?)?),
        "anvil_reorg" => {
            let depth: Value = p.next("depth")?;
            let transactions: Vec<Value> = p.optional("transactions")?.unwrap_or_default();
            if !transactions.is_empty() {
                return Err(RpcFailure::invalid_params("the new blocks can only be empty"));
            }
            chain.reorganise(number(&depth, "depth")?)?;
            json(Value::Null)
        }
        "anvil_setNextBlockBaseFeePerGas" => {
            let fee: Value = p.next("base fee")?;
            chain.set_next_base_fee(number(&fee, "the base fee")?)?;
            json(Value::Null)
        }
        _ => Err(RpcFailure::unknown_method(method)),
    }
}

/// A number, as JSON writes it or as a hexadecimal quantity.
fn number(value: &Value, name: &str) -> Result<u64, RpcFailure> {
    let quantity = || U64::deserialize(value).ok().map(|quantity| quantity.to());
    value.as_u64().or_else(quantity).ok_or_else(|| RpcFailure::invalid_params(format!("{name} must be a number")))
}

fn json<T: Serialize>(value: T) -> Result<Box<RawValue>, RpcFailure> {
    to_raw_value(&value).map_err(|error| RpcFailure::new(-32603, error.to_string()))
}

fn account(chain: &Chain, method: &str, params: &mut Params) -> Result<Box<RawValue>, RpcFailure> {
    let address: Address = params.next("address")?;
    let tip = chain.state_at(params.block()?)?;
    let account = tip.state.account(&address);
    match method {
        "eth_getBalance" => json(account.map(|account| account.head.balance).unwrap_or_default()),
        "eth_getTransactionCount" => json(U64::from(account.map(|account| account.head.nonce).unwrap_or_default())),
        _ => json(account.map(|account| account.code()).unwrap_or_default()),
    }
}

fn proof(chain: &Chain, params: &mut Params) -> Result<Box<RawValue>, RpcFailure> {
    let address: Address = params.next("address")?;
    let keys: Vec<alloy::serde::JsonStorageKey> = params.optional("slots")?.unwrap_or_default();
    if keys.len() > MAX_PROOF_SLOTS {
        return Err(RpcFailure::limit(format!("at most {MAX_PROOF_SLOTS} slots per proof")));
    }
    let slots: Vec<B256> = keys.iter().map(|key| key.as_b256()).collect();
    let mut proof = chain.state_at(params.block()?)?.state.prove(address, &slots);
    for (proved, key) in proof.storage_proof.iter_mut().zip(keys) {
        proved.key = key;
    }
    json(proof)
}

fn transaction(
    chain: &Chain,
    params: &mut Params,
    answer: impl Fn(&crate::store::StoredBlock) -> Option<Result<Box<RawValue>, RpcFailure>>,
) -> Result<Box<RawValue>, RpcFailure> {
    let hash: B256 = params.next("hash")?;
    let Some(number) = chain.store.number_of_transaction(&hash)? else { return json(Value::Null) };
    let Some(block) = chain.store.block(number)? else { return json(Value::Null) };
    answer(&block).unwrap_or_else(|| json(Value::Null))
}

fn block(chain: &Chain, id: BlockId, params: &mut Params) -> Result<Box<RawValue>, RpcFailure> {
    let full = params.optional("full transactions")?.unwrap_or(false);
    match chain.block(id)? {
        Some(block) => json(view::block(&block, full)),
        None => json(Value::Null),
    }
}

fn logs(chain: &Chain, filter: &Filter) -> Result<Vec<Log>, RpcFailure> {
    if filter.address.len() > MAX_LOG_CHOICES || filter.topics.iter().any(|topic| topic.len() > MAX_LOG_CHOICES) {
        return Err(RpcFailure::limit(format!("at most {MAX_LOG_CHOICES} addresses or values per topic")));
    }
    let newest = chain.tip()?.header.number;
    let (first, last) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let id = BlockId::hash(hash);
            let number = chain.number_of(id)?.ok_or_else(|| unknown_block(id))?;
            (number, number)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let number = |tag: Option<BlockNumberOrTag>| -> Result<u64, RpcFailure> {
                let id = BlockId::Number(tag.unwrap_or_default());
                chain.number_of(id)?.ok_or_else(|| unknown_block(id))
            };
            (number(from_block)?, number(to_block)?.min(newest))
        }
    };
    if first > last.saturating_add(1) {
        return Err(RpcFailure::invalid_params(format!("the range starts at {first}, after its end {last}")));
    }
    if last.saturating_sub(first) >= MAX_LOG_BLOCKS {
        return Err(RpcFailure::limit(format!("the range covers more than {MAX_LOG_BLOCKS} blocks: ask in parts")));
    }
    let mut found = Vec::new();
    for number in first..=last {
        let Some(header) = chain.store.header(number)? else { break };
        if header.logs_bloom.is_zero() || !filter.matches_bloom(header.logs_bloom) {
            continue;
        }
        let Some(block) = chain.store.block(number)? else { break };
        found.extend(view::logs(&block).into_iter().filter(|log| filter.matches(&log.inner)));
        if found.len() > MAX_LOGS {
            return Err(RpcFailure::limit(format!("more than {MAX_LOGS} logs match: ask for fewer blocks")));
        }
    }
    Ok(found)
}

fn fee_history(chain: &Chain, params: &mut Params) -> Result<Box<RawValue>, RpcFailure> {
    let count: U64 = params.next("block count")?;
    let newest = BlockId::Number(params.next("newest block")?);
    let percentiles: Option<Vec<f64>> = params.optional("percentiles")?;
    if percentiles.as_ref().is_some_and(|percentiles| percentiles.len() > MAX_PERCENTILES) {
        return Err(RpcFailure::limit(format!("at most {MAX_PERCENTILES} percentiles")));
    }
    let newest = chain.number_of(newest)?.unwrap_or_default();
    if newest > chain.tip()?.header.number {
        return Err(RpcFailure::invalid_params("the newest block asked for does not exist yet"));
    }
    let count = count.to::<u64>().min(MAX_FEE_BLOCKS).min(newest + 1);
    let mut history = FeeHistory { oldest_block: newest + 1 - count, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    for number in newest + 1 - count..=newest {
        let Some(block) = chain.store.block(number)? else { break };
        history.base_fee_per_gas.push(u128::from(block.header.base_fee_per_gas.unwrap_or_default()));
        history.gas_used_ratio.push(block.header.gas_used as f64 / block.header.gas_limit as f64);
        history.base_fee_per_blob_gas.push(1);
        history.blob_gas_used_ratio.push(0.0);
        // A block has one transaction, so every percentile is its tip.
        rewards.push(vec![view::priority_fee(&block); percentiles.as_ref().map_or(0, Vec::len)]);
        if number == newest {
            let is_tip = block.header.hash() == chain.tip()?.header.hash();
            let next = if is_tip { chain.next_base_fee()? } else { crate::chain::next_base_fee(&block.header) };
            history.base_fee_per_gas.push(u128::from(next));
            history.base_fee_per_blob_gas.push(1);
        }
    }
    history.reward = percentiles.map(|_| rewards);
    json(history)
}

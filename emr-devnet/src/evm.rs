//! Runs one transaction or call on the state of a block.

use alloy::{
    consensus::{Header, Transaction, TxEnvelope},
    primitives::{Address, B256, TxKind, U256},
    rpc::types::TransactionRequest,
};
use revm::{
    Context, DatabaseRef, ExecuteEvm, MainBuilder, MainContext,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState},
    },
    context_interface::block::BlobExcessGasAndPrice,
    database_interface::DBErrorMarker,
    primitives::{eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE, hardfork::SpecId},
    state::{AccountInfo, Bytecode},
};

use crate::{
    failure::RpcFailure,
    store::{Store, StoreError},
    world_state::WorldState,
};

/// Mainnet's latest rules. They include EIP-170 and EIP-3860 (size of code and initcode), EIP-7825 (the cap below),
/// EIP-7623 (calldata floor) and EIP-7883 (price of modexp).
const SPEC: SpecId = SpecId::OSAKA;
/// The highest gas limit of a transaction (EIP-7825).
const TRANSACTION_GAS_CAP: u64 = revm::primitives::eip7825::TX_GAS_LIMIT_CAP;
/// The gas of a plain transfer, which is the cheapest transaction (Yellow Paper, appendix G).
const TRANSFER_GAS: u64 = 21_000;
/// Extra gas that a call with value gives to the callee. An estimate must leave room for it.
const CALL_STIPEND: u64 = 2_300;

/// The EVM's access to the state of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) chain_id: u64,
    pub(crate) state: &'a WorldState,
    pub(crate) store: &'a Store,
}

impl DBErrorMarker for StoreError {}

impl DatabaseRef for View<'_> {
    type Error = StoreError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        Ok(self.state.account(&address).map(|account| account.info()))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, StoreError> {
        self.store.code(&code_hash).map(Bytecode::new_raw)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        Ok(self.state.slot(&address, slot))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, StoreError> {
        Ok(self.store.header(number)?.map(|header| header.hash()).unwrap_or_default())
    }
}

/// How strictly a transaction is checked: a signed one in full, while a simulated one can have any sender and nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    Signed,
    Simulated,
}

/// Makes the EVM's block environment from a header.
pub(crate) fn block_env(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(0, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE)),
        ..BlockEnv::default()
    }
}

/// Runs a signed transaction. Does not change the state, but returns the changes.
pub(crate) fn execute(
    view: View<'_>,
    header: &Header,
    transaction: &TxEnvelope,
    sender: Address,
) -> Result<ResultAndState, RpcFailure> {
    let env = TxEnv {
        tx_type: transaction.tx_type() as u8,
        caller: sender,
        gas_limit: transaction.gas_limit(),
        gas_price: transaction.max_fee_per_gas(),
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        access_list: transaction.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: transaction.max_priority_fee_per_gas(),
        ..TxEnv::default()
    };
    run(view, block_env(header), env, Checks::Signed)
}

/// Runs a call and returns its result. If the request has no gas price, gas is free (the base fee is 0), as in geth.
pub(crate) fn call(
    view: View<'_>,
    header: &Header,
    request: &TransactionRequest,
) -> Result<ExecutionResult, RpcFailure> {
    let env = simulated(view, request)?;
    simulate(view, header, env)
}

/// Finds the lowest gas limit with which the request succeeds, to within 1.5 % (geth's search).
pub(crate) fn estimate_gas(view: View<'_>, header: &Header, request: &TransactionRequest) -> Result<u64, RpcFailure> {
    let env = simulated(view, request)?;
    let with = |gas_limit| simulate(view, header, TxEnv { gas_limit, ..env.clone() });
    let mut enough = env.gas_limit;
    let result = with(enough)?;
    let gas = *result.gas();
    output(result)?;
    let mut too_little = gas.tx_gas_used().max(TRANSFER_GAS) - 1;
    // This guess is nearly always right: the gas used before refunds, plus the 64th that each call keeps back
    // (EIP-150).
    let likely = gas.total_gas_spent().max(gas.floor_gas()).saturating_add(CALL_STIPEND).saturating_mul(64) / 63;
    if too_little < likely && likely < enough {
        if suffices(with(likely)) { enough = likely } else { too_little = likely }
    }
    while too_little + 1 < enough && (enough - too_little) * 1000 > enough * 15 {
        let middle = (too_little + (enough - too_little) / 2).min(too_little.saturating_mul(2));
        if suffices(with(middle)) { enough = middle } else { too_little = middle }
    }
    Ok(enough)
}

fn suffices(result: Result<ExecutionResult, RpcFailure>) -> bool {
    result.is_ok_and(|result| result.is_success())
}

/// The output of a successful execution. A revert or a halt is an error.
pub(crate) fn output(result: ExecutionResult) -> Result<alloy::primitives::Bytes, RpcFailure> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(RpcFailure::reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(RpcFailure::refused(format!("execution failed: {reason}"))),
    }
}

fn simulated(view: View<'_>, request: &TransactionRequest) -> Result<TxEnv, RpcFailure> {
    let data = request.input.unique_input().map_err(RpcFailure::invalid_params)?.cloned().unwrap_or_default();
    if request.gas_price.is_some() && request.max_fee_per_gas.is_some() {
        return Err(RpcFailure::invalid_params("both gasPrice and maxFeePerGas are given"));
    }
    let caller = request.from.unwrap_or_default();
    let gas_price = request.gas_price.or(request.max_fee_per_gas).unwrap_or_default();
    let mut env = TxEnv {
        caller,
        gas_limit: request.gas.unwrap_or(TRANSACTION_GAS_CAP).min(TRANSACTION_GAS_CAP),
        gas_price,
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data,
        nonce: view.state.account(&caller).map(|account| account.head.nonce).unwrap_or_default(),
        chain_id: Some(view.chain_id),
        access_list: request.access_list.clone().unwrap_or_default(),
        // Without a price nothing is paid, so a priority fee alone has no meaning.
        gas_priority_fee: request.max_priority_fee_per_gas.filter(|_| request.max_fee_per_gas.is_some()),
        ..TxEnv::default()
    };
    env.derive_tx_type().map_err(|_| RpcFailure::invalid_params("unsupported transaction type"))?;
    Ok(env)
}

fn simulate(view: View<'_>, header: &Header, env: TxEnv) -> Result<ExecutionResult, RpcFailure> {
    let mut block = block_env(header);
    if env.gas_price == 0 {
        block.basefee = 0;
    }
    run(view, block, env, Checks::Simulated).map(|outcome| outcome.result)
}

fn run(view: View<'_>, block: BlockEnv, env: TxEnv, checks: Checks) -> Result<ResultAndState, RpcFailure> {
    let mut rules = CfgEnv::new_with_spec(SPEC).with_chain_id(view.chain_id);
    rules.disable_nonce_check = checks == Checks::Simulated;
    let context = Context::mainnet().with_ref_db(view).with_cfg(rules).with_block(block);
    context.build_mainnet().transact(env).map_err(|error| match error {
        EVMError::Transaction(invalid) => RpcFailure::refused(refusal(&invalid)),
        EVMError::Database(error) => error.into(),
        other => RpcFailure::new(-32603, other.to_string()),
    })
}

/// The error message of a refused transaction. Uses geth's wording where clients search for it.
fn refusal(invalid: &InvalidTransaction) -> String {
    match invalid {
        InvalidTransaction::NonceTooLow { tx, state } => {
            format!("nonce too low: next nonce {state}, tx nonce {tx}")
        }
        InvalidTransaction::NonceTooHigh { tx, state } => {
            format!("nonce too high: next nonce {state}, tx nonce {tx}: send them in order, this chain keeps no queue")
        }
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        InvalidTransaction::GasPriceLessThanBasefee => {
            "max fee per gas less than block base fee: ask for the current price and sign again".to_owned()
        }
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}")
        }
        InvalidTransaction::CreateInitCodeSizeLimit => "max initcode size exceeded (EIP-3860: 49152 bytes)".to_owned(),
        InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => {
            format!("transaction gas limit too high (EIP-7825): have {gas_limit}, cap {cap}")
        }
        other => other.to_string(),
    }
}

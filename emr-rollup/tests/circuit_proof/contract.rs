//! Contracts on an EVM in the process.

use std::path::PathBuf;

use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    context::TxEnv,
    context_interface::result::{ExecutionResult, Output},
    database::{CacheDB, EmptyDB},
    primitives::{Address, Bytes, TxKind, hex, keccak256},
    state::Bytecode,
};

/// The largest code of a contract on Ethereum (EIP-170).
const MAX_CODE_SIZE: usize = 24_576;

/// A deployed verifier.
#[derive(Clone)]
pub(crate) struct Contract {
    state: CacheDB<EmptyDB>,
    pub(crate) address: Address,
    pub(crate) code: Bytes,
}

impl Contract {
    /// The verifier contract with a key.
    pub(crate) fn with_key(key_contract: &[u8]) -> Self {
        Self::of_key(Self::create(CacheDB::default(), key_contract).unwrap())
    }

    /// The verifier contract with a key that is deployed.
    pub(crate) fn of_key(key: Self) -> Self {
        let argument = [&[0; 12], &key.address[..]].concat();
        let creation = [creation_code("../contracts/artifacts/Verifier.json"), argument].concat();
        Self::create(key.state, &creation).unwrap()
    }

    /// snark-verifier's contract for the key of the current circuit. It is too large for Ethereum.
    pub(crate) fn oracle() -> Self {
        let creation = creation_code("../contracts/test/artifacts/SnarkVerifier.json");
        Self::create_up_to(Some(2 * MAX_CODE_SIZE), CacheDB::default(), &creation).unwrap()
    }

    /// The state after its creation.
    pub(crate) fn state(&self) -> CacheDB<EmptyDB> {
        self.state.clone()
    }

    /// `None` if the creation fails.
    pub(crate) fn create(state: CacheDB<EmptyDB>, creation: &[u8]) -> Option<Self> {
        Self::create_up_to(None, state, creation)
    }

    fn create_up_to(limit: Option<usize>, mut state: CacheDB<EmptyDB>, creation: &[u8]) -> Option<Self> {
        match transact(limit, &mut state, TxKind::Create, creation.to_vec().into()) {
            ExecutionResult::Success { output: Output::Create(code, Some(address)), .. } => {
                Some(Self { state, address, code })
            }
            _ => None,
        }
    }

    /// Replaces the code at an address, as a contract can that destroys itself and is created again.
    pub(crate) fn replace_code(&mut self, address: Address, code: Bytes) {
        let account = self.state.load_account(address).unwrap();
        account.info.code = Some(Bytecode::new_raw(code.clone()));
        account.info.code_hash = keccak256(&code);
    }

    /// The gas of an accepted call; `None` for a reverted one.
    pub(crate) fn call(&self, data: &[u8]) -> Option<u64> {
        let result = transact(None, &mut self.state.clone(), TxKind::Call(self.address), data.to_vec().into());
        result.is_success().then(|| result.tx_gas_used())
    }
}

/// The creation code of an artefact.
pub(crate) fn creation_code(artifact: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(artifact);
    let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap()
}

/// `limit` is the size of the largest code. `None` stands for Ethereum's limit.
fn transact(limit: Option<usize>, state: &mut CacheDB<EmptyDB>, kind: TxKind, data: Bytes) -> ExecutionResult {
    let context = Context::mainnet().with_db(state).modify_cfg_chained(|cfg| {
        cfg.disable_nonce_check = true;
        cfg.limit_contract_code_size = limit;
    });
    let mut evm = context.build_mainnet();
    let transaction = TxEnv::builder().kind(kind).data(data).gas_limit(16_777_216).build().unwrap();
    evm.transact_commit(transaction).unwrap()
}

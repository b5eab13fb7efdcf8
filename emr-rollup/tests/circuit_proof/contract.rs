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

    /// snark-verifier's contract for the key of the current circuit.
    pub(crate) fn oracle() -> Self {
        Self::create(CacheDB::default(), &creation_code("../contracts/test/artifacts/SnarkVerifier.json")).unwrap()
    }

    /// The state after its creation.
    pub(crate) fn state(&self) -> CacheDB<EmptyDB> {
        self.state.clone()
    }

    /// `None` if the creation fails.
    pub(crate) fn create(mut state: CacheDB<EmptyDB>, creation: &[u8]) -> Option<Self> {
        match transact(&mut state, TxKind::Create, creation.to_vec().into()) {
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
        let result = transact(&mut self.state.clone(), TxKind::Call(self.address), data.to_vec().into());
        result.is_success().then(|| result.tx_gas_used())
    }
}

/// The creation code of an artefact.
pub(crate) fn creation_code(artifact: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(artifact);
    let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap()
}

fn transact(state: &mut CacheDB<EmptyDB>, kind: TxKind, data: Bytes) -> ExecutionResult {
    let mut evm =
        Context::mainnet().with_db(state).modify_cfg_chained(|cfg| cfg.disable_nonce_check = true).build_mainnet();
    let transaction = TxEnv::builder().kind(kind).data(data).gas_limit(16_777_216).build().unwrap();
    evm.transact_commit(transaction).unwrap()
}

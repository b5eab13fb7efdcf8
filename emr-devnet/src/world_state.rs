//! The accounts and their storage after one block, and the changes that a block makes.

use std::collections::BTreeMap;

use alloy::{
    consensus::TrieAccount,
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256},
    rlp,
    rpc::types::{EIP1186AccountProofResponse, EIP1186StorageProof},
};
use revm::state::{AccountInfo, Bytecode, EvmState};

use crate::trie::{Trie, TrieValue};

/// All accounts after one block. Copies share their equal parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorldState {
    accounts: Trie<Account>,
}

/// One account with its code and storage.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) head: AccountHead,
    code: Bytecode,
    storage: Trie<U256>,
}

/// The fields of an account with a fixed size: nonce, balance in wei, code hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccountHead {
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
}

/// The values that a block sets. With the values from before the block, the same type undoes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// The new head of an account; `None` if the account is deleted (its storage is then empty).
    pub(crate) accounts: BTreeMap<Address, Option<AccountHead>>,
    /// New values of storage slots. Zero deletes a slot.
    pub(crate) slots: BTreeMap<(Address, U256), U256>,
    /// Code that an account of this block refers to.
    pub(crate) code: BTreeMap<B256, Bytes>,
}

impl TrieValue for U256 {
    fn rlp(&self) -> Vec<u8> {
        rlp::encode(self)
    }
}

impl TrieValue for Account {
    fn rlp(&self) -> Vec<u8> {
        let AccountHead { nonce, balance, code_hash } = self.head;
        rlp::encode(TrieAccount { nonce, balance, storage_root: self.storage.root(), code_hash })
    }
}

impl AccountHead {
    /// An account without code that holds `balance` wei.
    pub(crate) fn with_balance(balance: U256) -> Self {
        Self { nonce: 0, balance, code_hash: KECCAK256_EMPTY }
    }
}

impl WorldState {
    /// The state root (Yellow Paper 4.1).
    pub(crate) fn root(&self) -> B256 {
        self.accounts.root()
    }

    /// The account at `address`.
    pub(crate) fn account(&self, address: &Address) -> Option<&Account> {
        self.accounts.get(&keccak256(address))
    }

    /// The value of a storage slot; zero if it was never set.
    pub(crate) fn slot(&self, address: &Address, slot: U256) -> U256 {
        self.account(address).and_then(|account| account.storage.get(&hashed_slot(slot))).copied().unwrap_or_default()
    }

    /// Applies `changes`. `code` looks up the code of a hash that is new for an account.
    pub(crate) fn apply<E>(&mut self, changes: &Changes, code: impl Fn(&B256) -> Result<Bytes, E>) -> Result<(), E> {
        let mut slots: BTreeMap<Address, Vec<(U256, U256)>> = BTreeMap::new();
        for ((address, slot), value) in &changes.slots {
            slots.entry(*address).or_default().push((*slot, *value));
        }
        for (address, head) in &changes.accounts {
            let key = keccak256(address);
            let Some(head) = *head else {
                self.accounts.remove(&key);
                continue;
            };
            let mut account = match self.accounts.get(&key) {
                Some(account) => account.clone(),
                None => Account::empty(),
            };
            if account.head.code_hash != head.code_hash {
                account.code = match changes.code.get(&head.code_hash) {
                    Some(code) => Bytecode::new_raw(code.clone()),
                    None if head.code_hash == KECCAK256_EMPTY => Bytecode::default(),
                    None => Bytecode::new_raw(code(&head.code_hash)?),
                };
            }
            account.head = head;
            for (slot, value) in slots.remove(address).unwrap_or_default() {
                if value.is_zero() {
                    account.storage.remove(&hashed_slot(slot));
                } else {
                    account.storage.insert(&hashed_slot(slot), value);
                }
            }
            self.accounts.insert(&key, account);
        }
        Ok(())
    }

    /// The changes that undo `changes`: they lead back to this state.
    pub(crate) fn undo(&self, changes: &Changes) -> Changes {
        Changes {
            accounts: changes
                .accounts
                .keys()
                .map(|address| (*address, self.account(address).map(|account| account.head)))
                .collect(),
            slots: changes.slots.keys().map(|key| (*key, self.slot(&key.0, key.1))).collect(),
            code: BTreeMap::new(),
        }
    }

    /// The account, its slots and the trie nodes that prove them (EIP-1186).
    pub(crate) fn prove(&self, address: Address, slots: &[B256]) -> EIP1186AccountProofResponse {
        let account_proof = self.accounts.prove(&keccak256(address));
        let account = self.account(&address).cloned().unwrap_or_else(Account::empty);
        EIP1186AccountProofResponse {
            address,
            balance: account.head.balance,
            code_hash: account.head.code_hash,
            nonce: account.head.nonce,
            storage_hash: account.storage.root(),
            account_proof,
            storage_proof: slots
                .iter()
                .map(|slot| {
                    let key = keccak256(slot);
                    let value = account.storage.get(&key).copied().unwrap_or_default();
                    EIP1186StorageProof::new((*slot).into(), value, account.storage.prove(&key))
                })
                .collect(),
        }
    }
}

impl Account {
    fn empty() -> Self {
        Self { head: AccountHead::with_balance(U256::ZERO), code: Bytecode::default(), storage: Trie::default() }
    }

    /// The deployed code, as `eth_getCode` returns it.
    pub(crate) fn code(&self) -> Bytes {
        self.code.original_bytes()
    }

    /// The account as the EVM reads it.
    pub(crate) fn info(&self) -> AccountInfo {
        AccountInfo::new(self.head.balance, self.head.nonce, self.head.code_hash, self.code.clone())
    }
}

impl Changes {
    /// The changes that an executed transaction made. Deletes accounts that end up empty (EIP-161), and a contract that
    /// was created and destroyed in the same transaction (EIP-6780).
    pub(crate) fn of(touched: EvmState) -> Self {
        let mut changes = Self::default();
        for (address, account) in touched {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() || account.is_empty() {
                changes.accounts.insert(address, None);
                continue;
            }
            let AccountInfo { balance, nonce, code_hash, ref code, .. } = account.info;
            if account.is_created()
                && let Some(code) = code
                && !code.is_empty()
            {
                changes.code.insert(code_hash, code.original_bytes());
            }
            changes.accounts.insert(address, Some(AccountHead { nonce, balance, code_hash }));
            for (slot, value) in &account.storage {
                if value.is_changed() {
                    changes.slots.insert((address, *slot), value.present_value);
                }
            }
        }
        changes
    }
}

fn hashed_slot(slot: U256) -> B256 {
    keccak256(slot.to_be_bytes::<32>())
}

//! The durable record of the nonce in flight: what was sent with it, and what for.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use alloy::{
    consensus::{Signed, TxEip1559, TxEnvelope},
    eips::eip2718::{Decodable2718, Encodable2718},
    primitives::{Address, B256, Bytes},
};
use emr_durable::Disk;
use serde::{Deserialize, Serialize};

use super::{SubmitError, fees::Fees};

/// A transaction that the Ethereum node may have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    /// Its hash.
    pub(super) hash: B256,
    /// What it is for; `None` for a transaction that only takes the nonce back.
    pub(super) purpose: Option<B256>,
}

/// The transactions with one nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    sent: Vec<Sent>,
    newest: Signed<TxEip1559>,
    /// How many transactions of the same call with other nonces were lost or failed before.
    lost: u32,
}

impl Record {
    pub(super) fn new(first: Signed<TxEip1559>, purpose: B256, lost: u32) -> Self {
        Self { sent: vec![Sent { hash: *first.hash(), purpose: Some(purpose) }], newest: first, lost }
    }

    /// Adds a transaction with the same nonce.
    pub(super) fn push(&mut self, replacement: Signed<TxEip1559>, purpose: Option<B256>) {
        self.sent.push(Sent { hash: *replacement.hash(), purpose });
        self.newest = replacement;
    }

    pub(super) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    pub(super) const fn newest(&self) -> &TxEip1559 {
        self.newest.tx()
    }

    pub(super) fn hash(&self) -> B256 {
        *self.newest.hash()
    }

    /// The newest transaction in the form in which nodes take it.
    pub(super) fn raw(&self) -> Vec<u8> {
        self.newest.encoded_2718()
    }

    pub(super) const fn nonce(&self) -> u64 {
        self.newest.tx().nonce
    }

    pub(super) const fn input(&self) -> &Bytes {
        &self.newest.tx().input
    }

    pub(super) const fn fees(&self) -> Fees {
        let transaction = self.newest.tx();
        Fees { cap: transaction.max_fee_per_gas, tip: transaction.max_priority_fee_per_gas }
    }

    pub(super) const fn lost(&self) -> u32 {
        self.lost
    }

    /// What the newest transaction is for.
    pub(super) fn purpose(&self) -> Option<B256> {
        self.sent.last().and_then(|sent| sent.purpose)
    }
}

/// The contents of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    chain_id: u64,
    account: Address,
    lost: u32,
    sent: Vec<Sent>,
    newest: Bytes,
}

/// The file of the record.
#[derive(Debug)]
pub(super) struct RecordFile {
    disk: Disk,
    path: PathBuf,
    /// The version that was written last. Held while the file is written.
    written: Mutex<u64>,
}

impl RecordFile {
    pub(super) fn new(disk: Disk, path: PathBuf) -> Self {
        Self { disk, path, written: Mutex::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the record of this account.
    pub(super) fn read(&self, chain_id: u64, account: Address) -> Result<Option<Record>, SubmitError> {
        let path = || self.path.clone();
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SubmitError::Io { path: path(), source }),
        };
        let damaged = |reason: String| SubmitError::Damaged { path: path(), reason };
        let contents: Contents = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if (contents.chain_id, contents.account) != (chain_id, account) {
            return Err(SubmitError::Another { path: path(), account: contents.account, chain_id: contents.chain_id });
        }
        let decoded = TxEnvelope::decode_2718_exact(&contents.newest).map_err(|error| damaged(error.to_string()))?;
        let TxEnvelope::Eip1559(newest) = decoded else {
            return Err(damaged("another kind of transaction".to_owned()));
        };
        let by = newest.recover_signer().map_err(|error| damaged(error.to_string()))?;
        let last = contents.sent.last().map(|sent| sent.hash);
        if by != account || newest.tx().chain_id != chain_id || last != Some(*newest.hash()) {
            return Err(damaged("its transaction does not belong to it".to_owned()));
        }
        Ok(Some(Record { sent: contents.sent, newest, lost: contents.lost }))
    }

    /// Writes a version of the record durably. Does nothing if a later one is written: a caller that went away may have left its write
    /// to a thread that is late.
    pub(super) fn write(&self, record: &Record, account: Address, version: u64) -> Result<(), SubmitError> {
        let failed = |source| SubmitError::Io { path: self.path.clone(), source };
        let contents = Contents {
            chain_id: record.newest().chain_id,
            account,
            lost: record.lost,
            sent: record.sent.clone(),
            newest: record.raw().into(),
        };
        let bytes = serde_json::to_vec(&contents).map_err(|error| failed(error.into()))?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if version >= *written {
            self.disk.replace(&self.path, &bytes).map_err(failed)?;
            *written = version;
        }
        Ok(())
    }
}

//! A participant's Ethereum key as a signer of alloy.

use std::sync::Arc;

use alloy::{
    consensus::SignableTransaction,
    network::TxSigner,
    primitives::{Address, B256, Signature},
    signers::{Error, Result, SignerSync},
};
use async_trait::async_trait;

use crate::keys::{self, Keys, Signer};

/// Signs transactions.
#[derive(Clone, Debug)]
pub(crate) struct EthereumKey(pub(crate) Arc<dyn Keys>);

#[async_trait]
impl TxSigner<Signature> for EthereumKey {
    fn address(&self) -> Address {
        self.0.ethereum_address()
    }

    async fn sign_transaction(&self, transaction: &mut dyn SignableTransaction<Signature>) -> Result<Signature> {
        let hash = transaction.signature_hash();
        keys::with(&self.0, move |keys| keys.sign_ethereum(&hash)).await.map_err(Error::other)
    }
}

/// Signs EIP-712 hashes.
#[derive(Debug)]
pub(crate) struct HashSigner<'a>(pub(crate) &'a dyn Signer);

impl SignerSync for HashSigner<'_> {
    fn sign_hash_sync(&self, hash: &B256) -> Result<Signature> {
        self.0.sign_ethereum(hash).map_err(Error::other)
    }

    fn chain_id_sync(&self) -> Option<u64> {
        None
    }
}

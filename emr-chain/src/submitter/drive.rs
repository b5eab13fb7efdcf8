//! Brings one nonce to its end: looks, sends again, raises the fees, or takes the nonce back.

use std::{sync::Arc, time::Duration};

use alloy::{
    consensus::{SignableTransaction, Signed, TxEip1559},
    eips::BlockId,
    primitives::{B256, Bytes, TxKind, U256},
    providers::Provider,
    rpc::types::TransactionReceipt,
    signers::SignerSync,
    transports::RpcError,
};
use tokio::time::{Instant, sleep};

use super::{
    Fate, Held, Looks, Order, Record, SubmitError, Submitter,
    fees::{Fees, Market, Raise},
    refusal::Refusal,
};
use crate::revert::RollupError;

/// How often in a row the Ethereum node must say something surprising before it is believed. One address can stand for several nodes, and
/// one of them may only be behind.
const DOUBTS: u32 = 4;
/// How often a call is sent with a new nonce because the transaction before was lost or failed. Each time may be a lie of the Ethereum
/// node, which then has one more transaction that costs gas and reverts.
const MAX_LOST: u32 = 5;
/// The gas of a transfer.
const TRANSFER_GAS: u64 = 21_000;

/// The right to send a transaction. Dropping it gives the right to the next one, and stops nothing that was sent.
#[derive(Debug)]
pub struct Turn<'a> {
    submitter: &'a Submitter,
    state: Held,
    patience: Duration,
    until: Instant,
}

/// What the Ethereum node shows of the nonce of the record.
enum Look {
    /// A transaction with this purpose was mined.
    Mined(Option<B256>, Box<TransactionReceipt>),
    /// No transaction of the record can be mined any more.
    Lost,
    /// The nonce is the account's next one.
    Free,
    /// Something surprising, for the first times.
    Doubtful,
}

impl<'a> Turn<'a> {
    pub(super) fn new(submitter: &'a Submitter, mut state: Held, patience: Duration) -> Self {
        if state.looks.underpriced {
            // Fees may have fallen, or the other transaction is gone. So it is sent again at once.
            (state.looks.underpriced, state.looks.sent) = (false, None);
        }
        Self { submitter, state, patience, until: Instant::now() + patience }
    }

    /// Brings an earlier transaction to its end. If it is of this call, waits until it is mined and returns its receipt. Another call also
    /// comes first, if `first` says so of its calldata and the Ethereum node still has it. Otherwise its nonce is taken back. Returns `None`
    /// if the call is to be sent, because nothing of it is on the way or was successful.
    ///
    /// # Errors
    /// Returns [`RollupError::NotMined`] if the patience ends, [`SubmitError`] if a higher fee is above the limit, and other errors if the
    /// Ethereum node fails. A later turn goes on.
    pub async fn resume(
        &mut self,
        order: &Order,
        first: impl Fn(&[u8]) -> bool + Send,
    ) -> Result<Option<TransactionReceipt>, RollupError> {
        let wanted = Some(order.purpose());
        let Some(record) = &self.state.record else { return Ok(None) };
        let keep = record.purpose() == wanted
            || record.purpose().is_some() && first(record.input()) && !self.is_unknown(record).await?;
        loop {
            match self.look().await? {
                Look::Mined(purpose, receipt) => {
                    return Ok((purpose == wanted && receipt.status()).then_some(*receipt));
                }
                Look::Lost => return Ok(None),
                Look::Free if keep => self.nurse().await?,
                Look::Free => self.take_back().await?,
                Look::Doubtful => {}
            }
            self.pause().await?;
        }
    }

    /// Whether a transaction of this call waits for the next block, but the Ethereum node has forgotten it. Then the call should be
    /// simulated before [`Self::resume`] sends it again.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the Ethereum node fails.
    pub async fn is_forgotten(&self, order: &Order) -> Result<bool, RollupError> {
        match &self.state.record {
            Some(record) if record.purpose() == Some(order.purpose()) => self.is_unknown(record).await,
            _ => Ok(false),
        }
    }

    /// Whether the nonce is free, and the Ethereum node knows no transaction with it.
    async fn is_unknown(&self, record: &Record) -> Result<bool, RollupError> {
        if self.submitter.count(BlockId::latest()).await? != record.nonce() {
            return Ok(false);
        }
        for sent in record.sent().iter().rev() {
            if self.submitter.config.provider.get_transaction_by_hash(sent.hash).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a call with a new nonce, and waits until it is mined. [`Self::resume`] must have returned `None`. Returns `None` if another
    /// program used the nonce.
    ///
    /// # Errors
    /// The same as [`Self::resume`].
    pub async fn send(&mut self, order: &Order, gas: u64) -> Result<Option<TransactionReceipt>, RollupError> {
        let lost = match &self.state.record {
            Some(record) if record.purpose() == Some(order.purpose()) => record.lost() + 1,
            _ => 0,
        };
        let nonce = self.next_nonce().await?;
        let account = self.submitter.account();
        if lost > MAX_LOST {
            let path = self.submitter.file.path().to_owned();
            return Err(SubmitError::NoncesLost { account, nonce, path }.into());
        }
        let market = self.market().await?;
        let Fees { cap, tip } = market.first()?;
        let signed = self.sign(TxEip1559 {
            chain_id: self.submitter.config.chain_id,
            nonce,
            gas_limit: gas,
            max_fee_per_gas: cap,
            max_priority_fee_per_gas: tip,
            to: TxKind::Call(order.to),
            value: order.value,
            input: order.input.clone(),
            ..TxEip1559::default()
        })?;
        self.state.record = Some(Record::new(signed, order.purpose(), lost));
        self.signed(&market);
        self.broadcast().await?;
        loop {
            match self.look().await? {
                Look::Mined(_, receipt) => return Ok(Some(*receipt)),
                Look::Lost => return Ok(None),
                Look::Free => self.nurse().await?,
                Look::Doubtful => {}
            }
            self.pause().await?;
        }
    }

    /// One step to take the nonce back.
    pub(super) async fn withdraw_step(&mut self) -> Result<(), RollupError> {
        match self.look().await? {
            Look::Free => self.take_back().await,
            Look::Mined(..) | Look::Lost | Look::Doubtful => Ok(()),
        }
    }

    async fn look(&mut self) -> Result<Look, RollupError> {
        let Some(record) = &self.state.record else { return Ok(Look::Lost) };
        let count = self.submitter.count(BlockId::latest()).await?;
        if count > record.nonce() {
            for sent in record.sent().iter().rev() {
                if let Some(receipt) = self.submitter.receipt(sent.hash).await? {
                    let purpose = sent.purpose;
                    self.state.fate = Fate::Mined;
                    return Ok(Look::Mined(purpose, Box::new(receipt)));
                }
            }
        }
        if count == record.nonce() {
            self.state.looks.odd = 0;
            self.state.fate = Fate::Open;
            return Ok(Look::Free);
        }
        self.state.looks.odd += 1;
        if self.state.looks.odd < DOUBTS {
            return Ok(Look::Doubtful);
        }
        self.state.fate = Fate::Lost;
        Ok(Look::Lost)
    }

    /// Sends the newest transaction again if that is due, and raises its fees if they seem too low.
    async fn nurse(&mut self) -> Result<(), RollupError> {
        let Some(record) = self.state.record.clone() else { return Ok(()) };
        let again = self.submitter.config.pace.again;
        if self.state.looks.sent.is_none_or(|sent| sent.elapsed() >= again) {
            self.broadcast().await?;
        }
        if !self.is_too_cheap().await? {
            return Ok(());
        }
        let underpriced = self.state.looks.underpriced;
        let raise = if underpriced { Raise::Double } else { Raise::Eighth };
        let market = self.market().await?;
        match market.above(record.fees(), raise) {
            Some(fees) => {
                let newest = with_fees(record.newest().clone(), fees);
                self.replace(newest, record.purpose(), &market).await
            }
            None if market.base > record.fees().cap => Err(market.above_limit().into()),
            None if underpriced => {
                let (account, nonce) = (self.submitter.account(), record.nonce());
                Err(SubmitError::NonceHeld { account, nonce, limit: market.limit }.into())
            }
            None => Ok(()),
        }
    }

    /// Replaces the newest transaction by a transfer of nothing to the account itself.
    async fn take_back(&mut self) -> Result<(), RollupError> {
        let Some(record) = self.state.record.clone() else { return Ok(()) };
        if record.purpose().is_none() {
            return self.nurse().await;
        }
        self.state.looks.free += 1;
        if self.state.looks.free < DOUBTS {
            return Ok(());
        }
        let market = self.market().await?;
        match market.above(record.fees(), Raise::Eighth) {
            Some(fees) => {
                let (to, newest) = (TxKind::Call(self.submitter.account()), record.newest().clone());
                let (value, input) = (U256::ZERO, Bytes::new());
                let transfer = TxEip1559 { to, value, input, gas_limit: TRANSFER_GAS, ..newest };
                self.replace(with_fees(transfer, fees), None, &market).await
            }
            None if market.base > record.fees().cap => Err(market.above_limit().into()),
            // It is cheap enough to be mined soon, and that frees the nonce as well.
            None => Ok(()),
        }
    }

    /// Whether the fees seem too low: the Ethereum node says so, or some blocks came without the transaction.
    async fn is_too_cheap(&mut self) -> Result<bool, RollupError> {
        let pace = self.submitter.config.pace;
        if self.state.looks.underpriced {
            return Ok(true);
        }
        let Some((when, next_block)) = self.state.looks.chosen else {
            let newest = self.submitter.config.provider.get_block_number().await?;
            self.state.looks.chosen = Some((Instant::now(), newest.saturating_add(1)));
            return Ok(false);
        };
        if when.elapsed() < pace.raise {
            return Ok(false);
        }
        let newest = self.submitter.config.provider.get_block_number().await?;
        Ok(newest >= next_block.saturating_add(pace.raise_blocks - 1))
    }

    /// The account's next nonce. If transactions of another program wait, waits for them, but not for long.
    async fn next_nonce(&self) -> Result<u64, RollupError> {
        let began = Instant::now();
        loop {
            let next = self.submitter.count(BlockId::latest()).await?;
            let waiting = self.submitter.count(BlockId::pending()).await? > next;
            if !waiting || began.elapsed() >= self.submitter.config.pace.raise {
                return Ok(next);
            }
            sleep(self.submitter.config.pace.poll).await;
        }
    }

    async fn market(&self) -> Result<Market, RollupError> {
        Market::read(&self.submitter.config.provider, self.submitter.config.max_fee).await
    }

    fn sign(&self, transaction: TxEip1559) -> Result<Signed<TxEip1559>, RollupError> {
        let signature = self.submitter.config.signer.sign_hash_sync(&transaction.signature_hash());
        let signature = signature.map_err(|error| RollupError::Malformed(error.to_string()))?;
        Ok(transaction.into_signed(signature))
    }

    async fn replace(
        &mut self,
        transaction: TxEip1559,
        purpose: Option<B256>,
        market: &Market,
    ) -> Result<(), RollupError> {
        let signed = self.sign(transaction)?;
        if let Some(record) = &mut self.state.record {
            record.push(signed, purpose);
        }
        self.signed(market);
        self.broadcast().await
    }

    /// Notes that there is a new transaction, which is not on disk yet.
    fn signed(&mut self, market: &Market) {
        self.state.version += 1;
        self.state.unsaved = true;
        self.state.fate = Fate::Open;
        self.state.looks = Looks { chosen: Some((Instant::now(), market.next_block)), ..Looks::default() };
    }

    /// Writes the record if it changed, and then gives the newest transaction to the Ethereum node.
    async fn broadcast(&mut self) -> Result<(), RollupError> {
        self.save().await?;
        let Some(record) = &self.state.record else { return Ok(()) };
        let answer = self.submitter.config.provider.send_raw_transaction(&record.raw()).await;
        let looks = &mut self.state.looks;
        (looks.sent, looks.unsent, looks.underpriced) = (Some(Instant::now()), None, false);
        match answer {
            Ok(_) => Ok(()),
            Err(RpcError::ErrorResp(refused)) => match Refusal::of(&refused.message) {
                Refusal::Known | Refusal::NonceUsed => Ok(()),
                Refusal::Underpriced => {
                    self.state.looks.underpriced = true;
                    Ok(())
                }
                Refusal::Other => Err(RpcError::ErrorResp(refused).into()),
            },
            // The node may have it or not. The next look shows whether it is mined, and later it is sent again.
            Err(lost) => {
                self.state.looks.unsent = Some(RollupError::from(lost).to_string());
                Ok(())
            }
        }
    }

    async fn save(&mut self) -> Result<(), RollupError> {
        let Some(record) = self.state.record.clone().filter(|_| self.state.unsaved) else { return Ok(()) };
        let (file, account, version) = (Arc::clone(&self.submitter.file), self.submitter.account(), self.state.version);
        let written = tokio::task::spawn_blocking(move || file.write(&record, account, version)).await;
        written.map_err(|_| SubmitError::Stopping)??;
        self.state.unsaved = false;
        Ok(())
    }

    /// Waits before the next look, unless the patience is over.
    async fn pause(&self) -> Result<(), RollupError> {
        if Instant::now() < self.until {
            sleep(self.submitter.config.pace.poll).await;
            return Ok(());
        }
        if let Some(reason) = &self.state.looks.unsent {
            return Err(RollupError::Unreachable(reason.clone()));
        }
        let tx_hash = self.state.record.as_ref().map(Record::hash).unwrap_or_default();
        Err(RollupError::NotMined { tx_hash, seconds: self.patience.as_secs() })
    }
}

fn with_fees(transaction: TxEip1559, fees: Fees) -> TxEip1559 {
    TxEip1559 { max_fee_per_gas: fees.cap, max_priority_fee_per_gas: fees.tip, ..transaction }
}

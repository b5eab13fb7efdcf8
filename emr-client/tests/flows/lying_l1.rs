//! Ethereum nodes that show another chain than they have: a transport between the client and the chain.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use alloy::{
    primitives::B256,
    rpc::{
        json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload},
        types::{Block, Header as RpcHeader},
    },
    transports::{BoxTransport, TransportError, TransportErrorKind, TransportFut},
};
use emr_chain::endpoint::Endpoint;
use emr_devnet::EmbeddedChain;
use serde_json::Value;
use tower::Service;

use crate::scene::*;

/// What a node does with its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// Nothing.
    Honest,
    /// It never answers.
    Silent,
    /// Its blocks have another state, and calls of contracts give these bytes.
    Invents(u8),
    /// Its receipts name the first entry of a queue instead of the one that was appended.
    FirstEntry,
    /// It proves that the contract's storage is empty.
    EmptySlots,
    /// It passes no transaction on, and says that each is this one, which it mined before.
    Swallows(B256),
    /// Honest, but each of the first proofs meets a reorganisation that takes back the newest block.
    Reorganises {
        /// How many proofs.
        proofs: usize,
    },
    /// All its blocks are this many seconds younger than they are. Negative for older.
    Shifts(i64),
}

/// The scene's chain as a node shows it.
pub(crate) fn shown(scene: &Scene, lie: Lie) -> Endpoint {
    let reorganisations = match lie {
        Lie::Reorganises { proofs } => proofs,
        _ => 0,
    };
    Endpoint::in_process(Liar {
        inner: BoxTransport::new(scene.chain.transport()),
        lie,
        chain: scene.chain.clone(),
        reorganisations: Arc::new(AtomicUsize::new(reorganisations)),
    })
}

/// Takes back the newest block of a chain. An empty one comes in its place.
fn reorganise(chain: &EmbeddedChain) -> Result<(), TransportError> {
    let depth = serde_json::value::to_raw_value(&[1]).map_err(TransportError::ser_err)?;
    chain.request("anvil_reorg", Some(&depth)).map(drop).map_err(TransportErrorKind::custom)
}

#[derive(Clone)]
struct Liar {
    inner: BoxTransport,
    lie: Lie,
    chain: EmbeddedChain,
    /// How many more there are.
    reorganisations: Arc<AtomicUsize>,
}

impl Service<RequestPacket> for Liar {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let method: Arc<str> = packet.as_single().map(|request| request.method()).unwrap_or_default().into();
        let lie = self.lie;
        if let (Lie::Swallows(earlier), "eth_sendRawTransaction", Some(sent)) = (lie, &*method, packet.as_single()) {
            let id = sent.id().clone();
            return Box::pin(async move {
                let hash = serde_json::value::to_raw_value(&earlier).map_err(TransportError::ser_err)?;
                Ok(ResponsePacket::Single(Response { id, payload: ResponsePayload::Success(hash) }))
            });
        }
        let fewer = |left: usize| left.checked_sub(1);
        if &*method == "eth_getProof"
            && self.reorganisations.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
            && let Err(error) = reorganise(&self.chain)
        {
            return Box::pin(std::future::ready(Err(error)));
        }
        let answer = self.inner.call(packet);
        Box::pin(async move {
            if matches!(lie, Lie::Silent) {
                std::future::pending::<()>().await;
            }
            let mut answer = answer.await?;
            if let ResponsePacket::Single(response) = &mut answer
                && let ResponsePayload::Success(raw) = &response.payload
            {
                let value = serde_json::from_str(raw.get()).map_err(TransportError::ser_err)?;
                let changed = lie.changed(&method, value).map_err(TransportError::ser_err)?;
                response.payload = ResponsePayload::Success(
                    serde_json::value::to_raw_value(&changed).map_err(TransportError::ser_err)?,
                );
            }
            Ok(answer)
        })
    }
}

impl Lie {
    fn changed(self, method: &str, value: Value) -> Result<Value, serde_json::Error> {
        match (self, method) {
            (Self::EmptySlots, "eth_getProof") => Ok(empty_slots(value)),
            (Self::FirstEntry, "eth_getTransactionReceipt") => Ok(first_entry(value)),
            (Self::Invents(byte), "eth_call") => Ok(format!("0x{}", format!("{byte:02x}").repeat(32)).into()),
            (Self::Invents(byte), "eth_getBlockByNumber") => {
                with_header(value, |header| header.inner.state_root = B256::repeat_byte(byte))
            }
            (Self::Shifts(seconds), "eth_getBlockByNumber") => with_header(value, |header| {
                header.inner.timestamp = header.inner.timestamp.saturating_add_signed(seconds);
            }),
            _ => Ok(value),
        }
    }
}

fn empty_slots(mut proof: Value) -> Value {
    for slot in proof.get_mut("storageProof").and_then(Value::as_array_mut).into_iter().flatten() {
        slot["value"] = "0x0".into();
    }
    proof
}

/// Changes a block's header, and gives it the hash that the changed header has.
fn with_header(block: Value, change: impl FnOnce(&mut RpcHeader)) -> Result<Value, serde_json::Error> {
    if block.is_null() {
        return Ok(block);
    }
    let mut block: Block = serde_json::from_value(block)?;
    change(&mut block.header);
    block.header = RpcHeader::new(block.header.inner);
    serde_json::to_value(block)
}

/// `Enqueued(queue, index, words)` has the index as its third topic.
fn first_entry(mut receipt: Value) -> Value {
    for log in receipt.get_mut("logs").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(index) = log.get_mut("topics").and_then(|topics| topics.get_mut(2)) {
            *index = B256::ZERO.to_string().into();
        }
    }
    receipt
}

//! The embedded chain as an alloy transport, so that a `Provider` needs no socket.

use std::task::{Context, Poll};

use alloy::{
    rpc::json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest},
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use tower::Service;

use crate::EmbeddedChain;

/// Passes alloy's requests to an [`EmbeddedChain`]. The work runs on Tokio's blocking threads.
#[derive(Clone, Debug)]
pub struct EmbeddedTransport {
    chain: EmbeddedChain,
}

impl EmbeddedTransport {
    /// The transport of `chain`.
    pub fn new(chain: EmbeddedChain) -> Self {
        Self { chain }
    }

    fn answer(&self, request: &SerializedRequest) -> Response {
        let payload = match self.chain.request(request.method(), request.params()) {
            Ok(result) => ResponsePayload::Success(result),
            Err(failure) => ResponsePayload::Failure(failure.into_payload()),
        };
        Response { id: request.id().clone(), payload }
    }
}

impl Service<RequestPacket> for EmbeddedTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let transport = self.clone();
        Box::pin(async move {
            let answer = move || match packet {
                RequestPacket::Single(request) => ResponsePacket::Single(transport.answer(&request)),
                RequestPacket::Batch(requests) => {
                    ResponsePacket::Batch(requests.iter().map(|request| transport.answer(request)).collect())
                }
            };
            tokio::task::spawn_blocking(answer).await.map_err(TransportErrorKind::custom)
        })
    }
}

//! JSON-RPC errors, with the codes and wording that Ethereum clients already understand.

use std::borrow::Cow;

use alloy::{
    primitives::Bytes,
    rpc::json_rpc::ErrorPayload,
    sol_types::{Panic, Revert, SolError},
};
use serde_json::value::to_raw_value;

use crate::store::StoreError;

/// A JSON-RPC error: code, message and, for a revert, the returned bytes (EIP-1474; code 3 as in geth).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct RpcFailure {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Bytes>,
}

impl RpcFailure {
    /// The JSON-RPC error code.
    pub fn code(&self) -> i64 {
        self.code
    }

    /// The bytes with which the contract reverted.
    pub fn revert_data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The error for a request that is valid but refused.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(-32000, message)
    }

    pub(crate) fn parse(error: impl std::fmt::Display) -> Self {
        Self::new(-32700, format!("not JSON: {error}"))
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(-32600, message)
    }

    pub(crate) fn unknown_method(method: &str) -> Self {
        let shown: String = method.chars().take(64).collect();
        Self::new(-32601, format!("the method {shown} does not exist on this chain"))
    }

    pub(crate) fn invalid_params(message: impl std::fmt::Display) -> Self {
        Self::new(-32602, format!("invalid parameters: {message}"))
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(-32005, message)
    }

    /// The error for an execution that reverted with `output`.
    pub(crate) fn reverted(output: Bytes) -> Self {
        let reason = Revert::abi_decode(&output)
            .map(|revert| format!(": {}", revert.reason))
            .or_else(|_| Panic::abi_decode(&output).map(|panic| format!(": {panic}")))
            .unwrap_or_default();
        Self { code: 3, message: format!("execution reverted{reason}"), data: Some(output) }
    }

    pub(crate) fn into_payload(self) -> ErrorPayload {
        ErrorPayload {
            code: self.code,
            message: Cow::Owned(self.message),
            data: self.data.and_then(|data| to_raw_value(&data).ok()),
        }
    }
}

impl From<StoreError> for RpcFailure {
    fn from(error: StoreError) -> Self {
        Self::new(-32603, error.to_string())
    }
}

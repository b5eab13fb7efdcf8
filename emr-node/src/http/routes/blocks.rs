//! Storing and fetching blocks.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use emr_api::{
    BlockPut, BlocksDropped, DropBlocks,
    form::{As, CidText},
};
use emr_core::cid::{Codec, cid_of, codec_of};
use emr_ipfs::Cid;
use serde::Deserialize;

use super::{
    Shared,
    extract::{Account, Body, Json, Path},
};
use crate::{
    request_error::{RequestError, RequestErrorKind},
    storage::staging::{self, NewBlock},
};

#[derive(Deserialize)]
pub(super) struct CodecQuery {
    codec: String,
}

/// A CID in a path.
#[derive(Deserialize)]
pub(super) struct CidParameter(#[serde(with = "As::<CidText>")] Cid);

pub(super) async fn put(
    State(app): Shared,
    account: Account,
    query: Result<Query<CodecQuery>, QueryRejection>,
    Body(bytes): Body,
) -> Result<axum::Json<BlockPut>, RequestError> {
    let codec = match query.as_ref().map(|query| query.codec.as_str()) {
        Ok("raw") => Codec::Raw,
        Ok("dag-cbor") => Codec::DagCbor,
        _ => return Err(RequestError::malformed("say what the block is: ?codec=raw or ?codec=dag-cbor")),
    };
    let engine = app.engine();
    let cid = cid_of(codec, &bytes);
    // Protects the block from removal until it is stored.
    let _in_use = engine.in_use.take(&[cid]).await;
    let (size, at) = (bytes.len() as u64, engine.clock.now());
    staging::note(engine, NewBlock { uploader: account.0, cid, codec, bytes: &bytes, size, at }).await?;
    let cid = engine.blockstore.put(codec, &bytes).await?;
    Ok(axum::Json(BlockPut { cid }))
}

/// Gives up blocks of the caller, so that they take no room until they lapse.
pub(super) async fn give_up(
    State(app): Shared,
    account: Account,
    Json(DropBlocks { blocks }): Json<DropBlocks>,
) -> Result<axum::Json<BlocksDropped>, RequestError> {
    if blocks.len() > DropBlocks::MOST {
        let message = format!("at most {} blocks are given up at once: make several requests", DropBlocks::MOST);
        return Err(RequestError::new(RequestErrorKind::TooLarge, message));
    }
    let cids: Vec<Cid> = blocks.into_iter().map(|block| block.cid).collect();
    let dropped = app.engine().give_up(account.0, cids).await?;
    Ok(axum::Json(BlocksDropped { dropped }))
}

pub(super) async fn get(
    State(app): Shared,
    account: Account,
    Path(CidParameter(cid)): Path<CidParameter>,
) -> Result<Response, RequestError> {
    let not_here = || RequestError::not_found("there is no such block here");
    let codec = codec_of(&cid).map_err(|error| RequestError::malformed(error.to_string()))?;
    let engine = app.engine();
    let references = engine.mempool.references(&cid)?;
    if references.is_empty() {
        // No operation refers to the block yet, so it belongs to its uploader.
        if !engine.mempool.uploaded(&cid, &account.0)? {
            return Err(not_here());
        }
    } else {
        let now = engine.clock.now();
        let state = engine.state();
        let mut error = not_here();
        let served = references.iter().any(|part_of| match state.may_have(account.index(), part_of, now) {
            Ok(()) => true,
            Err(why) => {
                if why.kind != RequestErrorKind::NotFound || error.kind == RequestErrorKind::NotFound {
                    error = why;
                }
                false
            }
        });
        if !served {
            return Err(error);
        }
    }
    let bytes = engine.blockstore.get(&cid).await.map_err(|error| match error.is_not_found() {
        true => not_here(),
        false => error.into(),
    })?;
    let kind = match codec {
        Codec::Raw => "application/vnd.ipld.raw",
        Codec::DagCbor => "application/vnd.ipld.dag-cbor",
    };
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

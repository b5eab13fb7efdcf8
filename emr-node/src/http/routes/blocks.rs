//! Storing and fetching blocks.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use emr_api::BlockPut;
use emr_core::cid::{Codec, cid_of, codec_of};
use emr_ipfs::Cid;
use serde::Deserialize;

use super::{
    Shared,
    extract::{Account, Body, Path},
};
use crate::{
    http::refusal::{Refusal, RefusalKind},
    storage::staging::{self, NewBlock},
};

#[derive(Deserialize)]
pub(super) struct CodecQuery {
    codec: String,
}

pub(super) async fn put(
    State(app): Shared,
    account: Account,
    query: Result<Query<CodecQuery>, QueryRejection>,
    Body(bytes): Body,
) -> Result<axum::Json<BlockPut>, Refusal> {
    let codec = match query.as_ref().map(|query| query.codec.as_str()) {
        Ok("raw") => Codec::Raw,
        Ok("dag-cbor") => Codec::DagCbor,
        _ => return Err(Refusal::malformed("say what the block is: ?codec=raw or ?codec=dag-cbor")),
    };
    let sequencer = app.sequencer();
    let cid = cid_of(codec, &bytes);
    // Protects the block from removal until it is stored.
    let _in_use = sequencer.in_use.take(&[cid]).await;
    let (size, at) = (bytes.len() as u64, sequencer.clock.now());
    staging::note(sequencer, NewBlock { uploader: account.0, cid, codec, bytes: &bytes, size, at }).await?;
    let cid = sequencer.blockstore.put(codec, &bytes).await?;
    Ok(axum::Json(BlockPut { cid: cid.to_string() }))
}

pub(super) async fn get(State(app): Shared, account: Account, Path(cid): Path<String>) -> Result<Response, Refusal> {
    let not_here = || Refusal::not_found("there is no such block here");
    let cid: Cid = cid.parse().map_err(|_| Refusal::malformed("not a CID"))?;
    let codec = codec_of(&cid).map_err(|error| Refusal::malformed(error.to_string()))?;
    let sequencer = app.sequencer();
    let references = sequencer.mempool.references(&cid)?;
    if references.is_empty() {
        // No operation refers to the block yet, so it belongs to its uploader.
        if !sequencer.mempool.uploaded(&cid, &account.0)? {
            return Err(not_here());
        }
    } else {
        let now = sequencer.clock.now();
        let state = sequencer.state();
        let mut refusal = not_here();
        let served = references.iter().any(|part_of| match state.may_have(account.index(), part_of, now) {
            Ok(()) => true,
            Err(why) => {
                if why.kind != RefusalKind::NotFound || refusal.kind == RefusalKind::NotFound {
                    refusal = why;
                }
                false
            }
        });
        if !served {
            return Err(refusal);
        }
    }
    let bytes = sequencer.blockstore.get(&cid).await.map_err(|error| match error.is_not_found() {
        true => not_here(),
        false => error.into(),
    })?;
    let kind = match codec {
        Codec::Raw => "application/vnd.ipld.raw",
        Codec::DagCbor => "application/vnd.ipld.dag-cbor",
    };
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

//! Blocks on a Kubo node, over its HTTP RPC (<https://docs.ipfs.tech/reference/kubo/rpc/>).
//!
//! Every call has `offline=true`: the node answers only for its own blocks, and does not search the network for a CID
//! that an attacker made up. The node is not trusted: its blocks are hashed again, a stored block must get the address
//! that was computed here, and every answer is bounded in size and time.

mod space;

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use cid::Cid;
use emr_core::cid::{Codec, MAX_BLOCK_BYTES, codec_of, verify_block};
use emr_core::{HttpAddress, PlainHttp, is_harmless};
use futures::FutureExt;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::dag::{DagLimits, walk};
use crate::{Blockstore, FreeSpace, StoreError, StoreFuture};

/// The time limit for connecting, and for calls about the node itself.
const PRESENCE: Duration = Duration::from_secs(5);
/// The time limit for a call about one block, and for the list of pins.
const CALL: Duration = Duration::from_secs(60);
/// The time limit for a pin: the node may read up to 8 GiB from its disk.
const PIN: Duration = Duration::from_secs(600);
/// The largest answer in bytes that is not a block: a list of about 100,000 pins.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How many bytes of an error message are read.
const MAX_MESSAGE_BYTES: usize = 4096;
/// How many characters of an error message are shown.
const MAX_SHOWN: usize = 300;

/// A block store on a Kubo node. Clones share its connections.
#[derive(Clone, Debug)]
pub struct KuboStore {
    client: Client,
    base: Url,
    /// Whether the node is on this machine.
    is_here: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlockPut {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PinChange {
    pins: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Removed {
    hash: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PinList {
    keys: std::collections::BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeVersion {
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    message: String,
}

impl KuboStore {
    /// Uses the node whose RPC is at `url` on this machine, such as `http://127.0.0.1:5001`. Sends nothing yet. Call
    /// [`version`](Self::version) to see whether the node answers.
    ///
    /// # Errors
    /// Returns [`StoreError::Url`] for anything but `http://HOST[:PORT]`, and [`StoreError::Address`] for another
    /// machine.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Self::with_rule(url, PlainHttp::ThisMachine)
    }

    /// The same as [`Self::new`], but the caller decides where plain http is allowed. The RPC has no authentication, so
    /// a Kubo node on another machine must be reachable only inside the hospital's network.
    ///
    /// # Errors
    /// The same as [`Self::new`], by the caller's rule.
    pub fn with_rule(url: &str, plain: PlainHttp) -> Result<Self, StoreError> {
        let refuse = |reason| StoreError::Url { reason };
        let base = Url::parse(url).map_err(|_| refuse("it is not a URL"))?;
        if base.scheme() != "http" {
            return Err(refuse("Kubo's RPC speaks plain http"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(refuse("it must not hold a user name or a password"));
        }
        if !matches!(base.path(), "" | "/") || base.query().is_some() || base.fragment().is_some() {
            return Err(refuse("it must have no path, query or fragment"));
        }
        let address = HttpAddress::new(base, plain)?;
        let client = Client::builder()
            .connect_timeout(PRESENCE)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| refuse("no HTTP client could be made"))?;
        Ok(Self { client, base: address.url().clone(), is_here: address.is_this_machine() })
    }

    /// The node's Kubo version, such as `0.41.0`.
    ///
    /// # Errors
    /// Returns [`StoreError::Unreachable`] if there is no answer, and [`StoreError::Refused`] or
    /// [`StoreError::BadAnswer`] if it is not Kubo.
    pub async fn version(&self) -> Result<String, StoreError> {
        let answer: NodeVersion = self.ask("version", &[], None).await?;
        Ok(printable(&answer.version))
    }

    /// Whether the node fsyncs each block before it answers. By default, Kubo does not, so it can lose accepted blocks
    /// in a power cut. To change this, set `sync` of the `flatfs` mount in `Datastore.Spec` to `true` and restart Kubo.
    ///
    /// # Errors
    /// The same as [`version`](Self::version).
    pub async fn is_synced(&self) -> Result<bool, StoreError> {
        let config: Value = self.ask("config/show", &[], None).await?;
        Ok(every_flatfs_syncs(&config["Datastore"]["Spec"]))
    }

    fn bad_answer(&self, call: &'static str, reason: impl Into<String>) -> StoreError {
        StoreError::BadAnswer { url: self.base.to_string(), call, reason: reason.into() }
    }

    fn unreachable(&self, error: &reqwest::Error) -> StoreError {
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let reason = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
        StoreError::Unreachable { url: self.base.to_string(), reason: printable(&reason) }
    }

    async fn send(
        &self,
        call: &'static str,
        arguments: &[(&str, &str)],
        block: Option<&[u8]>,
    ) -> Result<Response, StoreError> {
        let mut url = self.base.clone();
        url.set_path(&format!("/api/v0/{call}"));
        url.query_pairs_mut().extend_pairs(arguments).append_pair("offline", "true");
        let patience = match call {
            "version" | "diag/sys" | "repo/stat" => PRESENCE,
            "pin/add" => PIN,
            _ => CALL,
        };
        let mut request = self.client.post(url).timeout(patience);
        if let Some(block) = block {
            request = request.multipart(Form::new().part("data", Part::bytes(block.to_vec()).file_name("data")));
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let message = self.read_some(response, MAX_MESSAGE_BYTES).await.unwrap_or_default();
        let message = match serde_json::from_slice::<Refusal>(&message) {
            Ok(refusal) => refusal.message,
            Err(_) => String::from_utf8_lossy(&message).into_owned(),
        };
        if message.contains("no space left on device") || message.contains("disk quota exceeded") {
            return Err(StoreError::DiskFull { path: self.base.as_str().into() });
        }
        let message = printable(&message);
        Err(StoreError::Refused { url: self.base.to_string(), call, status: status.as_u16(), message })
    }

    /// Sends a call and parses its JSON answer.
    async fn ask<T: DeserializeOwned>(
        &self,
        call: &'static str,
        arguments: &[(&str, &str)],
        block: Option<&[u8]>,
    ) -> Result<T, StoreError> {
        let response = self.send(call, arguments, block).await?;
        let bytes = self.read_some(response, MAX_ANSWER_BYTES).await?;
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(self.bad_answer(call, format!("more than {MAX_ANSWER_BYTES} bytes")));
        }
        serde_json::from_slice(&bytes).map_err(|error| self.bad_answer(call, printable(&error.to_string())))
    }

    /// Reads the body. Stops after `limit` bytes are exceeded, so that the caller notices a longer body.
    async fn read_some(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        while bytes.len() <= limit {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.unreachable(&error)),
            }
        }
        Ok(bytes)
    }

    fn parse(&self, call: &'static str, cid: &str) -> Result<Cid, StoreError> {
        cid.parse().map_err(|_| self.bad_answer(call, format!("`{}` is not a CID", printable(cid))))
    }

    /// Recognises a missing block. Only Kubo's message distinguishes it from other errors.
    fn missing(error: StoreError, cid: &Cid) -> StoreError {
        match error {
            StoreError::Refused { message, .. }
                if message.contains("not found") || message.contains("could not find") =>
            {
                StoreError::NotFound(*cid)
            }
            other => other,
        }
    }
}

impl Blockstore for KuboStore {
    fn put<'a>(&'a self, codec: Codec, bytes: &'a [u8]) -> StoreFuture<'a, Cid> {
        async move {
            let cid = super::address(codec, bytes)?;
            let codec = match codec {
                Codec::Raw => "raw",
                Codec::DagCbor => "dag-cbor",
            };
            let call = "block/put";
            let answer: BlockPut =
                self.ask(call, &[("cid-codec", codec), ("mhtype", "sha2-256"), ("pin", "false")], Some(bytes)).await?;
            let stored = self.parse(call, &answer.key)?;
            if stored != cid {
                return Err(self.bad_answer(call, format!("it stored {stored} and not {cid}")));
            }
            Ok(cid)
        }
        .boxed()
    }

    fn get<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, Vec<u8>> {
        async move {
            codec_of(cid)?;
            let response = self
                .send("block/get", &[("arg", &cid.to_string())], None)
                .await
                .map_err(|error| Self::missing(error, cid))?;
            let bytes = self.read_some(response, MAX_BLOCK_BYTES).await?;
            verify_block(cid, &bytes)?;
            Ok(bytes)
        }
        .boxed()
    }

    fn has<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, bool> {
        async move {
            codec_of(cid)?;
            let stat: Result<Value, StoreError> = self.ask("block/stat", &[("arg", &cid.to_string())], None).await;
            match stat.map_err(|error| Self::missing(error, cid)) {
                Ok(_) => Ok(true),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn pin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        async move {
            walk(self, cid, &DagLimits::default()).await?;
            let call = "pin/add";
            let answer: PinChange = self
                .ask(call, &[("arg", &cid.to_string()), ("recursive", "true")], None)
                .await
                .map_err(|error| Self::missing(error, cid))?;
            for pinned in &answer.pins {
                if self.parse(call, pinned)? == *cid {
                    return Ok(());
                }
            }
            Err(self.bad_answer(call, format!("it did not pin {cid}")))
        }
        .boxed()
    }

    fn unpin<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        async move {
            codec_of(cid)?;
            let removed: Result<PinChange, StoreError> =
                self.ask("pin/rm", &[("arg", &cid.to_string()), ("recursive", "true")], None).await;
            match removed {
                Ok(_) => Ok(()),
                Err(StoreError::Refused { message, .. }) if message.contains("not pinned") => {
                    Err(StoreError::NotPinned(*cid))
                }
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    /// Calls `block/rm`, not `repo/gc`: garbage collection would also remove uploaded blocks that are not pinned yet.
    /// Before it removes a block, Kubo searches every pinned DAG, and its puts and pins wait meanwhile.
    fn delete<'a>(&'a self, cid: &'a Cid) -> StoreFuture<'a, ()> {
        async move {
            codec_of(cid)?;
            let call = "block/rm";
            let Removed { hash, error } = self.ask(call, &[("arg", &cid.to_string()), ("force", "true")], None).await?;
            if self.parse(call, &hash)? != *cid {
                return Err(self.bad_answer(call, format!("it removed something else than {cid}")));
            }
            match error.as_str() {
                "" => Ok(()),
                kept if kept.contains("pinned") => Err(StoreError::Pinned(*cid)),
                other => Err(self.bad_answer(call, printable(other))),
            }
        }
        .boxed()
    }

    /// Skips pins with other kinds of CID, which other programs made.
    fn pins(&self) -> StoreFuture<'_, BTreeSet<Cid>> {
        async move {
            let call = "pin/ls";
            let list: PinList = self.ask(call, &[("type", "recursive")], None).await?;
            let mut pins = BTreeSet::new();
            for key in list.keys.keys() {
                let cid = self.parse(call, key)?;
                if codec_of(&cid).is_ok() {
                    pins.insert(cid);
                }
            }
            Ok(pins)
        }
        .boxed()
    }

    fn free_space(&self) -> StoreFuture<'_, FreeSpace> {
        space::free(self).boxed()
    }
}

/// Whether there is a `flatfs` store and all such stores fsync. `Datastore.Spec` is a tree of stores.
fn every_flatfs_syncs(spec: &Value) -> bool {
    let mut found = false;
    let mut stack = vec![spec];
    while let Some(store) = stack.pop() {
        if store["type"] == "flatfs" {
            found = true;
            if store["sync"] != true {
                return false;
            }
        }
        stack.extend(store["mounts"].as_array().into_iter().flatten());
        stack.extend(store.get("child"));
    }
    found
}

/// Shortens text from outside and removes control characters, for terminals and logs.
fn printable(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if is_harmless(c) { c } else { ' ' }).collect::<String>().trim().to_owned()
}

//! Records an upload before its block is stored, if there is space for it.

use std::{sync::Arc, time::Duration};

use emr_core::{Codec, Role, UnixTime};
use emr_ipfs::Cid;

use super::{
    notes::Notes,
    quota::{is_directory, no_directory_room, written},
    space::Space,
};
use crate::{
    engine::Engine,
    mempool::{Noted, Principal, Upload},
    request_error::RequestError,
};

/// When to try again if all accounts together have much in staging.
const LATER: Duration = Duration::from_secs(60);

/// A block that somebody uploads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewBlock<'a> {
    pub(crate) uploader: Principal,
    pub(crate) cid: Cid,
    pub(crate) codec: Codec,
    pub(crate) bytes: &'a [u8],
    /// What it counts as, in bytes.
    pub(crate) size: u64,
    pub(crate) at: UnixTime,
}

impl Engine {
    /// Lets an account give up blocks that it uploaded. Blocks in use stay: a request of the account may be about to refer to them. Returns how many
    /// were given up.
    ///
    /// # Errors
    /// [`RequestError`] if the disk fails.
    pub(crate) async fn give_up(self: &Arc<Self>, uploader: Principal, cids: Vec<Cid>) -> Result<u64, RequestError> {
        let give_up = move |it: &Self| it.mempool.give_up(&uploader, &cids, |cid| it.in_use.is_used(cid));
        Ok(self.write(give_up).await??)
    }
}

/// Notes an upload durably.
///
/// # Errors
/// [`RequestError`] if there is no room, or the disk fails.
pub(crate) async fn note(engine: &Arc<Engine>, block: NewBlock<'_>) -> Result<(), RequestError> {
    let NewBlock { uploader, cid, codec, bytes, size, at } = block;
    let quotas = &engine.quotas;
    // Only patients publish directories. From anyone else it is a block like others.
    let role = engine.state().soft.identity(uploader.account).map(|identity| identity.role);
    let is_directory = role == Some(Role::Patient) && is_directory(codec, bytes);
    Space::ask(engine).await;
    let (free, patients) = (engine.space.free(), engine.state().soft.patient_count());
    if !is_directory {
        quotas.check_space(&free, patients)?;
    }
    let staging = quotas.staging(&free, patients);
    match Notes::note(engine, Upload { cid, uploader, size, at, is_directory, staging }).await? {
        Noted::Yes => {
            engine.space.take(size);
            Ok(())
        }
        Noted::NoDirectoryRoom => Err(no_directory_room(uploader.account)),
        Noted::TooMuch => Err(RequestError::no_room_now(
            format!(
                "account {} has {} here that no record refers to: submit their records, or give up the uploads; a block \
                 without a record is removed after 24 hours",
                uploader.account,
                written(&staging.each)
            ),
            LATER,
        )),
        Noted::Full => Err(RequestError::no_room_now(
            "this node has many blocks that no record refers to yet: submit the records that yours are for, or try again later",
            LATER,
        )),
    }
}

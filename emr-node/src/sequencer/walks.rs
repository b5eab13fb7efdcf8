//! Turns at reading the blocks of whole records: each may read gigabytes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use emr_core::AccountIndex;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::http::refusal::Refusal;

/// How many records are read at once.
const AT_ONCE: usize = 4;

/// Who reads a record's blocks. One of a signer at a time, so that nobody takes all the places.
#[derive(Debug)]
pub(crate) struct Walks {
    places: Semaphore,
    signers: Mutex<BTreeMap<AccountIndex, Arc<Turns<()>>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    _signer: OwnedMutexGuard<()>,
    _place: SemaphorePermit<'a>,
}

impl Walks {
    pub(crate) fn new() -> Self {
        Self { places: Semaphore::new(AT_ONCE), signers: Mutex::default() }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Refusal`] if the node is stopping.
    pub(crate) async fn turn(&self, signer: AccountIndex) -> Result<Walk<'_>, Refusal> {
        let own = {
            let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever waits or walks holds a second handle.
            signers.retain(|_, turns| Arc::strong_count(turns) > 1);
            Arc::clone(signers.entry(signer).or_default())
        };
        let signer = own.lock_owned().await;
        let place = self.places.acquire().await.map_err(|_| Refusal::unavailable("the node is stopping"))?;
        Ok(Walk { _signer: signer, _place: place })
    }
}

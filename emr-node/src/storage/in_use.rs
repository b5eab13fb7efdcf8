//! Blocks that requests use, and blocks that are being removed. No block is both at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use emr_ipfs::Cid;
use tokio::sync::Notify;

/// SHA-256 of a block. A store may keep blocks by their digest, without the codec.
type Digest = [u8; 32];

fn digest(cid: &Cid) -> Digest {
    let mut digest = Digest::default();
    for (to, from) in digest.iter_mut().zip(cid.hash().digest()) {
        *to = *from;
    }
    digest
}

#[derive(Debug, Default)]
struct Digests {
    /// Blocks in use, with the number of uses.
    used: BTreeMap<Digest, usize>,
    removing: BTreeSet<Digest>,
}

/// Which blocks are in use. Only in memory: a killed process uses no blocks.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    digests: Mutex<Digests>,
    /// Notified when a removal is over.
    removed: Notify,
}

/// Its blocks are in use until it is dropped. A request that uploads a block, or that submits an operation which refers
/// to a block, holds a `Use`. The request takes the `Use` before it checks that the block may be used, and drops it
/// after its change is durable.
#[derive(Debug)]
pub(crate) struct Use {
    in_use: Arc<InUse>,
    digests: Vec<Digest>,
}

/// Its block is being removed until it is dropped. No request can begin to use the block during that time.
#[derive(Debug)]
pub(crate) struct Removal {
    in_use: Arc<InUse>,
    digest: Digest,
}

impl InUse {
    fn lock(&self) -> MutexGuard<'_, Digests> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to use blocks. Waits while one of them is being removed.
    pub(crate) async fn take(self: &Arc<Self>, cids: &[Cid]) -> Use {
        let digests: Vec<Digest> = cids.iter().map(digest).collect();
        loop {
            let mut removed = pin!(self.removed.notified());
            // From here on, no notification is missed.
            removed.as_mut().enable();
            {
                let mut known = self.lock();
                if !digests.iter().any(|digest| known.removing.contains(digest)) {
                    for digest in &digests {
                        *known.used.entry(*digest).or_default() += 1;
                    }
                    return Use { in_use: Arc::clone(self), digests };
                }
            }
            removed.await;
        }
    }

    /// Whether a request uses the block.
    pub(crate) fn is_used(&self, cid: &Cid) -> bool {
        self.lock().used.contains_key(&digest(cid))
    }

    /// Begins to remove a block. `None` if it is in use, or is already being removed.
    pub(crate) fn remove(self: &Arc<Self>, cid: &Cid) -> Option<Removal> {
        let digest = digest(cid);
        let mut known = self.lock();
        if known.used.contains_key(&digest) || !known.removing.insert(digest) {
            return None;
        }
        Some(Removal { in_use: Arc::clone(self), digest })
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut known = self.in_use.lock();
        for digest in &self.digests {
            match known.used.get_mut(digest) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(known.used.remove(digest)),
            }
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.in_use.lock().removing.remove(&self.digest);
        self.in_use.removed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use emr_core::{Codec, cid::cid_of};

    use super::*;

    #[tokio::test]
    async fn a_block_is_used_or_removed_but_never_both() {
        let in_use = Arc::new(InUse::default());
        let [first, second] = [b"first", b"secon"].map(|bytes| cid_of(Codec::Raw, bytes));
        // The same bytes under the other codec.
        let twin = cid_of(Codec::DagCbor, b"first");
        let used = in_use.take(&[first, second]).await;
        let again = in_use.take(&[twin]).await;
        assert!(in_use.remove(&first).is_none() && in_use.remove(&twin).is_none());
        drop(used);
        assert!(in_use.is_used(&first) && !in_use.is_used(&second));
        assert!(in_use.remove(&first).is_none());
        drop(again);
        let removal = in_use.remove(&twin);
        assert!(removal.is_some() && in_use.remove(&first).is_none());
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, in_use.take(&[second, first])).await.is_err());
        assert!(!in_use.is_used(&second), "who waits holds nothing");
        let waiting = tokio::spawn({
            let in_use = Arc::clone(&in_use);
            async move { in_use.take(&[second, first]).await }
        });
        tokio::time::sleep(soon).await;
        assert!(!waiting.is_finished());
        drop(removal);
        let used = tokio::time::timeout(Duration::from_secs(5), waiting).await;
        assert!(used.is_ok_and(|used| used.is_ok()));
        assert!(!in_use.is_used(&first));
    }
}

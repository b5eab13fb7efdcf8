//! Uploads that are given up: what the node has of them takes no room any more.

use std::collections::BTreeSet;

use emr_api::StorageAmount;
use emr_core::Cid;
use emr_crypto::CHUNK_BYTES;

use super::numbered;
use crate::{client::Client, error::ClientError};

impl Client {
    /// Makes room for `sealed` bytes: gives up interrupted uploads of this folder that are not part of `requests`, if all together would be more than a
    /// node holds for an account.
    pub(super) async fn make_room(&self, sealed: u64, requests: &BTreeSet<[u8; 32]>) -> Result<(), ClientError> {
        let journals = self.profile.uploads();
        let mut needed = self.profile.outbox().journals();
        // A file that was changed twice while records needed what it was has the fourth journal. More are unlikely, and are only sent again.
        needed.extend(requests.iter().flat_map(|request| (0..4).map(|next| hex::encode(numbered(request, next)))));
        let (mut others, mut staged) = (Vec::new(), sealed);
        for id in journals.ids()?.into_iter().filter(|id| !needed.contains(id)) {
            if let Some(journal) = journals.find(&id)?.filter(|journal| !journal.stored.is_empty()) {
                staged = staged.saturating_add(journal.stored.len() as u64 * CHUNK_BYTES as u64);
                others.push(id);
            }
        }
        if staged > StorageAmount::NEW_ATTACHMENTS { self.drop_uploads(&others).await } else { Ok(()) }
    }

    /// Gives up what was sent of these uploads, so that it takes no room at the node until it lapses. Their keys and hashes stay: the next run sends
    /// everything again. No record may need them.
    ///
    /// # Errors
    /// [`ClientError`] if the journals cannot be read or written. If the node does not answer, its blocks lapse after a day.
    pub(super) async fn drop_uploads(&self, uploads: &[String]) -> Result<(), ClientError> {
        let journals = self.profile.uploads();
        for id in uploads {
            let Some(journal) = journals.find(id)? else { continue };
            let cids: Vec<Cid> = journal.hashes.cids().collect();
            // First: a chunk that is noted as stored would not be sent again.
            journals.forget_stored(id)?;
            if self.node.drop_blocks(&cids).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

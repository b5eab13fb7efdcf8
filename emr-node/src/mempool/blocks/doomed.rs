//! Doomed blocks: no note and no operation names them, and they will be removed from the store.

use emr_ipfs::Cid;

use super::{DOOMED, Mempool, MempoolError, REFERENCES, UPLOADS, cid, is_held, is_noted, twins};

impl Mempool {
    /// Up to `limit` doomed blocks that come after `after`.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn doomed(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, MempoolError> {
        let table = self.read()?.open_table(DOOMED)?;
        let after = after.map(Cid::to_bytes).unwrap_or_default();
        let rows = table.range(after.as_slice()..)?;
        let mut found = Vec::new();
        for row in rows {
            let (key, ()) = row.map(|(key, value)| (key, value.value()))?;
            if key.value() != after.as_slice() {
                found.push(cid(key.value())?);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Whether a block is still doomed, and nothing names its bytes, under either codec.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn may_remove(&self, block: &Cid) -> Result<bool, MempoolError> {
        let transaction = self.read()?;
        let (uploads, references) = (transaction.open_table(UPLOADS)?, transaction.open_table(REFERENCES)?);
        if transaction.open_table(DOOMED)?.get(block.to_bytes().as_slice())?.is_none() {
            return Ok(false);
        }
        for twin in twins(block) {
            if is_noted(&uploads, &twin)? || is_held(&references, &twin)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes the entries of doomed blocks that the store no longer holds.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn removed(&self, blocks: &[Cid]) -> Result<(), MempoolError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let transaction = self.write()?;
        {
            let mut doomed = transaction.open_table(DOOMED)?;
            for block in blocks {
                doomed.remove(block.to_bytes().as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }
}

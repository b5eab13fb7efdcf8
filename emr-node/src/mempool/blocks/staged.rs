//! Uploaded blocks that no operation of the uploader refers to yet.

use emr_core::UnixTime;
use emr_ipfs::Cid;
use redb::{ReadableTable, WriteTransaction};

use super::{
    DOOMED, LAPSING, Mempool, MempoolError, NOBODY, Principal, PrincipalRow, REFERENCES, STAGED, UPLOADS, Usage, cid,
    is_held, is_noted, twins,
};

/// How old a note must be before another upload of the same block renews it. Seconds.
const RENEW_AFTER: u64 = 3600;

/// A block that is about to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Upload {
    /// The block.
    pub cid: Cid,
    /// The account that uploads it.
    pub uploader: Principal,
    /// Its size in bytes.
    pub size: u64,
    /// The time of the upload.
    pub at: UnixTime,
    /// How much the uploader may have in staging.
    pub limit: Usage,
}

/// Whether an upload may continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The upload is noted, durably.
    Yes,
    /// The upload would exceed the limit. It is not noted.
    TooMuch,
}

/// Removes a note, and returns the size in it. Notes of other uploaders of the same block stay: they may refer to it too.
pub(super) fn take(
    transaction: &WriteTransaction,
    key: &[u8],
    uploader: PrincipalRow,
) -> Result<Option<u64>, MempoolError> {
    let taken = transaction.open_table(UPLOADS)?.remove((key, uploader))?.map(|row| row.value());
    if let Some((size, at)) = taken {
        forget(transaction, key, uploader, size, at)?;
    }
    Ok(taken.map(|(size, _)| size))
}

/// Updates the other tables after a note was removed from [`UPLOADS`].
fn forget(
    transaction: &WriteTransaction,
    key: &[u8],
    uploader: PrincipalRow,
    size: u64,
    at: u64,
) -> Result<(), MempoolError> {
    transaction.open_table(LAPSING)?.remove((at, key, uploader))?;
    let mut staged = transaction.open_table(STAGED)?;
    let rest = staged.get(uploader)?.map(|row| Usage::from(row.value())).unwrap_or_default().minus(size, 1);
    if rest == Usage::default() {
        staged.remove(uploader)?;
    } else {
        staged.insert(uploader, rest.row())?;
    }
    Ok(())
}

fn note(transaction: &WriteTransaction, upload: &Upload) -> Result<(Noted, bool), MempoolError> {
    let (key, uploader, at) = (upload.cid.to_bytes(), upload.uploader.row(), upload.at.get());
    let key = key.as_slice();
    let mut uploads = transaction.open_table(UPLOADS)?;
    let mut lapsing = transaction.open_table(LAPSING)?;
    let known = uploads.get((key, uploader))?.map(|row| row.value());
    if let Some((size, since)) = known {
        if at < since.saturating_add(RENEW_AFTER) {
            return Ok((Noted::Yes, false));
        }
        lapsing.remove((since, key, uploader))?;
        lapsing.insert((at, key, uploader), ())?;
        uploads.insert((key, uploader), (size, at))?;
        return Ok((Noted::Yes, true));
    }
    let mut staged = transaction.open_table(STAGED)?;
    let total = staged.get(uploader)?.map(|row| Usage::from(row.value())).unwrap_or_default().plus(upload.size, 1);
    if !total.is_within(&upload.limit) {
        return Ok((Noted::TooMuch, false));
    }
    staged.insert(uploader, total.row())?;
    uploads.insert((key, uploader), (upload.size, at))?;
    lapsing.insert((at, key, uploader), ())?;
    let mut doomed = transaction.open_table(DOOMED)?;
    for twin in twins(&upload.cid) {
        doomed.remove(twin.as_slice())?;
    }
    Ok((Noted::Yes, true))
}

impl Mempool {
    /// Notes uploads, durably, in one write. The blocks may be stored only after that.
    ///
    /// # Errors
    /// [`MempoolError`]; then nothing is noted.
    pub fn note_uploads(&self, uploads: &[Upload]) -> Result<Vec<Noted>, MempoolError> {
        let transaction = self.write()?;
        let mut changed = false;
        let noted = uploads
            .iter()
            .map(|upload| {
                let (noted, wrote) = note(&transaction, upload)?;
                changed |= wrote;
                Ok(noted)
            })
            .collect::<Result<_, MempoolError>>()?;
        if changed {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(noted)
    }

    /// How much an account has in staging.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn staged(&self, uploader: &Principal) -> Result<Usage, MempoolError> {
        let table = self.read()?.open_table(STAGED)?;
        Ok(table.get(uploader.row())?.map(|row| Usage::from(row.value())).unwrap_or_default())
    }

    /// Removes up to `limit` notes of uploads from before `before`, oldest first. Notes of blocks in use stay. Blocks that nothing names
    /// after that are doomed. Returns how many notes were removed.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn lapse(
        &self,
        before: UnixTime,
        limit: usize,
        is_in_use: impl Fn(&Cid) -> bool,
    ) -> Result<usize, MempoolError> {
        let transaction = self.write()?;
        let lapsed: Vec<(u64, Vec<u8>, PrincipalRow)> = {
            let table = transaction.open_table(LAPSING)?;
            let mut lapsed = Vec::new();
            for row in table.range(..(before.get(), [].as_slice(), NOBODY))? {
                let (row, _) = row?;
                let (at, key, uploader) = row.value();
                if !is_in_use(&cid(key)?) {
                    lapsed.push((at, key.to_vec(), uploader));
                }
                if lapsed.len() >= limit {
                    break;
                }
            }
            lapsed
        };
        if lapsed.is_empty() {
            transaction.abort()?;
            return Ok(0);
        }
        for (at, key, uploader) in &lapsed {
            let removed = transaction.open_table(UPLOADS)?.remove((key.as_slice(), *uploader))?.map(|row| row.value());
            let size = removed.map_or(0, |(size, _)| size);
            forget(&transaction, key, *uploader, size, *at)?;
            let (uploads, references) = (transaction.open_table(UPLOADS)?, transaction.open_table(REFERENCES)?);
            if !is_noted(&uploads, key)? && !is_held(&references, key)? {
                transaction.open_table(DOOMED)?.insert(key.as_slice(), ())?;
            }
        }
        transaction.commit()?;
        Ok(lapsed.len())
    }
}

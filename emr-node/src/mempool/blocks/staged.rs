//! Uploaded blocks that no operation of the uploader refers to yet.

use emr_core::UnixTime;
use emr_ipfs::Cid;
use redb::{ReadOnlyTable, ReadableTable, WriteTransaction};

use super::{
    CHARGES, DOOMED, LAPSING, Mempool, MempoolError, NOBODY, Principal, PrincipalRow, REFERENCES, STAGED,
    STAGED_BY_ALL, UPLOADS, USED, Usage, cid, damaged, is_held, is_noted, twins,
};

/// How old a note must be before another upload of the same block renews it, if there is much space. Seconds.
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
    /// Whether it is a patient's key directory, which has its own space.
    pub is_directory: bool,
    /// How much may be in staging.
    pub staging: Staging,
}

/// How much may be in staging.
#[derive(Clone, Copy, Debug)]
pub struct Staging {
    /// The blocks of one account, without the directories below, while at least half of the room for all is free.
    pub each: Usage,
    /// The blocks of all accounts together, without the directories below.
    pub all: Usage,
    /// The key directories of one patient, together with those that operations hold. They count in no other limit.
    pub directories: Usage,
    /// Free space without what is kept free. The blocks in staging take at most as much as they leave free.
    pub free: Usage,
}

impl Staging {
    /// What all accounts together may have, if they have `used`.
    fn of_all(&self, used: Usage) -> Usage {
        let half = |free: u64, used: u64| free.saturating_add(used) / 2;
        Usage {
            bytes: self.all.bytes.min(half(self.free.bytes, used.bytes)),
            blocks: self.all.blocks.min(half(self.free.blocks, used.blocks)),
        }
    }

    /// What one account may have, if all together have `used`. It is less if there is less space.
    fn of_each(&self, used: Usage) -> Usage {
        self.each.over(part(used, self.of_all(used)))
    }

    const fn is_nearly_full(&self) -> bool {
        self.free.bytes == 0 || self.free.blocks == 0
    }

    /// Whether another upload of a block in staging renews its note, if all blocks of the purse together have `used`.
    /// It does not if there is little space: nobody can keep space for ever that others need.
    fn renews(&self, purse: Purse, used: Usage) -> bool {
        match purse {
            Purse::Blocks => part(used, self.of_all(used)) == 1,
            Purse::Directories => !self.is_nearly_full(),
        }
    }
}

/// By which number the share of one account is divided, if all together have `used` of `all`.
const fn part(used: Usage, all: Usage) -> u64 {
    let (half, more) = (all.over(4).times(2), all.over(4).times(3));
    if used.bytes < half.bytes && used.blocks < half.blocks {
        1
    } else if used.bytes < more.bytes && used.blocks < more.blocks {
        8
    } else {
        32
    }
}

/// What a block in staging counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purse {
    Blocks,
    Directories,
}

impl Purse {
    const fn code(self) -> u8 {
        match self {
            Self::Blocks => 0,
            Self::Directories => 1,
        }
    }

    fn from_code(code: u8) -> Result<Self, MempoolError> {
        [Self::Blocks, Self::Directories]
            .into_iter()
            .find(|purse| purse.code() == code)
            .ok_or_else(|| damaged("a block in no purse"))
    }
}

/// Whether an upload may continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The upload is noted, durably.
    Yes,
    /// Its uploader would have too much in staging. It is not noted.
    TooMuch,
    /// All accounts together have much in staging, and so the uploader may have less than at other times. It is not
    /// noted.
    Full,
    /// It is a key directory, and the patient would have too many. It is not noted.
    NoDirectoryRoom,
}

/// Removes a note, and returns the size in it. Notes of other uploaders of the same block stay: they may refer to it
/// too.
pub(super) fn take(
    transaction: &WriteTransaction,
    key: &[u8],
    uploader: PrincipalRow,
) -> Result<Option<u64>, MempoolError> {
    let taken = transaction.open_table(UPLOADS)?.remove((key, uploader))?.map(|row| row.value());
    if let Some((size, at, purse)) = taken {
        transaction.open_table(LAPSING)?.remove((at, key, uploader))?;
        give_back(transaction, uploader, purse, size)?;
    }
    Ok(taken.map(|(size, ..)| size))
}

/// Removes a note because nothing will refer to it. If nothing else names the block, it is doomed. Returns whether there was a note.
fn forget(transaction: &WriteTransaction, key: &[u8], uploader: PrincipalRow) -> Result<bool, MempoolError> {
    let was_noted = take(transaction, key, uploader)?.is_some();
    let (uploads, references) = (transaction.open_table(UPLOADS)?, transaction.open_table(REFERENCES)?);
    if was_noted && !is_noted(&uploads, key)? && !is_held(&references, key)? {
        transaction.open_table(DOOMED)?.insert(key, ())?;
    }
    Ok(was_noted)
}

/// Subtracts a block from what its uploader and all have in staging.
fn give_back(transaction: &WriteTransaction, uploader: PrincipalRow, purse: u8, size: u64) -> Result<(), MempoolError> {
    let mut staged = transaction.open_table(STAGED)?;
    let rest = staged.get((uploader, purse))?.map(|row| Usage::from(row.value())).unwrap_or_default().minus(size, 1);
    if rest == Usage::default() {
        staged.remove((uploader, purse))?;
    } else {
        staged.insert((uploader, purse), rest.row())?;
    }
    let mut by_all = transaction.open_table(STAGED_BY_ALL)?;
    let rest = by_all.get(purse)?.map(|row| Usage::from(row.value())).unwrap_or_default().minus(size, 1);
    by_all.insert(purse, rest.row())?;
    Ok(())
}

/// How much all accounts together have in a purse.
fn used_by_all(table: &impl ReadableTable<u8, (u64, u64)>, purse: Purse) -> Result<Usage, MempoolError> {
    Ok(table.get(purse.code())?.map(|row| Usage::from(row.value())).unwrap_or_default())
}

/// Adds a block to what its uploader and all have in staging, if there is room.
fn take_room(transaction: &WriteTransaction, upload: &Upload) -> Result<Result<Purse, Noted>, MempoolError> {
    let mut staged = transaction.open_table(STAGED)?;
    let mut by_all = transaction.open_table(STAGED_BY_ALL)?;
    let (uploader, staging) = (upload.uploader.row(), &upload.staging);
    let of = |purse: Purse| -> Result<Usage, MempoolError> {
        let row = staged.get((uploader, purse.code()))?;
        Ok(row.map(|row| Usage::from(row.value())).unwrap_or_default().plus(upload.size, 1))
    };
    let (purse, own) = if upload.is_directory {
        let directories = of(Purse::Directories)?;
        let held = transaction.open_table(USED)?.get((uploader, NOBODY))?.map(|row| Usage::from(row.value()));
        if !directories.and(held.unwrap_or_default()).is_within(&staging.directories) {
            return Ok(Err(Noted::NoDirectoryRoom));
        }
        (Purse::Directories, directories)
    } else {
        let (own, used) = (of(Purse::Blocks)?, used_by_all(&by_all, Purse::Blocks)?);
        if !own.is_within(&staging.each) {
            return Ok(Err(Noted::TooMuch));
        }
        if !own.is_within(&staging.of_each(used)) || !used.plus(upload.size, 1).is_within(&staging.of_all(used)) {
            return Ok(Err(Noted::Full));
        }
        (Purse::Blocks, own)
    };
    let all = used_by_all(&by_all, purse)?.plus(upload.size, 1);
    staged.insert((uploader, purse.code()), own.row())?;
    by_all.insert(purse.code(), all.row())?;
    Ok(Ok(purse))
}

fn note(transaction: &WriteTransaction, upload: &Upload) -> Result<(Noted, bool), MempoolError> {
    let (key, uploader, at) = (upload.cid.to_bytes(), upload.uploader.row(), upload.at.get());
    let key = key.as_slice();
    let mut uploads = transaction.open_table(UPLOADS)?;
    let mut lapsing = transaction.open_table(LAPSING)?;
    let known = uploads.get((key, uploader))?.map(|row| row.value());
    if let Some((size, since, purse)) = known {
        let used = used_by_all(&transaction.open_table(STAGED_BY_ALL)?, Purse::from_code(purse)?)?;
        if at < since.saturating_add(RENEW_AFTER) || !upload.staging.renews(Purse::from_code(purse)?, used) {
            return Ok((Noted::Yes, false));
        }
        lapsing.remove((since, key, uploader))?;
        lapsing.insert((at, key, uploader), ())?;
        uploads.insert((key, uploader), (size, at, purse))?;
        return Ok((Noted::Yes, true));
    }
    let purse = match take_room(transaction, upload)? {
        Ok(purse) => purse,
        Err(refused) => return Ok((refused, false)),
    };
    uploads.insert((key, uploader), (upload.size, at, purse.code()))?;
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

    /// How much an account has in staging, without the directories, which have their own space.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn staged(&self, uploader: &Principal) -> Result<Usage, MempoolError> {
        let table = self.read()?.open_table(STAGED)?;
        let row = table.get((uploader.row(), Purse::Blocks.code()))?;
        Ok(row.map(|row| Usage::from(row.value())).unwrap_or_default())
    }

    /// How much room the key directories of a patient would take, in staging and held together, if an operation of the signer held these blocks.
    /// `None` if they would take no more than now.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn directories_with(
        &self,
        patient: &Principal,
        signer: &Principal,
        directory: &[Cid],
    ) -> Result<Option<Usage>, MempoolError> {
        let transaction = self.read()?;
        let (patient, signer) = (patient.row(), signer.row());
        let (charges, uploads) = (transaction.open_table(CHARGES)?, transaction.open_table(UPLOADS)?);
        let mut more = Usage::default();
        for block in directory {
            let key = block.to_bytes();
            if charges.get((key.as_slice(), patient, NOBODY))?.is_some() {
                continue;
            }
            match uploads.get((key.as_slice(), signer))?.map(|row| row.value()) {
                Some((_, _, purse)) if purse == Purse::Directories.code() && signer == patient => {}
                Some((size, ..)) => more = more.plus(size, 1),
                None => {}
            }
        }
        if more == Usage::default() {
            return Ok(None);
        }
        let staged = transaction.open_table(STAGED)?.get((patient, Purse::Directories.code()))?.map(|row| row.value());
        let held = transaction.open_table(USED)?.get((patient, NOBODY))?.map(|row| row.value());
        let [staged, held] = [staged, held].map(|row| row.map(Usage::from).unwrap_or_default());
        Ok(Some(staged.and(held).and(more)))
    }

    /// How much all accounts together have in staging, without the directories, which have their own space.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn staged_by_all(&self) -> Result<Usage, MempoolError> {
        used_by_all(&self.read()?.open_table(STAGED_BY_ALL)?, Purse::Blocks)
    }

    /// Dates up to `limit` notes that are dated after `after` to `to`. Returns how many.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn redate(&self, after: UnixTime, to: UnixTime, limit: usize) -> Result<usize, MempoolError> {
        let from = (after.saturating_add(1).get(), [].as_slice(), NOBODY);
        let rows = |table: &ReadOnlyTable<(u64, &[u8], PrincipalRow), ()>| -> Result<Vec<_>, MempoolError> {
            let rows = table.range(from..)?.take(limit);
            rows.map(|row| {
                let (row, _) = row?;
                let (at, key, uploader) = row.value();
                Ok((at, key.to_vec(), uploader))
            })
            .collect()
        };
        let ahead = rows(&self.read()?.open_table(LAPSING)?)?;
        if ahead.is_empty() {
            return Ok(0);
        }
        let transaction = self.write()?;
        {
            let mut lapsing = transaction.open_table(LAPSING)?;
            let mut uploads = transaction.open_table(UPLOADS)?;
            for (at, key, uploader) in &ahead {
                let key = key.as_slice();
                let noted = uploads.get((key, *uploader))?.map(|row| row.value());
                // It may have been taken since it was read.
                if let Some((size, noted_at, purse)) = noted.filter(|(_, noted_at, _)| noted_at == at) {
                    lapsing.remove((noted_at, key, *uploader))?;
                    lapsing.insert((to.get(), key, *uploader), ())?;
                    uploads.insert((key, *uploader), (size, to.get(), purse))?;
                }
            }
        }
        transaction.commit()?;
        Ok(ahead.len())
    }

    /// Removes up to `limit` notes of uploads from before `before`, oldest first. Notes of blocks in use stay. Blocks
    /// that nothing names after that are doomed. Returns how many notes were removed.
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
            transaction.open_table(LAPSING)?.remove((*at, key.as_slice(), *uploader))?;
            forget(&transaction, key, *uploader)?;
        }
        transaction.commit()?;
        Ok(lapsed.len())
    }

    /// Removes the notes of an uploader for these blocks. Blocks in use stay, and so do the notes of others. Blocks that nothing names after that are
    /// doomed. Returns how many notes were removed.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn give_up(
        &self,
        uploader: &Principal,
        cids: &[Cid],
        is_in_use: impl Fn(&Cid) -> bool,
    ) -> Result<u64, MempoolError> {
        let transaction = self.write()?;
        let mut given_up = 0;
        for cid in cids.iter().filter(|cid| !is_in_use(cid)) {
            given_up += u64::from(forget(&transaction, &cid.to_bytes(), uploader.row())?);
        }
        if given_up == 0 {
            transaction.abort()?;
        } else {
            transaction.commit()?;
        }
        Ok(given_up)
    }
}

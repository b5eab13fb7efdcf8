//! What openers do to a link: each opening is a line, and wrong passcodes are counted.
//!
//! A guess is counted as wrong, durably, before it is compared. Only a right guess is taken back from the count. So
//! neither a kill nor a hundred requests at the same time give more than [`Row::ATTEMPTS`] comparisons. The wrong guesses
//! of a link's whole life count.

use emr_api::{LinkAccess, LinkOpening, LinkOutcome, LinkState, LinkView};
use emr_core::UnixTime;
use redb::WriteTransaction;

use super::{
    manage::close,
    store::{DUE, Digest, FILES, LINKS, LinkStore, LinksError, OPENINGS, Row, encode, put, row},
};

/// How long after the last guess its comparison is surely over, in seconds. If the node is killed before it, the sweep removes the files then.
pub(super) const COMPARED_AFTER: u64 = 60;

/// A guess that is counted as wrong, and not compared yet.
#[derive(Debug)]
pub(super) struct Attempt {
    digest: Digest,
    line: u64,
    pub(super) row: Row,
}

/// The link, if it can be opened now.
fn open_row(found: Row, now: UnixTime) -> Result<Row, LinksError> {
    if found.state(now) == LinkState::Open { Ok(found) } else { Err(LinksError::NotOpen) }
}

/// Writes the next line of a link, and removes the line that is too old to keep.
fn note(transaction: &WriteTransaction, digest: &Digest, row: &mut Row, line: &LinkOpening) -> Result<(), LinksError> {
    let mut openings = transaction.open_table(OPENINGS)?;
    openings.insert((*digest, row.next_line), encode(line)?.as_slice())?;
    row.next_line += 1;
    if let Some(old) = row.next_line.checked_sub(LinkView::KEPT as u64 + 1) {
        openings.remove((*digest, old))?;
    }
    Ok(())
}

/// Changes when the sweep has something to do with a link. The caller writes the row.
fn set_due(transaction: &WriteTransaction, digest: &Digest, row: &mut Row, due: u64) -> Result<(), LinksError> {
    let mut table = transaction.open_table(DUE)?;
    table.remove((row.due, *digest))?;
    row.due = due;
    table.insert((row.due, *digest), ())?;
    Ok(())
}

impl LinkStore {
    /// A link that can be opened now.
    pub(super) fn open_link(&self, digest: &Digest, now: UnixTime) -> Result<Row, LinksError> {
        self.read(|transaction| open_row(row(&transaction.open_table(LINKS)?, digest)?, now))
    }

    /// Notes that a link without a passcode was opened.
    pub(super) fn note_opening(&self, digest: &Digest, recipient: &str, now: UnixTime) -> Result<Row, LinksError> {
        self.write(|transaction| {
            let mut row = open_row(row(&transaction.open_table(LINKS)?, digest)?, now)?;
            if matches!(row.access, LinkAccess::Passcode { .. }) {
                return Err(LinksError::NotOpen);
            }
            let line = LinkOpening { at: now, recipient: recipient.to_owned(), outcome: LinkOutcome::Opened };
            note(transaction, digest, &mut row, &line)?;
            row.opened += 1;
            put(transaction, digest, &row)?;
            Ok(row)
        })
    }

    /// Counts a guess as wrong. Only after that may it be compared.
    pub(super) fn begin_attempt(&self, digest: &Digest, recipient: &str, now: UnixTime) -> Result<Attempt, LinksError> {
        self.write(|transaction| {
            let mut row = open_row(row(&transaction.open_table(LINKS)?, digest)?, now)?;
            let line = row.next_line;
            row.failed += 1;
            let opening = LinkOpening { at: now, recipient: recipient.to_owned(), outcome: LinkOutcome::WrongPasscode };
            note(transaction, digest, &mut row, &opening)?;
            if row.remaining() == Some(0) {
                let soon = now.get().saturating_add(COMPARED_AFTER);
                let due = row.due.min(soon);
                set_due(transaction, digest, &mut row, due)?;
            }
            put(transaction, digest, &row)?;
            Ok(Attempt { digest: *digest, line, row })
        })
    }

    /// The guess was right: it does not count as wrong any more.
    pub(super) fn attempt_was_right(
        &self,
        attempt: &Attempt,
        recipient: &str,
        now: UnixTime,
    ) -> Result<Row, LinksError> {
        self.write(|transaction| {
            let mut row = row(&transaction.open_table(LINKS)?, &attempt.digest)?;
            row.failed = row.failed.saturating_sub(1);
            // The patient may have ended it meanwhile.
            let mut row = open_row(row, now)?;
            let line = LinkOpening { at: now, recipient: recipient.to_owned(), outcome: LinkOutcome::Opened };
            transaction.open_table(OPENINGS)?.insert((attempt.digest, attempt.line), encode(&line)?.as_slice())?;
            row.opened += 1;
            let due = row.due_at_expiry();
            set_due(transaction, &attempt.digest, &mut row, due)?;
            put(transaction, &attempt.digest, &row)?;
            Ok(row)
        })
    }

    /// The guess was wrong. The last wrong guess removes the files.
    pub(super) fn attempt_was_wrong(&self, attempt: &Attempt, now: UnixTime) -> Result<(), LinksError> {
        if attempt.row.remaining() != Some(0) {
            return Ok(());
        }
        self.write(|transaction| {
            let row = row(&transaction.open_table(LINKS)?, &attempt.digest)?;
            if row.stored && row.remaining() == Some(0) {
                close(transaction, &attempt.digest, row, now)
            } else {
                Ok(())
            }
        })
    }

    /// The bytes of a file of a link that can be opened now.
    pub(super) fn file(&self, digest: &Digest, index: u32, now: UnixTime) -> Result<Vec<u8>, LinksError> {
        self.read(|transaction| {
            open_row(row(&transaction.open_table(LINKS)?, digest)?, now)?;
            let files = transaction.open_table(FILES)?;
            Ok(files.get((*digest, index))?.ok_or(LinksError::NotOpen)?.value().to_vec())
        })
    }
}

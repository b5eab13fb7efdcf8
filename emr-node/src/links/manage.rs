//! What a patient does with links: making, listing and ending them.

use emr_api::{LinkAccess, LinkFile, LinkMade, LinkOpening, LinkState, LinkView, NewLink};
use emr_core::{UnixTime, fhir};
use emr_rollup::primitive::keccak::keccak256;
use redb::{ReadableTable, WriteTransaction};

use super::{
    digest_of,
    store::{
        DUE, Digest, EndedBy, FILES, FileRow, LINKS, LinkStore, LinksError, NUMBERS, OF_OWNER, OPENINGS, Row, decode,
        encode, put, row, set_stored_bytes, stored_bytes,
    },
};
use crate::{
    mempool::Principal,
    request_error::{RequestError, RequestErrorKind},
};

/// The bytes of all files of a patient's open links, if there is much room.
const BYTES_OF_OWNER: u64 = 64 << 20;
/// The bytes of all files of all links.
const BYTES_OF_ALL: u64 = 4 << 30;
/// All links together take at most this part of what they have and what is free.
const SHARE: u64 = 8;
/// How many links of a patient are kept, with those that are over.
const KEPT: usize = 128;
/// How long a link that is over is kept, so that its patient sees who opened it. Seconds.
pub(super) const KEPT_SECONDS: u64 = 90 * 86_400;

fn refused(message: impl Into<String>) -> LinksError {
    LinksError::Refused(RequestError::refused(message))
}

fn no_room(message: impl Into<String>) -> LinksError {
    LinksError::Refused(RequestError::new(RequestErrorKind::TooLarge, message))
}

/// Whether a text has the characters and parts of a JWE in compact serialization. The node can check no more, because it
/// has no key.
fn is_compact_jwe(text: &str) -> bool {
    let of_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.split('.').count() == 5 && text.bytes().all(|byte| byte == b'.' || of_base64url(byte))
}

/// Checks what does not depend on other links.
fn check(new: &NewLink, now: UnixTime) -> Result<(), LinksError> {
    let NewLink { expires, access, files, .. } = new;
    if *expires <= now || *expires > now.saturating_add(NewLink::LONGEST) {
        return Err(refused("a link must expire after now, and within 366 days: choose another time"));
    }
    let most = if *access == LinkAccess::DirectFile { 1 } else { NewLink::MAX_FILES };
    if !(1..=most).contains(&files.len()) {
        return Err(refused(format!("such a link has 1 to {most} files, not {}", files.len())));
    }
    if files.iter().map(|file| file.jwe.len()).sum::<usize>() > NewLink::MAX_BYTES {
        return Err(no_room("the files of a link have at most 8 MiB together: share fewer or smaller records"));
    }
    match files.iter().all(|LinkFile { content_type, jwe }| content_type == fhir::MEDIA_TYPE && is_compact_jwe(jwe)) {
        true => Ok(()),
        false => Err(refused("a link's files are application/fhir+json, each as a JWE in compact serialization")),
    }
}

impl LinkStore {
    /// Makes a link. If the same was made before, gives its number. `spare` is how many bytes the disk has for others
    /// than Revokes.
    pub(super) fn create(
        &self,
        new: &NewLink,
        owner: Principal,
        spare: u64,
        now: UnixTime,
    ) -> Result<LinkMade, LinksError> {
        let (digest, request) = (digest_of(&new.id), keccak256(&encode(new)?));
        let known = self.read(|transaction| {
            let links = transaction.open_table(LINKS)?;
            links.get(digest)?.map(|known| decode::<Row>(known.value())).transpose()
        })?;
        if let Some(known) = known {
            return same(&known, owner, &request);
        }
        check(new, now)?;
        let bytes: u64 = new.files.iter().map(|file| file.jwe.len() as u64).sum();
        self.write(|transaction| {
            let links = transaction.open_table(LINKS)?.get(digest)?.map(|known| decode::<Row>(known.value()));
            if let Some(known) = links {
                return same(&known?, owner, &request);
            }
            let stored = stored_bytes(transaction)?;
            let of_all = BYTES_OF_ALL.min(stored.saturating_add(spare) / SHARE);
            make_room(transaction, owner, bytes, share(stored, of_all), now)?;
            if stored.saturating_add(bytes) > of_all {
                let full = "this node has no room for more links now: try again when others have expired";
                return Err(LinksError::Refused(RequestError::unavailable(full)));
            }
            set_stored_bytes(transaction, stored.saturating_add(bytes))?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let number = numbers.get(owner.row())?.map_or(0, |last| last.value()).saturating_add(1);
            numbers.insert(owner.row(), number)?;
            transaction.open_table(OF_OWNER)?.insert((owner.row(), number), digest)?;
            let mut files = transaction.open_table(FILES)?;
            for (index, file) in (0_u32..).zip(&new.files) {
                files.insert((digest, index), file.jwe.as_bytes())?;
            }
            let file =
                |file: &LinkFile| FileRow { content_type: file.content_type.clone(), bytes: file.jwe.len() as u64 };
            let row = Row {
                owner,
                number,
                created: now,
                expires: new.expires,
                origin: new.origin.to_string(),
                access: new.access,
                files: new.files.iter().map(file).collect(),
                request,
                opened: 0,
                failed: 0,
                next_line: 0,
                ended: None,
                stored: true,
                // In the second after the last one in which it is served.
                due: new.expires.get() + 1,
            };
            transaction.open_table(DUE)?.insert((row.due, digest), ())?;
            put(transaction, &digest, &row)?;
            Ok(LinkMade { number })
        })
    }

    /// A patient's links, the oldest first, each with its newest openings.
    pub(super) fn list(&self, owner: Principal, now: UnixTime) -> Result<Vec<LinkView>, LinksError> {
        self.read(|transaction| {
            let (links, openings) = (transaction.open_table(LINKS)?, transaction.open_table(OPENINGS)?);
            let of_owner = transaction.open_table(OF_OWNER)?;
            let mut views = Vec::new();
            for entry in of_owner.range((owner.row(), 0)..=(owner.row(), u32::MAX))? {
                let digest = entry?.1.value();
                views.push(view(&row(&links, &digest)?, &openings, &digest, LinkView::SHOWN, now)?);
            }
            Ok(views)
        })
    }

    /// A patient's link, with all openings that are kept.
    pub(super) fn view(&self, owner: Principal, number: u32, now: UnixTime) -> Result<LinkView, LinksError> {
        self.read(|transaction| {
            let digest =
                transaction.open_table(OF_OWNER)?.get((owner.row(), number))?.ok_or(LinksError::NotOpen)?.value();
            let (links, openings) = (transaction.open_table(LINKS)?, transaction.open_table(OPENINGS)?);
            view(&row(&links, &digest)?, &openings, &digest, LinkView::KEPT, now)
        })
    }

    /// The digest of a patient's link.
    pub(super) fn digest(&self, owner: Principal, number: u32) -> Result<Digest, LinksError> {
        self.read(|transaction| {
            let of_owner = transaction.open_table(OF_OWNER)?;
            Ok(of_owner.get((owner.row(), number))?.ok_or(LinksError::NotOpen)?.value())
        })
    }

    /// Ends a patient's link: from the return of this call on, nothing is served, and its files are gone. Ending it again
    /// changes nothing.
    pub(super) fn end(&self, owner: Principal, number: u32, now: UnixTime) -> Result<(), LinksError> {
        self.write(|transaction| {
            let digest =
                transaction.open_table(OF_OWNER)?.get((owner.row(), number))?.ok_or(LinksError::NotOpen)?.value();
            end(transaction, &digest, EndedBy::Patient, now)
        })
    }
}

/// Ends a link, if nothing else has.
pub(super) fn end(
    transaction: &WriteTransaction,
    digest: &Digest,
    by: EndedBy,
    now: UnixTime,
) -> Result<(), LinksError> {
    let mut row = row(&transaction.open_table(LINKS)?, digest)?;
    // A link whose last attempt is being checked is stored too, and must end.
    if row.ended.is_none() && row.stored {
        row.ended = Some(by);
        close(transaction, digest, row, now)?;
    }
    Ok(())
}

/// The answer to a request that was made before, if it is the same.
fn same(known: &Row, owner: Principal, request: &[u8; 32]) -> Result<LinkMade, LinksError> {
    match (known.owner, &known.request) == (owner, request) {
        true => Ok(LinkMade { number: known.number }),
        false => Err(refused("this link's id is taken: make the link again, with a new random id")),
    }
}

/// What the files of one patient's links may take, if all take `stored` of `of_all` bytes. It is less if there is less room. So no patient takes more than
/// a quarter of it, and few patients never take what the others need.
fn share(stored: u64, of_all: u64) -> u64 {
    let (most, part) = if stored < of_all / 2 {
        (BYTES_OF_OWNER, 4)
    } else if stored < of_all / 4 * 3 {
        (BYTES_OF_OWNER / 4, 16)
    } else {
        (BYTES_OF_OWNER / 16, 64)
    };
    most.min(of_all / part)
}

/// Checks the patient's limits. Removes the oldest link that is over, if too many are kept.
fn make_room(
    transaction: &WriteTransaction,
    owner: Principal,
    bytes: u64,
    share: u64,
    now: UnixTime,
) -> Result<(), LinksError> {
    let mut known = Vec::new();
    {
        let (links, of_owner) = (transaction.open_table(LINKS)?, transaction.open_table(OF_OWNER)?);
        for entry in of_owner.range((owner.row(), 0)..=(owner.row(), u32::MAX))? {
            let digest = entry?.1.value();
            known.push((digest, row(&links, &digest)?));
        }
    }
    let open = || known.iter().filter(|(_, row)| row.state(now) == LinkState::Open);
    if open().count() >= NewLink::MAX_OPEN {
        return Err(no_room(format!("{} of your links are open: end one first", NewLink::MAX_OPEN)));
    }
    let stored: u64 = known.iter().filter(|(_, row)| row.stored).map(|(_, row)| row.bytes()).sum();
    if stored.saturating_add(bytes) > BYTES_OF_OWNER {
        return Err(no_room("the files of your links have at most 64 MiB together: end a link first"));
    }
    if stored.saturating_add(bytes) > share {
        let scarce = format!(
            "this node has little room for links now, so the files of yours may have at most {} KiB together: end a link, share less, or try \
             again when links of others have expired",
            share >> 10
        );
        return Err(LinksError::Refused(RequestError::unavailable(scarce)));
    }
    let over = known.iter().find(|(_, row)| row.state(now) != LinkState::Open);
    if let Some((digest, row)) = over.filter(|_| known.len() >= KEPT) {
        remove(transaction, digest, row)?;
    }
    Ok(())
}

fn view(
    row: &Row,
    openings: &impl ReadableTable<(Digest, u64), &'static [u8]>,
    digest: &Digest,
    most: usize,
    now: UnixTime,
) -> Result<LinkView, LinksError> {
    let from = row.next_line.saturating_sub(most as u64);
    let lines = openings.range((*digest, from)..(*digest, row.next_line))?;
    let openings = lines.map(|line| decode::<LinkOpening>(line?.1.value())).collect::<Result<_, _>>()?;
    Ok(LinkView {
        number: row.number,
        created: row.created,
        expires: row.expires,
        state: row.state(now),
        remaining_attempts: row.remaining(),
        files: row.files.len() as u32,
        bytes: row.bytes(),
        opened: row.opened,
        openings,
    })
}

/// Removes the files of a link that is over, and keeps its row and openings for some time.
pub(super) fn close(
    transaction: &WriteTransaction,
    digest: &Digest,
    mut row: Row,
    now: UnixTime,
) -> Result<(), LinksError> {
    remove_files(transaction, digest, &row)?;
    let mut due = transaction.open_table(DUE)?;
    due.remove((row.due, *digest))?;
    row.stored = false;
    row.due = now.saturating_add(KEPT_SECONDS).get();
    due.insert((row.due, *digest), ())?;
    put(transaction, digest, &row)
}

fn remove_files(transaction: &WriteTransaction, digest: &Digest, row: &Row) -> Result<(), LinksError> {
    if !row.stored {
        return Ok(());
    }
    let mut files = transaction.open_table(FILES)?;
    for index in 0..row.files.len() as u32 {
        files.remove((*digest, index))?;
    }
    let stored = stored_bytes(transaction)?;
    set_stored_bytes(transaction, stored.saturating_sub(row.bytes()))
}

/// Removes all of a link.
pub(super) fn remove(transaction: &WriteTransaction, digest: &Digest, row: &Row) -> Result<(), LinksError> {
    remove_files(transaction, digest, row)?;
    transaction.open_table(DUE)?.remove((row.due, *digest))?;
    transaction.open_table(OPENINGS)?.retain_in((*digest, 0)..=(*digest, u64::MAX), |_, _| false)?;
    transaction.open_table(OF_OWNER)?.remove((row.owner.row(), row.number))?;
    transaction.open_table(LINKS)?.remove(digest)?;
    Ok(())
}

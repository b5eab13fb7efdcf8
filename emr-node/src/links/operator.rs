//! What the hospital does with the links of its patients: it sees which there are, how large they are and how often they were opened, and ends them. It
//! sees neither their addresses nor who opened them.

use std::sync::Arc;

use emr_api::{LinkOfPatient, LinksPage};
use emr_core::{AccountIndex, UnixTime};

use super::{
    Links,
    manage::end,
    store::{Digest, EndedBy, LINKS, LinkStore, LinksError, OF_OWNER, Owner, row},
};
use crate::request_error::RequestError;

/// The least and the greatest key of an account's owners. There are several after a reorganisation of L1.
fn owners(account: AccountIndex) -> [Owner; 2] {
    [u8::MIN, u8::MAX].map(|fill| {
        let mut owner = [fill; 36];
        owner[..4].copy_from_slice(&(account.get() as u32).to_be_bytes());
        owner
    })
}

impl LinkStore {
    /// The links of all patients, from an account on.
    pub(super) fn page(&self, from: Option<AccountIndex>, now: UnixTime) -> Result<LinksPage, LinksError> {
        if !self.exists() {
            return Ok(LinksPage { links: Vec::new(), next: None });
        }
        let first = from.map_or([0; 36], |from| owners(from)[0]);
        self.read(|transaction| {
            let (table, of_owner) = (transaction.open_table(LINKS)?, transaction.open_table(OF_OWNER)?);
            let mut links = Vec::<LinkOfPatient>::new();
            for entry in of_owner.range((first, 0)..)? {
                let row = row(&table, &entry?.1.value())?;
                let account = row.owner.account;
                if links.len() >= LinksPage::ENOUGH && links.last().is_some_and(|last| last.account != account) {
                    return Ok(LinksPage { links, next: Some(account) });
                }
                links.push(LinkOfPatient {
                    account,
                    number: row.number,
                    created: row.created,
                    expires: row.expires,
                    state: row.state(now),
                    files: row.files.len() as u32,
                    bytes: if row.stored { row.bytes() } else { 0 },
                    opened: row.opened,
                });
            }
            Ok(LinksPage { links, next: None })
        })
    }

    /// The links with this number of all who have or had this account.
    fn numbered(&self, account: AccountIndex, number: u32) -> Result<Vec<Digest>, LinksError> {
        if !self.exists() {
            return Err(LinksError::NotOpen);
        }
        let [first, last] = owners(account);
        let found = self.read(|transaction| {
            let of_owner = transaction.open_table(OF_OWNER)?;
            let mut found = Vec::new();
            for entry in of_owner.range((first, 0)..=(last, u32::MAX))? {
                let (key, digest) = entry?;
                if key.value().1 == number {
                    found.push(digest.value());
                }
            }
            Ok(found)
        })?;
        if found.is_empty() { Err(LinksError::NotOpen) } else { Ok(found) }
    }
}

impl Links {
    /// The links of all patients, from an account on.
    ///
    /// # Errors
    /// [`RequestError`] if the file cannot be used.
    pub(crate) async fn page(
        self: &Arc<Self>,
        from: Option<AccountIndex>,
        now: UnixTime,
    ) -> Result<LinksPage, RequestError> {
        Ok(self.blocking(move |links| links.store.page(from, now)).await?)
    }

    /// Ends a patient's link for the hospital. Its patient sees who ended it.
    ///
    /// # Errors
    /// `not-found` if there is no such link. `unavailable` if the disk does not take it: then nothing is served until the node starts again, and it must
    /// be ended again.
    pub(crate) async fn end_for_hospital(
        self: &Arc<Self>,
        account: AccountIndex,
        number: u32,
        now: UnixTime,
    ) -> Result<(), RequestError> {
        let ended = self.blocking(move |links| {
            for digest in links.store.numbered(account, number)? {
                links.stopped().insert(digest);
                links.store.write(|transaction| end(transaction, &digest, EndedBy::Hospital, now))?;
                links.stopped().remove(&digest);
            }
            Ok(())
        });
        Ok(ended.await?)
    }
}

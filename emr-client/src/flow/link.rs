//! Sharing records by a link that opens them to anyone who has it: SMART Health Links 1.0.
//!
//! This program decrypts the records and encrypts their documents under a new key, which only the link has. The node gets
//! ciphertext. Nothing of it is in the rollup's state: who opened the link is what the node says, and what the opener
//! said to the node.

use emr_api::{LinkAccess, LinkFile, LinkMade, LinkView, NewLink, url_token::UrlToken};
use emr_core::{RecordSlot, Role, UnixTime, fhir, is_harmless};
use emr_crypto::{JweKey, PasscodeVerifier, random_passcode, seal_compact};
use secrecy::SecretString;

use crate::{
    client::Client,
    error::ClientError,
    flow::retrieve::Retrieved,
    node::printable,
    shlink::{Shlink, ShlinkFlags},
};

/// Why no link was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The participant is not a patient.
    #[error("only a patient can share records by a link: use the patient's data folder")]
    NotAPatient,
    /// The number of records is wrong.
    #[error("a link shares 1 to {most} records, not {count}: choose other records", most = NewLink::MAX_FILES)]
    Records {
        /// How many were given.
        count: usize,
    },
    /// A direct file is one record without passcode.
    #[error("a direct file is one record, without passcode: share one record, or leave --direct out")]
    Direct,
    /// The time is over already, or too far away.
    #[error("a link expires after now, and within 366 days: choose another time")]
    Expires,
    /// The label is too long, or would not be shown as it is.
    #[error("a link's label has 1 to {most} characters, on one line: choose another one", most = Shlink::LONGEST_LABEL)]
    Label,
    /// The node's address is so long that the link would not be valid.
    #[error(
        "the address of the hospital's node has {0} characters too many for a link: ask the hospital for a shorter one (--node)"
    )]
    Address(usize),
    /// The documents are too large.
    #[error("the files of a link have at most 8 MiB together, encrypted: share fewer or smaller records")]
    TooLarge,
}

/// The terms of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTerms {
    /// The last second in which it opens.
    pub expires: UnixTime,
    /// Whether the opener needs a passcode too.
    pub passcode: bool,
    /// Whether it is meant for long-term use.
    pub long_term: bool,
    /// Whether its address is that of its only file, for simple viewers.
    pub direct_file: bool,
    /// What it is, in a few words. The people with the link see it; the node does not.
    pub label: Option<String>,
}

/// A link that was made. The program does not keep its address: it is shown now, or never.
#[derive(Debug)]
pub struct MadeLink {
    /// The link's number, with which the patient ends it.
    pub number: u32,
    /// The link, with its key.
    pub link: Shlink,
    /// The passcode, if it has one.
    pub passcode: Option<SecretString>,
    /// The records that are not settled yet.
    pub unsettled: Vec<RecordSlot>,
}

impl LinkTerms {
    fn check(&self, records: usize, now: UnixTime) -> Result<(), LinkError> {
        if !(1..=NewLink::MAX_FILES).contains(&records) {
            return Err(LinkError::Records { count: records });
        }
        if self.direct_file && (records > 1 || self.passcode) {
            return Err(LinkError::Direct);
        }
        if self.expires <= now || self.expires > now.saturating_add(NewLink::LONGEST) {
            return Err(LinkError::Expires);
        }
        let fits = |label: &String| {
            (1..=Shlink::LONGEST_LABEL).contains(&label.encode_utf16().count()) && label.chars().all(is_harmless)
        };
        if self.label.as_ref().is_some_and(|label| !fits(label)) { Err(LinkError::Label) } else { Ok(()) }
    }

    const fn flags(&self) -> ShlinkFlags {
        ShlinkFlags { long_term: self.long_term, passcode: self.passcode, direct_file: self.direct_file }
    }
}

impl Client {
    /// Makes a link to records of this patient. Each is read and verified first. Their documents are as they are now: later
    /// versions are not in the link.
    ///
    /// # Errors
    /// [`LinkError`] if these records or terms are not possible. [`ClientError`] if a record does not verify, or the node
    /// refuses or does not answer.
    pub async fn make_link(&self, records: &[RecordSlot], terms: &LinkTerms) -> Result<MadeLink, ClientError> {
        if self.keys.role() != Role::Patient {
            return Err(LinkError::NotAPatient.into());
        }
        terms.check(records.len(), UnixTime::now())?;
        let (id, key, origin) = (UrlToken::random(), JweKey::generate(), self.node.address().origin());
        let link = Shlink::new((&origin, &id), key.clone(), terms.expires, terms.flags(), terms.label.clone());
        if let Some(over @ 1..) = link.url().len().checked_sub(Shlink::LONGEST_URL) {
            return Err(LinkError::Address(over).into());
        }
        let (mut files, mut unsettled) = (Vec::new(), Vec::new());
        let card = self.card();
        for &slot in records {
            let (retrieved, _) = self.retrieve(&card, slot, None).await?;
            if matches!(retrieved, Retrieved::Unsettled(_)) {
                unsettled.push(slot);
            }
            let document = self.document(retrieved.unproven()).await?;
            let content_type = fhir::MEDIA_TYPE.to_owned();
            files.push(LinkFile { jwe: seal_compact(&key, &content_type, &document), content_type });
            if files.iter().map(|file| file.jwe.len()).sum::<usize>() > NewLink::MAX_BYTES {
                return Err(LinkError::TooLarge.into());
            }
        }
        let passcode = terms.passcode.then(random_passcode);
        let access = match &passcode {
            Some(passcode) => {
                let PasscodeVerifier { salt, digest } = PasscodeVerifier::of(passcode);
                LinkAccess::Passcode { salt, digest }
            }
            None if terms.direct_file => LinkAccess::DirectFile,
            None => LinkAccess::Manifest,
        };
        let new = NewLink { id, origin, expires: terms.expires, access, files };
        let LinkMade { number } = self.node.create_link(&new).await?;
        Ok(MadeLink { number, link, passcode, unsettled })
    }

    /// The links of this patient, and their newest openings, as the node says.
    ///
    /// # Errors
    /// [`ClientError`] if the node refuses or does not answer.
    pub async fn links(&self) -> Result<Vec<LinkView>, ClientError> {
        Ok(self.node.links().await?.into_iter().map(shown).collect())
    }

    /// One link of this patient, with all openings that the node keeps.
    ///
    /// # Errors
    /// The same as [`Self::links`].
    pub async fn link(&self, number: u32) -> Result<LinkView, ClientError> {
        Ok(shown(self.node.link(number).await?))
    }

    /// Ends a link: when this returns, the node serves it no more. What was opened before stays with those who opened it.
    ///
    /// # Errors
    /// The same as [`Self::links`].
    pub async fn end_link(&self, number: u32) -> Result<(), ClientError> {
        Ok(self.node.end_link(number).await?)
    }
}

/// Names in a form that is safe to show. Strangers chose them.
fn shown(mut link: LinkView) -> LinkView {
    for opening in &mut link.openings {
        opening.recipient = printable(&opening.recipient);
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> LinkTerms {
        LinkTerms {
            expires: UnixTime::now().saturating_add(3600),
            passcode: false,
            long_term: false,
            direct_file: false,
            label: None,
        }
    }

    #[test]
    fn impossible_terms_are_refused_before_anything_is_read() {
        let now = UnixTime::now();
        let check = |records, terms: LinkTerms| terms.check(records, now);
        assert!(check(1, terms()).is_ok() && check(32, LinkTerms { passcode: true, ..terms() }).is_ok());
        for records in [0, 33] {
            assert!(matches!(check(records, terms()), Err(LinkError::Records { .. })), "{records}");
        }
        let direct = LinkTerms { direct_file: true, ..terms() };
        assert!(check(1, direct.clone()).is_ok());
        assert!(matches!(check(2, direct.clone()), Err(LinkError::Direct)));
        assert!(matches!(check(1, LinkTerms { passcode: true, ..direct }), Err(LinkError::Direct)));
        for expires in [UnixTime::ZERO, now, now.saturating_add(NewLink::LONGEST + 1)] {
            assert!(matches!(check(1, LinkTerms { expires, ..terms() }), Err(LinkError::Expires)), "{expires}");
        }
        for (label, fits) in [
            ("ä".repeat(80), true),
            ("ä".repeat(81), false),
            (String::new(), false),
            ("a\nb".into(), false),
            ("a\u{202e}b".into(), false),
        ] {
            assert_eq!(check(1, LinkTerms { label: Some(label.clone()), ..terms() }).is_ok(), fits, "{label:?}");
        }
    }

    #[test]
    fn a_name_cannot_rewrite_the_screen() {
        let opening = emr_api::LinkOpening {
            at: UnixTime::ZERO,
            recipient: "Dr.\u{1b}[2J\u{202e}evil\n\u{200b}x".to_owned(),
            outcome: emr_api::LinkOutcome::Opened,
        };
        let link = LinkView {
            number: 1,
            created: UnixTime::ZERO,
            expires: UnixTime::ZERO,
            state: emr_api::LinkState::Open,
            remaining_attempts: None,
            files: 1,
            bytes: 1,
            opened: 1,
            openings: vec![opening],
        };
        assert_eq!(shown(link).openings[0].recipient, "Dr. [2J evil  x");
    }
}

//! The patient's key directory with its secrets, read again from blocks and her identity.

use emr_core::{Cid, UnixTime};
use emr_crypto::{DirectoryError, KeyDirectory, OwnDirectoryError, PatientDirectory};
use emr_rollup::field::Fr;

use crate::{
    api::PatientView,
    card::CheckedCard,
    client::{Client, ClientError},
    directory_check::{PublishedDirectory, change, commitment},
    node_api::NodeError,
};

/// Why her directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnError {
    /// The node, the chain, the profile.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The block is none.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It does not open.
    #[error(transparent)]
    Own(#[from] OwnDirectoryError),
}

impl From<NodeError> for OwnError {
    fn from(error: NodeError) -> Self {
        Self::Client(error.into())
    }
}

/// The patient's view of herself, with her directory opened.
pub(crate) struct Own {
    pub(crate) view: PatientView,
    /// The commitment in force; 0 before the first directory.
    pub(crate) before: Fr,
    pub(crate) directory: PatientDirectory,
}

impl Own {
    /// The block to upload and the commitment to sign, if the directory changed.
    pub(crate) fn next(&self) -> (Fr, Option<Cid>, Vec<(Cid, Vec<u8>)>) {
        let published = self.directory.published();
        let cid = published.cid();
        let after = commitment(&cid);
        if after == self.before {
            return (after, None, Vec::new());
        }
        (after, Some(cid), vec![(cid, published.to_bytes().to_vec())])
    }
}

impl Client {
    /// Her own account, checked like anybody else's.
    pub(crate) async fn own_card(&self) -> Result<CheckedCard, ClientError> {
        self.check_card(&self.card()).await
    }

    /// Her directory as it is in force, or a new one.
    pub(crate) async fn own_directory(&self) -> Result<Own, OwnError> {
        let card = self.own_card().await?;
        let (view, published) = self.patient_view(&card).await?;
        self.check_not_withheld(&view, &published)?;
        let directory = match published.cid() {
            Some(cid) => {
                let bytes = self.node.block(&cid).await?;
                PatientDirectory::open(KeyDirectory::from_bytes(&bytes)?, self.identity.rsa())?
            }
            None => PatientDirectory::create(self.identity.rsa()),
        };
        Ok(Own { view, before: published.commitment(), directory })
    }

    /// A node must not make her build on a directory that she has replaced: what she took from a reader would come back.
    fn check_not_withheld(&self, view: &PatientView, published: &PublishedDirectory) -> Result<(), ClientError> {
        let now = UnixTime::now();
        let mine = self.profile.outbox().entries().iter().filter(|entry| {
            let operation = &entry.draft().submission.signed.operation;
            operation.patient == view.patient && entry.receipt().is_some() && !entry.has_lapsed(now)
        });
        let last = mine.filter_map(|entry| change(&entry.draft().submission.signed)).filter(|(b, a)| b != a).last();
        let Some((_, after)) = last else { return Ok(()) };
        let later = view.directory_operations.iter().filter_map(change).any(|(_, a)| a == after);
        let settled = view.proof.leaf.is_some_and(|leaf| leaf.key_directory == after);
        if later || settled || published.commitment() == after { Ok(()) } else { Err(ClientError::Withheld) }
    }
}

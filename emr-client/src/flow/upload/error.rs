//! Why a record was not written.

use std::{convert::Infallible, path::PathBuf, time::Duration};

use emr_core::{AccountIndex, Class, Key, RecordError, RecordSlot};
use emr_crypto::SealError;
use emr_rollup::operation::OperationId;

use crate::verify::attached::OtherAttachments;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The patient has not published a key directory.
    #[error(
        "patient {0} has no key directory yet, so nothing can be encrypted for this patient: ask the patient to grant access once"
    )]
    NoDirectory(AccountIndex),
    /// No grant allows the account to write these records.
    #[error("no grant allows you to write {class} records of patient {patient}: ask the patient for one")]
    NotGranted {
        /// The patient.
        patient: AccountIndex,
        /// The class.
        class: Class,
    },
    /// The slot holds no record that this account may know of.
    #[error("patient {patient} has no record {slot} that you may know of: list the patient's records")]
    NoSuchRecord {
        /// The patient.
        patient: AccountIndex,
        /// The record's slot.
        slot: RecordSlot,
    },
    /// The record was deleted.
    #[error("record {0} was deleted; a deleted record is not written again: upload a new one")]
    Deleted(RecordSlot),
    /// The participant is neither the record's author nor the patient, and only those may delete it.
    #[error("record {slot} was written by account {author}: only its author and the patient delete it")]
    NotAuthor {
        /// The record's slot.
        slot: RecordSlot,
        /// The author.
        author: AccountIndex,
    },
    /// No undelivered record of this operation is kept.
    #[error("no undelivered record of operation {0} is kept: `outbox list` shows what is kept")]
    NotRefused(OperationId),
    /// The kept record cannot be opened.
    #[error(
        "the record of operation {0} cannot be read back: its files are damaged, or another identity wrote it; write it again from its document, \
         or discard it"
    )]
    NotReadable(OperationId),
    /// The class of the record is neither stated nor proved.
    #[error(
        "the class of record {0} is not proved, and the new version is sealed to its class: state it with --class, or read the record first with `get`"
    )]
    ClassNotProved(RecordSlot),
    /// The node lists the record in another class than the caller stated.
    #[error(
        "record {slot} is in class {stated}, you say, but the node lists it in {listed}: prove its class with `verify`; to move the record, use --move-to"
    )]
    OtherClass {
        /// The record's slot.
        slot: RecordSlot,
        /// The class that the caller stated.
        stated: Class,
        /// The class that the node lists.
        listed: Class,
    },
    /// The card is another account's.
    #[error("the record is for patient {needed}, the card is that of account {given}: give the patient's card")]
    OtherPatient {
        /// The patient of the record.
        needed: AccountIndex,
        /// The account of the card.
        given: AccountIndex,
    },
    /// A file to attach cannot be read.
    #[error("cannot attach {}: {source}; check the name", path.display())]
    AttachmentFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file changed while it was sent, or after its record was signed.
    #[error("{} changed since its upload began, or is gone: upload the record again when the file stays as it is", .0.display())]
    AttachmentChanged(PathBuf),
    /// The node needs a file again, and nothing here says which file it was.
    #[error(
        "the hospital no longer has the files of operation {0}, and what this program noted of them is gone: upload the record again"
    )]
    AttachmentLost(OperationId),
    /// The files of a record are too large for a node.
    #[error(
        "the files take {} MiB when they are sealed, and a hospital takes {} MiB for one record: attach fewer or smaller files, and put the others into other records after this one is settled",
        sealed.div_ceil(1 << 20),
        emr_api::StorageAmount::NEW_ATTACHMENTS >> 20
    )]
    AttachmentsTooLarge {
        /// What they take, in bytes.
        sealed: u64,
    },
    /// The node had no room for a file, although the client waited.
    #[error(
        "the hospital had no room for this file for {} minutes, because many uploads wait for their records; what was sent is given up, so that others \
         find room: run the command again later",
        waited.as_secs() / 60
    )]
    NoRoomNow {
        /// How long the client waited.
        waited: Duration,
    },
    /// Two attachments have the same key.
    #[error("two attachments have the key {0}: give each its own")]
    SameAttachment(Key),
    /// The record names attachments that are not given with it.
    #[error(
        "the record names attachments that were not given with it, or have other sizes: give each with its content"
    )]
    Attachments(#[from] OtherAttachments),
    /// The record is too large.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError<Infallible>),
}

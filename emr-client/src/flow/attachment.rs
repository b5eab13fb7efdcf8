//! Reading the files of a record: whole or in part, several blocks at once, in order, and with bounded memory.

use std::{
    io::{self, Write},
    ops::Range,
    path::Path,
};

use emr_core::{AccountIndex, RecordSlot};
use emr_crypto::{AttachmentChunks, OpenError};
use emr_durable::Disk;
use tokio::sync::mpsc;

use crate::{
    client::Client,
    error::ClientError,
    flow::attach::{Told, Transfer},
    flow::retrieve::{Missing, ReadError},
    node::NodeError,
    node::parallel::Fetching,
    profile::FileError,
    verify::record::AuthenticRecord,
};

/// The content of an attachment, or a part of it, one chunk after the other. Each chunk was checked. But the content is complete only after
/// [`Self::next`] returned `None`.
#[derive(Debug)]
pub struct AttachmentStream {
    chunks: AttachmentChunks,
    range: Range<u64>,
    next: u32,
    fetching: Fetching,
    place: Place,
}

/// For errors.
#[derive(Clone, Copy, Debug)]
struct Place {
    patient: AccountIndex,
    slot: RecordSlot,
    number: usize,
}

impl Place {
    fn refused(&self, error: NodeError) -> ClientError {
        let patient = self.patient;
        if error.is_revoked() {
            ReadError::Revoked { patient, message: error.to_string() }.into()
        } else {
            error.into()
        }
    }

    fn opened<T>(&self, opened: Result<T, OpenError<Missing>>) -> Result<T, ClientError> {
        let Self { slot, number, .. } = *self;
        opened.map_err(|source| match source {
            OpenError::Range { length } => ReadError::NoSuchBytes { slot, number, length }.into(),
            source => ReadError::Attachment { slot, number, source: Box::new(source) }.into(),
        })
    }
}

impl AttachmentStream {
    /// How many bytes the stream gives.
    pub const fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The next bytes; they may be none. `None` at the end.
    ///
    /// # Errors
    /// [`ReadError::Attachment`] if a chunk does not open. [`ClientError`] if the node does not give it, or gives another one.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let fetched = self.fetching.next().await.map_err(|error| self.place.refused(error))?;
        let Some((_, block)) = fetched else { return Ok(None) };
        let number = self.next;
        self.next += 1;
        self.place.opened(self.chunks.open(number, block, &self.range)).map(Some)
    }
}

/// What goes to the thread that writes the file.
enum Part {
    Bytes(Vec<u8>),
    End,
}

/// Writes what arrives. Fails if the end does not arrive: then the file is not complete.
fn write_all(mut parts: mpsc::Receiver<Part>, out: &mut dyn Write) -> io::Result<()> {
    loop {
        match parts.blocking_recv() {
            Some(Part::Bytes(bytes)) => out.write_all(&bytes)?,
            Some(Part::End) => return Ok(()),
            None => return Err(io::Error::other("the attachment did not arrive completely")),
        }
    }
}

impl Client {
    /// Opens an attachment of a record that was read: its number is its place in [`AuthenticRecord::attachments`]. With `range`, only these bytes,
    /// counted from 0; then only the chunks that hold them are fetched.
    ///
    /// # Errors
    /// [`ReadError::NoAttachment`] or [`ReadError::NoSuchBytes`] if there is no such thing. [`ReadError::Revoked`] if the access was taken back
    /// meanwhile. Other variants as for [`AttachmentStream::next`].
    pub async fn open_attachment(
        &self,
        record: &AuthenticRecord,
        number: usize,
        range: Option<Range<u64>>,
    ) -> Result<AttachmentStream, ClientError> {
        let (patient, slot) = (record.authorship().patient, record.authorship().slot);
        let place = Place { patient, slot, number };
        let count = record.attachments().len();
        let attached = record.attachments().get(number).ok_or(ReadError::NoAttachment { slot, number, count })?;
        let manifest = self.node.block(&attached.sealed.manifest).await.map_err(|error| place.refused(error))?;
        let chunks = place.opened(attached.sealed.chunks(&manifest))?;
        let (numbers, range) = match range {
            Some(range) => (place.opened(chunks.holding(&range))?, range),
            // All chunks, also those that hold only padding: so nothing at the end is missing.
            None => (chunks.all(), 0..attached.sealed.length),
        };
        let links: Vec<_> = numbers.clone().filter_map(|number| chunks.link(number)).collect();
        let fetching = Fetching::from(&self.node, links);
        Ok(AttachmentStream { chunks, range, next: numbers.start, fetching, place })
    }

    /// Writes an attachment, or a part of it, to a file. The file has its name only when it is complete. Returns its size in bytes.
    ///
    /// # Errors
    /// The same as [`Self::open_attachment`] and [`AttachmentStream::next`]. [`ClientError::File`] if the file cannot be written. An earlier file with
    /// this name is then as before.
    pub async fn save_attachment(
        &self,
        record: &AuthenticRecord,
        number: usize,
        range: Option<Range<u64>>,
        path: &Path,
        told: Told<'_>,
    ) -> Result<u64, ClientError> {
        let mut stream = self.open_attachment(record, number, range).await?;
        let (size, to) = (stream.size(), path.to_owned());
        let (sender, parts) = mpsc::channel(1);
        let writing =
            tokio::task::spawn_blocking(move || Disk::default().replace_in_parts(&to, |out| write_all(parts, out)));
        let mut done = 0;
        let streamed = loop {
            let (part, is_end) = match stream.next().await {
                Ok(Some(bytes)) => {
                    done += bytes.len() as u64;
                    (Part::Bytes(bytes), false)
                }
                Ok(None) => (Part::End, true),
                Err(error) => break Err(error),
            };
            // A writer that takes no more has an error, which follows.
            if sender.send(part).await.is_err() || is_end {
                break Ok(());
            }
            told(Transfer { number, done, size, pause: None });
        };
        drop(sender);
        // What is unfinished is gone when this returns.
        let written = writing.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        streamed?;
        written.map_err(|error| FileError::io(path, error))?;
        Ok(size)
    }
}

//! Sealing the files of a record and sending them, before the record is written. An interrupted upload goes on where it was.
//!
//! A file is read once, and its blocks are kept nowhere on this machine: eight of them are on their way at a time. `profile::journal` says why
//! sealing a file again with the same key is safe. All of this happens before the record's turn: nothing else of this participant, above all no
//! Revoke, waits for a large file.

mod drop_uploads;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use emr_api::StorageAmount;
use emr_core::{Attachment, Cid, Codec, Key, Record, cid::cid_of};
use emr_crypto::{
    AttachmentKey, AttachmentSealer, AttachmentSize, CHUNK_BYTES, ContentKey, Manifest, SealError, key_wrap::WrappedKey,
};
use tokio::sync::mpsc;

use crate::{
    client::Client,
    error::ClientError,
    flow::upload::{Place, WriteError},
    keys,
    node::parallel::{Room, Storing},
    profile::FileError,
    profile::journal::{self, Hashes, Header, Journal},
    profile::outbox::Entry,
    verify::card::CheckedCard,
};

/// How often a file is sealed if it keeps changing.
const ATTEMPTS: usize = 3;
/// How many chunks are noted in the journal with one sync.
const NOTED_TOGETHER: usize = 8;

/// A file that is to be stored beside a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentSource {
    /// The field that will name it: `attachments.N`, or a field of the document.
    pub key: Key,
    /// Its media type, such as `application/dicom`.
    pub media_type: String,
    /// Its content.
    pub content: AttachmentContent,
}

/// Where the content of an attachment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachmentContent {
    /// In a file of this machine, which stays as it is until the record is settled. It may be large: it is never in memory as a whole.
    File(PathBuf),
    /// In memory. Its sealed blocks are kept in the outbox.
    Bytes(Vec<u8>),
    /// At the node, as an attachment of an earlier version of the same record.
    Sealed(AttachmentKey),
}

/// How far the transfer of one attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The number of the attachment in its request, counted from 0.
    pub number: usize,
    /// Bytes that were transferred.
    pub done: u64,
    /// All bytes.
    pub size: u64,
    /// Set if the node has no room now: the transfer goes on after about this time.
    pub pause: Option<Duration>,
}

/// Called when a part of a transfer is done.
pub type Told<'a> = &'a (dyn Fn(Transfer) + Send + Sync);

/// The sealed attachments of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct SealedFiles {
    /// For the record's sealed part.
    pub(crate) keys: Vec<AttachmentKey>,
    /// The blocks that are kept in the outbox and sent with the record.
    pub(crate) blocks: Vec<(Cid, Vec<u8>)>,
    /// The journals of the files that were sent already.
    pub(crate) journals: Vec<String>,
    /// What tells whether a repeated request has the same attachments.
    pub(crate) identity: Vec<u8>,
}

/// A chunk on its way from the file to the node. `bytes` is `None` if the node has it already.
struct Chunk {
    number: u32,
    bytes: Option<Vec<u8>>,
}

/// Why a file was not sealed to its end.
enum SealFailure {
    /// It is not the file that was sealed before with this key.
    Changed,
    /// Nobody takes the chunks any more.
    Stopped,
    Seal(SealError<Infallible>),
    File(FileError),
}

impl From<SealError<Infallible>> for SealFailure {
    fn from(error: SealError<Infallible>) -> Self {
        Self::Seal(error)
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(cid_of(Codec::Raw, bytes).hash().digest()) {
        *to = *from;
    }
    digest
}

/// The digest that names a request to attach one file: patient, place, record, field and file.
fn request(patient: &CheckedCard, place: Place, record: &[u8; 32], source: (&Key, &str), path: &Path) -> [u8; 32] {
    let (account, owner, (key, media_type)) = (patient.account(), patient.ethereum(), source);
    let head = format!("emr/attachment-request/v1 {account} {owner} {place} {key} {media_type}\n");
    digest(&[head.as_bytes(), record, path.as_os_str().as_encoded_bytes()].concat())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ClientError {
    let path = path.to_owned();
    move |source| WriteError::AttachmentFile { path, source }.into()
}

/// Checks before the first chunk that a node takes attachments of these lengths together. Otherwise it would refuse the last ones.
/// Returns what they take, in bytes.
fn check_room(lengths: impl IntoIterator<Item = u64>) -> Result<u64, WriteError> {
    let sealed = lengths.into_iter().map(|length| AttachmentSize::of(length).bytes).fold(0, u64::saturating_add);
    if sealed > StorageAmount::NEW_ATTACHMENTS {
        return Err(WriteError::AttachmentsTooLarge { sealed });
    }
    Ok(sealed)
}

/// The digest that names a journal of a request. There are several if the file changed while a kept record needed the journal of what it was.
fn numbered(request: &[u8; 32], number: u32) -> [u8; 32] {
    digest(&[&request[..], &number.to_be_bytes()].concat())
}

/// What is known of a file now. It has no key yet.
fn header(path: &Path) -> Result<Header, ClientError> {
    let data = std::fs::metadata(path).map_err(unreadable(path))?;
    if !data.is_file() {
        return Err(unreadable(path)(io::Error::other("it is not a file")));
    }
    let modified = journal::modified(&data);
    Ok(Header { path: path.to_owned(), size: data.len(), modified, key: String::new() })
}

impl Client {
    /// Seals these attachments and sends those that are files. Writes into the record where each of them is.
    pub(crate) async fn attach(
        &self,
        patient: &CheckedCard,
        place: Place,
        record: &mut Record,
        sources: Vec<AttachmentSource>,
        told: Told<'_>,
    ) -> Result<SealedFiles, ClientError> {
        let mut lengths = Vec::new();
        for source in &sources {
            lengths.push(match &source.content {
                AttachmentContent::File(path) => header(path)?.size,
                AttachmentContent::Bytes(bytes) => bytes.len() as u64,
                // Its blocks are at the node.
                AttachmentContent::Sealed(_) => continue,
            });
        }
        let sealed = check_room(lengths)?;
        let before = digest(&record.to_dag_cbor()?);
        let mut files = SealedFiles::default();
        let mut named = BTreeSet::new();
        let _turn = self.profile.uploads().turn.lock().await;
        let mut requests = BTreeSet::new();
        for AttachmentSource { key, media_type, content } in &sources {
            if let AttachmentContent::File(path) = content {
                let path = journal::absolute(path).map_err(unreadable(path))?;
                requests.insert(request(patient, place, &before, (key, media_type), &path));
            }
        }
        self.make_room(sealed, &requests).await?;
        for (number, AttachmentSource { key, media_type, content }) in sources.into_iter().enumerate() {
            if !named.insert(key.clone()) {
                return Err(WriteError::SameAttachment(key).into());
            }
            let (sealed, identity) = match content {
                AttachmentContent::Sealed(sealed) => {
                    let identity = sealed.manifest.to_bytes();
                    (sealed, identity)
                }
                AttachmentContent::Bytes(bytes) => {
                    let sealed = AttachmentKey::seal(&*bytes, |cid, block| {
                        files.blocks.push((cid, block));
                        Ok::<_, Infallible>(())
                    })?;
                    (sealed, digest(&bytes).to_vec())
                }
                AttachmentContent::File(path) => {
                    let path = journal::absolute(&path).map_err(unreadable(&path))?;
                    let request = request(patient, place, &before, (&key, media_type.as_str()), &path);
                    let sent = self.send_file(&path, &request, number, told).await;
                    if matches!(sent, Err(ClientError::Write(WriteError::NoRoomNow { .. }))) {
                        // The files before it are of no use without this one.
                        self.drop_uploads(&files.journals).await?;
                    }
                    let (journal, sealed) = sent?;
                    files.journals.push(journal);
                    let identity = sealed.manifest.to_bytes();
                    (sealed, identity)
                }
            };
            files.identity.extend_from_slice(format!("{key} {media_type} ").as_bytes());
            files.identity.extend_from_slice(&digest(&identity));
            let (link, size) = (sealed.manifest, sealed.length);
            record.attach(key, Attachment { link, media_type, size })?;
            files.keys.push(sealed);
        }
        Ok(files)
    }

    /// Sends a file, from where an interrupted request left off. Returns the name of its journal too.
    async fn send_file(
        &self,
        path: &Path,
        request: &[u8; 32],
        number: usize,
        told: Told<'_>,
    ) -> Result<(String, AttachmentKey), ClientError> {
        let journals = self.profile.uploads();
        let needed = self.profile.outbox().journals();
        let (mut changes, mut next) = (0, 0);
        while changes < ATTEMPTS {
            let header = header(path)?;
            let request = numbered(request, next);
            let id = hex::encode(request);
            let known = journals.find(&id)?.filter(|known| {
                let Header { path, size, modified, .. } = &known.header;
                (path, size, modified) == (&header.path, &header.size, &header.modified)
            });
            let known = match known {
                Some(journal) => self.kept_key(&journal.header, &request).await?.map(|key| (key, journal)),
                None => None,
            };
            let (key, journal) = match known {
                Some(known) => known,
                // A kept record has the only other use of this key, and perhaps the node lost its blocks.
                None if needed.contains(&id) => {
                    next += 1;
                    continue;
                }
                None => {
                    self.drop_uploads(std::slice::from_ref(&id)).await?;
                    let (key, header) = self.with_new_key(header, &request);
                    journals.begin(&id, &header)?;
                    let journal = journals.find(&id)?;
                    (key, journal.ok_or_else(|| WriteError::AttachmentChanged(path.to_owned()))?)
                }
            };
            let mut room = Room::waiting();
            let sent = self.send(key, journal, (number, told), &mut room).await;
            if matches!(&sent, Err(ClientError::Node(error)) if error.is_no_room_now()) {
                if !needed.contains(&id) {
                    self.drop_uploads(std::slice::from_ref(&id)).await?;
                }
                return Err(WriteError::NoRoomNow { waited: room.waited() }.into());
            }
            match sent? {
                Some(sealed) => return Ok((id, sealed)),
                None if needed.contains(&id) => next += 1,
                None => {
                    self.drop_uploads(std::slice::from_ref(&id)).await?;
                    journals.remove(&id)?;
                    changes += 1;
                }
            }
        }
        Err(WriteError::AttachmentChanged(path.to_owned()).into())
    }

    /// Sends the files of an operation again, because the node removed some of their blocks. Nothing is signed again.
    ///
    /// # Errors
    /// [`WriteError::AttachmentChanged`] if a file is not the one that was attached, or is gone. [`WriteError::AttachmentLost`] if its journal is not
    /// that of the record.
    pub(crate) async fn send_files_again(&self, entry: &Entry) -> Result<(), ClientError> {
        // Another upload may take long, and this runs within the turn in which operations are signed.
        let uploads = self.profile.uploads();
        let _turn = uploads.turn.try_lock().map_err(|_| ClientError::Contended)?;
        let lost = || WriteError::AttachmentLost(entry.draft().operation);
        let of_record = links_of(entry)?.ok_or_else(lost)?;
        for (number, id) in entry.draft().journals.iter().enumerate() {
            let mut journal = uploads.find(id)?.ok_or_else(lost)?;
            let mut request = [0; 32];
            hex::decode_to_slice(id, &mut request).map_err(|_| lost())?;
            let key = self.kept_key(&journal.header, &request).await?.ok_or_else(lost)?;
            // The journal of a signed record knows all chunks. Without that, another content could leave under the same key.
            if journal.hashes.len() as u64 != AttachmentSize::of(journal.header.size).chunks {
                return Err(lost().into());
            }
            let path = journal.header.path.clone();
            journal.stored.clear();
            // Others wait for their turn.
            match self.send(key, journal, (number, &|_| {}), &mut Room::at_once()).await {
                Ok(Some(sealed)) if of_record.contains(&sealed.manifest) => {}
                Ok(Some(_)) => return Err(lost().into()),
                // Gone, or not readable, is no better than changed: the record cannot be completed with it.
                Ok(None) | Err(ClientError::Write(WriteError::AttachmentFile { .. })) => {
                    return Err(WriteError::AttachmentChanged(path).into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn with_new_key(&self, header: Header, request: &[u8; 32]) -> (ContentKey, Header) {
        let key = ContentKey::generate();
        let wrapped = key.wrap_for_upload(&self.keys.encryption_key(), request);
        (key, Header { key: BASE64.encode(wrapped.to_bytes()), ..header })
    }

    /// The key of an upload that was interrupted; `None` if this identity did not begin it.
    async fn kept_key(&self, header: &Header, request: &[u8; 32]) -> Result<Option<ContentKey>, ClientError> {
        let wrapped = BASE64.decode(&header.key).ok().and_then(|bytes| WrappedKey::from_bytes(&bytes).ok());
        let (Some(wrapped), request) = (wrapped, *request) else { return Ok(None) };
        let unwrap = move |by: &dyn emr_crypto::KeyUnwrap| ContentKey::unwrap_for_upload(by, &wrapped, &request).ok();
        Ok(keys::opening(&self.keys, unwrap).await?)
    }

    /// Seals a file and sends what the node does not have. `None` if the file is not the one that was sealed before with this key.
    async fn send(
        &self,
        key: ContentKey,
        journal: Journal,
        (number, told): (usize, Told<'_>),
        room: &mut Room,
    ) -> Result<Option<AttachmentKey>, ClientError> {
        let mut acknowledged = journal.acknowledging()?;
        let Journal { header, hashes, stored } = journal;
        let (size, path) = (header.size, header.path.clone());
        let (sender, mut chunks) = mpsc::channel(1);
        let sealing = tokio::task::spawn_blocking(move || seal_file(&header, key, hashes, &stored, &sender));
        let count = AtomicU64::new(0);
        let tell = |more: u64, pause: Option<Duration>| {
            let count = count.fetch_add(more, Ordering::Relaxed).saturating_add(more);
            told(Transfer { number, done: count.saturating_mul(CHUNK_BYTES as u64).min(size), size, pause });
        };
        let pausing = |pause: Duration| tell(0, Some(pause));
        let stored =
            store(&mut Storing::on(&self.node, room, &pausing), &mut chunks, &mut acknowledged, || tell(1, None)).await;
        // The thread writes the journal until its next chunk is not taken. The next upload must not begin before that.
        drop(chunks);
        let sealed = match sealing.await {
            Ok(sealed) => sealed,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(SealFailure::Stopped),
            },
        };
        stored?;
        match sealed {
            Ok((sealed, manifest)) => {
                let mut storing = Storing::on(&self.node, room, &pausing);
                storing.start((), Codec::DagCbor, manifest).await?;
                storing.done().await?;
                Ok(Some(sealed))
            }
            Err(SealFailure::Changed) => Ok(None),
            Err(SealFailure::Seal(SealError::Read(source))) => Err(WriteError::AttachmentFile { path, source }.into()),
            Err(SealFailure::Seal(error)) => Err(error.into()),
            Err(SealFailure::File(error)) => Err(error.into()),
            Err(SealFailure::Stopped) => Err(ClientError::Contended),
        }
    }
}

/// Sends chunks until there are no more of them, and notes each that the node has.
async fn store(
    storing: &mut Storing<'_, u32>,
    chunks: &mut mpsc::Receiver<Chunk>,
    acknowledged: &mut journal::Stored,
    mut tell: impl FnMut() + Send,
) -> Result<(), ClientError> {
    while let Some(Chunk { number, bytes }) = chunks.recv().await {
        let Some(bytes) = bytes else {
            tell();
            continue;
        };
        if let Some(done) = storing.start(number, Codec::Raw, bytes).await? {
            acknowledged.note(done)?;
            tell();
        }
    }
    while let Some(done) = storing.done().await? {
        acknowledged.note(done)?;
        tell();
    }
    Ok(())
}

/// The links of an operation's record, from its kept manifest.
fn links_of(entry: &Entry) -> Result<Option<Vec<Cid>>, ClientError> {
    let manifest = entry.draft().submission.stored.map(|stored| stored.manifest);
    for block in entry.blocks() {
        let (cid, bytes) = block?;
        if Some(cid) == manifest {
            return Ok(Manifest::from_bytes(&bytes).ok().map(|manifest| manifest.links().to_vec()));
        }
    }
    Ok(None)
}

/// Seals a file chunk by chunk. A chunk is handed on only when its hash is in the journal, durably. Returns the attachment and its manifest.
fn seal_file(
    header: &Header,
    key: ContentKey,
    mut hashes: Hashes,
    stored: &BTreeSet<u32>,
    out: &mpsc::Sender<Chunk>,
) -> Result<(AttachmentKey, Vec<u8>), SealFailure> {
    let unreadable = |error| SealFailure::Seal(SealError::Read(error));
    let file = File::open(&header.path).map_err(unreadable)?;
    let state = || file.metadata().map(|data| (data.len(), journal::modified(&data))).map_err(unreadable);
    let before = state()?;
    let (mut sealer, mut number, mut is_over) = (AttachmentSealer::new(key, &file), 0_u32, false);
    while !is_over {
        let (mut ready, mut new) = (Vec::new(), Vec::new());
        while ready.len() < NOTED_TOGETHER {
            let Some((cid, bytes)) = sealer.next_chunk()? else {
                is_over = true;
                break;
            };
            let hash = hash_of(&cid).ok_or(SealFailure::Stopped)?;
            match hashes.get(number) {
                Some(known) if *known == hash => {}
                // This chunk stays here: its nonce was used for another content.
                Some(_) => return Err(SealFailure::Changed),
                None => new.push(hash),
            }
            let is_stored = new.is_empty() && stored.contains(&number);
            ready.push(Chunk { number, bytes: (!is_stored).then_some(bytes) });
            number += 1;
        }
        hashes.append(&new).map_err(SealFailure::File)?;
        for chunk in ready {
            out.blocking_send(chunk).map_err(|_| SealFailure::Stopped)?;
        }
    }
    // The file is shorter than before, or was changed while it was read.
    if number as usize != hashes.len() || state()? != before {
        return Err(SealFailure::Changed);
    }
    sealer.finish().filter(|(sealed, _)| sealed.length == header.size).ok_or(SealFailure::Changed)
}

fn hash_of(cid: &Cid) -> Option<[u8; 32]> {
    cid.hash().digest().try_into().ok()
}

#[cfg(test)]
mod tests;

//! Files to attach, and how they are sent, read and counted.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use emr_client::{
    Client, ClientError,
    flow::attach::{AttachmentContent, AttachmentSource},
    flow::upload::Written,
    verify::card::Card,
    verify::record::AuthenticRecord,
};
use emr_core::{Class, Record, RecordSlot, Value};

use crate::{
    proxy::{Fault, Proxy},
    scene::*,
};

pub(crate) const PUT_BLOCK: &str = "POST /v1/blocks?codec=raw";
/// The raw blocks of a small record: its wrap, its sealed part and its content.
pub(crate) const RECORD_BLOCKS: usize = 3;

pub(crate) fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        // xorshift: content that repeats nowhere.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// A file that is to be attached as number `number`.
pub(crate) fn source(number: usize, path: &Path) -> TestResult<AttachmentSource> {
    let key = format!("attachments.{number}").parse()?;
    Ok(AttachmentSource { key, media_type: "image/png".to_owned(), content: AttachmentContent::File(path.to_owned()) })
}

pub(crate) fn named(text: &str, files: &[PathBuf]) -> TestResult<(Record, Vec<AttachmentSource>)> {
    let mut record = record(text);
    let mut sources = Vec::new();
    for (number, path) in files.iter().enumerate() {
        let name = path.file_name().ok_or("a name")?.to_string_lossy().into_owned();
        record.insert(format!("attachments.{number}.name").parse()?, Value::Text(name))?;
        sources.push(source(number, path)?);
    }
    Ok((record, sources))
}

pub(crate) async fn upload(client: &Client, card: &Card, text: &str, files: &[PathBuf]) -> TestResult<Written> {
    let (record, sources) = named(text, files)?;
    Ok(client.upload_with(card, Class::Imaging, &record, sources, &|_| {}).await?)
}

pub(crate) async fn read(client: &Client, card: &Card, slot: RecordSlot) -> TestResult<AuthenticRecord> {
    let (read, _) = client.retrieve(card, slot, None).await?;
    Ok(read.unproven().clone())
}

/// An attachment, or a part of it, as it is written to a file.
pub(crate) async fn saved(
    client: &Client,
    record: &AuthenticRecord,
    number: usize,
    range: Option<Range<u64>>,
) -> Result<Vec<u8>, ClientError> {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("out");
    let size = client.save_attachment(record, number, range, &to, &|_| {}).await?;
    let bytes = fs::read(&to).expect("written");
    assert_eq!(size, bytes.len() as u64);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing unfinished is left");
    Ok(bytes)
}

/// Counts the raw blocks that are sent, and loses all requests for blocks after `most` of them.
pub(crate) fn count_blocks(proxy: &Proxy, most: usize) -> Arc<AtomicUsize> {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    proxy.set(move |request, answer| {
        if !request.starts_with(PUT_BLOCK) || !answer.is_empty() {
            return None;
        }
        if counted.load(Ordering::SeqCst) >= most {
            return Some(Fault::LoseRequest);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        None
    });
    sent
}

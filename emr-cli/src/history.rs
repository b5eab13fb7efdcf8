//! The versions of a record: `history`, `diff`, and `get --version`. Doctors and patients share this code.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use emr_client::{
    client::Client,
    flow::history::{HistoryEntry, RetrievedVersion, VersionProof},
    verify::card::Card,
};
use emr_core::{
    AccountIndex, Class, Reason, UnixTime, Version,
    diff::{Change, Diff, Moved},
    on_one_line,
};
use emr_durable::Disk;
use emr_rollup::operation::Kind;
use serde::Serialize;

use crate::{
    cards,
    failure::{Exit, Failure},
    options::{RecordName, parse_purpose},
    report::{Answer, Progress, print, to_stdout, written},
};

/// A doctor's command about a patient's record.
#[derive(Debug, clap::Args)]
pub struct OfPatient<T: clap::Args> {
    #[command(flatten)]
    what: T,
    /// The reason, if access has to be requested first
    #[arg(long, default_value = "treatment", value_parser = parse_purpose)]
    purpose: Reason,
    /// The patient's card, the first time
    #[arg(long, value_name = "CARD")]
    patient: Option<PathBuf>,
}

impl<T: clap::Args + Named> OfPatient<T> {
    /// The command, the patient's card and the reason.
    ///
    /// # Errors
    /// The same as [`cards::patient`].
    pub async fn open(self, client: &Client) -> Result<(T, Card, Option<Reason>), Failure> {
        let card = cards::patient(client, Some(self.what.record().patient), self.patient.as_deref()).await?;
        Ok((self.what, card, Some(self.purpose)))
    }
}

/// A command about one record.
pub trait Named {
    /// The record.
    fn record(&self) -> RecordName;
}

/// The arguments of `history`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// The record: PATIENT/SLOT
    record: RecordName,
}

/// The arguments of `diff`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Compared {
    /// The record: PATIENT/SLOT
    record: RecordName,
    /// The old version
    old: Version,
    /// The new version
    new: Version,
}

impl Named for Arguments {
    fn record(&self) -> RecordName {
        self.record
    }
}

impl Named for Compared {
    fn record(&self) -> RecordName {
        self.record
    }
}

/// The card of a patient who names a record of theirs.
///
/// # Errors
/// Fails if the record is another patient's.
pub fn own(client: &Client, name: RecordName) -> Result<Card, Failure> {
    let card = client.card();
    if card.account == Some(name.patient) {
        return Ok(card);
    }
    Err(Failure::new(Exit::Refused, format!("record {name} is not yours; `records` lists yours")))
}

#[derive(Debug, Serialize)]
struct HistoryAnswer {
    record: String,
    /// The last batch of the state against which it was checked.
    batch: u64,
    /// The newest first.
    revisions: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    version: u64,
    revision: u64,
    operation: Kind,
    class: Class,
    author: AccountIndex,
    signer: AccountIndex,
    batch: u64,
    time: UnixTime,
    /// Whether the node still serves the blocks.
    kept: bool,
    proof: &'static str,
}

impl Entry {
    fn of(entry: &HistoryEntry) -> Self {
        let revision = &entry.revision;
        Self {
            version: revision.leaf.version.get(),
            revision: revision.leaf.revision.get(),
            operation: revision.kind,
            class: revision.leaf.class,
            author: revision.leaf.author,
            signer: revision.signer,
            batch: revision.batch,
            time: revision.time,
            kept: revision.stored.is_some(),
            proof: proof(entry.proof),
        }
    }
}

/// The name of a proof.
const fn proof(proof: VersionProof) -> &'static str {
    match proof {
        VersionProof::State => "state",
        VersionProof::AuditChain => "audit-chain",
        VersionProof::Authorship => "authorship",
        VersionProof::Unproved => "unproved",
    }
}

impl Answer for HistoryAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let head = ["version", "operation", "class", "author", "signer", "batch", "time", "blocks", "proof"];
        let [version, operation, class, author, signer, batch, time, blocks, by] = head;
        writeln!(
            out,
            "{version:>7} {operation:<12} {class:<20} {author:>7} {signer:>7} {batch:>6} {time:<20} {blocks:<7} {by}"
        )?;
        for entry in &self.revisions {
            let Entry { version, class, author, signer, batch, proof, .. } = entry;
            let (operation, time) = (entry.operation.to_string(), written(entry.time));
            let blocks = if entry.kept { "kept" } else { "removed" };
            writeln!(
                out,
                "{version:>7} {operation:<12} {class:<20} {author:>7} {signer:>7} {batch:>6} {time:<20} {blocks:<7} {proof}"
            )?;
        }
        let first = self.revisions.last().map_or(0, |oldest| oldest.revision);
        let listed = self.revisions.len() as u64;
        let all = self.revisions.first().map_or(0, |newest| newest.revision);
        if first > 1 || listed < all {
            writeln!(out, "{} more revisions are in classes that you may not read now", all - listed)?;
        }
        Ok(())
    }
}

impl Arguments {
    /// Lists the versions.
    ///
    /// # Errors
    /// Fails if access is refused, or if the list does not hold.
    pub async fn run(self, client: &Client, card: &Card, reason: Option<Reason>, json: bool) -> Result<(), Failure> {
        let progress = Progress::start("fetching and checking the versions");
        let (history, _) = client.history(card, self.record.slot, reason).await?;
        drop(progress);
        let revisions = history.entries.iter().map(Entry::of).collect();
        print(&HistoryAnswer { record: self.record.to_string(), batch: history.batch, revisions }, json)
    }
}

#[derive(Debug, Serialize)]
struct DiffAnswer {
    record: String,
    old: u64,
    new: u64,
    changes: Vec<Change>,
    moved: Vec<Moved>,
    /// Whether the two documents are the same, byte for byte.
    same_document: bool,
}

impl Answer for DiffAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for change in &self.changes {
            match change {
                Change::Removed { key, old } => writeln!(out, "- {key} {}", on_one_line(old))?,
                Change::Added { key, new } => writeln!(out, "+ {key} {}", on_one_line(new))?,
                Change::Changed { key, old_key, old, new } => {
                    writeln!(out, "- {old_key} {}", on_one_line(old))?;
                    writeln!(out, "+ {key} {}", on_one_line(new))?;
                }
                _ => writeln!(out, "? {}", change.key())?,
            }
        }
        let Self { old, new, moved, .. } = self;
        match (self.changes.len(), moved.len()) {
            (0, 0) if self.same_document => writeln!(out, "versions {old} and {new} are the same"),
            (0, 0) => {
                writeln!(out, "versions {old} and {new} have the same fields; their documents are written differently")
            }
            (_, 0) => Ok(()),
            (_, moved) => writeln!(out, "{moved} items of arrays have other numbers; --json lists them"),
        }
    }
}

impl Compared {
    /// Reads both versions and shows what changed.
    ///
    /// # Errors
    /// Fails if access is refused, or if a version does not verify.
    pub async fn run(self, client: &Client, card: &Card, reason: Option<Reason>, json: bool) -> Result<(), Failure> {
        let progress = Progress::start("fetching and checking two versions");
        let (old, _) = client.retrieve_version(card, self.record.slot, self.old, reason).await?;
        let (new, _) = client.retrieve_version(card, self.record.slot, self.new, reason).await?;
        drop(progress);
        let (old, new) = (old.record.record(), new.record.record());
        let Diff { changes, moved } = Diff::between(old, new);
        let same_document = old.original() == new.original();
        let record = self.record.to_string();
        print(&DiffAnswer { record, old: self.old.get(), new: self.new.get(), changes, moved, same_document }, json)
    }
}

#[derive(Debug, Serialize)]
struct VersionAnswer {
    record: String,
    version: u64,
    class: Class,
    author: AccountIndex,
    batch: u64,
    time: UnixTime,
    proof: &'static str,
    fields: usize,
    record_cid: String,
}

impl Answer for VersionAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { record, version, class, author, fields, record_cid, .. } = self;
        writeln!(
            out,
            "record {record} version {version} ({class}) by account {author}, {fields} fields, {record_cid}"
        )?;
        writeln!(out, "verified: blocks, author's signature, and that it is this version (proof: {})", self.proof)
    }
}

/// Reads one version.
///
/// # Errors
/// Fails if access is refused, or if the version does not verify.
pub async fn fetch(
    client: &Client,
    card: &Card,
    (name, version): (RecordName, Version),
    reason: Option<Reason>,
) -> Result<RetrievedVersion, Failure> {
    let progress = Progress::start("fetching and checking the version");
    let (retrieved, _) = client.retrieve_version(card, name.slot, version, reason).await?;
    drop(progress);
    Ok(retrieved)
}

/// Writes a version's document to a file or stdout.
///
/// # Errors
/// Fails if the version contradicts its document, or if the document cannot be written.
pub async fn output(
    client: &Client,
    (name, retrieved): (RecordName, &RetrievedVersion),
    file: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let RetrievedVersion { record, revision, proof: by } = retrieved;
    let document = client.document(record).await?;
    let Some(file) = file else { return to_stdout(|out| out.write_all(&document)) };
    Disk::default()
        .replace(file, &document)
        .map_err(|error| Failure::new(Exit::Storage, format!("cannot write {}: {error}", file.display())))?;
    let answer = VersionAnswer {
        record: name.to_string(),
        version: record.authorship().version.get(),
        class: record.authorship().class,
        author: record.author(),
        batch: revision.batch,
        time: revision.time,
        proof: proof(*by),
        fields: record.record().fields().len(),
        record_cid: record.manifest().to_string(),
    };
    print(&answer, json)
}

#[cfg(test)]
mod tests {
    use emr_core::Value;

    use super::*;

    #[test]
    fn a_text_of_a_record_does_not_reach_the_terminal_raw() -> Result<(), Box<dyn std::error::Error>> {
        let new = Value::Text("a\u{1b}[2J\nb\u{202e}c \u{e9}'".to_owned());
        let (record, moved) = ("1/0".to_owned(), Vec::new());
        let changes = vec![Change::Added { key: "P.a".parse()?, new }];
        let mut out = Vec::new();
        DiffAnswer { record, old: 1, new: 2, changes, moved, same_document: false }.write(&mut out)?;
        assert_eq!(String::from_utf8(out)?, "+ P.a a\\u{1b}[2J\\nb\\u{202e}c \u{e9}'\n");
        Ok(())
    }
}

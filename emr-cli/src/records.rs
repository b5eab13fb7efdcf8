//! Writes and reads records: the code that doctors and patients share.

use emr_api::RecordSummary;
use std::{io::Write, path::Path, time::Duration};

use emr_client::{
    client::Client,
    flow::attach::{AttachmentContent, AttachmentSource},
    flow::retrieve::Retrieved,
    flow::submit::{Acknowledged, Fate},
    flow::upload::Written,
    verify::card::Card,
};
use emr_core::{
    AccountIndex, Class, Reason, Record, RecordStatus, UnixTime,
    fhir::{self, Embedded, FhirError},
};
use emr_durable::Disk;
use emr_rollup::operation::{Kind, OperationId};
use serde::Serialize;

use crate::{
    failure::{Exit, Failure, one_line},
    input,
    options::RecordName,
    report::{Answer, Progress, print, to_stdout},
};

/// How often a waiting command asks the node.
pub(crate) const POLL: Duration = Duration::from_millis(500);

/// How many problems of a document are written to stderr. `emr-doctor validate` prints all.
const PROBLEMS: usize = 20;

/// Reads a FHIR R4 document from a file, and reports its first problems on stderr.
///
/// # Errors
/// Fails if the file cannot be read, is too large, or is not FHIR.
pub fn read_fhir(file: &Path) -> Result<Record, Failure> {
    let document = input::read("the document", file, fhir::MAX_BYTES as u64)?;
    let record = fhir::import(&document).map_err(|error| not_fhir(file, &error))?;
    report_problems(file, &document);
    Ok(record)
}

/// A FHIR document that is to be stored: its embedded files are stored beside it.
#[derive(Debug)]
pub struct Document {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its record, without the fields of its embedded files.
    pub record: Record,
    /// Its embedded files.
    pub embedded: Vec<AttachmentSource>,
}

impl Document {
    /// Reads a FHIR R4 document from a file, and reports its first problems on stderr.
    ///
    /// # Errors
    /// The same as [`read_fhir`].
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let bytes = input::read("the document", file, fhir::MAX_BYTES as u64)?;
        let (record, embedded) = take_apart(&bytes).map_err(|error| not_fhir(file, &error))?;
        report_problems(file, &bytes);
        Ok(Self { bytes, record, embedded })
    }
}

/// The record of a document, without the fields of its embedded files, and these files.
///
/// # Errors
/// Returns [`FhirError`] if the document is not FHIR.
pub(crate) fn take_apart(document: &[u8]) -> Result<(Record, Vec<AttachmentSource>), FhirError> {
    let (record, embedded) = fhir::read(document)?.into_parts()?;
    let source = |Embedded { key, media_type, content }| AttachmentSource {
        key,
        media_type,
        content: AttachmentContent::Bytes(content),
    };
    Ok((record, embedded.into_iter().map(source).collect()))
}

fn not_fhir(file: &Path, error: &FhirError) -> Failure {
    Failure::new(Exit::Input, format!("{}: {}", file.display(), one_line(error)))
}

pub(crate) fn report_problems(file: &Path, document: &[u8]) {
    let name = file.display();
    if let Ok(problems) = fhir::validate(document)
        && problems.total > 0
    {
        eprintln!("{name}: {} places do not conform to FHIR R4; the record keeps them unchanged", problems.total);
        for problem in problems.first.iter().take(PROBLEMS) {
            eprintln!("  {problem}");
        }
        if problems.total > PROBLEMS {
            eprintln!("  and {} more: `emr-doctor validate` prints all", problems.total - PROBLEMS);
        }
    }
}

/// An acknowledged operation, and the batch that settled it if the command waited.
#[derive(Debug, Serialize)]
pub struct Promise {
    operation: OperationId,
    acknowledged: UnixTime,
    settle_by: UnixTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u64>,
    /// L1 holds its effect, and the node names no batch.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    in_force: bool,
}

impl Promise {
    /// Writes one line.
    ///
    /// # Errors
    /// Returns the writer's error.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let operation = &self.operation;
        match self.batch {
            Some(batch) => writeln!(out, "  settled in batch {batch} (operation {operation})"),
            None if self.in_force => writeln!(out, "  in force on L1 (operation {operation})"),
            None => writeln!(out, "  acknowledged; in force when a batch settles it (operation {operation})"),
        }
    }
}

/// With `wait`, waits until an operation is settled.
///
/// # Errors
/// Fails if the node returns the operation, or does not answer.
pub async fn promise(client: &Client, acknowledged: &Acknowledged, wait: bool) -> Result<Promise, Failure> {
    let (mut batch, mut in_force) = (None, false);
    if wait {
        let progress = Progress::start("waiting for a batch");
        let fate = client.wait_for(acknowledged.operation, POLL).await;
        drop(progress);
        match fate? {
            Fate::Settled { batch: settled } => batch = Some(settled),
            Fate::Returned { reason } => {
                let kept = match acknowledged.signed.operation.action.kind() {
                    Kind::PutRecord => "; the record is kept here: see `outbox list`",
                    Kind::Rekey => "; the record is as before: run `rekey` again",
                    _ => "",
                };
                return Err(Failure::new(Exit::Refused, format!("the operation was returned: {reason}{kept}")));
            }
            other => in_force = other == Fate::InForce,
        }
    }
    let receipt = &acknowledged.receipt;
    Ok(Promise {
        operation: acknowledged.operation,
        acknowledged: receipt.acknowledged,
        settle_by: receipt.settle_by,
        batch,
        in_force,
    })
}

/// The answer about a written record.
#[derive(Debug, Serialize)]
pub struct WriteAnswer {
    record: String,
    version: u64,
    class: Class,
    record_cid: String,
    #[serde(flatten)]
    promise: Promise,
}

impl Answer for WriteAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "record {} version {} ({}), {}", self.record, self.version, self.class, self.record_cid)?;
        self.promise.write(out)
    }
}

/// Prints the answer about a written record.
///
/// # Errors
/// The same as [`promise`].
pub async fn written(client: &Client, written: &Written, wait: bool, json: bool) -> Result<(), Failure> {
    print(&answer(client, written, wait).await?, json)
}

/// Makes the answer about a written record.
///
/// # Errors
/// The same as [`promise`].
pub async fn answer(client: &Client, written: &Written, wait: bool) -> Result<WriteAnswer, Failure> {
    Ok(WriteAnswer {
        record: RecordName { patient: written.patient, slot: written.slot }.to_string(),
        version: written.version.get(),
        class: written.class,
        record_cid: written.record_cid.to_string(),
        promise: promise(client, &written.acknowledged, wait).await?,
    })
}

#[derive(Debug, Serialize)]
struct Deleted {
    record: String,
    #[serde(flatten)]
    promise: Promise,
}

impl Answer for Deleted {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "record {} deleted", self.record)?;
        self.promise.write(out)
    }
}

/// Deletes a record and prints the answer.
///
/// # Errors
/// Fails if the rules or the node refuse.
pub async fn delete(client: &Client, card: &Card, name: RecordName, wait: bool, json: bool) -> Result<(), Failure> {
    let acknowledged = client.delete(card, name.slot).await?;
    let promise = promise(client, &acknowledged, wait).await?;
    print(&Deleted { record: name.to_string(), promise }, json)
}

#[derive(Debug, Serialize)]
struct Listed {
    record: String,
    class: Class,
    status: RecordStatus,
    version: u64,
    author: AccountIndex,
    /// The hospital that the patient or the author named to keep the record.
    custodian: Option<AccountIndex>,
    settled: bool,
}

#[derive(Debug, Serialize)]
struct List {
    records: Vec<Listed>,
}

impl Answer for List {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.records.is_empty() {
            return writeln!(out, "no records that you may know of");
        }
        let head = ["record", "class", "status", "version", "author", "custodian"];
        let [record, class, status, version, author, custodian] = head;
        writeln!(out, "{record:<10} {class:<20} {status:<10} {version:>7} {author:>7} {custodian:>9}  state")?;
        for Listed { record, class, status, version, author, custodian, settled } in &self.records {
            let state = if *settled { "settled" } else { "waits for a batch" };
            let custodian = custodian.map_or_else(|| "-".to_owned(), |custodian| custodian.to_string());
            writeln!(out, "{record:<10} {class:<20} {status:<10} {version:>7} {author:>7} {custodian:>9}  {state}")?;
        }
        Ok(())
    }
}

/// Prints a list of records.
///
/// # Errors
/// Fails if stdout is closed.
pub fn list(patient: AccountIndex, records: &[RecordSummary], json: bool) -> Result<(), Failure> {
    let records = records
        .iter()
        .map(|summary| Listed {
            record: RecordName { patient, slot: summary.slot }.to_string(),
            class: summary.leaf.class,
            status: summary.leaf.status,
            version: summary.leaf.version.get(),
            author: summary.leaf.author,
            custodian: summary.leaf.custodian,
            settled: summary.settled,
        })
        .collect();
    print(&List { records }, json)
}

#[derive(Debug, Serialize)]
struct Checked {
    record: String,
    verified: bool,
    batch: Option<u64>,
    author: AccountIndex,
    class: Class,
    version: u64,
    fields: usize,
    record_cid: String,
}

impl Answer for Checked {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { record, author, class, version, fields, record_cid, .. } = self;
        writeln!(
            out,
            "record {record} version {version} ({class}) by account {author}, {fields} fields, {record_cid}"
        )?;
        match self.batch {
            Some(batch) => writeln!(
                out,
                "verified: blocks, author's signature, record leaf, path to the state root of batch {batch}, state root on L1"
            ),
            None => writeln!(out, "not settled yet: the author's signature holds, the state does not hold it yet"),
        }
    }
}

/// Reads a record. With `reason`, requests access first if necessary.
///
/// # Errors
/// Fails if access is refused, or if the record does not verify.
pub async fn fetch(
    client: &Client,
    card: &Card,
    name: RecordName,
    reason: Option<Reason>,
) -> Result<Retrieved, Failure> {
    let progress = Progress::start("fetching and checking");
    let (retrieved, requested) = client.retrieve(card, name.slot, reason).await?;
    drop(progress);
    if let Some(requested) = requested {
        let class = requested.purpose.class;
        eprintln!("requested access to {class} records; the patient sees it in their audit chain");
    }
    Ok(retrieved)
}

/// Prints a warning on stderr if the record is not settled yet.
pub fn warn_if_unsettled(name: RecordName, retrieved: &Retrieved) {
    if matches!(retrieved, Retrieved::Unsettled(_)) {
        eprintln!(
            "record {name} is not settled yet: its signature holds, but do not rely on it until a batch has taken it"
        );
    }
}

/// Writes a record's document to a file or stdout. Prints a warning on stderr if the record is not settled yet.
///
/// # Errors
/// Fails if the record contradicts its document, or if the document cannot be written.
pub async fn output(
    client: &Client,
    (name, retrieved): (RecordName, &Retrieved),
    file: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let document = client.document(retrieved.unproven()).await?;
    warn_if_unsettled(name, retrieved);
    match file {
        Some(file) => {
            Disk::default()
                .replace(file, &document)
                .map_err(|error| Failure::new(Exit::Storage, format!("cannot write {}: {error}", file.display())))?;
            checked(name, retrieved, json)
        }
        None => to_stdout(|out| out.write_all(&document)),
    }
}

/// Prints what was verified of a record.
///
/// # Errors
/// Fails if stdout is closed.
pub fn checked(name: RecordName, retrieved: &Retrieved, json: bool) -> Result<(), Failure> {
    let record = retrieved.unproven();
    let batch = match retrieved {
        Retrieved::Verified(verified) => Some(verified.batch()),
        Retrieved::Unsettled(_) => None,
    };
    let answer = Checked {
        record: name.to_string(),
        verified: batch.is_some(),
        batch,
        author: record.author(),
        class: record.authorship().class,
        version: record.authorship().version.get(),
        fields: record.record().fields().len(),
        record_cid: record.manifest().to_string(),
    };
    print(&answer, json)
}

/// Checks that the settled state holds the record.
///
/// # Errors
/// Fails with [`Exit::Unverified`] if the record is not settled yet.
pub fn require_settled(name: RecordName, retrieved: &Retrieved) -> Result<(), Failure> {
    match retrieved {
        Retrieved::Verified(_) => Ok(()),
        Retrieved::Unsettled(_) => {
            let message = format!("record {name} is not settled yet: verify it again when a batch has taken it");
            Err(Failure::new(Exit::Unverified, message))
        }
    }
}

//! Files beside a record: attached by `upload` and `edit`, listed by `attachments`, and read by `get --attachment`.

use std::{
    fs::File,
    io::{BufReader, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use clap::Args;
use emr_client::{
    client::Client,
    flow::attach::{AttachmentContent, AttachmentSource, Transfer},
    flow::history::RetrievedVersion,
    flow::next_version::EditClass,
    flow::retrieve::Retrieved,
    flow::upload::Written,
    verify::attached::{Attached, clean_name, name_key},
    verify::card::Card,
    verify::record::AuthenticRecord,
};
use emr_core::{
    Class, Key, Record, Value,
    dicom::{self, DicomError},
    excerpt,
};
use serde::Serialize;

use crate::{
    failure::{Exit, Failure, OrExit, one_line},
    history,
    options::RecordName,
    records::{self, Document},
    report::{Answer, Progress, print},
};

/// Media types by the ending of a file's name, as IANA registered them. Nobody looks into the file.
const MEDIA_TYPES: [(&str, &str); 19] = [
    ("avi", "video/vnd.avi"),
    ("bmp", "image/bmp"),
    ("csv", "text/csv"),
    ("dcm", DICOM),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("txt", "text/plain"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];
const DICOM: &str = "application/dicom";
/// The media type of all other files.
const ANY_BYTES: &str = "application/octet-stream";

fn media_type(file: &Path) -> &'static str {
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    MEDIA_TYPES.iter().find(|(known, _)| *known == ending).map_or(ANY_BYTES, |(_, media_type)| media_type)
}

/// Files to store beside a new record.
#[derive(Debug, Args)]
pub struct Attach {
    /// A file to store beside the document, such as an image; may be given several times. If the command is interrupted, run it again
    #[arg(long = "attach", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Files to store beside a record's next version.
#[derive(Debug, Args)]
pub struct Change {
    #[command(flatten)]
    attach: Attach,
    /// Take over the files of the version before; needs read access
    #[arg(long, conflicts_with = "move_to")]
    keep_attachments: bool,
}

/// Which part of a record to read.
#[derive(Debug, Args)]
pub struct Part {
    /// Read the file with this number, as `attachments` lists it, in place of the document
    #[arg(long, value_name = "N", requires = "output")]
    attachment: Option<usize>,
    /// Only these bytes of the file, counted from 0, both included
    #[arg(long, value_name = "FIRST-LAST", requires = "attachment", value_parser = parse_range)]
    range: Option<Range<u64>>,
}

/// Reads `FIRST-LAST`.
fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (first, last) = text.split_once('-').ok_or("give it as FIRST-LAST, such as 0-1023")?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is not a number of bytes"));
    let (first, last) = (number(first)?, number(last)?);
    match last.checked_add(1) {
        Some(end) if first <= last => Ok(first..end),
        _ => Err("the last byte is before the first one".to_owned()),
    }
}

/// Adds files to a record: their names now, and their content when it is sent. `first` is the number of the first.
fn add(record: &mut Record, first: usize, files: &[PathBuf]) -> Result<Vec<AttachmentSource>, Failure> {
    let sources = files.iter().zip(first..).map(|(file, number)| {
        let key = numbered(number)?;
        let name = file.file_name().and_then(|name| clean_name(&name.to_string_lossy()));
        if let Some(name) = name {
            name_it(record, &key, name)?;
        }
        let media_type = media_type(file);
        if media_type == DICOM {
            describe(record, &key, file)?;
        }
        let content = AttachmentContent::File(file.clone());
        Ok(AttachmentSource { key, media_type: media_type.to_owned(), content })
    });
    sources.collect()
}

fn numbered(number: usize) -> Result<Key, Failure> {
    Key::new(format!("{}.{number}", Key::ATTACHMENTS)).or_exit(Exit::Internal)
}

fn name_it(record: &mut Record, key: &Key, name: String) -> Result<(), Failure> {
    let Some(key) = name_key(key) else { return Ok(()) };
    record.insert(key, Value::Text(name)).map(drop).or_exit(Exit::Input)
}

/// Adds what a DICOM file's header says of study, series and image, and says whom it names: nobody else compares that with the record's patient. A file
/// that cannot be read so is stored without a description.
fn describe(record: &mut Record, key: &Key, file: &Path) -> Result<(), Failure> {
    let name = file.display();
    let described =
        File::open(file).map_err(DicomError::from).and_then(|opened| dicom::describe(BufReader::new(opened)));
    let description = match described {
        Ok(description) => description,
        Err(error) => {
            eprintln!("{name}: stored without a description: {}", one_line(&error));
            return Ok(());
        }
    };
    let prefix = Key::new(format!("{key}.dicom")).or_exit(Exit::Internal)?;
    for (key, value) in description.fields(&prefix).or_exit(Exit::Internal)? {
        record.insert(key, value).map(drop).or_exit(Exit::Input)?;
    }
    let patient = description.patient();
    let said = |text: &Option<String>| text.as_deref().map_or_else(|| "no one".to_owned(), |text| excerpt(text, 100));
    eprintln!(
        "{name} names {} (patient id: {}): make sure that this is the patient",
        said(&patient.name),
        said(&patient.id)
    );
    Ok(())
}

/// Adds the files of the version before that were beside its document, with all that its record says of them. What was in its document is in the new
/// document, or is no longer wanted.
fn keep(record: &mut Record, old: &Record, before: &[Attached]) -> Result<Vec<AttachmentSource>, Failure> {
    let kept = before.iter().filter(|file| file.key.is_beside_document()).zip(0..).map(|(file, number)| {
        let key = numbered(number)?;
        let prefix = format!("{}.", file.key);
        for (said, value) in old.fields().range(file.key.clone()..) {
            let Some(element) = said.as_str().strip_prefix(&prefix) else {
                if said.as_str().starts_with(file.key.as_str()) { continue } else { break }
            };
            // The name is cleaned below, and a link would be another file.
            if element != "name" && !matches!(value, Value::Attachment(_)) {
                let key = Key::new(format!("{key}.{element}")).or_exit(Exit::Input)?;
                record.insert(key, value.clone()).map(drop).or_exit(Exit::Input)?;
            }
        }
        if let Some(name) = file.name.clone() {
            name_it(record, &key, name)?;
        }
        let content = AttachmentContent::Sealed(file.sealed.clone());
        Ok(AttachmentSource { key, media_type: file.media_type.clone(), content })
    });
    kept.collect()
}

/// Shows how far a transfer is.
fn shown(progress: &Progress, what: &str, Transfer { number, done, size, pause }: Transfer) {
    if let Some(pause) = pause {
        // Also where no terminal shows the progress: somebody waits for this.
        eprintln!(
            "the hospital has no room for attachment {number} now; trying again in {} s. Nothing is lost if you end this and run it again today",
            pause.as_secs()
        );
        return;
    }
    let percent = done.saturating_mul(100).checked_div(size).unwrap_or(100);
    progress.say(format!("{what} attachment {number}: {} of {} MiB, {percent} %", done >> 20, size >> 20));
}

impl Attach {
    /// Writes a new record with these files.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or like every write.
    pub async fn upload(
        &self,
        client: &Client,
        card: &Card,
        class: Class,
        document: Document,
    ) -> Result<Written, Failure> {
        let Document { mut record, embedded: mut sources, .. } = document;
        sources.extend(add(&mut record, 0, &self.files)?);
        let progress = (!sources.is_empty()).then(|| Progress::start("sending attachments"));
        let told = |transfer| progress.iter().for_each(|progress| shown(progress, "sending", transfer));
        Ok(client.upload_with(card, class, &record, sources, &told).await?)
    }
}

impl Change {
    /// Writes a record's next version with these files.
    ///
    /// # Errors
    /// Fails if a file cannot be read, if the version before cannot be read and its files are wanted, or like every write.
    pub async fn edit(
        &self,
        client: &Client,
        card: &Card,
        (name, class): (RecordName, EditClass),
        document: Document,
    ) -> Result<Written, Failure> {
        let Document { mut record, embedded: mut sources, .. } = document;
        let mut kept = Vec::new();
        if self.keep_attachments {
            let (before, _) = client.retrieve(card, name.slot, None).await?;
            let before = before.unproven();
            kept = keep(&mut record, before.record(), before.attachments())?;
        } else if self.attach.files.is_empty() {
            warn_of_left_behind(client, card, name).await;
        }
        let first = kept.len();
        sources.extend(kept);
        sources.extend(add(&mut record, first, &self.attach.files)?);
        let progress = (!sources.is_empty()).then(|| Progress::start("sending attachments"));
        let told = |transfer| progress.iter().for_each(|progress| shown(progress, "sending", transfer));
        Ok(client.edit_with(card, (name.slot, class), &record, sources, &told).await?)
    }
}

/// Says if the version before has files that the new version will not have. A writer who may not read does not learn it.
async fn warn_of_left_behind(client: &Client, card: &Card, name: RecordName) {
    // Nothing is requested for this, and the write does not depend on it.
    let Ok((before, _)) = client.retrieve(card, name.slot, None).await else { return };
    let count = before.unproven().attachments().iter().filter(|file| file.key.is_beside_document()).count();
    if count > 0 {
        eprintln!(
            "the version before has {count} attachments, which stay with it alone; --keep-attachments takes them over"
        );
    }
}

#[derive(Debug, Serialize)]
struct Listed {
    number: usize,
    key: String,
    name: Option<String>,
    media_type: String,
    size: u64,
}

#[derive(Debug, Serialize)]
struct List {
    record: String,
    attachments: Vec<Listed>,
}

impl Answer for List {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.attachments.is_empty() {
            return writeln!(out, "record {} has no attachments", self.record);
        }
        for Listed { number, key, name, media_type, size } in &self.attachments {
            let name = name.as_ref().unwrap_or(key);
            writeln!(out, "{number:>3}  {size:>13} bytes  {media_type:<24} {name}")?;
        }
        Ok(())
    }
}

/// Prints the list of a record's files.
///
/// # Errors
/// Fails if stdout is closed.
pub fn list(name: RecordName, retrieved: &Retrieved, json: bool) -> Result<(), Failure> {
    let listed = |(number, file): (usize, &Attached)| Listed {
        number,
        key: file.key.to_string(),
        name: file.name.clone(),
        // The author wrote it, and a terminal obeys control characters.
        media_type: file.media_type.chars().filter(|c| emr_core::is_harmless(*c)).take(100).collect(),
        size: file.sealed.length,
    };
    let attachments = retrieved.unproven().attachments().iter().enumerate().map(listed).collect();
    records::warn_if_unsettled(name, retrieved);
    print(&List { record: name.to_string(), attachments }, json)
}

#[derive(Debug, Serialize)]
struct Saved {
    record: String,
    attachment: usize,
    bytes: u64,
    file: String,
}

impl Answer for Saved {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { record, attachment, bytes, file } = self;
        writeln!(out, "attachment {attachment} of record {record}: {bytes} bytes in {file}")
    }
}

impl Part {
    /// Writes what was asked for of a record: its document, or a file or a part of it.
    ///
    /// # Errors
    /// Fails if there is no such file, if it does not verify, or if the output cannot be written.
    pub async fn output(
        &self,
        client: &Client,
        (name, retrieved): (RecordName, &Retrieved),
        output: Option<&Path>,
        json: bool,
    ) -> Result<(), Failure> {
        let (Some(attachment), Some(file)) = (self.attachment, output) else {
            return records::output(client, (name, retrieved), output, json).await;
        };
        self.save(client, (name, retrieved.unproven()), (attachment, file), json).await?;
        records::warn_if_unsettled(name, retrieved);
        Ok(())
    }

    /// The same for an earlier version.
    ///
    /// # Errors
    /// The same as [`Self::output`].
    pub async fn output_version(
        &self,
        client: &Client,
        (name, retrieved): (RecordName, &RetrievedVersion),
        output: Option<&Path>,
        json: bool,
    ) -> Result<(), Failure> {
        match (self.attachment, output) {
            (Some(attachment), Some(file)) => {
                self.save(client, (name, &retrieved.record), (attachment, file), json).await
            }
            _ => history::output(client, (name, retrieved), output, json).await,
        }
    }

    async fn save(
        &self,
        client: &Client,
        (name, record): (RecordName, &AuthenticRecord),
        (attachment, file): (usize, &Path),
        json: bool,
    ) -> Result<(), Failure> {
        let progress = Progress::start("fetching the attachment");
        let told = |transfer| shown(&progress, "fetching", transfer);
        let bytes = client.save_attachment(record, attachment, self.range.clone(), file, &told).await?;
        drop(progress);
        let file = file.display().to_string();
        print(&Saved { record: name.to_string(), attachment, bytes, file }, json)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use emr_client::verify::attached::attached;
    use emr_core::Attachment;
    use emr_crypto::AttachmentKey;

    use super::*;

    #[test]
    fn ranges_have_both_ends() {
        assert_eq!(parse_range("0-0"), Ok(0..1));
        assert_eq!(parse_range("5-9"), Ok(5..10));
        for wrong in ["", "5", "-", "5-", "-5", "9-5", "a-b", "0-18446744073709551615", "1-2-3"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn media_types_follow_from_the_ending_alone() {
        assert_eq!(media_type(Path::new("a/scan.DCM")), "application/dicom");
        assert_eq!(media_type(Path::new("scan.dcm.exe")), ANY_BYTES);
        assert_eq!(media_type(Path::new("scan")), ANY_BYTES);
        assert!(MEDIA_TYPES.is_sorted());
    }

    /// A kept file has the study, series and image that its header said, also under another number.
    #[test]
    fn kept_files_keep_what_is_said_of_them() -> Result<(), Box<dyn std::error::Error>> {
        let sealed = |content: &[u8]| AttachmentKey::seal(content, |_, _| Ok::<_, Infallible>(()));
        let (photo, scan) = (sealed(b"photo")?, sealed(b"scan")?);
        let text = |text: &str| Value::Text(text.to_owned());
        let mut old = Record::new();
        for (key, file) in [("Patient.photo.0.data", &photo), ("attachments.12", &scan), ("attachments.1", &photo)] {
            let (link, size) = (file.manifest, file.length);
            old.attach(key.parse()?, Attachment { link, size, media_type: "application/dicom".to_owned() })?;
        }
        for (key, value) in [
            ("attachments.12.dicom.study", "1.2.3"),
            ("attachments.12.name", "../sc\u{202e}an.dcm"),
            ("attachments.120.dicom.study", "of no file"),
            ("attachments.1.dicom.series.0", "1.2.4"),
        ] {
            old.insert(key.parse()?, text(value))?;
        }
        let before = attached(&old, &[photo, scan])?;
        let mut record = Record::new();
        let kept = keep(&mut record, &old, &before)?;
        assert_eq!(kept.iter().map(|file| file.key.as_str()).collect::<Vec<_>>(), ["attachments.0", "attachments.1"]);
        let said: Vec<(&str, &Value)> = record.fields().iter().map(|(key, value)| (key.as_str(), value)).collect();
        let expected = [
            ("attachments.0.dicom.series.0", &text("1.2.4")),
            ("attachments.1.dicom.study", &text("1.2.3")),
            ("attachments.1.name", &text("scan.dcm")),
        ];
        assert_eq!(said, expected);
        Ok(())
    }

    /// Files keep their names without their folders, and are counted on from those that are kept.
    #[test]
    fn files_are_added_to_a_record() -> Result<(), Box<dyn std::error::Error>> {
        let mut record = Record::new();
        let files = ["/home/x/scan.dcm".into(), "report.pdf".into()];
        let sources = add(&mut record, 3, &files)?;
        let added: Vec<_> = sources.iter().map(|source| (source.key.as_str(), &*source.media_type)).collect();
        assert_eq!(added, [("attachments.3", "application/dicom"), ("attachments.4", "application/pdf")]);
        assert_eq!(record.get(&"attachments.3.name".parse()?), Some(&Value::Text("scan.dcm".to_owned())));
        Ok(())
    }
}

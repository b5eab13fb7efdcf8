//! Exports a patient's settled records as a folder of FHIR Bulk Data (NDJSON).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use emr_client::{
    ClientError, ErrorKind,
    client::Client,
    flow::retrieve::{ReadError, Retrieved},
    verify::{card::Card, light::VerifiedLeaves},
};
use emr_core::{
    AccountIndex, Reason, RecordStatus,
    fhir::{self, ExportError},
};
use emr_durable::Disk;
use serde::Serialize;
use serde_json::json;

use crate::{
    failure::{Exit, Failure, OrExit, one_line},
    options::RecordName,
    records,
    report::{Answer, Progress, print, written},
};

/// The manifest's name.
const MANIFEST: &str = "export.json";
/// The name of the file with the records that were not exported. Its lines are OperationOutcomes.
const ERRORS: &str = "OperationOutcome.ndjson";

/// An export of all records.
#[derive(Debug)]
pub(crate) struct Export {
    /// The folder for the files.
    pub(crate) ndjson: PathBuf,
    /// Whether files of an earlier export are replaced.
    pub(crate) overwrite: bool,
}

/// A file of the export, as the manifest names it.
#[derive(Clone, Debug, Serialize)]
struct Output {
    #[serde(rename = "type")]
    resource_type: String,
    url: String,
    count: u64,
}

/// The output manifest of FHIR Bulk Data Access 2.0.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    transaction_time: String,
    request: String,
    requires_access_token: bool,
    output: Vec<Output>,
    error: Vec<Output>,
}

/// A record that is not in the files.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    pub(crate) record: String,
    pub(crate) reason: String,
    /// Whether something of it did not verify.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unverified: bool,
}

#[derive(Debug, Serialize)]
struct Summary {
    batch: u64,
    records: usize,
    output: Vec<Output>,
    refused: Vec<Refused>,
}

impl Answer for Summary {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for Output { url, count, .. } in &self.output {
            writeln!(out, "{url}: {count} resources")?;
        }
        for Refused { record, reason, .. } in &self.refused {
            writeln!(out, "not exported: record {record}: {reason}")?;
        }
        let (batch, records, refused) = (self.batch, self.records, self.refused.len());
        writeln!(out, "after batch {batch}, records exported: {records}, not exported: {refused}")
    }
}

impl Export {
    /// Exports, and prints the answer.
    ///
    /// # Errors
    /// Fails if a file exists already, if the records cannot be checked, or if the folder cannot be written.
    pub(crate) async fn run(&self, client: &Client, leaves: &VerifiedLeaves, json: bool) -> Result<(), Failure> {
        let disk = Disk::default();
        let folder = &self.ndjson;
        disk.create_folder_all(folder).map_err(|error| unwritable(folder, &error))?;
        self.check_free(MANIFEST)?;
        // Unfinished files are in a folder that is removed when this ends. If the process is killed, the folder stays, under a name with a dot.
        let staging = disk.unfinished_folder(folder).map_err(|error| unwritable(folder, &error))?;
        let mut files = Files { folder: staging.path().to_owned(), open: BTreeMap::new() };
        let (patient, card) = (client.account().or_exit(Exit::Usage)?, client.card());
        let (mut exported, mut refused) = (0, Vec::new());
        for name in live(patient, leaves) {
            match document(client, &card, name, None).await? {
                Ok(Readable { document, .. }) => match split(&document) {
                    Ok(lines) => {
                        files.add(&lines).map_err(|error| unwritable(folder, &error))?;
                        exported += 1;
                    }
                    Err(reason) => refused.push(Refused::new(name, one_line(&reason), false)),
                },
                Err(reason) => refused.push(reason),
            }
        }
        let output = self.place(&disk, files)?;
        let error = self.place_errors(&disk, &refused)?;
        let manifest = Manifest {
            transaction_time: written(leaves.state().time()),
            request: format!("urn:emr:patient:{patient}:export"),
            requires_access_token: false,
            output: output.clone(),
            error,
        };
        let bytes = serde_json::to_vec_pretty(&manifest).or_exit(Exit::Internal)?;
        disk.replace(&folder.join(MANIFEST), &bytes).map_err(|error| unwritable(folder, &error))?;
        self.warn_of_others(&manifest);
        let verified = all_verified(&refused);
        print(&Summary { batch: leaves.state().batches(), records: exported, output, refused }, json)?;
        verified
    }

    /// Checks that a file may be written.
    fn check_free(&self, name: &str) -> Result<(), Failure> {
        let path = self.ndjson.join(name);
        if self.overwrite || fs::symlink_metadata(&path).is_err() {
            return Ok(());
        }
        let message = format!("{} exists already: choose another folder, or give --overwrite", path.display());
        Err(Failure::new(Exit::Input, message))
    }

    /// Gives the finished files their names.
    fn place(&self, disk: &Disk, files: Files) -> Result<Vec<Output>, Failure> {
        let failed = |error: io::Error| unwritable(&self.ndjson, &error);
        let staged = files.finish().map_err(failed)?;
        for resource_type in staged.keys() {
            self.check_free(&file_name(resource_type))?;
        }
        let mut output = Vec::new();
        for (resource_type, (path, count)) in staged {
            let url = file_name(resource_type);
            let copy = |out: &mut dyn Write| io::copy(&mut File::open(&path)?, out).map(drop);
            disk.replace_in_parts(&self.ndjson.join(&url), copy).map_err(failed)?;
            output.push(Output { resource_type: resource_type.to_owned(), url, count });
        }
        Ok(output)
    }

    /// Writes the records that are not in the files, one OperationOutcome a line, as the manifest's errors.
    fn place_errors(&self, disk: &Disk, refused: &[Refused]) -> Result<Vec<Output>, Failure> {
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        self.check_free(ERRORS)?;
        let mut lines = Vec::new();
        for Refused { record, reason, .. } in refused {
            let text = format!("record {record}: {reason}");
            let issue = json!([{ "severity": "error", "code": "processing", "diagnostics": text }]);
            let line = json!({ "resourceType": "OperationOutcome", "issue": issue });
            lines.extend(line.to_string().into_bytes());
            lines.push(b'\n');
        }
        disk.replace(&self.ndjson.join(ERRORS), &lines).map_err(|error| unwritable(&self.ndjson, &error))?;
        let count = refused.len() as u64;
        Ok(vec![Output { resource_type: "OperationOutcome".to_owned(), url: ERRORS.to_owned(), count }])
    }

    /// Names files of an earlier export that are not of this one: an import would take them too.
    fn warn_of_others(&self, manifest: &Manifest) {
        let Ok(names) = fs::read_dir(&self.ndjson) else { return };
        let names = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let is_ours = |name: &String| manifest.output.iter().chain(&manifest.error).any(|file| file.url == *name);
        let others: Vec<String> = names.filter(|name| name.ends_with(".ndjson") && !is_ours(name)).collect();
        if !others.is_empty() {
            eprintln!("not of this export: {}; remove them if they are of an earlier one", others.join(", "));
        }
    }
}

/// The files that are being written, by resource type, with the number of lines.
struct Files {
    folder: PathBuf,
    open: BTreeMap<&'static str, (BufWriter<File>, u64)>,
}

impl Files {
    /// Adds the lines of a record.
    fn add(&mut self, lines: &[(&'static str, String)]) -> io::Result<()> {
        for (resource_type, line) in lines {
            if !self.open.contains_key(resource_type) {
                let file = File::create_new(self.folder.join(file_name(resource_type)))?;
                self.open.insert(*resource_type, (BufWriter::new(file), 0));
            }
            if let Some((file, count)) = self.open.get_mut(resource_type) {
                file.write_all(line.as_bytes())?;
                file.write_all(b"\n")?;
                *count += 1;
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<BTreeMap<&'static str, (PathBuf, u64)>> {
        let mut finished = BTreeMap::new();
        for (resource_type, (mut file, count)) in self.open {
            file.flush()?;
            finished.insert(resource_type, (self.folder.join(file_name(resource_type)), count));
        }
        Ok(finished)
    }
}

/// The file of a type. An OperationOutcome that a patient keeps as a record is apart from the export's own.
fn file_name(resource_type: &str) -> String {
    match resource_type {
        "OperationOutcome" => "OperationOutcome.1.ndjson".to_owned(),
        name => format!("{name}.ndjson"),
    }
}

impl Refused {
    fn new(name: RecordName, reason: String, unverified: bool) -> Self {
        Self { record: name.to_string(), reason, unverified }
    }
}

/// The records of a patient that are not deleted.
pub(crate) fn live(patient: AccountIndex, leaves: &VerifiedLeaves) -> impl Iterator<Item = RecordName> {
    let live = leaves.records().iter().filter(|summary| summary.leaf.status == RecordStatus::Live);
    live.map(move |summary| RecordName { patient, slot: summary.slot })
}

/// Fails if a record was left out because something of it did not verify.
pub(crate) fn all_verified(refused: &[Refused]) -> Result<(), Failure> {
    match refused.iter().filter(|refused| refused.unverified).count() {
        0 => Ok(()),
        count => {
            let message = format!(
                "records that do not verify: {count}; the others are exported: use another node, or ask their authors"
            );
            Err(Failure::new(Exit::Unverified, message))
        }
    }
}

/// The resources of a document, one line each, with their types.
pub(crate) fn split(document: &[u8]) -> Result<Vec<(&'static str, String)>, fhir::FhirError> {
    let resources = fhir::resources(document)?;
    Ok(resources.iter().map(|resource| (resource.resource_type, resource.line().into_owned())).collect())
}

/// A settled record's document.
pub(crate) struct Readable {
    pub(crate) document: Vec<u8>,
    /// How many files are beside it, which no export holds.
    pub(crate) beside: usize,
}

/// The document of a settled record, or why it is not exported. One bad record must not keep the patient from the others. With `reason`, requests
/// access first if necessary.
///
/// # Errors
/// Fails if the node or L1 cannot be asked.
pub(crate) async fn document(
    client: &Client,
    card: &Card,
    name: RecordName,
    reason: Option<Reason>,
) -> Result<Result<Readable, Refused>, Failure> {
    let refused = |reason, unverified| Ok(Err(Refused::new(name, reason, unverified)));
    let progress = Progress::start(format!("reading record {}", name.slot));
    let read = records::fetch(client, card, name, reason).await;
    drop(progress);
    let retrieved = match read {
        Ok(retrieved) => retrieved,
        Err(failure) => {
            return match failure.exit() {
                Exit::Refused | Exit::Input => refused(failure.to_string(), false),
                Exit::Unverified => refused(failure.to_string(), true),
                _ => Err(failure),
            };
        }
    };
    let Retrieved::Verified(record) = &retrieved else {
        let reason = "its newest version is not settled yet: export again when a batch has taken it";
        return refused(reason.to_owned(), false);
    };
    let record = record.authentic();
    match client.document(record).await {
        Ok(document) => {
            let beside = record.attachments().iter().filter(|file| file.key.is_beside_document()).count();
            Ok(Ok(Readable { document, beside }))
        }
        Err(ClientError::Read(ReadError::Document { source, .. })) => {
            let contradicts = matches!(*source, ExportError::Fhir(fhir::FhirError::Contradicts(_)));
            refused(one_line(&*source), contradicts)
        }
        Err(error @ ClientError::Read(ReadError::LargeDocument { .. })) => refused(one_line(&error), false),
        Err(error) if error.kind() == ErrorKind::Unverified => refused(one_line(&error), true),
        Err(error) => Err(error.into()),
    }
}

fn unwritable(folder: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Storage, format!("cannot write to {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn existing_files_stay_unless_it_is_said() -> TestResult {
        let folder = tempfile::tempdir()?;
        let export = |overwrite| Export { ndjson: folder.path().to_owned(), overwrite };
        fs::write(folder.path().join("Patient.ndjson"), "mine")?;
        let disk = Disk::default();
        let staged = || -> Result<_, Box<dyn std::error::Error>> {
            let staging = disk.unfinished_folder(folder.path())?;
            let mut files = Files { folder: staging.path().to_owned(), open: BTreeMap::new() };
            files.add(&split(b"{\"resourceType\":\"Bundle\",\"entry\":[\n{\"resource\":{\"resourceType\":\"Patient\",\n \"id\":\"a\"}},{\"resource\":{\"resourceType\":\"Observation\"}}]}")?)?;
            Ok((staging, files))
        };
        let (staging, files) = staged()?;
        let refused = export(false).place(&disk, files).map_err(|failure| failure.exit());
        assert_eq!(refused.err(), Some(Exit::Input));
        drop(staging);
        assert_eq!(fs::read_dir(folder.path())?.count(), 1, "nothing was written");
        assert_eq!(fs::read_to_string(folder.path().join("Patient.ndjson"))?, "mine");
        let (staging, files) = staged()?;
        let output = export(true).place(&disk, files)?;
        drop(staging);
        assert_eq!(
            output.iter().map(|file| (&*file.url, file.count)).collect::<Vec<_>>(),
            [("Observation.ndjson", 1), ("Patient.ndjson", 1)]
        );
        assert_eq!(
            fs::read_to_string(folder.path().join("Patient.ndjson"))?,
            "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n"
        );
        Ok(())
    }
}

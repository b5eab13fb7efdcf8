//! Imports a folder of FHIR Bulk Data (NDJSON), or what a JWE holds, as records of one patient.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use emr_client::{
    client::Client,
    flow::{import::ImportOutcome, submit::Acknowledged},
    verify::card::Card,
};
use emr_core::{
    AccountIndex, Class,
    fhir::{
        gather::{Gathered, Gatherer},
        line_resource::{LineResource, PatientId},
    },
};
use serde::Serialize;

use crate::{
    classed::Choice,
    failure::{Exit, Failure, OrExit},
    jwe_import::{self, Held},
    ndjson_lines::{LineFile, Refusals, Refused, Survey, in_file, name, open},
    options::RecordName,
    records,
    report::{Answer, Progress, print},
};

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The folder: every file `*.ndjson` in it, one FHIR R4 resource a line
    #[arg(long, value_name = "DIR", required_unless_present = "jwe", conflicts_with = "jwe")]
    ndjson: Option<PathBuf>,
    /// An encrypted file (JWE) for you: a FHIR document, or one resource a line. Nobody signed it: make sure whose it is
    #[arg(long, value_name = "FILE")]
    jwe: Option<PathBuf>,
    /// The patient's card
    #[arg(long, value_name = "CARD")]
    pub(crate) patient: PathBuf,
    /// The class of all records; `auto` proposes one for each line. You are responsible for it
    #[arg(long)]
    pub(crate) class: Choice,
    /// With --jwe and --class auto: write one record of a document for each class
    #[arg(long, requires = "jwe")]
    pub(crate) split: bool,
    /// The id of the patient's Patient resource; needed if the folder holds several, or none
    #[arg(long, value_name = "ID")]
    fhir_patient: Option<PatientId>,
    /// Wait until batches have settled everything
    #[arg(long)]
    pub(crate) wait: bool,
}

/// A record that holds lines of the folder, or the document of a JWE.
#[derive(Debug, Serialize)]
pub(crate) struct Taken {
    record: String,
    class: Class,
    resource_type: String,
    resources: usize,
    /// `written`, or `settled` if an earlier run had written it and a batch has settled it.
    state: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    promise: Option<records::Promise>,
}

/// The answer of `import`.
#[derive(Debug, Serialize)]
struct Summary {
    patient: AccountIndex,
    fhir_patient: String,
    /// How many lines are in the records.
    taken: usize,
    records: Vec<Taken>,
    /// How many lines were refused.
    refused_lines: u64,
    /// The first 10,000 of them.
    refused: Vec<Refused>,
}

impl Answer for Taken {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { record, class, resource_type, resources, state, promise } = self;
        writeln!(out, "record {record} ({class}): {resource_type}, resources: {resources}, {state}")?;
        promise.iter().try_for_each(|promise| promise.write(out))
    }
}

impl Answer for Summary {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.records.iter().try_for_each(|taken| taken.write(out))?;
        for Refused { file, line, reason } in &self.refused {
            match line {
                0 => writeln!(out, "refused {file}: {reason}")?,
                _ => writeln!(out, "refused {file}:{line}: {reason}")?,
            }
        }
        let Self { taken, records, refused_lines, fhir_patient, .. } = self;
        writeln!(
            out,
            "Patient/{fhir_patient}: lines taken: {taken}, in records: {}; refused: {refused_lines}",
            records.len()
        )
    }
}

impl Import {
    /// Imports, and prints the answer.
    ///
    /// # Errors
    /// Fails if the folder cannot be read, if it does not say who the patient is, or if a record cannot be written. If only lines were refused,
    /// everything else is written and the answer printed before it fails.
    pub(crate) async fn run(&self, client: &Client, card: &Card, json: bool) -> Result<(), Failure> {
        let files = match (&self.ndjson, &self.jwe) {
            (Some(folder), _) => files(folder)?,
            (None, Some(file)) => match jwe_import::open(client, file).await? {
                Held::Lines(lines) => vec![LineFile::Held(file.clone(), lines)],
                Held::Document(document) => {
                    return jwe_import::write(self, client, card, (file, &document), json).await;
                }
            },
            (None, None) => return Err(Failure::new(Exit::Usage, "give --ndjson DIR or --jwe FILE")),
        };
        let patient = match &self.fhir_patient {
            Some(id) => id.clone(),
            None => only_patient(&files)?,
        };
        let summary = self.take(client, card, &patient, &files).await?;
        print(&summary, json)?;
        match summary.refused_lines {
            0 => Ok(()),
            count => {
                let message = format!(
                    "lines refused: {count}; everything else is written: correct them at their source, and import again"
                );
                Err(Failure::new(Exit::Input, message))
            }
        }
    }

    async fn take(
        &self,
        client: &Client,
        card: &Card,
        patient: &PatientId,
        files: &[LineFile],
    ) -> Result<Summary, Failure> {
        let progress = Progress::start("reading");
        let mut survey = Survey::of(files, patient, self.class);
        let mut refusals = std::mem::take(&mut survey.refusals);
        let (mut gatherer, mut written) = (Gatherer::new(), Vec::new());
        for (number, file) in files.iter().enumerate() {
            progress.say(format!("importing {}", name(file.path())));
            // What is refused was refused before.
            for (place, line) in open(file, &mut Refusals::default()).into_iter().flatten().enumerate() {
                if !survey.is_taken(number, place) {
                    continue;
                }
                let line = match line {
                    Ok(line) => line,
                    Err(bad) => {
                        refusals.add(file.path(), bad.number, &bad.error);
                        continue;
                    }
                };
                let resource = survey.resource((number, place), &line.bytes);
                match resource.and_then(|(resource, class)| gatherer.add(&resource, class)) {
                    Ok(complete) => {
                        for bundle in complete {
                            written.push(write(client, card, bundle).await?);
                        }
                    }
                    Err(reason) => refusals.add(file.path(), line.number, &in_file(reason, line.number)),
                }
            }
        }
        for bundle in gatherer.finish() {
            progress.say(format!("writing {}", bundle.resource_type));
            written.push(write(client, card, bundle).await?);
        }
        drop(progress);
        let mut records = Vec::new();
        for written in written {
            records.push(promised(client, written, self.wait).await?);
        }
        Ok(Summary {
            patient: card.registered().or_exit(Exit::Input)?,
            fhir_patient: patient.to_string(),
            taken: records.iter().map(|taken| taken.resources).sum(),
            records,
            refused_lines: refusals.count,
            refused: refusals.first,
        })
    }
}

/// The files `*.ndjson` of a folder, by name.
fn files(folder: &Path) -> Result<Vec<LineFile>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(Exit::Input, format!("cannot read the folder {}: {error}; check the name", folder.display()))
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            files.push(path);
        }
    }
    if files.is_empty() {
        let message =
            format!("{} holds no file *.ndjson: name the folder of a FHIR Bulk Data export", folder.display());
        return Err(Failure::new(Exit::Input, message));
    }
    files.sort();
    Ok(files.into_iter().map(LineFile::OnDisk).collect())
}

/// The one Patient resource of the files. What cannot be read is refused later, when the lines are taken.
fn only_patient(files: &[LineFile]) -> Result<PatientId, Failure> {
    let progress = Progress::start("looking for the Patient");
    let mut found: BTreeSet<String> = BTreeSet::new();
    for file in files {
        for line in open(file, &mut Refusals::default()).into_iter().flatten().flatten() {
            // Most lines refer to a Patient but are none.
            let may_be = std::str::from_utf8(&line.bytes).is_ok_and(|text| text.contains("\"Patient\""));
            if !may_be {
                continue;
            }
            let Ok(resource) = LineResource::read(&line.bytes) else { continue };
            if resource.resource_type() == "Patient" && found.len() < 10 {
                found.insert(resource.id().unwrap_or_default().to_owned());
            }
        }
    }
    drop(progress);
    let advice = "name the patient's with --fhir-patient ID";
    let message = match found.len() {
        0 => format!("there is no Patient resource: {advice}"),
        1 => return found.pop_first().unwrap_or_default().parse().or_exit(Exit::Input),
        _ => {
            let named: Vec<String> =
                found.iter().map(|id| id.chars().filter(|c| emr_core::is_harmless(*c)).take(64).collect()).collect();
            format!("there are several Patients ({}): {advice}; the others' resources are refused", named.join(", "))
        }
    };
    Err(Failure::new(Exit::Input, message))
}

/// A record, and what the node acknowledged if it was written now.
pub(crate) type Imported = (Taken, Option<Acknowledged>);

/// Adds what became of a record's operation. With `wait`, waits until it is settled.
pub(crate) async fn promised(
    client: &Client,
    (mut taken, acknowledged): Imported,
    wait: bool,
) -> Result<Taken, Failure> {
    if let Some(acknowledged) = acknowledged {
        taken.promise = Some(records::promise(client, &acknowledged, wait).await?);
    }
    Ok(taken)
}

/// Writes a Bundle, or the document of a JWE, as a record, unless an earlier run did.
pub(crate) async fn write(client: &Client, card: &Card, gathered: Gathered) -> Result<Imported, Failure> {
    let Gathered { class, resource_type, resources, bundle } = gathered;
    let (record, attachments) = records::take_apart(&bundle).or_exit(Exit::Internal)?;
    let outcome = client.import(card, class, &record, attachments).await?;
    let (patient, slot, state, acknowledged) = match outcome {
        ImportOutcome::Written(written) => (written.patient, written.slot, "written", Some(written.acknowledged)),
        ImportOutcome::Settled(imported) => (imported.patient, imported.slot, "settled", None),
    };
    let record = RecordName { patient, slot }.to_string();
    Ok((Taken { record, class, resource_type, resources, state, promise: None }, acknowledged))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn folder(files: &[(&str, &str)]) -> Result<(tempfile::TempDir, Vec<LineFile>), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        for (name, text) in files {
            fs::write(folder.path().join(name), text)?;
        }
        let found = super::files(folder.path())?;
        Ok((folder, found))
    }

    #[test]
    fn the_folder_says_who_the_patient_is() -> TestResult {
        let one = "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n";
        let two = "{\"resourceType\":\"Patient\",\"id\":\"p2\"}";
        let found = folder(&[("Patient.ndjson", one), ("notes.txt", two)])?;
        assert_eq!(only_patient(&found.1)?.as_str(), "p1");
        // The same Patient twice is one.
        assert_eq!(only_patient(&folder(&[("a.ndjson", one), ("b.ndjson", one)])?.1)?.as_str(), "p1");
        let both = format!("not JSON\n{one}{two}");
        let refused = only_patient(&folder(&[("Patient.ndjson", &both)])?.1).map_err(|failure| failure.to_string());
        assert!(refused.is_err_and(|error| error.contains("p1, p2") && error.contains("--fhir-patient")));
        let none = only_patient(&folder(&[("Patient.ndjson", "\n")])?.1).map_err(|failure| failure.exit());
        assert_eq!(none, Err(Exit::Input));
        assert!(folder(&[("Patient.json", one)]).is_err());
        Ok(())
    }

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        import: Import,
    }

    /// A record in a class that nobody chose could show psychiatry to who may read summaries.
    #[test]
    fn the_class_is_always_chosen() -> TestResult {
        let without = ["import", "--ndjson", "bulk", "--patient", "patient.card"];
        assert!(Alone::try_parse_from(without).is_err());
        let with = |class| Alone::try_parse_from([&without[..], &["--class", class]].concat());
        assert!(matches!(with("auto")?.import.class, Choice::Auto));
        assert!(matches!(with("imaging")?.import.class, Choice::Stated(Class::Imaging)));
        assert!(with("everything").is_err());
        Ok(())
    }
}

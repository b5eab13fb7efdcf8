//! Research profiles: `emr-doctor conform`, and the check before `upload` and `edit`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use emr_core::{
    Reason, Record, Role,
    conformance::{Profile, Report},
};
use serde::Serialize;

use crate::{
    cards,
    failure::{Exit, Failure, one_line},
    input,
    options::{Options, RecordName, parse_purpose},
    participant, records,
    report::{Answer, print},
};

/// The arguments of `conform`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The FHIR file
    #[arg(required_unless_present = "record", conflicts_with = "record")]
    file: Option<PathBuf>,
    /// The research profile: a JSON file
    #[arg(long, value_name = "PROFILE")]
    profile: PathBuf,
    /// In place of a file: a record that you may read, PATIENT/SLOT
    #[arg(long, value_name = "RECORD")]
    record: Option<RecordName>,
    /// The reason, if access to the record has to be requested first
    #[arg(long, default_value = "research", value_parser = parse_purpose)]
    purpose: Reason,
    /// The card of the record's patient, the first time
    #[arg(long, value_name = "CARD", requires = "record")]
    patient: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct ConformAnswer {
    what: String,
    profile: String,
    version: String,
    conforms: bool,
    #[serde(flatten)]
    report: Report,
}

impl ConformAnswer {
    fn of(what: String, record: &Record, profile: Profile) -> Self {
        let report = profile.check(record);
        Self { what, conforms: report.conforms(), report, profile: profile.name, version: profile.version }
    }

    /// The failure if the record does not conform.
    fn verdict(&self) -> Result<(), Failure> {
        if self.conforms {
            return Ok(());
        }
        let Self { what, profile, version, report: Report { total, .. }, .. } = self;
        let message = format!(
            "{what} does not conform to {profile} {version} in {total} places: correct them at their source, or choose another profile"
        );
        Err(Failure::new(Exit::Input, message))
    }
}

impl Answer for ConformAnswer {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { what, profile, version, report, .. } = self;
        write_violations(report, out)?;
        let verdict = if self.conforms { "conforms" } else { "does not conform" };
        writeln!(out, "{what} {verdict} to {profile} {version}")?;
        for applied in &report.applied {
            writeln!(out, "  {}: {} checked", applied.rule, applied.objects)?;
        }
        Ok(())
    }
}

/// One line for each violation that is listed, and one that counts the others.
fn write_violations(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    for violation in &report.violations {
        writeln!(out, "{violation}")?;
    }
    match report.total - report.violations.len() {
        0 => Ok(()),
        more => writeln!(out, "and {more} more"),
    }
}

impl Arguments {
    /// Checks a file or a record, and prints what does not conform.
    ///
    /// # Errors
    /// Fails with [`Exit::Input`] if it does not conform, or if a file cannot be read; otherwise as `get`.
    pub async fn run(self, options: &Options, role: Role) -> Result<(), Failure> {
        let profile = read(&self.profile)?;
        let (what, record) = match (&self.file, self.record) {
            (Some(file), _) => (file.display().to_string(), records::read_fhir(file)?),
            (None, Some(name)) => {
                let client = participant::open(options, role).await?;
                let card = cards::patient(&client, Some(name.patient), self.patient.as_deref()).await?;
                let retrieved = records::fetch(&client, &card, name, Some(self.purpose)).await?;
                records::require_settled(name, &retrieved)?;
                (format!("record {name}"), retrieved.unproven().record().clone())
            }
            (None, None) => return Err(Failure::new(Exit::Usage, "name a file, or a record with --record")),
        };
        let answer = ConformAnswer::of(what, &record, profile);
        print(&answer, options.json)?;
        answer.verdict()
    }
}

/// Checks a record before it is written. Lists on stderr what does not conform. Without a profile, every record conforms.
///
/// # Errors
/// Fails with [`Exit::Input`] if the record does not conform, or the profile cannot be read.
pub fn require(file: &Path, record: &Record, profile: Option<&Path>) -> Result<(), Failure> {
    let Some(profile) = profile else { return Ok(()) };
    let answer = ConformAnswer::of(file.display().to_string(), record, read(profile)?);
    write_violations(&answer.report, &mut std::io::stderr().lock())
        .map_err(|error| Failure::new(Exit::Storage, format!("cannot write to stderr: {error}")))?;
    answer.verdict()
}

fn read(file: &Path) -> Result<Profile, Failure> {
    let bytes = input::read("the profile", file, Profile::MAX_BYTES as u64)?;
    let name = file.display();
    Profile::from_json(&bytes).map_err(|error| Failure::new(Exit::Input, format!("{name}: {}", one_line(&error))))
}

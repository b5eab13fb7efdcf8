//! Writes a FHIR document in the class that its author states, in the class that is proposed for it, or in one record
//! for each class (`docs/classes.md`).

use std::{collections::BTreeMap, io::Write, path::PathBuf, str::FromStr};

use emr_client::{
    Client,
    flow::{
        submit::Fate,
        upload_parts::{NewPart, PartsWritten},
    },
    profile::NotedPart,
    verify::card::Card,
};
use emr_core::{
    Class, Role, UnknownName,
    fhir::{self, Classification},
};
use emr_rollup::operation::OperationId;
use serde::Serialize;

use crate::{
    attachments::Attach,
    cards, conform,
    failure::{Exit, Failure, OrExit},
    options::{Options, RecordName},
    participant,
    records::{self, Document},
    report::{Answer, Progress, print},
};

/// How many resources of each class are explained on stderr. `--dry-run --json` explains all.
const EXPLAINED: usize = 5;

/// A class as the command line names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// A class is proposed.
    Auto,
    /// The author states it.
    Stated(Class),
}

impl FromStr for Choice {
    type Err = UnknownName;
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        if name == "auto" { Ok(Self::Auto) } else { name.parse().map(Self::Stated) }
    }
}

/// The arguments of `upload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Upload {
    /// The FHIR file: one Bundle or resource is one record
    file: PathBuf,
    /// The patient's card
    #[arg(long, value_name = "CARD", required_unless_present = "dry_run")]
    patient: Option<PathBuf>,
    /// The record's class; `auto` proposes one and says why. You are responsible for it
    #[arg(long)]
    class: Choice,
    /// With `--class auto`: write one record for each class, so that each can be shared alone
    #[arg(long, conflicts_with = "files")]
    split: bool,
    /// With `--class auto`: show the proposal and write nothing; needs no identity and no node
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    attach: Attach,
    /// Refuse a record that does not conform to this research profile
    #[arg(long, value_name = "PROFILE")]
    profile: Option<PathBuf>,
    /// Wait until a batch has settled it
    #[arg(long)]
    wait: bool,
}

impl Upload {
    /// Runs the command.
    ///
    /// # Errors
    /// Fails if the file is not FHIR, if it mixes sensitive classes with others and neither `--split` nor a class is given, or if it cannot be
    /// written.
    pub(crate) async fn run(&self, options: &Options, role: Role) -> Result<(), Failure> {
        if matches!(self.class, Choice::Stated(_)) && (self.split || self.dry_run) {
            let message = "--split and --dry-run need --class auto: with a stated class there is nothing to propose";
            return Err(Failure::new(Exit::Usage, message));
        }
        let document = Document::read(&self.file)?;
        conform::require(&self.file, &document.record, self.profile.as_deref())?;
        let class = match self.class {
            Choice::Stated(class) => Some(class),
            Choice::Auto => {
                let classification = fhir::classify(&document.bytes).or_exit(Exit::Input)?;
                explain(&classification);
                if self.dry_run {
                    return print(&Proposal::of(&classification), options.json);
                }
                match classification.proposal() {
                    _ if self.split => None,
                    Some(class) => Some(class),
                    None => return Err(mixed(&classification)),
                }
            }
        };
        let client = participant::open(options, role).await?;
        let card = cards::patient(&client, None, self.patient.as_deref()).await?;
        match class {
            Some(class) => {
                let written = self.attach.upload(&client, &card, class, document).await?;
                records::written(&client, &written, self.wait, options.json).await
            }
            None => write_parts(&client, &card, &document.bytes, self.wait, options.json).await,
        }
    }
}

/// Writes one record for each class. All are handed in before the first is waited for, so that one batch can take all.
///
/// # Errors
/// Fails if the document cannot be split, or like every write.
pub(crate) async fn write_parts(
    client: &Client,
    card: &Card,
    document: &[u8],
    wait: bool,
    json: bool,
) -> Result<(), Failure> {
    let secret = client.profile().split_secret()?;
    let parts = fhir::split(document, &secret).or_exit(Exit::Input)?;
    let counts: BTreeMap<Class, usize> = parts.iter().map(|part| (part.class, part.resources)).collect();
    let new = parts.iter().map(|part| {
        let (record, attachments) = records::take_apart(&part.document)?;
        Ok(NewPart { class: part.class, record, attachments })
    });
    let new = new.collect::<Result<Vec<_>, fhir::FhirError>>().or_exit(Exit::Input)?;
    drop(parts);
    let progress = Progress::start("writing one record for each class");
    let written = client.upload_parts(card, document, new).await;
    drop(progress);
    let written = written?;
    let mut settled = BTreeMap::new();
    if wait {
        let progress = Progress::start("waiting for a batch");
        for part in &written.parts {
            settled.insert(part.operation, wait_for(client, &written, part.operation).await?);
        }
        drop(progress);
    }
    client.parts_done(&written)?;
    print(&Parts::of(&written, &counts, &settled), json)
}

/// Waits for one part. Returns its batch, if the node names one.
async fn wait_for(client: &Client, written: &PartsWritten, operation: OperationId) -> Result<Option<u64>, Failure> {
    match client.wait_for(operation, records::POLL).await? {
        Fate::Settled { batch } => Ok(Some(batch)),
        Fate::Returned { reason } => {
            client.part_returned(written, operation)?;
            let message =
                format!("the operation of one part was returned: {reason}; run the command again to write it again");
            Err(Failure::new(Exit::Refused, message))
        }
        _ => Ok(None),
    }
}

/// Writes to stderr which resources are in which class, and why. Sensitive classes come first.
pub(crate) fn explain(classification: &Classification) {
    if classification.patient_summary {
        eprintln!("this is an International Patient Summary");
    }
    let mut classes: Vec<(Class, usize)> = classification.classes().into_iter().collect();
    classes.sort_by_key(|(class, _)| (!class.is_sensitive(), *class));
    for (class, count) in classes {
        let resources = classification.resources.iter().filter(|resource| resource.class == class);
        for resource in resources.take(EXPLAINED) {
            if let Some(evidence) = resource.because.first() {
                eprintln!("{class}: {} at {}, because of {evidence}", resource.resource_type, resource.path);
            }
        }
        if count > EXPLAINED {
            eprintln!("{class}: and {} more", count - EXPLAINED);
        }
    }
}

/// The failure of a document that needs a decision.
pub(crate) fn mixed(classification: &Classification) -> Failure {
    let classes: Vec<String> =
        classification.classes().into_iter().map(|(class, count)| format!("{class} ({count})")).collect();
    let message = format!(
        "the document mixes sensitive resources with others: {}. Use --split for one record for each class, or state --class",
        classes.join(", ")
    );
    Failure::new(Exit::Input, message)
}

#[derive(Debug, Serialize)]
struct Because<'a> {
    path: &'a str,
    what: &'a str,
}

#[derive(Debug, Serialize)]
struct Resource<'a> {
    path: &'a str,
    resource_type: &'a str,
    class: Class,
    because: Vec<Because<'a>>,
}

#[derive(Debug, Serialize)]
struct Proposal<'a> {
    /// The class for the whole document; absent if it must be split or its class stated.
    class: Option<Class>,
    patient_summary: bool,
    classes: BTreeMap<Class, usize>,
    resources: Vec<Resource<'a>>,
}

impl<'a> Proposal<'a> {
    fn of(classification: &'a Classification) -> Self {
        let resources = classification.resources.iter().map(|resource| Resource {
            path: &resource.path,
            resource_type: &resource.resource_type,
            class: resource.class,
            because: resource
                .because
                .iter()
                .map(|because| Because { path: &because.path, what: &because.what })
                .collect(),
        });
        Self {
            class: classification.proposal(),
            patient_summary: classification.patient_summary,
            classes: classification.classes(),
            resources: resources.collect(),
        }
    }
}

impl Answer for Proposal<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{:<20} {:>9}", "class", "resources")?;
        for (class, resources) in &self.classes {
            writeln!(out, "{class:<20} {resources:>9}")?;
        }
        match self.class {
            Some(class) => writeln!(out, "proposed for the whole document: {class}"),
            None => writeln!(out, "no class is proposed for the whole document: use --split, or state --class"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Part {
    class: Class,
    /// Absent for a stale record.
    resources: Option<usize>,
    record: String,
    version: u64,
    record_cid: String,
    operation: OperationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u64>,
    /// Whether the command waited until the part was in force.
    settled: bool,
}

#[derive(Debug, Serialize)]
struct Parts {
    parts: Vec<Part>,
    /// Records of an interrupted run that another version of this program wrote from the same document. They stay until somebody deletes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale: Vec<Part>,
}

impl Parts {
    fn of(
        written: &PartsWritten,
        counts: &BTreeMap<Class, usize>,
        settled: &BTreeMap<OperationId, Option<u64>>,
    ) -> Self {
        let shown = |part: &NotedPart, resources: Option<usize>| Part {
            class: part.class,
            resources,
            record: RecordName { patient: written.patient, slot: part.slot }.to_string(),
            version: part.version.get(),
            record_cid: part.record_cid.clone(),
            operation: part.operation,
            batch: settled.get(&part.operation).copied().flatten(),
            settled: settled.contains_key(&part.operation),
        };
        let parts = written.parts.iter().map(|part| shown(part, counts.get(&part.class).copied())).collect();
        Self { parts, stale: written.stale.iter().map(|part| shown(part, None)).collect() }
    }
}

impl Answer for Parts {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{:<20} {:>9}  {:<10} state", "class", "resources", "record")?;
        for Part { class, resources, record, batch, settled, .. } in &self.parts {
            let resources = resources.map_or_else(|| "-".to_owned(), |resources| resources.to_string());
            let state = match (batch, settled) {
                (Some(batch), _) => format!("settled in batch {batch}"),
                (None, true) => "in force on L1".to_owned(),
                (None, false) => "acknowledged; in force when a batch settles it".to_owned(),
            };
            writeln!(out, "{class:<20} {resources:>9}  {record:<10} {state}")?;
        }
        for Part { class, record, .. } in &self.stale {
            writeln!(
                out,
                "{class:<20} {:>9}  {record:<10} of an interrupted run with other classes: its resources are in the records above too; delete it",
                "-"
            )?;
        }
        Ok(())
    }
}

//! `outbox`: signed operations that are not settled, and refused records.

use std::{io::Write, path::PathBuf};

use clap::Subcommand;
use emr_client::profile::{
    Profile,
    outbox::{Entry, Outbox},
};
use emr_core::{AccountIndex, Class, Role, UnixTime};
use emr_rollup::operation::{Kind, OperationId};
use serde::Serialize;

use crate::{
    cards,
    failure::{Exit, Failure, OrExit},
    options::{Options, RecordName},
    participant,
    records::{self, WriteAnswer},
    report::{Answer, print},
};

/// The smallest number of digits of an operation's id that can name it.
const SHORTEST_NAME: usize = 4;

/// Commands about the outbox.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List waiting operations, and refused records with the reason
    List,
    /// Submit refused records again: signed for a free slot or as the next version, and sealed to the newest keys
    Retry {
        /// The first digits of the operations, as `list` shows them [default: all]
        #[arg(value_name = "OPERATION")]
        operations: Vec<String>,
        /// The patient's card, the first time
        #[arg(long, value_name = "CARD")]
        patient: Option<PathBuf>,
        /// Wait until a batch has settled them
        #[arg(long)]
        wait: bool,
    },
    /// Delete refused records from this machine permanently
    Discard {
        /// The first digits of the operations, as `list` shows them
        #[arg(value_name = "OPERATION", required = true)]
        operations: Vec<String>,
        /// Confirm: there may be no other copy
        #[arg(long)]
        yes: bool,
    },
}

/// One line about refused records, if there are any.
pub fn notice(outbox: &Outbox, role: Role) -> Option<String> {
    let refused = outbox.refused();
    let newest = refused.last()?;
    let reason = newest.refusal().map(|refusal| refusal.reason.as_str()).unwrap_or_default();
    let records = match refused.len() {
        1 => "1 record was not taken and is".to_owned(),
        count => format!("{count} records were not taken and are"),
    };
    Some(format!("{records} kept here ({reason}): see `emr-{role} outbox list`"))
}

/// Runs the command.
///
/// # Errors
/// Returns the failure, with its exit code.
pub async fn run(options: &Options, role: Role, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => list(options, role),
        Command::Retry { operations, patient, wait } => retry(options, role, &operations, patient, wait).await,
        Command::Discard { operations, yes } => discard(options, role, &operations, yes),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum EntryState {
    /// Not submitted yet.
    Waits,
    /// The node promised to settle it.
    Acknowledged,
    /// Refused for good, returned, or lapsed.
    Refused,
}

#[derive(Debug, Serialize)]
struct Listed {
    operation: OperationId,
    kind: Kind,
    patient: AccountIndex,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    state: EntryState,
    valid_until: UnixTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<UnixTime>,
}

/// The first digits of an operation's id, which are enough to name it here.
fn short(operation: OperationId) -> String {
    operation.to_string()[..16].to_owned()
}

impl Listed {
    fn of(entry: &Entry) -> Self {
        let draft = entry.draft();
        let operation = &draft.submission.signed.operation;
        let (record, class) = operation
            .action
            .record()
            .map(|(slot, leaf)| (RecordName { patient: operation.patient, slot }.to_string(), leaf.class))
            .unzip();
        Self {
            operation: draft.operation,
            kind: entry.kind(),
            patient: operation.patient,
            record,
            class,
            state: match (entry.refusal(), entry.receipt()) {
                (Some(_), _) => EntryState::Refused,
                (None, Some(_)) => EntryState::Acknowledged,
                (None, None) => EntryState::Waits,
            },
            valid_until: operation.valid_until,
            reason: entry.refusal().map(|refusal| refusal.reason.clone()),
            refused: entry.refusal().map(|refusal| refusal.time),
        }
    }
}

#[derive(Debug, Serialize)]
struct List {
    operations: Vec<Listed>,
}

impl Answer for List {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.operations.is_empty() {
            return writeln!(out, "nothing waits, and nothing was refused");
        }
        for Listed { operation, kind, patient, record, class, state, reason, .. } in &self.operations {
            write!(out, "{}  {:<14} patient {patient}", short(*operation), kind.to_string())?;
            if let (Some(record), Some(class)) = (record, class) {
                write!(out, ", record {record} ({class})")?;
            }
            match (state, reason) {
                (EntryState::Refused, Some(reason)) => writeln!(out, ": refused: {reason}")?,
                (EntryState::Acknowledged, _) => writeln!(out, ": acknowledged, waits for a batch")?,
                _ => writeln!(out, ": waits to be handed in")?,
            }
        }
        Ok(())
    }
}

fn list(options: &Options, role: Role) -> Result<(), Failure> {
    let profile = participant::profile(options, role)?;
    let (refused, waits) = (profile.outbox().refused(), profile.outbox().entries());
    let operations = refused.iter().chain(&waits).map(Listed::of).collect();
    print(&List { operations }, options.json)
}

#[derive(Debug, Serialize)]
struct Retried {
    retried: Vec<WriteAnswer>,
}

impl Answer for Retried {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if self.retried.is_empty() {
            return writeln!(out, "nothing was refused");
        }
        self.retried.iter().try_for_each(|answer| answer.write(out))
    }
}

async fn retry(
    options: &Options,
    role: Role,
    operations: &[String],
    card: Option<PathBuf>,
    wait: bool,
) -> Result<(), Failure> {
    let client = participant::open(options, role).await?;
    let chosen =
        if operations.is_empty() { client.profile().outbox().refused() } else { named(client.profile(), operations)? };
    let mut retried = Vec::new();
    for entry in chosen {
        let draft = entry.draft();
        let patient = draft.submission.signed.operation.patient;
        let card = cards::patient(&client, Some(patient), card.as_deref()).await?;
        let written = client.retry(&card, draft.operation).await.map_err(|error| {
            let failure = Failure::from(error);
            let message = format!("{}: {failure} ({} handed in before it)", short(draft.operation), retried.len());
            failure.saying(message)
        })?;
        retried.push(records::answer(&client, &written, wait).await?);
    }
    print(&Retried { retried }, options.json)
}

#[derive(Debug, Serialize)]
struct Discarded {
    discarded: Vec<OperationId>,
}

impl Answer for Discarded {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.discarded.iter().try_for_each(|operation| writeln!(out, "discarded {}", short(*operation)))
    }
}

fn discard(options: &Options, role: Role, operations: &[String], yes: bool) -> Result<(), Failure> {
    let profile = participant::profile(options, role)?;
    let chosen = named(&profile, operations)?;
    if !yes {
        let message = "this deletes records from this machine, and there may be no other copy: add --yes to confirm";
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut discarded = Vec::new();
    for entry in chosen {
        let operation = entry.draft().operation;
        profile.outbox().discard(operation).or_exit(Exit::Storage)?;
        discarded.push(operation);
    }
    print(&Discarded { discarded }, options.json)
}

/// The refused records with these names, each once.
fn named(profile: &Profile, names: &[String]) -> Result<Vec<Entry>, Failure> {
    let mut chosen: Vec<Entry> = Vec::new();
    for name in names {
        let is_it = |entry: &Entry| entry.draft().operation.to_string().starts_with(name.as_str());
        let mut found = profile.outbox().refused().into_iter().filter(is_it);
        let (Some(entry), true) = (found.next(), name.len() >= SHORTEST_NAME) else {
            let waits = profile.outbox().entries().iter().any(is_it);
            let message = if waits && name.len() >= SHORTEST_NAME {
                format!("{name} still waits for the node or for a batch; only what was refused is retried or discarded")
            } else {
                format!("no refused operation begins with {name:?}: `outbox list` shows them")
            };
            return Err(Failure::new(Exit::Input, message));
        };
        if found.next().is_some() {
            return Err(Failure::new(Exit::Input, format!("several operations begin with {name}: give more digits")));
        }
        if !chosen.contains(&entry) {
            chosen.push(entry);
        }
    }
    Ok(chosen)
}

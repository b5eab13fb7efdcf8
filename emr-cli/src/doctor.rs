//! `emr-doctor`: its command line.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use emr_chain::SettlementLayer;
use emr_client::{client::Client, flow::next_version::EditClass};
use emr_core::{Class, Purpose, Reason, Role, StateRoot, Version};
use emr_rollup::{
    batch::{BatchData, D1Entry, D2Entry},
    state::StateTrees,
    version::CircuitVersion,
};
use serde::Serialize;

use crate::{
    account, attachments, break_glass, cards, classed,
    close::Close,
    conform, delegate,
    disclose::Check,
    failure::{EXIT_CODES, Exit, Failure, OrExit, one_line},
    history, identity, invite, jwe, money,
    ndjson::Import,
    on_l1,
    options::{Options, RecordName, parse_purpose},
    outbox,
    ownership::{self, Owner},
    participant,
    records::{self, Document},
    report::{Answer, Progress, print},
    rotate::Rotate,
    start, validate,
};

const DOCTOR: Role = Role::Doctor;

/// Writes and reads medical records under the patients' grants.
#[derive(Debug, Parser)]
#[command(name = "emr-doctor", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Whether to print the answer, or the error, as JSON.
    pub const fn json(&self) -> bool {
        self.options.json
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an identity: RSA key, rollup key, Ethereum key, encrypted under a passphrase
    Init(account::Init),
    /// Change the passphrase, make a backup, restore it
    #[command(subcommand)]
    Identity(identity::Command),
    /// Register the identity on L1; a registrar admits it
    Register {
        /// Card of your hospital; it must endorse you first
        #[arg(long, value_name = "CARD")]
        org: Option<PathBuf>,
        #[command(flatten)]
        arguments: account::Register,
    },
    /// Withdraw your own registration, which no registrar has admitted; then you can register again, with own ether
    WithdrawRegistration,
    /// Sign an invitation: the hospital pays for the registration of its holder
    Invite(invite::Invite),
    /// Print this identity's card, to give to others
    Whoami,
    /// Write a new record from a FHIR R4 JSON file
    Upload(classed::Upload),
    /// Check a FHIR file against the definitions of R4, and print each problem with its path; needs no identity and no node
    Validate(validate::Validate),
    /// Check whether a FHIR R4 JSON file, or a record, conforms to a research profile
    Conform(conform::Arguments),
    /// Write a folder of FHIR Bulk Data (NDJSON) of one patient, or what a JWE holds; run it again to continue
    Import(Import),
    /// Write records of a patient to an encrypted file (JWE) that standard software opens
    Export(jwe::Export),
    /// Write a record's next version
    Edit {
        /// The record: PATIENT/SLOT
        record: RecordName,
        /// The FHIR file
        file: PathBuf,
        /// The record's class. Needed if the record is not settled, or if you may not read it
        #[arg(long, conflicts_with = "move_to")]
        class: Option<Class>,
        /// Move the record to another class
        #[arg(long, value_name = "CLASS")]
        move_to: Option<Class>,
        /// Refuse a version that does not conform to this research profile
        #[arg(long, value_name = "PROFILE")]
        profile: Option<PathBuf>,
        #[command(flatten)]
        change: attachments::Change,
        #[command(flatten)]
        target: Target,
    },
    /// Delete one of your own records permanently
    Delete {
        /// The record: PATIENT/SLOT
        record: RecordName,
        #[command(flatten)]
        target: Target,
    },
    /// List the records of a patient that you may know of
    List {
        /// The patient's card
        #[arg(long, value_name = "CARD")]
        patient: PathBuf,
    },
    /// Request access to a record's class; the patient sees the reason
    Request {
        /// The record: PATIENT/SLOT
        record: RecordName,
        /// The record's class: you sign for it
        #[arg(long)]
        class: Class,
        /// The reason: treatment, emergency, payment, operations, research, patient-request, public-health
        #[arg(long, value_parser = parse_purpose)]
        purpose: Reason,
        #[command(flatten)]
        target: Target,
    },
    /// Let a doctor read or write, or a hospital's doctors write, for a patient who named you as a delegate
    Grant(delegate::GrantFor),
    /// Revoke access for a patient who named you as a delegate
    Revoke(delegate::RevokeFor),
    /// Open emergency access without the patient. The patient sees it, and nobody can delete it. No keys are released in this version
    BreakGlass(break_glass::Arguments),
    /// Read a record, check everything, and write its document
    Get {
        /// The record: PATIENT/SLOT
        record: RecordName,
        /// An earlier version. All versions after it are fetched too, because they prove it
        #[arg(long, value_name = "VERSION")]
        version: Option<Version>,
        /// Where to write it [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        part: attachments::Part,
        /// The reason, if access has to be requested first
        #[arg(long, default_value = "treatment", value_parser = parse_purpose)]
        purpose: Reason,
        /// The patient's card, the first time
        #[arg(long, value_name = "CARD")]
        patient: Option<PathBuf>,
    },
    /// List the files beside a record
    Attachments {
        /// The record: PATIENT/SLOT
        record: RecordName,
        /// The reason, if access has to be requested first
        #[arg(long, default_value = "treatment", value_parser = parse_purpose)]
        purpose: Reason,
        /// The patient's card, the first time
        #[arg(long, value_name = "CARD")]
        patient: Option<PathBuf>,
    },
    /// List the settled versions of a record, and what is proved of each
    History(history::OfPatient<history::Arguments>),
    /// Show what changed between two versions of a record
    Diff(history::OfPatient<history::Compared>),
    /// Read a record and print what was verified
    Verify {
        /// The record: PATIENT/SLOT
        record: RecordName,
        /// The patient's card, the first time
        #[arg(long, value_name = "CARD")]
        patient: Option<PathBuf>,
    },
    /// Check a file of `emr-patient disclose`, and print what it shows; needs no identity
    Check(Check),
    /// List operations that are not settled yet; retry or discard refused records
    #[command(subcommand)]
    Outbox(outbox::Command),
    /// Derive the whole state from L1 and compare it with the contract's
    Sync,
    /// Get a new rollup key, through L1: what a thief signs with the old one counts no more. Needs ether, or --output
    Rotate(Rotate),
    /// Close the account for ever, through L1. Needs ether, or --output
    Close(Close),
    /// Show and change who owns the account on L1: name guardians, recover it with their help, hand it over
    #[command(subcommand)]
    Owner(Owner),
    /// Take the forfeit for an urgent entry of yours that was settled late
    Claim(money::ClaimArguments),
    /// Take back what you sent to the urgent queue above its fee
    WithdrawCredit(money::CreditArguments),
    /// Send what somebody signed to L1, and pay for it (`emr-patient revoke --force --output FILE`, `rotate --output FILE` and `close --output FILE` make such files)
    Relay {
        /// The file that they wrote
        file: PathBuf,
    },
    /// Settle overdue entries of the queues on L1, as anyone may if the sequencer does not; needs ether, and no hospital
    #[cfg(feature = "hospital")]
    SettleQueue(crate::hospital::settle_queue::Arguments),
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The patient's card, the first time
    #[arg(long, value_name = "CARD")]
    patient: Option<PathBuf>,
    /// Wait until a batch has settled it
    #[arg(long)]
    wait: bool,
}

/// The program.
pub fn main() -> ExitCode {
    let arguments = start::parse::<Arguments>();
    start::run(arguments.json(), run(arguments))
}

/// Runs the command line.
///
/// # Errors
/// Returns the failure, with its exit code.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { options, command } = arguments;
    let json = options.json;
    match command {
        Command::Init(arguments) => account::init(&options, DOCTOR, &arguments),
        Command::Identity(command) => identity::run(&options, DOCTOR, command),
        Command::Register { org, arguments } => account::register(&options, DOCTOR, org.as_deref(), &arguments).await,
        Command::WithdrawRegistration => account::withdraw_registration(&options, DOCTOR).await,
        Command::Outbox(command) => outbox::run(&options, DOCTOR, command).await,
        Command::Invite(arguments) => invite::invite(&options, DOCTOR, &arguments),
        Command::Whoami => account::whoami(&options, DOCTOR).await,
        Command::Upload(arguments) => arguments.run(&options, DOCTOR).await,
        Command::Validate(arguments) => arguments.run(json),
        Command::Conform(arguments) => arguments.run(&options, DOCTOR).await,
        Command::Import(arguments) => {
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, None, Some(&arguments.patient)).await?;
            arguments.run(&client, &card, json).await
        }
        Command::Export(arguments) => arguments.run(&participant::open(&options, DOCTOR).await?, json).await,
        Command::Edit { record: name, file, class, move_to, profile, change, target } => {
            let class = match (class, move_to) {
                (_, Some(to)) => EditClass::MoveTo(to),
                (Some(class), None) => EditClass::Stated(class),
                (None, None) => EditClass::Proved,
            };
            let document = Document::read(&file)?;
            conform::require(&file, &document.record, profile.as_deref())?;
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, Some(name.patient), target.patient.as_deref()).await?;
            let written = change.edit(&client, &card, (name, class), document).await?;
            records::written(&client, &written, target.wait, json).await
        }
        Command::Delete { record: name, target } => {
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, Some(name.patient), target.patient.as_deref()).await?;
            records::delete(&client, &card, name, target.wait, json).await
        }
        Command::List { patient } => {
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, None, Some(&patient)).await?;
            let list = client.records(&card).await?;
            records::list(card.registered().or_exit(Exit::Input)?, &list, json)
        }
        Command::Request { record: name, class, purpose, target } => {
            let client = participant::open(&options, DOCTOR).await?;
            request(&client, name, Purpose { reason: purpose, class }, &target, json).await
        }
        Command::Grant(arguments) => {
            let arguments = arguments.read()?;
            arguments.run(&participant::open(&options, DOCTOR).await?, json).await
        }
        Command::Revoke(arguments) => {
            let arguments = arguments.read()?;
            arguments.run(&participant::open(&options, DOCTOR).await?, json).await
        }
        Command::BreakGlass(arguments) => {
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, None, Some(&arguments.patient)).await?;
            break_glass::run(&client, &card, &arguments, json).await
        }
        Command::History(arguments) => {
            let client = participant::open(&options, DOCTOR).await?;
            let (what, card, purpose) = arguments.open(&client).await?;
            what.run(&client, &card, purpose, json).await
        }
        Command::Diff(arguments) => {
            let client = participant::open(&options, DOCTOR).await?;
            let (what, card, purpose) = arguments.open(&client).await?;
            what.run(&client, &card, purpose, json).await
        }
        Command::Get { record: name, version, output, part, purpose, patient } => {
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, Some(name.patient), patient.as_deref()).await?;
            if let Some(version) = version {
                let retrieved = history::fetch(&client, &card, (name, version), Some(purpose)).await?;
                return part.output_version(&client, (name, &retrieved), output.as_deref(), json).await;
            }
            let retrieved = records::fetch(&client, &card, name, Some(purpose)).await?;
            part.output(&client, (name, &retrieved), output.as_deref(), json).await
        }
        Command::Attachments { record: name, purpose, patient } => {
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, Some(name.patient), patient.as_deref()).await?;
            let retrieved = records::fetch(&client, &card, name, Some(purpose)).await?;
            attachments::list(name, &retrieved, json)
        }
        Command::Verify { record: name, patient } => {
            let client = participant::open(&options, DOCTOR).await?;
            let card = cards::patient(&client, Some(name.patient), patient.as_deref()).await?;
            let retrieved = records::fetch(&client, &card, name, None).await?;
            records::checked(name, &retrieved, json)?;
            records::require_settled(name, &retrieved)
        }
        Command::Check(arguments) => arguments.run(&options).await,
        Command::Rotate(arguments) => arguments.run(&options, DOCTOR).await,
        Command::Close(arguments) => arguments.run(&options, DOCTOR).await,
        Command::Owner(command) => ownership::run(&options, DOCTOR, command).await,
        Command::Claim(arguments) => money::claim(&options, DOCTOR, arguments).await,
        Command::WithdrawCredit(arguments) => money::withdraw_credit(&options, DOCTOR, arguments).await,
        Command::Relay { file } => on_l1::relay(&options, DOCTOR, &file).await,
        #[cfg(feature = "hospital")]
        Command::SettleQueue(arguments) => crate::hospital::settle_queue::run(&options, DOCTOR, arguments).await,
        Command::Sync => sync(&participant::open(&options, DOCTOR).await?, json).await,
    }
}

#[derive(Debug, Serialize)]
struct Requested {
    patient: u64,
    class: Class,
    reason: Reason,
    #[serde(flatten)]
    promise: records::Promise,
}

impl Answer for Requested {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "access to {} records of patient {} requested ({})", self.class, self.patient, self.reason)?;
        self.promise.write(out)
    }
}

async fn request(
    client: &Client,
    name: RecordName,
    purpose: Purpose,
    target: &Target,
    json: bool,
) -> Result<(), Failure> {
    let card = cards::patient(client, Some(name.patient), target.patient.as_deref()).await?;
    let Purpose { reason, class } = purpose;
    let list = client.records(&card).await?;
    let record = list.iter().find(|record| record.slot == name.slot).ok_or_else(|| {
        Failure::new(Exit::Refused, format!("there is no record {name} that you may know of; `list` shows them"))
    })?;
    // The request stays in the patient's audit chain, so the node does not choose its class.
    if record.leaf.class != class {
        let listed = record.leaf.class;
        let message = format!("record {name} is in class {class}, you say, but the node lists it in {listed}");
        return Err(Failure::new(Exit::Input, message));
    }
    let requested = client.request(&card, class, reason).await?;
    let promise = records::promise(client, &requested.acknowledged, target.wait).await?;
    print(&Requested { patient: name.patient.get(), class, reason, promise }, json)
}

#[derive(Debug, Serialize)]
struct Synced {
    batches: u64,
    operations: u64,
    derived_root: StateRoot,
    l1_root: StateRoot,
}

impl Answer for Synced {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{} batches with {} operations give the state root that L1 holds:",
            self.batches, self.operations
        )?;
        writeln!(out, "{}", self.l1_root)
    }
}

/// Computes both trees from the batches' data on L1.
async fn sync(client: &Client, json: bool) -> Result<(), Failure> {
    let progress = Progress::start("reading batches from L1");
    let settled = client.settled_state().await.map_err(emr_client::ClientError::from)?;
    let mut batches = client.rollup().batches(client.rollup().deployed_at()).await.or_exit(Exit::Unavailable)?;
    batches.truncate(usize::try_from(settled.batches()).unwrap_or(usize::MAX));
    let mut trees = StateTrees::genesis(CircuitVersion::V1);
    let mut operations = 0;
    for batch in &batches {
        progress.say(format!("batch {}", batch.number));
        let d1 =
            batch.content.d1.iter().map(D1Entry::from_bytes).collect::<Result<_, _>>().or_exit(Exit::Unverified)?;
        let d2 =
            batch.content.d2.iter().map(D2Entry::from_bytes).collect::<Result<_, _>>().or_exit(Exit::Unverified)?;
        let data = BatchData { d1, d2 };
        operations += (data.d1.len() + data.d2.len()) as u64;
        trees.apply(&data, batch.content.time).map_err(|error| Failure::new(Exit::Unverified, one_line(&error)))?;
    }
    drop(progress);
    let (derived_root, l1_root) = (trees.root(), settled.root());
    if derived_root != l1_root {
        let message = format!(
            "the batches on L1 give root {derived_root}, the contract holds {l1_root}: the Ethereum node hides or invents batches; use another one"
        );
        return Err(Failure::new(Exit::Unverified, message));
    }
    print(&Synced { batches: settled.batches(), operations, derived_root, l1_root }, json)
}

//! `emr-patient`: its command line.

mod answer;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use emr_client::{
    client::Client,
    flow::retrieve::Retrieved,
    verify::{audit::Verified, delegated::givers, light::VerifiedLeaves},
};
use emr_core::{AccountIndex, Class, ClassMask, Role, UnixTime, Version};
use emr_rollup::state::leaf::AuditEntry;

use crate::{
    account, attachments, audit_events,
    close::Close,
    consent::{self, GrantTerms},
    delegate,
    disclose::{Check, Disclose},
    failure::{EXIT_CODES, Exit, Failure, OrExit},
    force::{self, Force},
    history::{self, Named},
    identity, jwe,
    light::{Access, Audit, Grants, LightAnswer},
    link::{Link, Links},
    money,
    options::{Options, RecordName, parse_classes},
    outbox,
    ownership::{self, Owner},
    participant,
    records::{self, Document},
    rekey,
    report::{Progress, print, warn_of_age, written},
    rotate::Rotate,
    start, storage,
};
use answer::{GrantAnswer, RevokeAnswer};

const PATIENT: Role = Role::Patient;

/// Controls who may read and write your medical records, and shows what was done with them.
#[derive(Debug, Parser)]
#[command(name = "emr-patient", version, after_help = EXIT_CODES)]
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
    /// Register the identity on L1; with an invitation, the hospital pays
    Register(account::Register),
    /// Print this identity's card, to give to your doctors
    Whoami,
    /// Let a doctor read or write, or a hospital's doctors write
    Grant {
        /// Card of the doctor or hospital
        card: PathBuf,
        #[command(flatten)]
        terms: GrantTerms,
        /// Wait until a batch has settled it
        #[arg(long)]
        wait: bool,
    },
    /// Name a doctor as your delegate, who grants and revokes for you within limits (see `delegate --help`)
    Delegate(delegate::Delegate),
    /// Revoke access, emergency access too; the classes get new keys
    Revoke {
        /// Card of the doctor or hospital
        #[arg(required_unless_present = "force", conflicts_with = "force")]
        card: Option<PathBuf>,
        /// Only these classes, separated by commas
        #[arg(long, value_name = "CLASSES", default_value = "all", conflicts_with = "force")]
        class: String,
        /// Wait until a batch has settled it
        #[arg(long, conflicts_with = "force")]
        wait: bool,
        #[command(flatten)]
        force: Force,
    },
    /// Encrypt records under the newest keys, so that readers whose access was revoked cannot open them from the hospital
    Rekey {
        /// Only these classes, separated by commas
        #[arg(long, value_name = "CLASSES", default_value = "all")]
        class: String,
        /// Card of the hospital to name as the records' custodian; no ciphertext is moved there
        #[arg(long, value_name = "CARD")]
        custodian: Option<PathBuf>,
        /// Wait until batches have settled it
        #[arg(long)]
        wait: bool,
    },
    /// List who has access, recomputed from all grants and checked against L1
    Grants {
        /// Print a FHIR R4 Bundle of Consents
        #[arg(long)]
        fhir: bool,
    },
    /// List your records, checked against L1
    Records,
    /// List all operations on your records and grants, recomputed and checked against L1
    Audit {
        /// List only the newest N entries; older ones are neither fetched nor checked
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Print a FHIR R4 Bundle of AuditEvents, the whole chain
        #[arg(long, conflicts_with = "last")]
        fhir: bool,
    },
    /// Write your settled FHIR records as FHIR Bulk Data (one NDJSON file for each resource type), or to an encrypted file (JWE)
    Export(jwe::PatientExport),
    /// Write your own record from a FHIR R4 JSON file
    Put {
        /// The FHIR file
        file: PathBuf,
        /// The record's class
        #[arg(long)]
        class: Class,
        #[command(flatten)]
        attach: attachments::Attach,
        /// Wait until a batch has settled it
        #[arg(long)]
        wait: bool,
    },
    /// Read a record, check everything, and write its document
    Get {
        /// The record: PATIENT/SLOT
        record: RecordName,
        /// An earlier version
        #[arg(long, value_name = "VERSION")]
        version: Option<Version>,
        /// Where to write it [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        part: attachments::Part,
    },
    /// List the files beside a record
    Attachments {
        /// The record: PATIENT/SLOT
        record: RecordName,
    },
    /// Write a file that shows chosen fields of a record, with proof, to somebody without an account
    Disclose(Disclose),
    /// Check a file of `disclose`, and print what it shows; needs no identity
    Check(Check),
    /// List the settled versions of a record, proved by your audit chain
    History(history::Arguments),
    /// Show what changed between two versions of a record
    Diff(history::Compared),
    /// Delete a record permanently; its space is free a day after the deletion is settled
    Delete {
        /// The record: PATIENT/SLOT
        record: RecordName,
        /// Wait until a batch has settled it
        #[arg(long)]
        wait: bool,
    },
    /// Make a link that opens records to anyone who has it (SMART Health Link); what the link opened is not in `audit`
    Link(Link),
    /// List your links and who opened them, as the hospital's node says; no proof covers it
    Links(Links),
    /// Show who uses how much of your space at the hospital
    Storage,
    /// List operations that are not settled yet; retry or discard refused records
    #[command(subcommand)]
    Outbox(outbox::Command),
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
    /// Run the whole light check: grants, records and audit chain against a state root proved on L1
    Verify,
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
        Command::Init(arguments) => account::init(&options, PATIENT, &arguments),
        Command::Identity(command) => identity::run(&options, PATIENT, command),
        Command::Register(arguments) => account::register(&options, PATIENT, None, &arguments).await,
        Command::Outbox(command) => outbox::run(&options, PATIENT, command).await,
        Command::Whoami => account::whoami(&options, PATIENT).await,
        Command::Grant { card, terms, wait } => {
            let given = terms.given()?;
            let card = account::read_card(&card)?;
            let client = open(&options).await?;
            let terms = given.terms(&client, &card)?;
            let granted = client.grant(&card, &terms).await?;
            let promise = records::promise(&client, &granted.acknowledged, wait).await?;
            let until = written(granted.may_take_effect_until);
            let answer = GrantAnswer {
                grant: Access::of(granted.slot.get(), &granted.grant),
                promise,
                stays_open: granted.stays_open.classes().collect(),
                may_take_effect_until: until,
            };
            print(&answer, json)
        }
        Command::Delegate(arguments) => {
            let arguments = arguments.read()?;
            arguments.run(&open(&options).await?, json).await
        }
        Command::Revoke { force, .. } if force.force => force.run(&options).await,
        Command::Revoke { card, class, wait, .. } => {
            let classes = parse_classes(&class)?;
            let card = card.ok_or_else(|| Failure::new(Exit::Usage, "name the card of the doctor or hospital"))?;
            let card = account::read_card(&card)?;
            // Ending access waits for nothing else.
            let revoked = async {
                let client = participant::open(&options, PATIENT).await?;
                revoke(&client, card.registered().or_exit(Exit::Input)?, classes, wait, json).await
            };
            revoked.await.map_err(force::offer)
        }
        Command::Rekey { class, custodian, wait } => {
            let classes = parse_classes(&class)?;
            let custodian = custodian.map(|card| account::read_card(&card)).transpose()?;
            let client = open(&options).await?;
            rekey::run(&client, classes, custodian.as_ref(), wait, json).await
        }
        Command::Grants { fhir: true } => {
            let client = open(&options).await?;
            let leaves = leaves(&client).await?;
            consent::print_grants(&client, &leaves).await
        }
        Command::Grants { fhir: false } => {
            let client = open(&options).await?;
            let progress = Progress::start("recomputing and comparing with L1");
            let (leaves, emergencies, givers) = client.own_leaves_with_givers().await?;
            drop(progress);
            say_what_waits(&leaves);
            print(&Grants::of(&leaves, &emergencies, &givers), json)
        }
        Command::Records => {
            let client = open(&options).await?;
            let leaves = leaves(&client).await?;
            let patient = client.account().or_exit(Exit::Usage)?;
            records::list(patient, leaves.records(), json)
        }
        Command::Audit { fhir: true, .. } => {
            let client = open(&options).await?;
            let (verified, entries) = check(&client, usize::MAX).await?;
            audit_events::print(&client, &verified, &entries)
        }
        Command::Export(arguments) => {
            let client = open(&options).await?;
            let leaves = leaves(&client).await?;
            arguments.run(&client, &leaves, json).await
        }
        Command::Audit { last, fhir: false } => {
            let client = open(&options).await?;
            print(&audit(&client, last).await?, json)
        }
        Command::Put { file, class, attach, wait } => {
            let document = Document::read(&file)?;
            let client = open(&options).await?;
            let card = client.card();
            let written = attach.upload(&client, &card, class, document).await?;
            records::written(&client, &written, wait, json).await
        }
        Command::History(arguments) => {
            let client = open(&options).await?;
            let card = history::own(&client, arguments.record())?;
            arguments.run(&client, &card, None, json).await
        }
        Command::Diff(arguments) => {
            let client = open(&options).await?;
            let card = history::own(&client, arguments.record())?;
            arguments.run(&client, &card, None, json).await
        }
        Command::Get { record: name, version, output, part } => {
            let client = open(&options).await?;
            if let Some(version) = version {
                let card = history::own(&client, name)?;
                let retrieved = history::fetch(&client, &card, (name, version), None).await?;
                return part.output_version(&client, (name, &retrieved), output.as_deref(), json).await;
            }
            let retrieved = own_record(&client, name).await?;
            part.output(&client, (name, &retrieved), output.as_deref(), json).await
        }
        Command::Attachments { record: name } => {
            let client = open(&options).await?;
            attachments::list(name, &own_record(&client, name).await?, json)
        }
        Command::Disclose(arguments) => arguments.run(&open(&options).await?, json).await,
        Command::Check(arguments) => arguments.run(&options).await,
        Command::Delete { record: name, wait } => {
            let client = open(&options).await?;
            let card = client.card();
            if card.account != Some(name.patient) {
                return Err(Failure::new(Exit::Refused, format!("record {name} is not yours; `records` lists yours")));
            }
            records::delete(&client, &card, name, wait, json).await
        }
        Command::Rotate(arguments) => arguments.run(&options, PATIENT).await,
        Command::Close(arguments) => arguments.run(&options, PATIENT).await,
        Command::Owner(command) => ownership::run(&options, PATIENT, command).await,
        Command::Claim(arguments) => money::claim(&options, PATIENT, arguments).await,
        Command::WithdrawCredit(arguments) => money::withdraw_credit(&options, PATIENT, arguments).await,
        Command::Link(arguments) => arguments.run(&open(&options).await?, json).await,
        Command::Links(arguments) => arguments.run(&open(&options).await?, json).await,
        Command::Storage => storage::show(&open(&options).await?, json).await,
        Command::Verify => {
            let client = open(&options).await?;
            let (verified, entries) = check(&client, usize::MAX).await?;
            let emergencies =
                verified.leaves().emergencies(&entries, UnixTime::now()).map_err(emr_client::ClientError::from)?;
            let patient = client.account().or_exit(Exit::Usage)?;
            let grants = Grants::of(verified.leaves(), &emergencies, &givers(&entries, patient));
            print(
                &LightAnswer { light_verified: true, grants, audit: Audit::whole(&verified, &entries, patient) },
                json,
            )
        }
    }
}

/// Opens the identity and connects, and reports emergency grants that are new since the last command.
async fn open(options: &Options) -> Result<Client, Failure> {
    let client = participant::open(options, PATIENT).await?;
    // The command does not depend on it: if the node cannot answer now, the next command asks again.
    if let Ok(new @ 1..) = client.new_emergencies().await {
        eprintln!(
            "EMERGENCY: doctors opened emergency access to your records, new grants: {new}; `grants` and `audit` show them"
        );
    }
    if let Ok(new) = client.new_grants_of_delegates().await {
        for given in &new {
            let grantee =
                given.leaf().grantee.map_or_else(|| "nobody".to_owned(), |account| format!("account {account}"));
            eprintln!("your delegate, account {}, gave {grantee} access; `grants` shows it", given.delegate());
        }
        // Only after they were shown. If this fails, the next command shows them again.
        if !new.is_empty()
            && let Err(error) = client.note_told(&new).await
        {
            eprintln!("the next command says this again: {error}");
        }
    }
    Ok(client)
}

/// Fetches and checks one of the patient's own records.
async fn own_record(client: &Client, name: RecordName) -> Result<Retrieved, Failure> {
    let card = client.card();
    if card.account != Some(name.patient) {
        return Err(Failure::new(Exit::Refused, format!("record {name} is not yours; `records` lists yours")));
    }
    records::fetch(client, &card, name, None).await
}

/// Fetches and checks grants and records, but not the audit chain.
async fn leaves(client: &Client) -> Result<VerifiedLeaves, Failure> {
    let progress = Progress::start("recomputing and comparing with L1");
    let leaves = client.own_leaves().await?;
    drop(progress);
    say_what_waits(&leaves);
    Ok(leaves)
}

/// Runs the whole light check. Also returns the newest `keep` entries of the audit chain.
///
/// # Errors
/// Fails if anything does not verify.
pub async fn check(client: &Client, keep: usize) -> Result<(Verified, Vec<AuditEntry>), Failure> {
    let progress = Progress::start("recomputing and comparing with L1");
    let checked = client.light_check_with_audit(keep).await?;
    drop(progress);
    say_what_waits(checked.0.leaves());
    Ok(checked)
}

/// Fetches and checks the whole audit chain, or its newest entries.
async fn audit(client: &Client, last: Option<usize>) -> Result<Audit, Failure> {
    let patient = client.account().or_exit(Exit::Usage)?;
    let Some(last) = last else {
        let (verified, entries) = check(client, usize::MAX).await?;
        return Ok(Audit::whole(&verified, &entries, patient));
    };
    let progress = Progress::start("recomputing and comparing with L1");
    let (leaves, entries) = client.recent_audit(last).await?;
    drop(progress);
    say_what_waits(&leaves);
    Ok(Audit::newest(&leaves, &entries, patient))
}

fn say_what_waits(leaves: &VerifiedLeaves) {
    let waiting = leaves.pending().len();
    if waiting > 0 {
        eprintln!("acknowledged operations that wait for a batch and are not shown: {waiting}");
    }
}

async fn revoke(
    client: &Client,
    grantee: AccountIndex,
    classes: ClassMask,
    wait: bool,
    json: bool,
) -> Result<(), Failure> {
    let client = &client.for_revoking();
    let revoked = client.revoke(grantee, classes).await;
    warn_of_age(client);
    let revoked = revoked?;
    let mut operations = Vec::new();
    for (_, acknowledged) in &revoked.changed {
        operations.push(records::promise(client, acknowledged, wait).await?);
    }
    let new_epochs = revoked.new_epochs.classes().collect();
    print(&RevokeAnswer { grantee: revoked.grantee, new_epochs, keys_wait: revoked.keys_wait, operations }, json)
}

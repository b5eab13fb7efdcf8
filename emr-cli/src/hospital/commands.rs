//! `emr-hospital`: its command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use alloy::primitives::Address;
use clap::{Parser, Subcommand};
use emr_core::Role;

use super::{
    Deploy, Memory, Serving,
    admission::{self, Verdict},
    adopt, fees, inviter,
    links::{self, Links},
    office, prover, proving, setup,
};
use crate::{
    account,
    close::Close,
    demo::{self, Demo},
    doctor,
    failure::{EXIT_CODES, Failure},
    identity, invite, money,
    options::{DEFAULT_RPC, Options},
    ownership::{self, Owner},
    rotate::Rotate,
    start,
};

const HOSPITAL: Role = Role::Hospital;

/// Runs a hospital: sequences, proves, settles, keeps blocks.
#[derive(Debug, Parser)]
#[command(name = "emr-hospital", version, after_help = EXIT_CODES)]
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
    /// Take a FHIR Bundle through the whole system and show what happens
    Demo(Demo),
    /// Run everything in one process with its own chain, for development
    Dev {
        #[command(flatten)]
        serving: Serving,
        /// The address where the chain's Ethereum JSON-RPC listens
        #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_RPC)]
        rpc_listen: SocketAddr,
    },
    /// Make an identity: RSA key, rollup key, Ethereum key, encrypted under a passphrase
    Init(account::Init),
    /// Change the passphrase, make a backup, restore it
    #[command(subcommand)]
    Identity(identity::Command),
    /// Register the identity on L1; a registrar admits it
    Register(account::Register),
    /// Sign an invitation: this hospital pays for the registration of its holder
    Invite(invite::Invite),
    /// List who invites at this hospital's expense, and end or resume a doctor's invitations
    #[command(subcommand)]
    Inviter(Inviter),
    /// List the links by which patients share records, and end one
    #[command(subcommand)]
    Links(Links),
    /// Print this hospital's card, to give to others
    Whoami,
    /// Check the powers-of-tau file of a ceremony, and keep its setup for the keys
    Setup(setup::Import),
    /// Deploy verifiers and rollup to the chain at --rpc: a development chain, or with the setup of a ceremony
    Deploy(Deploy),
    /// Take the registration fees from the contract
    CollectFees {
        /// The recipient's address [default: this hospital's Ethereum account]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<Address>,
    },
    /// Run the node on the chain at --rpc
    Serve(Serving),
    /// Fetch sealed batches from the node, prove them and submit the proofs; needs no identity
    Prove {
        /// The file that `emr-hospital prover add` wrote
        #[arg(long, value_name = "FILE")]
        credential: PathBuf,
        #[command(flatten)]
        memory: Memory,
    },
    /// Manage the credentials of machines that prove for this hospital
    #[command(subcommand)]
    Prover(Prover),
    /// Show the node's status
    Status,
    /// Consent that a doctor registers as a doctor of this hospital
    Endorse {
        /// The doctor's card
        card: PathBuf,
        /// Take the consent back, before the doctor is admitted
        #[arg(long)]
        withdraw: bool,
    },
    /// Withdraw this hospital's own registration, which no registrar has admitted; then it can register again, with own ether
    WithdrawRegistration,
    /// Run an `emr-doctor` command with this program; the demo starts a new process this way
    #[command(hide = true)]
    AsDoctor {
        /// The command line
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
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
    /// Go on with the operation log of the hospital that was the sequencer before; its node must not run
    Adopt {
        /// The data folder of that hospital, or a copy of it
        folder: PathBuf,
    },
    /// Show and change who holds the rollup's offices: sequencer, registrars, guardians
    #[command(subcommand)]
    Office(office::Office),
    /// As a registrar, admit, suspend or reinstate an account
    Registrar {
        /// What to do with the account
        verdict: Verdict,
        /// The card of the doctor or hospital; the number of the account is enough to suspend or reinstate
        who: String,
    },
}

/// Commands about provers.
#[derive(Debug, Subcommand)]
enum Prover {
    /// Make a credential for a prover, which only fetches sealed batches and submits proofs; it is shown once
    Add {
        /// A name for the prover
        name: String,
        /// Write the credential to this new file (mode 0600) instead of printing it
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// End a prover's credential at once
    Remove {
        /// The prover's name
        name: String,
    },
    /// Print the provers that have a credential
    List,
}

/// Commands about inviters.
#[derive(Debug, Subcommand)]
enum Inviter {
    /// List whose invitations were used today, and whose were ended
    List,
    /// End a doctor's invitations at once
    End {
        /// The doctor: an account number or a card file
        who: String,
    },
    /// Accept a doctor's invitations again
    Resume {
        /// The doctor: an account number or a card file
        who: String,
    },
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
    match command {
        Command::Demo(arguments) => demo::run(&options, &arguments).await,
        Command::Dev { serving, rpc_listen } => super::dev(&options, &serving, rpc_listen).await,
        Command::Init(arguments) => account::init(&options, HOSPITAL, &arguments),
        Command::Identity(command) => identity::run(&options, HOSPITAL, command),
        Command::Register(arguments) => account::register(&options, HOSPITAL, None, &arguments).await,
        Command::Invite(arguments) => invite::invite(&options, HOSPITAL, &arguments),
        Command::Inviter(Inviter::List) => inviter::list(&options).await,
        Command::Inviter(Inviter::End { who }) => inviter::set(&options, &who, false).await,
        Command::Inviter(Inviter::Resume { who }) => inviter::set(&options, &who, true).await,
        Command::Links(command) => links::run(&options, command).await,
        Command::Whoami => account::whoami(&options, HOSPITAL).await,
        Command::Setup(arguments) => setup::import(&options, &arguments).await,
        Command::Deploy(arguments) => super::deploy(&options, &arguments).await,
        Command::CollectFees { to } => fees::collect(&options, to).await,
        Command::Serve(serving) => super::serve(&options, &serving).await,
        Command::Prove { credential, memory } => proving::prove(&options, &credential, memory).await,
        Command::Prover(Prover::Add { name, output }) => prover::add(&options, &name, output.as_deref()).await,
        Command::Prover(Prover::Remove { name }) => prover::remove(&options, &name).await,
        Command::Prover(Prover::List) => prover::list(&options).await,
        Command::Status => super::status(&options).await,
        Command::Endorse { card, withdraw } => admission::endorse(&options, &card, withdraw).await,
        Command::WithdrawRegistration => account::withdraw_registration(&options, HOSPITAL).await,
        Command::AsDoctor { arguments } => {
            let arguments = std::iter::once(OsString::from("emr-doctor")).chain(arguments);
            doctor::run(doctor::Arguments::parse_from(arguments)).await
        }
        Command::Rotate(arguments) => arguments.run(&options, HOSPITAL).await,
        Command::Close(arguments) => arguments.run(&options, HOSPITAL).await,
        Command::Owner(command) => ownership::run(&options, HOSPITAL, command).await,
        Command::Claim(arguments) => money::claim(&options, HOSPITAL, arguments).await,
        Command::WithdrawCredit(arguments) => money::withdraw_credit(&options, HOSPITAL, arguments).await,
        Command::Adopt { folder } => adopt::run(&options, &folder).await,
        Command::Office(command) => office::run(&options, command).await,
        Command::Registrar { verdict, who } => admission::registrar(&options, verdict, &who).await,
    }
}

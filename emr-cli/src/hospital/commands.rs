//! `emr-hospital`: its command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use alloy::primitives::{Address, U256};
use clap::{Parser, Subcommand};
use emr_core::Role;

use super::{
    Serving,
    admission::{self, Verdict},
    fees, inviter, prover, proving,
};
use crate::{
    account,
    demo::{self, Demo},
    doctor,
    failure::{EXIT_CODES, Failure},
    invite,
    options::{DEFAULT_RPC, Options},
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
    /// Whether the answer, or the error, is JSON.
    pub const fn json(&self) -> bool {
        self.options.json
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a FHIR Bundle through the whole system and show what happens
    Demo(Demo),
    /// Run everything in one process, with a chain of its own: for development
    Dev {
        #[command(flatten)]
        serving: Serving,
        /// Where the chain's Ethereum JSON-RPC listens
        #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_RPC)]
        rpc_listen: SocketAddr,
    },
    /// Make an identity: RSA key, rollup key, Ethereum key, encrypted under a passphrase
    Init(account::Init),
    /// Register the identity on L1; a registrar admits it
    Register(account::Register),
    /// Sign an invitation: this hospital pays for the registration of who has it
    Invite(invite::Invite),
    /// Who invites at this hospital's expense, and who no longer
    #[command(subcommand)]
    Inviter(Inviter),
    /// Print this hospital's card, to give to others
    Whoami,
    /// Deploy verifier and rollup to the development chain at --rpc
    Deploy {
        /// What a registration costs, in ether, at most 1. It cannot be changed later. On a chain that others use, 0 lets anyone
        /// fill the queue for the price of gas
        #[arg(long, value_name = "ETHER", default_value = "0", value_parser = fees::parse)]
        registration_fee: U256,
    },
    /// Take the registration fees from the contract
    CollectFees {
        /// Where they go [default: this hospital's Ethereum account]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<Address>,
    },
    /// Run the node on the chain at --rpc
    Serve(Serving),
    /// Fetch sealed batches from the node, prove them, hand the proofs in; needs no identity
    Prove {
        /// The file that `emr-hospital prover add` wrote
        #[arg(long, value_name = "FILE")]
        credential: PathBuf,
    },
    /// Let other machines prove, or end that
    #[command(subcommand)]
    Prover(Prover),
    /// What the node says of itself
    Status,
    /// Consent that a doctor registers as belonging to this hospital
    Endorse {
        /// The doctor's card
        card: PathBuf,
    },
    /// Run an `emr-doctor` command with this program: how the demo starts a fresh process
    #[command(hide = true)]
    AsDoctor {
        /// The command line
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// As the registrar, admit or hold back an account
    Registrar {
        /// What to do
        verdict: Verdict,
        /// The card of the doctor or hospital
        card: PathBuf,
    },
}

/// What a hospital does with provers.
#[derive(Debug, Subcommand)]
enum Prover {
    /// Make a credential for a prover: it fetches sealed batches and hands in proofs, nothing else. It is shown once
    Add {
        /// What to call the prover
        name: String,
        /// Write the credential to this new file (mode 0600) instead of printing it
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// End a prover's credential, at once
    Remove {
        /// Which prover
        name: String,
    },
    /// Print the provers that have a credential
    List,
}

/// What a hospital does with inviters.
#[derive(Debug, Subcommand)]
enum Inviter {
    /// Print whose invitations were used today, and whose no longer count
    List,
    /// Let the invitations of a doctor no longer count, at once
    End {
        /// The doctor: an account number or a card file
        who: String,
    },
    /// Let them count again
    Resume {
        /// The doctor: an account number or a card file
        who: String,
    },
}

/// Runs the command line.
///
/// # Errors
/// What did not work, with an exit code.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { options, command } = arguments;
    match command {
        Command::Demo(arguments) => demo::run(&options, &arguments).await,
        Command::Dev { serving, rpc_listen } => super::dev(&options, &serving, rpc_listen).await,
        Command::Init(arguments) => account::init(&options, HOSPITAL, &arguments),
        Command::Register(arguments) => account::register(&options, HOSPITAL, None, &arguments).await,
        Command::Invite(arguments) => invite::invite(&options, HOSPITAL, &arguments),
        Command::Inviter(Inviter::List) => inviter::list(&options).await,
        Command::Inviter(Inviter::End { who }) => inviter::set(&options, &who, false).await,
        Command::Inviter(Inviter::Resume { who }) => inviter::set(&options, &who, true).await,
        Command::Whoami => account::whoami(&options, HOSPITAL).await,
        Command::Deploy { registration_fee } => super::deploy(&options, registration_fee).await,
        Command::CollectFees { to } => fees::collect(&options, to).await,
        Command::Serve(serving) => super::serve(&options, &serving).await,
        Command::Prove { credential } => proving::prove(&options, &credential).await,
        Command::Prover(Prover::Add { name, output }) => prover::add(&options, &name, output.as_deref()).await,
        Command::Prover(Prover::Remove { name }) => prover::remove(&options, &name).await,
        Command::Prover(Prover::List) => prover::list(&options).await,
        Command::Status => super::status(&options).await,
        Command::Endorse { card } => admission::endorse(&options, &card).await,
        Command::AsDoctor { arguments } => {
            let arguments = std::iter::once(OsString::from("emr-doctor")).chain(arguments);
            doctor::run(doctor::Arguments::parse_from(arguments)).await
        }
        Command::Registrar { verdict, card } => admission::registrar(&options, verdict, &card).await,
    }
}

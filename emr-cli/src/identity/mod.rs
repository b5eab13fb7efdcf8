//! `identity`: the identity file from its first day to its last: passphrase, backups, restoring.

mod backup;
mod cost;
mod keyring;
mod passphrase;
mod reminder;
mod restore;
mod show;

use clap::Subcommand;
use emr_core::Role;

pub(crate) use cost::Scrypt;
pub(crate) use keyring::read as passphrase_from_keyring;
pub(crate) use reminder::{after_init, remind};

use crate::{failure::Failure, options::Options};

/// Commands about the identity file.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Show where the identity is, how hard its passphrase is to guess, and whether it has a backup; asks for no passphrase
    Show,
    /// Change the passphrase
    Passphrase(passphrase::Change),
    /// Write a backup that needs no passphrase: a file, and its key as words for paper or as shares for guardians
    Backup(backup::Backup),
    /// Make the identity from a backup, with a new passphrase
    Restore(restore::Restore),
    /// Keep the passphrase in the keyring of the operating system
    #[command(subcommand)]
    Keyring(keyring::Command),
}

/// Runs the command.
///
/// # Errors
/// Returns the failure, with its exit code.
pub(crate) fn run(options: &Options, role: Role, command: Command) -> Result<(), Failure> {
    match command {
        Command::Show => show::run(options, role),
        Command::Passphrase(arguments) => arguments.run(options, role),
        Command::Backup(arguments) => arguments.run(options, role),
        Command::Restore(arguments) => arguments.run(options, role),
        Command::Keyring(command) => keyring::run(options, role, &command),
    }
}

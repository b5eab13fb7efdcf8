//! `identity passphrase`: another passphrase for the same identity.

use std::{io::Write, path::PathBuf};

use clap::Args;
use emr_core::Role;
use serde::Serialize;

use super::{Scrypt, keyring};
use crate::{
    failure::Failure,
    options::{Options, PassphraseSource},
    participant, passphrase,
    report::{Answer, Progress, print},
};

/// Arguments of `identity passphrase`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Change {
    /// File whose first line is the new passphrase [otherwise: a prompt, twice]
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    scrypt: Scrypt,
}

#[derive(Debug, Serialize)]
struct Changed {
    folder: PathBuf,
    scrypt_log_n: u8,
}

impl Answer for Changed {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{}/identity has the new passphrase (scrypt with N = 2^{})",
            self.folder.display(),
            self.scrypt_log_n
        )?;
        writeln!(out, "copies of the old file still open with the old one: delete them if somebody may know it")
    }
}

impl Change {
    /// Asks for the old and the new passphrase, and writes the file again.
    ///
    /// # Errors
    /// Fails if the old passphrase is wrong, if the new one is empty or typed differently, or if the file cannot be written. Then the old file is
    /// still there.
    pub(super) fn run(&self, options: &Options, role: Role) -> Result<(), Failure> {
        let (profile, identity) = participant::identity(options, role)?;
        let failed = |error| participant::identity_failure(&error, profile.folder());
        let new = passphrase::replacement(self.new_passphrase_file.as_deref())?;
        let before = profile.scrypt_cost().map_err(failed)?;
        let progress = Progress::start("writing the identity");
        let cost = self.scrypt.cost_after(before);
        profile.change_passphrase(&identity, &new, cost).map_err(failed)?;
        drop(progress);
        let folder = profile.folder().to_owned();
        if options.passphrase_from == Some(PassphraseSource::Keyring) {
            keyring::write(&folder, role, &new)?;
        }
        print(&Changed { folder, scrypt_log_n: cost.log_n() }, options.json)
    }
}

//! `identity show`: what can be said of an identity without opening it.

use std::{io::Write, path::PathBuf};

use emr_core::{AccountIndex, Role};
use serde::Serialize;

use crate::{
    failure::Failure,
    options::Options,
    participant,
    report::{Answer, print, written},
};

#[derive(Debug, Serialize)]
struct Backup {
    id: String,
    made: String,
    opened_by: String,
}

#[derive(Debug, Serialize)]
struct Shown {
    folder: PathBuf,
    account: Option<AccountIndex>,
    scrypt_log_n: u8,
    memory_mebibytes: u64,
    backup: Option<Backup>,
    #[serde(skip)]
    role: Role,
}

impl Answer for Shown {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { folder, scrypt_log_n, memory_mebibytes, role, .. } = self;
        match self.account {
            Some(account) => writeln!(out, "{role} {account} in {}", folder.display())?,
            None => writeln!(out, "{role} in {}, not registered as far as this folder tells", folder.display())?,
        }
        writeln!(out, "each guess of the passphrase takes scrypt with N = 2^{scrypt_log_n} ({memory_mebibytes} MiB)")?;
        match &self.backup {
            Some(Backup { id, made, opened_by }) => {
                writeln!(out, "backup {id} of {made} has the present keys; {opened_by} open it")
            }
            None => writeln!(out, "no backup of the present keys was made: `emr-{role} identity backup --help`"),
        }
    }
}

/// Shows it.
///
/// # Errors
/// Fails if there is no identity, or if another process uses it.
pub(super) fn run(options: &Options, role: Role) -> Result<(), Failure> {
    let profile = participant::profile(options, role)?;
    let cost = profile.scrypt_cost().map_err(|error| participant::identity_failure(&error, profile.folder()))?;
    let backup = profile.backup_mark().map(|mark| Backup {
        id: mark.backup,
        made: written(mark.time),
        opened_by: mark.opened_by,
    });
    let account = profile.settings().ok().and_then(|known| known.account);
    let (folder, memory_mebibytes) = (profile.folder().to_owned(), cost.memory() >> 20);
    print(&Shown { folder, account, scrypt_log_n: cost.log_n(), memory_mebibytes, backup, role }, options.json)
}

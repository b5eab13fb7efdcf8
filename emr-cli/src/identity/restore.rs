//! `identity restore`: the identity from a backup.

use std::{
    io::{IsTerminal, Read, Write},
    path::PathBuf,
};

use clap::Args;
use emr_core::Role;
use emr_crypto::{
    Identity,
    backup::{self, BackupId, BackupKey, KeyShare, MAX_BACKUP_BYTES},
};
use secrecy::ExposeSecret;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Scrypt;
use crate::{
    failure::{Exit, Failure, OrExit, one_line},
    input,
    options::Options,
    participant, passphrase,
    report::{Answer, Progress, print},
};

/// The most that is read of stdin, in bytes: sixteen shares with spaces between their letters have 4 kB.
const MOST_INPUT: usize = 16 * 1024;

/// Arguments of `identity restore`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Restore {
    /// The file that `identity backup` wrote
    file: PathBuf,
    /// Ask for the 24 words, without showing them; or read them from stdin
    #[arg(long, required_unless_present = "shares")]
    words: bool,
    /// Ask for guardians' shares, without showing them; or read them from stdin, one a line
    #[arg(long, conflicts_with = "words")]
    shares: bool,
    /// Only try: open the backup, and write nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    scrypt: Scrypt,
}

#[derive(Debug, Serialize)]
struct Restored {
    role: Role,
    backup: String,
    rsa_fingerprint: String,
    /// `None` if it was only tried.
    folder: Option<PathBuf>,
}

impl Answer for Restored {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { role, backup, rsa_fingerprint, folder } = self;
        let Some(folder) = folder else {
            writeln!(out, "backup {backup} opens: a {role}, RSA key {}..", &rsa_fingerprint[..16])?;
            return writeln!(out, "nothing was written");
        };
        writeln!(out, "{role} restored in {} from backup {backup}, with the new passphrase", folder.display())?;
        writeln!(out, "join the hospital's node again: `emr-{role} --node URL --rpc URL whoami`")?;
        writeln!(out, "what was signed on the lost machine and is not settled may still take effect")
    }
}

impl Restore {
    /// Opens the backup and writes the identity under a new passphrase.
    ///
    /// # Errors
    /// Fails if there is an identity already, if the words or shares do not open the file, if it is of another role, or if it cannot be written.
    pub(super) fn run(&self, options: &Options, role: Role) -> Result<(), Failure> {
        let folder = options.data_dir(role)?;
        if !self.check && folder.join("identity").exists() {
            let message = format!(
                "there is an identity in {} already; give another --data-dir, or try the backup with --check",
                folder.display()
            );
            return Err(Failure::new(Exit::Identity, message));
        }
        let bytes = input::read("the backup", &self.file, MAX_BACKUP_BYTES as u64)?;
        let in_file = |error| Failure::new(Exit::Input, format!("{}: {}", self.file.display(), one_line(&error)));
        let id = backup::id_of(&bytes).map_err(in_file)?;
        let key = if self.words { words()? } else { shares(id)? };
        let identity = key.open(&bytes).map_err(in_file)?;
        if identity.role() != role {
            let found = identity.role();
            let message = format!("this is the backup of a {found}, not of a {role}; use emr-{found}");
            return Err(Failure::new(Exit::Identity, message));
        }
        let written = if self.check { None } else { Some(folder) };
        if let Some(folder) = &written {
            let new = passphrase::new(options.passphrase_file.as_deref())?;
            let progress = Progress::start("writing the identity");
            let profile = participant::create(folder, &identity, &new, self.scrypt.cost())?;
            drop(progress);
            let opened_by = if self.words { "24 words" } else { "its shares" };
            super::backup::note(&profile, &id.to_string(), opened_by)?;
        }
        print(&restored(&identity, id, written), options.json)
    }
}

fn restored(identity: &Identity, id: BackupId, folder: Option<PathBuf>) -> Restored {
    let fingerprint = identity.rsa().public().fingerprint();
    let rsa_fingerprint = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    Restored { role: identity.role(), backup: id.to_string(), rsa_fingerprint, folder }
}

/// The key from words.
fn words() -> Result<BackupKey, Failure> {
    let typed = if std::io::stdin().is_terminal() {
        Zeroizing::new(passphrase::asked("The 24 words: ")?.expose_secret().to_owned())
    } else {
        piped("the words")?
    };
    BackupKey::from_words(&typed).or_exit(Exit::Input)
}

/// The key from shares.
fn shares(id: BackupId) -> Result<BackupKey, Failure> {
    let shares = if std::io::stdin().is_terminal() { asked_shares(id)? } else { piped_shares(id)? };
    let combined = BackupKey::combine(&shares).or_exit(Exit::Input)?;
    for number in &combined.false_shares {
        eprintln!("share {number} is false, and was not used: ask its guardian why");
    }
    Ok(combined.key)
}

/// A share of this backup.
fn share(line: &str, id: BackupId) -> Result<KeyShare, String> {
    let share = KeyShare::from_line(line).map_err(|error| one_line(&error))?;
    if share.id() != id {
        return Err(format!("this share belongs to backup {}, and the file is backup {id}", share.id()));
    }
    Ok(share)
}

/// Asks until there are enough. A share that was mistyped, or is there already, is asked for again.
fn asked_shares(id: BackupId) -> Result<Vec<KeyShare>, Failure> {
    let mut shares: Vec<KeyShare> = Vec::new();
    let mut needed = None;
    while needed.is_none_or(|needed| shares.len() < needed) {
        let of = needed.map_or_else(String::new, |needed| format!(" of {needed}"));
        let typed = passphrase::asked(&format!("Share {}{of}, as on its sheet: ", shares.len() + 1))?;
        match share(typed.expose_secret(), id) {
            Ok(again) if shares.iter().any(|known| known.number() == again.number()) => {
                eprintln!("share {} is there already: take another guardian's", again.number());
            }
            Ok(one) => {
                needed = Some(usize::from(one.scheme().needed()));
                shares.push(one);
            }
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(shares)
}

fn piped_shares(id: BackupId) -> Result<Vec<KeyShare>, Failure> {
    let text = piped("the shares")?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read =
        |(at, line)| share(line, id).map_err(|error| Failure::new(Exit::Input, format!("line {}: {error}", at + 1)));
    lines.map(read).collect()
}

/// Reads stdin to its end. The buffer does not grow, so no copy stays in memory.
fn piped(what: &str) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_INPUT + 1));
    let failed = |error| Failure::new(Exit::Input, format!("cannot read {what} from stdin: {error}"));
    unbuffered_stdin().and_then(|stdin| stdin.take(MOST_INPUT as u64 + 1).read_to_end(&mut bytes)).map_err(failed)?;
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= MOST_INPUT);
    let text =
        text.ok_or_else(|| Failure::new(Exit::Input, format!("stdin does not hold {what}: give them as text")))?;
    if text.trim().is_empty() {
        let message = format!("stdin is empty: type {what} on a terminal, or give them on stdin");
        return Err(Failure::new(Exit::Input, message));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Stdin without the buffer of the standard library, which nobody erases.
#[cfg(unix)]
fn unbuffered_stdin() -> std::io::Result<impl Read> {
    use std::os::fd::AsFd;
    Ok(std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?))
}

#[cfg(not(unix))]
fn unbuffered_stdin() -> std::io::Result<impl Read> {
    Ok(std::io::stdin())
}

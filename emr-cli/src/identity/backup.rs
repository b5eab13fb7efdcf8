//! `identity backup`: a file, and what opens it on paper.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use emr_client::profile::{BackupMark, Profile};
use emr_core::{Role, UnixTime};
use emr_crypto::backup::{BackupKey, KeyShare, Scheme, SealedBackup};
use emr_durable::Disk;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    failure::{Exit, Failure},
    options::Options,
    participant,
    report::{Answer, print, written},
};

/// The backup's name in a folder with shares.
const FILE: &str = "identity.backup";

/// Arguments of `identity backup`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Backup {
    /// Print the key as 24 words, to be written on paper
    #[arg(long, required_unless_present = "shares")]
    words: bool,
    /// Divide the key into shares for guardians, like 3-of-5: any 3 of the 5 open the backup, and 2 tell nothing
    #[arg(long, value_name = "K-of-N", conflicts_with = "words")]
    shares: Option<Scheme>,
    /// The new file for the backup; with --shares a new folder, for the backup and a sheet for each guardian
    #[arg(short, long, value_name = "FILE or DIR")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Words<'a> {
    file: &'a Path,
    backup: String,
    words: &'a str,
}

impl Answer for Words<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "These 24 words open {} (backup {}):", self.file.display(), self.backup)?;
        writeln!(out)?;
        let words: Vec<&str> = self.words.split(' ').collect();
        for (line, four) in words.chunks(4).enumerate() {
            for (column, word) in four.iter().enumerate() {
                write!(out, "{:>4} {word:<10}", line * 4 + column + 1)?;
            }
            writeln!(out)?;
        }
        writeln!(out)?;
        writeln!(
            out,
            "Write them on paper, in this order. They are shown only now, and they are no wallet of a cryptocurrency."
        )?;
        writeln!(
            out,
            "Keep the paper where no thief looks. Keep copies of the file anywhere, but not only on this machine."
        )?;
        writeln!(
            out,
            "Who has both has your keys, without a passphrase. Try them: `identity restore {} --words --check`",
            self.file.display()
        )
    }
}

#[derive(Serialize)]
struct Shares<'a> {
    folder: &'a Path,
    backup: String,
    needed: u8,
    shares: u8,
}

impl Answer for Shares<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { folder, backup, needed, shares } = self;
        writeln!(out, "backup {backup} is {}/{FILE}", folder.display())?;
        writeln!(
            out,
            "print share-1.txt to share-{shares}.txt, give each to another guardian, and delete these files then"
        )?;
        writeln!(
            out,
            "any {needed} guardians together can open the backup: choose people who would not do so without you"
        )?;
        writeln!(out, "keep copies of {FILE} anywhere, but not only on this machine; guardians may keep one too")
    }
}

/// The sheet of a guardian.
fn sheet(share: &KeyShare, role: Role, made: UnixTime) -> Zeroizing<String> {
    let (needed, shares, number) = (share.scheme().needed(), share.scheme().shares(), share.number());
    // Large enough that it never moves.
    let mut sheet = Zeroizing::new(String::with_capacity(2048));
    sheet.push_str(&format!("Share {number} of {shares} of backup {}, made {}\n\n    ", share.id(), written(made)));
    sheet.push_str(&share.to_groups());
    sheet.push_str(&format!(
        "\n\nYou are a guardian of somebody's keys to medical records. Any {needed} of the {shares} shares, together with\n\
         the file {FILE}, give all of these keys. {} shares or fewer tell nothing.\n\n\
         - Print this sheet and keep it like a passport. Do not photograph it, and do not send it.\n\
         - Give it only to the person whom you are a guardian of, or to whom they named for the time after their death.\n\
           Meet them, or hear their voice. A message can come from somebody else.\n\
         - Nobody needs your share for tests, updates or support. Who asks for it in a hurry is a thief.\n\
         - If you lose it, tell the owner. If somebody stole it, tell the owner at once: they make new keys.\n\n\
         To restore: emr-{role} identity restore {FILE} --shares\n",
        needed - 1
    ));
    sheet
}

fn create(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Disk::default().create(file, bytes).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AlreadyExists => "it exists already; name another one",
            _ => "check its folder, or name another one",
        };
        Failure::new(Exit::Storage, format!("cannot make {}: {error}: {advice}", file.display()))
    })
}

impl Backup {
    /// Makes the backup.
    ///
    /// # Errors
    /// Fails if the identity cannot be opened, or if the file or folder exists or cannot be written.
    pub(super) fn run(&self, options: &Options, role: Role) -> Result<(), Failure> {
        let exists = self.output.try_exists().unwrap_or(true);
        if exists {
            let message = format!("{} exists already: name a new one", self.output.display());
            return Err(Failure::new(Exit::Storage, message));
        }
        let (profile, identity) = participant::identity(options, role)?;
        let backup = BackupKey::generate().seal(&identity);
        match self.shares {
            Some(scheme) => self.divide(&backup, scheme, role, options.json)?,
            None => self.show_words(&backup, options.json)?,
        }
        let opened_by = self.shares.map_or_else(|| "24 words".to_owned(), |scheme| format!("{scheme} shares"));
        note(&profile, &backup.key().id().to_string(), &opened_by)
    }

    fn show_words(&self, backup: &SealedBackup, json: bool) -> Result<(), Failure> {
        create(&self.output, backup.file())?;
        let words = backup.key().to_words();
        print(&Words { file: &self.output, backup: backup.key().id().to_string(), words: &words }, json)
    }

    fn divide(&self, backup: &SealedBackup, scheme: Scheme, role: Role, json: bool) -> Result<(), Failure> {
        private_folder(&self.output)?;
        create(&self.output.join(FILE), backup.file())?;
        let made = UnixTime::now();
        for share in backup.key().split(scheme) {
            let file = self.output.join(format!("share-{}.txt", share.number()));
            create(&file, sheet(&share, role, made).as_bytes())?;
        }
        let (needed, shares) = (scheme.needed(), scheme.shares());
        print(&Shares { folder: &self.output, backup: backup.key().id().to_string(), needed, shares }, json)
    }
}

/// Notes that there is a backup of the present keys.
pub(super) fn note(profile: &Profile, backup: &str, opened_by: &str) -> Result<(), Failure> {
    let mark = BackupMark { time: UnixTime::now(), backup: backup.to_owned(), opened_by: opened_by.to_owned() };
    Ok(profile.note_backup(&mark)?)
}

/// Makes a folder that only its owner can look into.
fn private_folder(folder: &Path) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| {
        let message = format!("cannot make the folder {}: {error}; name another one", folder.display());
        Failure::new(Exit::Storage, message)
    })
}

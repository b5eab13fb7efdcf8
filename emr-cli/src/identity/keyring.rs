//! `identity keyring`, and `--passphrase-from keyring`: the passphrase in the keyring of the operating system. On Linux the kernel keeps it in memory
//! for the user, on macOS Keychain. The build needs the feature `keyring`.

use std::path::Path;

use clap::Subcommand;
use emr_core::Role;
use secrecy::SecretString;

use crate::{failure::Failure, options::Options, participant, report};

/// Commands about the keyring.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Command {
    /// Store the passphrase, for `--passphrase-from keyring`: who can use your session can open the identity then
    Store,
    /// Remove the passphrase
    Remove,
}

/// Runs the command.
///
/// # Errors
/// Fails if this build has no keyring, if there is none to be reached, or if the passphrase is wrong.
pub(super) fn run(options: &Options, role: Role, command: &Command) -> Result<(), Failure> {
    store::available()?;
    match command {
        Command::Store => {
            let passphrase = participant::passphrase(options, role)?;
            // A wrong passphrase must not get there.
            let (profile, _) = participant::unlock(&options.data_dir(role)?, role, &passphrase)?;
            write(profile.folder(), role, &passphrase)?;
            report::text(
                "the passphrase is in the keyring: give --passphrase-from keyring, or set EMR_PASSPHRASE_FROM=keyring",
            )
        }
        Command::Remove => {
            let profile = participant::profile(options, role)?;
            store::remove(&user(profile.folder(), role)?)?;
            report::text("the passphrase is not in the keyring any more")
        }
    }
}

/// The passphrase of the identity in a folder.
///
/// # Errors
/// Fails like [`run`], and if the keyring does not hold it.
pub(crate) fn read(folder: &Path, role: Role) -> Result<SecretString, Failure> {
    store::available()?;
    store::read(&user(folder, role)?)
}

/// Keeps the passphrase of the identity in a folder.
pub(super) fn write(folder: &Path, role: Role, passphrase: &SecretString) -> Result<(), Failure> {
    store::write(&user(folder, role)?, passphrase)
}

/// The name of the entry: role and folder.
fn user(folder: &Path, role: Role) -> Result<String, Failure> {
    use crate::failure::{Exit, OrExit};
    Ok(format!("{role}:{}", folder.canonicalize().or_exit(Exit::Storage)?.display()))
}

#[cfg(all(feature = "keyring", any(target_os = "linux", target_os = "macos")))]
mod store {
    use std::sync::Arc;

    use keyring_core::{CredentialStore, Entry, Error};
    use secrecy::{ExposeSecret, SecretString};
    use zeroize::Zeroizing;

    use crate::failure::{Exit, Failure, one_line};

    const SERVICE: &str = "emr";

    fn failure(error: &Error) -> Failure {
        let message = match error {
            Error::NoEntry => {
                "the keyring does not hold the passphrase (any more): store it with `identity keyring store`".to_owned()
            }
            _ => format!(
                "the keyring of this system cannot be used ({}): give --passphrase-file instead",
                one_line(error)
            ),
        };
        Failure::new(Exit::Identity, message)
    }

    fn store() -> Result<Arc<CredentialStore>, Error> {
        #[cfg(target_os = "linux")]
        let store = linux_keyutils_keyring_store::Store::new()?;
        #[cfg(target_os = "macos")]
        let store = apple_native_keyring_store::keychain::Store::new()?;
        Ok(store)
    }

    fn entry(user: &str) -> Result<Entry, Failure> {
        store().and_then(|store| Entry::new_in_store(&store, SERVICE, user)).map_err(|error| failure(&error))
    }

    pub(super) fn available() -> Result<(), Failure> {
        store().map(drop).map_err(|error| failure(&error))
    }

    pub(super) fn read(user: &str) -> Result<SecretString, Failure> {
        let text = entry(user)?.get_password().map(Zeroizing::new).map_err(|error| failure(&error))?;
        Ok(SecretString::from(text.as_str()))
    }

    pub(super) fn write(user: &str, passphrase: &SecretString) -> Result<(), Failure> {
        entry(user)?.set_password(passphrase.expose_secret()).map_err(|error| failure(&error))
    }

    pub(super) fn remove(user: &str) -> Result<(), Failure> {
        entry(user)?.delete_credential().map_err(|error| failure(&error))
    }
}

#[cfg(not(all(feature = "keyring", any(target_os = "linux", target_os = "macos"))))]
mod store {
    use secrecy::SecretString;

    use crate::failure::{Exit, Failure};

    fn none() -> Failure {
        let message =
            "this build has no keyring: give --passphrase-file, or build the programs with `--features keyring`";
        Failure::new(Exit::Usage, message)
    }

    pub(super) fn available() -> Result<(), Failure> {
        Err(none())
    }

    pub(super) fn read(_user: &str) -> Result<SecretString, Failure> {
        Err(none())
    }

    pub(super) fn write(_user: &str, _passphrase: &SecretString) -> Result<(), Failure> {
        Err(none())
    }

    pub(super) fn remove(_user: &str) -> Result<(), Failure> {
        Err(none())
    }
}

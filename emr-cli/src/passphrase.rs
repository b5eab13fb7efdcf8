//! Gets the passphrase from a file, an environment variable, or a prompt.

use std::{io::IsTerminal, path::Path};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::{
    failure::{Exit, Failure},
    input,
};

/// The environment variable that may hold the passphrase.
pub const VARIABLE: &str = "EMR_PASSPHRASE";

/// Gets the passphrase of an existing identity.
///
/// # Errors
/// Fails if the file cannot be read, or if there is neither file nor variable nor terminal.
pub fn existing(file: Option<&Path>) -> Result<SecretString, Failure> {
    match given(file)? {
        Some(passphrase) => Ok(passphrase),
        None => prompt("Passphrase: "),
    }
}

/// Gets a passphrase for a new identity. A prompt asks for it twice.
///
/// # Errors
/// Fails like [`existing`], and if the two differ or the passphrase is empty.
pub fn new(file: Option<&Path>) -> Result<SecretString, Failure> {
    if let Some(passphrase) = given(file)? {
        return Ok(passphrase);
    }
    twice(&format!("--passphrase-file or {VARIABLE}"))
}

fn twice(instead: &str) -> Result<SecretString, Failure> {
    let first = non_empty(ask("New passphrase: ", instead)?.expose_secret())?;
    let second = ask("The same again: ", instead)?;
    if first.expose_secret() == second.expose_secret() {
        Ok(first)
    } else {
        Err(Failure::new(Exit::Identity, "the two passphrases differ; nothing was written, try again"))
    }
}

/// Gets the passphrase that replaces another one. A prompt asks for it twice. [`VARIABLE`] is the old one.
///
/// # Errors
/// Fails like [`new`].
pub fn replacement(file: Option<&Path>) -> Result<SecretString, Failure> {
    match file {
        Some(file) => {
            let text = input::read_secret("the new passphrase file", file)?;
            non_empty(text.lines().next().unwrap_or_default())
        }
        None => twice("--new-passphrase-file"),
    }
}

/// Asks for something secret on the terminal, which must be there. What is typed is not shown.
///
/// # Errors
/// Fails if the terminal cannot be used.
pub fn asked(text: &str) -> Result<SecretString, Failure> {
    ask(text, "stdin")
}

/// Gets the passphrase of an encrypted RSA key.
///
/// # Errors
/// Fails if the file cannot be read, or if there is neither file nor terminal.
pub fn of_rsa_key(file: Option<&Path>) -> Result<SecretString, Failure> {
    match file {
        Some(file) => {
            let text = input::read_secret("the RSA key's passphrase file", file)?;
            Ok(SecretString::from(text.lines().next().unwrap_or_default()))
        }
        None => ask("Passphrase of the RSA key: ", "--rsa-pem-passphrase-file"),
    }
}

/// Gets the passphrase of a keystore. It can be empty.
///
/// # Errors
/// Fails if the file cannot be read, or if there is neither file nor terminal.
pub fn of_keystore(file: Option<&Path>) -> Result<SecretString, Failure> {
    match file {
        Some(file) => {
            let text = input::read_secret("the keystore's passphrase file", file)?;
            Ok(SecretString::from(text.lines().next().unwrap_or_default()))
        }
        None => ask("Passphrase of the keystore: ", "--keystore-passphrase-file"),
    }
}

fn given(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    if let Some(file) = file {
        let text = input::read_secret("the passphrase file", file)?;
        return non_empty(text.lines().next().unwrap_or_default()).map(Some);
    }
    match std::env::var(VARIABLE) {
        Ok(text) => non_empty(&Zeroizing::new(text)).map(Some),
        Err(_) => Ok(None),
    }
}

fn prompt(text: &str) -> Result<SecretString, Failure> {
    non_empty(ask(text, &format!("--passphrase-file or {VARIABLE}"))?.expose_secret())
}

/// Asks on the terminal. `instead` says how to give the passphrase without one.
fn ask(text: &str, instead: &str) -> Result<SecretString, Failure> {
    if !std::io::stdin().is_terminal() {
        let advice = format!("no terminal to ask for the passphrase on; use {instead}");
        return Err(Failure::new(Exit::Identity, advice));
    }
    rpassword::prompt_password(text)
        .map(|text| SecretString::from(Zeroizing::new(text).as_str()))
        .map_err(|error| Failure::new(Exit::Identity, format!("cannot ask for the passphrase: {error}")))
}

fn non_empty(text: &str) -> Result<SecretString, Failure> {
    if text.is_empty() {
        return Err(Failure::new(Exit::Identity, "the passphrase is empty; choose one"));
    }
    Ok(SecretString::from(text))
}

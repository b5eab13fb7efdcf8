//! Opens a participant's data folder with the passphrase, and connects to the node.

use std::{collections::BTreeMap, io::ErrorKind, path::Path};

use emr_client::{
    ClientError, Connections, FileError,
    client::Client,
    flow::own_directory::Repaired,
    flow::submit::{Fate, Resumed},
    node::{NodeClient, NodeError},
    profile::{Profile, ProfileError},
};
use emr_core::{ClassMask, HttpAddress, Role};
use emr_crypto::{Identity, IdentityFileError, ScryptCost};
use emr_rollup::operation::Kind;
use secrecy::SecretString;
use url::Url;

use crate::{
    failure::{Exit, Failure, one_line},
    identity,
    options::{DEFAULT_NODE, DEFAULT_RPC, Options, PassphraseSource},
    outbox, passphrase,
    report::{Progress, written},
    rotate,
};

/// Opens the identity of a role.
///
/// # Errors
/// Fails if there is no identity, if it has another role, or if the passphrase is wrong.
pub fn identity(options: &Options, role: Role) -> Result<(Profile, Identity), Failure> {
    let passphrase = passphrase(options, role)?;
    unlock(&options.data_dir(role)?, role, &passphrase)
}

/// Gets the passphrase of a role's identity.
///
/// # Errors
/// Fails if there is no identity, or if no passphrase is given.
pub fn passphrase(options: &Options, role: Role) -> Result<SecretString, Failure> {
    // Checks first that there is a profile, before it asks for the passphrase.
    drop(Profile::open(&options.data_dir(role)?).map_err(|error| profile_failure(error, role))?);
    match options.passphrase_from {
        Some(PassphraseSource::Keyring) => identity::passphrase_from_keyring(&options.data_dir(role)?, role),
        None => passphrase::existing(options.passphrase_file.as_deref()),
    }
}

/// Opens the identity in a folder.
///
/// # Errors
/// The same as [`identity`].
pub fn unlock(folder: &Path, role: Role, passphrase: &SecretString) -> Result<(Profile, Identity), Failure> {
    let profile = Profile::open(folder).map_err(|error| profile_failure(error, role))?;
    let progress = Progress::start("opening the identity");
    let identity = profile.identity(passphrase).map_err(|error| identity_failure(&error, folder))?;
    drop(progress);
    if identity.role() != role {
        let (found, folder) = (identity.role(), folder.display());
        let message =
            format!("{folder} is the folder of a {found}, not of a {role}; use emr-{found}, or another --data-dir");
        return Err(Failure::new(Exit::Identity, message));
    }
    Ok((profile, identity))
}

/// Makes a data folder with a new identity.
///
/// # Errors
/// Fails if the passphrase is empty, if an identity exists already, or if the folder cannot be written.
pub fn create(
    folder: &Path,
    identity: &Identity,
    passphrase: &SecretString,
    cost: ScryptCost,
) -> Result<Profile, Failure> {
    Profile::create(folder, identity, passphrase, cost).map_err(|error| match error {
        ProfileError::Identity(error) => identity_failure(&error, folder),
        ProfileError::File(FileError::Io { .. }) => {
            let advice = "check its permissions, or give another --data-dir";
            Failure::new(Exit::Storage, format!("cannot make {}: {advice}", one_line(&error)))
        }
        error => profile_failure(error, identity.role()),
    })
}

/// Opens the data folder of a role, without its keys.
///
/// # Errors
/// Fails if there is no profile, or if another process uses it.
pub fn profile(options: &Options, role: Role) -> Result<Profile, Failure> {
    Profile::open(&options.data_dir(role)?).map_err(|error| profile_failure(error, role))
}

/// The address of this folder's node, if the profile knows it.
///
/// # Errors
/// Fails if the profile is damaged or in use.
pub fn known_node(options: &Options, role: Role) -> Result<Option<String>, Failure> {
    match Profile::open(&options.data_dir(role)?) {
        Ok(profile) => Ok(profile.settings().ok().map(|settings| settings.node)),
        Err(ProfileError::NotFound(_)) => Ok(None),
        Err(error) => Err(profile_failure(error, role)),
    }
}

/// Makes a client of the node at an address, without login.
///
/// # Errors
/// Fails if the text is not an address, or if plain http is not allowed there.
pub fn node(options: &Options, address: &str) -> Result<NodeClient, Failure> {
    let node = HttpAddress::parse(address, options.plain_http()).map_err(NodeError::from).and_then(NodeClient::at);
    Ok(node?)
}

/// Opens the identity and connects to its node. Submits operations that an interrupted run had signed.
///
/// # Errors
/// Fails like [`identity`], and if the node or the chain cannot be used.
pub async fn open(options: &Options, role: Role) -> Result<Client, Failure> {
    let client = connect_as(options, role).await?;
    let resumed = client.resume().await?;
    for line in summary(&resumed) {
        eprintln!("{line}");
    }
    let in_force = |resumed: &Resumed| matches!(resumed.fate, Fate::Settled { .. } | Fate::InForce);
    // A delegate's revocation leaves the keys to this program.
    let may_need_repair = client.profile().keys_wait()
        || client.profile().has_delegates()
        || resumed.iter().any(|resumed| resumed.kind != Kind::PutRecord && in_force(resumed));
    if role == Role::Patient && may_need_repair {
        match client.repair_directory().await {
            Ok(None) => {}
            Ok(Some(repaired)) => {
                for line in said_of(&repaired) {
                    eprintln!("{line}");
                }
            }
            // No command needs it, and `revoke` must not wait for it. The next command tries again.
            Err(error) => eprintln!("whether somebody whose access has ended still has keys is not known: {error}"),
        }
    }
    warn_of_recovery(&client, role).await;
    report_refused(client.profile(), role);
    Ok(client)
}

/// Says if somebody is about to get the account: the owner has seven days to cancel, and may not look in between.
async fn warn_of_recovery(client: &Client, role: Role) {
    if client.account().is_err() {
        return;
    }
    match client.waiting_recovery().await {
        Ok(None) => {}
        Ok(Some((person, from))) => eprintln!(
            "GUARDIANS GIVE YOUR ACCOUNT AWAY: {person} gets it from {} on. If you did not ask for that, run `emr-{role} owner cancel`",
            written(from)
        ),
        // No command needs it, and `revoke` must not wait for it.
        Err(error) => eprintln!("whether somebody is about to get your account is not known: {error}"),
    }
}

/// Opens the identity and connects to its node, without submitting anything. Takes a new rollup key into use if it is in force now.
///
/// # Errors
/// Fails like [`identity`], and if the node or the chain cannot be used.
pub async fn connect_as(options: &Options, role: Role) -> Result<Client, Failure> {
    let passphrase = passphrase(options, role)?;
    let (profile, identity) = unlock(&options.data_dir(role)?, role, &passphrase)?;
    // Only an identity that may be written again needs its passphrase any longer.
    let rotation = identity.rotated().map(|rotated| (rotated, passphrase));
    let client = connect(options, profile, identity).await?;
    // During a rotation, the next command with keys looks whether the new one is in force: so no card is kept that `whoami` prints without keys.
    if rotation.is_none()
        && let Err(error) = client.profile().keep_card(&client.card())
    {
        eprintln!("the card is not kept, so the next `whoami` asks for the passphrase: {error}");
    }
    rotate::finish(client, rotation).await
}

/// What became of the key directory, one line for each kind of change.
fn said_of(repaired: &Repaired) -> Vec<String> {
    let mut lines = Vec::new();
    if repaired.new_epochs != ClassMask::default() {
        lines.push(
            "somebody whose access has ended still had keys for new records: new keys are on their way".to_owned(),
        );
    }
    if !repaired.added.is_empty() {
        let count = repaired.added.len();
        lines.push(format!(
            "readers to whom your delegates gave access get keys from you now: {count}; `grants` shows them"
        ));
    }
    lines
}

/// Says in one line that refused records are kept, if there are any.
pub fn report_refused(profile: &Profile, role: Role) {
    if let Some(line) = outbox::notice(profile.outbox(), role) {
        eprintln!("{line}");
    }
}

/// Reports the outcome of operations of earlier runs, one line for each kind and outcome, with the newest reason: the node writes the reasons,
/// so they must not decide how many lines there are. Omits settled grants and revocations, because that is the expected outcome. Does report
/// settled records: people who repeat an interrupted upload must learn that it succeeded.
fn summary(resumed: &[Resumed]) -> Vec<String> {
    let mut lines: BTreeMap<(String, &str), (Vec<String>, &str)> = BTreeMap::new();
    for resumed in resumed {
        let (outcome, reason) = match &resumed.fate {
            Fate::Settled { .. } if resumed.kind == Kind::PutRecord => ("in force", ""),
            Fate::Acknowledged => ("handed in now", ""),
            Fate::Returned { reason } => ("returned", reason.as_str()),
            Fate::Refused { reason } => ("refused", reason.as_str()),
            Fate::Replaced { .. } => ("a newer one took its place", ""),
            Fate::Lapsed => ("lapsed before a batch took it", ""),
            _ => continue,
        };
        let (operations, newest) = lines.entry((resumed.kind.to_string(), outcome)).or_default();
        operations.push(resumed.operation.to_string()[..8].to_owned());
        *newest = reason;
    }
    lines
        .into_iter()
        .map(|((kind, outcome), (operations, reason))| {
            let separator = if reason.is_empty() { "" } else { ": " };
            let advice = advice(&kind, outcome);
            match &operations[..] {
                [one] => format!("{kind} {one} of an earlier run: {outcome}{separator}{reason}{advice}"),
                [first, .., last] => {
                    let count = operations.len();
                    format!("{count} {kind} of earlier runs ({first} to {last}): {outcome}{separator}{reason}{advice}")
                }
                [] => String::new(),
            }
        })
        .collect()
}

/// What to do about operations of earlier runs. A record that was not rekeyed is as before, and `outbox` keeps nothing of it.
fn advice(kind: &str, outcome: &str) -> &'static str {
    let is_lost = matches!(outcome, "returned" | "refused" | "lapsed before a batch took it");
    if is_lost && kind == Kind::Rekey.to_string() { "; the record is as before: run `rekey` again" } else { "" }
}

/// Connects without submitting anything.
///
/// # Errors
/// Fails if the node or the chain cannot be used.
pub async fn connect(options: &Options, profile: Profile, identity: Identity) -> Result<Client, Failure> {
    let joined = profile.settings().ok();
    if let (Some(named), Some(found)) = (options.chain_id, joined.as_ref().map(|known| known.chain_id))
        && named != found
    {
        return Err(ClientError::OtherChain { named, found }.into());
    }
    if let (Some(named), Some(found)) = (options.contract, joined.as_ref().map(|known| known.contract))
        && named != found
    {
        let message = format!(
            "this profile joined contract {found}, and you or your invitation named {named}: give another --data-dir for another rollup"
        );
        return Err(Failure::from(ClientError::OtherContract { named, found }).saying(message));
    }
    let new_addresses = options.node.is_some() || !options.rpc.is_empty() || options.agree.is_some();
    let client = if joined.is_some() && !new_addresses {
        Client::open_with(profile, identity, options.plain_http()).await
    } else {
        let (known_node, known_rpc, known_agree) = match joined {
            Some(known) => (known.node, known.rpc, known.agree),
            None => (format!("http://{DEFAULT_NODE}"), vec![format!("http://{DEFAULT_RPC}")], None),
        };
        let node = options.node.as_ref().map_or(known_node, Url::to_string);
        // How many must agree is remembered with the addresses that it was said for.
        let (rpc, agree) = match &*options.rpc {
            [] => (known_rpc, options.agree.or(known_agree)),
            given => (given.iter().map(Url::to_string).collect(), options.agree),
        };
        let connections = Connections::several(&node, &rpc, agree, options.plain_http())?
            .on_chain(options.chain_id)
            .at_contract(options.contract);
        Client::join_through(profile, identity, &connections).await
    };
    let client = match options.sizes {
        Some(sizes) => client?.with_sizes(sizes),
        None => client?,
    };
    Ok(match options.finality {
        Some(finality) => client.with_finality(finality),
        None => client,
    })
}

fn profile_failure(error: ProfileError, role: Role) -> Failure {
    match &error {
        ProfileError::NotFound(folder) => {
            let message = format!(
                "there is no {role} in {}: create one with `emr-{role} init`, or give another --data-dir",
                folder.display()
            );
            Failure::from(error).saying(message)
        }
        _ => error.into(),
    }
}

pub(crate) fn identity_failure(error: &IdentityFileError, folder: &Path) -> Failure {
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    match error {
        IdentityFileError::Io { path, source } if full.contains(&source.kind()) => {
            let path = path.display();
            let advice = "free some space or raise the limit, then try again; nothing was lost";
            Failure::new(Exit::Storage, format!("no space left for {path}: {advice}"))
        }
        IdentityFileError::Io { .. } => Failure::new(Exit::Storage, one_line(error)),
        IdentityFileError::WrongPassphrase => {
            let advice = "try again, or restore the file 'identity' from a backup";
            Failure::new(Exit::Identity, format!("{}: {}: {advice}", folder.display(), one_line(error)))
        }
        // These messages contain the file's name already.
        IdentityFileError::EmptyPassphrase
        | IdentityFileError::Permissions { .. }
        | IdentityFileError::Exists(_)
        | IdentityFileError::NotFound(_) => Failure::new(Exit::Identity, one_line(error)),
        _ => Failure::new(Exit::Identity, format!("{}: {}", folder.display(), one_line(error))),
    }
}

#[cfg(test)]
mod tests {
    use emr_core::AccountIndex;

    use super::*;

    #[test]
    fn many_operations_of_earlier_runs_are_one_line() -> Result<(), emr_core::OutOfRange> {
        let patient = AccountIndex::new(3)?;
        let of = |number: u32, kind, fate| Resumed {
            operation: format!("{number:064x}").parse().expect("64 digits"),
            kind,
            patient,
            fate,
        };
        let reason = "slot 7 is taken".to_owned();
        let mut resumed: Vec<_> = (1..=118)
            .map(|number| of(number << 16, Kind::PutRecord, Fate::Settled { batch: 2 + u64::from(number) / 32 }))
            .collect();
        assert_eq!(summary(&resumed).len(), 1);
        resumed.push(of(5, Kind::PutRecord, Fate::Refused { reason: reason.clone() }));
        resumed.push(of(6, Kind::SetGrant, Fate::Settled { batch: 9 }));
        resumed.push(of(7, Kind::Revoke, Fate::Waiting));
        let lines = summary(&resumed);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("118 ") && lines[0].ends_with("in force"), "{lines:?}");
        assert!(lines[1].ends_with(&reason), "{lines:?}");

        // Nothing of a Rekey is kept. The line says what to do.
        let lines = summary(&[of(8, Kind::Rekey, Fate::Refused { reason })]);
        assert!(
            lines[0].ends_with(": refused: slot 7 is taken; the record is as before: run `rekey` again"),
            "{lines:?}"
        );

        // The node writes another reason for each record. The newest one is shown.
        let refused = |number: u32| of(number, Kind::PutRecord, Fate::Refused { reason: format!("reason {number}") });
        let lines = summary(&(1..=500).map(refused).collect::<Vec<_>>());
        assert_eq!(lines.len(), 1, "{} lines", lines.len());
        assert!(lines[0].starts_with("500 ") && lines[0].ends_with(": refused: reason 500"), "{lines:?}");
        Ok(())
    }
}

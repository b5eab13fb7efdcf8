//! A participant at the command line: data folder, passphrase, node.

use emr_client::{
    client::{Client, ClientError},
    profile::{Profile, ProfileError},
    submit::Fate,
};
use emr_core::Role;
use emr_crypto::Identity;

use crate::{
    failure::{Exit, Failure, one_line},
    options::{DEFAULT_NODE, DEFAULT_RPC, Options},
    passphrase,
    report::Progress,
};

/// Opens the identity of a role.
///
/// # Errors
/// If there is none, it is of another role, or the passphrase is wrong.
pub fn identity(options: &Options, role: Role) -> Result<(Profile, Identity), Failure> {
    let folder = options.data_dir(role)?;
    let profile = Profile::open(&folder).map_err(|error| profile_failure(&error, role))?;
    let passphrase = passphrase::existing(options.passphrase_file.as_deref())?;
    let progress = Progress::start("opening the identity");
    let identity = profile.identity(&passphrase).map_err(|error| Failure::new(Exit::Identity, one_line(&error)))?;
    drop(progress);
    if identity.role() != role {
        let (found, folder) = (identity.role(), folder.display());
        let message =
            format!("{folder} is the folder of a {found}, not of a {role}; use emr-{found}, or another --data-dir");
        return Err(Failure::new(Exit::Identity, message));
    }
    Ok((profile, identity))
}

/// Opens the identity and connects to its node; hands in what an interrupted run had signed.
///
/// # Errors
/// As [`identity`]; if the node or the chain cannot be used.
pub async fn open(options: &Options, role: Role) -> Result<Client, Failure> {
    let (profile, identity) = identity(options, role)?;
    let mut client = connect(options, profile, identity).await?;
    for resumed in client.resume().await.map_err(|error| client_failure(&error))? {
        let (kind, operation) = (resumed.kind, &resumed.operation[..8]);
        match resumed.fate {
            Fate::Acknowledged => eprintln!("handed in {kind} {operation}, which an earlier run had signed"),
            Fate::Returned { reason } => eprintln!("{kind} {operation} was returned: {reason}"),
            Fate::Refused { reason } => eprintln!("{kind} {operation} was refused: {reason}"),
            Fate::Lapsed => eprintln!("{kind} {operation} lapsed before any batch took it"),
            _ => {}
        }
    }
    Ok(client)
}

/// Connects without handing anything in.
///
/// # Errors
/// If the node or the chain cannot be used.
pub async fn connect(options: &Options, profile: Profile, identity: Identity) -> Result<Client, Failure> {
    let joined = profile.settings().ok().cloned();
    let client = if let (Some(_), None, None) = (&joined, &options.node, &options.rpc) {
        Client::open(profile, identity).await
    } else {
        let address = |given: &Option<url::Url>, known: Option<String>, default: &str| {
            given.as_ref().map(url::Url::to_string).or(known).unwrap_or_else(|| format!("http://{default}"))
        };
        let node = address(&options.node, joined.as_ref().map(|known| known.node.clone()), DEFAULT_NODE);
        let rpc = address(&options.rpc, joined.map(|known| known.rpc), DEFAULT_RPC);
        Client::join(profile, identity, &node, &rpc).await
    };
    client.map_err(|error| client_failure(&error))
}

fn profile_failure(error: &ProfileError, role: Role) -> Failure {
    match error {
        ProfileError::NotFound(folder) => Failure::new(
            Exit::Identity,
            format!(
                "there is no {role} in {}: create one with `emr-{role} init`, or give another --data-dir",
                folder.display()
            ),
        ),
        ProfileError::NotJoined(_) | ProfileError::OtherInstance { .. } => Failure::new(Exit::Usage, one_line(error)),
        ProfileError::Identity(_) => Failure::new(Exit::Identity, one_line(error)),
        _ => Failure::new(Exit::Storage, one_line(error)),
    }
}

/// The exit code for what all flows have in common.
pub fn client_failure(error: &ClientError) -> Failure {
    let exit = match error {
        ClientError::Profile(ProfileError::File(_)) => Exit::Storage,
        ClientError::Profile(_) => Exit::Identity,
        ClientError::Node(error) => node_exit(error),
        ClientError::Endpoint(_) | ClientError::NoHospital | ClientError::Contended => Exit::Unavailable,
        ClientError::Rollup(error) if error.revert().is_some() => Exit::Refused,
        ClientError::Rollup(_) => Exit::Unavailable,
        ClientError::Card(_) => Exit::Input,
        ClientError::Settled(_)
        | ClientError::Directory(_)
        | ClientError::Receipt(_)
        | ClientError::NotAHospital(_)
        | ClientError::Withheld => Exit::Unverified,
        _ => Exit::Usage,
    };
    Failure::new(exit, one_line(error))
}

/// The exit code for a node's answer.
pub fn node_exit(error: &emr_client::node_api::NodeError) -> Exit {
    use emr_client::node_api::NodeError;
    match error {
        NodeError::Refused { .. } if error.is_temporary() => Exit::Unavailable,
        NodeError::Refused { .. } => Exit::Refused,
        NodeError::WrongBlock(_)
        | NodeError::StoredElsewhere { .. }
        | NodeError::TooLarge { .. }
        | NodeError::Malformed { .. } => Exit::Unverified,
        NodeError::NotRegistered => Exit::Usage,
        _ => Exit::Unavailable,
    }
}

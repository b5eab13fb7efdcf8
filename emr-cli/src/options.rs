//! The options of all three command lines.

use std::path::PathBuf;

use alloy::primitives::Address;
use clap::{Args, builder::FalseyValueParser};
use emr_chain::{RollupInstance, SizesDigest};
use emr_client::verify::settled_state::Finality;
use emr_core::{AccountIndex, Class, ClassMask, Origin, PlainHttp, Reason, RecordSlot, Rights, Role, UnixTime};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};
use url::Url;

use crate::failure::{Exit, Failure, OrExit};

/// The default address where `emr-hospital dev` and `serve` listen.
pub const DEFAULT_NODE: &str = "127.0.0.1:8550";
/// The default address where `emr-hospital dev` serves Ethereum JSON-RPC.
pub const DEFAULT_RPC: &str = "127.0.0.1:8545";

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Folder with the identity and everything that must survive [default: ~/.emr/ROLE]
    #[arg(long, global = true, env = "EMR_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The hospital node to talk to; remembered [default at first: http://127.0.0.1:8550]
    #[arg(long, global = true, env = "EMR_NODE", hide_env_values = true, value_name = "URL", value_parser = parse_address)]
    pub node: Option<Url>,
    /// The Ethereum node to check against; several, if the option is repeated; remembered [default at first: http://127.0.0.1:8545]
    #[arg(long, global = true, env = "EMR_RPC", hide_env_values = true, value_name = "URL", value_parser = parse_address, value_delimiter = ' ')]
    pub rpc: Vec<Url>,
    /// How many of several Ethereum nodes must agree on the newest block; remembered with them [default: more than half]
    #[arg(long, global = true, env = "EMR_AGREE", hide_env_values = true, value_name = "NUMBER")]
    pub agree: Option<usize>,
    /// File whose first line is the passphrase [otherwise: EMR_PASSPHRASE, or a prompt]
    #[arg(long, global = true, env = "EMR_PASSPHRASE_FILE", hide_env_values = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// `keyring`: the passphrase is in the keyring of the operating system, where `identity keyring store` put it
    #[arg(
        long,
        global = true,
        env = "EMR_PASSPHRASE_FROM",
        hide_env_values = true,
        value_name = "WHERE",
        value_enum,
        // Descriptions of values would make the help of every command twice as long.
        hide_possible_values = true
    )]
    pub passphrase_from: Option<PassphraseSource>,
    /// Use no other chain than this one. Needed for a chain that is not a development chain; your hospital must prove there
    /// with the setup of a ceremony
    #[arg(long, global = true, env = "EMR_CHAIN_ID", hide_env_values = true, value_name = "ID")]
    pub chain_id: Option<u64>,
    /// Use no other rollup contract than this one. An invitation names it too; remembered
    #[arg(long, global = true, env = "EMR_CONTRACT", hide_env_values = true, value_name = "ADDRESS")]
    pub contract: Option<Address>,
    /// Allow plain http to and from other machines, where it can be read and changed on the way
    #[arg(long, global = true, env = "EMR_INSECURE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub insecure: bool,
    /// Which L1 states to remember, so that no older one is believed: finalized, latest, or BLOCKS back [default:
    /// finalized; on a development chain: latest]
    #[arg(long, global = true, env = "EMR_FINALITY", hide_env_values = true, value_name = "BLOCKS")]
    pub finality: Option<Finality>,
    /// Rely on these sizes and verifiers, which came after the deployment, as your hospital or registrar told you
    #[arg(long, global = true, env = "EMR_SIZES", hide_env_values = true, value_name = "DIGEST")]
    pub sizes: Option<SizesDigest>,
    /// Print one JSON object on stdout
    #[arg(long, global = true)]
    pub json: bool,
}

/// Where a passphrase is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PassphraseSource {
    /// In the keyring of the operating system.
    Keyring,
}

/// Parses the address of an HTTP server.
///
/// # Errors
/// Fails if the text is not such an address.
pub fn parse_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| format!("write an address like http://{DEFAULT_NODE}"))
}

/// Parses an address at which clients reach a node.
///
/// # Errors
/// Fails if the text is not the address of an HTTP server.
pub fn parse_origin(text: &str) -> Result<Origin, String> {
    text.parse().map_err(|_| "write an address like https://node.example".to_owned())
}

impl Options {
    /// Where plain http is allowed.
    pub const fn plain_http(&self) -> PlainHttp {
        if self.insecure { PlainHttp::Everywhere } else { PlainHttp::ThisMachine }
    }

    /// The options of somebody who was invited to a rollup.
    ///
    /// # Errors
    /// Fails if they named another chain or contract.
    pub fn invited_to(&self, instance: &RollupInstance) -> Result<Self, Failure> {
        let RollupInstance { chain_id, contract } = *instance;
        if self.chain_id.is_some_and(|named| named != chain_id) || self.contract.is_some_and(|named| named != contract)
        {
            let message = format!(
                "the invitation is for contract {contract} on chain {chain_id}, which is not what you named: check --chain-id and --contract, or \
                 ask who invited you"
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(Self { chain_id: Some(chain_id), contract: Some(contract), ..self.clone() })
    }

    /// The Ethereum node of a command that uses one; `None` if none is given.
    ///
    /// # Errors
    /// Fails if several are given.
    pub fn one_rpc(&self) -> Result<Option<Url>, Failure> {
        match (&*self.rpc, self.agree) {
            ([], None) => Ok(None),
            ([only], None) => Ok(Some(only.clone())),
            _ => {
                let message = "this command uses one Ethereum node, your own: give --rpc once, without --agree";
                Err(Failure::new(Exit::Usage, message))
            }
        }
    }

    /// The data folder: the given one, or `~/.emr/ROLE`.
    ///
    /// # Errors
    /// Fails if no folder is given and there is no home folder.
    pub fn data_dir(&self, role: Role) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        let home = std::env::home_dir()
            .filter(|home| !home.as_os_str().is_empty())
            .ok_or_else(|| Failure::new(Exit::Usage, "there is no home folder; name a folder with --data-dir"))?;
        Ok(home.join(".emr").join(role.name()))
    }
}

/// The name of a record in commands: `PATIENT/SLOT`, for example `4/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordName {
    /// The patient's account.
    pub patient: AccountIndex,
    /// The record's slot.
    pub slot: RecordSlot,
}

impl std::fmt::Display for RecordName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.patient, self.slot)
    }
}

impl std::str::FromStr for RecordName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (patient, slot) =
            text.split_once('/').ok_or("a record is named PATIENT/SLOT, for example 4/0; `list` shows the names")?;
        Ok(Self {
            patient: patient.parse().map_err(|error: emr_core::OutOfRange| error.to_string())?,
            slot: slot.parse().map_err(|error: emr_core::OutOfRange| error.to_string())?,
        })
    }
}

/// Parses the reason of an access request.
///
/// # Errors
/// Fails for another text, and lists the possible reasons.
pub fn parse_purpose(text: &str) -> Result<Reason, String> {
    let stated = Reason::ALL.iter().copied().filter(|reason| *reason != Reason::None);
    stated.clone().find(|reason| reason.name() == text).ok_or_else(|| {
        let choices: Vec<_> = stated.map(Reason::name).collect();
        format!("there is no reason called '{text}'; choose one of: {}", choices.join(", "))
    })
}

/// Parses the rights of a grant.
///
/// # Errors
/// Fails for another text, and lists the rights that can be granted.
pub fn parse_rights(text: &str) -> Result<Rights, String> {
    let grantable = Rights::READ | Rights::WRITE;
    let rights = text.parse().ok().filter(|rights| grantable.contains(*rights));
    rights.ok_or_else(|| format!("'{text}' cannot be granted; choose one of: read, write, or read,write"))
}

/// Parses a date (its last second, UTC) or an RFC 3339 time.
///
/// # Errors
/// Fails for another text.
pub fn parse_until(text: &str) -> Result<UnixTime, String> {
    let advice = "write a date like 2027-01-31 or a time like 2027-01-31T12:00:00Z";
    let seconds = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => time.unix_timestamp(),
        Err(_) => {
            let date = time::Date::parse(text, format_description!("[year]-[month]-[day]")).map_err(|_| advice)?;
            date.midnight().assume_utc().unix_timestamp() + 86_399
        }
    };
    u64::try_from(seconds).ok().and_then(|seconds| UnixTime::new(seconds).ok()).ok_or_else(|| advice.to_owned())
}

/// Parses classes separated by commas, or `all`.
///
/// # Errors
/// Fails for a class that does not exist.
pub fn parse_classes(text: &str) -> Result<ClassMask, Failure> {
    if text == "all" {
        return Ok(ClassMask::ALL);
    }
    text.split(',').map(|name| name.trim().parse::<Class>().or_exit(Exit::Usage)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_http_servers() {
        assert!(parse_address("http://127.0.0.1:8550").is_ok() && parse_address("https://node.example/emr").is_ok());
        for nonsense in ["", "nowhere", "127.0.0.1:8550", "localhost:8550", "ftp://127.0.0.1", "http://", "file:///etc"]
        {
            assert!(parse_address(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn only_valid_rights_and_reasons_are_parsed() {
        assert_eq!(parse_rights("write, read"), Ok(Rights::READ | Rights::WRITE));
        for nonsense in ["", "own", "manage", "read,emergency", "none"] {
            assert!(parse_rights(nonsense).is_err_and(|error| error.ends_with("read, write, or read,write")));
        }
        assert_eq!(parse_purpose("patient-request"), Ok(Reason::PatientRequest));
        for nonsense in ["", "none", "curiosity"] {
            assert!(
                parse_purpose(nonsense).is_err_and(|error| error.contains("treatment") && !error.contains(": none"))
            );
        }
    }

    #[test]
    fn record_names_round_trip_and_refuse_nonsense() {
        assert_eq!("4/0".parse::<RecordName>().map(|name| name.to_string()).as_deref(), Ok("4/0"));
        for nonsense in ["", "4", "0/1", "4/65536", "4/0/1", "-1/0", "four/0"] {
            assert!(nonsense.parse::<RecordName>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_date_means_its_last_second() {
        assert_eq!(parse_until("2027-01-31").map(UnixTime::get), Ok(1_801_439_999));
        assert_eq!(parse_until("2027-01-31T23:59:59Z").map(UnixTime::get), Ok(1_801_439_999));
        assert_eq!(parse_until("2027-01-31T23:59:59+01:00").map(UnixTime::get), Ok(1_801_436_399));
        for nonsense in ["", "31.01.2027", "2027-02-30", "1969-12-31", "tomorrow"] {
            assert!(parse_until(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn classes_are_names_or_all() {
        assert_eq!(parse_classes("all").ok(), Some(ClassMask::ALL));
        assert_eq!(parse_classes("summary, laboratory").ok().map(ClassMask::bits), Some(5));
        assert!(parse_classes("summary,everything").is_err());
    }
}

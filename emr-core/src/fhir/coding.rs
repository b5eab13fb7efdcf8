//! Names of this project in FHIR: code systems, identifiers of accounts, and the JSON of both.

use fhirkit::Json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::excerpt::is_harmless;
use crate::quantity::{AccountIndex, UnixTime};

/// Identifier system: an account, as [`Account`] writes it.
pub(super) const ACCOUNT: &str = "urn:emr:account";
/// Identifier system: a deployment, as [`Deployment`] writes it.
pub(super) const DEPLOYMENT: &str = "urn:emr:deployment";
/// Identifier system: a grant, `DEPLOYMENT/PATIENT/SLOT/VERSION`, or `DEPLOYMENT/PATIENT/SLOT` for the slot.
pub(super) const GRANT: &str = "urn:emr:grant";
/// Code system: the classes of records, by their names.
pub(super) const CLASS: &str = "urn:emr:class";

pub(super) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
pub(super) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
pub(super) const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";

/// Chain and contract of a rollup. As text the CAIP-10 name of the contract: `eip155:31337:0x..`, with lower-case digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deployment {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The contract's address.
    pub contract: [u8; 20],
}

/// An account of a deployment under its owner. As text `DEPLOYMENT/INDEX/OWNER`: `eip155:31337:0x../7/0x..`.
///
/// The index alone is not enough: when L1 reorganises, it can get another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The deployment.
    pub deployment: Deployment,
    /// The index.
    pub index: AccountIndex,
    /// The owner's Ethereum address.
    pub owner: [u8; 20],
}

/// The text does not name an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' does not name an account: write eip155:CHAIN:CONTRACT/INDEX/OWNER, with addresses as 0x and 40 digits")]
pub struct NotAnAccount(String);

impl std::fmt::Display for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "eip155:{}:0x{}", self.chain_id, hex::encode(self.contract))
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/0x{}", self.deployment, self.index, hex::encode(self.owner))
    }
}

impl std::str::FromStr for Account {
    type Err = NotAnAccount;

    fn from_str(text: &str) -> Result<Self, NotAnAccount> {
        parse(text).ok_or_else(|| NotAnAccount(text.chars().filter(|c| is_harmless(*c)).take(160).collect()))
    }
}

fn parse(text: &str) -> Option<Account> {
    let (deployment, account) = text.strip_prefix("eip155:")?.split_once('/')?;
    let ((chain_id, contract), (index, owner)) = (deployment.split_once(':')?, account.split_once('/')?);
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    let deployment = Deployment { chain_id: number(chain_id)?, contract: address(contract)? };
    Some(Account { deployment, index: AccountIndex::new(number(index)?).ok()?, owner: address(owner)? })
}

/// Reads an address. Upper-case digits are those of a checksum, which is not checked.
fn address(text: &str) -> Option<[u8; 20]> {
    let mut address = [0; 20];
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut address).ok()?;
    Some(address)
}

/// A time as FHIR's dateTime and instant, in UTC. `None` after the year 9999, which FHIR cannot write.
pub(super) fn written(time: UnixTime) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(time.get()).ok()?).ok()?;
    time.format(&Rfc3339).ok()
}

pub(super) fn text(text: impl Into<String>) -> Json {
    Json::String(text.into())
}

pub(super) fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) fn list(items: impl IntoIterator<Item = Json>) -> Json {
    Json::Array(items.into_iter().collect())
}

pub(super) fn coding(system: &str, code: &str) -> Json {
    object([("system", text(system)), ("code", text(code))])
}

/// A CodeableConcept with one coding.
pub(super) fn concept(system: &str, code: &str) -> Json {
    object([("coding", list([coding(system, code)]))])
}

pub(super) fn identifier(system: &str, value: impl Into<String>) -> Json {
    object([("system", text(system)), ("value", text(value))])
}

/// A logical reference: a type and an identifier.
pub(super) fn reference(resource_type: &str, identifier: Json) -> Json {
    object([("type", text(resource_type)), ("identifier", identifier)])
}

/// An entry of a Bundle for a resource of this type and id.
pub(super) fn entry(resource_type: &str, id: &str, resource: Json) -> Json {
    object([("fullUrl", text(format!("{resource_type}/{id}"))), ("resource", resource)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_and_written() -> Result<(), Box<dyn std::error::Error>> {
        let name =
            "eip155:31337:0x0707070707070707070707070707070707070707/7/0x00000000000000000000000000000000000000ab";
        let account: Account = name.parse()?;
        assert_eq!((account.deployment.chain_id, account.index.get(), account.owner[19]), (31337, 7, 0xab));
        assert_eq!(account.to_string(), name);
        assert_eq!(name.replace("00ab", "00AB").parse(), Ok(account));
        for wrong in [
            "",
            "7",
            &name[7..],
            &name.replace("/7/", "/0/"),
            &name.replace("/7/", "/07/"),
            &name.replace("/7/", "/7/8/"),
            &name.replace(":31337:", ":+31337:"),
            &name.replace("0x07", "07"),
            &name[..name.len() - 1],
            &format!("{name} "),
        ] {
            assert!(wrong.parse::<Account>().is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn times_are_those_of_fhir() -> Result<(), crate::OutOfRange> {
        assert_eq!(written(UnixTime::new(1_801_439_999)?).as_deref(), Some("2027-01-31T23:59:59Z"));
        assert_eq!(written(UnixTime::new(253_402_300_799)?).as_deref(), Some("9999-12-31T23:59:59Z"));
        assert_eq!(written(UnixTime::new(253_402_300_800)?), None);
        Ok(())
    }
}

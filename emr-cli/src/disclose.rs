//! `disclose` shows some fields of a record to somebody without an account, and `check` is what that person runs: it needs no identity, no
//! passphrase and no hospital, and without `--rpc` no network.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
};

use alloy::primitives::{Address, B256};
use clap::Args;
use emr_chain::{endpoint::Endpoint, nodes::EthereumNodes};
use emr_client::{
    ClientError,
    client::Client,
    flow::disclose::{Disclosable, InChain, confirm},
    verify::{
        disclosed::{self, CardOf, CheckedDisclosure},
        settled_state::Finality,
    },
};
use emr_core::{AccountIndex, AccountStatus, Class, Key, KeyPattern, Role, Value, key_pattern, on_one_line};
use emr_durable::Disk;
use serde::Serialize;

use crate::{
    account::read_card,
    failure::{Exit, Failure, OrExit},
    input,
    options::{Options, RecordName},
    report::{Answer, Progress, print, written},
};

/// What `emr-patient disclose` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Patterns: * is any run of characters without a dot, ** any run of characters. In a Bundle, Observation.value* is \
    that element of each Observation, and Observation.3.value* of entry 3. Quote patterns, so that the shell leaves them alone.

Who gets the file learns the fields that you choose, who wrote the record and when it was in the state; and also your account, the record's \
    slot, version and class, how many fields the record has and at which positions those that you show are, and about how many records you \
    have. Two files about one version are recognisable as such. The file can be passed on, and you cannot take it back."
)]
pub struct Disclose {
    /// The record: PATIENT/SLOT
    record: RecordName,
    /// Disclose the fields whose keys match; can be repeated
    #[arg(long, value_name = "PATTERN", required = true)]
    keys: Vec<KeyPattern>,
    /// Also disclose what says what the fields mean and whether they are void: type, status, code, dates, modifiers of the same resource, and the
    /// code of a component (docs/disclosure.md has the list)
    #[arg(long)]
    with_context: bool,
    /// Where to write the disclosure
    #[arg(short, long, value_name = "FILE", required_unless_present = "list", conflicts_with = "list")]
    output: Option<PathBuf>,
    /// List the fields that would be disclosed, and write nothing
    #[arg(long)]
    list: bool,
}

/// What `check` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --rpc, nothing is asked, and the exit code is 9 if the file holds: it proves the fields only if the block that it \
    names is in the chain, and anybody can make up a block. With --rpc (repeat it, so that no node is believed alone), the exit code is 0 \
    if the block is final, or as deep as --finality says, and you named the contract: with --contract (the hospital publishes it), or with the \
    author's card. --finality latest confirms nothing outside development chains. What the file shows \
    was so in that block; the record can have changed since."
)]
pub struct Check {
    /// The file that the patient gave you
    file: PathBuf,
    /// Card of a person whom you know: it must be the author's or the patient's
    #[arg(long, value_name = "CARD")]
    card: Option<PathBuf>,
}

/// The fields that were chosen, and where they were written.
#[derive(Debug, Serialize)]
struct Disclosed {
    record: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    /// Whether the chain cannot take back the block that proves it.
    block_is_final: bool,
    fields: Vec<Field>,
    hidden: usize,
}

#[derive(Debug, Serialize)]
struct Field {
    key: Key,
    value: Value,
}

impl Field {
    fn all<'a>(fields: impl IntoIterator<Item = (&'a Key, &'a Value)>) -> Vec<Self> {
        fields.into_iter().map(|(key, value)| Self { key: key.clone(), value: value.clone() }).collect()
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "  {}  {}", self.key, on_one_line(&self.value))
    }
}

impl Answer for Disclosed {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (shown, hidden, record) = (self.fields.len(), self.hidden, &self.record);
        match (&self.file, self.bytes) {
            (Some(file), Some(bytes)) => writeln!(
                out,
                "disclosed in {file} ({bytes} bytes): {shown} fields of record {record}, not shown: {hidden}"
            )?,
            _ => writeln!(out, "would be disclosed: {shown} fields of record {record}, not shown: {hidden}")?,
        }
        self.fields.iter().try_for_each(|field| field.write(out))?;
        if self.file.is_some() && !self.block_is_final {
            writeln!(
                out,
                "the block that proves it is not final yet: `check --rpc` confirms it later, on Ethereum after some 15 minutes"
            )?;
        }
        Ok(())
    }
}

impl Disclose {
    /// Discloses fields, or lists them.
    ///
    /// # Errors
    /// Fails if the record is not the patient's or not settled, if a pattern matches nothing, or if the file cannot be written.
    pub async fn run(self, client: &Client, json: bool) -> Result<(), Failure> {
        let name = self.record;
        if client.card().account != Some(name.patient) {
            return Err(Failure::new(Exit::Refused, format!("record {name} is not yours; `records` lists yours")));
        }
        let progress = Progress::start("fetching and checking");
        let disclosable = client.disclosable(name.slot).await?;
        drop(progress);
        let keys = self.chosen(&disclosable)?;
        let record = disclosable.record();
        let file = match &self.output {
            Some(file) if !self.list => Some((file, write(&disclosable, &keys, file)?)),
            _ => None,
        };
        let answer = Disclosed {
            record: name.to_string(),
            file: file.map(|(file, _)| file.display().to_string()),
            bytes: file.map(|(_, bytes)| bytes),
            block_is_final: disclosable.is_final(),
            fields: Field::all(record.fields().iter().filter(|(key, _)| keys.contains(*key))),
            hidden: record.fields().len() + usize::from(record.original().is_some()) - keys.len(),
        };
        print(&answer, json)
    }

    fn chosen(&self, disclosable: &Disclosable) -> Result<BTreeSet<Key>, Failure> {
        let record = disclosable.record();
        let keys = key_pattern::select(record, &self.keys).or_exit(Exit::Input)?;
        Ok(if self.with_context { key_pattern::with_context(record, &keys) } else { keys })
    }
}

/// Writes the file. Returns its length.
fn write(disclosable: &Disclosable, keys: &BTreeSet<Key>, file: &Path) -> Result<usize, Failure> {
    let bytes = disclosable.disclose(keys)?;
    Disk::default()
        .replace(file, &bytes)
        .map_err(|error| Failure::new(Exit::Storage, format!("cannot write {}: {error}", file.display())))?;
    Ok(bytes.len())
}

#[derive(Debug, Serialize)]
struct Author {
    account: AccountIndex,
    role: Role,
    status: AccountStatus,
    org: Option<AccountIndex>,
    /// SHA-256 of the key's SubjectPublicKeyInfo, in hexadecimal digits.
    rsa_fingerprint: String,
}

#[derive(Debug, Serialize)]
struct Block {
    chain_id: u64,
    contract: Address,
    number: u64,
    hash: B256,
    time: Option<String>,
}

/// What is known about the block beyond the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Confirmed {
    /// Nobody was asked.
    NotCompared,
    /// It is in the chain, which can still take it back.
    NotYetFinal,
    /// It is in the chain. Whether the chain can take it back was not asked.
    WithoutFinality,
    /// It is in the chain, under as many blocks as the caller asked for.
    Deep,
    /// It is in the chain for good.
    Final,
}

impl From<InChain> for Confirmed {
    fn from(found: InChain) -> Self {
        match found {
            InChain::Final => Self::Final,
            InChain::Deep(_) => Self::Deep,
            InChain::NotYetFinal => Self::NotYetFinal,
            InChain::WithoutFinality => Self::WithoutFinality,
        }
    }
}

/// The result of a check.
#[derive(Debug, Serialize)]
struct Checked {
    /// Always true, because a file that does not hold is an error. `confirmed` says whether that means anything.
    holds: bool,
    confirmed: Confirmed,
    /// At least how many blocks follow the block, if the caller asked for a depth.
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u64>,
    /// Whether the caller named the contract, by its address or by a card of somebody there.
    contract_named: bool,
    development_chain: bool,
    record: String,
    patient: AccountIndex,
    version: u64,
    class: Class,
    author: Author,
    block: Block,
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<&'static str>,
    fields: BTreeMap<Key, Value>,
    hidden: u32,
}

impl Checked {
    fn of(checked: &CheckedDisclosure, found: Option<InChain>, contract_named: bool, card: Option<CardOf>) -> Self {
        let (instance, header, authorship) = (checked.instance(), checked.header(), checked.authorship());
        let identity = checked.identity();
        Self {
            holds: true,
            confirmed: found.map_or(Confirmed::NotCompared, Confirmed::from),
            depth: match found {
                Some(InChain::Deep(blocks)) => Some(blocks),
                _ => None,
            },
            contract_named,
            development_chain: checked.is_development_chain(),
            record: RecordName { patient: authorship.patient, slot: authorship.slot }.to_string(),
            patient: authorship.patient,
            version: authorship.version.get(),
            class: authorship.class,
            author: Author {
                account: checked.author(),
                role: identity.role,
                status: identity.status,
                org: identity.org,
                rsa_fingerprint: hex::encode(checked.author_key().fingerprint()),
            },
            block: Block {
                chain_id: instance.chain_id,
                contract: instance.contract,
                number: header.number(),
                hash: header.hash(),
                time: checked.time().map(written),
            },
            card: card.map(|of| match of {
                CardOf::Author => "author",
                CardOf::Patient => "patient",
            }),
            fields: checked.fields().clone(),
            hidden: checked.hidden(),
        }
    }
}

impl Checked {
    /// Whether a script can rely on the exit code 0.
    fn verdict(&self) -> Result<(), Failure> {
        match self.confirmed {
            Confirmed::NotCompared => Err(unconfirmed(
                "its block was not compared with the chain: name an Ethereum node with --rpc, better several",
            )),
            Confirmed::NotYetFinal => {
                Err(unconfirmed("its block is not final yet: check it again later, on Ethereum after some 15 minutes"))
            }
            // An option for development chains, perhaps in the environment, must not make a block of a real chain count.
            Confirmed::WithoutFinality if !self.development_chain => Err(unconfirmed(
                "nobody asked whether its block is final: leave out --finality latest (or EMR_FINALITY), or give a number of blocks, for example 64",
            )),
            // Anybody can deploy a genuine rollup and invent the doctors in it.
            Confirmed::Deep | Confirmed::Final if !self.contract_named && !self.development_chain => Err(unconfirmed(
                "nobody but the file says that this contract is a hospital's: name the contract that the hospital publishes with --contract, or \
                     give the card of a doctor there whom you know with --card",
            )),
            Confirmed::WithoutFinality | Confirmed::Deep | Confirmed::Final => Ok(()),
        }
    }
}

impl Answer for Checked {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Self { record, patient, version, class, author, block, fields, hidden, .. } = self;
        writeln!(out, "fields shown: {}; not shown: {hidden} (the original document counts as one)", fields.len())?;
        for field in Field::all(fields) {
            field.write(out)?;
        }
        writeln!(out, "from record {record}, version {version} ({class}), of patient account {patient}")?;
        let Author { account, role, status, org, rsa_fingerprint } = author;
        let org = org.map_or_else(String::new, |org| format!(", of hospital account {org}"));
        writeln!(out, "signed by account {account}: {role}{org}, {status} in this block, RSA key {rsa_fingerprint}")?;
        let Block { chain_id, contract, number, hash, time } = block;
        let time = time.as_deref().unwrap_or("no time");
        writeln!(out, "in the state of contract {contract} on chain {chain_id}, block {number} ({hash}), {time}")?;
        match self.card {
            Some("author") => writeln!(out, "the card is the author's: account, role and keys are the same")?,
            Some(_) => writeln!(out, "the card names the patient's account; the file does not prove the card's keys")?,
            None => {}
        }
        if !self.contract_named {
            writeln!(
                out,
                "CONTRACT NOT NAMED: anybody can deploy such a contract and invent the people in it; name yours with --contract"
            )?;
        }
        if self.development_chain {
            writeln!(
                out,
                "DEVELOPMENT CHAIN: anybody can make such a chain with any content, so this proves nothing about real people"
            )?;
        }
        match self.confirmed {
            Confirmed::NotCompared => {
                writeln!(out, "NOT CONFIRMED: this block was not compared with the chain; anybody can make one up")
            }
            Confirmed::NotYetFinal => {
                writeln!(out, "NOT FINAL: the block is in the chain, which can still take it back")
            }
            Confirmed::WithoutFinality if !self.development_chain => {
                writeln!(
                    out,
                    "NOT FINAL: the block is in the chain, and nobody asked whether the chain can take it back"
                )
            }
            Confirmed::WithoutFinality => {
                writeln!(out, "the block is in the chain, as its nodes show it; nothing is final there")
            }
            Confirmed::Deep => {
                let depth = self.depth.unwrap_or_default();
                writeln!(
                    out,
                    "confirmed: the block is in the chain, at least {depth} blocks deep, which you took as enough"
                )
            }
            Confirmed::Final => writeln!(out, "confirmed: the block is in the chain, and final"),
        }
    }
}

/// The contract and the chain must be those that the caller named.
fn expect_instance(options: &Options, checked: &CheckedDisclosure) -> Result<(), Failure> {
    let instance = checked.instance();
    if let Some(named) = options.chain_id.filter(|named| *named != instance.chain_id) {
        let message = format!(
            "the disclosure is of chain {}, not {named}, which you named: do not rely on it",
            instance.chain_id
        );
        return Err(Failure::new(Exit::Unverified, message));
    }
    if let Some(named) = options.contract.filter(|named| *named != instance.contract) {
        let message = format!(
            "the disclosure is of contract {}, not {named}, which you named: do not rely on it",
            instance.contract
        );
        return Err(Failure::new(Exit::Unverified, message));
    }
    Ok(())
}

/// The Ethereum nodes that the caller named; `None` if none.
fn ethereum_nodes(options: &Options) -> Result<Option<EthereumNodes>, Failure> {
    if options.rpc.is_empty() {
        return Ok(None);
    }
    let endpoint = |address: &url::Url| Endpoint::http(address.as_str(), options.plain_http());
    let endpoints: Vec<_> = options.rpc.iter().map(endpoint).collect::<Result<_, _>>().map_err(ClientError::from)?;
    Ok(Some(EthereumNodes::of(&endpoints, options.agree).map_err(ClientError::from)?))
}

impl Check {
    /// Checks a file, and prints what it shows.
    ///
    /// # Errors
    /// Fails if the file does not hold, or if it is not confirmed: then it is printed nevertheless, and the exit code is
    /// [`Exit::Unconfirmed`].
    pub async fn run(self, options: &Options) -> Result<(), Failure> {
        let bytes = input::read("the disclosure", &self.file, disclosed::MAX_BYTES as u64)?;
        let card = self.card.as_deref().map(read_card).transpose()?;
        let checked = disclosed::verify(&bytes, options.sizes).map_err(ClientError::from)?;
        expect_instance(options, &checked)?;
        let card = card.map(|card| checked.compare(&card)).transpose().map_err(ClientError::from)?;
        let found = match ethereum_nodes(options)? {
            None => None,
            Some(nodes) => {
                let progress = Progress::start("comparing the block with the chain");
                let finality = options.finality.unwrap_or_else(|| Finality::of_chain(checked.instance().chain_id));
                let found = confirm(&checked, &nodes, finality).await?;
                drop(progress);
                Some(found)
            }
        };
        // A patient's card comes from the patient, who could have deployed the contract.
        let is_known_author = card == Some(CardOf::Author) && checked.identity().role != Role::Patient;
        let contract_named = options.contract.is_some() || is_known_author;
        let answer = Checked::of(&checked, found, contract_named, card);
        print(&answer, options.json)?;
        answer.verdict()
    }
}

fn unconfirmed(why: &str) -> Failure {
    Failure::new(Exit::Unconfirmed, format!("the file holds, but {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_final_block_of_a_named_contract_is_code_0() -> Result<(), Box<dyn std::error::Error>> {
        use Confirmed::{Deep, Final, NotCompared, NotYetFinal, WithoutFinality};
        let exit = |confirmed, contract_named, development_chain| -> Result<_, Box<dyn std::error::Error>> {
            let author = Author {
                account: AccountIndex::new(2)?,
                role: Role::Doctor,
                status: AccountStatus::Active,
                org: None,
                rsa_fingerprint: String::new(),
            };
            let block = Block { chain_id: 1, contract: Address::ZERO, number: 1, hash: B256::ZERO, time: None };
            let checked = Checked {
                holds: true,
                confirmed,
                depth: (confirmed == Deep).then_some(64),
                contract_named,
                development_chain,
                record: "4/0".to_owned(),
                patient: AccountIndex::new(4)?,
                version: 1,
                class: Class::Laboratory,
                author,
                block,
                card: None,
                fields: BTreeMap::new(),
                hidden: 3,
            };
            let mut out = Vec::new();
            checked.write(&mut out)?;
            let said = String::from_utf8(out)?;
            assert_eq!(said.contains("CONTRACT NOT NAMED"), !contract_named, "{said}");
            assert_eq!(said.contains("DEVELOPMENT CHAIN"), development_chain, "{said}");
            assert_eq!(said.contains("NOT CONFIRMED"), confirmed == NotCompared, "{said}");
            let not_final = confirmed == NotYetFinal || confirmed == WithoutFinality && !development_chain;
            assert_eq!(said.contains("NOT FINAL"), not_final, "{said}");
            assert_eq!(said.contains("and final"), confirmed == Final, "{said}");
            assert_eq!(said.contains("64 blocks deep"), confirmed == Deep, "{said}");
            Ok(checked.verdict().err().map(|failure| failure.exit()))
        };
        for named in [false, true] {
            for development in [false, true] {
                for confirmed in [NotCompared, NotYetFinal] {
                    assert_eq!(exit(confirmed, named, development)?, Some(Exit::Unconfirmed));
                }
                for confirmed in [Final, Deep] {
                    let unnamed = (!named && !development).then_some(Exit::Unconfirmed);
                    assert_eq!(exit(confirmed, named, development)?, unnamed);
                }
                // Only where nothing is ever final.
                let real = (!development).then_some(Exit::Unconfirmed);
                assert_eq!(exit(WithoutFinality, named, development)?, real);
            }
        }
        Ok(())
    }

    #[test]
    fn a_value_cannot_look_like_what_the_program_says() {
        for (text, shown) in [
            ("4.1\nsigned by account 2", "4.1\\nsigned by account 2"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("\u{2028}", "\\u{2028}"),
            ("Müller 9 µg \\n", "Müller 9 µg \\n"),
        ] {
            assert_eq!(on_one_line(&Value::Text(text.to_owned())), shown);
        }
    }
}

//! `disclose` shows some fields of a record to somebody without an account, and `check` is what that person runs: it needs no identity, no
//! passphrase and no hospital, and without `--rpc` no network.

mod verdict;

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use emr_chain::{endpoint::Endpoint, nodes::EthereumNodes};
use emr_client::{
    ClientError,
    client::Client,
    flow::disclose::{Disclosable, confirm},
    verify::{
        disclosed::{self, CardOf, CheckedDisclosure},
        settled_state::Finality,
    },
};
use emr_core::{Key, KeyPattern, Role, Value, key_pattern, on_one_line};
use emr_durable::Disk;
use serde::Serialize;

use crate::{
    account::read_card,
    failure::{Exit, Failure, OrExit},
    input,
    options::{Options, RecordName},
    report::{Answer, Progress, print},
};
use verdict::Checked;

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

#[cfg(test)]
mod tests {
    use super::*;

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

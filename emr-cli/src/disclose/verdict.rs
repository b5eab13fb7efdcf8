//! What a check of a disclosure found, and whether anybody can rely on it.

use std::{collections::BTreeMap, io::Write};

use alloy::primitives::{Address, B256};
use emr_client::{
    flow::disclose::InChain,
    verify::disclosed::{CardOf, CheckedDisclosure},
};
use emr_core::{AccountIndex, AccountStatus, Class, Key, Role, Value};
use serde::Serialize;

use super::Field;
use crate::{
    failure::{Exit, Failure},
    options::RecordName,
    report::{Answer, written},
};

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
pub(super) struct Checked {
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
    pub(super) fn of(
        checked: &CheckedDisclosure,
        found: Option<InChain>,
        contract_named: bool,
        card: Option<CardOf>,
    ) -> Self {
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

    /// Whether a script can rely on the exit code 0.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
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
}

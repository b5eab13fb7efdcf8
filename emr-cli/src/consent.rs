//! Grants from a FHIR Consent, and grants as FHIR Consents.

use std::{collections::BTreeMap, path::PathBuf};

use emr_chain::RollupInstance;
use emr_client::{
    ClientError,
    client::Client,
    flow::grant::{History, Terms},
    verify::{card::Card, light::VerifiedLeaves},
};
use emr_core::{
    AccountIndex, Rights, UnixTime,
    fhir::{
        Account, Deployment,
        consent::{self, Context, GrantConsent},
        line_resource::PatientId,
    },
};

use crate::{
    failure::{Exit, Failure, OrExit, one_line},
    input,
    options::{parse_classes, parse_rights, parse_until},
    report::text,
};

/// The terms of a grant: options, or a Consent.
#[derive(Debug, clap::Args)]
pub(crate) struct GrantTerms {
    /// Classes of records, separated by commas, or `all`
    #[arg(long, value_name = "CLASSES", required_unless_present = "consent", conflicts_with = "consent")]
    class: Option<String>,
    /// The rights: read, write, or read,write
    #[arg(long, value_parser = parse_rights, required_unless_present = "consent", conflicts_with = "consent")]
    rights: Option<Rights>,
    /// The end: a date (2027-01-31, to its end in UTC) or a time (2027-01-31T12:00:00Z)
    #[arg(long, value_name = "DATE", value_parser = parse_until, required_unless_present = "consent", conflicts_with = "consent")]
    until: Option<UnixTime>,
    /// Only records that are written from now on
    #[arg(long)]
    from_now: bool,
    /// A FHIR R4 Consent that says rights, classes and end; refused if it says anything that a grant cannot
    #[arg(long, value_name = "FILE")]
    consent: Option<PathBuf>,
    /// The id of your Patient resource, if the Consent names you by it
    #[arg(long, value_name = "ID", requires = "consent")]
    fhir_patient: Option<PatientId>,
}

impl GrantTerms {
    /// Checks everything that needs no node.
    ///
    /// # Errors
    /// Fails if an option is wrong, or if the Consent's file cannot be read.
    pub(crate) fn given(self) -> Result<Given, Failure> {
        let history = if self.from_now { History::FromNow } else { History::Included };
        match (self.consent, self.class, self.rights, self.until) {
            (Some(file), ..) => {
                let document = input::read("the Consent", &file, input::SMALL)?;
                Ok(Given::Consent { file, document, fhir_patient: self.fhir_patient, history })
            }
            (None, Some(class), Some(rights), Some(until)) => {
                Ok(Given::Terms(Terms { rights, classes: parse_classes(&class)?, until, history }))
            }
            _ => Err(Failure::new(Exit::Usage, "give --class, --rights and --until, or --consent FILE")),
        }
    }
}

/// What a person gave.
#[derive(Debug)]
pub(crate) enum Given {
    /// The terms.
    Terms(Terms),
    /// A Consent.
    Consent {
        /// Its file.
        file: PathBuf,
        /// Its bytes.
        document: Vec<u8>,
        /// The id of the patient's own Patient resource.
        fhir_patient: Option<PatientId>,
        /// Not said in the Consent.
        history: History,
    },
}

impl Given {
    /// The terms for the reader of a card. A Consent must be the patient's own and name this reader.
    ///
    /// # Errors
    /// Fails if a grant cannot say what the Consent says, or if it names another reader.
    pub(crate) fn terms(self, client: &Client, reader: &Card) -> Result<Terms, Failure> {
        let (file, document, fhir_patient, history) = match self {
            Self::Terms(terms) => return Ok(terms),
            Self::Consent { file, document, fhir_patient, history } => (file, document, fhir_patient, history),
        };
        let instance = client.instance();
        let patient = of_card(&instance, &client.card())?;
        let context = Context { patient: &patient, fhir_patient: fhir_patient.as_ref(), now: UnixTime::now() };
        let name = file.display();
        let said = consent::read(&document, &context)
            .map_err(|error| Failure::new(Exit::Input, format!("{name}: {}", one_line(&error))))?;
        let given = of_card(&instance, reader)?;
        if said.reader != given {
            let message = format!(
                "{name}: the Consent is for {}, and the card is that of {given}: give the card of the reader whom the Consent names",
                said.reader
            );
            return Err(Failure::new(Exit::Input, message));
        }
        for sentence in &said.wider {
            eprintln!("{name}: {sentence}");
        }
        Ok(Terms { rights: said.rights, classes: said.classes, until: said.until, history })
    }
}

fn deployment(instance: &RollupInstance) -> Deployment {
    Deployment { chain_id: instance.chain_id, contract: instance.contract.into_array() }
}

fn of_card(instance: &RollupInstance, card: &Card) -> Result<Account, Failure> {
    let index = card.registered().or_exit(Exit::Input)?;
    Ok(Account { deployment: deployment(instance), index, owner: card.ethereum.into_array() })
}

/// The patient's own account in FHIR.
///
/// # Errors
/// Fails if this identity has no account yet.
pub(crate) fn own_account(client: &Client) -> Result<Account, Failure> {
    of_card(&client.instance(), &client.card())
}

/// Prints the grants that hold now as a Bundle of Consents. Says on stderr which grants no Consent can express.
///
/// # Errors
/// Fails if L1 cannot be asked who the readers are.
pub(crate) async fn print_grants(client: &Client, leaves: &VerifiedLeaves) -> Result<(), Failure> {
    let patient = own_account(client)?;
    let as_of = leaves.state().time();
    let mut grants = Vec::new();
    let mut known: BTreeMap<AccountIndex, emr_chain::Account> = BTreeMap::new();
    for view in leaves.access(UnixTime::now()) {
        let Some(index) = view.grant.grantee else { continue };
        let reader = match known.get(&index) {
            Some(account) => *account,
            None => {
                let account = client.rollup().account(index).await.map_err(ClientError::from)?;
                let unknown = || {
                    Failure::new(Exit::Unavailable, format!("L1 names no owner of account {index}: try again later"))
                };
                *known.entry(index).or_insert(account.ok_or_else(unknown)?)
            }
        };
        grants.push(GrantConsent {
            patient,
            reader: Account { index, owner: reader.owner.into_array(), ..patient },
            reader_role: reader.role,
            slot: view.slot,
            version: view.grant.version,
            rights: view.grant.rights,
            classes: view.grant.scope,
            until: view.grant.not_after,
            as_of,
        });
    }
    let (bundle, others) = consent::bundle(&grants);
    for (slot, reason) in others {
        eprintln!("the grant in slot {slot} is not in the Bundle: {reason}; `grants` without --fhir shows it");
    }
    text(&bundle)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        terms: GrantTerms,
    }

    #[test]
    fn terms_or_a_consent_but_not_both() -> Result<(), Box<dyn std::error::Error>> {
        let parse = |arguments: &[&str]| Alone::try_parse_from([&["grant"], arguments].concat());
        let all = ["--class", "summary", "--rights", "read", "--until", "2100-01-31"];
        assert!(matches!(parse(&all)?.terms.given()?, Given::Terms(terms) if terms.rights == Rights::READ));
        assert!(parse(&all[..4]).is_err() && parse(&[]).is_err() && parse(&["--fhir-patient", "a"]).is_err());
        assert!(parse(&["--consent", "c.json", "--rights", "read"]).is_err());
        let missing = parse(&["--consent", "/nowhere/c.json", "--from-now"])?.terms.given();
        assert!(missing.is_err_and(|failure| failure.exit() == Exit::Input));
        Ok(())
    }
}
